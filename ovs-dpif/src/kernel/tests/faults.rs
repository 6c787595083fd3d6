//! What goes wrong between a datapath and its kernel.

use ovs_netlink::fake::{FakeKernel, Fault};
use ovs_netlink::{Connect, Protocol};
use ovs_packet::{FlowKey, FlowMask, Instant, Match};

use super::super::*;
use crate::{DpAction, Dpif, DpifError, FlowPut, Operation, Outcome, PortNo, PortSpec, Ufid, always_matched};

fn datapath(kernel: &FakeKernel) -> Datapath {
    Datapath::create(kernel, "br0", Options::default().with_handlers(2)).unwrap()
}

fn flow(number: u32) -> (FlowKey, FlowMask) {
    let m: Match = "udp,nw_src=10.0.0.1".parse().unwrap();
    let mut key = m.key();
    key.in_port.set(number);
    (key, always_matched())
}

fn receive(kernel: &FakeKernel, dp: &Datapath, number: u32) {
    let (key, _) = flow(number);
    let mut bytes = Vec::new();
    put_key(&mut ovs_netlink::Writer::new(&mut bytes), &key).unwrap();
    let packet = ovs_packet::compose::compose(&key, &[number as u8]);
    assert!(kernel.receive(dp.ifindex(), &bytes, packet.data()));
}

#[test]
fn a_datapath_that_is_not_there_or_there_already() {
    let kernel = FakeKernel::new();
    assert!(matches!(Datapath::open(&kernel, "br0", Options::OBSERVE), Err(DpifError::NoSuchDatapath(_))));
    let dp = datapath(&kernel);
    assert!(matches!(Datapath::create(&kernel, "br0", Options::OBSERVE), Err(DpifError::DatapathExists(_))));
    assert_eq!(list(&kernel).unwrap(), ["br0"]);
    // Who only looks leaves upcalls where they go.
    let seen = Datapath::open(&kernel, "br0", Options::OBSERVE).unwrap();
    assert!(seen.fds().len() == 1 && dp.fds().len() == 3);
    assert!(Datapath::create(&kernel, "a name that is too long", Options::OBSERVE).is_err());
    kernel.unload();
    assert!(matches!(list(&kernel), Err(DpifError::System { .. })));
}

#[test]
fn upcalls_that_are_lost_do_not_stop_the_others() {
    let kernel = FakeKernel::new();
    let mut dp = datapath(&kernel);
    dp.port_add(PortSpec::Internal("a".into()), None).unwrap();
    kernel.inject(Fault::Overrun(3));
    (0..5).for_each(|_| receive(&kernel, &dp, 1));
    let mut upcalls = Vec::new();
    assert_eq!(dp.poll(Instant::ZERO, &mut upcalls), 2);
    assert_eq!((dp.ledger().in_flight, dp.stats().unwrap().lost), (2, 3));
    for upcall in upcalls {
        dp.resolve(upcall, crate::Resolution::Consumed, Instant::ZERO, &mut Vec::new());
    }
    assert!(dp.ledger().balanced() && dp.ledger().consumed == 2);
}

#[test]
fn dumps_are_begun_anew_and_lost_answers_are_told() {
    let kernel = FakeKernel::new();
    let mut dp = datapath(&kernel);
    for number in 0..20 {
        let (key, mask) = flow(number);
        dp.flow_put(&key, &mask, &[DpAction::Output(PortNo(1))]).unwrap();
    }
    for fault in [Fault::InterruptedDump, Fault::Overrun(2), Fault::UnknownAttribute] {
        kernel.inject(fault);
        assert_eq!(dp.flow_dump().unwrap().len(), 20, "{fault:?}");
    }
    kernel.inject(Fault::CutDump);
    assert!(dp.flow_dump().is_err());
    let (key, mask) = flow(1);
    let ufid = Ufid::of(&Match::new(key, mask));
    kernel.inject(Fault::Overrun(2));
    assert!(matches!(dp.flow_get(ufid), Err(DpifError::AnswerLost)));
    kernel.inject(Fault::NoAnswer);
    assert!(matches!(dp.flow_get(ufid), Err(DpifError::AnswerLost)));
    assert_eq!(dp.flow_get(ufid).unwrap().ufid, ufid);
    kernel.inject(Fault::Refuse(12));
    assert!(matches!(dp.flow_flush(), Err(DpifError::System { .. })));
    let mut terse = 0;
    dp.flow_stats(&mut |_, _| terse += 1).unwrap();
    assert_eq!(terse, 20);
}

#[test]
fn batches_survive_reordered_and_lost_answers() {
    let kernel = FakeKernel::new();
    let mut dp = datapath(&kernel);
    let flows: Vec<_> = (0..10).map(flow).collect();
    let out = [DpAction::Output(PortNo(1))];
    let puts: Vec<_> = flows.iter().map(|(key, mask)| Operation::Put(FlowPut::new(key, mask, &out))).collect();
    kernel.inject(Fault::Reorder);
    let done = dp.operate(&puts);
    let ufids: Vec<Ufid> = done
        .into_iter()
        .map(|outcome| match outcome {
            Ok(Outcome::Put(ufid)) => ufid,
            other => panic!("{other:?}"),
        })
        .collect();
    for fault in [Fault::Reorder, Fault::Duplicate] {
        kernel.inject(fault);
        let gets: Vec<_> = ufids.iter().map(|ufid| Operation::Get(*ufid)).collect();
        for (outcome, ufid) in dp.operate(&gets).into_iter().zip(&ufids) {
            // An answer behind its own acknowledgement counts as lost, and never as another's.
            match outcome {
                Ok(Outcome::Found(flow)) => assert_eq!(flow.ufid, *ufid),
                other => assert!(matches!(other, Err(DpifError::AnswerLost)) && fault == Fault::Reorder, "{other:?}"),
            }
        }
    }
    kernel.inject(Fault::Overrun(4));
    let gone: Vec<_> = ufids.iter().map(|ufid| Operation::Delete(*ufid)).collect();
    let lost = dp.operate(&gone).iter().filter(|outcome| matches!(outcome, Err(DpifError::AnswerLost))).count();
    assert!(lost > 0, "what was lost is said");
    assert_eq!(dp.stats().unwrap().flows, 0, "though it was done");
    drop(kernel.connect(Protocol::Generic));
}
