//! What every datapath does alike: a test kit that any implementation of [`Dpif`] can be run through.
//!
//! A backend gives the kit a [`Subject`]: its datapath, and a way to be the network on the other side of its ports.
//! Every [`LAWS`] entry is a function that makes what it needs, and panics with what went wrong where the datapath
//! does not keep to the contract. Each law gets a subject of its own, fresh.
//!
//! ```
//! use ovs_dpif::conformance::{LAWS, MemSubject};
//!
//! for (name, law) in LAWS {
//!     println!("{name}");
//!     law(&mut MemSubject::new());
//! }
//! ```

use std::time::Duration;

use ovs_packet::field::KeyAttr;
use ovs_packet::key::{FlowKey, FlowMask, Match};
use ovs_packet::{Instant, Packet, compose, extract};

use crate::action::{Cookie, DpAction, PortNo, SlowPath, Userspace};
use crate::assignment::Assignment;
use crate::dpif::{
    BOND_BUCKETS, DpifError, Features, FlowPut, Operation, Outcome, PortSpec, PutMode, Resolution, Upcall, UpcallKind,
    always_matched,
};
use crate::drops::DropReason;
use crate::meter::{Band, Config, Unit};
use crate::netdev::{MemPort, MemPortPeer};
use crate::userspace::Datapath;
use crate::{Dpif, Ledger};

/// A datapath under test, and the network around it.
pub trait Subject {
    /// The datapath.
    fn dpif(&mut self) -> &mut dyn Dpif;

    /// Adds a port called `name`.
    ///
    /// # Errors
    /// As [`Dpif::port_add`].
    fn add_port(&mut self, name: &str, wanted: Option<PortNo>) -> Result<PortNo, DpifError>;

    /// Puts a packet on the wire of `port`, for the datapath to receive.
    fn send(&mut self, port: PortNo, packet: Packet);

    /// Takes what the datapath sent out of `port` since the last time.
    fn take(&mut self, port: PortNo) -> Vec<Packet>;

    /// Lets time pass, and the datapath work until it has nothing to do. Returns what came up.
    ///
    /// A backend with threads or a kernel of its own waits until it is quiet.
    fn settle(&mut self, passes: Duration) -> Vec<Upcall>;

    /// The time.
    fn now(&self) -> Instant;
}

/// A law: a function that panics where a datapath breaks it.
pub type Law = fn(&mut dyn Subject);

macro_rules! laws {
    ($($name:ident)+) => {
        /// Every law by its name.
        pub const LAWS: &[(&str, Law)] = &[$((stringify!($name), $name)),+];
    };
}

laws! {
    ports_have_names_and_numbers
    a_miss_comes_up_once_and_waits
    a_megaflow_answers_for_its_packets
    megaflows_are_found_changed_and_removed
    identities_and_modes_are_the_callers
    batches_are_answered_one_by_one
    dumps_agree_with_one_another
    megaflows_obey_what_is_published
    no_actions_drop
    what_is_no_frame_is_dropped
    copies_do_not_share_edits
    headers_are_set
    tags_come_and_go
    labels_are_pushed_and_popped
    labels_go_in_front_of_frames
    packets_lose_ethernet_and_get_it_back
    recirculation_comes_back
    recirculation_ends
    nesting_ends
    truncation_holds_for_one_output
    lengths_are_told_apart
    meters_let_so_much_pass
    bonds_send_by_hash
    userspace_gets_a_copy
    packets_of_the_switch_are_sent
    ports_that_are_gone_take_nothing
}

const UDP: &str = "udp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=64,\
                   tp_src=1000,tp_dst=2000";

fn packet(words: &str) -> Packet {
    let m: Match = words.parse().expect("a match");
    compose::compose(m.key(), &[0x5a; 30])
}

fn key_of(packet: &Packet) -> FlowKey {
    let mut key = FlowKey::ZERO;
    extract::extract(&mut packet.clone(), &mut key);
    key
}

fn out(port: PortNo) -> DpAction {
    DpAction::Output(port)
}

fn set(attr: KeyAttr, words: &str) -> DpAction {
    DpAction::Set(attr, Assignment::from(&words.parse::<Match>().expect("a match")))
}

/// The key of an untagged UDP packet from `port`, and a mask that tells it from those of other ports.
fn flow(port: PortNo) -> (FlowKey, FlowMask) {
    let mut key = key_of(&packet(UDP));
    key.in_port.set(port.0);
    // Actions write headers only where the megaflow says that they are there.
    let mut mask = always_matched();
    mask.add(ovs_packet::field::FieldId::NwProto);
    (key, mask)
}

fn three(s: &mut dyn Subject) -> [PortNo; 3] {
    ["c1", "c2", "c3"].map(|name| s.add_port(name, None).expect("a port"))
}

fn install(s: &mut dyn Subject, port: PortNo, actions: &[DpAction]) -> crate::Ufid {
    let (key, mask) = flow(port);
    s.dpif().flow_put(&key, &mask, actions).expect("a megaflow")
}

/// Sends a UDP packet into `port`; nothing may come up.
fn pass(s: &mut dyn Subject, port: PortNo) {
    s.send(port, packet(UDP));
    assert!(s.settle(Duration::from_millis(1)).is_empty(), "a packet came up that a megaflow matches");
}

fn balanced(s: &mut dyn Subject) -> Ledger {
    let ledger = s.dpif().ledger().clone();
    assert!(ledger.balanced(), "packets are not accounted for: {ledger}");
    ledger
}

/// Whether the ledger tells of a packet that the datapath dropped for this reason, where it tells of all packets.
fn dropped_one(s: &mut dyn Subject, reason: DropReason) -> bool {
    balanced(s).drops(reason) == 1 || !s.dpif().features().whole_ledger
}

fn ports_have_names_and_numbers(s: &mut dyn Subject) {
    let first = s.add_port("one", None).expect("a port");
    let second = s.add_port("two", Some(PortNo(77))).expect("a port with the number wanted");
    assert_eq!(second, PortNo(77));
    assert!(matches!(s.add_port("one", None), Err(DpifError::PortExists(name)) if name == "one"));
    assert!(matches!(s.add_port("three", Some(PortNo(77))), Err(DpifError::PortNumberTaken(PortNo(77)))));
    let ports = s.dpif().ports().expect("the ports");
    let known: Vec<_> = ports.iter().filter(|p| p.port != PortNo::LOCAL).map(|p| (p.port, p.name.as_str())).collect();
    assert_eq!(known, [(first, "one"), (second, "two")], "ports are told by number");
    s.dpif().port_del(first).expect("it is there");
    assert!(matches!(s.dpif().port_del(first), Err(DpifError::NoSuchPort(p)) if p == first));
}

fn a_miss_comes_up_once_and_waits(s: &mut dyn Subject) {
    let [a, b, _] = three(s);
    s.send(a, packet(UDP));
    let mut upcalls = s.settle(Duration::from_millis(1));
    assert_eq!(upcalls.len(), 1, "one packet, one upcall");
    assert!(s.take(b).is_empty() && balanced(s).in_flight == 1, "the packet waits");
    let upcall = upcalls.remove(0);
    assert_eq!((&upcall.kind, upcall.key.in_port.get(), upcall.key.tp_dst.get()), (&UpcallKind::Miss, a.0, 2000));
    let now = s.now();
    s.dpif().resolve(upcall, Resolution::Execute(&[out(b)]), now, &mut upcalls);
    s.settle(Duration::ZERO);
    assert!(upcalls.is_empty() && s.take(b).len() == 1, "it goes on as it was decided");
    assert_eq!(balanced(s).in_flight, 0);
    s.send(a, packet(UDP));
    let upcall = s.settle(Duration::from_millis(1)).pop().expect("no megaflow was installed");
    s.dpif().resolve(upcall, Resolution::Drop(DropReason::TableMiss), now, &mut upcalls);
    assert_eq!(balanced(s).drops(DropReason::TableMiss), 1);
}

fn a_megaflow_answers_for_its_packets(s: &mut dyn Subject) {
    let [a, b, c] = three(s);
    let ufid = install(s, a, &[out(b)]);
    for _ in 0..3 {
        pass(s, a);
    }
    assert_eq!((s.take(b).len(), s.take(c).len()), (3, 0));
    let len = packet(UDP).len() as u64;
    let got = s.dpif().flow_get(ufid).expect("the megaflow");
    assert_eq!((got.stats.packets, got.stats.bytes, got.stats.tcp_flags), (3, 3 * len, 0));
    let used = got.stats.used.expect("it was used");
    assert!(s.now() - used < Duration::from_secs(5), "used at {used}, now {}", s.now());
    // A packet that differs in the mask's bits is not its.
    s.send(c, packet(UDP));
    let upcalls = s.settle(Duration::from_millis(1));
    assert_eq!(upcalls.len(), 1);
    let now = s.now();
    upcalls.into_iter().for_each(|u| s.dpif().resolve(u, Resolution::Consumed, now, &mut Vec::new()));
    assert_eq!(balanced(s).consumed, 1);
}

fn megaflows_are_found_changed_and_removed(s: &mut dyn Subject) {
    let [a, b, c] = three(s);
    let ufid = install(s, a, &[out(b)]);
    pass(s, a);
    assert_eq!(install(s, a, &[out(c)]), ufid, "the same packets, the same megaflow");
    pass(s, a);
    assert_eq!((s.take(b).len(), s.take(c).len()), (1, 1), "new actions hold at once");
    let gone = s.dpif().flow_del(ufid).expect("it is there");
    assert_eq!((gone.stats.packets, gone.actions), (2, vec![out(c)]), "counters were kept");
    assert!(matches!(s.dpif().flow_del(ufid), Err(DpifError::NoSuchFlow(u)) if u == ufid));
    assert!(matches!(s.dpif().flow_get(ufid), Err(DpifError::NoSuchFlow(u)) if u == ufid));
    assert_eq!(s.dpif().stats().expect("counters").flows, 0);
}

fn identities_and_modes_are_the_callers(s: &mut dyn Subject) {
    let [a, b, c] = three(s);
    let ((key, mask), ufid) = (flow(a), crate::Ufid(0x1234_5678 << 96 | 7));
    let (to_b, to_c) = ([out(b)], [out(c)]);
    let put = FlowPut::new(&key, &mask, &to_b).with_ufid(ufid);
    let missing = s.dpif().flow_install(&put.with_mode(PutMode::Modify));
    assert!(matches!(missing, Err(DpifError::NoSuchFlow(u)) if u == ufid), "{missing:?}");
    assert_eq!(s.dpif().flow_install(&put.with_mode(PutMode::Create)).expect("it is made"), ufid);
    let again = s.dpif().flow_install(&put.with_mode(PutMode::Create));
    assert!(matches!(again, Err(DpifError::FlowExists(u)) if u == ufid), "{again:?}");
    pass(s, a);
    let put = FlowPut::new(&key, &mask, &to_c).with_ufid(ufid).with_mode(PutMode::Modify);
    assert_eq!(s.dpif().flow_install(&put).expect("it is changed"), ufid);
    let got = s.dpif().flow_get(ufid).expect("by the identity it was given");
    assert_eq!((got.ufid, got.stats.packets, got.actions), (ufid, 1, to_c.to_vec()));
    s.dpif().flow_install(&put.with_zero_stats()).expect("it is changed");
    assert_eq!(s.dpif().flow_get(ufid).expect("it is there").stats.packets, 0);
    assert_eq!(s.dpif().flow_dump().expect("a dump").iter().map(|f| f.ufid).collect::<Vec<_>>(), [ufid]);
}

fn batches_are_answered_one_by_one(s: &mut dyn Subject) {
    let [a, b, c] = three(s);
    let ((key, mask), (key_c, mask_c)) = (flow(a), flow(c));
    let (to_b, missing) = ([out(b)], crate::Ufid(5));
    let first = FlowPut::new(&key, &mask, &to_b);
    let second = FlowPut::new(&key_c, &mask_c, &to_b).with_ufid(crate::Ufid(9));
    let done = s.dpif().operate(&[Operation::Put(first), Operation::Get(missing), Operation::Put(second)]);
    let ufid = match done.as_slice() {
        [Ok(Outcome::Put(ufid)), Err(DpifError::NoSuchFlow(odd)), Ok(Outcome::Put(crate::Ufid(9)))] => {
            assert_eq!(*odd, missing);
            *ufid
        }
        other => panic!("{other:?}"),
    };
    pass(s, a);
    let done = s.dpif().operate(&[Operation::Get(ufid), Operation::Delete(ufid), Operation::Delete(ufid)]);
    match done.as_slice() {
        [Ok(Outcome::Found(got)), Ok(Outcome::Deleted(gone)), Err(DpifError::NoSuchFlow(odd))] => {
            assert_eq!((got.stats.packets, got.actions.as_slice(), *odd), (1, &to_b[..], ufid));
            assert_eq!((gone.ufid, gone.stats.packets, &gone.key, &gone.actions), (ufid, 1, &got.key, &got.actions));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(s.dpif().stats().expect("counters").flows, 1);
    assert!(s.dpif().operate(&[]).is_empty());
}

fn dumps_agree_with_one_another(s: &mut dyn Subject) {
    let [a, b, c] = three(s);
    let mut ufids = [install(s, a, &[out(b)]), install(s, b, &[out(a)]), install(s, c, &[])];
    ufids.sort();
    pass(s, b);
    let dump = s.dpif().flow_dump().expect("a dump");
    assert_eq!(dump.iter().map(|f| f.ufid).collect::<Vec<_>>(), ufids, "all megaflows, by identity");
    for shown in &dump {
        let got = s.dpif().flow_get(shown.ufid).expect("it is in the dump");
        assert_eq!((&got.actions, &got.key, &got.mask), (&shown.actions, &shown.key, &shown.mask));
        assert!(shown.matching().mask().covers(&FlowMask::of(&[ovs_packet::field::FieldId::InPortOxm])));
    }
    let mut terse = Vec::new();
    s.dpif().flow_stats(&mut |ufid, stats| terse.push((ufid, stats.packets))).expect("a terse dump");
    terse.sort();
    assert_eq!(terse, dump.iter().map(|f| (f.ufid, f.stats.packets)).collect::<Vec<_>>());
    s.dpif().flow_flush().expect("a flush");
    assert!(s.dpif().flow_dump().expect("a dump").is_empty());
}

fn megaflows_obey_what_is_published(s: &mut dyn Subject) {
    let [a, b, c] = three(s);
    let ufid = install(s, a, &[out(b)]);
    let version = s.dpif().publish();
    if !s.dpif().features().versions {
        assert_eq!(version, 0);
        return;
    }
    // The first packet waits, and goes as it is decided now.
    s.send(a, packet(UDP));
    let mut upcalls = s.settle(Duration::from_millis(1));
    assert!(s.take(b).is_empty(), "no packet takes an old action");
    let upcall = upcalls.pop().expect("it comes up");
    assert_eq!(upcall.kind, UpcallKind::Stale(ufid));
    let now = s.now();
    s.dpif().flow_keep(ufid).expect("it is there");
    s.dpif().resolve(upcall, Resolution::Execute(&[out(b)]), now, &mut upcalls);
    pass(s, a);
    assert_eq!((s.take(b).len(), balanced(s).in_flight), (2, 0), "what was kept holds");
    assert!(s.dpif().publish() > version);
    assert_eq!(install(s, a, &[out(c)]), ufid);
    pass(s, a);
    assert_eq!((s.take(b).len(), s.take(c).len()), (0, 1), "what was put holds");
    let stats = s.dpif().flow_get(ufid).expect("it is there").stats;
    assert_eq!(stats.packets, 2, "a packet that came up is its owner's to credit");
    assert_eq!(s.dpif().flow_keep(ufid).expect("it is there"), stats);
    s.dpif().flow_del(ufid).expect("it is there");
    assert!(matches!(s.dpif().flow_keep(ufid), Err(DpifError::NoSuchFlow(u)) if u == ufid));
}

fn no_actions_drop(s: &mut dyn Subject) {
    let [a, b, c] = three(s);
    install(s, a, &[]);
    pass(s, a);
    assert_eq!((s.take(a).len(), s.take(b).len(), s.take(c).len()), (0, 0, 0));
    assert!(dropped_one(s, DropReason::FlowDrop));
}

fn what_is_no_frame_is_dropped(s: &mut dyn Subject) {
    let [a, b, _] = three(s);
    let (key, mask) = (FlowKey { in_port: a.0.into(), ..FlowKey::ZERO }, always_matched());
    s.dpif().flow_put(&key, &mask, &[out(b)]).expect("a megaflow");
    for len in [0, 2, 13] {
        s.send(a, Packet::from_slice(&[0; 13][..len]));
    }
    assert!(s.settle(Duration::from_millis(1)).is_empty());
    assert!(s.take(b).is_empty(), "a packet without an Ethernet header goes nowhere");
    balanced(s);
}

fn copies_do_not_share_edits(s: &mut dyn Subject) {
    let [a, b, c] = three(s);
    let inner = vec![set(KeyAttr::Ipv4, "ip,nw_dst=9.9.9.9"), out(b)];
    let first = if s.dpif().features().clone { DpAction::Clone(inner) } else { out(b) };
    install(s, a, &[first, set(KeyAttr::Ethernet, "dl_dst=02:00:00:00:00:09"), out(c)]);
    pass(s, a);
    let (on_b, on_c) = (s.take(b), s.take(c));
    assert_eq!((on_b.len(), on_c.len()), (1, 1));
    assert_eq!(key_of(&on_b[0]).eth_dst.0[5], 2, "what comes later does not change what was sent");
    assert_eq!(key_of(&on_c[0]).ipv4_dst().to_string(), "10.0.0.2", "what a copy went through stays with it");
}

fn headers_are_set(s: &mut dyn Subject) {
    let [a, b, _] = three(s);
    let words = "udp,nw_src=1.2.3.4,nw_ttl=9,tp_dst=53";
    let list = [set(KeyAttr::Ipv4, "ip,nw_src=1.2.3.4,nw_ttl=9"), set(KeyAttr::Udp, "udp,tp_dst=53"), out(b)];
    install(s, a, &list);
    pass(s, a);
    let sent = s.take(b);
    let m: Match = words.parse().expect("a match");
    assert!(sent.len() == 1 && m.matches(&key_of(&sent[0])));
    // Checksums went along: the packet is the one that is composed so.
    let wanted = packet(&UDP.replace("10.0.0.1", "1.2.3.4").replace("nw_ttl=64", "nw_ttl=9").replace("2000", "53"));
    assert_eq!(sent[0].data(), wanted.data());
}

fn tags_come_and_go(s: &mut dyn Subject) {
    let [a, b, c] = three(s);
    let push = DpAction::PushVlan { tpid: 0x8100, tci: 0x7005 };
    install(s, a, &[push, out(b), DpAction::PopVlan, out(c)]);
    pass(s, a);
    let (tagged, plain) = (s.take(b), s.take(c));
    assert_eq!((tagged.len(), plain.len()), (1, 1));
    assert_eq!(key_of(&tagged[0]).vlan_tci.get(), 0x7005);
    assert_eq!(plain[0].data(), packet(UDP).data());
}

fn labels_are_pushed_and_popped(s: &mut dyn Subject) {
    let [a, b, c] = three(s);
    let push = DpAction::PushMpls { eth_type: 0x8847, lse: 5 << 12 | 0x100 | 64 };
    install(s, a, &[push, out(b), DpAction::PopMpls(0x0800), out(c)]);
    pass(s, a);
    let (labelled, plain) = (s.take(b), s.take(c));
    assert_eq!((labelled.len(), plain.len()), (1, 1));
    let key = key_of(&labelled[0]);
    assert_eq!((key.eth_type.get(), key.mpls_lse[0].get()), (0x8847, 5 << 12 | 0x100 | 64));
    assert_eq!(plain[0].data(), packet(UDP).data());
}

fn labels_go_in_front_of_frames(s: &mut dyn Subject) {
    let [a, b, _] = three(s);
    if !s.dpif().features().add_mpls {
        return;
    }
    let (eth_type, lse) = (0x8847, 5 << 12 | 0x100 | 64);
    let [src, dst] = [7, 8].map(|n| ovs_packet::EthAddr([2, 0, 0, 0, 0, n]));
    install(s, a, &[DpAction::AddMpls { eth_type, lse }, DpAction::PushEth { src, dst }, out(b)]);
    pass(s, a);
    let sent = s.take(b);
    assert_eq!(sent.len(), 1);
    let key = key_of(&sent[0]);
    assert_eq!((key.eth_src, key.eth_type.get(), key.mpls_lse[0].get()), (src, eth_type, lse));
    assert_eq!(sent[0].data().get(18..), Some(packet(UDP).data()));
}

fn packets_lose_ethernet_and_get_it_back(s: &mut dyn Subject) {
    let [a, b, _] = three(s);
    if !s.dpif().features().packet_types {
        return;
    }
    let [src, dst] = [7, 8].map(|n| ovs_packet::EthAddr([2, 0, 0, 0, 0, n]));
    install(s, a, &[DpAction::PopEth, DpAction::PushEth { src, dst }, out(b)]);
    pass(s, a);
    let sent = s.take(b);
    assert_eq!(sent.len(), 1);
    let key = key_of(&sent[0]);
    assert_eq!((key.eth_src, key.eth_dst, key.eth_type.get()), (src, dst, 0x0800));
    assert_eq!(sent[0].data().get(14..), packet(UDP).data().get(14..));
}

fn recirculation_comes_back(s: &mut dyn Subject) {
    let [a, b, _] = three(s);
    install(s, a, &[set(KeyAttr::SkbMark, "pkt_mark=5"), DpAction::Recirc(7)]);
    let (mut key, mut mask) = flow(a);
    key.recirc_id.set(7);
    key.pkt_mark.set(5);
    mask.add(ovs_packet::field::FieldId::PktMark);
    s.dpif().flow_put(&key, &mask, &[out(b)]).expect("a megaflow");
    pass(s, a);
    assert_eq!(s.take(b).len(), 1, "the second lookup sees the id and what was set");
    balanced(s);
}

fn recirculation_ends(s: &mut dyn Subject) {
    let [a, b, _] = three(s);
    install(s, a, &[DpAction::Recirc(7)]);
    let (mut key, mask) = flow(a);
    key.recirc_id.set(7);
    s.dpif().flow_put(&key, &mask, &[DpAction::Recirc(7)]).expect("a megaflow");
    pass(s, a);
    assert!(s.take(b).is_empty());
    assert!(dropped_one(s, DropReason::RecirculationDepth));
}

fn nesting_ends(s: &mut dyn Subject) {
    let [a, ..] = three(s);
    if !s.dpif().features().clone {
        return;
    }
    let deep = (0..1000).fold(vec![out(a)], |inner, _| vec![DpAction::Clone(inner)]);
    let (key, mask) = flow(a);
    assert!(s.dpif().flow_put(&key, &mask, &deep).is_err(), "actions a thousand deep are refused");
    assert_eq!(s.dpif().stats().expect("counters").flows, 0);
}

fn truncation_holds_for_one_output(s: &mut dyn Subject) {
    let [a, b, c] = three(s);
    if !s.dpif().features().trunc {
        return;
    }
    install(s, a, &[DpAction::Trunc(40), out(b), out(c)]);
    pass(s, a);
    let lengths = |packets: Vec<Packet>| packets.iter().map(Packet::len).collect::<Vec<_>>();
    assert_eq!((lengths(s.take(b)), lengths(s.take(c))), (vec![40], vec![packet(UDP).len()]));
}

fn lengths_are_told_apart(s: &mut dyn Subject) {
    let [a, b, c] = three(s);
    if !s.dpif().features().check_pkt_len {
        return;
    }
    let len = packet(UDP).len() as u16;
    for (limit, long, short) in [(len - 1, 1, 0), (len, 0, 1)] {
        let check = DpAction::CheckPktLen { len: limit, greater: vec![out(b)], less_equal: vec![out(c)] };
        install(s, a, &[check]);
        pass(s, a);
        assert_eq!((s.take(b).len(), s.take(c).len()), (long, short), "a packet of {len} bytes at a limit of {limit}");
    }
}

fn meters_let_so_much_pass(s: &mut dyn Subject) {
    let [a, b, _] = three(s);
    let Features { meters, meter_bands, .. } = s.dpif().features();
    if meters == 0 {
        assert!(s.dpif().meter_set(0, &Config::new(Unit::Packets, vec![Band::new(1)])).is_err());
        return;
    }
    let config = Config::new(Unit::Packets, vec![Band::new(3)]);
    s.dpif().meter_set(1, &config).expect("a meter");
    install(s, a, &[DpAction::Meter(1), out(b)]);
    for _ in 0..5 {
        s.send(a, packet(UDP));
    }
    assert!(s.settle(Duration::from_millis(1)).is_empty());
    assert_eq!(s.take(b).len(), 3, "the burst passes");
    let stats = s.dpif().meter_del(1).expect("the meter");
    assert_eq!((stats.input.packets, stats.bands[0].packets), (5, 2));
    assert!(s.dpif().meter_stats(1).is_err());
    let bands = vec![Band::new(1); usize::from(meter_bands) + 1];
    assert!(s.dpif().meter_set(1, &Config::new(Unit::Packets, bands)).is_err(), "too many bands");
    assert!(s.dpif().meter_set(meters, &config).is_err(), "a number beyond the last");
    balanced(s);
}

fn bonds_send_by_hash(s: &mut dyn Subject) {
    let [a, b, c] = three(s);
    if !s.dpif().features().lb_output {
        assert!(s.dpif().bond_set(7, &[b; BOND_BUCKETS]).is_err());
        return;
    }
    install(s, a, &[DpAction::LbOutput(7)]);
    pass(s, a);
    assert!(dropped_one(s, DropReason::UnknownBond), "there is no bond yet");
    let mut members = [b; BOND_BUCKETS];
    members.iter_mut().skip(1).step_by(2).for_each(|port| *port = c);
    s.dpif().bond_set(7, &members).expect("a bond");
    let ports = || 1..=64u16;
    let all = |s: &mut dyn Subject| {
        ports().for_each(|n| s.send(a, packet(&UDP.replace("tp_src=1000", &format!("tp_src={n}")))));
        assert!(s.settle(Duration::from_millis(1)).is_empty());
        [b, c].map(|port| s.take(port).iter().map(|p| p.data().to_vec()).collect::<std::collections::BTreeSet<_>>())
    };
    let first = all(s);
    assert_eq!(first[0].len() + first[1].len(), 64);
    assert!(first.iter().all(|of| of.len() > 8), "both ports have some");
    assert_eq!(all(s), first, "a packet goes where others of its hash went");
    members.fill(c);
    s.dpif().bond_set(7, &members).expect("the bond");
    assert_eq!(all(s)[1].len(), 64, "buckets move");
    let len = packet(UDP).len() as u64;
    assert_eq!(s.dpif().bond_stats(7).expect("the bond").bytes.iter().sum::<u64>(), 3 * 64 * len);
    assert_eq!(s.dpif().bond_del(7).expect("the bond").bytes.iter().sum::<u64>(), 3 * 64 * len);
    assert!(s.dpif().bond_del(7).is_err() && s.dpif().bond_stats(7).is_err());
    balanced(s);
}

fn userspace_gets_a_copy(s: &mut dyn Subject) {
    let [a, b, _] = three(s);
    let copy = Userspace::new(Cookie::SlowPath(SlowPath::LACP));
    install(s, a, &[DpAction::Userspace(copy.clone()), out(b)]);
    s.send(a, packet(UDP));
    let mut upcalls = s.settle(Duration::from_millis(1));
    assert_eq!((upcalls.len(), s.take(b).len()), (1, 1));
    let upcall = upcalls.remove(0);
    assert!(matches!(&upcall.kind, UpcallKind::Action(got) if got.cookie == copy.cookie), "{:?}", upcall.kind);
    assert_eq!(upcall.packet.data(), packet(UDP).data());
    let now = s.now();
    s.dpif().resolve(upcall, Resolution::Consumed, now, &mut upcalls);
    let ledger = balanced(s);
    let forwarded = u64::from(s.dpif().features().whole_ledger);
    assert_eq!((ledger.forwarded, ledger.in_flight), (forwarded, 0));
}

fn packets_of_the_switch_are_sent(s: &mut dyn Subject) {
    let [a, b, c] = three(s);
    let now = s.now();
    let mut upcalls = Vec::new();
    s.dpif().inject(packet(UDP), &[out(b), out(c)], now, &mut upcalls);
    s.settle(Duration::ZERO);
    assert_eq!((s.take(a).len(), s.take(b).len(), s.take(c).len()), (0, 1, 1));
    let ledger = balanced(s);
    assert_eq!((ledger.injected, ledger.received, upcalls.len()), (1, 0, 0));
}

fn ports_that_are_gone_take_nothing(s: &mut dyn Subject) {
    let [a, b, c] = three(s);
    install(s, a, &[out(b), out(c)]);
    install(s, c, &[out(b)]);
    s.dpif().port_del(b).expect("it is there");
    pass(s, a);
    assert_eq!(s.take(c).len(), 1, "the others still get theirs");
    pass(s, c);
    assert!(dropped_one(s, DropReason::UnknownPort));
}

/// The [`Subject`] of the datapath in [`userspace`](crate::userspace), over [`MemPort`]s.
#[derive(Debug)]
pub struct MemSubject {
    dp: Datapath,
    ends: Vec<(PortNo, MemPortPeer)>,
    now: Instant,
}

impl MemSubject {
    /// A datapath without ports.
    pub fn new() -> MemSubject {
        MemSubject { dp: Datapath::new(), ends: Vec::new(), now: Instant::from_secs(100) }
    }

    fn end(&self, port: PortNo) -> Option<&MemPortPeer> {
        self.ends.iter().rev().find(|(p, _)| *p == port).map(|(_, end)| end)
    }
}

impl Default for MemSubject {
    fn default() -> Self {
        MemSubject::new()
    }
}

impl Subject for MemSubject {
    fn dpif(&mut self) -> &mut dyn Dpif {
        &mut self.dp
    }

    fn add_port(&mut self, name: &str, wanted: Option<PortNo>) -> Result<PortNo, DpifError> {
        let (port, end) = MemPort::new(name, 1000);
        let number = self.dp.port_add(PortSpec::Device(Box::new(port)), wanted)?;
        self.ends.push((number, end));
        Ok(number)
    }

    fn send(&mut self, port: PortNo, packet: Packet) {
        self.end(port).expect("the port").push(packet);
    }

    fn take(&mut self, port: PortNo) -> Vec<Packet> {
        let end = self.end(port).cloned();
        end.into_iter().flat_map(|end| std::iter::from_fn(move || end.pop())).collect()
    }

    fn settle(&mut self, passes: Duration) -> Vec<Upcall> {
        self.now += passes;
        let mut upcalls = Vec::new();
        while self.dp.poll(self.now, &mut upcalls) > 0 {}
        upcalls
    }

    fn now(&self) -> Instant {
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_datapath_of_this_process_keeps_every_law() {
        for (name, law) in LAWS {
            let kept = std::panic::catch_unwind(|| law(&mut MemSubject::new()));
            assert!(kept.is_ok(), "{name}");
        }
    }
}
