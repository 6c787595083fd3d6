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

/// How a capture file is written: the four ways that its first four bytes tell apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Format {
    /// Numbers of the file are big-endian.
    pub big_endian: bool,
    /// Times are in nanoseconds, otherwise in microseconds.
    pub nanoseconds: bool,
}

impl Format {
    /// Little-endian with nanoseconds: loses nothing, and every reader of the last ten years takes it.
    pub const DEFAULT: Format = Format { big_endian: false, nanoseconds: true };

    fn of_magic(magic: [u8; 4]) -> Option<Format> {
        let format = |big_endian, nanoseconds| Some(Format { big_endian, nanoseconds });
        match (u32::from_le_bytes(magic), u32::from_be_bytes(magic)) {
            (MAGIC_MICROS, _) => format(false, false),
            (MAGIC_NANOS, _) => format(false, true),
            (_, MAGIC_MICROS) => format(true, false),
            (_, MAGIC_NANOS) => format(true, true),
            _ => None,
        }
    }

    fn read(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn bytes(self, word: u32) -> [u8; 4] {
        if self.big_endian { word.to_be_bytes() } else { word.to_le_bytes() }
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
    format: Format,
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
        let format = Format::of_magic(magic).filter(|_| got == header.len());
        let reader = Reader { input, format: format.ok_or(PcapError::NotPcap { magic })?, records: 0, done: false };
        // The upper bits say how the frame check sequence was captured.
        match reader.u32(&header, 20) & 0x0fff_ffff {
            LINKTYPE_ETHERNET => Ok(reader),
            other => Err(PcapError::LinkType(other)),
        }
    }

    /// How the file is written.
    pub fn format(&self) -> Format {
        self.format
    }

    fn u32(&self, bytes: &[u8], at: usize) -> u32 {
        self.format.read(bytes.get(at..).and_then(|b| b.first_chunk::<4>()).copied().unwrap_or_default())
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
        let nanos = u64::from(fraction) * if self.format.nanoseconds { 1 } else { 1000 };
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

/// Writes frames to a capture file.
#[derive(Debug)]
pub struct Writer<W> {
    output: W,
    format: Format,
}

impl<W: Write> Writer<W> {
    /// Writes the file's header, in the [default format](Format::DEFAULT).
    ///
    /// # Errors
    /// If writing fails.
    pub fn new(output: W) -> Result<Self, PcapError> {
        Writer::with_format(output, Format::DEFAULT)
    }

    /// Writes the file's header, in the given format.
    ///
    /// # Errors
    /// If writing fails.
    pub fn with_format(mut output: W, format: Format) -> Result<Self, PcapError> {
        let magic = if format.nanoseconds { MAGIC_NANOS } else { MAGIC_MICROS };
        // Version 2.4, in two halves of a word.
        let version = if format.big_endian { 2 << 16 | 4 } else { 2 | 4 << 16 };
        for word in [magic, version, 0, 0, MAX_RECORD, LINKTYPE_ETHERNET] {
            output.write_all(&format.bytes(word))?;
        }
        Ok(Writer { output, format })
    }

    /// Writes a frame that was seen at `time` since the Unix epoch. Bytes beyond [`MAX_RECORD`] are cut off, and the
    /// record says how many there were; so are nanoseconds, where the format has microseconds.
    ///
    /// # Errors
    /// If writing fails.
    pub fn write(&mut self, time: Duration, frame: &[u8]) -> Result<(), PcapError> {
        let kept = frame.get(..MAX_RECORD as usize).unwrap_or(frame);
        let secs = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        let fraction = if self.format.nanoseconds { time.subsec_nanos() } else { time.subsec_micros() };
        let wire_len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        for word in [secs, fraction, kept.len() as u32, wire_len] {
            self.output.write_all(&self.format.bytes(word))?;
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
        fn what_is_written_is_read(
            frames in prop::collection::vec((0u64..1 << 32, 0u32..1_000_000_000, prop::collection::vec(any::<u8>(), 0..50)), 0..10),
            big_endian: bool, nanoseconds: bool,
        ) {
            let mut file = Vec::new();
            let format = Format { big_endian, nanoseconds };
            let mut w = Writer::with_format(&mut file, format).unwrap();
            for (s, n, data) in &frames {
                w.write(Duration::new(*s, *n), data).unwrap();
            }
            let reader = Reader::new(&file[..]).unwrap();
            prop_assert_eq!(reader.format(), format);
            let read: Vec<_> = reader.map(|r| r.unwrap()).collect();
            prop_assert_eq!(read.len(), frames.len());
            for (r, (s, n, data)) in read.iter().zip(&frames) {
                let n = if nanoseconds { *n } else { n / 1000 * 1000 };
                prop_assert_eq!((r.time, &r.data, r.wire_len as usize), (Duration::new(*s, n), data, data.len()));
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
    fn all_four_formats() {
        for (magic, big_endian, nanoseconds) in [
            ([0xd4, 0xc3, 0xb2, 0xa1], false, false),
            ([0xa1, 0xb2, 0xc3, 0xd4], true, false),
            ([0x4d, 0x3c, 0xb2, 0xa1], false, true),
            ([0xa1, 0xb2, 0x3c, 0x4d], true, true),
        ] {
            let mut file = Vec::from(magic);
            let word = |w: u32| if big_endian { w.to_be_bytes() } else { w.to_le_bytes() };
            file.extend(if big_endian { [0, 2, 0, 4] } else { [2, 0, 4, 0] });
            [0, 0, MAX_RECORD, 1].into_iter().for_each(|w| file.extend(word(w)));
            let mut ours = Vec::new();
            let mut writer = Writer::with_format(&mut ours, Format { big_endian, nanoseconds }).unwrap();
            writer.write(Duration::new(10, 7999), &[5, 6]).unwrap();
            assert_eq!(ours[..24], file);
            let fraction = if nanoseconds { 7999 } else { 7 };
            [10, fraction, 2, 60].into_iter().for_each(|w| file.extend(word(w)));
            file.extend([5, 6]);
            assert_eq!(ours[24..36], file[24..36]);
            let record = Reader::new(&file[..]).unwrap().next().unwrap().unwrap();
            let nanos = if nanoseconds { 7999 } else { 7000 };
            assert_eq!(record, Record { time: Duration::new(10, nanos), data: vec![5, 6], wire_len: 60 });
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
