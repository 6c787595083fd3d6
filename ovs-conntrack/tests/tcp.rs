//! Stories of TCP connections.

mod common;

use common::{Lab, packet, tcp};
use ovs_conntrack::{CtRequest, Outcome};

const CLIENT: bool = true;
const SERVER: bool = false;

/// A lab with an open connection.
fn open() -> Lab {
    let mut lab = Lab::new();
    lab.commits(tcp(CLIENT, "syn"), "new");
    lab.sees(tcp(SERVER, "syn|ack"), "est rpl");
    lab.sees(tcp(CLIENT, "ack"), "est");
    lab
}

fn line(state: &str) -> [String; 1] {
    [format!(
        "tcp,orig=(src=10.0.0.1,dst=10.0.0.2,sport=1000,dport=80),\
         reply=(src=10.0.0.2,dst=10.0.0.1,sport=80,dport=1000),protoinfo=(state={state})"
    )]
}

#[test]
fn handshake_data_and_finish() {
    let mut lab = Lab::new();
    lab.commits(tcp(CLIENT, "syn"), "new");
    assert_eq!((lab.dump(), lab.timeouts()), (line("SYN_SENT").to_vec(), vec![30]));
    lab.sees(tcp(SERVER, "syn|ack"), "est rpl");
    assert_eq!((lab.dump(), lab.timeouts()), (line("ESTABLISHED").to_vec(), vec![30]));
    lab.sees(tcp(CLIENT, "ack"), "est");
    assert_eq!((lab.dump(), lab.timeouts()), (line("ESTABLISHED").to_vec(), vec![86400]));
    lab.sees(tcp(CLIENT, "psh|ack"), "est");
    lab.sees(tcp(SERVER, "ack"), "est rpl");
    lab.sees(tcp(CLIENT, "fin|ack"), "est");
    assert_eq!((lab.dump(), lab.timeouts()), (line("CLOSING").to_vec(), vec![900]));
    lab.sees(tcp(SERVER, "fin|ack"), "est rpl");
    assert_eq!((lab.dump(), lab.timeouts()), (line("TIME_WAIT").to_vec(), vec![45]));
    lab.sees(tcp(CLIENT, "ack"), "est");
    assert_eq!((lab.dump(), lab.timeouts()), (line("TIME_WAIT").to_vec(), vec![30]));
    lab.wait(30);
    lab.sees(tcp(SERVER, "syn|ack"), "inv");
    assert_eq!(lab.tracker.stats().expired, 1);
}

#[test]
fn nothing_is_stored_without_commit() {
    let mut lab = Lab::new();
    lab.sees(tcp(CLIENT, "syn"), "new");
    lab.sees(tcp(SERVER, "syn|ack"), "inv");
    assert!(lab.tracker.is_empty());
    assert_eq!(lab.tracker.next_deadline(), None);
}

#[test]
fn a_connection_is_new_until_it_is_answered() {
    let mut lab = Lab::new();
    lab.commits(tcp(CLIENT, "syn"), "new");
    for flags in ["syn", "ack", "psh|ack", "fin|ack"] {
        lab.commits(tcp(CLIENT, flags), "new");
    }
    assert_eq!(lab.tracker.stats().created, 1);
    lab.sees(tcp(SERVER, "ack"), "est rpl");
    lab.sees(tcp(CLIENT, "ack"), "est");
}

#[test]
fn the_same_packet_may_pass_twice() {
    let mut lab = Lab::new();
    for (from, flags, state) in
        [(CLIENT, "syn", "new"), (SERVER, "syn|ack", "est rpl"), (CLIENT, "ack", "est"), (CLIENT, "fin|ack", "est")]
    {
        lab.commits(tcp(from, flags), state);
        let before = lab.dump();
        lab.commits(tcp(from, flags), state);
        assert_eq!(lab.dump(), before);
    }
}

#[test]
fn a_connection_is_picked_up_in_its_midst() {
    let mut lab = Lab::new();
    lab.commits(tcp(CLIENT, "ack"), "new");
    lab.sees(tcp(SERVER, "psh|ack"), "est rpl");
    lab.sees(tcp(CLIENT, "ack"), "est");
    assert_eq!((lab.dump(), lab.timeouts()), (line("ESTABLISHED").to_vec(), vec![86400]));
}

#[test]
fn a_reset_closes_a_connection_and_its_ports_serve_again() {
    let mut lab = open();
    lab.sees(tcp(SERVER, "rst"), "est rpl");
    assert_eq!((lab.dump(), lab.timeouts()), (line("TIME_WAIT").to_vec(), vec![30]));
    // The server dials the client now, over the same ports.
    let mut syn = tcp(SERVER, "syn");
    assert_eq!(lab.track(&mut syn, &CtRequest::commit(0)), Outcome::Created);
    let [connection] = lab.tracker.dump(None, lab.now).collect::<Vec<_>>()[..] else { panic!() };
    assert_eq!(connection.original.to_string(), "src=10.0.0.2,dst=10.0.0.1,sport=80,dport=1000");
    assert_eq!((lab.tracker.stats().replaced, lab.tracker.stats().created), (1, 2));
}

#[test]
fn a_syn_over_closed_ports_that_is_not_committed_leaves_nothing() {
    let mut lab = open();
    lab.sees(tcp(CLIENT, "rst"), "est");
    lab.sees(tcp(CLIENT, "syn"), "new");
    assert!(lab.tracker.is_empty());
}

#[test]
fn a_syn_on_an_open_connection_opens_no_other() {
    let mut lab = open();
    lab.commits(tcp(CLIENT, "syn"), "est");
    lab.commits(tcp(SERVER, "syn"), "est rpl");
    assert_eq!((lab.dump(), lab.timeouts()), (line("ESTABLISHED").to_vec(), vec![86400]));
}

#[test]
fn crossing_syns_are_no_answer() {
    let mut lab = Lab::new();
    lab.commits(tcp(CLIENT, "syn"), "new");
    lab.commits(tcp(SERVER, "syn"), "new");
    assert_eq!(lab.dump(), line("SYN_SENT"));
    lab.sees(tcp(SERVER, "syn|ack"), "est rpl");
    lab.sees(tcp(CLIENT, "syn|ack"), "est");
    assert_eq!((lab.dump(), lab.timeouts()), (line("ESTABLISHED").to_vec(), vec![86400]));
}

#[test]
fn flags_that_do_not_go_together_are_invalid_and_change_nothing() {
    let mut lab = open();
    let before = (lab.dump(), lab.timeouts());
    lab.wait(0);
    for flags in ["syn|fin", "syn|rst", "fin", "psh", "urg|psh|fin"] {
        lab.commits(tcp(CLIENT, flags), "inv");
    }
    lab.commits(packet("tcp,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1000,tp_dst=80"), "inv");
    assert_eq!((lab.dump(), lab.timeouts()), before);
}

#[test]
fn force_turns_a_connection_around_but_only_for_what_opens_one() {
    let mut lab = open();
    let mut ack = tcp(CLIENT, "ack");
    assert_eq!(lab.track(&mut ack, &CtRequest::force_commit(0)), Outcome::Established);
    let mut answer = tcp(SERVER, "syn|ack");
    assert_eq!(lab.track(&mut answer, &CtRequest::force_commit(0)), Outcome::Reply);
    let mut data = tcp(SERVER, "ack");
    assert_eq!(lab.track(&mut data, &CtRequest::force_commit(0)), Outcome::Created);
    assert_eq!(lab.tracker.stats().replaced, 1);
    lab.sees(tcp(CLIENT, "ack"), "est rpl");
    lab.sees(tcp(SERVER, "ack"), "est");
}

#[test]
fn force_implies_commit() {
    let mut lab = Lab::new();
    let mut request = CtRequest::lookup(0).with_mark(3, !0);
    request.force = true;
    assert_eq!(lab.track(&mut tcp(CLIENT, "syn"), &request), Outcome::Created);
    assert_eq!(lab.tracker.dump(None, lab.now).next().unwrap().mark, 3);
}

#[test]
fn over_ipv6() {
    let mut lab = Lab::new();
    lab.commits(packet("tcp6,ipv6_src=2001:db8::1,ipv6_dst=2001:db8::2,tp_src=1,tp_dst=2,tcp_flags=syn"), "new");
    lab.sees(packet("tcp6,ipv6_src=2001:db8::2,ipv6_dst=2001:db8::1,tp_src=2,tp_dst=1,tcp_flags=syn|ack"), "est rpl");
    assert_eq!(
        lab.dump(),
        ["tcp,orig=(src=2001:db8::1,dst=2001:db8::2,sport=1,dport=2),\
          reply=(src=2001:db8::2,dst=2001:db8::1,sport=2,dport=1),protoinfo=(state=ESTABLISHED)"]
    );
}
