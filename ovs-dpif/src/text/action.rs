//! Actions in words.

use std::fmt;

use ovs_packet::Match;
use ovs_packet::key::VLAN_PRESENT;

use super::key::{KeyText, hex};
use ovs_conntrack::CtRequest;

use crate::action::{Cookie, DpAction};

pub(super) struct ActionsText<'a>(pub(super) &'a [DpAction]);

impl fmt::Display for ActionsText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("drop");
        }
        self.0.iter().enumerate().try_for_each(|(i, action)| {
            f.write_str(if i > 0 { "," } else { "" })?;
            write_action(f, action)
        })
    }
}

fn write_action(f: &mut fmt::Formatter<'_>, action: &DpAction) -> fmt::Result {
    match action {
        DpAction::Output(port) => write!(f, "{port}"),
        DpAction::Userspace(Cookie::Controller { reason, recirc_id, rule_cookie, table: _, max_len }) => write!(
            f,
            "userspace(pid=0,controller(reason={reason},dont_send=0,continuation=0,recirc_id={recirc_id},\
             rule_cookie={},controller_id=0,max_len={max_len}))",
            hex((*rule_cookie).into()),
        ),
        DpAction::Set(attr, to) => {
            let m = Match::from(to);
            write!(f, "set({})", KeyText { key: *m.key(), mask: *m.mask() }.of_attr(*attr))
        }
        DpAction::PushVlan { tpid, tci } => {
            f.write_str("push_vlan(")?;
            if *tpid != 0x8100 {
                write!(f, "tpid={tpid:#06x},")?;
            }
            write!(f, "vid={},pcp={})", tci & (VLAN_PRESENT - 1), tci >> 13)
        }
        DpAction::PopVlan => f.write_str("pop_vlan"),
        DpAction::Ct(ct) => write_ct(f, ct),
        DpAction::CtClear => f.write_str("ct_clear"),
        DpAction::Recirc(id) => write!(f, "recirc({id:#x})"),
        DpAction::Clone(actions) => write!(f, "clone({})", ActionsText(actions)),
        DpAction::Drop(_) => f.write_str("drop"),
    }
}

fn write_ct(f: &mut fmt::Formatter<'_>, ct: &CtRequest) -> fmt::Result {
    let mut parts = Vec::new();
    if ct.commit || ct.force {
        parts.push(if ct.force { "force_commit" } else { "commit" }.to_string());
    }
    if ct.zone != 0 {
        parts.push(format!("zone={}", ct.zone));
    }
    if let Some((value, mask)) = ct.mark {
        parts.push(format!("mark={value:#x}/{mask:#x}"));
    }
    if let Some((value, mask)) = ct.label {
        parts.push(format!("label={value:#x}/{mask:#x}"));
    }
    if let Some(helper) = ct.helper {
        parts.push(format!("helper={helper}"));
    }
    if let Some(policy) = ct.timeout_policy {
        parts.push(format!("timeout={policy}"));
    }
    if let Some(nat) = ct.nat {
        parts.push(nat.to_string());
    }
    if parts.is_empty() { f.write_str("ct") } else { write!(f, "ct({})", parts.join(",")) }
}

#[cfg(test)]
mod tests {
    use ovs_conntrack::{Helper, Nat, NatRange};
    use ovs_packet::Match;
    use ovs_packet::field::KeyAttr;

    use super::*;
    use crate::action::PortNo;
    use crate::drops::DropReason;
    use crate::text::actions;

    #[test]
    fn actions_as_upstream_writes_them() {
        let set = |attr, m: &str| DpAction::Set(attr, (&m.parse::<Match>().unwrap()).into());
        let list = [
            set(KeyAttr::Ethernet, "dl_dst=02:00:00:00:00:01"),
            set(KeyAttr::Ipv4, "ip,nw_src=10.0.0.1,nw_ttl=63"),
            DpAction::PushVlan { tpid: 0x8100, tci: 0x6005 },
            DpAction::Ct(CtRequest::commit(5).with_mark(1, 0xff)),
            DpAction::Ct(CtRequest::lookup(0)),
            DpAction::Ct(
                CtRequest::commit(0)
                    .with_helper(Helper::Ftp)
                    .with_timeout_policy(3)
                    .with_nat(Nat::Source(NatRange::address([192, 0, 2, 1]).with_ports(1024, 2047).random())),
            ),
            DpAction::Ct(CtRequest::lookup(0).with_nat(Nat::Existing)),
            DpAction::Clone(vec![DpAction::PopVlan, DpAction::Output(PortNo(3))]),
            DpAction::Recirc(0x12),
        ];
        assert_eq!(
            actions(&list).to_string(),
            "set(eth(dst=02:00:00:00:00:01)),set(ipv4(src=10.0.0.1,ttl=63)),push_vlan(vid=5,pcp=3),\
             ct(commit,zone=5,mark=0x1/0xff),ct,\
             ct(commit,helper=ftp,timeout=3,nat(src=192.0.2.1:1024-2047,random)),ct(nat),clone(pop_vlan,3),recirc(0x12)",
        );
        assert_eq!(actions(&[DpAction::Drop(DropReason::FlowDrop)]).to_string(), "drop");
    }
}
