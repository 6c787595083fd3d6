//! Bytes that wait to be sent.

/// A small enough buffer is kept for the next message, a larger one is given back.
const KEPT: usize = 64 << 10;

/// Bytes that wait to be sent, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    /// Of these, the first are sent already.
    sent: usize,
}

impl Outgoing {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The bytes that wait.
    pub(crate) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// Takes note that the first `count` of them are sent. What is moved for that is no more than what was sent.
    pub(crate) fn advance(&mut self, count: usize) {
        self.sent = self.sent.saturating_add(count).min(self.bytes.len());
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
            self.sent = 0;
        } else if self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_order() {
        let (mut outgoing, mut left) = (Outgoing::default(), Vec::new());
        for round in 0..50_u8 {
            outgoing.push(&[round; 7]);
            let count = usize::from(round % 9).min(outgoing.waiting().len());
            left.extend_from_slice(&outgoing.waiting()[..count]);
            outgoing.advance(count);
        }
        left.extend_from_slice(outgoing.waiting());
        outgoing.advance(usize::MAX);
        assert!(outgoing.waiting().is_empty());
        assert!(left.iter().enumerate().all(|(at, byte)| at / 7 == usize::from(*byte)) && left.len() == 350);
    }
}
