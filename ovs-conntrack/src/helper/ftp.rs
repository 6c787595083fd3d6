//! What FTP says on its control connection about data connections.
//!
//! | text | from | meaning |
//! |---|---|---|
//! | `PORT h1,h2,h3,h4,p1,p2` | client | I listen there (RFC 959, section 4.1.2) |
//! | `EPRT ⎸f⎸address⎸port⎸` | client | likewise, `f` being 1 for IPv4, 2 for IPv6 (RFC 2428, section 2) |
//! | `227 words (h1,h2,h3,h4,p1,p2)` | server | I listen there (RFC 959, RFC 1123, section 4.1.2.6) |
//! | `229 words (⎸⎸⎸port⎸)` | server | I listen on that port (RFC 2428, section 3) |
//!
//! Announcements are looked for at the beginning of each line of a packet, the first counts. A text that does not end
//! within the packet is none, since digits might follow. Any byte from 33 to 126 may stand for `⎸`.

use alloc::format;
use alloc::string::String;
use core::net::{IpAddr, Ipv4Addr};
use core::ops::Range;

/// How an announcement is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// Six numbers, in PORT and 227.
    Numbers,
    /// Family, address and port between delimiters, in EPRT.
    Delimited(u8),
    /// A port alone, in 229.
    Port,
}

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speaker {
    Client,
    Server,
}

/// What was announced.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Announcement {
    form: Form,
    /// The bytes of the payload that [`text`](Self::text) writes anew.
    pub(crate) at: Range<usize>,
    /// The address; `None` if it is the speaker's own.
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
}

impl Announcement {
    /// The first announcement in a payload.
    pub(crate) fn find(payload: &[u8], speaker: Speaker) -> Option<Announcement> {
        let mut line = 0;
        loop {
            let rest = payload.get(line..)?;
            let found = match speaker {
                Speaker::Client => command(rest),
                Speaker::Server => answer(rest),
            };
            if let Some(found) = found {
                return Some(Announcement { at: found.at.start + line..found.at.end + line, ..found });
            }
            line += rest.iter().position(|b| *b == b'\n')? + 1;
        }
    }

    /// The announcement of another address, of its family, and port. `None` if the form cannot say it.
    pub(crate) fn text(&self, address: IpAddr, port: u16) -> Option<String> {
        match (self.form, address) {
            (Form::Numbers, IpAddr::V4(v4)) => {
                let ([a, b, c, d], [high, low]) = (v4.octets(), port.to_be_bytes());
                Some(format!("{a},{b},{c},{d},{high},{low}"))
            }
            (Form::Numbers, IpAddr::V6(_)) => None,
            (Form::Delimited(delimiter), address) => {
                let (d, family) = (char::from(delimiter), if address.is_ipv6() { 2 } else { 1 });
                Some(format!("{d}{family}{d}{address}{d}{port}{d}"))
            }
            (Form::Port, _) => Some(format!("{port}")),
        }
    }
}

fn command(line: &[u8]) -> Option<Announcement> {
    let (word, rest) = line.split_at_checked(5)?;
    let blanks = rest.iter().take_while(|b| **b == b' ').count();
    let from = word.len() + blanks;
    if word.eq_ignore_ascii_case(b"PORT ") {
        numbers(line, from)
    } else if word.eq_ignore_ascii_case(b"EPRT ") {
        delimited(line, from)
    } else {
        None
    }
}

fn answer(line: &[u8]) -> Option<Announcement> {
    let (code, rest) = line.split_at_checked(4)?;
    let within = rest.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(rest.len());
    let words = rest.get(..within)?;
    match code {
        // Not all servers have the parentheses: the first digit begins.
        b"227 " => numbers(line, 4 + words.iter().position(u8::is_ascii_digit)?),
        b"229 " => {
            let open = 4 + words.iter().position(|b| *b == b'(')?;
            let (&delimiter, rest) = line.get(open + 1..)?.split_first()?;
            let port = rest.strip_prefix(&[delimiter, delimiter]).filter(|_| is_delimiter(delimiter))?;
            let (port, len) = number(port, u16::MAX.into())?;
            let start = open + 4;
            (line.get(start + len) == Some(&delimiter) && port != 0).then_some(Announcement {
                form: Form::Port,
                at: start..start + len,
                address: None,
                port: port as u16,
            })
        }
        _ => None,
    }
}

const fn is_delimiter(byte: u8) -> bool {
    matches!(byte, 33..=126) && !byte.is_ascii_digit()
}

/// Six numbers from byte `from` on, commas between them and something else behind.
fn numbers(line: &[u8], from: usize) -> Option<Announcement> {
    let (mut values, mut at) = ([0u8; 6], from);
    for (i, value) in values.iter_mut().enumerate() {
        if i > 0 {
            at += (*line.get(at)? == b',').then_some(1)?;
        }
        let (number, len) = number(line.get(at..)?, 255)?;
        *value = number as u8;
        at += len;
    }
    line.get(at).filter(|b| **b != b',')?;
    let [a, b, c, d, high, low] = values;
    let port = u16::from_be_bytes([high, low]);
    let address = Some(Ipv4Addr::new(a, b, c, d).into());
    (port != 0).then_some(Announcement { form: Form::Numbers, at: from..at, address, port })
}

/// Family, address and port between delimiters, from byte `from` on.
fn delimited(line: &[u8], from: usize) -> Option<Announcement> {
    let (&delimiter, rest) = line.get(from..)?.split_first()?;
    if !is_delimiter(delimiter) {
        return None;
    }
    let mut parts = rest.split(|b| *b == delimiter);
    let (family, address, port) = (parts.next()?, parts.next()?, parts.next()?);
    // What stands behind the last delimiter is another part, if only an empty one.
    parts.next()?;
    // The longest text of an address has 45 bytes: a long line is not scanned as one.
    let text = core::str::from_utf8(address).ok().filter(|text| text.len() <= 45)?;
    let address: IpAddr = text.parse().ok()?;
    let matching = matches!((family, address), (b"1", IpAddr::V4(_)) | (b"2", IpAddr::V6(_)));
    let end = from + 1 + family.len() + 1 + text.len() + 1 + port.len() + 1;
    let (value, len) = number(port, u16::MAX.into())?;
    (matching && len == port.len() && value != 0).then_some(Announcement {
        form: Form::Delimited(delimiter),
        at: from..end,
        address: Some(address),
        port: value as u16,
    })
}

/// The number that the text begins with, no greater than `most`, and how many digits it has: five at most.
fn number(text: &[u8], most: u32) -> Option<(u32, usize)> {
    let len = text.iter().take(6).take_while(|b| b.is_ascii_digit()).count();
    let value = text.iter().take(len).fold(0, |v: u32, digit| v * 10 + u32::from(digit - b'0'));
    (len > 0 && len < 6 && value <= most).then_some((value, len))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(text: &str) -> Option<(Option<IpAddr>, u16)> {
        Announcement::find(text.as_bytes(), Speaker::Client).map(|a| (a.address, a.port))
    }

    fn server(text: &str) -> Option<(Option<IpAddr>, u16)> {
        Announcement::find(text.as_bytes(), Speaker::Server).map(|a| (a.address, a.port))
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn announcements_are_read() {
        assert_eq!(client("PORT 10,0,0,1,4,1\r\n"), Some((ip("10.0.0.1"), 1025)));
        assert_eq!(client("port   10,0,0,1,4,1 \r\n"), Some((ip("10.0.0.1"), 1025)));
        assert_eq!(client("TYPE I\r\nPORT 1,2,3,4,0,9\n"), Some((ip("1.2.3.4"), 9)));
        assert_eq!(client("EPRT |1|132.235.1.2|6275|\r\n"), Some((ip("132.235.1.2"), 6275)));
        assert_eq!(client("EPRT !2!1080::8:800:200C:417A!5282!\r\n"), Some((ip("1080::8:800:200c:417a"), 5282)));
        assert_eq!(server("227 Entering Passive Mode (10,0,0,2,200,8).\r\n"), Some((ip("10.0.0.2"), 51208)));
        assert_eq!(server("227 =10,0,0,2,200,8\r\n"), Some((ip("10.0.0.2"), 51208)));
        assert_eq!(server("229 Entering Extended Passive Mode (|||6446|)\r\n"), Some((None, 6446)));
        assert_eq!(server("200 ok\r\n229 x (!!!1!)"), Some((None, 1)));
    }

    #[test]
    fn what_is_not_quite_one_is_none() {
        for text in [
            "",
            "PORT",
            "PORT ",
            "XPORT 1,2,3,4,5,6\r\n",
            "PORT 1,2,3,4,5\r\n",
            "PORT 1,2,3,4,5,256\r\n",
            "PORT 1,2,3,4,5,6,7\r\n",
            "PORT 1,2,3,4,0,0\r\n",
            "PORT 1,2,3,4,5,6",
            "PORT 1,2,3,4,5,000006\r\n",
            "PORT 1,,3,4,5,6\r\n",
            "EPRT |1|1.2.3.4|5",
            "EPRT |2|1.2.3.4|5|\r\n",
            "EPRT |1|::1|5|\r\n",
            "EPRT |1|1.2.3.4|0|\r\n",
            "EPRT |1|1.2.3.4|65536|\r\n",
            "EPRT |1|1.2.3.4|5x|\r\n",
            "EPRT 1.2.3.4\r\n",
            "227 (1,2,3,4,5,6)\r\n",
        ] {
            assert_eq!(client(text), None, "{text}");
        }
        for text in [
            "PORT 1,2,3,4,5,6\r\n",
            "227 hello\r\n1,2,3,4,5,6\r\n",
            "229 (|||6446)\r\n",
            "229 (||6446|)\r\n",
            "229 (|||64460000|)\r\n",
            "229 (|||",
            "229 (|||70000|)",
        ] {
            assert_eq!(server(text), None, "{text}");
        }
    }

    #[test]
    fn announcements_are_written() {
        let write = |text: &str, speaker, address: &str, port| {
            let found = Announcement::find(text.as_bytes(), speaker).unwrap();
            let mut text = String::from(text);
            text.replace_range(found.at.clone(), &found.text(address.parse().unwrap(), port).unwrap());
            text
        };
        use Speaker::{Client, Server};
        assert_eq!(
            write("PORT 10,0,0,1,4,1\r\n", Client, "192.168.100.200", 65535),
            "PORT 192,168,100,200,255,255\r\n"
        );
        assert_eq!(write("NOOP\nEPRT |1|1.2.3.4|5|\r\nx", Client, "9.8.7.6", 1234), "NOOP\nEPRT |1|9.8.7.6|1234|\r\nx");
        assert_eq!(write("EPRT ~2~::1~5~\r\n", Client, "2001:db8::1", 9), "EPRT ~2~2001:db8::1~9~\r\n");
        assert_eq!(write("227 ok (1,2,3,4,5,6)\r\n", Server, "9.8.7.6", 257), "227 ok (9,8,7,6,1,1)\r\n");
        assert_eq!(write("229 ok (|||6446|)\r\n", Server, "::1", 1), "229 ok (|||1|)\r\n");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(address: Ipv4Addr, port in 1u16.., v6: std::net::Ipv6Addr, tail in 0usize..2000) {
            let client = Announcement::find(b"PORT 1,1,1,1,1,1\r\n", Speaker::Client).unwrap();
            let mut line = std::format!("PORT {}\r\n", client.text(address.into(), port).unwrap()).into_bytes();
            line.resize(line.len() + tail, b' ');
            let again = Announcement::find(&line, Speaker::Client).unwrap();
            prop_assert_eq!((again.address, again.port), (Some(address.into()), port));
            let eprt = Announcement::find(b"EPRT |1|1.1.1.1|1|\r\n", Speaker::Client).unwrap();
            let line = std::format!("EPRT {}\r\n", eprt.text(v6.into(), port).unwrap());
            let again = Announcement::find(line.as_bytes(), Speaker::Client).unwrap();
            prop_assert_eq!((again.address, again.port), (Some(v6.into()), port));
        }

        #[test]
        fn any_bytes_are_read_within_their_bounds(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            for speaker in [Speaker::Client, Speaker::Server] {
                if let Some(found) = Announcement::find(&payload, speaker) {
                    prop_assert!(found.at.end <= payload.len());
                }
            }
        }
    }
}
