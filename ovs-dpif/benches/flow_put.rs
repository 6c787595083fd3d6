//! Encoding and decoding a message that puts a megaflow: 12 attributes of a key, as many of a mask, and 4 actions, from
//! flow keys and actions into a buffer of the caller's, and back.
//!
//! The peer's figures are of `odp_flow_key_from_flow`, `odp_flow_key_to_flow` and the like for masks, in a loop over this very
//! flow (-O2, on another day, with the clock reckoned out). Its actions are kept in the kernel's form, and copied.

#[path = "../../ovs-packet/benches/common/mod.rs"]
mod common;

use criterion::{Criterion, criterion_group, criterion_main};
use ovs_dpif::{DpAction, kernel, text};
use ovs_netlink::ovs::{Command, Flow, FlowAttr, OvsHeader};
use ovs_netlink::{Flags, Messages};

/// Messages in a buffer.
const MESSAGES: usize = 64;

const KEY: &str = "recirc_id(0),dp_hash(0),skb_priority(0),tunnel(tun_id=0x5,src=10.1.0.1,dst=10.1.0.2,ttl=64,flags(key)),\
    in_port(1),skb_mark(0),ct_state(est|trk),ct_mark(0x1),eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),\
    eth_type(0x0800),ipv4(src=10.0.0.1,dst=10.0.0.2,proto=17,tos=0,ttl=64,frag=no),udp(src=1000,dst=53)";

const ACTIONS: &str =
    "set(tunnel(tun_id=0x7,dst=10.1.0.3,ttl=64,flags(key))),4,userspace(pid=9,sFlow(vid=1,pcp=0,output=5)),2";

fn flow_put(c: &mut Criterion) {
    let (key, mask) = text::parse_key(KEY, &()).expect("a key");
    let actions: Vec<DpAction> = text::parse_actions(ACTIONS, &()).expect("actions");
    let context = kernel::ActionContext::of(&key, 9);
    let write = |buffer: &mut Vec<u8>| {
        buffer.clear();
        for _ in 0..MESSAGES {
            let header = OvsHeader { dp_ifindex: 5 };
            let put = header.message(buffer, 32, Command::New as u8, Flow::VERSION, Flags::REQUEST, |w| {
                w.put(FlowAttr::Ufid(&[7; 16]))?;
                w.nest(FlowAttr::KEY, |w| kernel::put_key(w, &key))?;
                w.nest(FlowAttr::MASK, |w| kernel::put_mask(w, &key, &mask))?;
                w.nest(FlowAttr::ACTIONS, |w| kernel::put_actions(w, &actions, &context)).map(drop)
            });
            put.expect("it fits");
        }
    };
    let mut buffer = Vec::with_capacity(1 << 20);
    write(&mut buffer);
    let messages = buffer.clone();
    let first = Messages::new(&messages).next().expect("one").expect("a message");
    let keys = Flow::decode(&first).expect("a flow").key.expect("a key").attributes().count();
    println!("flow_put: {} bytes, {keys} attributes of the key, {} actions", messages.len() / MESSAGES, actions.len());
    let keys_of = |flow: &Flow<'_>| {
        std::hint::black_box(kernel::read_key(flow.key.expect("a key")).expect("a key"));
        std::hint::black_box(kernel::read_mask(flow.mask.expect("a mask")).expect("a mask"));
    };
    common::measure(c, "flow_put/encode", MESSAGES, Some(144.0), || write(&mut buffer));
    common::measure(c, "flow_put/decode_key_and_mask", MESSAGES, Some(203.0), || {
        for message in Messages::new(&messages) {
            keys_of(&Flow::decode(&message.expect("a message")).expect("a flow"));
        }
    });
    common::measure(c, "flow_put/decode_all", MESSAGES, None, || {
        for message in Messages::new(&messages) {
            let flow = Flow::decode(&message.expect("a message")).expect("a flow");
            keys_of(&flow);
            std::hint::black_box(kernel::read_actions(flow.actions.expect("actions")).expect("actions"));
        }
    });
}

criterion_group!(name = benches; config = common::criterion(); targets = flow_put);
criterion_main!(benches);
