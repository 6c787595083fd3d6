//! Writes actions, instructions, flow modifications and flow statistics as upstream's tools write them.

use std::fmt;
use std::time::Duration;

use ovs_packet::field::{Format, Value};
use ovs_packet::text::{NoNames, PortNames, PortText, TableText};
use ovs_packet::{Match, OfPort};

use super::flow::{COMMANDS, FLAGS, default_table};
use crate::action::{
    Action, Bundle, Controller, CtAction, EncapProperty, Instructions, Learn, LearnFlags, LearnSource, LearnTarget,
    Nat, NatFlags, Sample, SampleDirection, SetTunnelOption, Subfield,
};
use crate::codec::{FlowStats, FlowStatsRequest, PacketInReason};
use crate::flow_mod::{DEFAULT_PRIORITY, FlowMod, FlowModCommand, FlowModFlags};

/// A list of actions in words; `drop` for an empty one.
///
/// ```
/// use ovs_ofproto::Action;
/// use ovs_ofproto::text::ActionList;
/// use ovs_packet::OfPort;
///
/// assert_eq!(ActionList(&[Action::PopVlan, Action::output(OfPort(2))]).to_string(), "pop_vlan,output:2");
/// assert_eq!(ActionList(&[]).to_string(), "drop");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ActionList<'a>(pub &'a [Action]);

/// Something in words, with the names that somebody knows of ports and flow tables in the place of their numbers.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use ovs_ofproto::FlowMod;
/// use ovs_ofproto::text::InNames;
/// use ovs_packet::OfPort;
///
/// let ports = BTreeMap::from([("eth0".to_string(), OfPort(7))]);
/// let flow: FlowMod = "in_port=7,actions=IN_PORT,output:7".parse()?;
/// assert_eq!(InNames(&flow, &ports).to_string(), "in_port=eth0 actions=IN_PORT,output:eth0");
/// # Ok::<(), ovs_ofproto::text::ParseFlowError>(())
/// ```
#[derive(Clone, Copy)]
pub struct InNames<'a, T: ?Sized>(pub &'a T, pub &'a dyn PortNames);

impl<T: ?Sized> fmt::Debug for InNames<'_, T>
where
    Self: fmt::Display,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InNames({self})")
    }
}

macro_rules! without_names {
    ($($(#[$doc:meta])* $type:ty),+) => {
        $($(#[$doc])* impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                InNames(self, &NoNames).fmt(f)
            }
        })+
    };
}

without_names! {
    ActionList<'_>,
    Action,
    CtAction,
    /// Written behind `actions=`; `drop` for none.
    Instructions,
    Prioritised<'_>,
    /// Writes a flow as `add-flow` takes it, with the command in front if it is not an addition. What is read from it is
    /// the same flow, if the cookie of an addition has no mask and only deletions have an output port.
    FlowMod,
    /// Writes a line as `dump-flows` does, with the space that it begins with.
    FlowStats,
    FlowStatsRequest
}

impl fmt::Display for InNames<'_, ActionList<'_>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InNames(ActionList(actions), names) = *self;
        match actions {
            [] => f.write_str("drop"),
            [first, rest @ ..] => {
                InNames(first, names).fmt(f)?;
                rest.iter().try_for_each(|a| write!(f, ",{}", InNames(a, names)))
            }
        }
    }
}

impl fmt::Display for Subfield {
    /// `NXM_NX_REG0[4..7]`: the name in Nicira's format, or else OpenFlow's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.field.info();
        f.write_str(info.code_points().next().map_or(info.name, |p| p.name))?;
        match self.bits {
            _ if self.is_whole() => f.write_str("[]"),
            1 => write!(f, "[{}]", self.offset),
            bits => write!(f, "[{}..{}]", self.offset, self.offset.saturating_add(bits).saturating_sub(1)),
        }
    }
}

/// Bytes in hexadecimal with a character between them.
pub(super) struct Dotted<'a>(pub(super) &'a [u8]);

impl fmt::Display for Dotted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(n, b)| write!(f, "{}{b:02x}", if n == 0 { "" } else { "." }))
    }
}

/// Bytes as one number in hexadecimal.
pub(super) struct HexBytes<'a>(pub(super) &'a [u8]);

impl fmt::Display for HexBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        match self.0.iter().position(|b| *b != 0) {
            None => f.write_str("0"),
            Some(first) => {
                let mut bytes = self.0.iter().skip(first);
                bytes.next().map_or(Ok(()), |b| write!(f, "{b:x}"))?;
                bytes.try_for_each(|b| write!(f, "{b:02x}"))
            }
        }
    }
}

/// A value of a field, with its mask if that is not exact.
fn set(f: &mut fmt::Formatter<'_>, value: Value, names: &dyn PortNames) -> fmt::Result {
    write!(f, "set_field:{}->{}", InNames(&value, names), value.field.info().name)
}

impl fmt::Display for InNames<'_, Value> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InNames(value, names) = *self;
        let low = u32::try_from(value.value).unwrap_or(u32::MAX);
        match value.field.info().format {
            Format::Port if value.mask != 0 => PortText(OfPort(low), names).fmt(f),
            Format::Port16 if value.mask != 0 => {
                PortText(u16::try_from(low).map_or(OfPort(low), OfPort::from_16), names).fmt(f)
            }
            _ => value.fmt(f),
        }
    }
}

impl fmt::Display for InNames<'_, Action> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InNames(action, names) = *self;
        let port = |port: &OfPort| PortText(*port, names);
        match action {
            Action::Output { port: OfPort::CONTROLLER, max_len } => write!(f, "CONTROLLER:{max_len}"),
            Action::Output { port, .. } if port.is_reserved() || *port == OfPort::LOCAL => write!(f, "{port}"),
            Action::Output { port: to, .. } => write!(f, "output:{}", port(to)),
            Action::OutputField { src, .. } => write!(f, "output:{src}"),
            Action::OutputTruncated { port: to, max_len } => write!(f, "output(port={},max_len={max_len})", port(to)),
            Action::Controller(c) => controller(f, c),
            Action::Enqueue { port: to, queue } => write!(f, "enqueue:{}:{queue}", port(to)),
            Action::Group(group) => write!(f, "group:{group}"),
            Action::Bundle(b) => bundle(f, b, names),
            Action::SetField { field, value, mask } | Action::SetFieldNicira { field, value, mask } => {
                set(f, Value { field: *field, value: *value, mask: *mask }, names)
            }
            Action::SetTunnelOption(set) => {
                let SetTunnelOption { index, value, mask, .. } = &**set;
                write!(f, "set_field:{}", HexBytes(value))?;
                if mask.iter().any(|b| *b != 0xff) {
                    write!(f, "/{}", HexBytes(mask))?;
                }
                write!(f, "->tun_metadata{index}")
            }
            Action::Load { dst, value } => write!(f, "load:{}->{dst}", HexNumber(*value)),
            Action::Move { src, dst, .. } => write!(f, "move:{src}->{dst}"),
            Action::Push(src) => write!(f, "push:{src}"),
            Action::Pop(dst) => write!(f, "pop:{dst}"),
            Action::SetVlanVid { vid, push, .. } => write!(f, "{}_vlan_vid:{vid}", if *push { "mod" } else { "set" }),
            Action::SetVlanPcp { pcp, push, .. } => write!(f, "{}_vlan_pcp:{pcp}", if *push { "mod" } else { "set" }),
            Action::StripVlan => f.write_str("strip_vlan"),
            Action::PopVlan => f.write_str("pop_vlan"),
            Action::PushVlan(tpid) => write!(f, "push_vlan:{tpid:#06x}"),
            Action::SetEthSrc(a) => write!(f, "mod_dl_src:{a}"),
            Action::SetEthDst(a) => write!(f, "mod_dl_dst:{a}"),
            Action::SetIpv4Src(a) => write!(f, "mod_nw_src:{a}"),
            Action::SetIpv4Dst(a) => write!(f, "mod_nw_dst:{a}"),
            Action::SetIpTos(v) => write!(f, "mod_nw_tos:{v}"),
            Action::SetIpEcn(v) => write!(f, "mod_nw_ecn:{v}"),
            Action::SetIpTtl(v) => write!(f, "mod_nw_ttl:{v}"),
            Action::SetL4Src { port, .. } => write!(f, "mod_tp_src:{port}"),
            Action::SetL4Dst { port, .. } => write!(f, "mod_tp_dst:{port}"),
            Action::DecTtl => f.write_str("dec_ttl"),
            Action::DecTtlTo(ids) => {
                f.write_str("dec_ttl(")?;
                ids.iter().enumerate().try_for_each(|(n, id)| write!(f, "{}{id}", if n == 0 { "" } else { "," }))?;
                f.write_str(")")
            }
            Action::SetMplsLabel(v) => write!(f, "set_mpls_label({v})"),
            Action::SetMplsTc(v) => write!(f, "set_mpls_tc({v})"),
            Action::SetMplsTtl(v) => write!(f, "set_mpls_ttl({v})"),
            Action::DecMplsTtl => f.write_str("dec_mpls_ttl"),
            Action::PushMpls(v) => write!(f, "push_mpls:{v:#06x}"),
            Action::PopMpls(v) => write!(f, "pop_mpls:{v:#06x}"),
            Action::DecNshTtl => f.write_str("dec_nsh_ttl"),
            Action::DeleteField(field) => write!(f, "delete_field:{}", field.info().name),
            Action::SetTunnel { id, wide } => {
                write!(f, "set_tunnel{}:{}", if *wide || *id > u64::from(u32::MAX) { "64" } else { "" }, HexNumber(*id))
            }
            Action::SetQueue(v) => write!(f, "set_queue:{v}"),
            Action::PopQueue => f.write_str("pop_queue"),
            Action::FinTimeout { idle, hard } => {
                f.write_str("fin_timeout(")?;
                let mut parts = Commas { f, any: false };
                for (name, value) in [("idle", idle), ("hard", hard)] {
                    if *value != 0 {
                        parts.push(format_args!("{name}_timeout={value}"))?;
                    }
                }
                f.write_str(")")
            }
            Action::ResubmitPort(OfPort::IN_PORT) => f.write_str("resubmit(,)"),
            Action::ResubmitPort(from) => write!(f, "resubmit:{}", port(from)),
            Action::Resubmit { port: Some(from), table: None, .. } => write!(f, "resubmit:{}", port(from)),
            Action::Resubmit { port: from, table, original } => {
                f.write_str("resubmit(")?;
                from.map_or(Ok(()), |p| port(&p).fmt(f))?;
                f.write_str(",")?;
                table.map_or(Ok(()), |t| TableText(t, names).fmt(f))?;
                f.write_str(if *original { ",ct)" } else { ")" })
            }
            Action::Learn(l) => learn(f, l, names),
            Action::Conjunction { id, clause, clauses } => {
                write!(f, "conjunction({id},{}/{clauses})", u16::from(*clause).saturating_add(1))
            }
            Action::Multipath(m) => {
                let links = u32::from(m.max_link).saturating_add(1);
                let (fields, algorithm) = (m.fields.word(), m.algorithm.word());
                write!(f, "multipath({fields},{},{algorithm},{links},{},{})", m.basis, m.arg, m.dst)
            }
            Action::Note(bytes) => write!(f, "note:{}", Dotted(bytes)),
            Action::Exit => f.write_str("exit"),
            Action::Sample(s) => sample(f, s, names),
            Action::Ct(ct) => InNames(&**ct, names).fmt(f),
            Action::CtClear => f.write_str("ct_clear"),
            Action::Nat(n) => nat(f, n),
            Action::Clone(actions) => write!(f, "clone({})", InNames(&ActionList(actions), names)),
            Action::CheckPacketLarger { length, dst } => write!(f, "check_pkt_larger({length})->{dst}"),
            Action::Encap { packet_type, properties, .. } => encap(f, *packet_type, properties),
            Action::Decap(Action::NEXT_PROTOCOL) => f.write_str("decap()"),
            Action::Decap(t) => write!(f, "decap(packet_type(ns={},type={}))", t >> 16, HexNumber((t & 0xffff).into())),
            Action::Meter(v) => write!(f, "meter:{v}"),
            Action::WriteMetadata(value, mask) => metadata(f, *value, *mask),
            Action::DebugRecirc => f.write_str("debug_recirc"),
            Action::DebugSlow => f.write_str("debug_slow"),
        }
    }
}

/// Hexadecimal with a prefix, save 0.
pub(super) struct HexNumber(pub(super) u64);

impl fmt::Display for HexNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { f.write_str("0") } else { write!(f, "{:#x}", self.0) }
    }
}

fn metadata(f: &mut fmt::Formatter<'_>, value: u64, mask: u64) -> fmt::Result {
    write!(f, "write_metadata:{}", HexNumber(value))?;
    if mask == u64::MAX { Ok(()) } else { write!(f, "/{}", HexNumber(mask)) }
}

fn controller(f: &mut fmt::Formatter<'_>, c: &Controller) -> fmt::Result {
    if c.reason == 1 && c.id == 0 && c.userdata.is_empty() && !c.pause && c.meter.is_none() {
        return write!(f, "CONTROLLER:{}", c.max_len);
    }
    f.write_str("controller(")?;
    let mut parts = Commas { f, any: false };
    match PacketInReason(c.reason).word() {
        _ if c.reason == 1 => {}
        Some(word) => parts.push(format_args!("reason={word}"))?,
        None => parts.push(format_args!("reason={}", c.reason))?,
    }
    if c.max_len != Action::WHOLE {
        parts.push(format_args!("max_len={}", c.max_len))?;
    }
    if c.id != 0 {
        parts.push(format_args!("id={}", c.id))?;
    }
    if !c.userdata.is_empty() {
        parts.push(format_args!("userdata={}", Dotted(&c.userdata)))?;
    }
    if c.pause {
        parts.push(format_args!("pause"))?;
    }
    if let Some(meter) = c.meter {
        parts.push(format_args!("meter_id={meter}"))?;
    }
    f.write_str(")")
}

fn bundle(f: &mut fmt::Formatter<'_>, b: &Bundle, names: &dyn PortNames) -> fmt::Result {
    let name = if b.dst.is_some() { "bundle_load" } else { "bundle" };
    write!(f, "{name}({},{},{},ofport,", b.fields.word(), b.basis, b.algorithm.word())?;
    if let Some(dst) = b.dst {
        write!(f, "{dst},")?;
    }
    f.write_str("members:")?;
    let mut members = b.members.iter().enumerate();
    members.try_for_each(|(n, port)| write!(f, "{}{}", if n == 0 { "" } else { "," }, PortText(*port, names)))?;
    f.write_str(")")
}

fn learn(f: &mut fmt::Formatter<'_>, l: &Learn, names: &dyn PortNames) -> fmt::Result {
    write!(f, "learn(table={}", TableText(l.table, names))?;
    for (name, value) in [
        ("idle_timeout", l.idle_timeout),
        ("hard_timeout", l.hard_timeout),
        ("fin_idle_timeout", l.fin_idle_timeout),
        ("fin_hard_timeout", l.fin_hard_timeout),
    ] {
        if value != 0 {
            write!(f, ",{name}={value}")?;
        }
    }
    if l.priority != DEFAULT_PRIORITY {
        write!(f, ",priority={}", l.priority)?;
    }
    for (name, flag) in [("send_flow_rem", LearnFlags::SEND_FLOW_REM), ("delete_learned", LearnFlags::DELETE_LEARNED)] {
        if l.flags.contains(flag) {
            write!(f, ",{name}")?;
        }
    }
    if l.cookie != 0 {
        write!(f, ",cookie={:#x}", l.cookie)?;
    }
    if l.limit != 0 {
        write!(f, ",limit={}", l.limit)?;
    }
    if let Some(result) = l.result {
        write!(f, ",result_dst={result}")?;
    }
    for spec in &l.specs {
        f.write_str(",")?;
        match (&spec.source, &spec.target) {
            (LearnSource::Immediate(bytes), LearnTarget::Match(dst)) if dst.is_whole() => {
                let value = bytes.iter().fold(0u128, |v, b| v << 8 | u128::from(*b));
                let mask = dst.field.info().max_value();
                let value = Value { field: dst.field, value, mask };
                write!(f, "{}={}", dst.field.info().name, InNames(&value, names))?;
            }
            (LearnSource::Immediate(bytes), LearnTarget::Match(dst)) => write!(f, "{dst}={}", HexBytes(bytes))?,
            (LearnSource::Field(src), LearnTarget::Match(dst)) if src == dst => write!(f, "{dst}")?,
            (LearnSource::Field(src), LearnTarget::Match(dst)) => write!(f, "{dst}={src}")?,
            (LearnSource::Immediate(bytes), LearnTarget::Load(dst)) => write!(f, "load:{}->{dst}", HexBytes(bytes))?,
            (LearnSource::Field(src), LearnTarget::Load(dst)) => write!(f, "load:{src}->{dst}")?,
            (LearnSource::Field(src), LearnTarget::Output) => write!(f, "output:{src}")?,
            (LearnSource::Immediate(bytes), LearnTarget::Output) => write!(f, "output:{}", HexBytes(bytes))?,
        }
    }
    f.write_str(")")
}

fn sample(f: &mut fmt::Formatter<'_>, s: &Sample, names: &dyn PortNames) -> fmt::Result {
    write!(f, "sample(probability={},collector_set_id={}", s.probability, s.collector_set)?;
    for (name, id) in [("domain", &s.domain), ("point", &s.point)] {
        match id {
            Ok(id) => write!(f, ",obs_{name}_id={id}")?,
            Err(field) => write!(f, ",obs_{name}_id={field}")?,
        }
    }
    if s.port != OfPort::ANY {
        write!(f, ",sampling_port={}", PortText(s.port, names))?;
    }
    f.write_str(match s.direction {
        SampleDirection::Default => ")",
        SampleDirection::Ingress => ",ingress)",
        SampleDirection::Egress => ",egress)",
    })
}

fn nat(f: &mut fmt::Formatter<'_>, n: &Nat) -> fmt::Result {
    f.write_str("nat")?;
    if !n.flags.intersects(NatFlags::SRC | NatFlags::DST) {
        return Ok(());
    }
    f.write_str(if n.flags.contains(NatFlags::SRC) { "(src" } else { "(dst" })?;
    if let Some(range) = n.range {
        f.write_str("=")?;
        let bracket = |f: &mut fmt::Formatter<'_>, a: &std::net::IpAddr| match a {
            std::net::IpAddr::V6(a) if range.port_min != 0 => write!(f, "[{a}]"),
            a => write!(f, "{a}"),
        };
        bracket(f, &range.min)?;
        if let Some(max) = range.max.filter(|max| *max != range.min) {
            f.write_str("-")?;
            bracket(f, &max)?;
        }
        if range.port_min != 0 {
            write!(f, ":{}", range.port_min)?;
            if range.port_max != 0 && range.port_max != range.port_min {
                write!(f, "-{}", range.port_max)?;
            }
        }
        for (flag, word) in
            [(NatFlags::PERSISTENT, "persistent"), (NatFlags::HASH, "hash"), (NatFlags::RANDOM, "random")]
        {
            if n.flags.contains(flag) {
                write!(f, ",{word}")?;
            }
        }
    }
    f.write_str(")")
}

fn encap(f: &mut fmt::Formatter<'_>, packet_type: u32, properties: &[EncapProperty]) -> fmt::Result {
    let name = ENCAPS.iter().find(|(_, t)| *t == packet_type).map_or("UNKNOWN", |(name, _)| name);
    write!(f, "encap({name}")?;
    if !properties.is_empty() {
        f.write_str("(")?;
        let mut parts = Commas { f, any: false };
        for p in properties {
            match p {
                EncapProperty::NshMdType(md_type) => parts.push(format_args!("md_type={md_type}"))?,
                EncapProperty::NshTlv { class, kind, value } => {
                    // Zeros in front are bytes of the option.
                    let zeros = value.iter().take_while(|b| **b == 0).count().min(value.len().saturating_sub(1));
                    let zeros = "00".repeat(zeros);
                    let digits = HexBytes(value).to_string();
                    let digits = digits.trim_start_matches("0x");
                    let half = if !zeros.is_empty() && digits.len() % 2 == 1 { "0" } else { "" };
                    parts.push(format_args!("tlv({class:#06x},{kind},0x{zeros}{half}{digits})"))?;
                }
            }
        }
        f.write_str(")")?;
    }
    f.write_str(")")
}

/// What can be put in front of a packet.
pub(super) const ENCAPS: [(&str, u32); 4] =
    [("ethernet", 0), ("nsh", 0x1_894f), ("mpls", 0x1_8847), ("mpls_mc", 0x1_8848)];

/// Writes parts with commas between them.
struct Commas<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    any: bool,
}

impl Commas<'_, '_> {
    fn push(&mut self, part: fmt::Arguments<'_>) -> fmt::Result {
        if core::mem::replace(&mut self.any, true) {
            self.f.write_str(",")?;
        }
        self.f.write_fmt(part)
    }
}

impl fmt::Display for InNames<'_, CtAction> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InNames(ct, names) = *self;
        f.write_str("ct(")?;
        let mut parts = Commas { f, any: false };
        if ct.commit {
            parts.push(format_args!("commit"))?;
        }
        if ct.force {
            parts.push(format_args!("force"))?;
        }
        if let Some(table) = ct.table {
            parts.push(format_args!("table={}", TableText(table, names)))?;
        }
        if let Some(zone) = ct.zone_src {
            parts.push(format_args!("zone={zone}"))?;
        } else if ct.zone != 0 {
            parts.push(format_args!("zone={}", ct.zone))?;
        }
        let exec = match ct.exec.split_first() {
            Some((nat @ Action::Nat(_), rest)) => {
                parts.push(format_args!("{nat}"))?;
                rest
            }
            _ => &ct.exec,
        };
        if !exec.is_empty() {
            parts.push(format_args!("exec({})", InNames(&ActionList(exec), names)))?;
        }
        match ct.alg {
            0 => {}
            21 => parts.push(format_args!("alg=ftp"))?,
            69 => parts.push(format_args!("alg=tftp"))?,
            other => parts.push(format_args!("alg={other}"))?,
        }
        f.write_str(")")
    }
}

impl fmt::Display for InNames<'_, Instructions> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InNames(Instructions { meter, apply, clear, write, metadata: bits, goto }, names) = *self;
        let mut parts = Commas { f, any: false };
        if let Some(meter) = meter {
            parts.push(format_args!("meter:{meter}"))?;
        }
        if !apply.is_empty() {
            parts.push(format_args!("{}", InNames(&ActionList(apply), names)))?;
        }
        if *clear {
            parts.push(format_args!("clear_actions"))?;
        }
        if let Some(write) = write {
            parts.push(format_args!("write_actions({})", InNames(&ActionList(write), names)))?;
        }
        if let Some((value, mask)) = bits {
            parts.push(format_args!("{}", Action::WriteMetadata(*value, *mask)))?;
        }
        if let Some(table) = goto {
            parts.push(format_args!("goto_table:{}", TableText(*table, names)))?;
        }
        if parts.any { Ok(()) } else { f.write_str("drop") }
    }
}

/// Priority, if it is not the default, and match.
pub(crate) struct Prioritised<'a>(pub(crate) u16, pub(crate) &'a Match);

impl fmt::Display for InNames<'_, Prioritised<'_>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InNames(Prioritised(priority, matching), names) = *self;
        let m = matching.with_names(names).to_string();
        let mut parts = Commas { f, any: false };
        if *priority != DEFAULT_PRIORITY {
            parts.push(format_args!("priority={priority}"))?;
        }
        if m.is_empty() { Ok(()) } else { parts.push(format_args!("{m}")) }
    }
}

/// The names of flags, each with a space behind it.
pub(super) struct Flags(pub(super) FlowModFlags);

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        FLAGS.iter().filter(|(_, flag)| self.0.contains(*flag)).try_for_each(|(name, _)| write!(f, "{name} "))
    }
}

impl fmt::Display for InNames<'_, FlowMod> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InNames(flow, names) = *self;
        let adds = flow.command == FlowModCommand::Add;
        if let (Some((word, _)), false) = (COMMANDS.iter().find(|(_, c)| *c == flow.command), adds) {
            write!(f, "{word} ")?;
        }
        let mut parts = Commas { f, any: false };
        if flow.cookie_mask != 0 || (flow.cookie != 0 && !adds) {
            parts.push(format_args!("cookie={:#x}/{:#x}", flow.cookie, flow.cookie_mask))?;
        } else if flow.cookie != 0 {
            parts.push(format_args!("cookie={:#x}", flow.cookie))?;
        }
        if flow.table != default_table(flow.command) {
            parts.push(format_args!("table={}", TableText(flow.table, names)))?;
        }
        for (name, value) in
            [("idle_timeout", flow.idle_timeout), ("hard_timeout", flow.hard_timeout), ("importance", flow.importance)]
        {
            if value != 0 {
                parts.push(format_args!("{name}={value}"))?;
            }
        }
        if flow.out_port != OfPort::ANY {
            parts.push(format_args!("out_port={}", PortText(flow.out_port, names)))?;
        }
        for (name, _) in FLAGS.iter().filter(|(_, flag)| flow.flags.contains(*flag)) {
            parts.push(format_args!("{name}"))?;
        }
        let rest = InNames(&Prioritised(flow.priority, &flow.matching), names).to_string();
        if !rest.is_empty() {
            parts.push(format_args!("{rest}"))?;
        }
        let any = parts.any;
        if matches!(flow.command, FlowModCommand::Delete | FlowModCommand::DeleteStrict) && flow.instructions.is_drop()
        {
            return Ok(());
        }
        write!(f, "{}actions={}", if any { " " } else { "" }, InNames(&flow.instructions, names))
    }
}

/// Seconds, with milliseconds if they are not whole, and with as many decimals as they have if those are not.
pub(super) struct Seconds(pub(super) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        match nanos {
            0 => write!(f, "{secs}s"),
            _ if nanos % 1_000_000 == 0 => write!(f, "{secs}.{:03}s", nanos / 1_000_000),
            _ => write!(f, "{secs}.{}s", format!("{nanos:09}").trim_end_matches('0')),
        }
    }
}

impl fmt::Display for InNames<'_, FlowStats> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InNames(flow, names) = *self;
        write!(
            f,
            " cookie={:#x}, duration={}, table={}",
            flow.cookie,
            Seconds(flow.duration),
            TableText(flow.table, names)
        )?;
        write!(f, ", n_packets={}, n_bytes={}, ", flow.packets, flow.bytes)?;
        for (name, value) in [("idle_timeout", flow.idle_timeout), ("hard_timeout", flow.hard_timeout)] {
            if value != 0 {
                write!(f, "{name}={value}, ")?;
            }
        }
        write!(f, "{}", Flags(flow.flags))?;
        if flow.importance != 0 {
            write!(f, "importance={}, ", flow.importance)?;
        }
        // How long ago a flow was changed is said only if it was.
        let changed = flow.hard_age.filter(|age| u64::from(*age) != flow.duration.as_secs());
        for (name, age) in [("idle_age", flow.idle_age), ("hard_age", changed)] {
            if let Some(age) = age {
                write!(f, "{name}={age}, ")?;
            }
        }
        let matching = InNames(&Prioritised(flow.priority, &flow.matching), names).to_string();
        write!(
            f,
            "{matching}{}actions={}",
            if matching.is_empty() { "" } else { " " },
            InNames(&flow.instructions, names)
        )
    }
}

/// Writes what a request asks for, as `ofp-print` does.
impl fmt::Display for InNames<'_, FlowStatsRequest> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InNames(request, names) = *self;
        if request.table != crate::flow_mod::ALL_TABLES {
            write!(f, " table={}", request.table)?;
        }
        if request.out_port != OfPort::ANY {
            write!(f, " out_port={}", request.out_port)?;
        }
        if request.out_group != u32::MAX {
            write!(f, " out_group={}", request.out_group)?;
        }
        if request.cookie_mask != 0 {
            write!(f, " cookie={:#x}/{:#x}", request.cookie, request.cookie_mask)?;
        }
        let matching = request.matching.with_names(names).to_string();
        write!(f, "{}{matching}", if matching.is_empty() { "" } else { " " })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_upstream_writes_them() {
        for (nanos, text) in [
            (0, "5s"),
            (1_000_000, "5.001s"),
            (10_000_000, "5.010s"),
            (1_500_000, "5.0015s"),
            (10_000, "5.00001s"),
            (1, "5.000000001s"),
            (999_999_999, "5.999999999s"),
        ] {
            assert_eq!(Seconds(Duration::new(5, nanos)).to_string(), text);
        }
    }

    #[test]
    fn a_line_of_dump_flows() {
        let mut flow =
            FlowStats { table: 2, duration: Duration::from_millis(1200), priority: 10, ..FlowStats::default() };
        flow.matching = "icmp".parse().unwrap();
        assert_eq!(
            flow.to_string(),
            " cookie=0x0, duration=1.200s, table=2, n_packets=0, n_bytes=0, priority=10,icmp actions=drop"
        );
        flow.flags = FlowModFlags::SEND_FLOW_REM | FlowModFlags::RESET_COUNTS;
        (flow.idle_timeout, flow.priority, flow.matching) = (5, DEFAULT_PRIORITY, Match::ANY);
        assert_eq!(
            flow.to_string(),
            " cookie=0x0, duration=1.200s, table=2, n_packets=0, n_bytes=0, idle_timeout=5, \
             send_flow_rem reset_counts actions=drop"
        );
    }

    #[test]
    fn commands_stand_in_front() {
        for text in [
            "delete cookie=0x1/0xff,table=3,out_port=LOCAL,ip",
            "delete_strict priority=5,ip",
            "modify cookie=0x5/0xffffffffffffffff,ip actions=NORMAL",
            "modify_strict table=1,idle_timeout=5 actions=drop",
            "actions=drop",
        ] {
            assert_eq!(text.parse::<FlowMod>().unwrap().to_string(), text);
        }
    }
}
