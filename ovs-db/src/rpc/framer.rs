//! A stream of bytes into JSON values.
//!
//! JSON-RPC over a stream has no length prefix: a message ends where its outermost bracket closes. A message is parsed as it
//! comes in, so that the work of a call is that of the bytes that it is given, however long the message. The framer holds at
//! most one message that is not complete, of at most [`FrameLimits::message`] bytes.

use crate::json::{Json, MAX_DEPTH, ParseError, Parser, Wrong};

/// What a peer may make us hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// The most bytes of a message.
    pub message: usize,
    /// The deepest nesting of a message; at most [`MAX_DEPTH`] counts.
    pub depth: usize,
}

impl Default for FrameLimits {
    /// 16 MiB, and [`MAX_DEPTH`].
    fn default() -> FrameLimits {
        FrameLimits { message: 16 << 20, depth: MAX_DEPTH }
    }
}

/// Why a stream is not a sequence of JSON messages. After one of these the stream cannot be read further: where the next
/// message would start is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A message starts with something else than a bracket.
    #[error("stream byte {offset}: a message must be an object or an array, found byte {byte:#04x}")]
    NotAMessage {
        /// Offset in the stream.
        offset: u64,
        /// The byte found.
        byte: u8,
    },
    /// A message is longer than the limit.
    #[error("stream byte {offset}: the message exceeds {limit} bytes")]
    TooLong {
        /// Offset in the stream where the limit was reached.
        offset: u64,
        /// The limit.
        limit: usize,
    },
    /// A message is nested deeper than the limit.
    #[error("stream byte {offset}: the message is nested deeper than {limit} levels")]
    TooDeep {
        /// Offset in the stream of the bracket that is one too many.
        offset: u64,
        /// The limit.
        limit: usize,
    },
    /// The text of a message is not JSON.
    #[error("message at stream byte {start}: {error}")]
    Json {
        /// Offset in the stream where the message starts.
        start: u64,
        /// What is wrong with it.
        error: ParseError,
    },
}

/// Splits a stream of bytes into JSON messages. See [`rpc`](super) for an example.
#[derive(Debug, Clone)]
pub struct Framer {
    limits: FrameLimits,
    parser: Parser,
    offset: u64,
    failed: Option<FrameError>,
}

impl Framer {
    /// A framer at the start of a stream.
    pub fn new(limits: FrameLimits) -> Framer {
        let limits = FrameLimits { depth: limits.depth.min(MAX_DEPTH), ..limits };
        Framer { limits, parser: Parser::new(limits.depth), offset: 0, failed: None }
    }

    /// The bytes that came of a message that is not complete.
    pub fn pending(&self) -> usize {
        self.parser.taken()
    }

    /// Takes bytes from the front of `input` up to the end of the next message, and returns that message; nothing, with
    /// `input` empty, when it needs more bytes.
    ///
    /// # Errors
    /// [`FrameError`], and the same one again on every later call.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Json>, FrameError> {
        match self.failed.clone() {
            Some(error) => Err(error),
            None => self.advance(input).inspect_err(|error| {
                self.parser = Parser::new(self.limits.depth);
                self.failed = Some(error.clone());
            }),
        }
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Json>, FrameError> {
        if self.pending() == 0 {
            let blank = input.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count();
            self.take(input, blank);
            match input.first() {
                None | Some(b'{' | b'[') => {}
                Some(byte) => return Err(FrameError::NotAMessage { offset: self.offset, byte: *byte }),
            }
        }
        let room = self.limits.message.saturating_sub(self.pending());
        let fitting = input.get(..room).unwrap_or(input);
        let start = self.offset.saturating_sub(self.pending() as u64);
        let mut left = fitting;
        let parsed = self.parser.push(&mut left);
        self.take(input, fitting.len().saturating_sub(left.len()));
        match parsed {
            Ok(Some(message)) => {
                self.parser = Parser::new(self.limits.depth);
                Ok(Some(message))
            }
            Ok(None) if !input.is_empty() => {
                Err(FrameError::TooLong { offset: self.offset, limit: self.limits.message })
            }
            Ok(None) => Ok(None),
            Err(Wrong::TooDeep) => Err(FrameError::TooDeep { offset: self.offset, limit: self.limits.depth }),
            Err(wrong) => Err(FrameError::Json { start, error: wrong.at(&self.parser) }),
        }
    }

    /// Takes bytes from the front of the input.
    fn take(&mut self, input: &mut &[u8], count: usize) {
        *input = input.get(count..).unwrap_or_default();
        self.offset = self.offset.saturating_add(count as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::tests::any_json;
    use proptest::prelude::*;

    fn all(framer: &mut Framer, mut input: &[u8]) -> Result<Vec<Json>, FrameError> {
        let mut messages = Vec::new();
        while let Some(json) = framer.next(&mut input)? {
            messages.push(json);
        }
        assert!(input.is_empty());
        Ok(messages)
    }

    #[test]
    fn limits_hold_and_errors_stay() {
        let limits = FrameLimits { message: 10, depth: 3 };
        let mut framer = Framer::new(limits);
        assert_eq!(all(&mut framer, b" [1] \n [\"]\\\"\"]").unwrap().len(), 2);
        assert_eq!(all(&mut framer, b"[1,2,3,4,5"), Ok(vec![]));
        let error = Err(FrameError::TooLong { offset: 24, limit: 10 });
        assert_eq!(all(&mut framer, b","), error);
        assert_eq!(all(&mut framer, b"[]"), error);
        assert_eq!(framer.pending(), 0);
        assert_eq!(all(&mut Framer::new(limits), b"[[[["), Err(FrameError::TooDeep { offset: 3, limit: 3 }));
        assert_eq!(all(&mut Framer::new(limits), b" 5"), Err(FrameError::NotAMessage { offset: 1, byte: b'5' }));
        assert!(matches!(all(&mut Framer::new(limits), b" [1 2]"), Err(FrameError::Json { start: 1, .. })));
        assert!(matches!(all(&mut Framer::new(limits), b"[}"), Err(FrameError::Json { start: 0, .. })));
    }

    proptest! {
        #[test]
        fn messages_survive_any_cutting(
            values in prop::collection::vec(any_json().prop_map(|json| Json::Array(vec![json])), 0..4),
            cut in 1usize..9,
        ) {
            let stream: Vec<u8> = values.iter().flat_map(|json| json.to_text().into_bytes()).collect();
            let mut framer = Framer::new(FrameLimits::default());
            let mut found = Vec::new();
            for chunk in stream.chunks(cut) {
                found.extend(all(&mut framer, chunk).unwrap());
            }
            prop_assert_eq!(found, values);
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut framer = Framer::new(FrameLimits { message: 32, depth: 4 });
            let mut input = bytes.as_slice();
            while let Ok(Some(_)) = framer.next(&mut input) {}
            prop_assert!(framer.pending() <= 32);
        }
    }
}
