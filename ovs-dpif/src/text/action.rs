//! Actions in words.

use std::fmt::{Display, Formatter, Result};

use ovs_packet::FlowKey;
use ovs_packet::field::KeyAttr;
use ovs_packet::key::{SparseKey, VLAN_PRESENT};

use super::key::KeyText;
use super::tunnel::hex_bytes;
use super::value::{self, hex};
use super::{PortNames, attr};
use crate::action::{Cookie, DpAction, HashAlgorithm, PortNo, SampleDirection, SlowPath, Userspace};

/// A list of actions; an empty one is `drop`.
pub(super) struct ActionsText<'a> {
    pub(super) actions: &'a [DpAction],
    pub(super) ports: &'a dyn PortNames,
    /// Ethertype and transport protocol of the packets, where the kernel's names for timeout policies are wanted.
    pub(super) protocols: Option<(u16, u8)>,
    /// Whether `drop` tells why.
    pub(super) reasons: bool,
}

impl Display for ActionsText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if self.actions.is_empty() {
            return f.write_str("drop");
        }
        self.actions.iter().enumerate().try_for_each(|(i, action)| {
            f.write_str(if i > 0 { "," } else { "" })?;
            self.action(f, action)
        })
    }
}

impl<'a> ActionsText<'a> {
    fn list(&self, actions: &'a [DpAction]) -> ActionsText<'a> {
        ActionsText { actions, ..*self }
    }

    fn port(&self, port: PortNo) -> String {
        self.ports.name(port.0).unwrap_or_else(|| port.to_string())
    }

    fn action(&self, f: &mut Formatter<'_>, action: &'a DpAction) -> Result {
        match action {
            DpAction::Output(port) => f.write_str(&self.port(*port)),
            DpAction::LbOutput(bond) => write!(f, "lb_output({bond})"),
            DpAction::Userspace(copy) => write_userspace(f, copy),
            DpAction::Set(attr, to) => {
                let (key, mask) = (to.values(), to.mask());
                let text = KeyText { key, mask, ports: self.ports, all: false, packet: true, kernel: false };
                write!(f, "set({})", text.of_attr(*attr))
            }
            DpAction::PushVlan { tpid, tci } => {
                f.write_str("push_vlan(")?;
                if *tpid != 0x8100 {
                    write!(f, "tpid={tpid:#06x},")?;
                }
                let cfi = if tci & VLAN_PRESENT == 0 { ",cfi=0" } else { "" };
                write!(f, "vid={},pcp={}{cfi})", tci & (VLAN_PRESENT - 1), tci >> 13)
            }
            DpAction::PopVlan => f.write_str("pop_vlan"),
            DpAction::PushMpls { eth_type, lse } => write_mpls(f, "push_mpls", *eth_type, *lse),
            DpAction::AddMpls { eth_type, lse } => write_mpls(f, "add_mpls", *eth_type, *lse),
            DpAction::PopMpls(eth_type) => write!(f, "pop_mpls(eth_type={eth_type:#x})"),
            DpAction::PushEth { src, dst } => write!(f, "push_eth(src={src},dst={dst})"),
            DpAction::TunnelPush(push) => super::outer::write(f, push, self.ports),
            DpAction::TunnelPop(port) => write!(f, "tnl_pop({})", self.port(*port)),
            DpAction::PopEth => f.write_str("pop_eth"),
            DpAction::PushNsh { header, metadata } => write_nsh(f, header, metadata),
            DpAction::PopNsh => f.write_str("pop_nsh()"),
            DpAction::Ct(request) => super::ct::write(f, request, self.protocols),
            DpAction::CtClear => f.write_str("ct_clear"),
            DpAction::Recirc(id) => write!(f, "recirc({})", hex((*id).into())),
            DpAction::Hash { algorithm: HashAlgorithm::L4, basis } => write!(f, "hash(l4({basis}))"),
            DpAction::Hash { algorithm: HashAlgorithm::SymmetricL4, basis } => write!(f, "hash(sym_l4({basis}))"),
            DpAction::Sample { probability, actions } => {
                let percent = 100.0 * f64::from(*probability) / f64::from(u32::MAX);
                write!(f, "sample(sample={percent:.1}%,actions({}))", self.list(actions))
            }
            DpAction::Clone(actions) => write!(f, "clone({})", self.list(actions)),
            DpAction::CheckPktLen { len, greater, less_equal } => {
                write!(f, "check_pkt_len(size={len},gt({}),le({}))", self.list(greater), self.list(less_equal))
            }
            DpAction::Trunc(len) => write!(f, "trunc({len})"),
            DpAction::Meter(id) => write!(f, "meter({id})"),
            DpAction::DecTtl(actions) => write!(f, "dec_ttl(le_1({}))", self.list(actions)),
            DpAction::Psample { group, cookie } => {
                write!(f, "psample(group={group}")?;
                if !cookie.is_empty() {
                    write!(f, ",cookie={}", hex_bytes(cookie))?;
                }
                f.write_str(")")
            }
            DpAction::Drop(reason) if self.reasons => write!(f, "drop({})", reason.id()),
            DpAction::Drop(_) => f.write_str("drop"),
        }
    }
}

fn write_mpls(f: &mut Formatter<'_>, name: &str, eth_type: u16, lse: u32) -> Result {
    let (label, tc, bos, ttl) = (lse >> 12, lse >> 9 & 7, lse >> 8 & 1, lse & 0xff);
    write!(f, "{name}(label={label},tc={tc},ttl={ttl},bos={bos},eth_type={eth_type:#x})")
}

fn write_nsh(f: &mut Formatter<'_>, header: &SparseKey, metadata: &[u8]) -> Result {
    let key = FlowKey::from(header);
    let fixed = key.nsh_mdtype == 1;
    let members = attr::row(KeyAttr::Nsh).map_or(&[][..], |row| row.members);
    let shown = members.iter().filter(|m| fixed || !m.name.starts_with('c'));
    let mut parts: Vec<_> =
        shown.map(|m| format!("{}={}", m.name, value::write(m, m.place.get(&key), m.place.max(), &()))).collect();
    if !fixed {
        parts.push(format!("md2={}", hex_bytes(metadata)));
    }
    write!(f, "push_nsh({})", parts.join(","))
}

fn write_bytes(f: &mut Formatter<'_>, bytes: &[u8]) -> Result {
    bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
}

fn write_userspace(f: &mut Formatter<'_>, copy: &Userspace) -> Result {
    let output = |port: Option<PortNo>| port.map_or(u32::MAX, |p| p.0);
    write!(f, "userspace(pid={}", copy.pid)?;
    match &copy.cookie {
        Cookie::Controller {
            reason,
            dont_send,
            continuation,
            recirc_id,
            rule_cookie,
            table: _,
            controller_id,
            max_len,
        } => {
            write!(f, ",controller(reason={reason},dont_send={},", u8::from(*dont_send))?;
            write!(f, "continuation={},recirc_id={recirc_id},", u8::from(*continuation))?;
            write!(f, "rule_cookie={},controller_id={controller_id},max_len={max_len})", hex((*rule_cookie).into()))?;
        }
        Cookie::SlowPath(reasons) => {
            let named = reasons.iter().map(|r| SlowPath::NAMES.get(r.bits().trailing_zeros() as usize).copied());
            let words: Vec<_> = named.flatten().collect();
            write!(f, ",slow_path({})", if words.is_empty() { "0".into() } else { words.join("|") })?;
        }
        Cookie::SFlow { vlan_tci, output } => {
            let (vid, pcp) = (vlan_tci & (VLAN_PRESENT - 1), vlan_tci >> 13);
            write!(f, ",sFlow(vid={vid},pcp={pcp},output={output})")?;
        }
        Cookie::FlowSample { probability, collector_set_id, obs_domain_id, obs_point_id, output_port, direction } => {
            write!(f, ",flow_sample(probability={probability},collector_set_id={collector_set_id},")?;
            write!(f, "obs_domain_id={obs_domain_id},obs_point_id={obs_point_id},")?;
            write!(f, "output_port={}{})", output(*output_port), direction_suffix(*direction))?;
        }
        Cookie::Ipfix { output_port } => write!(f, ",ipfix(output_port={})", output(*output_port))?,
        Cookie::UserData(bytes) => {
            f.write_str(",userdata(")?;
            write_bytes(f, bytes)?;
            f.write_str(")")?;
        }
    }
    if copy.with_actions {
        f.write_str(",actions")?;
    }
    if let Some(port) = copy.tunnel_out_port {
        write!(f, ",tunnel_out_port={port}")?;
    }
    f.write_str(")")
}

fn direction_suffix(direction: SampleDirection) -> &'static str {
    match direction {
        SampleDirection::Default => "",
        SampleDirection::Ingress => ",ingress",
        SampleDirection::Egress => ",egress",
    }
}
