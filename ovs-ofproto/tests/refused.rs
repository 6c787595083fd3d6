//! A datapath that refuses an action gets megaflows that have each packet come up, so that no packet is a miss for ever.
#![cfg(feature = "pipeline")]

use ovs_dpif::netdev::{MemPort, MemPortPeer};
use ovs_dpif::userspace::Datapath;
use ovs_dpif::{
    Cookie, DpAction, DpFlow, DpFlowStats, DpStats, Dpif, DpifError, Features, Ledger, PortInfo, PortNo, PortSpec,
    Resolution, SlowPath, Ufid, Upcall, Userspace, meter,
};
use ovs_ofproto::FlowModCommand::{self, Add, ModifyStrict};
use ovs_ofproto::pipeline::{Ofproto, Port};
use ovs_ofproto::text::Parser;
use ovs_packet::{FlowKey, FlowMask, Instant, Match, OfPort, Packet, compose};

/// A datapath whose megaflows push no tags; packets that come up it gives them.
#[derive(Debug)]
struct NoTags(Datapath);

type Done<T> = Result<T, DpifError>;

impl Dpif for NoTags {
    fn kind(&self) -> &'static str {
        "no-tags"
    }
    fn port_add(&mut self, spec: PortSpec, wanted: Option<PortNo>) -> Done<PortNo> {
        self.0.port_add(spec, wanted)
    }
    fn port_del(&mut self, port: PortNo) -> Done<()> {
        self.0.port_del(port)
    }
    fn ports(&self) -> Done<Vec<PortInfo>> {
        self.0.ports()
    }
    fn flow_put(&mut self, key: &FlowKey, mask: &FlowMask, actions: &[DpAction]) -> Done<Ufid> {
        match actions.iter().any(|a| matches!(a, DpAction::PushVlan { .. })) {
            true => Err(DpifError::Unsupported("push_vlan")),
            false => self.0.flow_put(key, mask, actions),
        }
    }
    fn flow_del(&mut self, ufid: Ufid) -> Done<DpFlow> {
        self.0.flow_del(ufid)
    }
    fn flow_get(&self, ufid: Ufid) -> Done<DpFlow> {
        self.0.flow_get(ufid)
    }
    fn flow_stats(&self, f: &mut dyn FnMut(Ufid, DpFlowStats)) -> Done<()> {
        self.0.flow_stats(f)
    }
    fn flow_dump(&self) -> Done<Vec<DpFlow>> {
        self.0.flow_dump()
    }
    fn flow_flush(&mut self) -> Done<()> {
        self.0.flow_flush()
    }
    fn meter_set(&mut self, id: u32, config: &meter::Config) -> Done<()> {
        self.0.meter_set(id, config)
    }
    fn meter_stats(&self, id: u32) -> Done<meter::Stats> {
        self.0.meter_stats(id)
    }
    fn meter_del(&mut self, id: u32) -> Done<meter::Stats> {
        self.0.meter_del(id)
    }
    fn features(&self) -> Features {
        let mut features = self.0.features();
        features.versions = false;
        features
    }
    fn poll(&mut self, now: Instant, upcalls: &mut Vec<Upcall>) -> usize {
        self.0.poll(now, upcalls)
    }
    fn resolve(&mut self, upcall: Upcall, resolution: Resolution<'_>, now: Instant, upcalls: &mut Vec<Upcall>) {
        self.0.resolve(upcall, resolution, now, upcalls);
    }
    fn inject(&mut self, packet: Packet, actions: &[DpAction], now: Instant, upcalls: &mut Vec<Upcall>) {
        self.0.inject(packet, actions, now, upcalls);
    }
    fn stats(&self) -> Done<DpStats> {
        self.0.stats()
    }
    fn ledger(&self) -> &Ledger {
        self.0.ledger()
    }
}

const NOW: Instant = Instant::from_secs(100);

struct Lab {
    of: Ofproto,
    dp: NoTags,
    ends: Vec<MemPortPeer>,
}

impl Lab {
    fn new() -> Lab {
        let (mut of, mut dp) = (Ofproto::new(), NoTags(Datapath::new()));
        let plug = |n| {
            let (port, end) = MemPort::new(format!("p{n}"), 16);
            let number = dp.port_add(PortSpec::Device(Box::new(port)), None).unwrap();
            of.port_add(Port::new(OfPort(n), number, format!("p{n}")));
            end
        };
        let ends = (1..=2).map(plug).collect();
        Lab { of, dp, ends }
    }

    fn change(&mut self, command: FlowModCommand, flow: &str) {
        let flow = Parser::default().flow_mod(flow, command).unwrap();
        self.of.flow_mod(&mut self.dp, &flow, NOW).unwrap();
    }

    /// How long the packets are that come out of port 2 when one comes in by port 1.
    fn send(&mut self) -> Vec<usize> {
        self.ends[0].push(compose::compose(&"udp,tp_dst=5".parse::<Match>().unwrap().key(), b"payload"));
        let mut upcalls = Vec::new();
        while self.dp.poll(NOW, &mut upcalls) > 0 {}
        upcalls.into_iter().for_each(|u| self.of.handle_upcall(&mut self.dp, u, NOW));
        assert!(self.dp.ledger().balanced(), "{}", self.dp.ledger());
        std::iter::from_fn(|| self.ends[1].pop()).map(|p| p.len()).collect()
    }

    fn installed(&self) -> Vec<DpAction> {
        let flows = self.dp.flow_dump().unwrap();
        assert_eq!(flows.len(), 1, "{flows:?}");
        flows.into_iter().flat_map(|f| f.actions).collect()
    }
}

#[test]
fn what_is_refused_comes_up_by_a_megaflow() {
    let mut lab = Lab::new();
    let slow = [DpAction::Userspace(Userspace::new(Cookie::SlowPath(SlowPath::ACTION)))];
    lab.change(Add, "priority=5,actions=output:2");
    let plain = lab.send();
    let tagged = vec![plain[0] + 4];
    assert_eq!(lab.installed(), [DpAction::Output(PortNo(2))]);

    // A megaflow that is there comes to be refused.
    lab.change(ModifyStrict, "priority=5,actions=push_vlan:0x8100,set_field:4105->vlan_vid,output:2");
    assert_eq!(lab.installed(), slow);
    assert_eq!((lab.send(), lab.dp.stats().unwrap().missed), (tagged.clone(), 1));

    // So does a new one, for which the first packet misses and no other.
    lab.of.purge(&mut lab.dp, NOW);
    assert_eq!(lab.send(), tagged);
    assert_eq!(lab.installed(), slow);
    assert_eq!((lab.send(), lab.send(), lab.dp.stats().unwrap().missed), (tagged.clone(), tagged.clone(), 2));

    // Deciding anew comes to the same, and to the datapath's own way where that is not refused any more.
    lab.of.synchronise(&mut lab.dp, NOW);
    assert_eq!((lab.installed(), lab.send()), (slow.to_vec(), tagged));
    lab.change(ModifyStrict, "priority=5,actions=output:2");
    assert_eq!((lab.installed(), lab.send()), (vec![DpAction::Output(PortNo(2))], plain));
    assert_eq!(lab.dp.stats().unwrap().missed, 2);
}
