//! The message that is measured: a flow_put with 12 attributes of a key, as many of a mask, and 4 actions.

use ovs_netlink::ovs::{
    Action, Command, Flow, FlowAttr, Key, KeyEthernet, KeyIpv4, KeyPorts, OvsHeader, TunnelKey, UserspaceAttr,
};
use ovs_netlink::{DecodeError, EncodeError, Flags, Messages, Writer};

/// The attributes of the key.
pub(crate) const KEYS: usize = 12;
/// The actions.
pub(crate) const ACTIONS: usize = 4;

fn key(writer: &mut Writer<'_>, number: u32, mask: bool) -> Result<(), EncodeError> {
    let bits = |value: u32| if mask { u32::MAX } else { value };
    let ipv4 = KeyIpv4 { src: bits(number).to_be_bytes(), dst: [10, 0, 0, 2], proto: 17, tos: 0, ttl: 64, frag: 0 };
    writer.put(Key::RecircId(bits(0)))?.put(Key::DpHash(0))?.put(Key::Priority(0))?;
    writer.nest(Key::TUNNEL, |tunnel| {
        tunnel.put(TunnelKey::Id(u64::from(bits(number))))?.put(TunnelKey::Ipv4Src([10, 1, 0, 1]))?;
        tunnel.put(TunnelKey::Ipv4Dst([10, 1, 0, 2]))?.put(TunnelKey::Ttl(64))?.put(TunnelKey::TpDst(4789)).map(drop)
    })?;
    writer.put(Key::InPort(bits(1)))?.put(Key::SkbMark(0))?.put(Key::CtState(bits(0x22)))?.put(Key::CtMark(0))?;
    writer.put(Key::Ethernet(KeyEthernet { src: [2; 6], dst: [4; 6] }))?.put(Key::Ethertype(0x0800))?;
    writer.put(Key::Ipv4(ipv4))?.put(Key::Udp(KeyPorts { src: 1000, dst: 53 })).map(drop)
}

fn actions(writer: &mut Writer<'_>) -> Result<(), EncodeError> {
    writer.nest(Action::SET, |set| {
        set.nest(Key::TUNNEL, |tunnel| {
            tunnel.put(TunnelKey::Id(7))?.put(TunnelKey::Ipv4Dst([10, 1, 0, 3]))?.put(TunnelKey::Ttl(64)).map(drop)
        })
        .map(drop)
    })?;
    writer.put(Action::Output(4))?;
    writer.nest(Action::USERSPACE, |user| {
        user.put(UserspaceAttr::Pid(4711))?.put(UserspaceAttr::Userdata(&[1; 24])).map(drop)
    })?;
    writer.put(Action::Output(2)).map(drop)
}

/// Appends the message.
pub(crate) fn encode(buffer: &mut Vec<u8>, number: u32) -> Result<(), EncodeError> {
    let flags = Flags::REQUEST | Flags::ACK | Flags::CREATE;
    OvsHeader { dp_ifindex: 5 }.message(buffer, 32, Command::New as u8, Flow::VERSION, flags, |flow| {
        flow.put(FlowAttr::Ufid(&[7; 16]))?;
        flow.nest(FlowAttr::KEY, |writer| key(writer, number, false))?;
        flow.nest(FlowAttr::MASK, |writer| key(writer, number, true))?;
        flow.nest(FlowAttr::ACTIONS, actions).map(drop)
    })
}

/// Reads the messages: every attribute of key, mask and actions and of what is nested in them. Gives how many there were.
pub(crate) fn decode(bytes: &[u8]) -> Result<usize, DecodeError> {
    let mut count = 0;
    for message in Messages::new(bytes) {
        let flow = Flow::decode(&message?)?;
        for attribute in flow.key.into_iter().chain(flow.mask).flatten() {
            count += 1;
            if let Key::Tunnel(tunnel) = std::hint::black_box(attribute?) {
                for attribute in tunnel {
                    std::hint::black_box(attribute?);
                }
            }
        }
        for action in flow.actions.into_iter().flatten() {
            count += 1;
            match std::hint::black_box(action?) {
                Action::Set(set) => {
                    for attribute in set {
                        std::hint::black_box(attribute?);
                    }
                }
                Action::Userspace(user) => {
                    for attribute in user {
                        std::hint::black_box(attribute?);
                    }
                }
                _ => {}
            }
        }
    }
    Ok(count)
}
