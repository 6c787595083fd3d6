//! What is done with packets: the set `ovs_action_attr` and the sets inside its attributes.
//!
//! Actions nest. A reader walks as deep as it wants to and no deeper than [`MAX_NESTING`](crate::attr::MAX_NESTING); a
//! writer gives [`Writer::nest`](crate::Writer::nest) the function that writes what is inside.

use super::key::{Key, KeyEthernet, MaskedKey};
use super::nsh::NshKey;
use crate::attr::structure::{Be16 as FieldBe16, Be32 as FieldBe32, U16 as FieldU16, U32 as FieldU32, structures};
use crate::attr::typed::{Array, Be16, Bytes, Masked, Nest, Nested, Struct, Text, Twice, U16, U32, attributes};

/// A list of actions.
pub type Actions<'a> = Nest<'a, Action<'a>>;

attributes! {
    /// An action.
    ///
    /// ```
    /// use ovs_netlink::{Writer, ovs::{Action, Actions, CtAttr, Key, SampleAttr}};
    ///
    /// let mut buffer = Vec::new();
    /// let mut actions = Writer::new(&mut buffer);
    /// actions.nest(Action::CT, |ct| ct.put(CtAttr::Commit)?.put(CtAttr::Zone(7)).map(drop))?;
    /// actions.nest(Action::SAMPLE, |sample| {
    ///     sample.put(SampleAttr::Probability(u32::MAX / 2))?;
    ///     sample.nest(SampleAttr::ACTIONS, |inner| inner.put(Action::Output(2)).map(drop)).map(drop)
    /// })?;
    /// actions.nest(Action::SET, |set| set.put(Key::SkbMark(5)).map(drop))?.put(Action::Output(1))?;
    ///
    /// let actions: Vec<_> = Actions::new(&buffer).iter().collect::<Result<_, _>>()?;
    /// let Action::Ct(ct) = actions[0] else { unreachable!() };
    /// assert_eq!(ct.iter().last(), Some(Ok(CtAttr::Zone(7))));
    /// assert_eq!(actions[3], Action::Output(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub enum Action = "ovs_action_attr", "OVS_ACTION_ATTR_" {
        /// Send through a port.
        OUTPUT = 1 => Output(u32 as U32),
        /// Send to a program.
        USERSPACE = 2 => Userspace(Nest<'a, UserspaceAttr<'a>> as Nested<UserspaceAttr<'static>>),
        /// Write one header: one attribute of a key.
        SET = 3 => Set(Nest<'a, Key<'a>> as Nested<Key<'static>>),
        /// Add an outermost VLAN header.
        PUSH_VLAN = 4 => PushVlan(PushVlan as Struct<PushVlan>),
        /// Take the outermost VLAN header off.
        POP_VLAN = 5 => PopVlan,
        /// Do something with some of the packets.
        SAMPLE = 6 => Sample(Nest<'a, SampleAttr<'a>> as Nested<SampleAttr<'static>>),
        /// Look the packet up again, with this identifier.
        RECIRC = 7 => Recirc(u32 as U32),
        /// Compute a hash.
        HASH = 8 => Hash(Hash as Struct<Hash>),
        /// Add an MPLS label stack entry.
        PUSH_MPLS = 9 => PushMpls(PushMpls as Struct<PushMpls>),
        /// Take the outermost MPLS label stack entry off; the packet then has this Ethernet type.
        POP_MPLS = 10 => PopMpls(u16 as Be16),
        /// Write bits of one header: one attribute.
        SET_MASKED = 11 => SetMasked(Nest<'a, MaskedKey<'a>> as Nested<MaskedKey<'static>>),
        /// Send through the connection tracker.
        CT = 12 => Ct(Nest<'a, CtAttr<'a>> as Nested<CtAttr<'static>>),
        /// Cut off what is behind so many bytes, at the next output.
        TRUNC = 13 => Trunc(u32 as U32),
        /// Add an Ethernet header.
        PUSH_ETH = 14 => PushEth(KeyEthernet as Struct<KeyEthernet>),
        /// Take the Ethernet header off.
        POP_ETH = 15 => PopEth,
        /// Forget what the connection tracker said.
        CT_CLEAR = 16 => CtClear,
        /// Add a network service header.
        PUSH_NSH = 17 => PushNsh(Nest<'a, NshKey<'a>> as Nested<NshKey<'static>>),
        /// Take the network service header off.
        POP_NSH = 18 => PopNsh,
        /// Send through a meter, which may drop the packet.
        METER = 19 => Meter(u32 as U32),
        /// Do something with a copy.
        CLONE = 20 => Clone(Actions<'a> as Nested<Action<'static>>),
        /// Do one of two things, by the length of the packet.
        CHECK_PKT_LEN = 21 => CheckPktLen(Nest<'a, CheckPktLenAttr<'a>> as Nested<CheckPktLenAttr<'static>>),
        /// Add an MPLS label stack entry at the place that the flags say.
        ADD_MPLS = 22 => AddMpls(AddMpls as Struct<AddMpls>),
        /// Take one from the time to live, and do something when that was the last.
        DEC_TTL = 23 => DecTtl(Nest<'a, DecTtlAttr<'a>> as Nested<DecTtlAttr<'static>>),
        /// Drop the packet: 0 as asked, other numbers for an error of the program's.
        DROP = 24 => Drop(u32 as U32),
        /// Show the packet to those who listen to the family `psample`.
        PSAMPLE = 25 => Psample(Nest<'a, PsampleAttr<'a>> as Nested<PsampleAttr<'static>>),
    }
}

attributes! {
    /// What [`Action::Userspace`] says.
    pub enum UserspaceAttr = "ovs_userspace_attr", "OVS_USERSPACE_ATTR_" {
        /// The socket. Not 0, also when the datapath chooses by CPU and does not look at it.
        PID = 1 => Pid(u32 as U32),
        /// Bytes that the program gets back.
        USERDATA = 2 => Userdata(&'a [u8] as Bytes),
        /// A port: the program gets the tunnel header that the packet would get there.
        EGRESS_TUN_PORT = 3 => EgressTunPort(u32 as U32),
        /// The program gets the actions of the flow.
        ACTIONS = 4 => Actions,
    }
}

attributes! {
    /// What [`Action::Sample`] says.
    pub enum SampleAttr = "ovs_sample_attr", "OVS_SAMPLE_ATTR_" {
        /// How many packets of 2^32 - 1.
        PROBABILITY = 1 => Probability(u32 as U32),
        /// What is done with them.
        ACTIONS = 2 => Actions(Actions<'a> as Nested<Action<'static>>),
    }
}

attributes! {
    /// What [`Action::Ct`] says.
    pub enum CtAttr = "ovs_ct_attr", "OVS_CT_ATTR_" {
        /// Keep the connection.
        COMMIT = 1 => Commit,
        /// The zone.
        ZONE = 2 => Zone(u16 as U16),
        /// The mark that the connection gets.
        MARK = 3 => Mark(Masked<u32> as Twice<U32>),
        /// The labels that the connection gets.
        LABELS = 4 => Labels(Masked<[u8; 16]> as Twice<Array<16>>),
        /// The name of the helper that reads the connection, as `ftp`.
        HELPER = 5 => Helper(&'a [u8] as Text),
        /// Translate addresses.
        NAT = 6 => Nat(Nest<'a, NatAttr<'a>> as Nested<NatAttr<'static>>),
        /// Keep the connection, as one that begins in this direction.
        FORCE_COMMIT = 7 => ForceCommit,
        /// Which events of the connection are told (bits `IPCT_*`).
        EVENTMASK = 8 => Eventmask(u32 as U32),
        /// The name of the policy that says when the connection is forgotten.
        TIMEOUT = 9 => Timeout(&'a [u8] as Text),
    }
}

attributes! {
    /// What [`CtAttr::Nat`] says. Without addresses: translate as the connection is translated already.
    pub enum NatAttr = "ovs_nat_attr", "OVS_NAT_ATTR_" {
        /// The source is translated.
        SRC = 1 => Src,
        /// The destination is translated.
        DST = 2 => Dst,
        /// The first address: 4 or 16 bytes.
        IP_MIN = 3 => IpMin(&'a [u8] as Bytes<4, 16>),
        /// The last address.
        IP_MAX = 4 => IpMax(&'a [u8] as Bytes<4, 16>),
        /// The first port.
        PROTO_MIN = 5 => ProtoMin(u16 as U16),
        /// The last port.
        PROTO_MAX = 6 => ProtoMax(u16 as U16),
        /// The same address for the same client, also after a restart.
        PERSISTENT = 7 => Persistent,
        /// The port is chosen by a hash.
        PROTO_HASH = 8 => ProtoHash,
        /// The port is chosen at random.
        PROTO_RANDOM = 9 => ProtoRandom,
    }
}

attributes! {
    /// What [`Action::CheckPktLen`] says.
    pub enum CheckPktLenAttr = "ovs_check_pkt_len_attr", "OVS_CHECK_PKT_LEN_ATTR_" {
        /// The length.
        PKT_LEN = 1 => PktLen(u16 as U16),
        /// What is done with longer packets.
        ACTIONS_IF_GREATER = 2 => ActionsIfGreater(Actions<'a> as Nested<Action<'static>>),
        /// What is done with the others.
        ACTIONS_IF_LESS_EQUAL = 3 => ActionsIfLessEqual(Actions<'a> as Nested<Action<'static>>),
    }
}

attributes! {
    /// What [`Action::DecTtl`] says.
    pub enum DecTtlAttr = "ovs_dec_ttl_attr", "OVS_DEC_TTL_ATTR_" {
        /// What is done with packets whose time to live is over.
        ACTION = 1 => Action(Actions<'a> as Nested<Action<'static>>),
    }
}

attributes! {
    /// What [`Action::Psample`] says.
    pub enum PsampleAttr = "ovs_psample_attr", "OVS_PSAMPLE_ATTR_" {
        /// The group, by which listeners choose.
        GROUP = 1 => Group(u32 as U32),
        /// Bytes that listeners get.
        COOKIE = 2 => Cookie(&'a [u8] as Bytes<0, 16>),
    }
}

structures! {
    /// What [`Action::PushVlan`] adds.
    pub struct PushVlan = "ovs_action_push_vlan" {
        /// The Ethernet type of the header: 0x8100 or 0x88a8.
        tpid: u16 as FieldBe16 = "vlan_tpid",
        /// The tag, with bit 0x1000.
        tci: u16 as FieldBe16 = "vlan_tci",
    }

    /// What [`Action::PushMpls`] adds.
    pub struct PushMpls = "ovs_action_push_mpls" {
        /// The label stack entry.
        lse: u32 as FieldBe32 = "mpls_lse",
        /// The Ethernet type that the packet then has: 0x8847 or 0x8848.
        ethertype: u16 as FieldBe16 = "mpls_ethertype",
    }

    /// What [`Action::AddMpls`] adds.
    pub struct AddMpls = "ovs_action_add_mpls" {
        /// The label stack entry.
        lse: u32 as FieldBe32 = "mpls_lse",
        /// The Ethernet type that the packet then has: 0x8847 or 0x8848.
        ethertype: u16 as FieldBe16 = "mpls_ethertype",
        /// 1: before the network header. 0: before the whole packet.
        tun_flags: u16 as FieldU16 = "tun_flags",
    }

    /// What [`Action::Hash`] computes.
    pub struct Hash = "ovs_action_hash" {
        /// How: 0 is a hash over addresses and ports.
        alg: u32 as FieldU32 = "hash_alg",
        /// What goes into the hash first.
        basis: u32 as FieldU32 = "hash_basis",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attr::{Attributes, Typed, Writer};
    use crate::error::{DecodeErrorKind, EncodeError};
    use crate::ovs::{KeyIpv4, NshBase};

    #[test]
    fn every_action_nests_and_reads_back() {
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer);
        let output = |port| move |inner: &mut Writer<'_>| inner.put(Action::Output(port)).map(drop);
        let base = NshBase { ttl: 63, mdtype: 1, np: 3, path_hdr: 0x123_4567, ..NshBase::default() };
        writer
            .nest(Action::USERSPACE, |user| {
                user.put(UserspaceAttr::Pid(9))?.put(UserspaceAttr::Userdata(b"cookie"))?;
                user.put(UserspaceAttr::EgressTunPort(3))?.put(UserspaceAttr::Actions).map(drop)
            })
            .unwrap()
            .nest(Action::SET_MASKED, |set| {
                let value = KeyIpv4 { ttl: 5, ..KeyIpv4::default() };
                let mask = KeyIpv4 { ttl: 255, ..KeyIpv4::default() };
                set.put(MaskedKey::Ipv4(Masked { value, mask })).map(drop)
            })
            .unwrap()
            .nest(Action::CT, |ct| {
                ct.put(CtAttr::Mark(Masked { value: 1, mask: 3 }))?.put(CtAttr::Helper(b"ftp"))?;
                ct.nest(CtAttr::NAT, |nat| nat.put(NatAttr::Src)?.put(NatAttr::IpMin(&[10, 0, 0, 1])).map(drop))
                    .map(drop)
            })
            .unwrap()
            .nest(Action::CHECK_PKT_LEN, |check| {
                check.put(CheckPktLenAttr::PktLen(1500))?;
                check.nest(CheckPktLenAttr::ACTIONS_IF_GREATER, output(1))?;
                check.nest(CheckPktLenAttr::ACTIONS_IF_LESS_EQUAL, output(2)).map(drop)
            })
            .unwrap()
            .nest(Action::DEC_TTL, |dec| dec.nest(DecTtlAttr::ACTION, output(4)).map(drop))
            .unwrap()
            .nest(Action::PSAMPLE, |sample| sample.put(PsampleAttr::Group(8))?.put(PsampleAttr::Cookie(&[1])).map(drop))
            .unwrap()
            .nest(Action::PUSH_NSH, |nsh| nsh.put(NshKey::Base(base)).map(drop))
            .unwrap()
            .put(Action::PushMpls(PushMpls { lse: 1, ethertype: 0x8847 }))
            .unwrap()
            .put(Action::Drop(0))
            .unwrap();
        let actions = Actions::new(&buffer);
        assert_eq!(Action::policy().check(actions.attributes()), Ok(()));
        let text = format!("{actions:?}");
        for part in [
            "Pid(9)",
            "Userdata([99, 111",
            "Actions",
            "ttl: 255",
            "Helper([102",
            "IpMin([10",
            "PktLen(1500)",
            "ActionsIfGreater([Ok(Output(1))])",
            "Action([Ok(Output(4))])",
            "Cookie([1])",
            "path_hdr: 19088743",
            "Drop(0)",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // Written again, value by value, it is the same but for nothing.
        let mut again = Vec::new();
        let mut writer = Writer::new(&mut again);
        for action in actions {
            writer.put(action.unwrap()).unwrap();
        }
        assert_eq!(again, buffer);
    }

    #[test]
    fn what_an_attribute_cannot_hold_is_refused() {
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer);
        let error = writer.put(PsampleAttr::Cookie(&[0; 17])).unwrap_err();
        assert_eq!(error, EncodeError::WrongSize { attribute: PsampleAttr::COOKIE, length: 17 });
        let error = writer.put(CtAttr::Helper(b"f\0")).unwrap_err();
        assert_eq!(error, EncodeError::NulInside { attribute: CtAttr::HELPER });
        let userdata = vec![0; 65_532];
        let error = writer.put(UserspaceAttr::Userdata(&userdata)).unwrap_err();
        assert_eq!(error, EncodeError::AttributeTooLong { attribute: UserspaceAttr::USERDATA, length: 65_536 });
        // 4,000 actions that do not fit a flow.
        let error = writer.nest(3, |actions| {
            (0..4000).try_for_each(|_| {
                actions.nest(Action::SET, |set| set.put(Key::Ipv4(KeyIpv4::default())).map(drop)).map(drop)
            })
        });
        assert_eq!(error.unwrap_err(), EncodeError::AttributeTooLong { attribute: 3, length: 80_004 });
        assert_eq!(buffer, []);
    }

    #[test]
    fn a_clone_within_a_clone_ends_somewhere() {
        let mut buffer = Vec::new();
        Writer::new(&mut buffer).flag(Action::CLONE);
        for _ in 0..10_000 {
            if buffer.len() > 65_000 {
                break;
            }
            let mut outer = Vec::new();
            Writer::new(&mut outer).bytes(Action::CLONE, &buffer).unwrap();
            buffer = outer;
        }
        fn walk(actions: Actions<'_>) -> Result<usize, crate::DecodeError> {
            actions
                .iter()
                .map(|action| if let Action::Clone(inner) = action? { Ok(1 + walk(inner)?) } else { Ok(0) })
                .sum()
        }
        assert_eq!(
            walk(Actions::new(&buffer)).unwrap_err().kind,
            DecodeErrorKind::TooDeep { attribute: Action::CLONE }
        );
        let checked = Action::policy().check(Attributes::new(&buffer, 0));
        assert_eq!(checked.unwrap_err().kind, DecodeErrorKind::TooDeep { attribute: Action::CLONE });
    }
}
