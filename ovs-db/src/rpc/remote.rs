//! The names of the places where a database is (ovsdb(7), "Connection Methods").

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

/// The TCP port that IANA assigned to OVSDB (RFC 7047 section 6).
pub const DEFAULT_PORT: u16 = 6640;

/// A place to connect to: `tcp:HOST[:PORT]`, `ssl:HOST[:PORT]`, `unix:FILE`. An IPv6 address is in square brackets.
///
/// ```
/// use ovs_db::rpc::Remote;
///
/// let remotes = Remote::parse_list("tcp:[::1]:6641,unix:/run/openvswitch/db.sock")?;
/// assert_eq!(remotes[0], Remote::Tcp { host: "::1".into(), port: 6641 });
/// assert_eq!(remotes[1].to_string(), "unix:/run/openvswitch/db.sock");
/// assert_eq!("tcp:10.0.0.1".parse::<Remote>()?.to_string(), "tcp:10.0.0.1:6640");
/// # Ok::<(), ovs_db::rpc::RemoteError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Remote {
    /// A TCP connection.
    Tcp {
        /// An address or a host name.
        host: String,
        /// The port.
        port: u16,
    },
    /// A TCP connection with TLS.
    Ssl {
        /// An address or a host name.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix domain socket.
    Unix(PathBuf),
}

/// A place to listen on: `ptcp:[PORT][:ADDRESS]`, `punix:FILE`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ListenOn {
    /// TCP connections to a local address; port 0 has the system choose one.
    Tcp {
        /// The address; every one of IPv4 when the name has none.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// A Unix domain socket.
    Unix(PathBuf),
}

/// Why a text does not name a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// There is no method in front, or another one than those known here.
    #[error("{0:?}: no connection method known here, such as tcp:HOST:PORT or unix:FILE")]
    Method(String),
    /// The port is no number from 0 to 65535.
    #[error("{0:?}: bad port")]
    Port(String),
    /// The host or address is missing or malformed.
    #[error("{0:?}: bad host or address")]
    Host(String),
    /// The file name is missing.
    #[error("{0:?}: no file name")]
    File(String),
    /// Listening for connections by TLS is not built.
    #[error("{0:?}: listening for TLS connections is not built yet")]
    Tls(String),
}

impl Remote {
    /// Reads a list with commas between.
    ///
    /// # Errors
    /// As for the first element that is wrong.
    pub fn parse_list(text: &str) -> Result<Vec<Remote>, RemoteError> {
        // A comma may be part of a file name: one separates only where a method follows.
        let mut items: Vec<String> = Vec::new();
        for part in text.split(',') {
            let method = part.trim_start().split_once(':').map_or("", |(method, _)| method);
            let is_new = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_lowercase());
            match items.last_mut() {
                Some(last) if !is_new => {
                    last.push(',');
                    last.push_str(part);
                }
                _ => items.push(part.trim_start().to_owned()),
            }
        }
        items.iter().map(|item| item.trim_end().parse()).collect()
    }
}

impl FromStr for Remote {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<Remote, RemoteError> {
        match text.split_once(':') {
            Some(("tcp", rest)) => parse_host(text, rest).map(|(host, port)| Remote::Tcp { host, port }),
            Some(("ssl", rest)) => parse_host(text, rest).map(|(host, port)| Remote::Ssl { host, port }),
            Some(("unix", "")) => Err(RemoteError::File(text.to_owned())),
            Some(("unix", file)) => Ok(Remote::Unix(file.into())),
            _ => Err(RemoteError::Method(text.to_owned())),
        }
    }
}

/// `HOST[:PORT]`, an IPv6 address in brackets.
fn parse_host(text: &str, rest: &str) -> Result<(String, u16), RemoteError> {
    let host_error = || RemoteError::Host(text.to_owned());
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(host_error)?;
            host.split('%').next().and_then(|host| host.parse::<Ipv6Addr>().ok()).ok_or_else(host_error)?;
            match port {
                "" => (host, None),
                port => (host, Some(port.strip_prefix(':').ok_or_else(host_error)?)),
            }
        }
        None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err(host_error());
    }
    let port = port.map_or(Ok(DEFAULT_PORT), |port| parse_port(text, port))?;
    Ok((host.to_owned(), port))
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, host, port) = match self {
            Remote::Tcp { host, port } => ("tcp", host, port),
            Remote::Ssl { host, port } => ("ssl", host, port),
            Remote::Unix(file) => return write!(f, "unix:{}", file.display()),
        };
        match host.contains(':') {
            true => write!(f, "{method}:[{host}]:{port}"),
            false => write!(f, "{method}:{host}:{port}"),
        }
    }
}

impl FromStr for ListenOn {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<ListenOn, RemoteError> {
        match text.split_once(':') {
            Some(("ptcp", rest)) => {
                let (port, address) = rest.split_once(':').map_or((rest, None), |(port, host)| (port, Some(host)));
                let port = if port.is_empty() { Ok(DEFAULT_PORT) } else { parse_port(text, port) }?;
                let address = match address {
                    None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                    Some(host) => {
                        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
                        inner.parse().map_err(|_| RemoteError::Host(text.to_owned()))?
                    }
                };
                Ok(ListenOn::Tcp { address, port })
            }
            Some(("punix", "")) => Err(RemoteError::File(text.to_owned())),
            Some(("punix", file)) => Ok(ListenOn::Unix(file.into())),
            Some(("pssl", _)) => Err(RemoteError::Tls(text.to_owned())),
            _ => Err(RemoteError::Method(text.to_owned())),
        }
    }
}

impl fmt::Display for ListenOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenOn::Tcp { address: IpAddr::V4(address), port } => write!(f, "ptcp:{port}:{address}"),
            ListenOn::Tcp { address: IpAddr::V6(address), port } => write!(f, "ptcp:{port}:[{address}]"),
            ListenOn::Unix(file) => write!(f, "punix:{}", file.display()),
        }
    }
}

fn parse_port(text: &str, port: &str) -> Result<u16, RemoteError> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|_| digits).ok_or_else(|| RemoteError::Port(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_printed_the_same() {
        for text in ["tcp:10.0.0.1:1", "tcp:[fe80::1%eth0]:6640", "ssl:db.example:65535", "unix:a,b", "unix:/x"] {
            assert_eq!(text.parse::<Remote>().unwrap().to_string(), text);
            assert_eq!(Remote::parse_list(text).unwrap().len(), 1, "{text}");
        }
        for text in ["ptcp:0:127.0.0.1", "ptcp:6640:[::1]", "punix:/x"] {
            assert_eq!(text.parse::<ListenOn>().unwrap().to_string(), text);
        }
        assert_eq!("ptcp:".parse::<ListenOn>().unwrap().to_string(), "ptcp:6640:0.0.0.0");
    }

    #[test]
    fn what_names_no_place_is_refused() {
        for text in ["", "tcp", "tcp:", "tcp::1", "tcp:a:", "tcp:a:+1", "tcp:a:65536", "tcp:[::1", "tcp:[x]:1"] {
            assert!(text.parse::<Remote>().is_err(), "{text}");
        }
        for text in ["tcp:[::1]1", "unix:", "ptcp:1", "ssl::1", "TCP:a:1"] {
            assert!(text.parse::<Remote>().is_err(), "{text}");
        }
        for text in ["tcp:1", "ptcp:x", "ptcp:1:host", "punix:", "pssl:1"] {
            assert!(text.parse::<ListenOn>().is_err(), "{text}");
        }
        assert!(Remote::parse_list("unix:a,tcp:").is_err());
    }
}
