#![allow(missing_docs)]
use ovs_conntrack::*;
use ovs_packet::{FlowKey, Instant, Match, compose, extract};
fn main() {
    let kind = std::env::args().nth(1).unwrap();
    let n: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    let text = if kind == "tcp" { "tcp,nw_src=10.1.1.1,nw_dst=10.1.1.2,tp_src=1,tp_dst=2,tcp_flags=ack" } else { "udp,nw_src=10.1.1.1,nw_dst=10.1.1.2,tp_src=1,tp_dst=2" };
    let mut p = compose::compose(text.parse::<Match>().unwrap().key(), b"");
    let mut k = FlowKey::ZERO;
    extract::extract(&mut p, &mut k);
    let mut ps = vec![p; 32];
    let mut ks = vec![k; 32];
    let mut t = Tracker::new(Config::new(1).with_verify_checksums(kind != "new"));
    let req = CtRequest::commit(0);
    let mut i = 0u32;
    for _ in 0..n {
        if kind == "new" { for k in &mut ks { i += 1; k.nw_src.set(i); } }
        std::hint::black_box(t.track_batch(ps.iter_mut().zip(&ks), &req, Instant::ZERO));
    }
    println!("{}", t.len());
}
