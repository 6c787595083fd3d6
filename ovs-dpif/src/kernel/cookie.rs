//! What a `userspace` action notes for whoever handles the packet, as bytes that go through the kernel.
//!
//! The bytes are those of upstream's programs, 48 in the byte order of the machine, so that their tools show our actions
//! and ours show theirs. In the two bytes behind the kind, which upstream leaves zero, stands a flow's table.

use crate::action::{Cookie, PortNo, SampleDirection, SlowPath};

/// The bytes of a cookie that is not bytes already.
pub const COOKIE_BYTES: usize = 48;

const SFLOW: u16 = 1;
const SLOW_PATH: u16 = 2;
const FLOW_SAMPLE: u16 = 3;
const IPFIX: u16 = 4;
const CONTROLLER: u16 = 5;

/// Where what a kind has begins, behind the OpenFlow port and the identity of the bridge.
const BODY: usize = 24;

struct Bytes([u8; COOKIE_BYTES]);

impl Bytes {
    fn put<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        if let Some(place) = self.0.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
            *place = bytes;
        }
    }

    fn get<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_ne_bytes(self.get(at))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.get(at))
    }
}

/// Calls `f` with the bytes of a cookie.
pub(super) fn with_bytes<T>(cookie: &Cookie, f: impl FnOnce(&[u8]) -> T) -> T {
    let mut b = Bytes([0; COOKIE_BYTES]);
    let port = |port: &Option<PortNo>| port.map_or(u32::MAX, |p| p.0).to_ne_bytes();
    let kind = match cookie {
        Cookie::UserData(bytes) => return f(bytes),
        Cookie::SFlow { vlan_tci, output } => {
            b.put(BODY, vlan_tci.to_be_bytes());
            b.put(BODY + 4, output.to_ne_bytes());
            SFLOW
        }
        Cookie::SlowPath(reasons) => {
            b.put(BODY + 4, reasons.bits().to_ne_bytes());
            SLOW_PATH
        }
        Cookie::FlowSample { probability, collector_set_id, obs_domain_id, obs_point_id, output_port, direction } => {
            b.put(BODY, probability.to_ne_bytes());
            b.put(BODY + 4, collector_set_id.to_ne_bytes());
            b.put(BODY + 8, obs_domain_id.to_ne_bytes());
            b.put(BODY + 12, obs_point_id.to_ne_bytes());
            b.put(BODY + 16, port(output_port));
            b.put(BODY + 20, (*direction as u32).to_ne_bytes());
            FLOW_SAMPLE
        }
        Cookie::Ipfix { output_port } => {
            b.put(BODY, port(output_port));
            IPFIX
        }
        Cookie::Controller {
            reason,
            dont_send,
            continuation,
            recirc_id,
            rule_cookie,
            table,
            controller_id,
            max_len,
        } => {
            b.put(2, u16::from(*table).to_ne_bytes());
            b.put(BODY, [u8::from(*dont_send), u8::from(*continuation)]);
            b.put(BODY + 2, u16::from(*reason).to_ne_bytes());
            b.put(BODY + 4, recirc_id.to_ne_bytes());
            b.put(BODY + 8, rule_cookie.to_be_bytes());
            b.put(BODY + 16, controller_id.to_ne_bytes());
            b.put(BODY + 18, max_len.to_ne_bytes());
            CONTROLLER
        }
    };
    b.put(0, kind.to_ne_bytes());
    f(&b.0)
}

/// Reads a cookie. Bytes that are none stay as they are.
pub(super) fn read(bytes: &[u8]) -> Cookie {
    known(bytes).unwrap_or_else(|| Cookie::UserData(bytes.to_vec()))
}

fn known(bytes: &[u8]) -> Option<Cookie> {
    let b = Bytes(bytes.try_into().ok()?);
    let port = |at| match b.u32(at) {
        u32::MAX => None,
        number => Some(PortNo(number)),
    };
    let cookie = match b.u16(0) {
        SFLOW => Cookie::SFlow { vlan_tci: u16::from_be_bytes(b.get(BODY)), output: b.u32(BODY + 4) },
        SLOW_PATH => Cookie::SlowPath(SlowPath::from_bits_retain(b.u32(BODY + 4))),
        FLOW_SAMPLE => Cookie::FlowSample {
            probability: b.u16(BODY),
            collector_set_id: b.u32(BODY + 4),
            obs_domain_id: b.u32(BODY + 8),
            obs_point_id: b.u32(BODY + 12),
            output_port: port(BODY + 16),
            direction: match b.u32(BODY + 20) {
                0 => SampleDirection::Default,
                1 => SampleDirection::Ingress,
                2 => SampleDirection::Egress,
                _ => return None,
            },
        },
        IPFIX => Cookie::Ipfix { output_port: port(BODY) },
        CONTROLLER => Cookie::Controller {
            reason: b.u16(BODY + 2).try_into().ok()?,
            dont_send: b.get::<1>(BODY) != [0],
            continuation: b.get::<1>(BODY + 1) != [0],
            recirc_id: b.u32(BODY + 4),
            rule_cookie: u64::from_be_bytes(b.get(BODY + 8)),
            table: b.u16(2).try_into().ok()?,
            controller_id: b.u16(BODY + 16),
            max_len: b.u16(BODY + 18),
        },
        _ => return None,
    };
    Some(cookie)
}
