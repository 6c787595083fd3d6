//! The names of the places where a peer is, and of those where peers are waited for (ovsdb(7), "Connection Methods";
//! ovs-vsctl(8), "Controller Commands").
//!
//! The port that a name need not give is the protocol's: a type of its own for each, so that a controller's place is no
//! database's.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;

/// A place to connect to: `tcp:HOST[:PORT]`, `ssl:HOST[:PORT]`, `unix:FILE`. An IPv6 address is in square brackets; a name
/// without a port has `DEFAULT_PORT`.
///
/// ```
/// /// OpenFlow's.
/// type Endpoint = ovs_stream::Endpoint<6653>;
///
/// assert_eq!("tcp:[::1]".parse(), Ok(Endpoint::Tcp { host: "::1".into(), port: 6653 }));
/// assert_eq!("ssl:c.example:6633".parse::<Endpoint>()?.to_string(), "ssl:c.example:6633");
/// assert!("tcp:[::1".parse::<Endpoint>().is_err());
/// assert_eq!(Endpoint::parse_list("tcp:10.0.0.1,unix:/a,b")?.len(), 2);
/// # Ok::<(), ovs_stream::EndpointError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint<const DEFAULT_PORT: u16> {
    /// A TCP connection.
    Tcp {
        /// An address, for link-local ones with `%` and a device, or a host name.
        host: String,
        /// The port.
        port: u16,
    },
    /// TLS over TCP.
    Ssl {
        /// As for TCP.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix domain socket.
    Unix(PathBuf),
}

/// A place to listen on: `ptcp:[PORT][:ADDRESS]`, `pssl:[PORT][:ADDRESS]`, `punix:FILE`, `pfd:FD`; a name without a port has
/// `DEFAULT_PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ListenOn<const DEFAULT_PORT: u16> {
    /// TCP connections to a local address; port 0 has the system choose one.
    Tcp {
        /// The address; every one of IPv4 when the name has none.
        address: IpAddr,
        /// The device that a link-local address belongs to.
        device: Option<String>,
        /// The port.
        port: u16,
    },
    /// TLS over TCP.
    Ssl {
        /// As for TCP.
        address: IpAddr,
        /// As for TCP.
        device: Option<String>,
        /// The port.
        port: u16,
    },
    /// A Unix domain socket.
    Unix(PathBuf),
    /// A listening socket that the program was started with, by its number.
    Fd(i32),
}

/// Why a text does not name a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// There is no method in front, or another one than those known here.
    #[error("{0:?}: no connection method known here, such as tcp:HOST[:PORT] or unix:FILE")]
    Method(String),
    /// The name is of the other sort: a place to listen on for one to connect to, or the reverse.
    #[error("{0:?}: the connection method is for the other direction")]
    Direction(String),
    /// The port is no number from 0 to 65535.
    #[error("{0:?}: bad port")]
    Port(String),
    /// The host or address is missing or malformed.
    #[error("{0:?}: bad host or address")]
    Host(String),
    /// The file name is missing.
    #[error("{0:?}: no file name")]
    File(String),
    /// The descriptor is no number from 0 to 2147483647.
    #[error("{0:?}: bad file descriptor")]
    Descriptor(String),
}

impl<const DEFAULT_PORT: u16> Endpoint<DEFAULT_PORT> {
    /// Reads a list with commas between.
    ///
    /// # Errors
    /// As for the first element that is wrong.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, EndpointError> {
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

    /// Whether the other end may be gone without anything to tell of it: not so on the same machine, where therefore
    /// probes are of no use.
    pub fn needs_probes(&self) -> bool {
        !matches!(self, Endpoint::Unix(_))
    }
}

impl<const DEFAULT_PORT: u16> FromStr for Endpoint<DEFAULT_PORT> {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        match text.split_once(':') {
            Some(("tcp", rest)) => {
                host_and_port(text, rest, DEFAULT_PORT).map(|(host, port)| Endpoint::Tcp { host, port })
            }
            Some(("ssl", rest)) => {
                host_and_port(text, rest, DEFAULT_PORT).map(|(host, port)| Endpoint::Ssl { host, port })
            }
            Some(("unix", "")) => Err(EndpointError::File(text.to_owned())),
            Some(("unix", file)) => Ok(Endpoint::Unix(file.into())),
            Some(("ptcp" | "pssl" | "punix" | "pfd", _)) => Err(EndpointError::Direction(text.to_owned())),
            _ => Err(EndpointError::Method(text.to_owned())),
        }
    }
}

impl<const DEFAULT_PORT: u16> fmt::Display for Endpoint<DEFAULT_PORT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, host, port) = match self {
            Endpoint::Tcp { host, port } => ("tcp", host, port),
            Endpoint::Ssl { host, port } => ("ssl", host, port),
            Endpoint::Unix(file) => return write!(f, "unix:{}", file.display()),
        };
        if host.contains(':') { write!(f, "{method}:[{host}]:{port}") } else { write!(f, "{method}:{host}:{port}") }
    }
}

impl<const DEFAULT_PORT: u16> FromStr for ListenOn<DEFAULT_PORT> {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        match text.split_once(':') {
            Some(("ptcp", rest)) => port_and_address(text, rest, DEFAULT_PORT)
                .map(|(address, device, port)| ListenOn::Tcp { address, device, port }),
            Some(("pssl", rest)) => port_and_address(text, rest, DEFAULT_PORT)
                .map(|(address, device, port)| ListenOn::Ssl { address, device, port }),
            Some(("punix", "")) => Err(EndpointError::File(text.to_owned())),
            Some(("punix", file)) => Ok(ListenOn::Unix(file.into())),
            Some(("pfd", number)) => match number.parse() {
                Ok(fd) if is_digits(number) => Ok(ListenOn::Fd(fd)),
                _ => Err(EndpointError::Descriptor(text.to_owned())),
            },
            Some(("tcp" | "ssl" | "unix", _)) => Err(EndpointError::Direction(text.to_owned())),
            _ => Err(EndpointError::Method(text.to_owned())),
        }
    }
}

impl<const DEFAULT_PORT: u16> fmt::Display for ListenOn<DEFAULT_PORT> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (method, address, device, port) = match self {
            ListenOn::Tcp { address, device, port } => ("ptcp", address, device, port),
            ListenOn::Ssl { address, device, port } => ("pssl", address, device, port),
            ListenOn::Unix(file) => return write!(f, "punix:{}", file.display()),
            ListenOn::Fd(fd) => return write!(f, "pfd:{fd}"),
        };
        write!(f, "{method}:{port}:")?;
        match (address, device) {
            (IpAddr::V4(address), _) => write!(f, "{address}"),
            (IpAddr::V6(address), None) => write!(f, "[{address}]"),
            (IpAddr::V6(address), Some(device)) => write!(f, "[{address}%{device}]"),
        }
    }
}

fn host_and_port(text: &str, rest: &str, default: u16) -> Result<(String, u16), EndpointError> {
    let host_error = || EndpointError::Host(text.to_owned());
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(host_error)?;
            split_device(host).ok_or_else(host_error)?;
            (host, rest)
        }
        None => {
            let (host, rest) = rest.split_at_checked(rest.find(':').unwrap_or(rest.len())).ok_or_else(host_error)?;
            let is_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
            (Some(host).filter(|host| !host.is_empty() && host.chars().all(is_name)).ok_or_else(host_error)?, rest)
        }
    };
    match port {
        "" => Ok((host.to_owned(), default)),
        port => Ok((host.to_owned(), parse_port(text, port.strip_prefix(':').ok_or_else(host_error)?)?)),
    }
}

fn port_and_address(text: &str, rest: &str, default: u16) -> Result<(IpAddr, Option<String>, u16), EndpointError> {
    let host_error = || EndpointError::Host(text.to_owned());
    let (port, address) = rest.split_once(':').map_or((rest, None), |(port, address)| (port, Some(address)));
    let port = if port.is_empty() { default } else { parse_port(text, port)? };
    let (address, device) = match address {
        None => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), None),
        Some(host) => match host.strip_prefix('[') {
            Some(host) => {
                let host = host.strip_suffix(']').ok_or_else(host_error)?;
                let (address, device) = split_device(host).ok_or_else(host_error)?;
                (IpAddr::V6(address), device.map(str::to_owned))
            }
            None => (IpAddr::V4(host.parse().map_err(|_| host_error())?), None),
        },
    };
    Ok((address, device, port))
}

/// An IPv6 address, with a device behind `%` if it belongs to one.
pub(crate) fn split_device(host: &str) -> Option<(Ipv6Addr, Option<&str>)> {
    let (address, device) = host.split_once('%').map_or((host, None), |(address, device)| (address, Some(device)));
    let address = address.parse().ok()?;
    (device != Some("")).then_some((address, device))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn parse_port(text: &str, port: &str) -> Result<u16, EndpointError> {
    port.parse().ok().filter(|_| is_digits(port)).ok_or_else(|| EndpointError::Port(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Endpoint = super::Endpoint<6653>;
    type ListenOn = super::ListenOn<6653>;

    #[test]
    fn names_are_read_and_printed_the_same() {
        for text in ["tcp:10.0.0.1:1", "tcp:[fe80::1%eth0]:6653", "ssl:c.example:65535", "unix:a,b", "unix:/x:y"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        for text in ["ptcp:0:127.0.0.1", "pssl:6653:[::1]", "ptcp:1:[fe80::1%eth0]", "punix:/x", "pfd:3"] {
            assert_eq!(text.parse::<ListenOn>().unwrap().to_string(), text);
        }
        for (text, full) in [
            ("ptcp:", "ptcp:6653:0.0.0.0"),
            ("ptcp:1", "ptcp:1:0.0.0.0"),
            ("ptcp::127.0.0.1", "ptcp:6653:127.0.0.1"),
            ("pssl::[::]", "pssl:6653:[::]"),
        ] {
            assert_eq!(text.parse::<ListenOn>().unwrap().to_string(), full);
        }
        assert_eq!("tcp:127.0.0.1".parse::<Endpoint>().unwrap().to_string(), "tcp:127.0.0.1:6653");
        assert_eq!("tcp:127.0.0.1".parse::<super::Endpoint<6640>>().unwrap().to_string(), "tcp:127.0.0.1:6640");
        assert_eq!("ptcp:".parse::<super::ListenOn<6640>>().unwrap().to_string(), "ptcp:6640:0.0.0.0");
    }

    #[test]
    fn a_comma_is_of_a_list_where_a_method_follows() {
        let list =
            |text| Endpoint::parse_list(text).map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(list("tcp:[::1]:1, unix:/a,b,ssl:x:2 ").unwrap(), ["tcp:[::1]:1", "unix:/a,b", "ssl:x:2"]);
        assert_eq!(list("unix:a,tcp:"), Err(EndpointError::Host("tcp:".to_owned())));
    }

    #[test]
    fn what_names_no_place_is_refused_for_its_reason() {
        use EndpointError::*;
        let own = str::to_owned;
        for (text, error) in [
            ("", Method as fn(String) -> EndpointError),
            ("tcp", Method),
            ("TCP:a:1", Method),
            ("br0", Method),
            ("tcp:", Host),
            ("tcp::1", Host),
            ("tcp:::1", Host),
            ("tcp:a b", Host),
            ("tcp:[x]:1", Host),
            ("tcp:[::1", Host),
            ("tcp:[::1]1", Host),
            ("tcp:[fe80::1%]:1", Host),
            ("tcp:a:", Port),
            ("tcp:a:+1", Port),
            ("ssl:a:65536", Port),
            ("tcp:a:1:2", Port),
            ("unix:", File),
            ("ptcp:1", Direction),
            ("pfd:1", Direction),
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(error(own(text))));
        }
        for (text, error) in [
            ("tcp:1", Direction as fn(String) -> EndpointError),
            ("ptcp:x", Port),
            ("ptcp:1:host", Host),
            ("ptcp:1:::1", Host),
            ("pssl:1:[1.2.3.4]", Host),
            ("punix:", File),
            ("pfd:", Descriptor),
            ("pfd:-1", Descriptor),
            ("pfd:2147483648", Descriptor),
            ("", Method),
        ] {
            assert_eq!(text.parse::<ListenOn>(), Err(error(own(text))));
        }
    }
}
