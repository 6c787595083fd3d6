//! Requests to the kernel in this process, and its answers.

use super::Fault;
use super::state::{DatapathState, FlowState, State};
use crate::attr::{Policy, Typed, Writer};
use crate::edge::{Peer, Protocol};
use crate::error::EncodeError;
use crate::generic::{CONTROLLER, Family, GenericHeader};
use crate::message::{Flags, Header, Message, Messages, kind};
use crate::ovs::{
    Band, Command, CtLimitAttr, CtLimitCommand, CtLimits, Datapath, DatapathAttr, Flow, FlowAttr, FlowStats, Keys,
    Meter, MeterAttr, MeterCommand, OvsHeader, Packet, PacketAttr, PacketCommand, UfidFlags, Vport, VportAttr,
    ZoneLimit,
};

/// An error number.
type Errno = i32;

/// What a request leads to: messages for who asked, and for a group those that others are told.
#[derive(Default)]
struct Reply {
    messages: Vec<u8>,
    notification: Option<(u32, Vec<u8>)>,
}

/// How many messages of a dump are in a datagram.
const PER_DATAGRAM: usize = 5;

impl State {
    /// The datagrams that answer a request.
    pub(super) fn answer(&mut self, protocol: Protocol, port: u32, request: &Message<'_>) -> Vec<Vec<u8>> {
        let header = request.header;
        if header.kind == kind::NOOP && !header.flags.contains(Flags::REQUEST) {
            self.membership(port, request);
            return Vec::new();
        }
        if header.kind < kind::FIRST_FAMILY {
            return vec![acknowledgement(header, 0)];
        }
        let dump = header.flags.contains(Flags::DUMP) && is_get(request);
        let refused = self.fault(|fault| match fault {
            Fault::Refuse(errno) => Some(errno),
            _ => None,
        });
        let result = match refused {
            Some(errno) => Err(errno),
            None if protocol != Protocol::Generic => Err(libc::EOPNOTSUPP),
            None => self.handle(request, dump),
        };
        match result {
            Err(errno) => vec![acknowledgement(header, errno)],
            Ok(reply) => {
                if let Some((group, datagram)) = &reply.notification {
                    self.notify(*group, port, datagram);
                }
                self.pack(header, reply.messages, dump)
            }
        }
    }

    fn membership(&mut self, port: u32, request: &Message<'_>) {
        for attribute in request.attributes(0).into_iter().flatten().map_while(Result::ok) {
            if let Ok(group) = attribute.u32() {
                self.join(port, group, attribute.kind() == Peer::JOIN);
            }
        }
    }

    /// Cuts messages into datagrams, with sequence numbers, flags and an end.
    fn pack(&mut self, request: Header, mut messages: Vec<u8>, dump: bool) -> Vec<Vec<u8>> {
        if !messages.is_empty() && self.happens(|fault| fault == Fault::NoAnswer) {
            messages.clear();
        }
        if !messages.is_empty() && self.happens(|fault| fault == Fault::UnknownAttribute) {
            messages = with_unknown_attributes(&messages);
        }
        let wrong = !messages.is_empty() && self.happens(|fault| fault == Fault::WrongSequence);
        let sequence = if wrong { request.sequence.wrapping_add(0x1000_0000) } else { request.sequence };
        let interrupted = dump && self.happens(|fault| fault == Fault::InterruptedDump);
        let cut = dump && !messages.is_empty() && self.happens(|fault| fault == Fault::CutDump);
        let mut flags = if dump { Flags::MULTI } else { Flags::empty() };
        flags.set(Flags::DUMP_INTERRUPTED, interrupted);

        let mut datagrams: Vec<Vec<u8>> = Vec::new();
        let mut rest = messages.as_mut_slice();
        let mut count = 0_usize;
        while let Some(length) = Messages::new(rest).next().and_then(Result::ok).map(|message| message.header.length) {
            let length = usize::try_from(length).unwrap_or(usize::MAX).next_multiple_of(4).min(rest.len());
            let (message, behind) = std::mem::take(&mut rest).split_at_mut(length);
            rest = behind;
            if let Some(place) = message.first_chunk_mut() {
                let old = Header::decode(place);
                *place = Header { sequence, port: request.port, flags: old.flags | flags, ..old }.encode();
            }
            if count.is_multiple_of(PER_DATAGRAM) {
                datagrams.push(Vec::new());
            }
            if let Some(last) = datagrams.last_mut() {
                last.extend_from_slice(message);
            }
            count = count.saturating_add(1);
        }
        if cut && let Some(last) = datagrams.last_mut() {
            last.truncate(last.len().saturating_sub(6));
        }
        if dump {
            let mut end = Vec::new();
            let written = Writer::message(&mut end, kind::DONE, flags, |writer| {
                writer.raw(&[0; 4]);
                Ok(())
            });
            debug_assert_eq!(written, Ok(()));
            Header::stamp(&mut end, request.sequence, request.port);
            datagrams.push(end);
        } else if request.flags.contains(Flags::ACK) {
            datagrams.push(acknowledgement(request, 0));
        }
        datagrams
    }

    fn handle(&mut self, request: &Message<'_>, dump: bool) -> Result<Reply, Errno> {
        let header = GenericHeader::decode(request).map_err(|_| libc::EINVAL)?;
        if request.header.kind == CONTROLLER {
            return self.controller(request, dump);
        }
        let family = self.family(request.header.kind).ok_or(libc::ENOENT)?;
        let ovs = OvsHeader::decode(request).map_err(|_| libc::EINVAL)?;
        let check = |policy: &Policy| {
            let attributes = request.attributes(OvsHeader::ATTRIBUTES).map_err(|_| libc::EINVAL)?;
            policy.check(attributes).map_err(|_| libc::EINVAL)
        };
        let command = || Command::from_number(header.command).ok_or(libc::EOPNOTSUPP);
        let mut reply = Reply::default();
        let all = dump || request.header.flags.contains(Flags::ECHO);
        match family {
            Datapath::FAMILY => {
                check(DatapathAttr::policy())?;
                let asked = Datapath::decode(request).map_err(|_| libc::EINVAL)?;
                self.datapath(&mut reply, command()?, &asked, dump, all)?;
            }
            Vport::FAMILY => {
                check(VportAttr::policy())?;
                let asked = Vport::decode(request).map_err(|_| libc::EINVAL)?;
                self.vport(&mut reply, command()?, &asked, dump, all)?;
            }
            Flow::FAMILY => {
                check(FlowAttr::policy())?;
                let asked = Flow::decode(request).map_err(|_| libc::EINVAL)?;
                self.flow(&mut reply, command()?, &asked, request.header.flags, dump, all)?;
            }
            Packet::FAMILY => {
                check(PacketAttr::policy())?;
                let asked = Packet::decode(request).map_err(|_| libc::EINVAL)?;
                let known = self.datapaths.contains_key(&asked.dp_ifindex);
                match PacketCommand::from_number(header.command) {
                    Some(PacketCommand::Execute) if !known => return Err(libc::ENODEV),
                    Some(PacketCommand::Execute) => {
                        if asked.packet.is_none() || asked.key.is_none() || asked.actions.is_none() {
                            return Err(libc::EINVAL);
                        }
                        self.execute(&asked);
                    }
                    _ => return Err(libc::EOPNOTSUPP),
                }
            }
            Meter::FAMILY => {
                check(MeterAttr::policy())?;
                let asked = Meter::decode(request).map_err(|_| libc::EINVAL)?;
                self.meter(&mut reply, header.command, &asked)?;
            }
            _ => {
                check(CtLimitAttr::policy())?;
                let asked = CtLimits::decode(request).map_err(|_| libc::EINVAL)?;
                self.limits(&mut reply, header.command, &asked, ovs.dp_ifindex)?;
            }
        }
        Ok(reply)
    }

    fn controller(&mut self, request: &Message<'_>, dump: bool) -> Result<Reply, Errno> {
        let mut reply = Reply::default();
        let name = Family::requested(request).map_err(|_| libc::EINVAL)?;
        let itself = Family {
            id: CONTROLLER,
            name: "nlctrl".to_owned(),
            version: 2,
            header_size: 0,
            max_attribute: 10,
            groups: Vec::new(),
        };
        let known = std::iter::once(itself).chain(self.families());
        for family in known.filter(|family| dump || Some(family.name.as_str()) == name) {
            family.encode(&mut reply.messages, Flags::empty()).map_err(too_long)?;
        }
        if reply.messages.is_empty() { Err(libc::ENOENT) } else { Ok(reply) }
    }

    fn datapath(
        &mut self,
        reply: &mut Reply,
        command: Command,
        asked: &Datapath,
        dump: bool,
        echo: bool,
    ) -> Result<(), Errno> {
        let family = self.family_id(Datapath::FAMILY);
        let found = |state: &State| {
            let named = |(index, this): (&u32, &DatapathState)| {
                (*index == asked.dp_ifindex || (asked.name.is_some() && this.datapath.name == asked.name))
                    .then_some(*index)
            };
            state.datapaths.iter().find_map(named).ok_or(libc::ENODEV)
        };
        let shown = match command {
            Command::Get if dump => {
                let all: Vec<Datapath> = self.datapaths.values().map(DatapathState::shown).collect();
                for one in all {
                    one.encode(&mut reply.messages, family, Command::New, Flags::empty()).map_err(too_long)?;
                }
                return Ok(());
            }
            Command::New => {
                let name = asked.name.ok_or(libc::EINVAL)?;
                let pid = asked.upcall_pid.ok_or(libc::EINVAL)?;
                if found(self).is_ok() {
                    return Err(libc::EEXIST);
                }
                let dp_ifindex = asked.ifindex.unwrap_or_else(|| self.new_ifindex());
                let local = Vport {
                    dp_ifindex,
                    port_no: Some(0),
                    ty: Some(crate::ovs::VportType::INTERNAL),
                    name: Some(name),
                    upcall_pids: Some(vec![pid]),
                    stats: Some(Default::default()),
                    ifindex: Some(dp_ifindex),
                    ..Vport::default()
                };
                let datapath = Datapath {
                    dp_ifindex,
                    upcall_pid: None,
                    ifindex: None,
                    masks_cache_size: Some(asked.masks_cache_size.unwrap_or(256)),
                    ..asked.clone()
                };
                let ports = [(0, local)].into();
                let state = DatapathState { datapath, ports, flows: Vec::new(), meters: Default::default() };
                let shown = state.shown();
                self.datapaths.insert(dp_ifindex, state);
                shown
            }
            Command::Set => {
                let index = found(self)?;
                let state = self.datapaths.get_mut(&index).ok_or(libc::ENODEV)?;
                state.datapath.user_features = Some(asked.user_features.unwrap_or_default());
                if asked.per_cpu_pids.is_some() {
                    state.datapath.per_cpu_pids.clone_from(&asked.per_cpu_pids);
                }
                if asked.masks_cache_size.is_some() {
                    state.datapath.masks_cache_size = asked.masks_cache_size;
                }
                state.shown()
            }
            Command::Delete => {
                let index = found(self)?;
                self.datapaths.remove(&index).ok_or(libc::ENODEV)?.shown()
            }
            Command::Get => {
                let index = found(self)?;
                self.datapaths.get(&index).ok_or(libc::ENODEV)?.shown()
            }
        };
        let told = if command == Command::Get { Command::New } else { command };
        let write = |buffer: &mut Vec<u8>| shown.encode(buffer, family, told, Flags::empty());
        finish(reply, command, echo, family, write)
    }

    fn vport(
        &mut self,
        reply: &mut Reply,
        command: Command,
        asked: &Vport,
        dump: bool,
        echo: bool,
    ) -> Result<(), Errno> {
        let family = self.family_id(Vport::FAMILY);
        let ifindex = self.new_ifindex();
        let by_name = || {
            let mut all = self.datapaths.values().flat_map(|datapath| datapath.ports.values());
            all.find(|port| asked.name.is_some() && port.name == asked.name).map(|port| (port.dp_ifindex, port.port_no))
        };
        let (dp_ifindex, number) = match (asked.port_no, by_name()) {
            (None, Some((dp_ifindex, number))) if command != Command::New => (dp_ifindex, number),
            _ => (asked.dp_ifindex, asked.port_no),
        };
        let exists = by_name().is_some();
        let datapath = self.datapaths.get_mut(&dp_ifindex).ok_or(libc::ENODEV)?;
        if dump && command == Command::Get {
            for port in datapath.ports.values() {
                port.encode(&mut reply.messages, family, Command::New, Flags::empty()).map_err(too_long)?;
            }
            return Ok(());
        }
        let found = number.filter(|number| datapath.ports.contains_key(number)).ok_or(libc::ENODEV);
        let shown = match command {
            Command::New => {
                let (name, ty) = asked.name.zip(asked.ty).ok_or(libc::EINVAL)?;
                let pids = asked.upcall_pids.clone().ok_or(libc::EINVAL)?;
                if !(1..=5).contains(&ty.0) {
                    return Err(libc::EAFNOSUPPORT);
                }
                if exists {
                    return Err(libc::EEXIST);
                }
                if found.is_ok() {
                    return Err(libc::EBUSY);
                }
                let free =
                    (1..=u32::from(u16::MAX)).find(|free| !datapath.ports.contains_key(free)).ok_or(libc::EFBIG)?;
                let port = Vport {
                    port_no: Some(number.unwrap_or(free)),
                    name: Some(name),
                    upcall_pids: Some(pids),
                    stats: Some(Default::default()),
                    ifindex: Some(ifindex),
                    ..asked.clone()
                };
                datapath.ports.insert(number.unwrap_or(free), port.clone());
                port
            }
            Command::Set => {
                let port = datapath.ports.get_mut(&found?).ok_or(libc::ENODEV)?;
                if asked.upcall_pids.is_some() {
                    port.upcall_pids.clone_from(&asked.upcall_pids);
                }
                port.clone()
            }
            Command::Delete => match found? {
                0 => return Err(libc::EINVAL),
                number => datapath.ports.remove(&number).ok_or(libc::ENODEV)?,
            },
            Command::Get => datapath.ports.get(&found?).cloned().ok_or(libc::ENODEV)?,
        };
        let told = if command == Command::Get { Command::New } else { command };
        let write = |buffer: &mut Vec<u8>| shown.encode(buffer, family, told, Flags::empty());
        finish(reply, command, echo, family, write)
    }

    fn flow(
        &mut self,
        reply: &mut Reply,
        command: Command,
        asked: &Flow<'_>,
        flags: Flags,
        dump: bool,
        echo: bool,
    ) -> Result<(), Errno> {
        let family = self.family_id(Flow::FAMILY);
        let dp_ifindex = asked.dp_ifindex;
        let datapath = self.datapaths.get_mut(&dp_ifindex).ok_or(libc::ENODEV)?;
        let omit = asked.ufid_flags.unwrap_or_default();
        if dump && command == Command::Get {
            for flow in &datapath.flows {
                let shown = flow.shown(dp_ifindex, omit);
                shown.encode(&mut reply.messages, family, Command::New, Flags::empty()).map_err(too_long)?;
            }
            return Ok(());
        }
        if command == Command::Delete && asked.ufid.is_none() && asked.key.is_none() {
            datapath.flows.clear();
            return Ok(());
        }
        let key = asked.key.map(|key| key.payload());
        let place = datapath.flows.iter().position(|flow| match asked.ufid {
            Some(ufid) => flow.ufid.as_deref() == Some(ufid),
            None => Some(flow.key.as_slice()) == key,
        });
        let shown = match (command, place) {
            (Command::New, Some(_)) if flags.contains(Flags::EXCLUSIVE) => return Err(libc::EEXIST),
            (Command::New, None) => {
                let flow = FlowState {
                    key: key.ok_or(libc::EINVAL)?.to_vec(),
                    mask: asked.mask.map(|mask| mask.payload().to_vec()),
                    actions: asked.actions.ok_or(libc::EINVAL)?.payload().to_vec(),
                    ufid: asked.ufid.map(<[u8]>::to_vec),
                    stats: FlowStats::default(),
                };
                datapath.flows.push(flow.clone());
                flow
            }
            (Command::New | Command::Set, Some(place)) => {
                let flow = datapath.flows.get_mut(place).ok_or(libc::ENOENT)?;
                if let Some(actions) = asked.actions {
                    flow.actions = actions.payload().to_vec();
                }
                if asked.clear {
                    flow.stats = FlowStats::default();
                }
                flow.clone()
            }
            (Command::Delete, Some(place)) => datapath.flows.remove(place),
            (Command::Get, Some(place)) => datapath.flows.get(place).cloned().ok_or(libc::ENOENT)?,
            (_, None) => return Err(libc::ENOENT),
        };
        let told = if command == Command::Get { Command::New } else { command };
        let write = |buffer: &mut Vec<u8>| shown.shown(dp_ifindex, omit).encode(buffer, family, told, Flags::empty());
        finish(reply, command, echo, family, write)
    }

    fn meter(&mut self, reply: &mut Reply, command: u8, asked: &Meter) -> Result<(), Errno> {
        let family = self.family_id(Meter::FAMILY);
        let dp_ifindex = asked.dp_ifindex;
        let meters = &mut self.datapaths.get_mut(&dp_ifindex).ok_or(libc::ENODEV)?.meters;
        let id = asked.id.ok_or(libc::EINVAL);
        let (command, shown) = match command {
            1 => {
                let drop = Band { ty: Band::DROP, ..Band::default() };
                let features =
                    Meter { max_meters: Some(1024), max_bands: Some(1), bands: vec![drop], ..Meter::default() };
                (MeterCommand::Features, features)
            }
            2 => {
                let old = meters.insert(id?, Meter { stats: Some(FlowStats::default()), ..asked.clone() });
                (MeterCommand::Set, old.unwrap_or(Meter { id: asked.id, ..Meter::default() }))
            }
            3 => (MeterCommand::Delete, meters.remove(&id?).unwrap_or_default()),
            4 => (MeterCommand::Get, meters.get(&id?).cloned().ok_or(libc::ENOENT)?),
            _ => return Err(libc::EOPNOTSUPP),
        };
        let shown = Meter { dp_ifindex, ..shown };
        shown.encode(&mut reply.messages, family, command, Flags::empty()).map_err(too_long)
    }

    fn limits(&mut self, reply: &mut Reply, command: u8, asked: &CtLimits, dp_ifindex: u32) -> Result<(), Errno> {
        let family = self.family_id(CtLimits::FAMILY);
        if !self.datapaths.contains_key(&dp_ifindex) {
            return Err(libc::ENODEV);
        }
        let limit_of = |limits: &[ZoneLimit], zone| limits.iter().find(|limit| limit.zone == zone).copied();
        let default = limit_of(&self.limits, ZoneLimit::DEFAULT);
        match command {
            1 | 2 => {
                if asked.zones.is_empty() {
                    return Err(libc::EINVAL);
                }
                for zone in &asked.zones {
                    self.limits.retain(|limit| limit.zone != zone.zone);
                    self.limits.extend((command == 1).then_some(ZoneLimit { count: 0, ..*zone }));
                }
                Ok(())
            }
            3 => {
                let none = ZoneLimit { zone: ZoneLimit::DEFAULT, limit: 0, count: 0 };
                let fallback = default.unwrap_or(none);
                let zones = if asked.zones.is_empty() {
                    self.limits
                        .iter()
                        .copied()
                        .filter(|limit| limit.zone != ZoneLimit::DEFAULT)
                        .chain([fallback])
                        .collect()
                } else {
                    let one = |zone: &ZoneLimit| {
                        let of_zone = limit_of(&self.limits, zone.zone);
                        of_zone.unwrap_or(ZoneLimit { zone: zone.zone, ..fallback })
                    };
                    asked.zones.iter().map(one).collect()
                };
                let shown = CtLimits { dp_ifindex, zones };
                shown.encode(&mut reply.messages, family, CtLimitCommand::Get, Flags::empty()).map_err(too_long)
            }
            _ => Err(libc::EOPNOTSUPP),
        }
    }
}

impl DatapathState {
    /// What the kernel tells of it.
    fn shown(&self) -> Datapath {
        let mut stats = self.datapath.stats.unwrap_or_default();
        stats.flows = u64::try_from(self.flows.len()).unwrap_or(u64::MAX);
        Datapath { stats: Some(stats), megaflow_stats: Some(Default::default()), ..self.datapath.clone() }
    }
}

impl FlowState {
    fn shown(&self, dp_ifindex: u32, omit: UfidFlags) -> Flow<'_> {
        // What has no identifier is known by its key only.
        let omit = if self.ufid.is_some() { omit } else { omit.difference(UfidFlags::OMIT_KEY) };
        let unless = |flag: UfidFlags| !omit.contains(flag);
        Flow {
            dp_ifindex,
            key: unless(UfidFlags::OMIT_KEY).then(|| Keys::new(&self.key)),
            mask: self.mask.as_deref().filter(|_| unless(UfidFlags::OMIT_MASK)).map(Keys::new),
            actions: unless(UfidFlags::OMIT_ACTIONS).then(|| crate::ovs::Actions::new(&self.actions)),
            stats: (self.stats.packets > 0).then_some(self.stats),
            used: (self.stats.packets > 0).then_some(1),
            ufid: self.ufid.as_deref(),
            ..Flow::default()
        }
    }
}

fn is_get(request: &Message<'_>) -> bool {
    // All families here, and the controller, have 3 for it; NEW takes the same bits of the flags for other things.
    GenericHeader::decode(request).is_ok_and(|header| header.command == Command::Get as u8)
}

fn too_long(_: EncodeError) -> Errno {
    libc::EMSGSIZE
}

/// Writes the answer where one is wanted, and what others are told of a change.
fn finish(
    reply: &mut Reply,
    command: Command,
    echo: bool,
    family: u16,
    write: impl Fn(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<(), Errno> {
    if echo || command == Command::Get {
        write(&mut reply.messages).map_err(too_long)?;
    }
    if command != Command::Get {
        let mut datagram = Vec::new();
        write(&mut datagram).map_err(too_long)?;
        reply.notification = Some((family.into(), datagram));
    }
    Ok(())
}

fn acknowledgement(request: Header, errno: Errno) -> Vec<u8> {
    let mut datagram = Vec::new();
    let written = Writer::message(&mut datagram, kind::ERROR, Flags::CAPPED, |writer| {
        writer.raw(&errno.saturating_neg().to_ne_bytes()).raw(&request.encode());
        Ok(())
    });
    debug_assert_eq!(written, Ok(()));
    Header::stamp(&mut datagram, request.sequence, request.port);
    datagram
}

/// The messages, each with an attribute at its end that no family has.
fn with_unknown_attributes(messages: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for message in Messages::new(messages).map_while(Result::ok) {
        let written = Writer::message(&mut out, message.header.kind, message.header.flags, |writer| {
            writer.raw(message.payload()).u32(0x3ff0, 7);
            Ok(())
        });
        debug_assert_eq!(written, Ok(()));
    }
    out
}
