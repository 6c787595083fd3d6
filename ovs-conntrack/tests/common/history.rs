//! Random TCP histories: what the tests show to this tracker and to another one, packet by packet.
//!
//! Most begin with a handshake; one packet in seven has numbers that are off.
#![allow(dead_code, reason = "each test program uses its part")]

use ovs_packet::{Match, Packet, compose};

/// Packets in a history at most.
const LONGEST: u32 = 14;

/// Choices, the same in every run (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    /// Choices that `OVS_DIFFERENTIAL_SEED` decides on, if it is set.
    pub(crate) fn new() -> Random {
        Random(std::env::var("OVS_DIFFERENTIAL_SEED").map_or(1, |seed| seed.parse().expect("a number")))
    }

    pub(crate) fn below(&mut self, n: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ x >> 31) >> 32) as u32 % n
    }

    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u32) as usize]
    }
}

/// A packet of a history.
pub(crate) struct Turn {
    pub(crate) packet: Packet,
    pub(crate) client: bool,
    pub(crate) flags: &'static str,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    /// The sequence number behind it.
    pub(crate) end: u32,
    /// The window that it announces, without its scale.
    pub(crate) window: u16,
    /// Of a SYN: the scale that it offers.
    pub(crate) shift: Option<u8>,
    /// The turn in words.
    pub(crate) words: String,
}

/// A connection between 10.0.0.1:1000, the client, and 10.0.0.2:80, that is made up as it goes.
pub(crate) struct History<'a> {
    random: &'a mut Random,
    /// The next number of each end, client first.
    sent: [u32; 2],
    /// The window scales that they offer.
    pub(crate) shifts: [Option<u8>; 2],
    step: u32,
    steps: u32,
    orderly: bool,
}

impl<'a> History<'a> {
    pub(crate) fn new(random: &'a mut Random) -> Self {
        let sent = [random.below(u32::MAX), random.below(u32::MAX)];
        let shifts = [random.one_of(&[None, Some(0), Some(7)]), random.one_of(&[None, Some(0), Some(7)])];
        let steps = 4 + random.below(LONGEST - 4);
        History { random, sent, shifts, step: 0, steps, orderly: false }
    }

    /// One that begins with a handshake, whose numbers are right, whose windows are wide, and that has no other SYN.
    pub(crate) fn orderly(random: &'a mut Random) -> Self {
        History { orderly: true, ..History::new(random) }
    }
}

impl Iterator for History<'_> {
    type Item = Turn;

    fn next(&mut self) -> Option<Turn> {
        if self.step == self.steps {
            return None;
        }
        let random = &mut *self.random;
        let (client, flags) = match self.step {
            0..=2 if self.orderly || random.below(5) > 0 => {
                [(true, "syn"), (false, "syn|ack"), (true, "ack")][self.step as usize]
            }
            _ if self.orderly => (
                random.below(2) == 0,
                random.one_of(&["ack", "ack", "ack", "psh|ack", "psh|ack", "fin|ack", "rst", "rst|ack"]),
            ),
            _ => {
                let all = ["ack", "ack", "psh|ack", "fin|ack", "rst", "rst|ack", "syn", "syn|ack", "psh|ack"];
                (random.below(2) == 0, random.one_of(&all))
            }
        };
        self.step += 1;
        let (own, other) = (usize::from(!client), usize::from(client));
        let control = flags.contains("syn") || flags.contains("rst");
        let len = if control { 0 } else { random.one_of(&[0, 0, 1, 100, 1400]) };
        let off = [1, -1, 1000, -1000, 70_000, -70_000, 1 << 30];
        let (seq_off, ack_off) = match random.below(14) {
            _ if self.orderly => (0, 0),
            0 => (random.one_of(&off), 0),
            1 => (0, random.one_of(&off)),
            _ => (0, 0),
        };
        let window = if self.orderly { 65535 } else { random.one_of(&[0, 1, 1000, 65535, 65535]) };
        let (seq, ack) = (self.sent[own].wrapping_add_signed(seq_off), self.sent[other].wrapping_add_signed(ack_off));
        let packet = segment(client, flags, seq, ack, window, len, self.shifts[own]);
        let numbered = flags.contains("syn") || flags.contains("fin");
        let end = seq.wrapping_add(len as u32 + u32::from(numbered));
        if seq_off == 0 {
            self.sent[own] = end;
        }
        let who = if client { 'C' } else { 'S' };
        let words = format!("{who} {flags} {seq_off:+},{ack_off:+} w{window} n{len}");
        let shift = self.shifts[own].filter(|_| flags.contains("syn"));
        Some(Turn { packet, client, flags, seq, ack, end, window, shift, words })
    }
}

/// A segment of one end, whose numbers are `seq` and `ack`.
fn segment(client: bool, flags: &str, seq: u32, ack: u32, window: u16, len: usize, shift: Option<u8>) -> Packet {
    let ends = match client {
        true => "nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=1000,tp_dst=80",
        false => "nw_src=10.0.0.2,nw_dst=10.0.0.1,tp_src=80,tp_dst=1000",
    };
    let options = shift.filter(|_| flags.contains("syn")).map_or(vec![], |shift| vec![3, 3, shift, 1]);
    let payload = [options.clone(), vec![b'x'; len]].concat();
    let key: Match = format!("tcp,{ends},tcp_flags={flags}").parse().unwrap();
    let mut p = compose::compose(key.key(), &payload);
    let l4 = p.layers().l4.unwrap();
    let data = p.data_mut();
    data[l4 + 4..l4 + 8].copy_from_slice(&seq.to_be_bytes());
    data[l4 + 8..l4 + 12].copy_from_slice(&if flags.contains("ack") { ack } else { 0 }.to_be_bytes());
    data[l4 + 12] = (5 + options.len() as u8 / 4) << 4;
    data[l4 + 14..l4 + 16].copy_from_slice(&window.to_be_bytes());
    compose::write_l4_checksum(&mut p);
    p
}
