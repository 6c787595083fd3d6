//! Connections.

use super::header::{NfHeader, message};
use super::tuple::{Tuple, TupleAttr};
use crate::attr::structure::{U8 as FieldU8, structures};
use crate::attr::typed::{Array, Be16, Be32, Be64, Bytes, Nest, Nested, Struct, Text, U8, U32, attributes};
use crate::error::{DecodeError, DecodeErrorKind, EncodeError};
use crate::message::{Flags, Message};

attributes! {
    /// An attribute of a connection.
    pub enum CtAttr = "ctattr_type", "CTA_" {
        /// The tuple of the direction of the first packet.
        TUPLE_ORIG = 1 => TupleOrig(Nest<'a, TupleAttr<'a>> as Nested<TupleAttr<'static>>),
        /// The tuple of the other direction.
        TUPLE_REPLY = 2 => TupleReply(Nest<'a, TupleAttr<'a>> as Nested<TupleAttr<'static>>),
        /// See [`Status`].
        STATUS = 3 => Status(u32 as Be32),
        /// What the protocol has.
        PROTOINFO = 4 => ProtoInfo(Nest<'a, ProtoInfoAttr<'a>> as Nested<ProtoInfoAttr<'static>>),
        /// The helper.
        HELP = 5 => Help(Nest<'a, HelpAttr<'a>> as Nested<HelpAttr<'static>>),
        /// To make a connection: how its source is translated.
        NAT_SRC = 6 => NatSrc(Nest<'a, NatAttr<'a>> as Nested<NatAttr<'static>>),
        /// Seconds until it is forgotten.
        TIMEOUT = 7 => Timeout(u32 as Be32),
        /// The mark.
        MARK = 8 => Mark(u32 as Be32),
        /// What went in the original direction.
        COUNTERS_ORIG = 9 => CountersOrig(Nest<'a, CountersAttr<'a>> as Nested<CountersAttr<'static>>),
        /// What went in the other.
        COUNTERS_REPLY = 10 => CountersReply(Nest<'a, CountersAttr<'a>> as Nested<CountersAttr<'static>>),
        /// How many things of the kernel's hold it.
        USE = 11 => Use(u32 as Be32),
        /// A number that tells it from an earlier one of the same tuple.
        ID = 12 => Id(u32 as Be32),
        /// To make a connection: how its destination is translated.
        NAT_DST = 13 => NatDst(Nest<'a, NatAttr<'a>> as Nested<NatAttr<'static>>),
        /// The connection that it is related to.
        TUPLE_MASTER = 14 => TupleMaster(Nest<'a, TupleAttr<'a>> as Nested<TupleAttr<'static>>),
        /// How sequence numbers are changed in the original direction.
        SEQ_ADJ_ORIG = 15 => SeqAdjOrig(Nest<'a, SeqAdjAttr<'a>> as Nested<SeqAdjAttr<'static>>),
        /// How sequence numbers are changed in the other.
        SEQ_ADJ_REPLY = 16 => SeqAdjReply(Nest<'a, SeqAdjAttr<'a>> as Nested<SeqAdjAttr<'static>>),
        /// No longer used.
        SECMARK = 17 => Secmark(&'a [u8] as Bytes),
        /// The zone.
        ZONE = 18 => Zone(u16 as Be16),
        /// The security context.
        SECCTX = 19 => Secctx(Nest<'a, SecctxAttr<'a>> as Nested<SecctxAttr<'static>>),
        /// When it began and ended.
        TIMESTAMP = 20 => Timestamp(Nest<'a, TimestampAttr<'a>> as Nested<TimestampAttr<'static>>),
        /// Which bits of the mark are meant.
        MARK_MASK = 21 => MarkMask(u32 as Be32),
        /// The labels.
        LABELS = 22 => Labels(&'a [u8] as Bytes<0, 16>),
        /// Which bits of the labels are meant.
        LABELS_MASK = 23 => LabelsMask(&'a [u8] as Bytes<0, 16>),
        /// What a SYN proxy needs.
        SYNPROXY = 24 => Synproxy(Nest<'a, SynproxyAttr<'a>> as Nested<SynproxyAttr<'static>>),
        /// Which parts of the tuples of a request are meant.
        FILTER = 25 => Filter(Nest<'a, FilterAttr<'a>> as Nested<FilterAttr<'static>>),
        /// Which bits of the status are meant.
        STATUS_MASK = 26 => StatusMask(u32 as Be32),
        /// When an event happened: nanoseconds since 1970.
        TIMESTAMP_EVENT = 27 => TimestampEvent(u64 as Be64),
    }
}

attributes! {
    /// What a protocol has of a connection.
    pub enum ProtoInfoAttr = "ctattr_protoinfo", "CTA_PROTOINFO_" {
        /// TCP.
        TCP = 1 => Tcp(Nest<'a, TcpAttr<'a>> as Nested<TcpAttr<'static>>),
        /// DCCP, which newer kernels do not track.
        DCCP = 2 => Dccp(&'a [u8] as Bytes),
        /// SCTP.
        SCTP = 3 => Sctp(Nest<'a, SctpAttr<'a>> as Nested<SctpAttr<'static>>),
    }
}

attributes! {
    /// What TCP has of a connection.
    pub enum TcpAttr = "ctattr_protoinfo_tcp", "CTA_PROTOINFO_TCP_" {
        /// The state.
        STATE = 1 => State(u8 as U8),
        /// The window scale of the original direction.
        WSCALE_ORIGINAL = 2 => WscaleOriginal(u8 as U8),
        /// The window scale of the other.
        WSCALE_REPLY = 3 => WscaleReply(u8 as U8),
        /// Flags of the original direction.
        FLAGS_ORIGINAL = 4 => FlagsOriginal(TcpFlags as Struct<TcpFlags>),
        /// Flags of the other.
        FLAGS_REPLY = 5 => FlagsReply(TcpFlags as Struct<TcpFlags>),
    }
}

attributes! {
    /// What SCTP has of a connection.
    pub enum SctpAttr = "ctattr_protoinfo_sctp", "CTA_PROTOINFO_SCTP_" {
        /// The state.
        STATE = 1 => State(u8 as U8),
        /// The verification tag of the original direction.
        VTAG_ORIGINAL = 2 => VtagOriginal(u32 as Be32),
        /// The verification tag of the other.
        VTAG_REPLY = 3 => VtagReply(u32 as Be32),
    }
}

attributes! {
    /// What a connection has of a helper.
    pub enum HelpAttr = "ctattr_help", "CTA_HELP_" {
        /// Its name.
        NAME = 1 => Name(&'a [u8] as Text),
        /// What it wants to know.
        INFO = 2 => Info(&'a [u8] as Bytes),
    }
}

attributes! {
    /// How an address is translated.
    pub enum NatAttr = "ctattr_nat", "CTA_NAT_" {
        /// The first address.
        V4_MINIP = 1 => V4Minip([u8; 4] as Array<4>),
        /// The last address.
        V4_MAXIP = 2 => V4Maxip([u8; 4] as Array<4>),
        /// Ports.
        PROTO = 3 => Proto(Nest<'a, NatProtoAttr<'a>> as Nested<NatProtoAttr<'static>>),
        /// The first address.
        V6_MINIP = 4 => V6Minip([u8; 16] as Array<16>),
        /// The last address.
        V6_MAXIP = 5 => V6Maxip([u8; 16] as Array<16>),
    }
}

attributes! {
    /// How a port is translated.
    pub enum NatProtoAttr = "ctattr_protonat", "CTA_PROTONAT_" {
        /// The first port.
        PORT_MIN = 1 => PortMin(u16 as Be16),
        /// The last port.
        PORT_MAX = 2 => PortMax(u16 as Be16),
    }
}

attributes! {
    /// A counter of one direction.
    pub enum CountersAttr = "ctattr_counters", "CTA_COUNTERS_" {
        /// Packets.
        PACKETS = 1 => Packets(u64 as Be64),
        /// Bytes.
        BYTES = 2 => Bytes(u64 as Be64),
        /// Bytes that mean nothing.
        PAD = 5 => Pad(&'a [u8] as Bytes),
    }
}

attributes! {
    /// How sequence numbers are changed.
    pub enum SeqAdjAttr = "ctattr_seqadj", "CTA_SEQADJ_" {
        /// Where the last change was.
        CORRECTION_POS = 1 => CorrectionPos(u32 as Be32),
        /// By how much before that.
        OFFSET_BEFORE = 2 => OffsetBefore(u32 as Be32),
        /// By how much after that.
        OFFSET_AFTER = 3 => OffsetAfter(u32 as Be32),
    }
}

attributes! {
    /// A security context.
    pub enum SecctxAttr = "ctattr_secctx", "CTA_SECCTX_" {
        /// Its name.
        NAME = 1 => Name(&'a [u8] as Text),
    }
}

attributes! {
    /// When a connection began or ended: nanoseconds since 1970.
    pub enum TimestampAttr = "ctattr_tstamp", "CTA_TIMESTAMP_" {
        /// When it began.
        START = 1 => Start(u64 as Be64),
        /// When it ended.
        STOP = 2 => Stop(u64 as Be64),
        /// Bytes that mean nothing.
        PAD = 3 => Pad(&'a [u8] as Bytes),
    }
}

attributes! {
    /// What a SYN proxy needs of a connection.
    pub enum SynproxyAttr = "ctattr_synproxy", "CTA_SYNPROXY_" {
        /// The initial sequence number.
        ISN = 1 => Isn(u32 as Be32),
        /// The initial timestamp.
        ITS = 2 => Its(u32 as Be32),
        /// The offset of timestamps.
        TSOFF = 3 => Tsoff(u32 as Be32),
    }
}

attributes! {
    /// Which parts of a tuple of a request are meant.
    pub enum FilterAttr = "ctattr_filter", "CTA_FILTER_" {
        /// Of the original direction.
        ORIG_FLAGS = 1 => OrigFlags(u32 as U32),
        /// Of the other.
        REPLY_FLAGS = 2 => ReplyFlags(u32 as U32),
    }
}

attributes! {
    /// What a CPU counted since the machine started.
    pub enum StatsAttr = "ctattr_stats_cpu", "CTA_STATS_" {
        /// No longer counted.
        SEARCHED = 1 => Searched(u32 as Be32),
        /// Lookups that found a connection.
        FOUND = 2 => Found(u32 as Be32),
        /// No longer counted.
        NEW = 3 => New(u32 as Be32),
        /// Packets that could not be tracked.
        INVALID = 4 => Invalid(u32 as Be32),
        /// No longer counted.
        IGNORE = 5 => Ignore(u32 as Be32),
        /// No longer counted.
        DELETE = 6 => Delete(u32 as Be32),
        /// No longer counted.
        DELETE_LIST = 7 => DeleteList(u32 as Be32),
        /// Connections made.
        INSERT = 8 => Insert(u32 as Be32),
        /// Connections that could not be made because there was one.
        INSERT_FAILED = 9 => InsertFailed(u32 as Be32),
        /// Packets dropped because there was no room or memory.
        DROP = 10 => Drop(u32 as Be32),
        /// Connections forgotten to make room.
        EARLY_DROP = 11 => EarlyDrop(u32 as Be32),
        /// Packets with a bad ICMP error in them.
        ERROR = 12 => Error(u32 as Be32),
        /// Lookups that had to begin again.
        SEARCH_RESTART = 13 => SearchRestart(u32 as Be32),
        /// Connections that were made twice at once and put together.
        CLASH_RESOLVE = 14 => ClashResolve(u32 as Be32),
        /// Connections that could not be made because too many hash alike.
        CHAIN_TOOLONG = 15 => ChainToolong(u32 as Be32),
    }
}

attributes! {
    /// How full the table is.
    pub enum TableAttr = "ctattr_stats_global", "CTA_STATS_GLOBAL_" {
        /// See [`TableStats::entries`].
        ENTRIES = 1 => Entries(u32 as Be32),
        /// See [`TableStats::max_entries`].
        MAX_ENTRIES = 2 => MaxEntries(u32 as Be32),
    }
}

structures! {
    /// TCP flags of a direction that the tracker keeps, and which of them are meant.
    pub struct TcpFlags = "nf_ct_tcp_flags" {
        /// The flags.
        flags: u8 as FieldU8 = "flags",
        /// Which of them are meant.
        mask: u8 as FieldU8 = "mask",
    }
}

bitflags::bitflags! {
    /// What a connection is (`IPS_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
    pub struct Status: u32 {
        /// A helper waited for it.
        const EXPECTED = 1 << 0;
        /// Packets went both ways.
        const SEEN_REPLY = 1 << 1;
        /// It is not forgotten early.
        const ASSURED = 1 << 2;
        /// It is in the table.
        const CONFIRMED = 1 << 3;
        /// Its source is translated.
        const SRC_NAT = 1 << 4;
        /// Its destination is translated.
        const DST_NAT = 1 << 5;
        /// Its sequence numbers are changed.
        const SEQ_ADJUST = 1 << 6;
        /// It is known whether its source is translated.
        const SRC_NAT_DONE = 1 << 7;
        /// It is known whether its destination is translated.
        const DST_NAT_DONE = 1 << 8;
        /// It is being forgotten.
        const DYING = 1 << 9;
        /// Its timeout does not change.
        const FIXED_TIMEOUT = 1 << 10;
        /// It is none, but what others are made like.
        const TEMPLATE = 1 << 11;
        /// It was made twice at once.
        const NAT_CLASH = 1 << 12;
        /// It has a helper.
        const HELPER = 1 << 13;
        /// A flow table forwards it.
        const OFFLOAD = 1 << 14;
        /// The hardware forwards it.
        const HW_OFFLOAD = 1 << 15;
        /// Other bits are kept as they are.
        const _ = !0;
    }
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// The tuple of the direction of the first packet.
    pub orig: Tuple,
    /// The tuple of the other direction.
    pub reply: Tuple,
    /// The tuple of the connection that it is related to.
    pub master: Option<Tuple>,
    /// The zone.
    pub zone: u16,
    /// What it is.
    pub status: Status,
    /// Seconds until it is forgotten.
    pub timeout: Option<u32>,
    /// The mark.
    pub mark: u32,
    /// The labels.
    pub labels: Option<[u8; 16]>,
    /// A number that tells it from an earlier one of the same tuple.
    pub id: Option<u32>,
    /// The name of its helper.
    pub helper: Option<Vec<u8>>,
    /// The state of TCP (`TCP_CONNTRACK_*`) or SCTP (`SCTP_CONNTRACK_*`), by its protocol.
    pub state: Option<u8>,
    /// Flags of TCP in the original direction and the other.
    pub tcp_flags: (Option<TcpFlags>, Option<TcpFlags>),
    /// Packets and bytes in the original direction, where they are counted.
    pub orig_counters: Option<(u64, u64)>,
    /// Packets and bytes in the other direction, where they are counted.
    pub reply_counters: Option<(u64, u64)>,
    /// When it began, where that is kept: nanoseconds since 1970.
    pub start: Option<u64>,
    /// When it ended: nanoseconds since 1970.
    pub stop: Option<u64>,
}

impl Connection {
    /// Reads a message of the type [`message::CONNECTION_NEW`] or [`message::CONNECTION_DELETE`].
    ///
    /// # Errors
    /// [`DecodeError`]; [`DecodeErrorKind::Missing`] without tuples.
    pub fn decode(message: &Message<'_>) -> Result<Connection, DecodeError> {
        NfHeader::decode(message)?;
        let (mut orig, mut reply) = (None, None);
        let blank = Tuple {
            src: std::net::Ipv4Addr::UNSPECIFIED.into(),
            dst: std::net::Ipv4Addr::UNSPECIFIED.into(),
            proto: 0,
            l4: super::L4::None,
            zone: None,
        };
        let mut connection = Connection {
            orig: blank,
            reply: blank,
            master: None,
            zone: 0,
            status: Status::empty(),
            timeout: None,
            mark: 0,
            labels: None,
            id: None,
            helper: None,
            state: None,
            tcp_flags: (None, None),
            orig_counters: None,
            reply_counters: None,
            start: None,
            stop: None,
        };
        for attribute in Nest::of(message, NfHeader::SIZE)? {
            match attribute? {
                CtAttr::TupleOrig(tuple) => orig = Some(Tuple::decode(CtAttr::TUPLE_ORIG, tuple)?),
                CtAttr::TupleReply(tuple) => reply = Some(Tuple::decode(CtAttr::TUPLE_REPLY, tuple)?),
                CtAttr::TupleMaster(tuple) => {
                    connection.master = Some(Tuple::decode(CtAttr::TUPLE_MASTER, tuple)?);
                }
                CtAttr::Status(bits) => connection.status = Status::from_bits_retain(bits),
                CtAttr::Timeout(seconds) => connection.timeout = Some(seconds),
                CtAttr::Mark(mark) => connection.mark = mark,
                CtAttr::Zone(zone) => connection.zone = zone,
                CtAttr::Id(id) => connection.id = Some(id),
                CtAttr::Labels(bytes) => connection.labels = bytes.try_into().ok(),
                CtAttr::Help(help) => connection.helper = name_of(help)?,
                CtAttr::CountersOrig(counters) => connection.orig_counters = Some(counted(counters)?),
                CtAttr::CountersReply(counters) => connection.reply_counters = Some(counted(counters)?),
                CtAttr::ProtoInfo(info) => connection.read_protocol(info)?,
                CtAttr::Timestamp(stamps) => {
                    for stamp in stamps {
                        match stamp? {
                            TimestampAttr::Start(time) => connection.start = Some(time),
                            TimestampAttr::Stop(time) => connection.stop = Some(time),
                            TimestampAttr::Pad(_) | TimestampAttr::Other(_) => {}
                        }
                    }
                }
                // What only requests have, what nobody reads, and what is new.
                _ => {}
            }
        }
        let missing = |attribute| DecodeError::new(message.offset(), DecodeErrorKind::Missing { attribute });
        connection.orig = orig.ok_or_else(|| missing(CtAttr::TUPLE_ORIG))?;
        connection.reply = reply.ok_or_else(|| missing(CtAttr::TUPLE_REPLY))?;
        Ok(connection)
    }

    fn read_protocol(&mut self, info: Nest<'_, ProtoInfoAttr<'_>>) -> Result<(), DecodeError> {
        for protocol in info {
            match protocol? {
                ProtoInfoAttr::Tcp(tcp) => {
                    for attribute in tcp {
                        match attribute? {
                            TcpAttr::State(state) => self.state = Some(state),
                            TcpAttr::FlagsOriginal(flags) => self.tcp_flags.0 = Some(flags),
                            TcpAttr::FlagsReply(flags) => self.tcp_flags.1 = Some(flags),
                            TcpAttr::WscaleOriginal(_) | TcpAttr::WscaleReply(_) | TcpAttr::Other(_) => {}
                        }
                    }
                }
                ProtoInfoAttr::Sctp(sctp) => {
                    for attribute in sctp {
                        if let SctpAttr::State(state) = attribute? {
                            self.state = Some(state);
                        }
                    }
                }
                ProtoInfoAttr::Dccp(_) | ProtoInfoAttr::Other(_) => {}
            }
        }
        Ok(())
    }

    /// Appends the request to forget this connection, and no later one of the same tuple, to `buffer`.
    ///
    /// # Errors
    /// None in practice: the message is short.
    pub fn encode_delete(&self, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.orig.request_delete(self.zone, self.id, buffer)
    }

    /// Appends the request to make this connection to `buffer`: tuples, zone, status, timeout, mark and labels.
    ///
    /// # Errors
    /// None in practice: the message is short.
    pub fn encode_new(&self, buffer: &mut Vec<u8>, flags: Flags) -> Result<(), EncodeError> {
        let header = NfHeader { family: self.orig.family(), ..NfHeader::default() };
        header.message(buffer, message::CONNECTION_NEW, flags, |writer| {
            self.orig.encode(CtAttr::TUPLE_ORIG, writer)?;
            self.reply.encode(CtAttr::TUPLE_REPLY, writer)?;
            writer.put(CtAttr::Status(self.status.bits()))?.put(CtAttr::Mark(self.mark))?;
            // A kernel without zones refuses to be told one.
            let zone = Some(self.zone).filter(|zone| *zone != 0).map(CtAttr::Zone);
            let rest =
                [zone, self.timeout.map(CtAttr::Timeout), self.labels.as_ref().map(|bytes| CtAttr::Labels(bytes))];
            rest.into_iter().flatten().try_for_each(|attribute| writer.put(attribute).map(drop))
        })
    }
}

fn name_of(help: Nest<'_, HelpAttr<'_>>) -> Result<Option<Vec<u8>>, DecodeError> {
    for attribute in help {
        if let HelpAttr::Name(name) = attribute? {
            return Ok(Some(name.to_vec()));
        }
    }
    Ok(None)
}

fn counted(counters: Nest<'_, CountersAttr<'_>>) -> Result<(u64, u64), DecodeError> {
    let mut count = (0, 0);
    for counter in counters {
        match counter? {
            CountersAttr::Packets(packets) => count.0 = packets,
            CountersAttr::Bytes(bytes) => count.1 = bytes,
            CountersAttr::Pad(_) | CountersAttr::Other(_) => {}
        }
    }
    Ok(count)
}

/// Which connections a request is about.
///
/// ```
/// use ovs_netlink::nf::ConnectionFilter;
///
/// let mut buffer = Vec::new();
/// ConnectionFilter { zone: Some(7), ..ConnectionFilter::default() }.encode_dump(&mut buffer)?;
/// # Ok::<(), ovs_netlink::EncodeError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionFilter {
    /// The address family; 0 for any.
    pub family: u8,
    /// The zone. Kernels before 6.8 do not look at it: who asks must look at the answers.
    pub zone: Option<u16>,
    /// The mark, and which of its bits are meant.
    pub mark: Option<(u32, u32)>,
}

impl ConnectionFilter {
    /// Whether the request is about this connection.
    pub fn matches(&self, connection: &Connection) -> bool {
        let ConnectionFilter { family, zone, mark } = *self;
        (family == 0 || family == connection.orig.family())
            && zone.is_none_or(|zone| zone == connection.zone)
            && mark.is_none_or(|(mark, mask)| connection.mark & mask == mark & mask)
    }

    /// Appends the request to show the connections to `buffer`.
    ///
    /// # Errors
    /// None in practice: the message is short.
    pub fn encode_dump(&self, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        let header = NfHeader { family: self.family, ..NfHeader::default() };
        header.message(buffer, message::CONNECTION_GET, Flags::REQUEST | Flags::DUMP, |writer| {
            let (mark, mask) = self.mark.unzip();
            let attributes = [self.zone.map(CtAttr::Zone), mark.map(CtAttr::Mark), mask.map(CtAttr::MarkMask)];
            attributes.into_iter().flatten().try_for_each(|attribute| writer.put(attribute).map(drop))
        })
    }

    /// Appends the request to forget all connections, of all zones, to `buffer`.
    ///
    /// There is none for one zone: a kernel that does not know it would forget the connections of all.
    ///
    /// # Errors
    /// None in practice: the message is short.
    pub fn encode_flush(buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        let flags = Flags::REQUEST | Flags::ACK;
        NfHeader::default().message(buffer, message::CONNECTION_DELETE, flags, |_| Ok(()))
    }
}

/// What the tracker of a CPU counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CpuStats {
    /// The CPU.
    pub cpu: u16,
    /// Lookups that found a connection.
    pub found: u32,
    /// Packets that could not be tracked.
    pub invalid: u32,
    /// Connections made.
    pub insert: u32,
    /// Connections that could not be made because there was one.
    pub insert_failed: u32,
    /// Packets dropped because there was no room or memory.
    pub drop: u32,
    /// Connections forgotten to make room.
    pub early_drop: u32,
    /// Packets with a bad ICMP error in them.
    pub error: u32,
    /// Lookups that had to begin again.
    pub search_restart: u32,
    /// Connections that were made twice at once and put together.
    pub clash_resolve: u32,
    /// Connections that could not be made because too many hash alike.
    pub chain_toolong: u32,
}

impl CpuStats {
    /// Appends the request for all CPUs to `buffer`.
    ///
    /// # Errors
    /// None in practice: the message is short.
    pub fn encode_dump(buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        NfHeader::default().message(buffer, message::CPU_STATS, Flags::REQUEST | Flags::DUMP, |_| Ok(()))
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(message: &Message<'_>) -> Result<CpuStats, DecodeError> {
        let header = NfHeader::decode(message)?;
        let mut stats = CpuStats { cpu: header.resource, ..CpuStats::default() };
        for attribute in Nest::of(message, NfHeader::SIZE)? {
            match attribute? {
                StatsAttr::Found(count) => stats.found = count,
                StatsAttr::Invalid(count) => stats.invalid = count,
                StatsAttr::Insert(count) => stats.insert = count,
                StatsAttr::InsertFailed(count) => stats.insert_failed = count,
                StatsAttr::Drop(count) => stats.drop = count,
                StatsAttr::EarlyDrop(count) => stats.early_drop = count,
                StatsAttr::Error(count) => stats.error = count,
                StatsAttr::SearchRestart(count) => stats.search_restart = count,
                StatsAttr::ClashResolve(count) => stats.clash_resolve = count,
                StatsAttr::ChainToolong(count) => stats.chain_toolong = count,
                StatsAttr::Searched(_)
                | StatsAttr::New(_)
                | StatsAttr::Ignore(_)
                | StatsAttr::Delete(_)
                | StatsAttr::DeleteList(_)
                | StatsAttr::Other(_) => {}
            }
        }
        Ok(stats)
    }
}

/// How full the table of connections is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TableStats {
    /// Connections.
    pub entries: u32,
    /// How many there may be, where the kernel says it.
    pub max_entries: Option<u32>,
}

impl TableStats {
    /// Appends the request to `buffer`.
    ///
    /// # Errors
    /// None in practice: the message is short.
    pub fn encode_get(buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        NfHeader::default().message(buffer, message::TABLE_STATS, Flags::REQUEST | Flags::ACK, |_| Ok(()))
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(message: &Message<'_>) -> Result<TableStats, DecodeError> {
        NfHeader::decode(message)?;
        let mut stats = TableStats::default();
        for attribute in Nest::of(message, NfHeader::SIZE)? {
            match attribute? {
                TableAttr::Entries(entries) => stats.entries = entries,
                TableAttr::MaxEntries(max) => stats.max_entries = Some(max),
                TableAttr::Other(_) => {}
            }
        }
        Ok(stats)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tuple::tests::any_tuple;
    use super::*;
    use crate::message::Messages;
    use proptest::prelude::*;

    fn only(bytes: &[u8]) -> Message<'_> {
        Messages::new(bytes).next().unwrap().unwrap()
    }

    #[test]
    fn what_a_connection_has_is_read() {
        let tuple = |src: u16, dst: u16| Tuple {
            src: "10.0.0.1".parse().unwrap(),
            dst: "10.0.0.2".parse().unwrap(),
            proto: 6,
            l4: super::super::L4::Ports { src, dst },
            zone: None,
        };
        let mut bytes = Vec::new();
        let header = NfHeader { family: NfHeader::IPV4, ..NfHeader::default() };
        header
            .message(&mut bytes, message::CONNECTION_NEW, Flags::MULTI, |writer| {
                tuple(1, 2).encode(CtAttr::TUPLE_ORIG, writer)?;
                tuple(2, 1).encode(CtAttr::TUPLE_REPLY, writer)?;
                tuple(3, 4).encode(CtAttr::TUPLE_MASTER, writer)?;
                writer.put(CtAttr::Status(0xe))?.put(CtAttr::Zone(7))?.put(CtAttr::Mark(9))?.put(CtAttr::Id(11))?;
                writer.put(CtAttr::Labels(&[5; 16]))?.put(CtAttr::Timeout(431_999))?;
                writer.nest(CtAttr::HELP, |help| help.put(HelpAttr::Name(b"ftp")).map(drop))?;
                writer.nest(CtAttr::PROTOINFO, |info| {
                    let flags = TcpFlags { flags: 3, mask: 7 };
                    let tcp = |tcp: &mut crate::Writer<'_>| {
                        tcp.put(TcpAttr::State(3))?.put(TcpAttr::FlagsReply(flags)).map(drop)
                    };
                    info.nest(ProtoInfoAttr::TCP, tcp).map(drop)
                })?;
                writer.nest(CtAttr::COUNTERS_REPLY, |counters| {
                    counters.put(CountersAttr::Packets(5))?.put(CountersAttr::Bytes(500)).map(drop)
                })?;
                writer.nest(CtAttr::TIMESTAMP, |stamps| stamps.put(TimestampAttr::Start(1 << 60)).map(drop))?;
                Ok(())
            })
            .unwrap();
        let read = Connection::decode(&only(&bytes)).unwrap();
        assert_eq!((read.orig, read.reply, read.master), (tuple(1, 2), tuple(2, 1), Some(tuple(3, 4))));
        assert_eq!(read.status, Status::SEEN_REPLY | Status::ASSURED | Status::CONFIRMED);
        assert_eq!((read.zone, read.mark, read.id, read.labels), (7, 9, Some(11), Some([5; 16])));
        assert_eq!((read.timeout, read.helper.as_deref(), read.state), (Some(431_999), Some(&b"ftp"[..]), Some(3)));
        assert_eq!(read.tcp_flags, (None, Some(TcpFlags { flags: 3, mask: 7 })));
        assert_eq!((read.orig_counters, read.reply_counters), (None, Some((5, 500))));
        assert_eq!((read.start, read.stop), (Some(1 << 60), None));
        let filter = |zone, mark| ConnectionFilter { family: 2, zone, mark };
        assert!(filter(Some(7), Some((0x19, 0xf))).matches(&read) && !filter(Some(8), None).matches(&read));
        assert!(!filter(None, Some((8, !0))).matches(&read));
    }

    #[test]
    fn statistics_of_a_cpu() {
        let mut bytes = Vec::new();
        let header = NfHeader { resource: 3, ..NfHeader::default() };
        let content = |writer: &mut crate::Writer<'_>| {
            writer.put(StatsAttr::Found(1))?.put(StatsAttr::ChainToolong(2))?.put(StatsAttr::Searched(9)).map(drop)
        };
        header.message(&mut bytes, message::CPU_STATS, Flags::MULTI, content).unwrap();
        let stats = CpuStats { cpu: 3, found: 1, chain_toolong: 2, ..CpuStats::default() };
        assert_eq!(CpuStats::decode(&only(&bytes)), Ok(stats));
    }

    proptest! {
        #[test]
        fn what_is_made_is_read(orig in any_tuple(), (zone, mark, timeout, status) in any::<(u16, u32, Option<u32>, u32)>(), labels in any::<Option<[u8; 16]>>()) {
            let mut bytes = Vec::new();
            let header = NfHeader { family: orig.family(), ..NfHeader::default() };
            header.message(&mut bytes, message::CONNECTION_NEW, Flags::empty(), |writer| {
                orig.encode(CtAttr::TUPLE_ORIG, writer)?;
                orig.encode(CtAttr::TUPLE_REPLY, writer)
            }).unwrap();
            let mut connection = Connection::decode(&only(&bytes)).unwrap();
            (connection.zone, connection.mark, connection.timeout, connection.labels) = (zone, mark, timeout, labels);
            connection.status = Status::from_bits_retain(status);
            bytes.clear();
            connection.encode_new(&mut bytes, Flags::REQUEST).unwrap();
            prop_assert_eq!(Connection::decode(&only(&bytes)), Ok(connection));
        }

        #[test]
        fn random_messages_never_panic(payload in prop::collection::vec(any::<u8>(), 0..96)) {
            let mut bytes = Vec::new();
            crate::Writer::message(&mut bytes, message::CONNECTION_NEW, Flags::empty(), |writer| {
                writer.raw(&payload);
                Ok(())
            }).unwrap();
            let _ = (Connection::decode(&only(&bytes)), CpuStats::decode(&only(&bytes)), TableStats::decode(&only(&bytes)));
        }
    }
}
