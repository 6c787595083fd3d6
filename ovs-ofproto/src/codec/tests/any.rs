//! Messages of every kind, by a seed: what a version can say, and in the form that its bytes are read in.

use std::net::Ipv4Addr;
use std::time::Duration;

use ovs_packet::field::{FieldId, FieldSet, TlvMapping};
use ovs_packet::{EthAddr, Match, OfPort};

use crate::action::{Action, Instructions};
use crate::codec::*;
use crate::flow_mod::{FlowMod, FlowModCommand, FlowModFlags};

pub(super) struct Any(u64);

impl Any {
    pub(super) fn new(seed: u64) -> Any {
        Any(seed | 1)
    }

    /// xorshift64*.
    pub(super) fn u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn u32(&mut self) -> u32 {
        (self.u64() >> 32) as u32
    }

    fn u16(&mut self) -> u16 {
        (self.u64() >> 48) as u16
    }

    fn u8(&mut self) -> u8 {
        (self.u64() >> 56) as u8
    }

    pub(super) fn below(&mut self, n: u32) -> u32 {
        self.u32() % n
    }

    pub(super) fn flag(&mut self) -> bool {
        self.u64() >> 63 == 1
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Any) -> T) -> Option<T> {
        self.flag().then(|| value(self))
    }

    fn some<T>(&mut self, mut value: impl FnMut(&mut Any) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| value(self)).collect()
    }

    fn page<T>(&mut self, value: impl FnMut(&mut Any) -> T) -> Page<T> {
        Page { more: self.flag(), items: self.some(value) }
    }

    fn bytes(&mut self, n: u32) -> Vec<u8> {
        (0..self.below(n)).map(|_| self.u8()).collect()
    }

    /// An Ethernet frame of a protocol for experiments.
    fn frame(&mut self) -> Vec<u8> {
        let mut frame = [self.eth().0, self.eth().0].concat();
        frame.extend([0x88, 0xb5]);
        frame.extend(self.bytes(60));
        frame
    }

    fn text(&mut self, n: u32) -> String {
        (0..self.below(n)).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }

    fn port(&mut self) -> OfPort {
        OfPort(1 + self.below(0xfeff))
    }

    fn eth(&mut self) -> EthAddr {
        EthAddr([2, self.u8(), self.u8(), self.u8(), self.u8(), self.u8()])
    }

    fn times(&mut self) -> (u32, u32) {
        (self.below(1 << 30), self.below(1_000_000_000))
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u32) as usize]
    }

    /// A match that all versions have, or from OpenFlow 1.2 on and by Nicira one with more.
    fn matching(&mut self, rich: bool) -> Match {
        let plain =
            ["", "in_port=3", "tcp,nw_src=10.0.0.0/8,tp_dst=80", "dl_vlan=5,arp,arp_spa=10.0.0.1", "udp,tp_src=53"];
        let more = [
            "reg0=5,tcp,tcp_flags=+syn",
            "tun_id=7,tun_metadata3=0x1234/0xfff0",
            "udp6,ipv6_src=2001:db8::/32",
            "ct_state=+trk,ct_mark=5",
        ];
        let text = if rich && self.flag() { self.pick(&more) } else { self.pick(&plain) };
        text.parse().unwrap()
    }

    /// Actions that all versions have in one form.
    fn actions(&mut self) -> Vec<Action> {
        self.some(|any| match any.below(5) {
            0 => Action::SetQueue(any.u32()),
            1 => Action::DecMplsTtl,
            2 => Action::Resubmit { port: None, table: Some(any.u8() & 0x7f), original: false },
            3 => Action::CtClear,
            _ => Action::output(any.port()),
        })
        .into_iter()
        .filter(|a| !matches!(a, Action::DecMplsTtl))
        .collect()
    }

    fn fields(&mut self) -> FieldSet {
        let all = [FieldId::EthSrc, FieldId::EthDst, FieldId::NwSrc, FieldId::TcpDst, FieldId::Metadata, FieldId::Reg3];
        all.into_iter().filter(|_| self.flag()).collect()
    }

    /// Fields that OpenFlow 1.0 tells of.
    fn few_fields(&mut self) -> FieldSet {
        [FieldId::EthSrc, FieldId::NwSrc, FieldId::TcpDst].into_iter().filter(|_| self.flag()).collect()
    }

    fn port_desc(&mut self, version: Version) -> Port {
        let speed = if version == Version::V1_0 { [0; 2] } else { [self.u32(), self.u32()] };
        Port {
            number: self.port(),
            hw_addr: self.eth(),
            name: self.text(15),
            config: self.u32() & 0x65,
            state: self.u32() & 1,
            features: [self.u32() & 0xfff, self.u32() & 0xfff, self.u32() & 0xfff, self.u32() & 0xfff],
            speed,
            properties: if version >= Version::V1_4 { self.port_properties() } else { vec![] },
        }
    }

    /// Experimenters' properties, from OpenFlow 1.4 on.
    fn raw(&mut self, version: Version) -> Vec<RawProperty> {
        if version < Version::V1_4 {
            return vec![];
        }
        self.some(|any| RawProperty::experimenter(1 + any.below(1 << 24), any.u32(), any.bytes(20)))
    }

    fn port_properties(&mut self) -> Vec<PortProperty> {
        let field = |any: &mut Any| {
            let class = any.pick(&[0x8000, 0xffff, 1]);
            let experimenter = (class == 0xffff).then(|| any.u32());
            FieldHeader { class, field: any.u8() & 0x7f, masked: any.flag(), length: any.u8(), experimenter }
        };
        let optical = OpticalPort {
            supported: self.below(16),
            tx_min_freq_lmda: self.u32(),
            rx_grid_freq_lmda: self.u32(),
            tx_pwr_max: self.u16(),
            ..OpticalPort::default()
        };
        let other = RawProperty::experimenter(5, self.u32(), self.bytes(20));
        let mut all = vec![
            PortProperty::Optical(optical),
            PortProperty::PipelineInput(self.some(field)),
            PortProperty::PipelineOutput(self.some(field)),
            PortProperty::Recirculate(self.some(Any::port)),
            PortProperty::Other(other),
            PortProperty::Other(RawProperty { kind: 99, experimenter: None, value: self.bytes(9) }),
        ];
        all.retain(|_| self.flag());
        all
    }

    fn table_desc(&mut self, version: Version) -> TableDesc {
        let new = version >= Version::V1_4;
        TableDesc {
            table: self.u8() & 0x7f,
            config: if new { self.u32() & 0xc } else { self.below(3) },
            eviction: self.maybe(|any| any.below(8)).filter(|_| new),
            vacancy: self.maybe(|any| (any.u8(), any.u8(), any.u8())).filter(|_| new),
            properties: vec![],
        }
    }

    fn group(&mut self, version: Version) -> GroupDesc {
        let new = version == Version::V1_0 || version == Version::V1_5;
        let buckets = self.some(|any| Bucket {
            id: if new { any.below(1000) } else { 0 },
            weight: 1 + (any.u16() >> 1),
            actions: any.actions(),
            ..Bucket::default()
        });
        let selection = Selection { method: "hash".into(), param: self.u64(), fields: vec![(FieldId::NwSrc, 0xff)] };
        GroupDesc {
            group: self.below(1000),
            kind: 1,
            buckets,
            selection: Some(selection).filter(|_| new && self.flag()),
        }
    }

    fn meter(&mut self) -> MeterConfig {
        let bands = self.some(|any| {
            let kind = 1 + any.u16() % 2;
            Band { kind, rate: any.u32(), burst: any.u32(), precedence: if kind == 1 { 0 } else { any.u8() } }
        });
        MeterConfig { meter: 1 + self.below(1000), flags: self.pick(&[1, 2, 5, 9]), bands }
    }

    fn flow_stats(&mut self, version: Version, kind: Kind) -> FlowStats {
        let nx = kind == Kind::NxStatsFlowReply;
        let (secs, nanos) = self.times();
        let v13 = version >= Version::V1_3;
        FlowStats {
            table: self.u8(),
            duration: Duration::new(secs.into(), nanos),
            priority: self.u16(),
            idle_timeout: self.u16(),
            hard_timeout: self.u16(),
            importance: if version >= Version::V1_4 { self.u16() } else { 0 },
            flags: FlowModFlags::from_bits_truncate(if v13 { self.u16() & 0x1f } else { 0 }),
            idle_age: self.maybe(|any| any.below(1000)).filter(|_| nx || version == Version::V1_5),
            hard_age: self.maybe(|any| any.below(1000)).filter(|_| nx),
            cookie: self.u64(),
            packets: self.u64() >> 1,
            bytes: self.u64() >> 1,
            matching: self.matching(nx || version >= Version::V1_2),
            instructions: Instructions::apply(self.actions()),
        }
    }

    fn features(&mut self, version: Version) -> TableFeatures {
        let new = version >= Version::V1_4;
        let own = |any: &mut Any| ActionAbilities { actions: any.u32() & 0x03ff_ffff, set_fields: any.fields() };
        let flows = |any: &mut Any| InstructionAbilities {
            instructions: any.u32() & 0x7e,
            next: any.some(|any| any.u8() & 0x7f).into_iter().collect(),
            write: own(any),
            apply: own(any),
        };
        let mut abilities = TableAbilities {
            flows: flows(self),
            miss: flows(self),
            matching: self.fields(),
            masks: self.fields(),
            wildcards: self.fields(),
            properties: vec![],
        };
        abilities.matching = abilities.matching.union(abilities.masks);
        abilities.wildcards = abilities.wildcards.union(abilities.masks).intersection(abilities.matching);
        TableFeatures {
            table: self.u8() & 0x7f,
            command: if version >= Version::V1_5 { self.below(4) as u8 } else { 0 },
            name: self.text(31),
            metadata_match: self.u64(),
            metadata_write: self.u64(),
            eviction: new.then(|| self.flag()),
            vacancy_events: new.then(|| self.flag()),
            max_entries: self.u32(),
            abilities: Some(Box::new(abilities)).filter(|_| version < Version::V1_5 || self.flag()),
        }
    }

    fn table_stats(&mut self, version: Version) -> TableStats {
        let table = self.u8();
        let mut abilities = TableAbilities { matching: self.few_fields(), ..TableAbilities::default() };
        abilities.wildcards.clone_from(&abilities.matching);
        if version > Version::V1_0 {
            let flows = &mut abilities.flows;
            (flows.instructions, flows.write.actions, flows.apply.actions) = (self.u32(), self.u32(), self.u32());
        }
        if version == Version::V1_2 {
            abilities.flows.write.set_fields = self.few_fields();
        }
        abilities.miss.clone_from(&abilities.flows);
        let meta = version == Version::V1_2;
        let features = TableFeatures {
            table,
            name: self.text(31),
            metadata_match: if meta { self.u64() } else { 0 },
            metadata_write: if meta { self.u64() } else { 0 },
            max_entries: self.u32(),
            abilities: Some(Box::new(abilities)),
            ..TableFeatures::default()
        };
        let miss = self.pick(&[TableMiss::Controller, TableMiss::Continue, TableMiss::Drop]);
        TableStats {
            table,
            active: self.u32(),
            lookups: self.u64(),
            matched: self.u64(),
            miss: Some(miss).filter(|_| matches!(version, Version::V1_1 | Version::V1_2)),
            features: Some(Box::new(features)).filter(|_| version < Version::V1_3),
        }
    }

    fn flow_mod(&mut self, version: Version, kind: Kind) -> FlowMod {
        let nx = kind == Kind::NxFlowMod;
        let adds = self.flag();
        let new = version >= Version::V1_1 && !nx;
        // In OpenFlow 1.0, what leaves nothing open has one priority.
        FlowMod {
            command: if adds { FlowModCommand::Add } else { FlowModCommand::DeleteStrict },
            table: self.u8() & 0x7f,
            matching: self.matching(nx || version >= Version::V1_2),
            priority: self.u16(),
            cookie: if adds || new { self.u64() } else { 0 },
            cookie_mask: if !adds && new { self.u64() } else { 0 },
            idle_timeout: self.u16(),
            hard_timeout: self.u16(),
            importance: if adds && version >= Version::V1_4 && !nx { self.u16() } else { 0 },
            flags: FlowModFlags::SEND_FLOW_REM,
            out_port: if adds && new { OfPort::ANY } else { self.port() },
            out_group: if adds || !new { u32::MAX } else { self.u32() },
            buffer_id: self.u32(),
            instructions: Instructions::apply(self.actions()),
            ..FlowMod::default()
        }
    }

    fn packet_in(&mut self, version: Version, kind: Kind) -> PacketIn {
        let two = matches!(kind, Kind::NxPacketIn2 | Kind::NxResume);
        let mut p = PacketIn::new(self.port(), self.frame());
        if two {
            p.userdata = self.bytes(20);
            let left = Continuation {
                bridge: u128::from(self.u64()) << 64 | 1,
                stack: self.some(|any| any.bytes(9)),
                mirrors: self.u32() & 7,
                tracked: self.flag(),
                remaining: self.some(|any| Remaining { table: any.u8(), cookie: any.u64(), actions: any.actions() }),
                action_set: self.actions(),
                datapath_port: self.u32() & 0xff,
            };
            p.continuation = Some(left.encode(version).unwrap());
            if kind == Kind::NxResume {
                p.userdata.clear();
            }
        }
        p.reason = PacketInReason(self.below(3) as u8);
        if kind != Kind::PacketIn10 {
            p.table = self.u8();
        }
        if !matches!(kind, Kind::PacketIn10 | Kind::PacketIn11 | Kind::PacketIn12) {
            p.cookie = self.u64();
        }
        p
    }

    fn config(&mut self) -> SwitchConfig {
        SwitchConfig { flags: self.u16() & 3, miss_send_len: self.u16() }
    }

    fn async_config(&mut self, kind: Kind, version: Version) -> AsyncConfig {
        let new = matches!(kind, Kind::GetAsyncReply14 | Kind::SetAsync14 | Kind::NxSetAsyncConfig2);
        let mut masks = [[None; 2]; 6];
        for (pair, known) in masks
            .iter_mut()
            .zip([if version < Version::V1_4 { 7 } else { 0x3f }, 7, 0x3f, 7, 0x18, 3])
            .take(if new { 6 } else { 3 })
        {
            for mask in pair {
                *mask = self.maybe(Any::u32).or((!new).then_some(0)).map(|bits| bits & known);
            }
        }
        let tells = kind == Kind::GetAsyncReply14;
        AsyncConfig { masks, properties: if tells { self.raw(version) } else { vec![] } }
    }

    fn role(&mut self, kind: Kind) -> Role {
        match kind {
            Kind::NxRoleRequest | Kind::NxRoleReply => Role { role: 1 + self.below(3), generation: None },
            _ => Role { role: 1 + self.below(3), generation: Some(self.u64() >> 1) },
        }
    }

    fn mappings(&mut self) -> Vec<TlvMapping> {
        self.some(|any| TlvMapping {
            class: any.u16(),
            kind: any.u8(),
            len: 4 * (any.u8() % 32),
            index: any.u16() % 64,
        })
    }

    fn ipfix(&mut self) -> IpfixStats {
        let mut two = || [self.u64(), self.u64()];
        let (ip, ip_errors, sent, [flows, current_flows], [packets, errors]) = (two(), two(), two(), two(), two());
        IpfixStats { flows, current_flows, packets, ip, errors, ip_errors, sent, collector_set: self.u32() }
    }

    fn tuple(&mut self, icmp: bool) -> CtTuple {
        let ports = !icmp;
        CtTuple {
            src: self.maybe(|any| Ipv4Addr::from_bits(any.u32() | 1).into()),
            dst: self.maybe(|any| Ipv4Addr::from_bits(any.u32() | 1).into()),
            src_port: if ports { self.u16() } else { 0 },
            dst_port: if ports { self.u16() } else { 0 },
            icmp: if ports { (0, 0, 0) } else { (self.u16(), self.u8(), self.u8()) },
        }
    }

    fn monitor(&mut self, version: Version) -> FlowMonitorRequest {
        let new = version >= Version::V1_4;
        FlowMonitorRequest {
            id: self.u32(),
            command: MonitorCommand::Add,
            flags: MonitorFlags::from_bits_truncate(self.u16()) | MonitorFlags::ADD,
            out_port: self.port(),
            out_group: if new { self.u32() } else { u32::MAX },
            table: self.u8(),
            matching: self.matching(true),
        }
    }

    fn update(&mut self, version: Version) -> FlowUpdate {
        let new = version >= Version::V1_4;
        match self.below(if new { 6 } else { 4 }) {
            0 => FlowUpdate::Abbreviated(self.u32()),
            4 => FlowUpdate::Paused,
            5 => FlowUpdate::Resumed,
            n => FlowUpdate::Change(Box::new(FlowChange {
                event: match n {
                    1 => FlowEvent::Added,
                    2 => FlowEvent::Removed(self.below(6) as u8),
                    _ => FlowEvent::Modified,
                },
                table: self.u8(),
                priority: self.u16(),
                idle_timeout: self.u16(),
                hard_timeout: self.u16(),
                cookie: self.u64(),
                matching: self.matching(true),
                instructions: Instructions::apply(self.actions()),
            })),
        }
    }

    fn queue(&mut self, port: OfPort) -> Queue {
        let rate = |any: &mut Any| any.maybe(|any| any.below(1000) as u16);
        Queue { port, queue: self.u32(), min_rate: rate(self), max_rate: rate(self), properties: vec![] }
    }

    pub(super) fn message(&mut self, kind: Kind, version: Version) -> Message {
        use MessageKind as K;
        let v13 = version >= Version::V1_3;
        let nxm = |kind: Kind| kind.name().starts_with("NX");
        let rich = nxm(kind) || version >= Version::V1_2;
        match kind.of() {
            K::Hello => Message::Hello(Hello::new(Versions(self.u32() & 0x7e | 2))),
            K::Error => Message::Error(ErrorMessage {
                error: OfError::BadRequestBadLength,
                data: vec![version.0, 2, 0, 8, 0, 0, 0, 1],
            }),
            K::EchoRequest => Message::EchoRequest(self.bytes(30)),
            K::EchoReply => Message::EchoReply(self.bytes(30)),
            K::FeaturesRequest => Message::FeaturesRequest,
            K::FeaturesReply => Message::FeaturesReply(FeaturesReply {
                datapath_id: self.u64(),
                buffers: self.u32(),
                tables: self.u8(),
                auxiliary: if v13 { self.u8() } else { 0 },
                capabilities: Capabilities::from_bits_retain(self.u32() & 7),
                reserved: self.u32() & 0xfff,
                ports: if v13 { vec![] } else { self.some(|any| any.port_desc(version)) },
            }),
            K::GetConfigRequest => Message::GetConfigRequest,
            K::GetConfigReply => Message::GetConfigReply(self.config()),
            K::SetConfig => Message::SetConfig(self.config()),
            K::PacketIn => Message::from(self.packet_in(version, kind)),
            K::Resume => Message::Resume(Box::new(self.packet_in(version, kind))),
            K::PacketOut => {
                let mut actions = self.actions();
                // tshark takes the packet for an action where there is none.
                actions.push(Action::output(OfPort::NORMAL));
                let data = self.frame();
                let mut out = PacketOut::new(self.port(), actions, data);
                if version >= Version::V1_5 {
                    out.metadata = Some(Box::new("reg0=5,metadata=1".parse().unwrap()));
                }
                out.into()
            }
            K::FlowMod => Message::from(self.flow_mod(version, kind)),
            K::FlowRemoved => {
                let (secs, nanos) = self.times();
                let old = kind == Kind::FlowRemoved10;
                let nx = kind == Kind::NxFlowRemoved;
                Message::from(FlowRemoved {
                    matching: self.matching(rich),
                    priority: self.u16(),
                    cookie: self.u64(),
                    reason: self.below(3) as u8,
                    table: Some(self.u8() & 0x7f).filter(|_| !old),
                    duration: Duration::new(secs.into(), nanos),
                    idle_timeout: self.u16(),
                    hard_timeout: if nx || version < Version::V1_2 { 0 } else { self.u16() },
                    packets: self.u64() >> 1,
                    bytes: self.u64() >> 1,
                })
            }
            K::FlowStatsRequest | K::AggregateStatsRequest => {
                let old = version == Version::V1_0;
                let request = Box::new(FlowStatsRequest {
                    table: self.u8(),
                    out_port: self.port(),
                    out_group: if old { u32::MAX } else { self.u32() },
                    cookie: if old { 0 } else { self.u64() },
                    cookie_mask: if old { 0 } else { self.u64() },
                    matching: self.matching(rich),
                });
                match kind.of() {
                    K::FlowStatsRequest => Message::FlowStatsRequest(request),
                    _ => Message::AggregateStatsRequest(request),
                }
            }
            K::FlowStatsReply => Message::FlowStatsReply(FlowStatsReply {
                more: self.flag(),
                flows: self.some(|any| any.flow_stats(version, kind)),
            }),
            K::AggregateStatsReply => Message::AggregateStatsReply(AggregateStats {
                packets: self.u64() >> 1,
                bytes: self.u64() >> 1,
                flows: self.u32() >> 1,
            }),
            K::PortStatus => PortStatus { reason: self.below(3) as u8, port: self.port_desc(version) }.into(),
            K::PortMod => Message::PortMod(PortMod {
                number: self.port(),
                hw_addr: self.eth(),
                config: self.u32() & 0x65,
                mask: 0x65,
                advertise: self.u32() & 0xfff,
                properties: vec![],
            }),
            K::GroupMod => {
                let mut desc = self.group(version);
                for b in &mut desc.buckets {
                    b.weight |= 1;
                }
                Message::from(GroupMod { command: 0, desc, bucket: GroupMod::ALL_BUCKETS })
            }
            K::TableMod => {
                let mut desc = self.table_desc(version);
                desc.vacancy = desc.vacancy.map(|(down, ..)| (down % 50, 50 + down % 50, 0));
                Message::TableMod(TableMod { desc })
            }
            K::TableStatus => {
                Message::TableStatus(TableStatus { reason: 3 + self.u8() % 2, desc: self.table_desc(version) })
            }
            K::TableDescRequest => Message::TableDescRequest,
            K::TableDescReply => {
                let mut page = self.page(|any| any.table_desc(version));
                page.items.push(self.table_desc(version));
                Message::TableDescReply(page)
            }
            K::TableFeaturesStatsRequest => Message::TableFeaturesRequest(self.page(|any| any.features(version))),
            K::TableFeaturesStatsReply => {
                let mut page = self.page(|any| any.features(version));
                page.items.push(self.features(version));
                Message::TableFeaturesReply(page)
            }
            K::BarrierRequest => Message::BarrierRequest,
            K::BarrierReply => Message::BarrierReply,
            K::QueueGetConfigRequest => {
                let port = self.port();
                let all = u32::MAX;
                let queue = if version >= Version::V1_4 { self.u32() } else { all };
                Message::QueueConfigRequest(QueueRequest { port, queue })
            }
            K::QueueGetConfigReply => {
                let port = self.port();
                let mut page = self.page(|any| any.queue(port));
                page.more &= version >= Version::V1_4;
                page.items.push(self.queue(port));
                Message::QueueConfigReply(page)
            }
            K::RoleRequest => Message::RoleRequest(self.role(kind)),
            K::RoleReply => Message::RoleReply(self.role(kind)),
            K::RoleStatus => Message::RoleStatus(RoleStatus {
                role: self.below(4),
                reason: self.below(3) as u8,
                generation: self.u64(),
                properties: self.raw(version),
            }),
            K::GetAsyncRequest => Message::GetAsyncRequest,
            K::GetAsyncReply => Message::GetAsyncReply(self.async_config(kind, version).into()),
            K::SetAsyncConfig => Message::SetAsync(self.async_config(kind, version).into()),
            K::MeterMod => Message::MeterMod(MeterMod { command: self.u16() % 2, config: self.meter() }),
            K::RequestForward => {
                let group = GroupMod { command: 0, desc: self.group(version), bucket: GroupMod::ALL_BUCKETS };
                Message::RequestForward(Message::from(group).encode(version, 1).unwrap())
            }
            K::BundleControl => Message::BundleControl(BundleControl {
                bundle: self.u32(),
                kind: self.u16() % 8,
                flags: self.u16() % 4,
                properties: self.raw(version),
            }),
            K::BundleAddMessage => {
                let flow = Message::from(self.flow_mod(version, Kind::FlowMod11));
                Message::BundleAdd(BundleAdd {
                    bundle: self.u32(),
                    flags: self.u16() % 4,
                    message: flow.encode(version, 7).unwrap(),
                    properties: self.raw(version),
                })
            }
            K::DescStatsRequest => Message::DescRequest,
            K::DescStatsReply => Message::DescReply(Box::new(Description {
                manufacturer: self.text(255),
                hardware: self.text(9),
                software: self.text(9),
                serial: self.text(31),
                datapath: self.text(255),
            })),
            K::TableStatsRequest => Message::TableStatsRequest,
            K::TableStatsReply => Message::TableStatsReply(self.page(|any| any.table_stats(version))),
            K::PortStatsRequest => Message::PortStatsRequest(PortRequest { port: self.port() }),
            K::PortStatsReply => Message::PortStatsReply(self.page(|any| PortStats {
                number: any.port(),
                counts: std::array::from_fn(|_| any.u64()),
                duration: Some(any.times()).filter(|_| v13),
                rfc2819: if version >= Version::V1_4 && any.below(2) == 0 {
                    (0..21).map(|_| any.u64()).collect()
                } else {
                    vec![]
                },
                custom: if version >= Version::V1_4 {
                    any.some(|any| CustomCounter { name: any.text(20), value: any.u64() })
                } else {
                    vec![]
                },
                properties: any.raw(version).into_iter().map(PortStatsProperty::Other).collect(),
            })),
            K::QueueStatsRequest => {
                Message::QueueStatsRequest(QueueStatsRequest { port: self.port(), queue: self.u32() })
            }
            K::QueueStatsReply => Message::QueueStatsReply(self.page(|any| QueueStats {
                port: any.port(),
                queue: any.u32(),
                sent: std::array::from_fn(|_| any.u64()),
                duration: Some(any.times()).filter(|_| v13),
                properties: any.raw(version),
            })),
            K::GroupStatsRequest => Message::GroupStatsRequest(self.u32()),
            K::GroupStatsReply => Message::GroupStatsReply(self.page(|any| GroupStats {
                group: any.u32(),
                references: any.u32(),
                counts: (any.u64(), any.u64()),
                duration: Some(any.times()).filter(|_| !matches!(version, Version::V1_1 | Version::V1_2)),
                buckets: any.some(|any| (any.u64(), any.u64())),
            })),
            K::GroupDescStatsRequest => {
                let all = kind == Kind::StatsGroupDescRequest11;
                Message::GroupDescRequest(if all { 0xffff_fffc } else { self.u32() })
            }
            K::GroupDescStatsReply => Message::GroupDescReply(self.page(|any| any.group(version))),
            K::GroupFeaturesStatsRequest => Message::GroupFeaturesRequest,
            K::GroupFeaturesStatsReply => Message::GroupFeaturesReply(GroupFeatures {
                types: self.u32() & 15,
                capabilities: self.u32() & 15,
                max_groups: std::array::from_fn(|_| self.u32()),
                actions: std::array::from_fn(|_| self.u32()),
            }),
            K::MeterStatsRequest => Message::MeterStatsRequest(self.u32()),
            K::MeterStatsReply => Message::MeterStatsReply(self.page(|any| MeterStats {
                meter: any.u32(),
                flows: any.u32(),
                input: (any.u64(), any.u64()),
                duration: any.times(),
                bands: any.some(|any| (any.u64(), any.u64())),
            })),
            K::MeterConfigStatsRequest => Message::MeterConfigRequest(self.u32()),
            K::MeterConfigStatsReply => Message::MeterConfigReply(self.page(Any::meter)),
            K::MeterFeaturesStatsRequest => Message::MeterFeaturesRequest,
            K::MeterFeaturesStatsReply => Message::MeterFeaturesReply(MeterFeatures {
                max_meters: self.u32(),
                band_types: self.u32() & 6,
                capabilities: self.u32() & 15,
                max_bands: self.u8(),
                max_color: self.u8(),
            }),
            K::PortDescStatsRequest => {
                let one = kind == Kind::StatsPortDescRequest15;
                Message::PortDescRequest(PortRequest { port: if one { self.port() } else { OfPort::ANY } })
            }
            K::PortDescStatsReply => Message::PortDescReply(self.page(|any| any.port_desc(version))),
            K::FlowMonitorStatsRequest => {
                Message::FlowMonitorRequest(Page { more: false, items: self.some(|any| any.monitor(version)) })
            }
            K::FlowMonitorStatsReply => Message::FlowMonitorReply(self.page(|any| any.update(version))),
            K::FlowMonitorCancel => Message::FlowMonitorCancel(self.u32()),
            K::FlowMonitorPaused => Message::FlowMonitorPaused,
            K::FlowMonitorResumed => Message::FlowMonitorResumed,
            K::SetFlowFormat => Message::SetFlowFormat(self.pick(&[0, 2])),
            K::FlowModTableId => Message::FlowModTableId(self.flag()),
            K::SetPacketInFormat => Message::SetPacketInFormat(self.below(3)),
            K::FlowAge => Message::FlowAge,
            K::SetControllerId => Message::SetControllerId(self.u16()),
            K::TlvTableMod => Message::TlvTableMod(TlvTableMod { command: self.u16() % 3, mappings: self.mappings() }),
            K::TlvTableRequest => Message::TlvTableRequest,
            K::TlvTableReply => Message::TlvTableReply(TlvTableReply {
                max_option_space: 256,
                max_fields: 64,
                mappings: self.mappings(),
            }),
            K::CtFlushZone => Message::CtFlushZone(self.u16()),
            K::CtFlush => {
                let protocol = self.pick(&[0, 1, 6, 17]);
                let masked = |value: u32, mask: u32| (value, mask);
                Message::CtFlush(Box::new(CtFlush {
                    protocol,
                    original: self.tuple(protocol == 1),
                    reply: self.tuple(protocol == 1),
                    zone: self.maybe(Any::u16),
                    mark: self.maybe(|any| masked(any.u32(), any.u32())),
                    labels: self.maybe(|any| (any.u64().into(), u128::MAX)),
                }))
            }
            K::IpfixBridgeStatsRequest => Message::IpfixBridgeStatsRequest,
            K::IpfixBridgeStatsReply => Message::IpfixBridgeStatsReply(self.ipfix().into()),
            K::IpfixFlowStatsRequest => Message::IpfixFlowStatsRequest,
            K::IpfixFlowStatsReply => Message::IpfixFlowStatsReply(self.page(Any::ipfix)),
        }
    }
}
