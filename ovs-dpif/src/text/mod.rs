//! Keys, actions and megaflows in the words of `ovs-dpctl`: what a datapath holds, for people and scripts to read.
//!
//! ```
//! use ovs_dpif::{DpAction, PortNo, text};
//! use ovs_packet::Match;
//!
//! let m: Match = "recirc_id=0,in_port=1,icmp,nw_dst=10.0.0.0/8".parse().unwrap();
//! assert_eq!(
//!     text::key(&m).to_string(),
//!     "recirc_id(0),in_port(1),eth_type(0x0800),ipv4(dst=10.0.0.0/255.0.0.0,proto=1)",
//! );
//! assert_eq!(text::actions(&[DpAction::Output(PortNo(2)), DpAction::PopVlan]).to_string(), "2,pop_vlan");
//! assert_eq!(text::actions(&[]).to_string(), "drop");
//! ```

mod action;
mod key;

use std::fmt;

use ovs_packet::key::Match;
use ovs_packet::{FlowKey, FlowMask, Instant};

use crate::action::DpAction;
use crate::dpif::DpFlow;

/// A match as a datapath key: only what is matched, with masks where they are not whole.
pub fn key(m: &Match) -> impl fmt::Display {
    key::KeyText { key: *m.key(), mask: *m.mask() }
}

/// A packet's whole key as a datapath key.
pub fn exact_key(k: &FlowKey) -> impl fmt::Display {
    key::KeyText { key: *k, mask: exact_mask(k) }
}

/// Actions, with commas between them; `drop` if there are none.
pub fn actions(actions: &[DpAction]) -> impl fmt::Display {
    action::ActionsText(actions)
}

/// A megaflow as a line of `dpctl/dump-flows`.
///
/// ```
/// use ovs_dpif::{DpAction, DpFlow, DpFlowStats, PortNo, Ufid, text};
/// use ovs_packet::{Instant, Match};
///
/// let m: Match = "recirc_id=0,in_port=1,arp".parse().unwrap();
/// let stats = DpFlowStats { packets: 3, bytes: 126, used: Some(Instant::from_millis(1500)), tcp_flags: 0 };
/// let flow = DpFlow { ufid: Ufid::of(&m), matching: (&m).into(), actions: vec![DpAction::Output(PortNo(2))], stats };
/// assert_eq!(
///     text::flow(&flow, Instant::from_secs(2)).to_string(),
///     "recirc_id(0),in_port(1),eth_type(0x0806), packets:3, bytes:126, used:0.500s, actions:2",
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
        let DpFlow { ufid: _, matching, actions: acts, stats } = self.flow;
        write!(f, "{}, packets:{}, bytes:{}, used:", key(&matching.into()), stats.packets, stats.bytes)?;
        match stats.used {
            Some(used) => write!(f, "{:.3}s", (self.now - used).as_secs_f64())?,
            None => f.write_str("never")?,
        }
        if stats.tcp_flags != 0 {
            f.write_str(", flags:")?;
            let set = "FSRP.UECN".chars().enumerate().filter(|(bit, _)| stats.tcp_flags >> bit & 1 != 0);
            set.into_iter().try_for_each(|(_, name)| write!(f, "{name}"))?;
        }
        write!(f, ", actions:{}", actions(acts))
    }
}

/// All bits of every field that a packet with this key has.
fn exact_mask(key: &FlowKey) -> FlowMask {
    use ovs_packet::field::FieldId;
    let mut mask = FlowMask::EMPTY;
    let present = |f: &FieldId| f.info().attr.is_some() && f.info().prereq.holds(key);
    FieldId::all().filter(present).for_each(|f| mask.add(f));
    mask
}
