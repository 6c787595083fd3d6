//! What this kernel can do: megaflows that would need it are put, under a flag that keeps the kernel from complaining in
//! its log, and removed again.

use ovs_netlink::Flags;
use ovs_netlink::ovs::{Command, Flow};
use ovs_packet::field::FieldId;
use ovs_packet::field::KeyAttr;
use ovs_packet::key::{FlowKey, MPLS_DEPTH, Match, VLAN_PRESENT};

use super::datapath::{Datapath, Dispatch, failed};
use super::flows::{encode_put, ufid_bytes};
use crate::action::{DpAction, PortNo};
use crate::dpif::{DpifError, Features, FlowPut, Ufid, always_matched};
use crate::drops::DropReason;

/// How deep `sample` and `clone` are tried.
const DEEPEST: usize = 10;

/// A megaflow that needs what is asked for.
struct Trial {
    key: FlowKey,
    matches: Vec<FieldId>,
    actions: Vec<DpAction>,
}

/// A recirculation id that nobody has: no packet ever matches a trial.
const NOWHERE: u32 = u32::MAX;

fn ip() -> FlowKey {
    let mut key = "tcp,nw_src=192.0.2.1".parse::<Match>().unwrap_or_default().key();
    key.recirc_id.set(NOWHERE);
    key
}

fn does(actions: Vec<DpAction>) -> Trial {
    Trial { key: ip(), matches: Vec::new(), actions }
}

fn knows(key: FlowKey, matches: &[FieldId]) -> Trial {
    Trial { key, matches: matches.to_vec(), actions: Vec::new() }
}

fn labels(count: usize) -> Trial {
    let mut key = FlowKey::ZERO;
    key.recirc_id.set(NOWHERE);
    key.eth_type.set(0x8847);
    key.mpls_lse
        .iter_mut()
        .take(count)
        .enumerate()
        .for_each(|(i, lse)| lse.set(if i + 1 == count { 0x100 } else { 0x1000 }));
    knows(key, &[])
}

fn tags(count: usize) -> Trial {
    let mut key = ip();
    key.vlan_tpid.set(0x8100);
    key.vlan_tci.set(VLAN_PRESENT | 1);
    if count > 1 {
        key.inner_vlan_tpid.set(0x8100);
        key.inner_vlan_tci.set(VLAN_PRESENT | 2);
    }
    knows(key, &[])
}

fn nested(depth: usize) -> Trial {
    let inner = vec![DpAction::Output(PortNo::LOCAL)];
    let deep =
        (0..depth).fold(inner, |actions, _| vec![DpAction::Sample { probability: 1, actions }, DpAction::PopVlan]);
    let mut trial = tags(1);
    trial.actions = deep;
    trial
}

/// Asks the kernel for everything at once.
pub(super) fn features(datapath: &mut Datapath) -> Result<Features, DpifError> {
    if datapath.options.dispatch == Dispatch::Observe {
        // Who only looks changes nothing, not even for a moment.
        return Ok(Features::NONE);
    }
    let local = || vec![DpAction::Output(PortNo::LOCAL)];
    let mut set_ttl = Match::default();
    set_ttl.set(FieldId::NwTtl, 9);
    let mut state = ip();
    state.ct_state = 0x20;
    let mut zone = state;
    zone.ct_zone.set(1);
    let mut label = state;
    label.ct_label.set(1);
    let mut bare = ip();
    bare.packet_type.set(0x1_0800);
    let fixed = [
        does(vec![DpAction::Clone(vec![DpAction::Set(KeyAttr::Ipv4, (&set_ttl).into()), DpAction::PopVlan])]),
        does(vec![DpAction::Trunc(100), DpAction::Output(PortNo::LOCAL)]),
        does(vec![DpAction::CheckPktLen { len: 100, greater: local(), less_equal: Vec::new() }]),
        does(vec![DpAction::DecTtl(local())]),
        does(vec![DpAction::CtClear]),
        does(vec![DpAction::Drop(DropReason::FlowDrop)]),
        does(vec![DpAction::AddMpls { eth_type: 0x8847, lse: 0x100 }]),
        knows(bare, &[]),
        does(vec![DpAction::Psample { group: 1, cookie: Default::default() }]),
        knows(state, &[FieldId::CtState]),
        knows(zone, &[FieldId::CtState, FieldId::CtZone]),
        knows(label, &[FieldId::CtState, FieldId::CtLabel]),
        tags(1),
        tags(2),
    ];
    let fixed_count = fixed.len();
    // The clone above has no tag to pop.
    let mut trials: Vec<Trial> = fixed.into();
    if let Some(first) = trials.first_mut() {
        first.actions = vec![DpAction::Clone(vec![DpAction::Set(KeyAttr::Ipv4, (&set_ttl).into())])];
    }
    trials.extend((1..=MPLS_DEPTH).map(labels));
    trials.extend((1..=DEEPEST).map(nested));
    let works = datapath.try_all(&trials)?;
    let able = |i: usize| works.get(i).copied().unwrap_or(false);
    let run = |from: usize, count: usize| (from..from + count).take_while(|i| able(*i)).count() as u8;
    let (meters, meter_bands) = datapath.meter_bounds();
    Ok(Features {
        native_tunnels: false,
        vlan_headers: u8::from(able(12)) + u8::from(able(12) && able(13)),
        mpls_depth: run(fixed_count, MPLS_DEPTH),
        sample_nesting: run(fixed_count + MPLS_DEPTH, DEEPEST),
        meters,
        meter_bands,
        clone: able(0),
        trunc: able(1),
        check_pkt_len: able(2),
        dec_ttl: able(3),
        ct_clear: able(4),
        explicit_drop: able(5),
        // OVS_ACTION_ATTR_SET has no such keys in any kernel.
        set_messages: false,
        add_mpls: able(6),
        packet_types: able(7),
        lb_output: false,
        psample: able(8),
        versions: false,
        ct: able(9),
        ct_zones: able(10),
        ct_labels: able(11),
        ct_timeouts: able(10),
        whole_ledger: false,
    })
}

impl Datapath {
    /// Which of the megaflows the kernel takes.
    fn try_all(&mut self, trials: &[Trial]) -> Result<Vec<bool>, DpifError> {
        let (family, dp_ifindex) = (self.families.flow.id, self.dp_ifindex);
        let ufid = |i: usize| Ufid(u128::MAX - i as u128);
        let mut works = Vec::new();
        // One after the other: two with the same key cannot be there at once.
        for (i, trial) in trials.iter().enumerate() {
            let mut mask = always_matched();
            trial.matches.iter().for_each(|field| mask.add(*field));
            // Whatever of the headers is told of is matched.
            let exact = Match::exact_non_zero(trial.key);
            mask |= &exact.mask();
            let put = FlowPut::new(&trial.key, &mask, &trial.actions);
            let mut request = Vec::new();
            let encoded = encode_put(&mut request, family, dp_ifindex, &put, u32::MAX, ufid(i), true);
            encoded.map_err(|e| failed("probe")(e.into()))?;
            let taken = self.socket.get_mut().transact(&mut request, |_| Ok(()));
            if let Err(error) = &taken
                && error.errno().is_none()
            {
                return Err(DpifError::AnswerLost);
            }
            works.push(taken.is_ok());
            if taken.is_ok() {
                let bytes = ufid_bytes(ufid(i));
                let flow = Flow { dp_ifindex, ufid: Some(&bytes), ..Flow::default() };
                request.clear();
                let encoded = flow.encode(&mut request, family, Command::Delete, Flags::REQUEST);
                encoded.map_err(|e| failed("probe")(e.into()))?;
                self.socket.get_mut().transact(&mut request, |_| Ok(())).map_err(failed("probe"))?;
            }
        }
        Ok(works)
    }
}
