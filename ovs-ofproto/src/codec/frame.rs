//! From a stream of bytes to messages.
//!
//! A message says its own length in 16 bits, so that what waits for its end is never more than 64 KiB. A framer keeps
//! what it was given until it is taken out: who pushes what a socket read and then takes all frames keeps it small.

use super::header::Header;

/// The stream lost its frame: a message said that it is shorter than its own header. Nothing behind it can be found,
/// the connection must be closed (OFPET_BAD_REQUEST, OFPBRC_BAD_LEN).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a message of {length} bytes, shorter than its own header")]
pub struct FrameError {
    /// What the message said.
    pub length: u16,
}

/// Cuts a stream into messages. An iterator over those that are complete: `None` means that more bytes must be
/// [pushed](Framer::push), not that it has ended. An error comes once; [`is_broken`](Framer::is_broken) tells of it
/// ever after.
///
/// ```
/// use ovs_ofproto::codec::Framer;
///
/// let mut framer = Framer::new();
/// framer.push(&[4, 0, 0, 8, 0, 0, 0, 1, 4, 3]);
/// assert_eq!(framer.next(), Some(Ok(vec![4, 0, 0, 8, 0, 0, 0, 1])));
/// assert_eq!(framer.next(), None);
/// assert_eq!(framer.waiting(), 2);
/// framer.push(&[0, 7, 0, 0, 0, 2]);
/// assert_eq!(framer.next().unwrap().unwrap_err().length, 7);
/// assert!(framer.next().is_none() && framer.is_broken());
/// ```
#[derive(Clone, Default, Debug)]
pub struct Framer {
    buffer: Vec<u8>,
    taken: usize,
    broken: bool,
}

impl Framer {
    /// A framer at the beginning of a stream.
    pub fn new() -> Framer {
        Framer::default()
    }

    /// Adds bytes that were read. After an error they are dropped.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.broken {
            return;
        }
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether there was an error: nothing more will come.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// How many bytes wait for the end of their message, or to be taken out.
    pub fn waiting(&self) -> usize {
        self.buffer.len().saturating_sub(self.taken)
    }
}

impl Iterator for Framer {
    type Item = Result<Vec<u8>, FrameError>;

    /// The next complete message, or what broke the stream.
    fn next(&mut self) -> Option<Self::Item> {
        let waiting = self.buffer.get(self.taken..)?;
        let &[_, _, high, low, ..] = waiting else { return None };
        let length = u16::from_be_bytes([high, low]);
        if usize::from(length) < Header::LEN {
            *self = Framer { broken: true, ..Framer::default() };
            return Some(Err(FrameError { length }));
        }
        let frame = waiting.get(..usize::from(length))?.to_vec();
        self.taken = self.taken.saturating_add(frame.len());
        Some(Ok(frame))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_cut_gives_the_same_frames(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in prop::collection::vec(1usize..17, 1..8),
        ) {
            let frames: Vec<Vec<u8>> = bodies
                .iter()
                .map(|b| {
                    let mut frame = vec![4, 2, 0, 8 + b.len() as u8, 0, 0, 0, 0];
                    frame.extend(b);
                    frame
                })
                .collect();
            let stream = frames.concat();
            let (mut framer, mut got, mut at) = (Framer::new(), Vec::new(), 0);
            for cut in cuts.iter().cycle() {
                if at == stream.len() {
                    break;
                }
                let end = stream.len().min(at + cut);
                framer.push(&stream[at..end]);
                at = end;
                for frame in framer.by_ref() {
                    got.push(frame.unwrap());
                }
            }
            prop_assert_eq!(got, frames);
            prop_assert_eq!(framer.waiting(), 0);
        }
    }
}
