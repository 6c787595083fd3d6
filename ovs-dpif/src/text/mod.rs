//! Keys, actions and megaflows in the words of `ovs-dpctl`, both ways.
//!
//! Text is read as a tree of terms first, then as what the terms mean; an error tells the byte at which it stands.
//! The attributes of a key are one table, from which both directions follow.
//!
//! ```
//! use ovs_dpif::{DpAction, PortNo, text};
//! use ovs_packet::Match;
//!
//! let m: Match = "recirc_id=0,in_port=1,icmp,nw_dst=10.0.0.0/8".parse().unwrap();
//! assert_eq!(
//!     text::key(&m).to_string(),
//!     "recirc_id(0),in_port(1),eth(),eth_type(0x0800),ipv4(dst=10.0.0.0/255.0.0.0,proto=1)",
//! );
//! assert_eq!(text::actions(&[DpAction::Output(PortNo(2)), DpAction::PopVlan]).to_string(), "2,pop_vlan");
//! assert_eq!(text::actions(&[]).to_string(), "drop");
//! ```

mod action;
mod attr;
mod ct;
mod error;
mod key;
mod outer;
mod parse_action;
mod parse_key;
#[cfg(test)]
mod tests;
mod tree;
mod tunnel;
mod value;

#[cfg(all(feature = "kernel", target_os = "linux"))]
pub(crate) use ct::{timeout_name, timeout_policy};
pub use error::TextError;

use std::fmt;

use ovs_packet::field::{FieldId, KeyAttr};
use ovs_packet::key::{Match, TUN_METADATA_BYTES};
use ovs_packet::packet::TunnelFlags;
use ovs_packet::{FlowKey, FlowMask, Instant};

use crate::action::DpAction;
use crate::dpif::{DpFlow, DpFlowStats};

/// The names of ports, for texts that say `eth0` for `3`.
pub trait PortNames {
    /// The name of the port with this number, if it is known.
    fn name(&self, number: u32) -> Option<String>;

    /// The number of the port with this name, if it is known.
    fn number(&self, name: &str) -> Option<u32>;
}

/// No port has a name.
impl PortNames for () {
    fn name(&self, _: u32) -> Option<String> {
        None
    }

    fn number(&self, _: &str) -> Option<u32> {
        None
    }
}

/// A match as a datapath key: only what is matched, with masks where they are not whole.
pub fn key(m: &Match) -> impl fmt::Display {
    masked_key(&m.key(), &m.mask(), &())
}

/// A key as a datapath key, with those of its fields that `mask` has bits of, and masks where they are not whole.
///
/// Values are written with the bits outside the mask, as they are in `key`: a megaflow tells so which packet made it.
pub fn masked_key<'p>(key: &FlowKey, mask: &FlowMask, ports: &'p dyn PortNames) -> impl fmt::Display + use<'p> {
    key::KeyText { key: *key, mask: *mask, ports, all: false, packet: false, kernel: false }
}

/// The same with what is not matched of the packet's headers too, under masks of zero (`dump-flows -m`).
pub fn full_key<'p>(key: &FlowKey, mask: &FlowMask, ports: &'p dyn PortNames) -> impl fmt::Display + use<'p> {
    key::KeyText { key: *key, mask: *mask, ports, all: true, packet: false, kernel: false }
}

/// The key of a megaflow in the kernel, with all of it or with what is matched: attributes that the kernel has, and masks
/// as wide as its attributes.
pub fn kernel_key<'p>(
    key: &FlowKey,
    mask: &FlowMask,
    ports: &'p dyn PortNames,
    all: bool,
) -> impl fmt::Display + use<'p> {
    let mut mask = *mask;
    // Whether there is an Ethernet header says it.
    mask.bits.packet_type.set(0);
    key::KeyText { key: *key, mask, ports, all, packet: false, kernel: true }
}

/// A packet's whole key as a datapath key.
pub fn exact_key(k: &FlowKey) -> impl fmt::Display {
    key::KeyText { key: *k, mask: exact_mask(k), ports: &(), all: false, packet: true, kernel: false }
}

/// Reads a datapath key: its values, and the mask of what it names.
///
/// A name stands for its port where `ports` knows it. Values without a mask are exact.
///
/// ```
/// use ovs_dpif::text;
///
/// let (key, mask) = text::parse_key("in_port(1),eth(),eth_type(0x0800),ipv4(dst=10.0.0.0/255.0.0.0)", &())?;
/// assert_eq!((key.in_port.get(), mask.bits.nw_dst.get()), (1, 0xff00_0000));
/// let error = text::parse_key("in_port(1),ipv5()", &()).unwrap_err();
/// assert_eq!(error.to_string(), "syntax error at character 12: expected an attribute of a key, not 'ipv5'");
/// # Ok::<(), text::TextError>(())
/// ```
///
/// # Errors
/// If the text is no key; the error tells where.
pub fn parse_key(text: &str, ports: &dyn PortNames) -> Result<(FlowKey, FlowMask), TextError> {
    parse_key::KeyReader::new(ports).key(&tree::terms(text)?)
}

/// Actions, with commas between them; `drop` if there are none.
pub fn actions(actions: &[DpAction]) -> impl fmt::Display {
    named_actions(actions, &())
}

/// Actions, with names for ports that have one.
pub fn named_actions<'a>(actions: &'a [DpAction], ports: &'a dyn PortNames) -> impl fmt::Display + 'a {
    action::ActionsText { actions, ports, protocols: None, reasons: false }
}

/// Actions, where `drop` tells its reason, by its [id](crate::DropReason::id): upstream's tools neither write this nor read it,
/// and [`parse_actions`] does. Without reasons a `drop` alone is read as no action.
///
/// ```
/// use ovs_dpif::{DpAction, DropReason, text};
///
/// let drop = [DpAction::Drop(DropReason::TooDeep)];
/// assert_eq!(text::actions(&drop).to_string(), "drop");
/// assert_eq!(text::reasoned_actions(&drop, &()).to_string(), "drop(too_deep)");
/// assert_eq!(text::parse_actions("drop(too_deep)", &())?, drop);
/// # Ok::<(), text::TextError>(())
/// ```
pub fn reasoned_actions<'a>(actions: &'a [DpAction], ports: &'a dyn PortNames) -> impl fmt::Display + 'a {
    action::ActionsText { actions, ports, protocols: None, reasons: true }
}

/// Actions of a megaflow in the kernel, which knows timeout policies by names that tell the protocols of `key`.
pub fn kernel_actions<'a>(
    actions: &'a [DpAction],
    key: &FlowKey,
    ports: &'a dyn PortNames,
) -> impl fmt::Display + use<'a> {
    action::ActionsText { actions, ports, protocols: Some((key.eth_type.get(), key.nw_proto)), reasons: false }
}

/// Reads actions; `drop` is none. A `drop` may tell its reason, as in [`reasoned_actions`].
///
/// ```
/// use ovs_dpif::{DpAction, PortNo, text};
///
/// assert_eq!(text::parse_actions("pop_vlan,2", &())?, [DpAction::PopVlan, DpAction::Output(PortNo(2))]);
/// # Ok::<(), text::TextError>(())
/// ```
///
/// # Errors
/// If the text is no list of actions; the error tells where.
pub fn parse_actions(text: &str, ports: &dyn PortNames) -> Result<Vec<DpAction>, TextError> {
    parse_action::actions(&tree::terms(text)?, ports)
}

/// A megaflow as a line of `dpctl/dump-flows`.
///
/// ```
/// use ovs_dpif::{DpAction, DpFlow, DpFlowStats, PortNo, Ufid, text};
/// use ovs_packet::{Instant, Match};
///
/// let m: Match = "recirc_id=0,in_port=1,arp".parse().unwrap();
/// let stats = DpFlowStats { packets: 3, bytes: 126, used: Some(Instant::from_millis(1500)), tcp_flags: 0 };
/// let (key, mask) = ((&m.key()).into(), (&m.mask().bits).into());
/// let flow = DpFlow { ufid: Ufid::of(&m), key, mask, actions: vec![DpAction::Output(PortNo(2))], stats };
/// assert_eq!(
///     text::flow(&flow, Instant::from_secs(2)).to_string(),
///     "recirc_id(0),in_port(1),eth(),eth_type(0x0806), packets:3, bytes:126, used:0.500s, actions:2",
/// );
/// ```
pub fn flow(flow: &DpFlow, now: Instant) -> impl fmt::Display {
    FlowText { flow, now }
}

struct FlowText<'a> {
    flow: &'a DpFlow,
    now: Instant,
}

impl fmt::Display for FlowText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DpFlow { ufid: _, key, mask, actions: acts, stats } = self.flow;
        let key = masked_key(&key.into(), &FlowMask { bits: mask.into() }, &());
        write!(f, "{key}, {}, actions:{}", flow_stats(stats, self.now), actions(acts))
    }
}

/// What went through a megaflow, as in a line of `dpctl/dump-flows`.
pub fn flow_stats(stats: &DpFlowStats, now: Instant) -> impl fmt::Display {
    StatsText { stats: *stats, now }
}

struct StatsText {
    stats: DpFlowStats,
    now: Instant,
}

impl fmt::Display for StatsText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StatsText { stats, now } = self;
        write!(f, "packets:{}, bytes:{}, used:", stats.packets, stats.bytes)?;
        match stats.used {
            Some(used) => write!(f, "{:.3}s", (*now - used).as_secs_f64())?,
            None => f.write_str("never")?,
        }
        if stats.tcp_flags != 0 {
            f.write_str(", flags:")?;
            let set = "FSRP.UECN".chars().enumerate().filter(|(bit, _)| stats.tcp_flags >> bit & 1 != 0);
            set.into_iter().try_for_each(|(_, name)| write!(f, "{name}"))?;
        }
        Ok(())
    }
}

/// All bits of every field that a packet with this key has.
pub(crate) fn exact_mask(key: &FlowKey) -> FlowMask {
    let mut mask = FlowMask::EMPTY;
    let tunnelled = key.tun_dst != 0 || key.tun_ipv6_dst != 0 || key.tun_src != 0 || key.tun_ipv6_src != 0;
    let present = |f: &FieldId| match f.info().attr {
        None => false,
        Some(KeyAttr::Tunnel) => tunnelled && (*f == FieldId::TunTtl || f.info().get(key) != 0),
        Some(KeyAttr::NdExtensions) => f.info().prereq.holds(key) && (key.igmp_group != 0 || key.tcp_flags != 0),
        Some(_) => f.info().prereq.holds(key),
    };
    FieldId::all().filter(present).for_each(|f| mask.add(f));
    let bits = &mut mask.bits;
    if tunnelled {
        bits.tun_flags = TunnelFlags::all().bits();
        bits.tun_tp_src.set(if key.tun_tp_src == 0 { 0 } else { u16::MAX });
        bits.tun_tp_dst.set(if key.tun_tp_dst == 0 { 0 } else { u16::MAX });
        let len = key.tun_present.get().min(TUN_METADATA_BYTES as u64) as usize;
        bits.tun_metadata.iter_mut().take(len).for_each(|b| *b = 0xff);
    }
    if bits.mpls_lse.iter().any(|lse| *lse != 0) {
        bits.mpls_lse.iter_mut().for_each(|lse| lse.set(u32::MAX));
    }
    bits.inner_vlan_tci.set(if key.inner_vlan_tci == 0 { 0 } else { u16::MAX });
    mask
}
