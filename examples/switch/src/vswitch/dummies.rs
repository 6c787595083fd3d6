//! Dummy devices by name: what tests of whole switches have for ports, and the commands that put packets into them.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ovs_dpif::netdev::{
    Capture, DummyControl, DummyPort, Emulation, Netdev, Offloads, QueueCounts, Steering, Told as Say,
};
use ovs_packet::EthAddr;
use ovs_packet::pcap::Writer;
use ovs_packet::segment::Takes;

use super::devices::{Attributes, Devices};
use crate::config::{InterfaceConfig, Settings};

/// The kinds of dummy devices.
const KINDS: [&str; 3] = ["dummy", "dummy-internal", "dummy-pmd"];

/// The most receive queues of a dummy device.
const MAX_QUEUES: usize = 8;

/// Options that a dummy device knows.
const OPTIONS: [&str; 24] = [
    "ifindex",
    "n_rxq",
    "n_txq",
    "numa_id",
    "ol_ip_rx_csum_set_bad",
    "ol_ip_rx_csum_set_good",
    "ol_ip_rx_csum_set_partial",
    "ol_ip_tx_csum",
    "ol_ip_tx_csum_disabled",
    "ol_l4_rx_csum_set_bad",
    "ol_l4_rx_csum_set_good",
    "ol_l4_rx_csum_set_partial",
    "ol_l4_tx_csum",
    "ol_l4_tx_csum_disabled",
    "ol_out_ip_tx_csum",
    "ol_out_ip_tx_csum_disabled",
    "ol_out_udp_tx_csum",
    "ol_out_udp_tx_csum_disabled",
    "ol_tso_segsz",
    "pcap",
    "pstream",
    "rxq_pcap",
    "stream",
    "tx_pcap",
];

/// A key of the status, and whether it is true of a device.
type Told = (&'static str, fn(&Offloads) -> bool);

/// What a device may take over when it sends, as its status tells. What goes into a tunnel is cut before, always.
const OFFLOADS: [Told; 10] = [
    ("tx_ip_csum_offload", |o| o.ip_checksum),
    ("tx_tcp_csum_offload", |o| o.checksum),
    ("tx_udp_csum_offload", |o| o.checksum),
    ("tx_sctp_csum_offload", |_| false),
    ("tx_tcp_seg_offload", |o| o.segmentation),
    ("tx_vxlan_tso_offload", |_| false),
    ("tx_gre_tso_offload", |_| false),
    ("tx_geneve_tso_offload", |_| false),
    ("tx_out_ip_csum_offload", |o| o.outer_ip_checksum),
    ("tx_out_udp_csum_offload", |o| o.outer_udp_checksum),
];

/// What the options say that a device is to play.
fn emulation(options: &Settings) -> Emulation {
    let is_set = |key: String| options.get(&key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let told = |layer: &str| {
        let words = [("good", Say::Good), ("bad", Say::Bad), ("partial", Say::Undone)];
        let said = words.into_iter().find(|(word, _)| is_set(format!("ol_{layer}_rx_csum_set_{word}")));
        said.map_or(Say::Nothing, |(_, say)| say)
    };
    let takes = |rest: &str| {
        let of = |layer: &str| is_set(format!("ol_{layer}_tx_csum")) && is_set(format!("ol_{layer}_tx_csum{rest}"));
        Takes { ip: of("ip"), transport: of("l4"), outer_ip: of("out_ip"), outer_transport: of("out_udp") }
    };
    let mut emulation = Emulation::default();
    (emulation.rx_ip, emulation.rx_transport) = (told("ip"), told("l4"));
    (emulation.takes, emulation.neglects) = (takes(""), takes("_disabled"));
    let size = options.get("ol_tso_segsz").and_then(|n| n.parse().ok());
    emulation.segment_size = size.filter(|size| *size > 0);
    emulation
}

/// Addresses are numbered from here: `aa:55:aa:55:00:00`.
const FIRST_ADDRESS: u32 = 0xaa55_0000;

#[derive(Debug)]
struct Dummy {
    control: DummyControl,
    kind: &'static str,
    options: Settings,
    steering: Option<String>,
    carrier_resets: u64,
    /// Datapaths that have a port of it.
    users: usize,
}

#[derive(Debug, Default)]
struct Registry {
    devices: BTreeMap<String, Dummy>,
    opened: u32,
}

/// The dummy devices of a switch. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Dummies(Arc<Mutex<Registry>>);

impl Dummies {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        // A panic while the lock was held leaves the registry as it is: every change to it is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handle on a device.
    pub fn get(&self, name: &str) -> Option<DummyControl> {
        self.registry().devices.get(name).map(|d| d.control.clone())
    }

    /// Whether there is no device.
    pub fn is_empty(&self) -> bool {
        self.registry().devices.is_empty()
    }

    /// The names and options of all devices.
    pub fn all(&self) -> Vec<(String, Settings)> {
        self.registry().devices.iter().map(|(name, d)| (name.clone(), d.options.clone())).collect()
    }

    /// Opens a dummy device that calls its kind by another name: one that stands for a device of that kind. A device that
    /// is open is shared.
    ///
    /// # Errors
    /// What of its options cannot be, in a line.
    pub fn open_as(&self, kind: &'static str, interface: &InterfaceConfig) -> Result<Box<dyn Netdev>, String> {
        let captures = check(kind, interface)?;
        let mut registry = self.registry();
        if let Some(there) = registry.devices.get_mut(&interface.name) {
            if there.kind != kind || there.options != interface.options {
                return Err(format!("{}: in use as another device, of type {}", interface.name, there.kind));
            }
            there.users += 1;
            return Ok(Box::new(there.control.port(&interface.name, kind)));
        }
        let number = FIRST_ADDRESS.wrapping_add(registry.opened);
        registry.opened += 1;
        let [a, b, c, d] = number.to_be_bytes();
        let (port, control) = DummyPort::new(&interface.name, kind, EthAddr([0xaa, 0x55, a, b, c, d]));
        apply(&control, kind, interface, captures);
        let (options, steering) = (interface.options.clone(), interface.other_config.get("tx-steering").cloned());
        let dummy = Dummy { control, kind, options, steering, carrier_resets: 0, users: 1 };
        registry.devices.insert(interface.name.clone(), dummy);
        Ok(Box::new(port))
    }
}

type Captures = (Option<Capture>, Option<Capture>);

/// What a device's options ask for that can fail.
fn check(kind: &str, interface: &InterfaceConfig) -> Result<Captures, String> {
    let (name, options) = (&interface.name, &interface.options);
    if let Some(odd) = options.keys().find(|k| !OPTIONS.contains(&k.as_str())) {
        return Err(format!("{name}: option {odd} of a {kind} device is not available"));
    }
    if options.contains_key("stream") && options.contains_key("pstream") {
        return Err(format!("{name}: only one of the options stream and pstream can be"));
    }
    for key in ["ifindex", "n_rxq", "n_txq", "numa_id", "ol_tso_segsz"] {
        if let Some(value) = options.get(key)
            && value.parse::<u32>().is_err()
        {
            return Err(format!("{name}: option {key}: {value} is no number"));
        }
    }
    let open = |key: &str| match options.get(key) {
        Some(path) => capture(path).map(Some).map_err(|e| format!("{name}: cannot write {path} ({e})")),
        None => Ok(None),
    };
    match open("pcap")? {
        Some(both) => Ok((Some(both.clone()), Some(both))),
        None => Ok((open("rxq_pcap")?, open("tx_pcap")?)),
    }
}

/// Gives a device what was checked.
fn apply(control: &DummyControl, kind: &str, interface: &InterfaceConfig, (received, sent): Captures) {
    control.set_captures(received, sent);
    if kind == "dummy-pmd" {
        let queues = interface.options.get("n_rxq").and_then(|n| n.parse().ok()).unwrap_or(1);
        control.set_queues(queues.clamp(1, MAX_QUEUES));
        let number = |key: &str, usual| interface.options.get(key).and_then(|n| n.parse().ok()).unwrap_or(usual);
        control.set_tx_queues(usize::try_from(number("n_txq", 1)).unwrap_or(1).clamp(1, MAX_QUEUES));
        control.set_numa_node(number("numa_id", 0));
    }
    control.set_emulation(emulation(&interface.options));
    let is_hash = interface.other_config.get("tx-steering").is_some_and(|mode| mode == "hash");
    control.set_steering(if is_hash { Steering::Hash } else { Steering::Thread });
    if let Some(mtu) = interface.mtu_request {
        control.set_mtu(mtu.into());
    }
}

/// Counters beside those that every device has.
fn statistics(control: &DummyControl) -> BTreeMap<String, u64> {
    let (rx, tx) = control.queue_counts();
    let of = |way: &str, counts: Vec<QueueCounts>| {
        let named = |(queue, QueueCounts { packets, bytes }): (usize, QueueCounts)| {
            [(format!("{way}_q{queue}_packets"), packets), (format!("{way}_q{queue}_bytes"), bytes)]
        };
        counts.into_iter().enumerate().flat_map(named).collect::<Vec<_>>()
    };
    of("rx", rx).into_iter().chain(of("tx", tx)).collect()
}

/// A capture file that frames are added to.
fn capture(path: &str) -> io::Result<Capture> {
    /// A file that has its header leaves out the next one.
    struct Append<W> {
        skip: usize,
        file: W,
    }
    impl<W: Write> Write for Append<W> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            self.file.write_all(bytes.get(skipped..).unwrap_or_default())?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            self.file.flush()
        }
    }
    /// Bytes of a file's header.
    const HEADER: usize = 24;
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    let skip = if file.metadata()?.len() > 0 { HEADER } else { 0 };
    let writer = Writer::new(Box::new(Append { skip, file }) as Box<dyn Write + Send>);
    Ok(Arc::new(Mutex::new(writer.map_err(|e| io::Error::other(e.to_string()))?)))
}

impl Devices for Dummies {
    fn kinds(&self) -> Vec<&'static str> {
        KINDS.to_vec()
    }

    fn open(&mut self, kind: &str, interface: &InterfaceConfig) -> Result<Box<dyn Netdev>, String> {
        let kind = KINDS.into_iter().find(|k| *k == kind);
        let kind = kind.ok_or_else(|| format!("{}: unknown type {}", interface.name, interface.kind))?;
        self.open_as(kind, interface)
    }

    fn configure(&mut self, _kind: &str, interface: &InterfaceConfig) -> Result<(), String> {
        let mut registry = self.registry();
        let Some(dummy) = registry.devices.get_mut(&interface.name) else { return Ok(()) };
        if dummy.options != interface.options || dummy.steering.as_ref() != interface.other_config.get("tx-steering") {
            let captures = check(dummy.kind, interface)?;
            apply(&dummy.control, dummy.kind, interface, captures);
            dummy.options = interface.options.clone();
            dummy.steering = interface.other_config.get("tx-steering").cloned();
        } else if let Some(mtu) = interface.mtu_request {
            dummy.control.set_mtu(mtu.into());
        }
        Ok(())
    }

    fn set_address(&mut self, name: &str, address: EthAddr) -> Result<(), String> {
        if let Some(control) = self.get(name) {
            control.set_address(address);
        }
        Ok(())
    }

    fn set_up(&mut self, name: &str, up: bool) -> Result<(), String> {
        if let Some(dummy) = self.registry().devices.get_mut(name)
            && dummy.control.is_up() != up
        {
            dummy.control.set_up(up);
            dummy.carrier_resets += 1;
        }
        Ok(())
    }

    fn attributes(&self, name: &str) -> Option<Attributes> {
        let registry = self.registry();
        let dummy = registry.devices.get(name)?;
        let control = &dummy.control;
        let offloads = control.offloads();
        Some(Attributes {
            address: Some(control.address()),
            mtu: Some(control.mtu()),
            up: control.is_up(),
            carrier: control.is_up(),
            carrier_resets: dummy.carrier_resets,
            index: dummy.options.get("ifindex").and_then(|n| n.parse().ok()),
            statistics: statistics(control),
            status: OFFLOADS.iter().map(|(key, does)| (key.to_string(), does(&offloads).to_string())).collect(),
            ..Attributes::default()
        })
    }

    fn fit_mtu(&mut self, name: &str, mtu: usize) -> Result<(), String> {
        if let Some(control) = self.get(name) {
            control.set_mtu(mtu);
        }
        Ok(())
    }

    fn closed(&mut self, name: &str) {
        let mut registry = self.registry();
        if let Some(dummy) = registry.devices.get_mut(name) {
            dummy.users -= 1;
            if dummy.users == 0 {
                registry.devices.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(options: &[(&str, &str)]) -> InterfaceConfig {
        let mut interface = InterfaceConfig::new("p1");
        interface.options = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        interface
    }

    #[test]
    fn options_are_known_or_refused() {
        let mut dummies = Dummies::default();
        for (options, says) in [
            (&[("colour", "red")][..], "p1: option colour of a dummy device is not available"),
            (&[("stream", "a"), ("pstream", "b")], "p1: only one of the options stream and pstream can be"),
            (&[("n_rxq", "x")], "p1: option n_rxq: x is no number"),
        ] {
            assert_eq!(dummies.open("dummy", &interface(options)).unwrap_err(), says);
        }
        assert!(dummies.open("dummy", &interface(&[("pcap", "/nonexistent/x")])).unwrap_err().contains("cannot write"));
        assert_eq!(dummies.open("tape", &interface(&[])).unwrap_err(), "p1: unknown type ");
        let _port = dummies.open("dummy-pmd", &interface(&[("n_rxq", "3"), ("ifindex", "9")])).unwrap();
        assert_eq!(dummies.get("p1").unwrap().queues(), 3);
        assert_eq!(dummies.attributes("p1").unwrap().index, Some(9));
        assert_eq!(dummies.attributes("p1").unwrap().address, Some("aa:55:aa:55:00:00".parse().unwrap()));
        dummies.closed("p1");
        assert!(dummies.get("p1").is_none());
    }

    #[test]
    fn a_device_that_is_open_is_shared_until_nobody_has_it() {
        let mut dummies = Dummies::default();
        let first = dummies.open("dummy", &interface(&[])).unwrap();
        let second = dummies.open("dummy", &interface(&[])).unwrap();
        assert_eq!(first.address(), second.address());
        assert_eq!(
            dummies.open("dummy-pmd", &interface(&[])).unwrap_err(),
            "p1: in use as another device, of type dummy"
        );
        dummies.closed("p1");
        assert!(dummies.get("p1").is_some());
        dummies.closed("p1");
        assert!(dummies.get("p1").is_none());
    }

    #[test]
    fn captures_are_continued() {
        let path = std::env::temp_dir().join(format!("ovs-switch-{}.pcap", std::process::id()));
        let path = path.to_str().unwrap();
        for byte in 1..=2 {
            let file = capture(path).unwrap();
            file.lock().unwrap().write(Default::default(), &[byte; 60]).unwrap();
        }
        let bytes = std::fs::read(path).unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(ovs_packet::pcap::Reader::new(&bytes[..]).unwrap().count(), 2);
    }
}
