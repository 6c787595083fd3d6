//! Which connections to forget, read and printed: `zone=5 'ct_nw_src=10.1.1.1,ct_nw_proto=6'`.

use std::fmt;
use std::net::IpAddr;

use ovs_packet::text::integer;

use super::error::{ParseFlowError, Parsed, invalid};
use super::lexer::items;
use super::number::{hex, u8_of, u16_of};
use crate::codec::{CtFlush, CtTuple};

/// Reads the arguments of `ct-flush`: zone, mark and labels in this order, then the tuple of the first packet and that of
/// the answers, each of which may be left out. Places are those in the argument that is wrong.
///
/// ```
/// use ovs_ofproto::text::connections;
///
/// let flush = connections(&["zone=5", "mark=1/3", "ct_nw_src=10.1.1.1,ct_nw_proto=6,ct_tp_dst=80"])?;
/// assert_eq!((flush.zone, flush.mark, flush.protocol), (Some(5), Some((1, 3)), 6));
/// # Ok::<(), ovs_ofproto::text::ParseFlowError>(())
/// ```
///
/// # Errors
/// What is wrong.
pub fn connections(arguments: &[&str]) -> Parsed<CtFlush> {
    let mut flush = CtFlush::default();
    let mut rest = arguments.iter().copied().peekable();
    if let Some(text) = rest.next_if(|a| a.starts_with("zone=")) {
        let zone = text.strip_prefix("zone=").and_then(|t| t.parse().ok());
        flush.zone = Some(zone.ok_or_else(|| ParseFlowError::invalid(0, "failed to parse zone"))?);
    }
    if let Some(text) = rest.next_if(|a| a.starts_with("mark=")) {
        let bad = || ParseFlowError::invalid(0, "failed to parse mark");
        let (mark, mask) = masked(text.strip_prefix("mark=").unwrap_or_default(), u32::MAX.into()).ok_or_else(bad)?;
        let word = |n: u128| u32::try_from(n).map_err(|_| bad());
        flush.mark = Some((word(mark)?, word(mask)?));
    }
    if let Some(text) = rest.next_if(|a| a.starts_with("labels=")) {
        let labels = masked(text.strip_prefix("labels=").unwrap_or_default(), u128::MAX);
        flush.labels = Some(labels.ok_or_else(|| ParseFlowError::invalid(0, "failed to parse labels"))?);
    }
    let mut family = None;
    for reply in [false, true] {
        let Some(text) = rest.next() else { break };
        let mut tuple = CtTuple::default();
        read_tuple(text, &mut tuple, &mut flush.protocol, &mut family)?;
        *(if reply { &mut flush.reply } else { &mut flush.original }) = tuple;
    }
    if rest.next().is_some() { invalid(0, "invalid arguments") } else { Ok(flush) }
}

/// `VALUE` or `VALUE/MASK`; without a mask, all bits.
fn masked(text: &str, ones: u128) -> Option<(u128, u128)> {
    match text.split_once('/') {
        None => Some((integer(text)?, ones)),
        Some((value, mask)) => Some((integer(value)?, integer(mask)?)),
    }
}

fn read_tuple(text: &str, tuple: &mut CtTuple, protocol: &mut u8, family: &mut Option<bool>) -> Parsed<()> {
    for item in items(text) {
        let (name, value, at) = (item.name, item.arg, item.arg_at);
        let failed = || ParseFlowError::invalid(at, format!("failed to parse field {name}"));
        if value.is_empty() {
            return invalid(item.at, format!("field {name} missing value"));
        }
        match name {
            "ct_nw_src" | "ct_nw_dst" | "ct_ipv6_src" | "ct_ipv6_dst" => {
                let v4 = name.starts_with("ct_nw");
                if family.is_some_and(|known| known != v4) {
                    return invalid(at, format!("the L3 protocol does not match {value}"));
                }
                let place = if name.ends_with("src") { &mut tuple.src } else { &mut tuple.dst };
                if place.is_some() {
                    return invalid(item.at, format!("{name} is set multiple times"));
                }
                let address = value.parse::<IpAddr>().ok().filter(|a| a.is_ipv4() == v4);
                (*place, *family) = (Some(address.ok_or_else(failed)?), Some(v4));
            }
            "ct_nw_proto" => {
                if *protocol != 0 {
                    return invalid(item.at, format!("{name} is set multiple times"));
                }
                *protocol = u8_of(value, at, name).map_err(|_| failed())?;
            }
            "ct_tp_src" => tuple.src_port = u16_of(value, at, name).map_err(|_| failed())?,
            "ct_tp_dst" => tuple.dst_port = u16_of(value, at, name).map_err(|_| failed())?,
            "icmp_type" | "icmp_code" | "icmp_id" if !matches!(*protocol, 1 | 58) => {
                return invalid(item.at, "invalid L4 fields");
            }
            "icmp_id" => tuple.icmp.0 = u16_of(value, at, name).map_err(|_| failed())?,
            "icmp_type" => tuple.icmp.1 = u8_of(value, at, name).map_err(|_| failed())?,
            "icmp_code" => tuple.icmp.2 = u8_of(value, at, name).map_err(|_| failed())?,
            name => return invalid(item.at, format!("invalid conntrack tuple field: {name}")),
        }
    }
    match *protocol == 0 && (tuple.src_port, tuple.dst_port) != (0, 0) {
        true => invalid(0, "port is set without protocol"),
        false => Ok(()),
    }
}

/// Which connections are meant, without their zone, as upstream prints it: mark and labels if they count, then the tuples.
///
/// ```
/// use ovs_ofproto::text::{TrackedText, connections};
///
/// let flush = connections(&["zone=5", "mark=1/3", "ct_nw_src=10.1.1.1,ct_nw_proto=6,ct_tp_dst=80"])?;
/// let text = TrackedText(&flush).to_string();
/// assert!(text.starts_with("mark=0x1/0x3 'ct_nw_src=10.1.1.1,ct_nw_dst=::,ct_tp_src=0,ct_tp_dst=80,ct_nw_proto=6' '"));
/// # Ok::<(), ovs_ofproto::text::ParseFlowError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct TrackedText<'a>(pub &'a CtFlush);

impl TrackedText<'_> {
    fn tuple(self, f: &mut fmt::Formatter<'_>, t: &CtTuple) -> fmt::Result {
        let name = if self.0.is_ipv4() { "nw" } else { "ipv6" };
        for (end, address) in [("src", t.src), ("dst", t.dst)] {
            let comma = if end == "dst" { "," } else { "" };
            let address = address.unwrap_or(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED));
            write!(f, "{comma}ct_{name}_{end}={address}")?;
        }
        if self.0.is_icmp() {
            let (id, kind, code) = t.icmp;
            return write!(f, ",icmp_id={id},icmp_type={kind},icmp_code={code}");
        }
        write!(f, ",ct_tp_src={},ct_tp_dst={}", t.src_port, t.dst_port)
    }
}

impl fmt::Display for TrackedText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((mark, mask)) = self.0.mark.filter(|(_, mask)| *mask != 0) {
            write!(f, "mark={}", hex(mark.into()))?;
            if mask != u32::MAX {
                write!(f, "/{}", hex(mask.into()))?;
            }
            f.write_str(" ")?;
        }
        if let Some((labels, mask)) = self.0.labels.filter(|(_, mask)| *mask != 0) {
            write!(f, "labels={}", hex(labels))?;
            if mask != u128::MAX {
                write!(f, "/{}", hex(mask))?;
            }
            f.write_str(" ")?;
        }
        f.write_str("'")?;
        self.tuple(f, &self.0.original)?;
        write!(f, ",ct_nw_proto={}' '", self.0.protocol)?;
        self.tuple(f, &self.0.reply)?;
        f.write_str("'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tuples_and_marks() {
        let flush =
            connections(&["labels=0xff/0xf", "ct_nw_proto=1,icmp_id=5,icmp_type=8", "ct_nw_dst=1.2.3.4"]).unwrap();
        assert_eq!((flush.labels, flush.original.icmp), (Some((0xff, 0xf)), (5, 8, 0)));
        assert_eq!(flush.reply.dst, Some("1.2.3.4".parse().unwrap()));
        assert_eq!(connections(&[]).unwrap(), CtFlush::default());
        let says = |arguments: &[&str]| connections(arguments).unwrap_err().problem.to_string();
        assert_eq!(says(&["zone=x"]), "failed to parse zone");
        assert_eq!(says(&["ct_nw_src=1.1.1.1,ct_ipv6_dst=::1"]), "the L3 protocol does not match ::1");
        assert_eq!(says(&["ct_tp_src=1"]), "port is set without protocol");
        assert_eq!(says(&["icmp_id=1"]), "invalid L4 fields");
        assert_eq!(says(&["bogus=1"]), "invalid conntrack tuple field: bogus");
        assert_eq!(says(&["", "", ""]), "invalid arguments");
    }
}
