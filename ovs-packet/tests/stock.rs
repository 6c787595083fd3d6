//! What the stock `ovs-ofctl parse-pcap` sees in a packet, extraction sees: over a corpus of every kind of packet, whole,
//! damaged, cut short and padded. Skipped with a word where the stock tool is not installed.
//!
//! The tool writes a match with one item for each field that such a packet can have; the same items are written here
//! from our key, and the two sets compared. One difference is known and left out: the tool reads ICMP, ICMPv6 and IGMP
//! by their protocol number over either version of IP, the kernel's datapath and we only over their own.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::process::Command;
use std::time::Duration;

use ovs_packet::extract::*;
use ovs_packet::key::FRAG_LATER;
use ovs_packet::pcap::Writer;
use ovs_packet::{FlowKey, Packet};

/// Numbers that look random, the same in every run (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.byte()).collect()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

fn frame(r: &mut Random) -> Vec<u8> {
    let mut f = r.bytes(12);
    for _ in 0..r.pick(&[0, 0, 0, 1, 1, 2, 3]) {
        f.extend(r.pick(&[[0x81, 0], [0x88, 0xa8]]));
        f.extend(r.bytes(2));
    }
    let (eth_type, payload): (u16, Vec<u8>) = match r.below(12) {
        0..4 => (ETH_TYPE_IPV4, ipv4(r)),
        4..8 => (ETH_TYPE_IPV6, ipv6(r)),
        8 => (r.pick(&[ETH_TYPE_ARP, ETH_TYPE_RARP]), arp(r)),
        9 => (r.pick(&[ETH_TYPE_MPLS, ETH_TYPE_MPLS_MCAST]), mpls(r)),
        10 => (ETH_TYPE_NSH, nsh(r)),
        _ => (r.pick(&[0x88cc, 0x9000, 0x0600, 0x05ff, 3, 0]), r.bytes(20)),
    };
    if r.below(8) == 0 {
        f.extend((payload.len() as u16).to_be_bytes());
        f.extend(r.pick(&[[0xaa, 0xaa, 3, 0, 0, 0], [0xaa, 0xaa, 3, 0, 0, 1], [0x42, 0x42, 3, 0, 0, 0]]));
    }
    f.extend(eth_type.to_be_bytes());
    f.extend(payload);
    let pad = r.pick(&[0, 0, 0, 1, 18, 255, 256, 300]);
    f.extend(r.bytes(pad));
    f
}

fn ipv4(r: &mut Random) -> Vec<u8> {
    let options = r.pick(&[0, 0, 0, 1, 3, 10]);
    let (proto, l4) = transport(r, false);
    let mut p = vec![0x45 + options, r.byte()];
    p.extend((20 + 4 * u16::from(options) + l4.len() as u16).to_be_bytes());
    p.extend(r.bytes(2));
    p.extend(r.pick(&[0u16, 0, 0, 0x4000, 0x2000, 0x2001, 0x8000, 5]).to_be_bytes());
    p.extend([r.byte(), proto, 0, 0]);
    p.extend(r.bytes(8 + 4 * usize::from(options)));
    p.extend(l4);
    p
}

fn ipv6(r: &mut Random) -> Vec<u8> {
    let (mut proto, l4) = transport(r, true);
    let mut payload = l4;
    for _ in 0..r.pick(&[0, 0, 0, 0, 1, 2, 3, 5]) {
        let kind = r.pick(&[0, 43, 44, 51, 60, 135, 139, 140, 59]);
        let units = r.below(3);
        let len = match kind {
            44 => 8,
            51 => 4 * (units + 2),
            _ => 8 * (units + 1),
        };
        let mut header = r.bytes(len.max(8));
        (header[0], header[1]) = (proto, units as u8);
        if kind == 44 {
            header[2..4].copy_from_slice(&r.pick(&[0u16, 1, 2, 6, 8, 9, 0xfff8]).to_be_bytes());
        }
        header.extend(payload);
        (payload, proto) = (header, kind);
    }
    let mut p = vec![0x60 | r.byte() & 0x0f];
    p.extend(r.bytes(3));
    p.extend((payload.len() as u16).to_be_bytes());
    p.extend([proto, r.byte()]);
    p.extend(r.bytes(32));
    p.extend(payload);
    p
}

fn transport(r: &mut Random, v6: bool) -> (u8, Vec<u8>) {
    match r.below(8) {
        0 | 1 => {
            let mut tcp = r.bytes(20);
            let options = r.pick(&[0, 0, 3, 10]);
            tcp[12] = (5 + options) << 4 | tcp[12] & 0x0f;
            tcp.extend(r.bytes(4 * usize::from(options)));
            (6, tcp)
        }
        2 => (17, r.bytes(8 + r.0 as usize % 9)),
        3 => (132, r.bytes(12 + r.0 as usize % 5)),
        4 if !v6 => (1, r.bytes(8)),
        5 if !v6 => (2, r.bytes(8)),
        4..=6 if v6 => {
            let mut m = vec![r.pick(&[135, 135, 136, 136, 128, 1, 131, 143]), r.pick(&[0, 0, 0, 1]), 0, 0];
            m.extend(r.bytes(r.0 as usize % 4 / 3 * 4 + 20));
            m.truncate(24);
            for _ in 0..r.below(4) {
                let units = r.pick(&[1, 1, 1, 1, 2, 0, 9]);
                m.extend([r.pick(&[1, 2, 1, 2, 14]), units]);
                m.extend(if r.below(6) == 0 { vec![0; 6] } else { r.bytes(6) });
                m.extend(r.bytes(if units == 2 { 8 } else { 0 }));
            }
            (58, m)
        }
        _ => (r.pick(&[47, 50, 99, 0, 255]), r.bytes(16)),
    }
}

fn arp(r: &mut Random) -> Vec<u8> {
    let mut m = vec![0, 1, 8, 0, 6, 4, r.pick(&[0, 0, 0, 1]), r.byte()];
    m.extend(r.bytes(20));
    m
}

fn mpls(r: &mut Random) -> Vec<u8> {
    let n = r.pick(&[1, 2, 3, 4, 7]);
    let mut stack = r.bytes(4 * n);
    for (i, entry) in stack.chunks_mut(4).enumerate() {
        entry[2] = entry[2] & !1 | u8::from(i + 1 == n);
    }
    stack.extend(ipv4(r));
    stack
}

fn nsh(r: &mut Random) -> Vec<u8> {
    let (mdtype, words) = r.pick(&[(1, 6), (1, 6), (2, 2), (2, 4), (3, 6), (1, 5), (1, 7), (2, 1)]);
    let mut h = vec![r.byte() & 0x3f, r.byte() & 0xc0 | words, mdtype, r.byte()];
    h.extend(r.bytes(4 * usize::from(words)));
    h
}

/// Damage, mostly where headers are, mostly light.
fn damage(r: &mut Random, mut f: Vec<u8>) -> Vec<u8> {
    for _ in 0..r.pick(&[0, 0, 0, 1, 2]) {
        let at = r.below(f.len().min(100));
        f[at] = if r.below(2) == 0 { r.byte() } else { f[at] ^ 1 << r.below(8) };
    }
    if r.below(4) == 0 {
        f.truncate(r.below(f.len() + 1));
    }
    f
}

/// The items that the tool writes of a packet with this key.
fn items(k: &FlowKey) -> BTreeSet<String> {
    let mut items = BTreeSet::new();
    let mut put = |item: String| {
        items.insert(item);
    };
    let (eth_type, proto) = (k.eth_type.get(), k.nw_proto);
    let (v4, v6) = (eth_type == ETH_TYPE_IPV4, eth_type == ETH_TYPE_IPV6);
    let ip = v4 || v6;
    let name = match (eth_type, proto) {
        (ETH_TYPE_IPV4, 1) => "icmp",
        (ETH_TYPE_IPV4, 6) => "tcp",
        (ETH_TYPE_IPV4, 17) => "udp",
        (ETH_TYPE_IPV4, 132) => "sctp",
        (ETH_TYPE_IPV4, _) => "ip",
        (ETH_TYPE_IPV6, 6) => "tcp6",
        (ETH_TYPE_IPV6, 17) => "udp6",
        (ETH_TYPE_IPV6, 58) => "icmp6",
        (ETH_TYPE_IPV6, 132) => "sctp6",
        (ETH_TYPE_IPV6, _) => "ipv6",
        (ETH_TYPE_ARP, _) => "arp",
        (ETH_TYPE_RARP, _) => "rarp",
        (ETH_TYPE_MPLS, _) => "mpls",
        (ETH_TYPE_MPLS_MCAST, _) => "mplsm",
        _ => "",
    };
    put(if name.is_empty() { format!("dl_type=0x{eth_type:04x}") } else { name.into() });
    put("in_port=ANY".into());
    put(format!("dl_src={}", k.eth_src));
    put(format!("dl_dst={}", k.eth_dst));
    let tci = |tci: u16, n: &str| match tci & 0x1000 {
        0 => vec![format!("vlan_tci{n}=0x0000")],
        _ => vec![format!("dl_vlan{n}={}", tci & 0xfff), format!("dl_vlan_pcp{n}={}", tci >> 13)],
    };
    tci(k.vlan_tci.get(), "").into_iter().for_each(&mut put);
    if k.vlan_tci != 0 {
        tci(k.inner_vlan_tci.get(), "1").into_iter().for_each(&mut put);
    }
    let network = |put: &mut dyn FnMut(String)| {
        put(format!("nw_tos={}", k.nw_tos & 0xfc));
        put(format!("nw_ecn={}", k.nw_tos & 3));
        put(format!("nw_ttl={}", k.nw_ttl));
        let frag = ["no", "first", "later", "later"][usize::from(k.nw_frag)];
        put(format!("nw_frag={frag}"));
    };
    if v4 {
        put(format!("nw_src={}", k.ipv4_src()));
        put(format!("nw_dst={}", k.ipv4_dst()));
    }
    if v6 {
        put(format!("ipv6_src={}", k.ipv6_src()));
        put(format!("ipv6_dst={}", k.ipv6_dst()));
        put(format!("ipv6_label=0x{:05x}", k.ipv6_label.get()));
    }
    if ip {
        network(&mut put);
        if ["ip", "ipv6"].contains(&name) {
            put(format!("nw_proto={proto}"));
        }
    }
    if matches!(eth_type, ETH_TYPE_ARP | ETH_TYPE_RARP) {
        put(format!("arp_spa={}", k.ipv4_src()));
        put(format!("arp_tpa={}", k.ipv4_dst()));
        put(format!("arp_op={proto}"));
        put(format!("arp_sha={}", k.arp_sha));
        put(format!("arp_tha={}", k.arp_tha));
    }
    if matches!(eth_type, ETH_TYPE_MPLS | ETH_TYPE_MPLS_MCAST) {
        let lse = k.mpls_lse.map(|lse| lse.get());
        put(format!("mpls_label={}", lse[0] >> 12));
        put(format!("mpls_tc={}", lse[0] >> 9 & 7));
        put(format!("mpls_bos={}", lse[0] >> 8 & 1));
        put(format!("mpls_ttl={}", lse[0] & 0xff));
        for i in 1..3 {
            if lse[i - 1] >> 8 & 1 != 0 {
                break;
            }
            put(format!("mpls_lse{i}={}", lse[i]));
        }
    }
    if eth_type == ETH_TYPE_NSH {
        put(format!("nsh_flags={}", k.nsh_flags));
        put(format!("nsh_ttl={}", k.nsh_ttl));
        put(format!("nsh_mdtype={}", k.nsh_mdtype));
        put(format!("nsh_np={}", k.nsh_np));
        put(format!("nsh_spi=0x{:x}", k.nsh_path.get() >> 8));
        put(format!("nsh_si={}", k.nsh_path.get() & 0xff));
        for (i, c) in k.nsh_context.iter().enumerate().filter(|_| k.nsh_mdtype == 1) {
            put(format!("nsh_c{}=0x{:x}", i + 1, c.get()));
        }
        network(&mut put);
        put(format!("nw_proto={proto}"));
    }
    if ip && k.nw_frag & FRAG_LATER == 0 {
        let (src, dst) = (k.tp_src.get(), k.tp_dst.get());
        match name {
            "icmp" | "icmp6" => {
                put(format!("icmp_type={src}"));
                put(format!("icmp_code={dst}"));
            }
            "tcp" | "tcp6" | "udp" | "udp6" | "sctp" | "sctp6" => {
                put(format!("tp_src={src}"));
                put(format!("tp_dst={dst}"));
            }
            _ if v4 && proto == 2 => {
                put(format!("tp_src={src}"));
                put(format!("tp_dst={dst}"));
            }
            _ => {}
        }
        if name.starts_with("tcp") {
            put(format!("tcp_flags={}", flags(k.tcp_flags.get())));
        }
        if name == "icmp6" && dst == 0 && matches!(src, 135 | 136) {
            put(format!("nd_target={}", Ipv6Addr::from(k.nd_target.get())));
            put(format!("nd_sll={}", k.arp_sha));
            put(format!("nd_tll={}", k.arp_tha));
        }
    }
    items
}

fn flags(flags: u16) -> String {
    let names = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"];
    let mut set: Vec<String> =
        names.iter().enumerate().filter(|(i, _)| flags >> i & 1 != 0).map(|(_, n)| n.to_string()).collect();
    set.extend((9..12).filter(|i| flags >> i & 1 != 0).map(|i| format!("[{:x}]", 1 << i)));
    if set.is_empty() { "0".into() } else { set.join("|") }
}

#[test]
fn the_stock_tool_sees_the_same() {
    let tool = Command::new("ovs-ofctl").arg("--version").output();
    let Ok(version) = tool else {
        println!("skipped: there is no ovs-ofctl on this machine");
        return;
    };
    let mut r = Random(0x5eed);
    let frames: Vec<Vec<u8>> = (0..6000)
        .map(|_| {
            let whole = frame(&mut r);
            damage(&mut r, whole)
        })
        .filter(|f| !f.is_empty())
        .collect();
    let path = std::env::temp_dir().join(format!("ovs-packet-stock-{}.pcap", std::process::id()));
    let mut writer = Writer::new(std::fs::File::create(&path).unwrap()).unwrap();
    frames.iter().for_each(|f| writer.write(Duration::ZERO, f).unwrap());
    writer.flush().unwrap();
    let output = Command::new("ovs-ofctl").arg("parse-pcap").arg(&path).output().unwrap();
    std::fs::remove_file(&path).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), frames.len(), "{}", String::from_utf8_lossy(&output.stderr));

    let (mut differ, mut known, mut malformed) = (Vec::new(), 0, 0);
    for (frame, line) in frames.iter().zip(lines) {
        let (mut packet, mut key) = (Packet::from_slice(frame), FlowKey::ZERO);
        malformed += usize::from(extract(&mut packet, &mut key).malformed.is_some());
        let theirs: BTreeSet<String> = line.split(',').map(str::to_owned).collect();
        let ours = items(&key);
        if ours == theirs {
            continue;
        }
        let v4 = key.eth_type == ETH_TYPE_IPV4;
        if matches!((key.nw_proto, v4), (IP_PROTO_ICMP | IP_PROTO_IGMP, false) | (IP_PROTO_ICMPV6, true)) {
            known += 1;
            continue;
        }
        let hex: String = frame.iter().take(120).map(|b| format!("{b:02x}")).collect();
        let (a, b): (Vec<_>, Vec<_>) = (ours.difference(&theirs).collect(), theirs.difference(&ours).collect());
        differ.push(format!("{hex} ({} bytes)\n  ours   {a:?}\n  theirs {b:?}\n  {line}", frame.len()));
    }
    println!("{}: {} packets, {malformed} malformed", String::from_utf8_lossy(&version.stdout).trim(), frames.len());
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ[..differ.len().min(12)].join("\n"));
    assert!(malformed > frames.len() / 10 && malformed < frames.len() / 2 && known < 100, "{malformed} {known}");
}
