//! The `ct` action in words, both ways.

use std::fmt::{self, Formatter, Write};
use std::net::IpAddr;

use arrayvec::ArrayString;
use ovs_conntrack::{CtRequest, Helper, Nat, NatRange};
use ovs_packet::text::number;

use super::TextError;
use super::tree::Term;
use super::value::hex;

/// Writes `ct` or `ct(...)`.
///
/// A timeout policy is a number, or the name of the kernel's part of it where the packets' protocols are given.
pub(super) fn write(f: &mut Formatter<'_>, ct: &CtRequest, protocols: Option<(u16, u8)>) -> fmt::Result {
    let mut parts = Vec::new();
    if ct.commit || ct.force {
        parts.push(if ct.force { "force_commit" } else { "commit" }.to_string());
    }
    if ct.zone != 0 {
        parts.push(format!("zone={}", ct.zone));
    }
    if let Some((value, mask)) = ct.mark {
        parts.push(format!("mark={}/{}", hex(value.into()), hex(mask.into())));
    }
    if let Some((value, mask)) = ct.label {
        parts.push(match mask {
            u128::MAX => format!("label={}", hex(value)),
            mask => format!("label={}/{}", hex(value), hex(mask)),
        });
    }
    if let Some(helper) = ct.helper {
        parts.push(format!("helper={}", helper.name()));
    }
    if let Some(policy) = ct.timeout_policy {
        parts.push(match protocols {
            Some((eth_type, nw_proto)) => format!("timeout={}", timeout_name(policy, eth_type, nw_proto)),
            None => format!("timeout={policy}"),
        });
    }
    if let Some(nat) = ct.nat {
        parts.push(nat.to_string());
    }
    if parts.is_empty() { f.write_str("ct") } else { write!(f, "ct({})", parts.join(",")) }
}

/// Reads `ct` or `ct(...)`.
pub(super) fn read(term: &Term<'_>) -> Result<CtRequest, TextError> {
    let mut ct = CtRequest::default();
    for arg in term.args.iter().flatten() {
        match arg.name {
            "commit" => {
                arg.bare()?;
                ct.commit = true;
            }
            "force_commit" => {
                arg.bare()?;
                (ct.commit, ct.force) = (true, true);
            }
            "zone" => ct.zone = value(arg)?,
            "mark" => ct.mark = Some(masked(arg, u32::MAX)?),
            "label" => ct.label = Some(masked(arg, u128::MAX)?),
            "helper" => {
                let (name, at) = arg.value()?;
                let helper = Helper::from_name(name).ok_or_else(|| TextError::new(at, "'ftp' or 'tftp'"))?;
                ct.helper = Some(helper);
            }
            "timeout" => {
                let (text, at) = arg.value()?;
                let policy = timeout_policy(text).or_else(|| number(text).and_then(|n| n.try_into().ok()));
                let expected = "the number of a timeout policy, or 'ovs_tp_NUMBER_PROTOCOL'";
                ct.timeout_policy = Some(policy.ok_or_else(|| TextError::new(at, expected))?);
            }
            "nat" => ct.nat = Some(nat(arg)?),
            other => {
                let expected =
                    format!("commit, force_commit, zone, mark, label, helper, timeout or nat, not '{other}'");
                return Err(TextError::new(arg.at, expected));
            }
        }
    }
    if !(ct.commit || ct.force) {
        let only_with_commit = [
            ("mark", ct.mark.is_some()),
            ("label", ct.label.is_some()),
            ("helper", ct.helper.is_some()),
            ("timeout", ct.timeout_policy.is_some()),
            ("nat with src or dst", ct.nat.is_some_and(|n| n.range().is_some())),
        ];
        if let Some((what, _)) = only_with_commit.iter().find(|(_, set)| *set) {
            return Err(TextError::new(term.at, format!("'commit' beside {what}")));
        }
    }
    Ok(ct)
}

/// The name in the kernel of the part of a timeout policy that is for these protocols, as upstream names it.
pub(crate) fn timeout_name(policy: u32, eth_type: u16, nw_proto: u8) -> ArrayString<31> {
    let mut name = ArrayString::new();
    let v6 = eth_type == ovs_packet::extract::ETH_TYPE_IPV6;
    let suffix = if v6 { "6" } else { "4" };
    // The longest name has 7 + 10 + 1 + 5 + 1 bytes.
    let _ = match nw_proto {
        6 => write!(name, "ovs_tp_{policy}_tcp{suffix}"),
        17 => write!(name, "ovs_tp_{policy}_udp{suffix}"),
        1 => write!(name, "ovs_tp_{policy}_icmp{suffix}"),
        58 => write!(name, "ovs_tp_{policy}_icmpv6"),
        other => write!(name, "ovs_tp_{policy}_{other}_{suffix}"),
    };
    name
}

/// The number in `ovs_tp_NUMBER_PROTOCOL`.
pub(crate) fn timeout_policy(name: &str) -> Option<u32> {
    let (number, protocol) = name.strip_prefix("ovs_tp_")?.split_once('_')?;
    number.parse().ok().filter(|_| !protocol.is_empty())
}

fn nat(term: &Term<'_>) -> Result<Nat, TextError> {
    let Some(args) = term.args.as_deref() else { return term.bare().map(|()| Nat::Existing) };
    let mut range = NatRange::default();
    let mut direction = None;
    for arg in args {
        match arg.name {
            "src" | "dst" if direction.is_none() => {
                direction = Some(arg.name);
                if let Some(text) = arg.value {
                    let at = arg.at + 4;
                    (range.addresses, range.ports) = addresses_and_ports(text)
                        .ok_or_else(|| TextError::new(at, "ADDRESS[-ADDRESS][:PORT[-PORT]]"))?;
                }
            }
            "persistent" => range.persistent = true,
            "hash" => range.hash = true,
            "random" => range.random = true,
            other => {
                let expected = format!("src or dst once, persistent, hash or random, not '{other}'");
                return Err(TextError::new(arg.at, expected));
            }
        }
    }
    match direction {
        Some("src") => Ok(Nat::Source(range)),
        Some(_) => Ok(Nat::Destination(range)),
        None if args.is_empty() => Ok(Nat::Existing),
        None => Err(TextError::new(term.at, "'src' or 'dst' in 'nat'")),
    }
}

type Ends<T> = Option<(T, T)>;

/// `ADDRESS[-ADDRESS][:PORT[-PORT]]`, with IPv6 addresses in brackets where ports follow, or `:PORT[-PORT]`.
fn addresses_and_ports(text: &str) -> Option<(Ends<IpAddr>, Ends<u16>)> {
    let bracketed = text.starts_with('[');
    let (addresses, ports) = match text.rsplit_once(':') {
        Some((addresses, ports)) if bracketed && addresses.ends_with(']') => (addresses, Some(ports)),
        Some((addresses, ports)) if !bracketed && !addresses.contains(':') => (addresses, Some(ports)),
        _ => (text, None),
    };
    let address = |word: &str| match word.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?.parse().ok(),
        None => word.parse::<IpAddr>().ok(),
    };
    let addresses = if addresses.is_empty() { None } else { Some(ends(addresses, address)?) };
    let ports = ports.map_or(Some(None), |ports| ends(ports, |p| p.parse().ok()).map(Some))?;
    let one_family = addresses.is_none_or(|(a, b): (IpAddr, IpAddr)| a.is_ipv4() == b.is_ipv4());
    one_family.then_some((addresses, ports))
}

/// `A` or `A-B`, in ascending order.
fn ends<T: Copy + PartialOrd>(text: &str, one: impl Fn(&str) -> Option<T>) -> Option<(T, T)> {
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (one(first)?, one(last)?),
        None => (one(text)?, one(text)?),
    };
    (first <= last).then_some((first, last))
}

fn value<T: TryFrom<u128>>(arg: &Term<'_>) -> Result<T, TextError> {
    let (text, at) = arg.value()?;
    narrow(text, at)
}

/// A number, and the mask behind a `/` if there is one.
pub(super) fn masked<T: TryFrom<u128> + Copy>(arg: &Term<'_>, all: T) -> Result<(T, T), TextError> {
    let (text, at) = arg.value()?;
    match text.split_once('/') {
        Some((value, mask)) => Ok((narrow(value, at)?, narrow(mask, at + value.len() + 1)?)),
        None => Ok((narrow(text, at)?, all)),
    }
}

/// A number that fits its type.
pub(super) fn narrow<T: TryFrom<u128>>(text: &str, at: usize) -> Result<T, TextError> {
    let n = number(text).ok_or_else(|| TextError::new(at, "a number"))?;
    T::try_from(n).map_err(|_| TextError::new(at, format!("a number of {} bits", 8 * size_of::<T>())))
}
