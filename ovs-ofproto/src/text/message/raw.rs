//! Matches as their bytes say them, whatever that means: what a flow modification shows at high verbosity.

use std::fmt::Write;
use std::net::Ipv4Addr;

use ovs_packet::field::{CLASS_EXPERIMENTER, CLASS_NXM_1, FieldId, OxmId};
use ovs_packet::{EthAddr, OfPort};

use crate::codec::{DecodeError, Reader};

/// A match of OpenFlow 1.0, with its wildcards as asterisks.
pub(super) fn match_10(mut r: Reader<'_>) -> Result<String, DecodeError> {
    let wildcards = r.u32()?;
    let wild = |bit: u32| wildcards >> bit & 1 != 0;
    let in_port = OfPort::from_16(r.u16()?);
    let mut eth = || {
        let mut a = EthAddr::default();
        a.0.iter_mut().zip(r.bytes(6)?).for_each(|(to, from)| *to = *from);
        Ok::<_, DecodeError>(a)
    };
    let (src, dst) = (eth()?, eth()?);
    let (vlan, pcp) = (r.u16()?, r.u8()?);
    r.skip(1)?;
    let (dl_type, tos, proto) = (r.u16()?, r.u8()?, r.u8()?);
    r.skip(2)?;
    let (nw_src, nw_dst, tp_src, tp_dst) = (r.u32()?, r.u32()?, r.u16()?, r.u16()?);
    let by_proto = match proto {
        1 => Some("icmp"),
        6 => Some("tcp"),
        17 => Some("udp"),
        132 => Some("sctp"),
        _ => None,
    };
    // A word for the protocols that it says.
    let (word, protocol_said) = match dl_type {
        _ if wild(4) => (None, false),
        0x0800 if !wild(5) => (by_proto.or(Some("ip")), by_proto.is_some()),
        0x0800 => (Some("ip"), false),
        0x0806 => (Some("arp"), false),
        0x8035 => (Some("rarp"), false),
        0x8847 => (Some("mpls"), false),
        0x8848 => (Some("mplsm"), false),
        _ => (None, false),
    };
    let mut parts: Vec<String> = word.map(str::to_string).into_iter().collect();
    let mut part = |name: &str, is_wild: bool, value: String| {
        parts.push(format!("{name}={}", if is_wild { "*" } else { &value }));
    };
    part("in_port", wild(0), in_port.to_string());
    part("dl_vlan", wild(1), vlan.to_string());
    part("dl_vlan_pcp", wild(20), pcp.to_string());
    part("dl_src", wild(2), src.to_string());
    part("dl_dst", wild(3), dst.to_string());
    if word.is_none() {
        part("dl_type", wild(4), format!("{dl_type:#06x}"));
    }
    for (name, address, bits) in [("nw_src", nw_src, wildcards >> 8 & 0x3f), ("nw_dst", nw_dst, wildcards >> 14 & 0x3f)]
    {
        let prefix = if bits == 0 { String::new() } else { format!("/{}", 32u32.saturating_sub(bits)) };
        part(name, bits >= 32, format!("{}{prefix}", Ipv4Addr::from_bits(address)));
    }
    if !protocol_said {
        let name = if matches!(dl_type, 0x0806 | 0x8035) { "arp_op" } else { "nw_proto" };
        part(name, wild(5), proto.to_string());
    }
    part("nw_tos", wild(21), tos.to_string());
    let ports = if proto == 1 { ["icmp_type", "icmp_code"] } else { ["tp_src", "tp_dst"] };
    for ((name, bit), value) in ports.into_iter().zip([6, 7]).zip([tp_src, tp_dst]) {
        part(name, wild(bit), value.to_string());
    }
    Ok(parts.join(","))
}

/// TLVs by their names, values in hexadecimal.
pub(super) fn nxm(mut r: Reader<'_>) -> String {
    let mut parts = Vec::new();
    while !r.is_empty() {
        let mut next = r.clone();
        match entry(&mut next) {
            Ok(text) => parts.push(text),
            Err(_) => {
                parts.push(format!("<{} invalid bytes>", r.len()));
                break;
            }
        }
        r = next;
    }
    if parts.is_empty() { "<any>".into() } else { parts.join(", ") }
}

fn entry(r: &mut Reader<'_>) -> Result<String, DecodeError> {
    let (class, field, mut len) = (r.u16()?, r.u8()?, usize::from(r.u8()?));
    let experimenter = if class == CLASS_EXPERIMENTER {
        len = len.saturating_sub(4);
        r.u32()?
    } else {
        0
    };
    let masked = field & 1 != 0;
    let id = OxmId { class, field: field >> 1, experimenter };
    let named = FieldId::by_oxm(id).and_then(|f| f.info().code_points().find(|p| p.id == id));
    let mut text = match named {
        Some(point) => point.name.to_string(),
        None if class == CLASS_NXM_1 && field >> 1 == 30 => "NXM_NX_COOKIE".to_string(),
        None => format!("{class}:{}", field >> 1),
    };
    if masked && !text.contains(':') {
        text.push_str("_W");
    }
    text.push('(');
    let mut hex = |bytes: &[u8]| bytes.iter().try_for_each(|b| write!(text, "{b:02x}"));
    // Writing to a text does not fail.
    let _ = hex(r.bytes(if masked { len / 2 } else { len })?);
    if masked {
        text.push('/');
        let mask = r.bytes(len / 2)?;
        let _ = mask.iter().try_for_each(|b| write!(text, "{b:02x}"));
    }
    text.push(')');
    Ok(text)
}
