//! Which masks the real module takes: those whose bits tell which headers they are of.

use ovs_packet::Match;
use ovs_packet::key::{FlowKey, FlowMask};

use super::real::KernelSubject;
use crate::kernel::Dispatch;
use crate::{Dpif, always_matched};

/// A key, and its mask with the bits that `fill` sets.
fn put(subject: &mut KernelSubject, words: &str, fill: &dyn Fn(&mut FlowKey)) -> bool {
    let m: Match = words.parse().unwrap();
    let mut key = m.key();
    key.in_port.set(1);
    let mut mask = FlowMask { bits: always_matched().bits };
    fill(&mut mask.bits);
    let dp = subject.dp.as_mut().unwrap();
    let put = dp.flow_put(&key, &mask, &[]);
    println!("{words}: {put:?}");
    put.map(|ufid| dp.flow_del(ufid).unwrap()).is_ok()
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn bits_of_a_header_need_what_tells_that_it_is_there() {
    if ovs_test_kernel::inside().is_none() {
        return;
    }
    let mut subject = KernelSubject::new(Dispatch::Best);
    for words in ["tcp", "udp", "sctp", "icmp", "tcp6", "udp6", "icmp6"] {
        assert!(!put(&mut subject, words, &|m| m.tp_dst.set(1)), "{words}");
        let with_protocol = |m: &mut FlowKey| (m.nw_proto, m.tp_dst) = (u8::MAX, 1.into());
        assert!(put(&mut subject, words, &with_protocol), "{words}");
    }
    // Of neighbour discovery the type; what has another code than zero is none, and is taken as well.
    for words in ["icmp6,icmp_type=135,icmp_code=0", "icmp6,icmp_type=136,icmp_code=1"] {
        let with_protocol = |m: &mut FlowKey| (m.nw_proto, m.nd_target) = (u8::MAX, 1.into());
        assert!(!put(&mut subject, words, &with_protocol), "{words}");
        let with_type = |m: &mut FlowKey| (m.nw_proto, m.tp_src, m.nd_target) = (u8::MAX, 0xff.into(), 1.into());
        assert!(put(&mut subject, words, &with_type), "{words}");
        assert!(put(&mut subject, words, &|_| ()), "{words}");
    }
}
