//! Whole messages in words, as `ovs-ofctl ofp-print` writes them.

mod extension;
mod features;
mod flow;
mod group;
mod monitor;
mod packet;
mod port;
mod raw;
mod switch;
mod table;

use std::fmt::{self, Write};
use std::time::Duration;

use ovs_packet::text::{NoNames, PortNames, PortText, TableText};
use ovs_packet::{Match, OfPort};

use self::group::METER_FLAGS;
use self::group::meter_id;
use self::port::{CONFIG, features, wire_features};
use self::switch::{ACTIONS_10, BUNDLE_FLAGS, CAPABILITIES, action_names, queue_name, role};
use super::print::{InNames, Prioritised, Seconds};
use crate::codec::{
    DecodeError, ErrorMessage, GroupDesc, Header, Hello, Kind, Message, MessageType, OfError, Reader, Version, Versions,
};
use crate::dump::hex_dump;

pub use packet::packet_match;

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

/// A group as `ovs-ofctl dump-groups` writes it.
pub fn group(desc: &GroupDesc) -> String {
    let header = Header { version: Version::V1_5, kind: MessageType(0), length: 0, xid: 0 };
    let mut p = Printer { out: String::new(), header, kind: None, verbosity: 0, names: &NoNames, raw_match: None };
    // Strings take all that is written.
    let _ = p.group(desc, false);
    p.out
}

struct Printed<'a> {
    header: &'a Header,
    message: &'a Message,
}

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let says = self.message.says();
        let kind = says.and_then(|says| Kind::saying(says, self.header.version));
        let name = kind.map_or("OFPT_EXPERIMENTER", Kind::name);
        let mut text = String::new();
        head(&mut text, name, self.header)?;
        let mut p = Printer { out: text, header: *self.header, kind, verbosity: 1, names: &NoNames, raw_match: None };
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
    ofp_print_in_names(bytes, verbosity, &NoNames)
}

/// The same with the names that somebody knows of ports and flow tables in the place of their numbers.
pub fn ofp_print_in_names(bytes: &[u8], verbosity: u8, names: &dyn PortNames) -> String {
    let mut out = String::new();
    // Writing to a text does not fail.
    let _ = print(&mut out, bytes, verbosity, names);
    out
}

fn new_line(out: &mut String) {
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
}

fn print(out: &mut String, bytes: &[u8], verbosity: u8, names: &dyn PortNames) -> fmt::Result {
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
        Ok(header) => return print_whole(out, bytes, header, verbosity, names),
    }
    hex_dump(out, bytes)
}

fn print_whole(out: &mut String, bytes: &[u8], header: Header, verbosity: u8, names: &dyn PortNames) -> fmt::Result {
    let kind = Kind::of_bytes(bytes).and_then(|kind| kind.fits(bytes).map(|()| kind));
    let failed = match kind {
        Err(e) => {
            decode_error(out, &e)?;
            true
        }
        Ok(kind) => {
            head(out, kind.name(), &header)?;
            let start = out.len();
            let mut p =
                Printer { out: core::mem::take(out), header, kind: Some(kind), verbosity, names, raw_match: None };
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

/// How long something has existed.
fn duration(secs: u32, nanos: u32) -> Seconds {
    Seconds(Duration::new(secs.into(), nanos.min(999_999_999)))
}

struct Printer<'a> {
    out: String,
    header: Header,
    kind: Option<Kind>,
    verbosity: u8,
    names: &'a dyn PortNames,
    /// The match of a flow modification as its bytes say it, if that is to be shown.
    raw_match: Option<String>,
}

/// What prints, or else what a message broke off with.
type Broken = Result<Option<DecodeError>, fmt::Error>;

impl Printer<'_> {
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
        if self.verbosity >= 3 {
            self.raw_match = raw_match(bytes, self.kind);
        }
        match Message::decode_part(bytes, true) {
            Ok((_, message, broken)) => {
                let carried = matches!(message, Message::Experimenter(_));
                if let Some(error) = message.not_understood().filter(|_| !carried) {
                    return Ok(Some(DecodeError::new(error, Header::LEN, "what upstream understands")));
                }
                self.body(&message)?;
                Ok(broken)
            }
            Err(e) => Ok(Some(e)),
        }
    }

    fn matching(&mut self, priority: u16, m: &Match) -> fmt::Result {
        write!(self.out, "{}", InNames(&Prioritised(priority, m), self.names))
    }

    fn body(&mut self, message: &Message) -> fmt::Result {
        let names = self.names;
        let port = |port: OfPort| PortText(port, names);
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
            Message::TableStatsReply(tables) => self.table_stats(&tables.items),
            Message::TableFeaturesRequest(tables) | Message::TableFeaturesReply(tables) => {
                self.table_features(&tables.items)
            }
            Message::TableStatus(s) => self.table_status(s),
            Message::FlowMonitorRequest(monitors) => monitors.items.iter().try_for_each(|m| self.monitor_request(m)),
            Message::FlowMonitorReply(updates) => updates.items.iter().try_for_each(|u| self.flow_update(u)),
            Message::CtFlush(flush) => self.ct_flush(flush),
            Message::TlvTableMod(t) => self.tlv_mod(t),
            Message::TlvTableReply(t) => self.tlv_reply(t),
            Message::IpfixBridgeStatsReply(stats) => {
                out.push_str("\n  bridge ipfix: ");
                self.ipfix(stats, 16)
            }
            Message::IpfixFlowStatsReply(sets) => {
                writeln!(out, " {} ids", sets.items.len())?;
                for stats in &sets.items {
                    write!(self.out, "  id {:3}: ", stats.collector_set)?;
                    self.ipfix(stats, 10)?;
                }
                Ok(())
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
                    write!(out, " table={}", TableText(r.table, names))?;
                }
                if r.out_port != OfPort::ANY {
                    write!(out, " out_port={}", port(r.out_port))?;
                }
                out.push(' ');
                write!(out, "{}", r.matching.with_names(names))
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
                write!(out, " port: {}: addr:{}\n     config: ", port(m.number), m.hw_addr)?;
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
            Message::PortDescRequest(r) => write!(out, " port={}", port(r.port)),
            Message::PortDescReply(ports) => {
                out.push('\n');
                self.ports(&ports.items)
            }
            Message::PortStatsRequest(r) => write!(out, " port_no={}", port(r.port)),
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
                        crate::text::print::HexNumber((*max).into())
                    )?;
                    let names = action_names(*actions, self.header.version);
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
                write!(out, " port={}", port(r.port))?;
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
                        writeln!(out, "port={}", port(q.port))?;
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
                write!(out, " port={} queue=", port(r.port))?;
                queue_name(out, r.queue)
            }
            Message::QueueStatsReply(queues) => {
                writeln!(out, " {} queues", queues.items.len())?;
                if self.verbosity < 1 {
                    return Ok(());
                }
                for q in &queues.items {
                    write!(out, "  port {} queue ", port(q.port))?;
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
                write!(out, "\n bundle_id={} type=", crate::text::print::HexNumber(b.bundle.into()))?;
                write!(out, "{} flags=", kinds.get(usize::from(b.kind)).unwrap_or(&""))?;
                bits(out, b.flags.into(), &BUNDLE_FLAGS)
            }
            Message::BundleAdd(b) => {
                write!(out, "\n bundle_id={} flags=", crate::text::print::HexNumber(b.bundle.into()))?;
                bits(out, b.flags.into(), &BUNDLE_FLAGS)?;
                out.push('\n');
                print(out, &b.message, self.verbosity, self.names)
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
        print(out, &e.data, 1, self.names)
    }
}

/// A count that is not kept if it is all ones.
struct Count(u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == u64::MAX { f.write_str("?") } else { self.0.fmt(f) }
    }
}

/// The match of a flow modification of OpenFlow 1.0 or of Nicira's as its bytes say it.
fn raw_match(bytes: &[u8], kind: Option<Kind>) -> Option<String> {
    let mut r = Reader::new(bytes);
    match kind? {
        Kind::FlowMod10 => {
            r.skip(8).ok()?;
            raw::match_10(r).ok()
        }
        Kind::NxFlowMod => {
            // Behind the header and what else a flow has.
            r.skip(40).ok()?;
            let len = r.u16().ok()?;
            r.skip(6).ok()?;
            r.sub(len.into()).ok().map(raw::nxm)
        }
        _ => None,
    }
}
