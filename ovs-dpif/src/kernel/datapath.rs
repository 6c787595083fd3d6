//! Life of a datapath, and what it does behind the trait.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use ovs_netlink::ovs::{
    Band, Command, Datapath as Described, FlowStats, IfName, Meter, MeterCommand, UserFeatures, Vport,
};
use ovs_netlink::route::Route;
use ovs_netlink::{Connect, Conntrack, Families, Flags, Protocol, ReplyError, Socket, SocketError, Unavailable};
use ovs_packet::key::{FlowKey, FlowMask};
use ovs_packet::{Instant, Packet};

use super::probe;
use super::threads::Crew;
use super::upcalls::{Handler, VlanLimit};
use crate::action::{DpAction, PortNo};
use crate::connections::Connections;
use crate::dpif::{
    DpFlow, DpFlowStats, DpStats, Dpif, DpifError, Features, FlowPut, Operation, Outcome, PortChange, PortInfo,
    PortSpec, Resolution, Ufid, Upcall,
};
use crate::drops::{DropReason, Ledger};
use crate::meter;

/// Who takes the upcalls.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[non_exhaustive]
pub enum Dispatch {
    /// Sockets by CPU where the kernel knows that, else by port.
    #[default]
    Best,
    /// Sockets by port, also where the kernel knows better.
    PerPort,
    /// Nobody: the datapath is another program's, which is not to be disturbed.
    Observe,
}

/// How a datapath is opened.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Who takes the upcalls.
    pub dispatch: Dispatch,
    /// How many sockets take them; by default one for each CPU that this process may use.
    pub handlers: Option<usize>,
    /// How many milliseconds the caller's clock is ahead of the kernel's monotonic one.
    pub ahead: i64,
}

impl Options {
    /// For a look from outside: upcalls stay where they go.
    pub const OBSERVE: Options = Options { dispatch: Dispatch::Observe, handlers: None, ahead: 0 };

    /// The same with another way of upcalls.
    #[must_use]
    pub const fn with_dispatch(self, dispatch: Dispatch) -> Options {
        Options { dispatch, ..self }
    }

    /// The same with so many sockets for upcalls.
    #[must_use]
    pub const fn with_handlers(self, handlers: usize) -> Options {
        Options { handlers: Some(handlers), ..self }
    }

    /// The same for a caller whose time is `now` when the kernel's monotonic clock is `monotonic`.
    #[must_use]
    pub const fn with_clock(self, now: Instant, monotonic: Duration) -> Options {
        // Clocks that count from some boot are far from these bounds.
        let ahead = now.as_millis() as i64 - monotonic.as_millis() as i64;
        Options { ahead, ..self }
    }
}

/// Far more datapaths, and ports, than a machine has.
const MAX_OBJECTS: usize = 1 << 16;

/// The cache of masks, as upstream's tools name it.
const MASKS_CACHE: &str = "masks-cache";

/// A datapath of the kernel's: see the [module](super).
pub struct Datapath {
    /// Whose it is, for more sockets.
    kernel: Box<dyn Connect + Send>,
    pub(super) name: String,
    pub(super) dp_ifindex: u32,
    pub(super) options: Options,
    pub(super) families: Families,
    pub(super) socket: RefCell<Socket>,
    /// Where changes of ports are told.
    pub(super) events: Option<Socket>,
    pub(super) route: RefCell<Option<Route>>,
    pub(super) tracker: Option<Conntrack>,
    pub(super) handlers: Vec<Handler>,
    pub(super) per_cpu: bool,
    /// The sockets that ports send upcalls to, unless it is by CPU.
    pub(super) port_pids: Vec<u32>,
    pub(super) features: Features,
    /// How many VLAN tags the kernel reads, and how many of them are to be read.
    tags: u8,
    pub(super) vlan_limit: VlanLimit,
    /// Interfaces of tunnels that were made here, and go with their ports.
    pub(super) made: BTreeMap<PortNo, String>,
    pub(super) ledger: Ledger,
    /// Threads that take the upcalls.
    pub(super) crew: Option<Crew>,
    /// Upcalls that the queue behind the threads had no room for.
    pub(super) lost: u64,
    /// Whether there was but one when upcalls were taken last.
    pub(super) came_alone: bool,
}

impl fmt::Debug for Datapath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datapath")
            .field("name", &self.name)
            .field("dp_ifindex", &self.dp_ifindex)
            .field("per_cpu", &self.per_cpu)
            .field("handlers", &self.handlers.len())
            .field("crew", &self.crew)
            .field("ledger", &self.ledger)
            .finish_non_exhaustive()
    }
}

/// The CPUs that this process may use.
fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

pub(super) fn failed(what: &'static str) -> impl Fn(SocketError) -> DpifError {
    move |error| match error {
        SocketError::Reply(ReplyError::Overrun) => DpifError::AnswerLost,
        error => DpifError::System { what, source: error.into() },
    }
}

pub(super) fn refused(what: &'static str, error: ReplyError) -> DpifError {
    failed(what)(error.into())
}

fn unavailable(error: Unavailable) -> DpifError {
    DpifError::System { what: "the kernel datapath", source: std::io::Error::other(error) }
}

pub(super) fn ifname(name: &str) -> Result<IfName, DpifError> {
    name.parse().map_err(|error| DpifError::System { what: "name", source: std::io::Error::other(error) })
}

fn connect(kernel: &dyn Connect) -> Result<(Socket, Families), DpifError> {
    let mut socket = kernel.connect(Protocol::Generic).map_err(failed("netlink"))?;
    let families = Families::resolve(&mut socket).map_err(unavailable)?;
    Ok((socket, families))
}

/// The names of all datapaths of the kernel's, in this network namespace.
///
/// # Errors
/// If there is no such module, or the program may not ask.
pub fn list(kernel: &dyn Connect) -> Result<Vec<String>, DpifError> {
    let (mut socket, families) = connect(kernel)?;
    let mut request = Vec::new();
    let encoded = Described::default().encode(&mut request, families.datapath.id, Command::Get, Flags::REQUEST);
    encoded.map_err(|e| failed("list of datapaths")(e.into()))?;
    let all = socket.dump(&mut request, MAX_OBJECTS, Described::decode).map_err(failed("list of datapaths"))?;
    let mut names: Vec<_> = all.into_iter().filter_map(|dp| dp.name.map(|name| name.to_string())).collect();
    names.sort();
    Ok(names)
}

impl Datapath {
    /// Makes a datapath with a local port of this name, and opens it.
    ///
    /// # Errors
    /// [`DpifError::DatapathExists`]; if there is no such module, or the program may not.
    pub fn create(
        kernel: &(impl Connect + Clone + Send + 'static),
        name: &str,
        options: Options,
    ) -> Result<Datapath, DpifError> {
        Datapath::start(Box::new(kernel.clone()), name, options, true)
    }

    /// Opens a datapath that is there.
    ///
    /// # Errors
    /// [`DpifError::NoSuchDatapath`]; if there is no such module, or the program may not.
    pub fn open(
        kernel: &(impl Connect + Clone + Send + 'static),
        name: &str,
        options: Options,
    ) -> Result<Datapath, DpifError> {
        Datapath::start(Box::new(kernel.clone()), name, options, false)
    }

    fn start(
        kernel: Box<dyn Connect + Send>,
        name: &str,
        options: Options,
        create: bool,
    ) -> Result<Datapath, DpifError> {
        let (mut socket, families) = connect(&*kernel)?;
        let wanted = Some(ifname(name)?);
        let known = if create {
            let user_features = Some(UserFeatures::UNALIGNED | UserFeatures::VPORT_PIDS);
            let new = Described { name: wanted, upcall_pid: Some(0), user_features, ..Described::default() };
            ask(&mut socket, &families, Command::New, &new)
        } else {
            ask(&mut socket, &families, Command::Get, &Described { name: wanted, ..Described::default() })
        };
        let known = known.map_err(|error| match error.errno() {
            Some(errno::EEXIST) => DpifError::DatapathExists(name.into()),
            Some(errno::ENODEV) => DpifError::NoSuchDatapath(name.into()),
            _ => failed("datapath")(error),
        })?;
        let events = kernel.connect(Protocol::Generic).map_err(failed("netlink"))?;
        let group = families.vport.group(Vport::FAMILY);
        let events = group.map(|group| events.join(group).map(|()| events)).transpose().map_err(failed("netlink"))?;
        let mut datapath = Datapath {
            name: name.to_string(),
            dp_ifindex: known.dp_ifindex,
            options,
            families,
            socket: RefCell::new(socket),
            events,
            route: RefCell::new(Route::open(&&*kernel).ok()),
            tracker: Conntrack::open(&&*kernel).ok(),
            handlers: Vec::new(),
            per_cpu: false,
            port_pids: Vec::new(),
            features: Features::NONE,
            tags: 0,
            vlan_limit: VlanLimit::default(),
            made: BTreeMap::new(),
            ledger: Ledger::default(),
            crew: None,
            lost: 0,
            came_alone: false,
            kernel,
        };
        if options.dispatch != Dispatch::Observe {
            datapath.take_upcalls()?;
        }
        datapath.features = probe::features(&mut datapath)?;
        datapath.tags = datapath.features.vlan_headers;
        Ok(datapath)
    }

    /// One more that takes upcalls.
    fn handler(&self) -> Result<Handler, DpifError> {
        Handler::open(&*self.kernel, self.dp_ifindex, self.families.packet.id, self.vlan_limit.clone())
    }

    /// Opens sockets, and tells the datapath of them.
    fn take_upcalls(&mut self) -> Result<(), DpifError> {
        let count = self.options.handlers.unwrap_or_else(cpus).max(1);
        for _ in 0..count {
            let handler = self.handler()?;
            self.handlers.push(handler);
        }
        let pids: Vec<u32> = self.handlers.iter().map(Handler::socket).collect();
        let base = UserFeatures::UNALIGNED | UserFeatures::VPORT_PIDS;
        if self.options.dispatch == Dispatch::Best {
            let user_features = Some(base | UserFeatures::DISPATCH_UPCALL_PER_CPU);
            let change = Described {
                dp_ifindex: self.dp_ifindex,
                user_features,
                per_cpu_pids: Some(pids.clone()),
                ..Described::default()
            };
            let set = ask(self.socket.get_mut(), &self.families, Command::Set, &change);
            self.per_cpu = match set {
                Ok(now) => now.user_features.is_some_and(|f| f.contains(UserFeatures::DISPATCH_UPCALL_PER_CPU)),
                Err(error) if matches!(error.errno(), Some(errno::EOPNOTSUPP | errno::EINVAL)) => false,
                Err(error) => return Err(failed("upcall sockets")(error)),
            };
        }
        if !self.per_cpu {
            let change = Described { dp_ifindex: self.dp_ifindex, user_features: Some(base), ..Described::default() };
            ask(self.socket.get_mut(), &self.families, Command::Set, &change).map_err(failed("upcall sockets"))?;
            self.point_ports(pids)?;
        }
        Ok(())
    }

    /// Has all ports send their upcalls to these sockets.
    fn point_ports(&mut self, mut pids: Vec<u32>) -> Result<(), DpifError> {
        // The kernel refuses more sockets of a port than it has CPUs.
        pids.truncate(cpus());
        self.port_pids = pids;
        self.vports()?.into_iter().try_for_each(|port| self.point_port(port.port_no.unwrap_or(0)))
    }

    /// Has threads execute what is ordered for the upcalls that they take. Where upcalls come by CPU there is a thread for
    /// each socket, whatever is `wanted`. Where they come by port there are as many as wanted; by default as many as there are
    /// CPUs, but for a quarter and one, which are left to others, and one at least. The sockets of those that go are read to
    /// their end.
    fn hire(&mut self, crew: &mut Crew, wanted: Option<usize>) -> Result<(), DpifError> {
        let no_room = |source| DpifError::System { what: "handler threads", source };
        for handler in self.take_handlers() {
            crew.hire(handler).map_err(no_room)?;
        }
        let cpus = cpus();
        let wanted = wanted.unwrap_or(cpus.saturating_sub(cpus / 4 + 1)).clamp(1, cpus);
        if self.per_cpu || crew.len() == wanted {
            return Ok(());
        }
        while crew.len() < wanted {
            crew.hire(self.handler()?).map_err(no_room)?;
        }
        // Ports look away before sockets close. The first, which actions name, stays.
        self.point_ports(crew.sockets().take(wanted).collect())?;
        crew.dismiss(wanted);
        Ok(())
    }

    /// Removes a datapath with all its ports and megaflows. Interfaces of tunnels that [`Dpif::port_add`] made go too.
    ///
    /// # Errors
    /// If it is gone already, or the program may not.
    pub fn remove(mut self) -> Result<(), DpifError> {
        let gone = Described { dp_ifindex: self.dp_ifindex, ..Described::default() };
        ask(self.socket.get_mut(), &self.families, Command::Delete, &gone)
            .map_err(failed("removal of the datapath"))?;
        let made = std::mem::take(&mut self.made);
        made.into_values().for_each(|name| self.remove_interface(&name));
        Ok(())
    }

    /// The name: that of the local port.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The interface index of the local port, by which netlink knows the datapath.
    pub fn ifindex(&self) -> u32 {
        self.dp_ifindex
    }

    /// Whether upcalls come by CPU, and not by port.
    pub fn is_per_cpu(&self) -> bool {
        self.per_cpu
    }

    /// Takes the sockets of upcalls away, one for each thread that is to work on them; [`Dpif::poll`] then finds nothing.
    pub fn take_handlers(&mut self) -> Vec<Handler> {
        std::mem::take(&mut self.handlers)
    }

    pub(super) fn described(&self) -> Result<Described, DpifError> {
        let asked = Described { dp_ifindex: self.dp_ifindex, ..Described::default() };
        ask(&mut self.socket.borrow_mut(), &self.families, Command::Get, &asked).map_err(failed("datapath"))
    }

    /// The socket that `userspace` actions name; the kernel wants one that is not zero, though it may not look at it.
    pub(super) fn action_pid(&self) -> u32 {
        let own = || self.handlers.first().map(Handler::socket);
        let first = self.crew.as_ref().and_then(|crew| crew.sockets().next()).or_else(own);
        first.filter(|_| !self.per_cpu).unwrap_or(u32::MAX)
    }

    /// A moment of the kernel's clock, in milliseconds, in the caller's time.
    pub(super) fn moment(&self, millis: u64) -> Instant {
        Instant::from_millis(millis.saturating_add_signed(self.options.ahead))
    }

    fn meter(&self, command: MeterCommand, meter: &Meter) -> Result<Meter, SocketError> {
        let Some(family) = &self.families.meter else {
            return Err(SocketError::NotOneAnswer(0));
        };
        let mut request = Vec::new();
        meter.encode(&mut request, family.id, command, Flags::REQUEST | Flags::ECHO)?;
        self.socket.borrow_mut().transact_one(&mut request, Meter::decode)
    }

    /// How many meters there can be, and how many bands each.
    pub(super) fn meter_bounds(&self) -> (u32, u8) {
        let asked = Meter { dp_ifindex: self.dp_ifindex, ..Meter::default() };
        match self.meter(MeterCommand::Features, &asked) {
            Ok(known) => {
                let bands = known.max_bands.unwrap_or(0);
                (known.max_meters.unwrap_or(0), u8::try_from(bands).unwrap_or(u8::MAX))
            }
            Err(_) => (0, 0),
        }
    }

    fn one_meter(&self, id: u32, command: MeterCommand) -> Result<meter::Stats, DpifError> {
        let asked = Meter { dp_ifindex: self.dp_ifindex, id: Some(id), ..Meter::default() };
        let none = DpifError::Meter(meter::MeterError::NoSuchMeter(id));
        if self.families.meter.is_none() {
            return Err(none);
        }
        let known = match self.meter(command, &asked) {
            Ok(known) => known,
            Err(error) if error.errno() == Some(errno::ENOENT) => return Err(none),
            Err(error) => return Err(failed("meter")(error)),
        };
        let Some(input) = known.stats else { return Err(none) };
        let count = |stats: FlowStats| meter::Count { packets: stats.packets, bytes: stats.bytes };
        let bands = known.bands.iter().map(|band| count(band.stats.unwrap_or_default())).collect();
        Ok(meter::Stats { input: count(input), bands, ..meter::Stats::default() })
    }
}

/// The error numbers that are told apart.
pub(super) mod errno {
    pub(crate) const ENOENT: i32 = 2;
    pub(crate) const EBUSY: i32 = 16;
    pub(crate) const EEXIST: i32 = 17;
    pub(crate) const ENODEV: i32 = 19;
    pub(crate) const EINVAL: i32 = 22;
    pub(crate) const EOPNOTSUPP: i32 = 95;
}

fn ask(
    socket: &mut Socket,
    families: &Families,
    command: Command,
    datapath: &Described,
) -> Result<Described, SocketError> {
    let mut request = Vec::new();
    datapath.encode(&mut request, families.datapath.id, command, Flags::REQUEST | Flags::ECHO)?;
    socket.transact_one(&mut request, Described::decode)
}

impl Dpif for Datapath {
    fn kind(&self) -> &'static str {
        "system"
    }

    fn port_add(&mut self, spec: PortSpec, wanted: Option<PortNo>) -> Result<PortNo, DpifError> {
        self.add_port(spec, wanted)
    }

    fn port_del(&mut self, port: PortNo) -> Result<(), DpifError> {
        self.delete_port(port)
    }

    fn ports(&self) -> Result<Vec<PortInfo>, DpifError> {
        self.list_ports()
    }

    fn port_changes(&mut self) -> Vec<PortChange> {
        self.changes()
    }

    fn flow_put(&mut self, key: &FlowKey, mask: &FlowMask, actions: &[DpAction]) -> Result<Ufid, DpifError> {
        self.flow_install(&FlowPut::new(key, mask, actions))
    }

    fn flow_install(&mut self, put: &FlowPut<'_>) -> Result<Ufid, DpifError> {
        self.install(put)
    }

    fn operate(&mut self, operations: &[Operation<'_>]) -> Vec<Result<Outcome, DpifError>> {
        self.batch(operations)
    }

    fn flow_del(&mut self, ufid: Ufid) -> Result<DpFlow, DpifError> {
        self.one_flow(ufid, Command::Delete)
    }

    fn flow_get(&self, ufid: Ufid) -> Result<DpFlow, DpifError> {
        self.one_flow(ufid, Command::Get)
    }

    fn flow_stats(&self, f: &mut dyn FnMut(Ufid, DpFlowStats)) -> Result<(), DpifError> {
        self.terse(f)
    }

    fn flow_dump(&self) -> Result<Vec<DpFlow>, DpifError> {
        self.all_flows()
    }

    fn flow_flush(&mut self) -> Result<(), DpifError> {
        self.flush_flows()
    }

    fn meter_set(&mut self, id: u32, config: &meter::Config) -> Result<(), DpifError> {
        let (meters, bands) = (self.features.meters, self.features.meter_bands);
        if id >= meters {
            return Err(meter::MeterError::NoSuchNumber(id).into());
        }
        if config.bands.len() > usize::from(bands) {
            return Err(meter::MeterError::TooManyBands.into());
        }
        if config.bands.iter().any(|band| band.rate == 0) {
            return Err(meter::MeterError::NoRate.into());
        }
        let bands = config.bands.iter().map(|band| Band {
            ty: Band::DROP,
            rate: band.rate,
            burst: band.burst.unwrap_or(band.rate),
            stats: None,
        });
        let meter = Meter {
            dp_ifindex: self.dp_ifindex,
            id: Some(id),
            kbps: config.unit == meter::Unit::Kilobits,
            bands: bands.collect(),
            clear: true,
            ..Meter::default()
        };
        self.meter(MeterCommand::Set, &meter).map(drop).map_err(failed("meter"))
    }

    fn meter_stats(&self, id: u32) -> Result<meter::Stats, DpifError> {
        self.one_meter(id, MeterCommand::Get)
    }

    fn meter_del(&mut self, id: u32) -> Result<meter::Stats, DpifError> {
        self.one_meter(id, MeterCommand::Delete)
    }

    fn features(&self) -> Features {
        self.features
    }

    /// The kernel reads as many as it can, whatever it is told: those beyond the limit are left out of what comes up, and
    /// matched as [tags of any kind](super::put_key).
    fn set_vlan_limit(&mut self, limit: u8) -> Result<(), DpifError> {
        self.features.vlan_headers = if limit == 0 { self.tags } else { limit.min(self.tags) };
        self.vlan_limit.set(limit);
        Ok(())
    }

    fn caches(&self) -> Result<Vec<(&'static str, u32)>, DpifError> {
        let size = self.described()?.masks_cache_size;
        Ok(size.map(|size| (MASKS_CACHE, size)).into_iter().collect())
    }

    fn set_cache(&mut self, cache: &str, size: u32) -> Result<u32, DpifError> {
        if cache != MASKS_CACHE {
            return Err(DpifError::Unsupported("this cache"));
        }
        // What is left out is switched off.
        let known = self.described()?;
        let masks_cache_size = Some(size);
        let (dp_ifindex, user_features) = (self.dp_ifindex, known.user_features);
        let change = Described { dp_ifindex, masks_cache_size, user_features, ..Described::default() };
        let now = ask(self.socket.get_mut(), &self.families, Command::Set, &change).map_err(failed("cache size"))?;
        Ok(now.masks_cache_size.unwrap_or(size))
    }

    fn conntrack(&mut self) -> Option<&mut dyn Connections> {
        if self.tracker.is_some() { Some(self) } else { None }
    }

    fn poll(&mut self, _: Instant, upcalls: &mut Vec<Upcall>) -> usize {
        self.receive(upcalls)
    }

    fn resolve(&mut self, upcall: Upcall, resolution: Resolution<'_>, _: Instant, _: &mut Vec<Upcall>) {
        self.ledger.in_flight -= u64::from(upcall.held);
        match resolution {
            Resolution::Execute(actions) => {
                self.ledger.injected += u64::from(!upcall.held);
                let Upcall { key, packet, origin, .. } = upcall;
                self.order(&packet, &key, actions, origin);
            }
            Resolution::Consumed if upcall.held => self.ledger.consumed += 1,
            Resolution::Drop(reason) if upcall.held => self.ledger.drop_one(reason),
            Resolution::Consumed | Resolution::Drop(_) => {}
        }
    }

    fn inject(&mut self, mut packet: Packet, actions: &[DpAction], _: Instant, _: &mut Vec<Upcall>) {
        self.ledger.injected += 1;
        let mut key = Box::new(FlowKey::ZERO);
        if ovs_packet::extract::extract(&mut packet, &mut key).malformed.is_some() && packet.len() < 14 {
            self.ledger.drop_one(DropReason::InvalidPacket);
            return;
        }
        self.order(&packet, &key, actions, crate::dpif::Origin::default());
    }

    fn stats(&self) -> Result<DpStats, DpifError> {
        let known = self.described()?;
        let (stats, masks) = (known.stats.unwrap_or_default(), known.megaflow_stats.unwrap_or_default());
        Ok(DpStats {
            hits: stats.hit,
            missed: stats.missed,
            lost: stats.lost + self.lost,
            flows: stats.flows,
            masks: masks.masks.into(),
            mask_hits: known.megaflow_stats.map(|_| masks.mask_hit),
            // Kernels that do not count them tell zero.
            cache_hits: Some(masks.cache_hit).filter(|hits| *hits != 0),
            ..DpStats::default()
        })
    }

    fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn set_handlers(&mut self, wanted: Option<usize>) -> Result<usize, DpifError> {
        let mut crew = match self.crew.take() {
            Some(crew) => crew,
            None => Crew::new().map_err(|source| DpifError::System { what: "handler threads", source })?,
        };
        let hired = self.hire(&mut crew, wanted);
        let count = crew.len();
        self.crew = Some(crew);
        hired.map(|()| count)
    }

    fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let upcalls = self.handlers.iter().map(AsFd::as_fd).chain(self.crew.iter().map(AsFd::as_fd));
        upcalls.chain(self.events.iter().map(AsFd::as_fd)).collect()
    }
}
