//! Capture files: the classic pcap format, both byte orders, micro- and nanoseconds.
//!
//! ```
//! use std::time::Duration;
//! use ovs_packet::pcap::{Reader, Writer};
//!
//! let mut file = Vec::new();
//! let mut w = Writer::new(&mut file)?;
//! w.write(Duration::from_micros(1_500_000), &[1, 2, 3])?;
//! let mut r = Reader::new(&file[..])?;
//! let record = r.next().unwrap()?;
//! assert_eq!((record.time, record.data), (Duration::from_micros(1_500_000), vec![1, 2, 3]));
//! # Ok::<(), ovs_packet::pcap::PcapError>(())
//! ```

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use std::io::{self, Read, Write};

const MAGIC_MICROS: u32 = 0xa1b2_c3d4;
const MAGIC_NANOS: u32 = 0xa1b2_3c4d;
const LINKTYPE_ETHERNET: u32 = 1;

/// The longest record that is read: more than any frame, little enough for any memory.
pub const MAX_RECORD: u32 = 256 * 1024;

/// Why a capture file cannot be read or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum PcapError {
    /// Reading or writing failed.
    Io(io::Error),
    /// The file does not begin as a pcap file does.
    NotPcap {
        /// The first four bytes.
        magic: [u8; 4],
    },
    /// The frames are not Ethernet.
    LinkType(u32),
    /// A record claims more bytes than [`MAX_RECORD`].
    RecordTooLong {
        /// Number of the record, from 1 on.
        record: u64,
        /// Bytes that it claims.
        len: u32,
    },
    /// The file ends inside a record.
    Truncated {
        /// Number of the record, from 1 on.
        record: u64,
    },
}

impl fmt::Display for PcapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PcapError::Io(e) => e.fmt(f),
            PcapError::NotPcap { magic: [0x0a, 0x0d, 0x0d, 0x0a] } => {
                f.write_str("this is a pcapng file; convert it with: editcap -F pcap IN OUT")
            }
            PcapError::NotPcap { magic } => write!(f, "not a pcap file: it begins with {magic:02x?}"),
            PcapError::LinkType(t) => write!(f, "link type {t} is not Ethernet"),
            PcapError::RecordTooLong { record, len } => {
                write!(f, "record {record} claims {len} bytes, more than {MAX_RECORD}: the file is damaged")
            }
            PcapError::Truncated { record } => write!(f, "the file ends inside record {record}"),
        }
    }
}

impl std::error::Error for PcapError {}

impl From<io::Error> for PcapError {
    fn from(e: io::Error) -> Self {
        PcapError::Io(e)
    }
}

/// A captured frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// When it was captured, since the Unix epoch.
    pub time: Duration,
    /// Its bytes, as many as were captured.
    pub data: Vec<u8>,
    /// How many bytes the frame had on the wire.
    pub wire_len: u32,
}

/// Reads frames from a capture file, as an iterator that ends at the first error.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    big_endian: bool,
    nanos: bool,
    records: u64,
    done: bool,
}

impl<R: Read> Reader<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// If the file header cannot be read, is not pcap's, or announces frames that are not Ethernet.
    pub fn new(mut input: R) -> Result<Self, PcapError> {
        let mut header = [0; 24];
        let got = fill(&mut input, &mut header)?;
        let magic = [header[0], header[1], header[2], header[3]];
        let (big_endian, nanos) = match (u32::from_le_bytes(magic), u32::from_be_bytes(magic)) {
            _ if got < header.len() => return Err(PcapError::NotPcap { magic }),
            (MAGIC_MICROS, _) => (false, false),
            (MAGIC_NANOS, _) => (false, true),
            (_, MAGIC_MICROS) => (true, false),
            (_, MAGIC_NANOS) => (true, true),
            _ => return Err(PcapError::NotPcap { magic }),
        };
        let reader = Reader { input, big_endian, nanos, records: 0, done: false };
        // The upper bits say how the frame check sequence was captured.
        match reader.u32(&header, 20) & 0x0fff_ffff {
            LINKTYPE_ETHERNET => Ok(reader),
            other => Err(PcapError::LinkType(other)),
        }
    }

    fn u32(&self, bytes: &[u8], at: usize) -> u32 {
        let word = bytes.get(at..).and_then(|b| b.first_chunk::<4>()).copied().unwrap_or_default();
        if self.big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
    }

    fn record(&mut self) -> Result<Option<Record>, PcapError> {
        let record = self.records + 1;
        let mut header = [0; 16];
        match fill(&mut self.input, &mut header)? {
            0 => return Ok(None),
            16 => {}
            _ => return Err(PcapError::Truncated { record }),
        }
        let (secs, fraction) = (self.u32(&header, 0), self.u32(&header, 4));
        let (len, wire_len) = (self.u32(&header, 8), self.u32(&header, 12));
        if len > MAX_RECORD {
            return Err(PcapError::RecordTooLong { record, len });
        }
        let mut data = vec![0; len as usize];
        if fill(&mut self.input, &mut data)? < data.len() {
            return Err(PcapError::Truncated { record });
        }
        self.records = record;
        let nanos = u64::from(fraction) * if self.nanos { 1 } else { 1000 };
        Ok(Some(Record { time: Duration::from_secs(secs.into()) + Duration::from_nanos(nanos), data, wire_len }))
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Record, PcapError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.record().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Reads until `buffer` is full or the input ends, and tells how much there was.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while let Some(rest) = buffer.get_mut(have..).filter(|r| !r.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(have)
}

/// Writes frames to a capture file, little-endian with nanoseconds.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
}

impl<W: Write> Writer<W> {
    /// Writes the file's header.
    ///
    /// # Errors
    /// If writing fails.
    pub fn new(mut output: W) -> Result<Self, PcapError> {
        for word in [MAGIC_NANOS, 2 | 4 << 16, 0, 0, MAX_RECORD, LINKTYPE_ETHERNET] {
            output.write_all(&word.to_le_bytes())?;
        }
        Ok(Writer { output })
    }

    /// Writes a frame that was seen at `time` since the Unix epoch. Bytes beyond [`MAX_RECORD`] are cut off, and the
    /// record says how many there were.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write(&mut self, time: Duration, frame: &[u8]) -> Result<(), PcapError> {
        let kept = frame.get(..MAX_RECORD as usize).unwrap_or(frame);
        let secs = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        let wire_len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        for word in [secs, time.subsec_nanos(), kept.len() as u32, wire_len] {
            self.output.write_all(&word.to_le_bytes())?;
        }
        Ok(self.output.write_all(kept)?)
    }

    /// Passes everything written on to the file.
    ///
    /// # Errors
    /// If writing fails.
    pub fn flush(&mut self) -> Result<(), PcapError> {
        Ok(self.output.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(frames in prop::collection::vec((0u64..1 << 32, 0u32..1_000_000_000, prop::collection::vec(any::<u8>(), 0..50)), 0..10)) {
            let mut file = Vec::new();
            let mut w = Writer::new(&mut file).unwrap();
            for (s, n, data) in &frames {
                w.write(Duration::new(*s, *n), data).unwrap();
            }
            let read: Vec<_> = Reader::new(&file[..]).unwrap().map(|r| r.unwrap()).collect();
            prop_assert_eq!(read.len(), frames.len());
            for (r, (s, n, data)) in read.iter().zip(&frames) {
                prop_assert_eq!((r.time, &r.data, r.wire_len as usize), (Duration::new(*s, *n), data, data.len()));
            }
            // Cut anywhere, it reads a prefix and then says so.
            for cut in 0..file.len() {
                if let Ok(r) = Reader::new(&file[..cut]) {
                    prop_assert!(r.count() <= frames.len() + 1);
                }
            }
        }

        #[test]
        fn any_bytes_give_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(r) = Reader::new(&bytes[..]) {
                r.for_each(drop);
            }
        }
    }

    #[test]
    fn all_four_magic_numbers() {
        for (magic, big, factor) in
            [(MAGIC_MICROS, false, 1000), (MAGIC_MICROS, true, 1000), (MAGIC_NANOS, false, 1), (MAGIC_NANOS, true, 1)]
        {
            let mut file = Vec::new();
            for w in [magic, 0x0004_0002, 0, 0, 65535, 1, 10, 7, 2, 60] {
                file.extend(if big { u32::to_be_bytes(w) } else { u32::to_le_bytes(w) });
            }
            file.extend([5, 6]);
            let record = Reader::new(&file[..]).unwrap().next().unwrap().unwrap();
            assert_eq!(record, Record { time: Duration::new(10, 7 * factor), data: vec![5, 6], wire_len: 60 });
        }
    }

    #[test]
    fn errors_say_what_is_wrong() {
        assert_eq!(
            Reader::new(&b"GIF89a"[..]).unwrap_err().to_string(),
            "not a pcap file: it begins with [47, 49, 46, 38]"
        );
        let mut file = Vec::new();
        Writer::new(&mut file).unwrap();
        file.extend([0; 8]);
        file.extend(u32::MAX.to_le_bytes());
        file.extend([0; 4]);
        let mut r = Reader::new(&file[..]).unwrap();
        assert!(matches!(r.next(), Some(Err(PcapError::RecordTooLong { record: 1, len: u32::MAX }))));
        assert!(r.next().is_none());
        file[20] = 113;
        assert!(matches!(Reader::new(&file[..]), Err(PcapError::LinkType(113))));
    }
}
