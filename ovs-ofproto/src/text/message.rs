//! Whole messages in words, as `ovs-ofctl ofp-print` writes them.

use std::fmt::{self, Write};
use std::time::Duration;

use ovs_packet::field::FieldId;
use ovs_packet::{FlowKey, Match, OfPort, Packet, extract};

use super::print::{ActionList, Dotted, Flags, Prioritised, Seconds};
use crate::codec::{
    AsyncConfig, Bucket, Capabilities, DecodeError, ErrorMessage, FlowRemoved, FlowStats, GroupDesc, GroupMod, Header,
    Hello, Kind, Message, MeterConfig, NO_BUFFER, OfError, PacketIn, PacketOut, Port, PortStats, Selection, TableDesc,
    Version, Versions,
};
use crate::flow_mod::{FlowMod, FlowModCommand, FlowModFlags};

/// `message`, which `header` came with, in words: a line, or several, each with its end.
///
/// ```
/// use ovs_ofproto::codec::Message;
/// use ovs_ofproto::text::message;
///
/// let (header, barrier) = Message::decode(&[4, 20, 0, 8, 0, 0, 0, 7])?;
/// assert_eq!(message(&header, &barrier).to_string(), "OFPT_BARRIER_REQUEST (OF1.3) (xid=0x7):\n");
/// # Ok::<(), ovs_ofproto::codec::DecodeError>(())
/// ```
pub fn message<'a>(header: &'a Header, message: &'a Message) -> impl fmt::Display + 'a {
    Printed { header, message }
}

struct Printed<'a> {
    header: &'a Header,
    message: &'a Message,
}

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let says = self.message.says();
        let kind = match self.message {
            Message::Opaque(opaque) => Some(opaque.kind),
            _ => says.and_then(|says| Kind::saying(says, self.header.version)),
        };
        let name = kind.map_or("OFPT_EXPERIMENTER", Kind::name);
        let mut text = String::new();
        head(&mut text, name, self.header)?;
        let mut p = Printer { out: text, header: *self.header, kind, verbosity: 1 };
        p.body(self.message)?;
        let text = p.out.trim_end_matches(' ');
        f.write_str(text)?;
        f.write_str(if text.ends_with('\n') { "" } else { "\n" })
    }
}

/// A whole message in words, at a verbosity from 0 to 5, whatever its bytes are: what is wrong with them is said, and
/// they follow in hexadecimal.
///
/// ```
/// use ovs_ofproto::text::ofp_print;
///
/// assert_eq!(ofp_print(&[1, 0, 0, 8, 0, 0, 0, 1], 0), "OFPT_HELLO (xid=0x1):\n version bitmap: 0x01\n");
/// assert_eq!(ofp_print(&[], 0), "OpenFlow message is empty\n");
/// ```
pub fn ofp_print(bytes: &[u8], verbosity: u8) -> String {
    let mut out = String::new();
    // Writing to a text does not fail.
    let _ = print(&mut out, bytes, verbosity);
    out
}

fn new_line(out: &mut String) {
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
}

fn print(out: &mut String, bytes: &[u8], verbosity: u8) -> fmt::Result {
    let header = Header::decode(bytes);
    match header {
        _ if bytes.is_empty() => return writeln!(out, "OpenFlow message is empty"),
        Err(_) => writeln!(out, "OpenFlow packet too short (only {} bytes):", bytes.len())?,
        Ok(header) if usize::from(header.length) > bytes.len() => {
            if let Ok(kind) = Kind::of_bytes(bytes) {
                head(out, kind.name(), &header)?;
                out.push('\n');
            }
            writeln!(out, "(***truncated to {} bytes from {}***)", bytes.len(), header.length)?;
        }
        Ok(header) if usize::from(header.length) < bytes.len() => {
            writeln!(out, "(***only uses {} bytes out of {}***)", header.length, bytes.len())?;
        }
        Ok(header) => return print_whole(out, bytes, header, verbosity),
    }
    hex_dump(out, bytes)
}

fn print_whole(out: &mut String, bytes: &[u8], header: Header, verbosity: u8) -> fmt::Result {
    let kind = Kind::of_bytes(bytes).and_then(|kind| kind.fits(bytes).map(|()| kind));
    let failed = match kind {
        Err(e) => {
            decode_error(out, &e)?;
            true
        }
        Ok(kind) => {
            head(out, kind.name(), &header)?;
            let start = out.len();
            let mut p = Printer { out: core::mem::take(out), header, kind: Some(kind), verbosity };
            let broken = p.whole(bytes);
            *out = p.out;
            match broken {
                Ok(None) => {
                    out.truncate(out.trim_end_matches(' ').len());
                    false
                }
                Ok(Some(e)) => {
                    if out.len() > start {
                        out.truncate(out.trim_end_matches(' ').len());
                        new_line(out);
                    } else {
                        out.push(' ');
                    }
                    decode_error(out, &e)?;
                    true
                }
                Err(e) => return Err(e),
            }
        }
    };
    if verbosity >= 5 || failed {
        new_line(out);
        hex_dump(out, bytes)?;
    }
    new_line(out);
    Ok(())
}

fn hello_versions(out: &mut String, versions: Versions) -> fmt::Result {
    let versions: Vec<String> = versions.iter().map(|v| format!("{:#04x}", v.0)).collect();
    writeln!(out, "\n version bitmap: {}", versions.join(", "))
}

fn decode_error(out: &mut String, e: &DecodeError) -> fmt::Result {
    writeln!(out, "***decode error: {}***", e.error)
}

fn head(out: &mut String, name: &str, header: &Header) -> fmt::Result {
    out.push_str(name);
    match header.version {
        Version::V1_0 => {}
        version if version.minor().is_some() => write!(out, " ({version})")?,
        version => write!(out, " (OF 0x{:02x})", version.0)?,
    }
    write!(out, " (xid={:#x}):", header.xid)
}

/// The names of the bits that are set, and what is left in hexadecimal; 0 for none.
fn bits(out: &mut String, value: u32, names: &[(u32, &str)]) -> fmt::Result {
    if value == 0 {
        out.push('0');
        return Ok(());
    }
    let (mut left, mut any) = (value, false);
    for (bit, name) in names.iter().filter(|(bit, _)| value & bit != 0) {
        write!(out, "{}{name}", if any { " " } else { "" })?;
        any = true;
        left &= !bit;
    }
    if left != 0 {
        write!(out, "{}{left:#x}", if any { " " } else { "" })?;
    }
    Ok(())
}

const CAPABILITIES: [(u32, &str); 11] = [
    (Capabilities::FLOW_STATS.bits(), "FLOW_STATS"),
    (Capabilities::TABLE_STATS.bits(), "TABLE_STATS"),
    (Capabilities::PORT_STATS.bits(), "PORT_STATS"),
    (Capabilities::GROUP_STATS.bits(), "GROUP_STATS"),
    (Capabilities::IP_REASM.bits(), "IP_REASM"),
    (Capabilities::QUEUE_STATS.bits(), "QUEUE_STATS"),
    (Capabilities::ARP_MATCH_IP.bits(), "ARP_MATCH_IP"),
    (Capabilities::PORT_BLOCKED.bits(), "PORT_BLOCKED"),
    (Capabilities::BUNDLES.bits(), "BUNDLES"),
    (Capabilities::FLOW_MONITORING.bits(), "FLOW_MONITORING"),
    (Capabilities::STP.bits(), "STP"),
];

/// The actions of OpenFlow 1.0 by their bits, in the order in which they are listed.
const ACTIONS_10: [(u32, &str); 12] = [
    (0, "output"),
    (11, "enqueue"),
    (1, "set_vlan_vid"),
    (2, "set_vlan_pcp"),
    (3, "strip_vlan"),
    (4, "mod_dl_src"),
    (5, "mod_dl_dst"),
    (6, "mod_nw_src"),
    (7, "mod_nw_dst"),
    (8, "mod_nw_tos"),
    (9, "mod_tp_src"),
    (10, "mod_tp_dst"),
];

/// The same of OpenFlow 1.1 and later.
const ACTIONS_11: [(u32, &str); 17] = [
    (0, "output"),
    (22, "group"),
    (25, "set_field"),
    (1, "set_vlan_vid"),
    (2, "set_vlan_pcp"),
    (18, "strip_vlan"),
    (17, "push_vlan"),
    (3, "mod_dl_src"),
    (4, "mod_dl_dst"),
    (5, "mod_nw_src"),
    (23, "mod_nw_ttl"),
    (24, "dec_ttl"),
    (15, "set_mpls_ttl"),
    (16, "dec_mpls_ttl"),
    (19, "push_mpls"),
    (20, "pop_mpls"),
    (21, "set_queue"),
];

const CONFIG: [(u32, &str); 7] = [
    (1, "PORT_DOWN"),
    (2, "NO_STP"),
    (4, "NO_RECV"),
    (8, "NO_RECV_STP"),
    (16, "NO_FLOOD"),
    (32, "NO_FWD"),
    (64, "NO_PACKET_IN"),
];

/// Features of a port from OpenFlow 1.1 on; 1.0 has no rates between 10 and 100 Gbit/s.
const FEATURES: [&str; 16] = [
    "10MB-HD",
    "10MB-FD",
    "100MB-HD",
    "100MB-FD",
    "1GB-HD",
    "1GB-FD",
    "10GB-FD",
    "40GB-FD",
    "100GB-FD",
    "1TB-FD",
    "OTHER",
    "COPPER",
    "FIBER",
    "AUTO_NEG",
    "AUTO_PAUSE",
    "AUTO_PAUSE_ASYM",
];

fn features(out: &mut String, value: u32, version: Version) -> fmt::Result {
    let value = match version {
        Version::V1_0 => value & 0x7f | (value & 0xf80) << 4,
        _ => value & 0xffff,
    };
    let names: Vec<(u32, &str)> = FEATURES.iter().enumerate().map(|(n, name)| (1u32 << n, *name)).collect();
    bits(out, value, &names)?;
    out.push('\n');
    Ok(())
}

fn wire_features(value: u32, version: Version) -> u32 {
    if version == Version::V1_0 { value & 0xfff } else { value & 0xffff }
}

/// How long something has existed.
fn duration(secs: u32, nanos: u32) -> Seconds {
    Seconds(Duration::new(secs.into(), nanos.min(999_999_999)))
}

struct Printer {
    out: String,
    header: Header,
    kind: Option<Kind>,
    verbosity: u8,
}

/// What prints, or else what a message broke off with.
type Broken = Result<Option<DecodeError>, fmt::Error>;

impl Printer {
    fn whole(&mut self, bytes: &[u8]) -> Broken {
        if self.kind.is_some_and(Kind::is_multipart) && bytes.get(10..12) == Some(&[0, 1]) {
            self.out.push_str(" flags=[more]");
        }
        if self.kind == Some(Kind::Hello) {
            // Whatever a hello has, it is answered.
            let (versions, understood) = Hello::lenient(bytes, self.header.version);
            hello_versions(&mut self.out, versions)?;
            if !understood {
                self.out.push_str(" unknown data in hello:\n");
                hex_dump(&mut self.out, bytes)?;
            }
            return Ok(None);
        }
        match Message::decode_part(bytes, true) {
            Ok((_, message, broken)) => {
                self.body(&message)?;
                Ok(broken)
            }
            Err(e) => Ok(Some(e)),
        }
    }

    fn matching(&mut self, priority: u16, m: &Match) -> fmt::Result {
        write!(self.out, "{}", Prioritised(priority, m))
    }

    fn body(&mut self, message: &Message) -> fmt::Result {
        let out = &mut self.out;
        match message {
            Message::Hello(hello) => hello_versions(out, hello.versions(self.header.version)),
            Message::Error(e) => self.error(e),
            Message::EchoRequest(data) | Message::EchoReply(data) => {
                writeln!(out, " {} bytes of payload", data.len())?;
                if self.verbosity > 1 { hex_dump(out, data) } else { Ok(()) }
            }
            Message::Experimenter(e) => {
                writeln!(out, " experimenter={:#010x} type={:#x}", e.experimenter, e.kind)?;
                hex_dump(out, &e.data)
            }
            Message::Opaque(opaque) => {
                writeln!(out)?;
                hex_dump(out, &opaque.body)
            }
            Message::FeaturesReply(f) => {
                writeln!(out, " dpid:{:016x}", f.datapath_id)?;
                write!(out, "n_tables:{}, n_buffers:{}", f.tables, f.buffers)?;
                if f.auxiliary != 0 {
                    write!(out, ", auxiliary_id:{}", f.auxiliary)?;
                }
                write!(out, "\ncapabilities: ")?;
                let known = CAPABILITIES.iter().fold(0, |all, (bit, _)| all | bit);
                bits(out, f.capabilities.bits() & known, &CAPABILITIES)?;
                out.push('\n');
                if self.header.version == Version::V1_0 && f.reserved != 0 {
                    let names = ACTIONS_10.iter().filter(|(bit, _)| f.reserved & 1 << bit != 0).map(|(_, name)| *name);
                    writeln!(out, "actions: {}", names.collect::<Vec<_>>().join(" "))?;
                }
                self.ports(&f.ports)
            }
            Message::PacketIn(p) | Message::Resume(p) => self.packet_in(p),
            Message::PacketOut(p) => self.packet_out(p),
            Message::FlowMod(flow) => self.flow_mod(flow),
            Message::FlowRemoved(flow) => self.flow_removed(flow),
            Message::FlowStatsRequest(r) | Message::AggregateStatsRequest(r) => {
                if r.table != crate::flow_mod::ALL_TABLES {
                    write!(out, " table={}", r.table)?;
                }
                if r.out_port != OfPort::ANY {
                    write!(out, " out_port={}", r.out_port)?;
                }
                out.push(' ');
                write!(out, "{}", r.matching)
            }
            Message::FlowStatsReply(reply) => {
                for flow in &reply.flows {
                    self.out.push('\n');
                    self.flow_stats(flow)?;
                }
                Ok(())
            }
            Message::AggregateStatsReply(s) => {
                write!(out, " packet_count={} byte_count={} flow_count={}", s.packets, s.bytes, s.flows)
            }
            Message::GetConfigReply(c) | Message::SetConfig(c) => {
                let frags = ["normal", "drop", "reassemble", "nx-match"];
                write!(out, " frags={}", frags.get(usize::from(c.flags & 3)).unwrap_or(&""))?;
                if c.flags & 4 != 0 && self.header.version < Version::V1_3 {
                    out.push_str(" invalid_ttl_to_controller");
                }
                writeln!(out, " miss_send_len={}", c.miss_send_len)
            }
            Message::PortStatus(s) => {
                out.push_str(match s.reason {
                    0 => " ADD:",
                    1 => " DEL:",
                    2 => " MOD:",
                    _ => "",
                });
                self.port(&s.port)
            }
            Message::PortMod(m) => {
                write!(out, " port: {}: addr:{}\n     config: ", m.number, m.hw_addr)?;
                bits(out, m.config, &CONFIG)?;
                out.push_str("\n     mask:   ");
                bits(out, m.mask, &CONFIG)?;
                out.push_str("\n     advertise: ");
                match wire_features(m.advertise, self.header.version) {
                    0 => out.push_str("UNCHANGED\n"),
                    _ => features(out, m.advertise, self.header.version)?,
                }
                Ok(())
            }
            Message::PortDescRequest(r) => write!(out, " port={}", r.port),
            Message::PortDescReply(ports) => {
                out.push('\n');
                self.ports(&ports.items)
            }
            Message::PortStatsRequest(r) => write!(out, " port_no={}", r.port),
            Message::PortStatsReply(ports) => {
                writeln!(out, " {} ports", ports.items.len())?;
                if self.verbosity < 1 {
                    return Ok(());
                }
                ports.items.iter().try_for_each(|p| self.port_stats(p))
            }
            Message::DescReply(d) => {
                out.push('\n');
                for (name, text) in [
                    ("Manufacturer", &d.manufacturer),
                    ("Hardware", &d.hardware),
                    ("Software", &d.software),
                    ("Serial Num", &d.serial),
                    ("DP Description", &d.datapath),
                ] {
                    writeln!(out, "{name}: {text}")?;
                }
                Ok(())
            }
            Message::TableMod(m) => self.table_mod(&m.desc),
            Message::TableDescReply(tables) => tables.items.iter().try_for_each(|t| self.table_desc(t)),
            Message::GroupMod(g) => self.group_mod(g),
            Message::GroupStatsRequest(group) | Message::GroupDescRequest(group) => {
                match group {
                    0xffff_fffc => out.push_str(" group_id=ALL"),
                    0xffff_ffff => out.push_str(" group_id=ANY"),
                    group => write!(out, " group_id={group}")?,
                }
                Ok(())
            }
            Message::GroupStatsReply(groups) => {
                for g in &groups.items {
                    write!(out, "\n group_id={},", g.group)?;
                    if let Some((secs, nanos)) = g.duration {
                        write!(out, "duration={},", duration(secs, nanos))?;
                    }
                    write!(out, "ref_count={},packet_count={},byte_count={}", g.references, g.counts.0, g.counts.1)?;
                    for (n, (packets, bytes)) in g.buckets.iter().enumerate().filter(|(_, b)| b.0 != u64::MAX) {
                        write!(out, ",bucket{n}:packet_count={packets},byte_count={bytes}")?;
                    }
                }
                Ok(())
            }
            Message::GroupDescReply(groups) => {
                for g in &groups.items {
                    self.out.push_str("\n ");
                    self.group(g, false)?;
                }
                Ok(())
            }
            Message::GroupFeaturesReply(g) => {
                write!(out, "\n Group table:\n    Types:  {:#x}\n    Capabilities:  {:#x}\n", g.types, g.capabilities)?;
                for (n, (max, actions)) in g.max_groups.iter().zip(&g.actions).enumerate() {
                    if g.types & 1 << n == 0 {
                        continue;
                    }
                    let name = ["all", "select", "indirect", "fast failover"].get(n).unwrap_or(&"");
                    write!(
                        out,
                        "    {name} group:\n       max_groups={}\n       actions: ",
                        super::print::HexNumber((*max).into())
                    )?;
                    let all: &[(u32, &str)] =
                        if self.header.version == Version::V1_0 { &ACTIONS_10 } else { &ACTIONS_11 };
                    let names: Vec<&str> =
                        all.iter().filter(|(bit, _)| actions & 1 << bit != 0).map(|(_, name)| *name).collect();
                    writeln!(out, "{}", if names.is_empty() { "(none)".to_string() } else { names.join(" ") })?;
                }
                Ok(())
            }
            Message::MeterMod(m) => {
                out.push_str([" ADD ", " MOD ", " DEL "].get(usize::from(m.command)).unwrap_or(&" "));
                self.meter(&m.config)
            }
            Message::MeterStatsRequest(id) | Message::MeterConfigRequest(id) => {
                out.push(' ');
                meter_id(out, *id, '=')
            }
            Message::MeterConfigReply(meters) => {
                for m in &meters.items {
                    self.out.push('\n');
                    self.meter(m)?;
                }
                Ok(())
            }
            Message::MeterStatsReply(meters) => {
                for m in &meters.items {
                    out.push('\n');
                    meter_id(out, m.meter, ':')?;
                    let time = duration(m.duration.0, m.duration.1);
                    let (packets, bytes) = m.input;
                    writeln!(
                        out,
                        " flow_count:{} packet_in_count:{packets} byte_in_count:{bytes} duration:{time} bands:",
                        m.flows
                    )?;
                    for (n, (packets, bytes)) in m.bands.iter().enumerate() {
                        writeln!(out, "{n}: packet_count:{packets} byte_count:{bytes}")?;
                    }
                }
                Ok(())
            }
            Message::MeterFeaturesReply(m) => {
                writeln!(out, "\nmax_meter:{} max_bands:{} max_color:{}", m.max_meters, m.max_bands, m.max_color)?;
                out.push_str("band_types: ");
                bits(out, m.band_types, &[(2, "drop"), (4, "dscp_remark")])?;
                out.push_str("\ncapabilities: ");
                bits(out, m.capabilities, &METER_FLAGS)?;
                out.push('\n');
                Ok(())
            }
            Message::QueueConfigRequest(r) => {
                write!(out, " port={}", r.port)?;
                if r.queue != u32::MAX {
                    write!(out, " queue={}", r.queue)?;
                }
                Ok(())
            }
            Message::QueueConfigReply(queues) => {
                // The old form names the port once, and sorts.
                let mut sorted = queues.items.clone();
                sorted.sort_by_key(|q| (q.port.0, q.queue));
                let mut last = None;
                out.push(' ');
                for q in &sorted {
                    if last != Some(q.port) {
                        writeln!(out, "port={}", q.port)?;
                        last = Some(q.port);
                    }
                    write!(out, "queue {}:", q.queue)?;
                    for (name, rate) in [("min_rate", q.min_rate), ("max_rate", q.max_rate)] {
                        match rate {
                            Some(rate @ 0..=1000) => write!(out, " {name}:{}.{}%", rate / 10, rate % 10)?,
                            Some(rate) if rate != u16::MAX => write!(out, " {name}:(disabled)")?,
                            _ => {}
                        }
                    }
                    out.push('\n');
                }
                Ok(())
            }
            Message::QueueStatsRequest(r) => {
                write!(out, " port={} queue=", r.port)?;
                queue_name(out, r.queue)
            }
            Message::QueueStatsReply(queues) => {
                writeln!(out, " {} queues", queues.items.len())?;
                if self.verbosity < 1 {
                    return Ok(());
                }
                for q in &queues.items {
                    write!(out, "  port {} queue ", q.port)?;
                    queue_name(out, q.queue)?;
                    let [bytes, packets, errors] = q.sent;
                    write!(
                        out,
                        ": bytes={}, pkts={}, errors={}, duration=",
                        Count(bytes),
                        Count(packets),
                        Count(errors)
                    )?;
                    match q.duration {
                        Some((secs, nanos)) if secs != u32::MAX => writeln!(out, "{}", duration(secs, nanos))?,
                        _ => writeln!(out, "?")?,
                    }
                }
                Ok(())
            }
            Message::RoleRequest(r) | Message::RoleReply(r) => role(out, r.role, r.generation),
            Message::RoleStatus(r) => {
                role(out, r.role, Some(r.generation).filter(|g| *g != u64::MAX))?;
                let reasons = ["primary_request", "configuration_changed", "experimenter_data_changed"];
                write!(out, " reason={}", reasons.get(usize::from(r.reason)).unwrap_or(&"(unknown)"))
            }
            Message::GetAsyncReply(a) | Message::SetAsync(a) => self.async_config(a),
            Message::RequestForward(request) => match Message::decode(request) {
                Ok((_, request)) => {
                    let group = matches!(request, Message::GroupMod(_));
                    out.push_str(if group { " reason=group_mod" } else { " reason=meter_mod" });
                    self.body(&request)
                }
                Err(e) => decode_error(out, &e),
            },
            Message::BundleControl(b) => {
                let kinds = [
                    "OPEN_REQUEST",
                    "OPEN_REPLY",
                    "CLOSE_REQUEST",
                    "CLOSE_REPLY",
                    "COMMIT_REQUEST",
                    "COMMIT_REPLY",
                    "DISCARD_REQUEST",
                    "DISCARD_REPLY",
                ];
                write!(out, "\n bundle_id={} type=", super::print::HexNumber(b.bundle.into()))?;
                write!(out, "{} flags=", kinds.get(usize::from(b.kind)).unwrap_or(&""))?;
                bits(out, b.flags.into(), &BUNDLE_FLAGS)
            }
            Message::BundleAdd(b) => {
                write!(out, "\n bundle_id={} flags=", super::print::HexNumber(b.bundle.into()))?;
                bits(out, b.flags.into(), &BUNDLE_FLAGS)?;
                out.push('\n');
                print(out, &b.message, self.verbosity)
            }
            Message::SetFlowFormat(format) => {
                let name = match format {
                    0 => "openflow10",
                    2 => "nxm",
                    _ => "(unknown)",
                };
                write!(out, " format={name}")
            }
            Message::SetPacketInFormat(format) => {
                let name = match format {
                    0 => "standard",
                    1 => "nxt_packet_in",
                    2 => "nxt_packet_in2",
                    _ => "(unknown)",
                };
                write!(out, " format={name}")
            }
            Message::FlowModTableId(on) => write!(out, " {}", if *on { "enable" } else { "disable" }),
            Message::SetControllerId(id) => write!(out, " id={id}"),
            Message::FlowMonitorCancel(id) => write!(out, " id={id}"),
            Message::CtFlushZone(zone) => write!(out, " zone_id={zone}"),
            _ => Ok(()),
        }
    }

    fn error(&mut self, e: &ErrorMessage) -> fmt::Result {
        let out = &mut self.out;
        writeln!(out, " {}", e.error)?;
        if matches!(e.error, OfError::HelloIncompatible | OfError::HelloPermission) {
            for b in &e.data {
                match b {
                    0x20..=0x7e if *b != b'\\' && *b != b'"' => out.push(char::from(*b)),
                    b => write!(out, "\\{b:03o}")?,
                }
            }
            out.push('\n');
            return Ok(());
        }
        print(out, &e.data, 1)
    }

    fn flow_mod(&mut self, flow: &FlowMod) -> fmt::Result {
        let out = &mut self.out;
        out.push_str(match flow.command {
            FlowModCommand::Add => " ADD",
            FlowModCommand::Modify => " MOD",
            FlowModCommand::ModifyStrict => " MOD_STRICT",
            FlowModCommand::Delete => " DEL",
            FlowModCommand::DeleteStrict => " DEL_STRICT",
        });
        if flow.table != 0 {
            write!(out, " table:{}", flow.table)?;
        }
        out.push(' ');
        self.matching(flow.priority, &flow.matching)?;
        let out = &mut self.out;
        if !out.ends_with(' ') {
            out.push(' ');
        }
        let adds = flow.command == FlowModCommand::Add;
        let new = if adds { flow.cookie } else { flow.new_cookie.unwrap_or(0) };
        // A cookie of all ones means that there is none.
        if new != 0 && new != u64::MAX {
            write!(out, "cookie:{new:#x} ")?;
        }
        if flow.cookie_mask != 0 {
            write!(out, "cookie:{:#x}/{:#x} ", flow.cookie, flow.cookie_mask)?;
        }
        for (name, value) in [("idle", flow.idle_timeout), ("hard", flow.hard_timeout), ("importance", flow.importance)]
        {
            if value != 0 {
                write!(out, "{name}:{value} ")?;
            }
        }
        if flow.buffer_id != NO_BUFFER {
            write!(out, "buf:{:#x} ", flow.buffer_id)?;
        }
        if flow.out_port != OfPort::ANY {
            write!(out, "out_port:{} ", flow.out_port)?;
        }
        write!(out, "{}actions={}", Flags(flow.flags), flow.instructions)
    }

    fn flow_stats(&mut self, flow: &FlowStats) -> fmt::Result {
        let mut shown = flow.clone();
        // How long ago a flow was changed is said only if it was.
        if shown.hard_age.map(u64::from) == Some(shown.duration.as_secs()) {
            shown.hard_age = None;
        }
        if shown.flags != FlowModFlags::empty() && self.header.version < Version::V1_3 {
            shown.flags = FlowModFlags::empty();
        }
        write!(self.out, "{shown}")
    }

    fn flow_removed(&mut self, flow: &FlowRemoved) -> fmt::Result {
        self.out.push(' ');
        self.matching(flow.priority, &flow.matching)?;
        let out = &mut self.out;
        let reasons = ["idle", "hard", "delete", "group_delete", "meter_delete", "eviction"];
        match reasons.get(usize::from(flow.reason)) {
            Some(reason) => write!(out, " reason={reason}")?,
            None => write!(out, " reason={}", flow.reason)?,
        }
        if let Some(table) = flow.table.filter(|t| *t != 255) {
            write!(out, " table_id={table}")?;
        }
        if flow.cookie != 0 {
            write!(out, " cookie:{:#x}", flow.cookie)?;
        }
        write!(out, " duration{} idle{}", Seconds(flow.duration), flow.idle_timeout)?;
        if flow.hard_timeout != 0 {
            write!(out, " hard{}", flow.hard_timeout)?;
        }
        writeln!(out, " pkts{} bytes{}", flow.packets, flow.bytes)
    }

    fn packet_in(&mut self, packet: &PacketIn) -> fmt::Result {
        let out = &mut self.out;
        if packet.table != 0 {
            write!(out, " table_id={}", packet.table)?;
        }
        if packet.cookie != u64::MAX {
            write!(out, " cookie={:#x}", packet.cookie)?;
        }
        write!(out, " total_len={} {}", packet.total_len, packet.metadata)?;
        match packet.reason.word() {
            Some(word) => write!(out, " (via {word})")?,
            None => write!(out, " (via {})", packet.reason.0)?,
        }
        write!(out, " data_len={}", packet.data.len())?;
        let (total, len) = (u64::from(packet.total_len), packet.data.len() as u64);
        match packet.buffer_id {
            NO_BUFFER => {
                out.push_str(" (unbuffered)");
                out.push_str(if total == len { "" } else { " (***total_len != data_len***)" });
            }
            id => {
                write!(out, " buffer={id:#010x}")?;
                out.push_str(if total >= len { "" } else { " (***total_len < data_len***)" });
            }
        }
        out.push('\n');
        if !packet.userdata.is_empty() {
            writeln!(out, " userdata={}", Dotted(&packet.userdata))?;
        }
        self.packet(&packet.data)
    }

    fn packet_out(&mut self, packet: &PacketOut) -> fmt::Result {
        let mut m = packet.metadata.as_deref().copied().unwrap_or(Match::ANY);
        m.set(FieldId::InPortOxm, packet.in_port.0.into());
        write!(self.out, " {m} actions={}", ActionList(&packet.actions))?;
        match packet.buffer_id {
            NO_BUFFER => {
                write!(self.out, " data_len={}", packet.data.len())?;
                if self.verbosity > 0 && !packet.data.is_empty() {
                    self.out.push('\n');
                }
                if packet.data.is_empty() { Ok(()) } else { self.packet(&packet.data) }
            }
            id => write!(self.out, " buffer={id:#010x}"),
        }
    }

    /// What the headers of a packet say, on a line, and its bytes.
    fn packet(&mut self, data: &[u8]) -> fmt::Result {
        if self.verbosity > 0 {
            let mut key = FlowKey::ZERO;
            extract::extract(&mut Packet::from_slice(data), &mut key);
            write!(self.out, "{}", packet_match(&key))?;
            checksums(&mut self.out, &key, data)?;
            self.out.push('\n');
        }
        if self.verbosity > 2 { plain_dump(&mut self.out, data) } else { Ok(()) }
    }

    fn ports(&mut self, ports: &[Port]) -> fmt::Result {
        let mut sorted: Vec<&Port> = ports.iter().collect();
        sorted.sort_by_key(|p| p.number.0);
        sorted.into_iter().try_for_each(|p| self.port(p))
    }

    fn port(&mut self, p: &Port) -> fmt::Result {
        let version = self.header.version;
        let out = &mut self.out;
        let name: String = p.name.chars().take_while(|c| matches!(c, ' '..='~')).take(63).collect();
        write!(out, " {}({name}): addr:{}\n     config:     ", p.number, p.hw_addr)?;
        bits(out, p.config, &CONFIG)?;
        out.push_str("\n     state:      ");
        if version == Version::V1_0 {
            let stp = p.state & 0x300;
            match stp {
                0 => bits(out, p.state & 1, &[(1, "LINK_DOWN")])?,
                _ => {
                    out.push_str(match stp {
                        0x100 => "STP_LEARN",
                        0x200 => "STP_FORWARD",
                        _ => "STP_BLOCK",
                    });
                    if p.state & 1 != 0 {
                        out.push_str("LINK_DOWN");
                    }
                }
            }
        } else {
            bits(out, p.state, &[(1, "LINK_DOWN"), (2, "BLOCKED"), (4, "LIVE")])?;
        }
        out.push('\n');
        for (name, value) in ["current:    ", "advertised: ", "supported:  ", "peer:       "].iter().zip(p.features) {
            if wire_features(value, version) != 0 {
                write!(out, "     {name}")?;
                features(out, value, version)?;
            }
        }
        let [mut now, mut max] = p.speed;
        if version == Version::V1_0 {
            now = speed_of(p.features[0]);
            max = speed_of(p.features[2]);
        }
        writeln!(out, "     speed: {} Mbps now, {} Mbps max", now / 1000, max / 1000)
    }

    fn port_stats(&mut self, p: &PortStats) -> fmt::Result {
        let out = &mut self.out;
        let [rx, tx, rx_bytes, tx_bytes, rx_drop, tx_drop, rx_errs, tx_errs, frame, over, crc, coll] =
            p.counts.map(Count);
        let pad = if p.number.to_16().is_some_and(|n| n < 10) { " " } else { "" };
        writeln!(
            out,
            "  port {pad}{}: rx pkts={rx}, bytes={rx_bytes}, drop={rx_drop}, errs={rx_errs}, frame={frame}, over={over}, \
             crc={crc}",
            p.number
        )?;
        writeln!(out, "           tx pkts={tx}, bytes={tx_bytes}, drop={tx_drop}, errs={tx_errs}, coll={coll}")?;
        match p.duration {
            Some((secs, nanos)) if secs != u32::MAX => writeln!(out, "           duration={}", duration(secs, nanos)),
            _ => Ok(()),
        }
    }

    fn table_config(&self) -> bool {
        self.header.version >= Version::V1_4
    }

    fn table_mod(&mut self, t: &TableDesc) -> fmt::Result {
        let (new, version) = (self.table_config(), self.header.version);
        let out = &mut self.out;
        match t.table {
            0xff => out.push_str(" table_id: ALL_TABLES"),
            table => write!(out, " table_id={table}")?,
        }
        if version == Version::V1_3 {
            return Ok(());
        }
        if !new {
            let miss = ["controller", "continue", "drop", "error"].get((t.config & 3) as usize).copied();
            return write!(out, ", flow_miss_config={}", miss.unwrap_or_default());
        }
        write!(out, ", eviction={}", if t.config & 4 != 0 { "on" } else { "off" })?;
        if let Some(flags) = t.eviction {
            out.push_str("eviction_flags=");
            eviction_flags(out, flags)?;
        }
        write!(out, ", vacancy={}", if t.config & 8 != 0 { "on" } else { "off" })?;
        match t.vacancy {
            Some((down, up, _)) if t.config & 8 != 0 => write!(out, " vacancy:{down},{up}"),
            _ => Ok(()),
        }
    }

    fn table_desc(&mut self, t: &TableDesc) -> fmt::Result {
        let out = &mut self.out;
        write!(out, "\n  table {}:\n", t.table)?;
        write!(out, "   eviction={} eviction_flags=", if t.config & 4 != 0 { "on" } else { "off" })?;
        eviction_flags(out, t.eviction.unwrap_or(u32::MAX))?;
        write!(out, "\n   vacancy={}", if t.config & 8 != 0 { "on" } else { "off" })?;
        if let (Some((down, up, now)), true) = (t.vacancy, t.config & 8 != 0) {
            write!(out, " vacancy_down={down}% vacancy_up={up}% vacancy={now}%")?;
        }
        out.push('\n');
        Ok(())
    }

    fn group_mod(&mut self, g: &GroupMod) -> fmt::Result {
        let out = &mut self.out;
        out.push_str("\n ");
        match g.command {
            0 => out.push_str("ADD "),
            1 => out.push_str("MOD "),
            2 => out.push_str("DEL "),
            3 => out.push_str("INSERT_BUCKET "),
            5 => out.push_str("REMOVE_BUCKET "),
            0x8000 => out.push_str("ADD_OR_MOD "),
            other => write!(out, "cmd:{other} ")?,
        }
        let on_buckets = matches!(g.command, 3 | 5);
        if on_buckets {
            bucket_id(out, "command_bucket_id:", g.bucket, self.header.version)?;
        }
        self.group(&g.desc, on_buckets)
    }

    fn group(&mut self, g: &GroupDesc, without_type: bool) -> fmt::Result {
        let version = self.header.version;
        let out = &mut self.out;
        write!(out, "group_id={}", g.group)?;
        if !without_type {
            let kind = ["all", "select", "indirect", "ff"].get(usize::from(g.kind)).unwrap_or(&"unknown");
            write!(out, ",type={kind}")?;
        }
        if let Some(s) = &g.selection {
            selection(out, s)?;
        }
        for b in &g.buckets {
            out.push(',');
            bucket(out, b, g.kind, version)?;
        }
        Ok(())
    }

    fn meter(&mut self, m: &MeterConfig) -> fmt::Result {
        let out = &mut self.out;
        meter_id(out, m.meter, '=')?;
        out.push(' ');
        for (_, name) in METER_FLAGS.iter().filter(|(bit, _)| u32::from(m.flags) & bit != 0) {
            write!(out, "{name} ")?;
        }
        if m.flags & !0xf != 0 {
            write!(out, "flags:{:#x} ", m.flags & !0xf)?;
        }
        out.push_str("bands=");
        for b in &m.bands {
            out.push_str(if b.kind == 1 { "\ntype=drop" } else { "\ntype=dscp_remark" });
            write!(out, " rate={}", b.rate)?;
            if m.flags & 4 != 0 {
                write!(out, " burst_size={}", b.burst)?;
            }
            if b.kind == 2 {
                write!(out, " prec_level={}", b.precedence)?;
            }
        }
        out.push('\n');
        Ok(())
    }

    fn async_config(&mut self, a: &AsyncConfig) -> fmt::Result {
        const REASONS: [(&str, &[&str]); 6] = [
            ("PACKET_IN", &["no_match", "action", "invalid_ttl", "action_set", "group", "packet_out"]),
            ("PORT_STATUS", &["add", "delete", "modify"]),
            ("FLOW_REMOVED", &["idle", "hard", "delete", "group_delete", "meter_delete", "eviction"]),
            ("ROLE_STATUS", &["primary_request", "configuration_changed", "experimenter_data_changed"]),
            ("TABLE_STATUS", &["", "", "", "vacancy_down", "vacancy_up"]),
            ("REQUESTFORWARD", &["group_mod_request", "meter_mod_request"]),
        ];
        let out = &mut self.out;
        for (at, who) in ["primary", "secondary"].iter().enumerate() {
            write!(out, "\n {who}:\n")?;
            for ((name, reasons), pair) in REASONS.iter().zip(&a.masks) {
                let mask = pair.get(at).copied().flatten().unwrap_or(0);
                write!(out, "{name:>16}:")?;
                let mut any = false;
                for (n, reason) in reasons.iter().enumerate().filter(|(_, r)| !r.is_empty()) {
                    if mask & 1 << n != 0 {
                        write!(out, " {reason}")?;
                        any = true;
                    }
                }
                out.push_str(if any { "\n" } else { " (off)\n" });
            }
        }
        Ok(())
    }
}

const METER_FLAGS: [(u32, &str); 4] = [(1, "kbps"), (2, "pktps"), (4, "burst"), (8, "stats")];
const BUNDLE_FLAGS: [(u32, &str); 2] = [(1, "atomic"), (2, "ordered")];

/// A count that is not kept if it is all ones.
struct Count(u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == u64::MAX { f.write_str("?") } else { self.0.fmt(f) }
    }
}

/// Kilobits per second by the features of OpenFlow 1.0.
fn speed_of(features: u32) -> u32 {
    match features {
        f if f & 0x40 != 0 => 10_000_000,
        f if f & 0x30 != 0 => 1_000_000,
        f if f & 0x0c != 0 => 100_000,
        f if f & 0x03 != 0 => 10_000,
        _ => 0,
    }
}

fn eviction_flags(out: &mut String, flags: u32) -> fmt::Result {
    match flags {
        u32::MAX => {
            out.push_str("(default)");
            Ok(())
        }
        flags => bits(out, flags, &[(1, "OTHER"), (2, "IMPORTANCE"), (4, "LIFETIME")]),
    }
}

fn queue_name(out: &mut String, queue: u32) -> fmt::Result {
    if queue == u32::MAX { out.write_str("ALL") } else { write!(out, "{queue}") }
}

fn meter_id(out: &mut String, id: u32, separator: char) -> fmt::Result {
    match id {
        0..=0xffff_0000 => write!(out, "meter{separator}{id}"),
        0xffff_fffd => write!(out, "meter{separator}slowpath"),
        0xffff_fffe => write!(out, "meter{separator}controller"),
        0xffff_ffff => write!(out, "meter{separator}all"),
        _ => write!(out, "meter{separator}unknown"),
    }
}

fn role(out: &mut String, role: u32, generation: Option<u64>) -> fmt::Result {
    let name = ["nochange", "equal", "primary", "secondary"].get(role as usize).unwrap_or(&"");
    write!(out, " role={name}")?;
    generation.map_or(Ok(()), |g| write!(out, " generation_id={g}"))
}

fn bucket_id(out: &mut String, label: &str, id: u32, version: Version) -> fmt::Result {
    if version > Version::V1_0 && version < Version::V1_5 {
        return Ok(());
    }
    out.push_str(label);
    match id {
        0xffff_fffd => out.push_str("first,"),
        0xffff_fffe => out.push_str("last,"),
        0xffff_ffff => out.push_str("all,"),
        id => write!(out, "{id},")?,
    }
    Ok(())
}

fn bucket(out: &mut String, b: &Bucket, kind: u8, version: Version) -> fmt::Result {
    out.push_str("bucket=");
    bucket_id(out, "bucket_id:", b.id, version)?;
    if b.weight != u16::from(kind == 1) {
        write!(out, "weight:{},", b.weight)?;
    }
    if b.watch_port != OfPort::ANY {
        write!(out, "watch_port:{},", b.watch_port)?;
    }
    if b.watch_group != u32::MAX {
        write!(out, "watch_group:{},", b.watch_group)?;
    }
    write!(out, "actions={}", ActionList(&b.actions))
}

fn selection(out: &mut String, s: &Selection) -> fmt::Result {
    if s.method.is_empty() {
        return Ok(());
    }
    write!(out, ",selection_method={}", s.method)?;
    if s.param != 0 {
        write!(out, ",selection_method_param={}", s.param)?;
    }
    let whole = |(field, mask): &(FieldId, u128)| *mask == field.info().max_value();
    match s.fields.as_slice() {
        [] => {}
        [one] if whole(one) => write!(out, ",fields={}", one.0.info().name)?,
        fields => {
            out.push_str(",fields(");
            for (n, (field, mask)) in fields.iter().enumerate() {
                out.push_str(if n == 0 { "" } else { "," });
                out.push_str(field.info().name);
                if *mask != field.info().max_value() {
                    let v = ovs_packet::field::Value { field: *field, value: *mask, mask: field.info().max_value() };
                    write!(out, "={v}")?;
                }
            }
            out.push(')');
        }
    }
    Ok(())
}

/// Of TCP, UDP, SCTP and ICMP, what the checksum in the packet is.
fn checksums(out: &mut String, key: &FlowKey, data: &[u8]) -> fmt::Result {
    let (name, at) = match (key.eth_type.get(), key.nw_proto) {
        (0x0800 | 0x86dd, 6) => ("tcp", 16usize),
        (0x0800 | 0x86dd, 17) => ("udp", 6),
        (0x0800, 1) | (0x86dd, 58) => ("icmp", 2),
        (0x0800 | 0x86dd, 132) => ("sctp", 8),
        _ => return Ok(()),
    };
    let mut packet = Packet::from_slice(data);
    let mut again = FlowKey::ZERO;
    extract::extract(&mut packet, &mut again);
    let bytes = packet.l4().get(at..).unwrap_or_default();
    match (name, bytes) {
        ("sctp", [a, b, c, d, ..]) => write!(out, " sctp_csum:{:x}", u32::from_be_bytes([*a, *b, *c, *d])),
        (name, [a, b, ..]) => write!(out, " {name}_csum:{:x}", u16::from_be_bytes([*a, *b])),
        _ => Ok(()),
    }
}

/// The match of all that a packet's headers say, zero or not, as far as it has them: what a packet with this key is
/// printed as.
///
/// ```
/// use ovs_ofproto::text::packet_match;
/// use ovs_packet::FlowKey;
///
/// let key = FlowKey { eth_type: 0x0806.into(), nw_proto: 1, ..FlowKey::ZERO };
/// let text = packet_match(&key).to_string();
/// assert!(text.starts_with("arp,vlan_tci=0x0000,") && text.ends_with("arp_tha=00:00:00:00:00:00"));
/// ```
pub fn packet_match(key: &FlowKey) -> Match {
    use FieldId::{
        ArpOp, ArpSha, ArpSpa, ArpTha, ArpTpa, EthDst, EthSrc, EthType, IcmpCode, IcmpType, Icmpv6Code, Icmpv6Type,
        IpFrag, Ipv6Dst, Ipv6Label, Ipv6Src, MplsBos, MplsLabel, MplsTc, MplsTtl, NdSll, NdTarget, NdTll, NwDst, NwEcn,
        NwProto, NwSrc, NwTos, NwTtl, SctpDst, SctpSrc, TcpDst, TcpFlags, TcpSrc, UdpDst, UdpSrc, VlanTci,
    };
    let mut m = Match::exact_non_zero(*key);
    let headers = [
        VlanTci, EthSrc, EthDst, EthType, MplsLabel, MplsTc, MplsBos, MplsTtl, NwSrc, NwDst, Ipv6Src, Ipv6Dst,
        Ipv6Label, NwTos, NwEcn, NwTtl, IpFrag, NwProto, ArpOp, ArpSpa, ArpTpa, ArpSha, ArpTha, TcpSrc, TcpDst,
        TcpFlags, UdpSrc, UdpDst, SctpSrc, SctpDst, IcmpType, IcmpCode, Icmpv6Type, Icmpv6Code, NdTarget, NdSll, NdTll,
    ];
    for field in headers.into_iter().filter(|f| f.info().prereq.holds(key)) {
        m.set(field, field.info().get(key));
    }
    m
}

/// Sixteen bytes a line, in hexadecimal and as characters.
fn hex_dump(out: &mut String, data: &[u8]) -> fmt::Result {
    dump(out, data, true)
}

fn plain_dump(out: &mut String, data: &[u8]) -> fmt::Result {
    dump(out, data, false)
}

fn dump(out: &mut String, data: &[u8], ascii: bool) -> fmt::Result {
    for (line, bytes) in data.chunks(16).enumerate() {
        write!(out, "{:08x} ", line * 16)?;
        for (i, b) in bytes.iter().enumerate() {
            write!(out, "{}{b:02x}", if i == 8 { '-' } else { ' ' })?;
        }
        // The middle is marked even where a line ends there.
        let half = bytes.len() == 8;
        out.push_str(if half { "-" } else { "" });
        if ascii {
            for _ in bytes.len()..16 {
                out.push_str("   ");
            }
            if half {
                out.pop();
            }
            let printable = |b: &u8| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '.' };
            let text: String = bytes.iter().map(printable).collect();
            write!(out, " |{text:<16}|")?;
        }
        out.push('\n');
    }
    Ok(())
}
