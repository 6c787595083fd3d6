//! Flows, meters and limits.

use ovs_netlink::attr::{Masked, Nest};
use ovs_netlink::ovs::{
    Action, Band, Command, CtAttr, CtLimitCommand, CtLimits, DecTtlAttr, Flow, Key, KeyIpv4, KeyPorts, MaskedKey,
    Meter, MeterCommand, NatAttr, PsampleAttr, PushMpls, PushVlan, SampleAttr, TunnelKey, UfidFlags, UserspaceAttr,
    ZoneLimit,
};
use ovs_netlink::{Flags, ReplyError, Writer};

use crate::{Kernel, attributes, is_new, udp_key};

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn flows_go_in_and_come_out_as_they_were() {
    let Some(new) = is_new() else { return };
    let mut kernel = Kernel::open();
    let dp_ifindex = kernel.make("dp1", &[0]);
    let port = kernel.internal(dp_ifindex, "fl1");
    let family = kernel.families.flow.id;

    // Every action that the kernel has, in one flow.
    let actions = attributes(|actions| {
        actions.put(Action::Hash(ovs_netlink::ovs::Hash { alg: 0, basis: 7 }))?;
        actions.nest(Action::SET_MASKED, |set| {
            let value = KeyIpv4 { ttl: 9, ..KeyIpv4::default() };
            let mask = KeyIpv4 { ttl: 255, ..KeyIpv4::default() };
            set.put(MaskedKey::Ipv4(Masked { value, mask })).map(drop)
        })?;
        actions.nest(Action::SET, |set| {
            set.nest(Key::TUNNEL, |tunnel| {
                tunnel.put(TunnelKey::Id(5))?.put(TunnelKey::Ipv4Dst([1, 2, 3, 4]))?.put(TunnelKey::Ttl(64))?;
                tunnel.put(TunnelKey::DontFragment).map(drop)
            })
            .map(drop)
        })?;
        actions.nest(Action::SAMPLE, |sample| {
            sample.put(SampleAttr::Probability(u32::MAX / 2))?;
            sample
                .nest(SampleAttr::ACTIONS, |inner| {
                    inner
                        .nest(Action::USERSPACE, |user| {
                            user.put(UserspaceAttr::Pid(4711))?.put(UserspaceAttr::Userdata(b"cookie"))?;
                            user.put(UserspaceAttr::Actions).map(drop)
                        })
                        .map(drop)
                })
                .map(drop)
        })?;
        actions.nest(Action::CLONE, |clone| {
            clone.put(Action::PushVlan(PushVlan { tpid: 0x8100, tci: 0x1005 }))?.put(Action::Trunc(100))?;
            clone.put(Action::Output(port))?.put(Action::PopVlan).map(drop)
        })?;
        actions.nest(Action::CT, |ct| {
            ct.put(CtAttr::Commit)?;
            if new {
                ct.put(CtAttr::Zone(7))?;
                ct.put(CtAttr::Labels(Masked { value: [1; 16], mask: [0xff; 16] }))?;
            }
            ct.put(CtAttr::Mark(Masked { value: 1, mask: 0xff }))?;
            ct.nest(CtAttr::NAT, |nat| {
                nat.put(NatAttr::Src)?.put(NatAttr::IpMin(&[10, 1, 0, 1]))?.put(NatAttr::IpMax(&[10, 1, 0, 9]))?;
                nat.put(NatAttr::ProtoMin(1000))?.put(NatAttr::ProtoMax(2000))?.put(NatAttr::ProtoRandom).map(drop)
            })
            .map(drop)
        })?;
        actions.put(Action::CtClear)?;
        actions.nest(Action::CHECK_PKT_LEN, |check| {
            use ovs_netlink::ovs::CheckPktLenAttr;
            check.put(CheckPktLenAttr::PktLen(1500))?;
            let output = |actions: &mut Writer<'_>| actions.put(Action::Output(port)).map(drop);
            check.nest(CheckPktLenAttr::ACTIONS_IF_GREATER, output)?;
            check.nest(CheckPktLenAttr::ACTIONS_IF_LESS_EQUAL, output).map(drop)
        })?;
        actions.nest(Action::DEC_TTL, |dec| {
            dec.nest(DecTtlAttr::ACTION, |inner| inner.put(Action::Output(port)).map(drop)).map(drop)
        })?;
        if new {
            actions.nest(Action::PSAMPLE, |sample| {
                sample.put(PsampleAttr::Group(3))?.put(PsampleAttr::Cookie(b"12345678")).map(drop)
            })?;
        }
        actions.put(Action::PushMpls(PushMpls { lse: 0x0010_0140, ethertype: 0x8847 }))?;
        actions.put(Action::PopMpls(0x0800))?.put(Action::Recirc(5)).map(drop)
    });
    let key = udp_key(port, 1000);
    let flow = Flow {
        dp_ifindex,
        key: Some(Nest::new(&key)),
        actions: Some(Nest::new(&actions)),
        ufid: Some(&[9; 16]),
        ..Flow::default()
    };
    kernel.put(&flow).unwrap();
    let again = kernel.socket.transact(
        &mut {
            let mut request = Vec::new();
            let flags = Flags::REQUEST | Flags::CREATE | Flags::EXCLUSIVE;
            flow.encode(&mut request, family, Command::New, flags).unwrap();
            request
        },
        |_| Ok(()),
    );
    assert_eq!(again.unwrap_err().errno(), Some(17), "EEXIST");
    if new {
        let drop = attributes(|actions| actions.put(Action::Drop(1)).map(drop));
        kernel
            .put(&Flow {
                actions: Some(Nest::new(&drop)),
                ufid: Some(&[8; 16]),
                key: Some(Nest::new(&udp_key(port, 7))),
                ..flow
            })
            .unwrap();
    }
    // What comes out says the same, attribute by attribute, but for their order and what the kernel adds.
    let mut request = Vec::new();
    Flow { dp_ifindex, ufid: Some(&[9; 16]), ..Flow::default() }
        .encode(&mut request, family, Command::Get, Flags::REQUEST)
        .unwrap();
    kernel
        .socket
        .transact(&mut request, |message| {
            let got = Flow::decode(message)?;
            assert_eq!(got.ufid, Some(&[9; 16][..]));
            let list = |nest: Nest<'_, Action<'_>>| {
                nest.iter().map(|action| format!("{:?}", action.unwrap())).collect::<Vec<_>>()
            };
            let (sent, read) = (list(Nest::new(&actions)), list(got.actions.unwrap()));
            assert_eq!(sent.len(), read.len());
            for (sent, read) in sent.iter().zip(&read) {
                // A tunnel comes out with the parts that have a value in an order of the kernel's.
                assert!(
                    sent == read || ["Set(", "Ct(", "CheckPktLen("].iter().any(|other| sent.starts_with(other)),
                    "{sent}\n{read}"
                );
            }
            for wanted in udp_keys_that_matter(port) {
                assert!(got.key.unwrap().iter().any(|key| key == Ok(wanted)), "{wanted:?} in {:?}", got.key);
            }
            assert!(got.mask.unwrap().iter().any(|key| key == Ok(Key::InPort(u32::MAX))));
            Ok(())
        })
        .unwrap();

    // A thousand flows in batches, terse dump, and away again.
    let mut requests = Vec::new();
    for number in 0..1000_u16 {
        let key = udp_key(port, 2000 + number);
        let output = attributes(|actions| actions.put(Action::Output(port)).map(drop));
        let mut ufid = [0; 16];
        ufid[..2].copy_from_slice(&number.to_be_bytes());
        let flow = Flow { key: Some(Nest::new(&key)), actions: Some(Nest::new(&output)), ufid: Some(&ufid), ..flow };
        flow.encode(&mut requests, family, Command::New, Flags::REQUEST | Flags::CREATE).unwrap();
    }
    // One of them is bad: its key has no Ethernet type.
    let bad = attributes(|key| key.put(Key::InPort(1)).map(drop));
    let one = Flow { key: Some(Nest::new(&bad)), ufid: Some(&[7; 16]), ..flow };
    one.encode(&mut requests, family, Command::New, Flags::REQUEST | Flags::CREATE).unwrap();
    let results = kernel.socket.batch(&mut requests, |_, _| Ok(())).unwrap();
    assert_eq!(results.len(), 1001);
    assert!(results[..1000].iter().all(Result::is_ok));
    assert!(matches!(&results[1000], Err(ReplyError::Refused(ack)) if ack.errno == 22), "{:?}", results[1000]);
    let terse = UfidFlags::OMIT_KEY | UfidFlags::OMIT_MASK | UfidFlags::OMIT_ACTIONS;
    let mut request = Vec::new();
    Flow { dp_ifindex, ufid_flags: Some(terse), ..Flow::default() }
        .encode(&mut request, family, Command::Get, Flags::REQUEST)
        .unwrap();
    let mut ufids = Vec::new();
    kernel
        .socket
        .dump_each(&mut request, |message| {
            let flow = Flow::decode(message)?;
            assert!(flow.key.is_none() && flow.mask.is_none() && flow.actions.is_none());
            ufids.push(flow.ufid.unwrap().to_vec());
            Ok(())
        })
        .unwrap();
    assert_eq!(ufids.len(), 1001 + usize::from(new));
    let mut requests = Vec::new();
    for ufid in &ufids {
        let gone = Flow { dp_ifindex, ufid: Some(ufid), ..Flow::default() };
        gone.encode(&mut requests, family, Command::Delete, Flags::REQUEST | Flags::ECHO).unwrap();
    }
    let mut told = 0;
    let results = kernel.socket.batch(&mut requests, |_, message| {
        told += 1;
        Flow::decode(message).map(drop)
    });
    assert!(results.unwrap().iter().all(Result::is_ok));
    assert_eq!(told, ufids.len());
    kernel.delete("dp1");
}

fn udp_keys_that_matter(port: u32) -> [Key<'static>; 3] {
    [Key::InPort(port), Key::Ethertype(0x0800), Key::Udp(KeyPorts { src: 1000, dst: 9 })]
}

#[test]
#[ignore = "needs a kernel for tests: run by in_a_kernel"]
fn meters_and_limits() {
    let Some(new) = is_new() else { return };
    let mut kernel = Kernel::open();
    let dp_ifindex = kernel.make("dp4", &[0]);
    let family = kernel.families.meter.clone().unwrap().id;
    let mut meter = |command, meter: Meter| {
        let mut request = Vec::new();
        let flags = Flags::REQUEST | Flags::ECHO;
        Meter { dp_ifindex, ..meter }.encode(&mut request, family, command, flags).unwrap();
        kernel.socket.transact_one(&mut request, Meter::decode)
    };
    let features = meter(MeterCommand::Features, Meter::default()).unwrap();
    assert!(features.max_meters.is_some_and(|max| max > 0) && features.max_bands.is_some_and(|max| max >= 1));
    assert_eq!(features.bands[0].ty, Band::DROP);
    let band = Band { ty: Band::DROP, rate: 1000, burst: 100, stats: None };
    let wanted = Meter { id: Some(7), kbps: true, bands: vec![band], ..Meter::default() };
    meter(MeterCommand::Set, wanted.clone()).unwrap();
    let one = Meter { id: Some(7), ..Meter::default() };
    let got = meter(MeterCommand::Get, one.clone()).unwrap();
    assert_eq!((got.id, got.stats.map(|stats| stats.packets), got.bands.len()), (Some(7), Some(0), 1));
    meter(MeterCommand::Delete, one.clone()).unwrap();
    // A meter that is not there is answered with nothing, or with its number alone.
    assert!(meter(MeterCommand::Get, one).is_err_and(|error| error.errno() == Some(2)));
    let none = Meter { bands: Vec::new(), ..wanted };
    println!("a meter without bands: {:?}", meter(MeterCommand::Set, none));

    if new {
        let family = kernel.families.ct_limit.clone().unwrap().id;
        let mut limits = |command, zones: Vec<ZoneLimit>| {
            let mut request = Vec::new();
            CtLimits { dp_ifindex, zones }.encode(&mut request, family, command, Flags::REQUEST).unwrap();
            let mut answer = CtLimits::default();
            let result = kernel.socket.transact(&mut request, |message| {
                answer = CtLimits::decode(message)?;
                Ok(())
            });
            result.map(|()| answer.zones)
        };
        let limit = |zone, limit| ZoneLimit { zone, limit, count: 0 };
        limits(CtLimitCommand::Set, vec![limit(ZoneLimit::DEFAULT, 50), limit(7, 5)]).unwrap();
        let mut got = limits(CtLimitCommand::Get, vec![]).unwrap();
        got.sort_by_key(|limit| limit.zone);
        assert_eq!(got, [limit(ZoneLimit::DEFAULT, 50), limit(7, 5)]);
        assert_eq!(limits(CtLimitCommand::Get, vec![limit(9, 0)]).unwrap(), [limit(9, 50)]);
        limits(CtLimitCommand::Delete, vec![limit(7, 0)]).unwrap();
        assert_eq!(limits(CtLimitCommand::Get, vec![limit(7, 0)]).unwrap(), [limit(7, 50)]);
        limits(CtLimitCommand::Set, vec![limit(ZoneLimit::DEFAULT, 0)]).unwrap();
    }
    kernel.delete("dp4");
}
