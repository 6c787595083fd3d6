//! A switch: a datapath and an OpenFlow switch over it, as one value to embed.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use ovs_dpif::netdev::Netdev;
use ovs_dpif::userspace::{Datapath, Limits};
use ovs_dpif::{DpFlow, DpStats, Dpif, DpifError, Ledger, PortInfo, PortNo, PortSpec, text};
use ovs_ofproto::pipeline::{Event, Flow, FlowModError, MacTable, Ofproto, Port, VlanMode};
use ovs_ofproto::text::{ParseFlowError, Parser};
use ovs_ofproto::{Action, FlowMod, FlowModCommand};
use ovs_packet::{Instant, OfPort, Packet};

/// What a switch does before anybody gives it flows (the `fail_mode` column of the Bridge table).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum FailMode {
    /// It forwards as a learning switch: one flow of priority 0 with the NORMAL action.
    #[default]
    Standalone,
    /// It drops everything.
    Secure,
}

/// How a switch is to be.
///
/// ```
/// use ovs_switch::{FailMode, SwitchConfig};
///
/// let config = SwitchConfig::new("br0").fail_mode(FailMode::Secure).seed(7);
/// assert_eq!(config.name(), "br0");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SwitchConfig {
    name: String,
    fail_mode: FailMode,
    seed: u64,
}

impl SwitchConfig {
    /// A switch of this name, standalone.
    pub fn new(name: impl Into<String>) -> SwitchConfig {
        SwitchConfig { name: name.into(), fail_mode: FailMode::default(), seed: 0 }
    }

    /// What it does before it has flows.
    pub fn fail_mode(mut self, mode: FailMode) -> SwitchConfig {
        self.fail_mode = mode;
        self
    }

    /// Where its hashes start from. Give a secret number where strangers send packets.
    pub fn seed(mut self, seed: u64) -> SwitchConfig {
        self.seed = seed;
        self
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Why a switch refuses something. Displays as one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SwitchError {
    /// The datapath refuses.
    #[error(transparent)]
    Datapath(#[from] DpifError),
    /// The flow tables refuse.
    #[error(transparent)]
    Flow(#[from] FlowModError),
    /// The text is no flow.
    #[error(transparent)]
    Text(#[from] ParseFlowError),
    /// There is no such port.
    #[error("the switch has no port {0}")]
    NoSuchPort(OfPort),
}

/// A switch in one thread, for whoever owns it to drive: call [`run`](Switch::run) when a port has something, or when
/// [`next_deadline`](Switch::next_deadline) has come.
///
/// It reads no clock. [`LiveSwitch`](crate::LiveSwitch) runs one against the real one, [`Lab`](crate::lab::Lab) many
/// on a virtual one.
///
/// ```
/// use ovs_dpif::netdev::MemPort;
/// use ovs_packet::{Instant, Match, compose};
/// use ovs_switch::{Switch, SwitchConfig};
///
/// let mut switch = Switch::new(&SwitchConfig::new("br0"));
/// let (a, host_a) = MemPort::new("a", 10);
/// let (b, host_b) = MemPort::new("b", 10);
/// switch.add_port(Box::new(a), Default::default())?;
/// switch.add_port(Box::new(b), Default::default())?;
///
/// let frame: Match = "udp,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,tp_dst=53".parse().unwrap();
/// host_a.push(compose::compose(frame.key(), b"query"));
/// switch.run(Instant::ZERO);
/// assert!(host_b.pop().is_some());
///
/// switch.add_flow("priority=10,udp,tp_dst=53,actions=drop", Instant::ZERO)?;
/// host_a.push(compose::compose(frame.key(), b"query"));
/// switch.run(Instant::ZERO);
/// assert!(host_b.pop().is_none());
/// assert!(switch.ledger().balanced());
/// # Ok::<(), ovs_switch::SwitchError>(())
/// ```
#[derive(Debug)]
pub struct Switch {
    name: String,
    dp: Box<dyn Dpif>,
    of: Ofproto,
}

impl Switch {
    /// A switch over a userspace datapath of its own.
    pub fn new(config: &SwitchConfig) -> Switch {
        Switch::over(Box::new(Datapath::with_limits(Limits::default(), config.seed)), config)
    }

    /// A switch over another datapath, which must be empty.
    pub fn over(mut dp: Box<dyn Dpif>, config: &SwitchConfig) -> Switch {
        let mut of = Ofproto::new();
        if config.fail_mode == FailMode::Standalone {
            let mut flow = FlowMod::default();
            flow.priority = 0;
            flow.instructions = ovs_ofproto::Instructions::apply(vec![Action::output(OfPort::NORMAL)]);
            // An empty switch has room for one flow.
            let added = of.flow_mod(dp.as_mut(), &flow, Instant::ZERO);
            debug_assert!(added.is_ok());
        }
        Switch { name: config.name.clone(), dp, of }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    // Ports.

    /// Adds a port and says what OpenFlow calls it.
    ///
    /// # Errors
    /// If there is a port of this name already.
    pub fn add_port(&mut self, device: Box<dyn Netdev>, vlan: VlanMode) -> Result<OfPort, SwitchError> {
        let name = device.name().to_string();
        let number = self.dp.port_add(PortSpec::Device(device), None)?;
        let mut port = Port::new(OfPort(number.0), number, name);
        port.vlan = vlan;
        self.of.port_add(port);
        Ok(OfPort(number.0))
    }

    /// Removes a port, with the megaflows that use it and the addresses that were learnt behind it.
    ///
    /// # Errors
    /// If there is none.
    pub fn remove_port(&mut self, port: OfPort, now: Instant) -> Result<(), SwitchError> {
        let port = self.of.port_remove(port).ok_or(SwitchError::NoSuchPort(port))?;
        self.of.run(self.dp.as_mut(), now);
        self.dp.port_del(port.datapath)?;
        Ok(())
    }

    /// The ports with their counters.
    ///
    /// # Errors
    /// If a datapath outside the process cannot be asked.
    pub fn ports(&self) -> Result<Vec<PortInfo>, DpifError> {
        self.dp.ports()
    }

    /// The name of a port.
    pub fn port_name(&self, port: OfPort) -> Option<&str> {
        self.of.port(port).map(|p| p.name.as_str())
    }

    // Flows.

    /// Changes the flow tables. When it returns, every packet obeys.
    ///
    /// # Errors
    /// If the tables refuse.
    pub fn flow_mod(&mut self, fm: &FlowMod, now: Instant) -> Result<(), SwitchError> {
        Ok(self.of.flow_mod(self.dp.as_mut(), fm, now)?)
    }

    /// Adds a flow in words, as `ovs-ofctl add-flow` takes it.
    ///
    /// # Errors
    /// If the words are no flow, or the tables refuse it.
    pub fn add_flow(&mut self, flow: &str, now: Instant) -> Result<(), SwitchError> {
        let fm = self.parse(flow, FlowModCommand::Add)?;
        self.flow_mod(&fm, now)
    }

    /// Deletes the flows that a match in words covers, as `ovs-ofctl del-flows` takes it.
    ///
    /// # Errors
    /// If the words are no match.
    pub fn del_flows(&mut self, flows: &str, now: Instant) -> Result<(), SwitchError> {
        let fm = self.parse(flows, FlowModCommand::Delete)?;
        self.flow_mod(&fm, now)
    }

    /// Words may call ports by their names.
    fn parse(&self, text: &str, command: FlowModCommand) -> Result<FlowMod, ParseFlowError> {
        let ports: BTreeMap<String, OfPort> = self.of.ports().map(|p| (p.name.clone(), p.number)).collect();
        Parser::new(&ports).flow_mod(text, command)
    }

    /// The flows.
    pub fn flows(&self) -> impl Iterator<Item = Flow> {
        self.of.flows()
    }

    // Packets.

    /// Sends a packet of the owner's own making through actions.
    pub fn packet_out(&mut self, packet: Packet, in_port: OfPort, actions: &[Action], now: Instant) {
        self.of.packet_out(self.dp.as_mut(), packet, in_port, actions, now);
    }

    /// What controllers should hear next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.of.poll_event()
    }

    /// Takes what the ports received, forwards it, and does what is due. Returns how many packets it took: while that
    /// is not zero there may be more.
    pub fn run(&mut self, now: Instant) -> usize {
        let mut upcalls = Vec::new();
        let taken = self.dp.poll(now, &mut upcalls);
        for upcall in upcalls {
            self.of.handle_upcall(self.dp.as_mut(), upcall, now);
        }
        self.of.run(self.dp.as_mut(), now);
        taken
    }

    /// When [`run`](Self::run) is due even if nothing is received.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.of.next_deadline()
    }

    /// Descriptors that become readable when ports have received something.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.dp.fds()
    }

    // What there is to see.

    /// The accounts of all packets.
    pub fn ledger(&self) -> &Ledger {
        self.dp.ledger()
    }

    /// Counters of the datapath.
    ///
    /// # Errors
    /// If a datapath outside the process cannot be asked.
    pub fn datapath_stats(&self) -> Result<DpStats, DpifError> {
        self.dp.stats()
    }

    /// The megaflows, the most used first.
    ///
    /// # Errors
    /// If a datapath outside the process cannot be asked.
    pub fn megaflows(&self) -> Result<Vec<DpFlow>, DpifError> {
        let mut flows = self.dp.flow_dump()?;
        flows.sort_by_key(|f| (std::cmp::Reverse(f.stats.packets), f.ufid));
        Ok(flows)
    }

    /// The megaflows as `dpctl/dump-flows` writes them.
    ///
    /// # Errors
    /// As [`megaflows`](Switch::megaflows).
    pub fn dump_megaflows(&self, now: Instant) -> Result<Vec<String>, DpifError> {
        Ok(self.megaflows()?.iter().map(|f| text::flow(f, now).to_string()).collect())
    }

    /// The learnt addresses.
    pub fn macs(&self) -> &MacTable {
        self.of.macs()
    }

    /// What OpenFlow calls a port of the datapath.
    pub fn of_port(&self, port: PortNo) -> Option<OfPort> {
        self.of.ports().find(|p| p.datapath == port).map(|p| p.number)
    }
}
