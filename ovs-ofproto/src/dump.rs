//! Bytes, as logs and printed messages show them.

use std::fmt::{self, Write};

/// Sixteen bytes a line, in hexadecimal and as characters.
pub(crate) fn hex_dump(out: &mut String, data: &[u8]) -> fmt::Result {
    dump(out, data, true)
}

/// Sixteen bytes a line, in hexadecimal.
pub(crate) fn plain_dump(out: &mut String, data: &[u8]) -> fmt::Result {
    dump(out, data, false)
}

fn dump(out: &mut String, data: &[u8], ascii: bool) -> fmt::Result {
    for (line, bytes) in data.chunks(16).enumerate() {
        write!(out, "{:08x} ", line * 16)?;
        for (i, b) in bytes.iter().enumerate() {
            write!(out, "{}{b:02x}", if i == 8 { '-' } else { ' ' })?;
        }
        // The middle is marked even where a line ends there.
        let half = bytes.len() == 8;
        out.push_str(if half { "-" } else { "" });
        if ascii {
            for _ in bytes.len()..16 {
                out.push_str("   ");
            }
            if half {
                out.pop();
            }
            let printable = |b: &u8| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '.' };
            let text: String = bytes.iter().map(printable).collect();
            write!(out, " |{text:<16}|")?;
        }
        out.push('\n');
    }
    Ok(())
}
