//! A datapath that refuses an action gets megaflows that have each packet come up, so that no packet is a miss for ever.

use ovs_dpif::userspace::Datapath;
use ovs_dpif::{
    Cookie, DpAction, DpFlow, DpFlowStats, DpStats, Dpif, DpifError, Features, Ledger, PortInfo, PortNo, PortSpec,
    Resolution, SlowPath, Ufid, Upcall, Userspace, meter,
};
use ovs_ofproto::FlowModCommand::ModifyStrict;
use ovs_packet::{FlowKey, FlowMask, Instant, Packet};

use crate::world::{World, packet};

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

impl World<NoTags> {
    /// How long the packets are that come out of port 2 when one comes in by port 1.
    fn lengths(&mut self) -> Vec<usize> {
        let out = self.forward(1, packet("udp,tp_dst=5"));
        out.iter().filter(|(port, _)| *port == 2).map(|(_, packet)| packet.len()).collect()
    }

    fn installed(&self) -> Vec<DpAction> {
        let flows = self.dp.flow_dump().unwrap();
        assert_eq!(flows.len(), 1, "{flows:?}");
        flows.into_iter().flat_map(|f| f.actions).collect()
    }
}

#[test]
fn what_is_refused_comes_up_by_a_megaflow() {
    let mut world = World::over(NoTags(Datapath::new()), 2);
    let slow = [DpAction::Userspace(Userspace::new(Cookie::SlowPath(SlowPath::ACTION)))];
    world.add("priority=5,actions=output:2");
    let plain = world.lengths();
    let tagged = vec![plain[0] + 4];
    assert_eq!(world.installed(), [DpAction::Output(PortNo(2))]);

    // A megaflow that is there comes to be refused.
    world.change(ModifyStrict, "priority=5,actions=push_vlan:0x8100,set_field:4105->vlan_vid,output:2").unwrap();
    assert_eq!(world.installed(), slow);
    assert_eq!((world.lengths(), world.dp.stats().unwrap().missed), (tagged.clone(), 1));

    // So does a new one, for which the first packet misses and no other.
    world.of.purge(&mut world.dp, world.now);
    assert_eq!(world.lengths(), tagged);
    assert_eq!(world.installed(), slow);
    assert_eq!(
        (world.lengths(), world.lengths(), world.dp.stats().unwrap().missed),
        (tagged.clone(), tagged.clone(), 2)
    );

    // Deciding anew comes to the same, and to the datapath's own way where that is not refused any more.
    world.of.synchronise(&mut world.dp, world.now);
    assert_eq!((world.installed(), world.lengths()), (slow.to_vec(), tagged));
    world.change(ModifyStrict, "priority=5,actions=output:2").unwrap();
    assert_eq!((world.installed(), world.lengths()), (vec![DpAction::Output(PortNo(2))], plain));
    assert_eq!(world.dp.stats().unwrap().missed, 2);
}
