//! Matches as `serde` has them: an object of fields.
//!
//! A member is named after a field and has its value, as [`Value`] tells; what several fields say together
//! is said by those that the match's protocol has, and by the narrower ones: registers of 32 bits, `vlan_vid` with
//! `vlan_pcp`, `ip_dscp` with `nw_ecn`. `in_port` is that of 32 bits. Tunnel options stand under the names of their
//! fields. Bits of the key that no field has stand in `other`: words of the [layout](super) by number, each with value
//! and mask, big-endian.
//!
//! What is read may name any field; two that share bits are refused. Whether what a field needs is matched too is not
//! asked: encoding does.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{FlowKey, FlowMask, Match, TUN_METADATA_BYTES, WORDS};
use crate::field::serialize::{Said, ValueOnly, field_by_name};
use crate::field::{FieldId, TLV_FIELDS, Value};
use crate::text::number;

/// The first word of the values of tunnel options.
const FIRST_OF_OPTIONS: usize = WORDS - TUN_METADATA_BYTES / 8;

/// The field's name, which for the ingress port is that of either width.
fn name_of(field: FieldId) -> &'static str {
    match field {
        FieldId::InPortOxm => "in_port",
        field => field.info().name,
    }
}

/// Whether other fields say the same in narrower parts, or as the wire has it.
fn is_view(field: FieldId) -> bool {
    use FieldId::{DlVlan, DlVlanPcp, InPort, NwTos, VlanTci};
    matches!(field, InPort | VlanTci | DlVlan | DlVlanPcp | NwTos) || is_wide_register(field)
}

fn is_wide_register(field: FieldId) -> bool {
    field.info().name.starts_with('x')
}

/// The fields of a match, one after the other, and the bits that none has.
fn split(m: &Match, mut each: impl FnMut(Value)) -> FlowKey {
    let (key, mut left) = (m.key().to_owned(), m.mask().bits.to_owned());
    let mut take = |field: FieldId| {
        let info = field.info();
        let mask = info.get(&left);
        if mask != 0 {
            each(Value { field, value: info.get(&key) & mask, mask });
            info.put(&mut left, 0);
        }
    };
    FieldId::all().filter(|f| !is_view(*f) && f.info().prereq.implied_by(m)).for_each(&mut take);
    FieldId::all().filter(|f| !is_wide_register(*f) && *f != FieldId::InPort).for_each(&mut take);
    left
}

/// A word of the key that fields do not say.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Word {
    value: String,
    mask: String,
}

impl Serialize for Match {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        let mut failed = Ok(());
        let mut left = split(self, |v| {
            if failed.is_ok() {
                failed = map.serialize_entry(name_of(v.field), &ValueOnly(v));
            }
        });
        failed?;
        let mut packed = false;
        for (index, option) in self.tun_options() {
            packed |= !option.value().is_empty();
            if let Some(field) = FieldId::tun_metadata(index) {
                map.serialize_entry(field.info().name, &option)?;
            }
        }
        left.tun_present = 0.into();
        if packed {
            left.tun_metadata = [0; TUN_METADATA_BYTES];
        }
        let key = self.key().to_owned();
        let hex = |w: u64| alloc::format!("{:#x}", u64::from_be(w));
        let words = left.words().iter().zip(key.words()).enumerate().filter(|(_, (mask, _))| **mask != 0);
        let other: BTreeMap<usize, Word> =
            words.map(|(n, (mask, value))| (n, Word { value: hex(value & mask), mask: hex(*mask) })).collect();
        if !other.is_empty() {
            map.serialize_entry("other", &other)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Match {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Match, D::Error> {
        d.deserialize_map(OfFields)
    }
}

struct OfFields;

impl<'de> Visitor<'de> for OfFields {
    type Value = Match;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Match, A::Error> {
        let (mut key, mut mask) = (FlowKey::ZERO, FlowKey::ZERO);
        let (mut options, mut words) = (BTreeMap::new(), BTreeMap::<usize, Word>::new());
        while let Some(name) = map.next_key::<String>()? {
            if name == "other" {
                words = map.next_value()?;
                continue;
            }
            let twice = || A::Error::custom(format_args!("{name} says what is said before"));
            let said: Said = map.next_value()?;
            let field = match field_by_name(&name)? {
                FieldId::InPort => FieldId::InPortOxm,
                field => field,
            };
            if let Some(index) = field.tun_metadata_index().filter(|i| *i < TLV_FIELDS) {
                match options.insert(index, said.option()?) {
                    None => continue,
                    Some(_) => return Err(twice()),
                }
            }
            let value = said.read(field)?;
            let info = field.info();
            let (old, old_mask) = (info.get(&key), info.get(&mask));
            if old_mask & value.mask != 0 {
                return Err(twice());
            }
            info.put(&mut key, old | value.value);
            info.put(&mut mask, old_mask | value.mask);
        }
        // Where options have their places already, it is known of each whether it is there, and no more.
        let placed = words.keys().any(|n| *n >= FIRST_OF_OPTIONS);
        if placed {
            for (index, option) in core::mem::take(&mut options) {
                if !option.value().is_empty() {
                    return Err(A::Error::custom("tunnel options with and without their places"));
                }
                let bit = 1 << index;
                mask.tun_present = (mask.tun_present.get() | bit).into();
                key.tun_present = (key.tun_present.get() | if option.is_present() { bit } else { 0 }).into();
            }
        }
        for (n, word) in &words {
            let part = |text: &str| number(text).and_then(|v| u64::try_from(v).ok()).map(u64::to_be);
            let places = key.words_mut().get_mut(*n).zip(mask.words_mut().get_mut(*n));
            let (Some((k, m)), Some(value), Some(bits)) = (places, part(&word.value), part(&word.mask)) else {
                return Err(A::Error::custom(format_args!(
                    "word {n} of a match is not there, or no number of 64 bits"
                )));
            };
            *k |= value & bits;
            *m |= bits;
        }
        let mut m = Match::new(key, FlowMask { bits: mask });
        for (index, option) in options {
            m.set_tun_option(index, &option).map_err(A::Error::custom)?;
        }
        Ok(m)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    fn m(text: &str) -> Match {
        text.parse().unwrap()
    }

    #[test]
    fn fields_by_name() {
        for (text, json) in [
            ("", "{}"),
            ("in_port=LOCAL", r#"{"in_port":"LOCAL"}"#),
            (
                "tcp,nw_src=10.0.0.0/8,tp_dst=80,tcp_flags=+syn-ack",
                r#"{"eth_type":"0x800","ip_src":{"value":"10.0.0.0","mask":"255.0.0.0"},"nw_proto":6,"tcp_dst":80,"tcp_flags":{"value":["syn"],"mask":["syn","ack"]}}"#,
            ),
            ("arp,arp_op=1,arp_spa=10.0.0.1", r#"{"eth_type":"0x806","arp_op":1,"arp_spa":"10.0.0.1"}"#),
            ("dl_vlan=5", r#"{"vlan_vid":4101}"#),
            ("vlan_tci=0", r#"{"vlan_vid":0,"vlan_tci":{"value":"0x0","mask":"0xe000"}}"#),
            ("dl_vlan=5,dl_vlan_pcp=3", r#"{"vlan_vid":4101,"vlan_pcp":3}"#),
            ("xreg0=5", r#"{"reg0":"0x0","reg1":"0x5"}"#),
            ("ip,nw_tos=4,nw_frag=later", r#"{"eth_type":"0x800","ip_dscp":1,"ip_frag":"later"}"#),
            ("packet_type=(1,0x800)", r#"{"packet_type":"(1,0x800)"}"#),
            (
                "tun_metadata0,tun_metadata3=0x102,tun_metadata5=0x100/0xff00",
                r#"{"tun_metadata0":true,"tun_metadata3":"0x0102","tun_metadata5":{"value":"0x0100","mask":"0xff00"}}"#,
            ),
        ] {
            let made = serde_json::to_string(&m(text)).unwrap();
            assert_eq!(made, json, "{text}");
            assert_eq!(serde_json::from_str::<Match>(json).unwrap(), m(text), "{text}");
        }
    }

    #[test]
    fn the_language_is_read_too() {
        let read = |json: &str| serde_json::from_str::<Match>(json).map_err(|e| e.to_string());
        assert_eq!(
            read(r#"{"eth_type":2048,"nw_src":"10.0.0.0/8","ct_state":"+trk-new"}"#),
            Ok(m("ip,nw_src=10.0.0.0/8,ct_state=+trk-new"))
        );
        assert_eq!(read(r#"{"NXM_NX_REG3":"0x5"}"#), Ok(m("reg3=5")));
        for (json, says) in [
            (r#"{"bogus":1}"#, "bogus is no field"),
            (r#"{"reg0":1,"xreg0":1}"#, "xreg0 says what is said before"),
            (r#"{"nw_proto":256}"#, "nw_proto: 0x100 is no value"),
            (r#"{"nw_proto":{"value":6}}"#, "did not match any variant"),
            (r#"{"ct_state":["bogus"]}"#, "ct_state: a list of other names is no value"),
            (r#"{"tun_metadata0":5}"#, "a tunnel option is true, false, or at most 124 bytes in hexadecimal"),
            (r#"{"other":{"96":{"value":"0","mask":"1"}}}"#, "word 96 of a match is not there"),
            ("[]", "an object of fields"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(says), "{json}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_match_survives(key in prop::collection::vec(any::<u64>(), WORDS), mask in prop::collection::vec(any::<u64>(), WORDS), some in prop::collection::vec(0..3u8, WORDS)) {
            let choose = |n: usize| match some[n] { 0 => 0, 1 => mask[n], _ => u64::MAX };
            let m = Match::from_words(core::array::from_fn(|n| key[n]), core::array::from_fn(choose));
            let json = serde_json::to_string(&m).unwrap();
            prop_assert_eq!(serde_json::from_str::<Match>(&json).unwrap(), m, "{}", json);
        }
    }
}
