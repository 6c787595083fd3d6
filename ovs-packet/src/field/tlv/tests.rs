use alloc::string::ToString;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

fn map(class: u16, kind: u8, len: u8, index: u16) -> TlvMapping {
    TlvMapping { class, kind, len, index }
}

fn table(mappings: &[TlvMapping]) -> TlvTable {
    let mut t = TlvTable::default();
    t.add(mappings).unwrap();
    t
}

/// A datapath's key with these option bytes.
fn raw(bytes: &[u8]) -> FlowKey {
    let mut key = FlowKey { tun_present: (bytes.len() as u64).into(), ..FlowKey::ZERO };
    key.tun_metadata[..bytes.len()].copy_from_slice(bytes);
    key
}

#[test]
fn every_error_of_a_table_mod() {
    use TlvTableError::*;
    let mut t = table(&[map(1, 1, 4, 0), map(1, 2, 124, 1), map(1, 3, 124, 2)]);
    let before = t.clone();
    for (mapping, error) in [
        (map(2, 0, 5, 3), BadLength { len: 5 }),
        (map(2, 0, 128, 3), BadLength { len: 128 }),
        (map(2, 0, 4, 64), BadIndex { index: 64 }),
        (map(2, 0, 4, 0), AlreadyMapped { index: 0 }),
        (map(1, 2, 124, 3), DuplicateOption { class: 1, kind: 2 }),
        (map(2, 0, 8, 3), Full),
    ] {
        // What stands before the bad mapping is not added either.
        assert_eq!(t.add(&[map(9, 9, 0, 9), mapping]), Err(error), "{mapping:?}");
        assert!(!error.to_string().is_empty());
        assert_eq!(t, before);
    }
    assert_eq!(t.add(&[map(2, 0, 4, 3), map(2, 0, 0, 4)]), Err(DuplicateOption { class: 2, kind: 0 }));
    t.add(&[map(2, 0, 4, 3)]).unwrap();
    assert_eq!(t.used_bytes(), 256);
    t.add(&[map(2, 1, 0, 63)]).unwrap();

    assert_eq!(t.delete(&[3, 64], 0), Err(BadIndex { index: 64 }));
    assert_eq!(t.delete(&[3, 0], 1), Err(InUse { index: 0 }));
    assert!(t.mapping(3).is_some());
    // Who is not mapped is not in use, whatever is said.
    t.delete(&[3, 3, 17], 1 << 17).unwrap();
    assert_eq!((t.mapping(3), t.used_bytes()), (None, 252));
    assert_eq!(t.clear(1 << 63), Err(InUse { index: 63 }));
    t.clear(1 << 3).unwrap();
    assert_eq!(t, TlvTable::default());
}

#[test]
fn room_in_pieces_is_room() {
    let mut t = TlvTable::default();
    for i in 0..64 {
        t.add(&[map(0, i as u8, 4, i)]).unwrap();
    }
    assert_eq!(t.add(&[map(1, 0, 4, 0)]), Err(TlvTableError::AlreadyMapped { index: 0 }));
    t.delete(&[1, 3, 5], 0).unwrap();
    t.add(&[map(1, 0, 12, 1)]).unwrap();
    let mut key = FlowKey::ZERO;
    let value: Vec<u8> = (1..=12).collect();
    t.set(&mut key, 1, &TunOption::exact(&value).unwrap()).unwrap();
    assert_eq!(&t.get(&key, 1).unwrap()[..], value);
    assert_eq!((&key.tun_metadata[4..8], &key.tun_metadata[8..12]), (&[1, 2, 3, 4][..], &[0; 4][..]));
}

#[test]
fn fields_are_set_in_part_and_taken_away() {
    let t = table(&[map(1, 1, 4, 5)]);
    let mut key = FlowKey::ZERO;
    assert_eq!(t.get(&key, 5).as_deref(), Some(&[0; 4][..]));
    t.set(&mut key, 5, &TunOption::exact(&[0xab]).unwrap()).unwrap();
    t.set(&mut key, 5, &TunOption::masked(&[1, 0], &[0xff, 0]).unwrap()).unwrap();
    assert_eq!((t.get(&key, 5).as_deref(), key.tun_present.get()), (Some(&[0, 0, 1, 0xab][..]), 1 << 5));
    t.set(&mut key, 5, &TunOption::ABSENT).unwrap();
    assert_eq!(key, FlowKey::ZERO);
    assert_eq!(t.get(&key, 6), None);
    assert_eq!(t.set(&mut key, 6, &TunOption::PRESENT), Err(TunOptionError::Unmapped { index: 6 }));
    let long = TunOption::exact(&[0, 0, 0, 1, 0, 0, 0, 7]).unwrap();
    assert_eq!(t.set(&mut key, 5, &long), Err(TunOptionError::TooLong { index: 5 }));
    // Zeros in front make no number longer.
    t.set(&mut key, 5, &TunOption::exact(&[0, 0, 0, 0, 0, 0, 0, 7]).unwrap()).unwrap();
    assert_eq!(t.get(&key, 5).as_deref(), Some(&[0, 0, 0, 7][..]));
    t.set(&mut key, 5, &TunOption::ABSENT).unwrap();
    let mut mask = FlowMask::EMPTY;
    t.add_to_mask(&mut mask, 5);
    assert_eq!((mask.bits.tun_present.get(), &mask.bits.tun_metadata[..5]), (1 << 5, &[0xff, 0xff, 0xff, 0xff, 0][..]));
}

#[test]
fn options_on_the_wire_become_fields() {
    let t = table(&[map(0x0102, 3, 4, 0), map(0x0102, 0x84, 8, 1)]);
    let bytes = [1, 2, 3, 1, 9, 9, 9, 9, 7, 7, 7, 0, 1, 2, 0x84, 2, 1, 2, 3, 4, 5, 6, 7, 8];
    let key = t.unpack(&raw(&bytes)).unwrap();
    assert_eq!(key.tun_present, 3);
    assert_eq!(&t.get(&key, 1).unwrap()[..], [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(t.has_critical(&key));
    // The unknown one is left out.
    let again = t.pack(&key).unwrap();
    assert_eq!((again.tun_present.get(), &again.tun_metadata[..8]), (20, &bytes[..8]));
    assert_eq!(again.tun_metadata[8..20], bytes[12..]);

    let mut mask = FlowMask::EMPTY;
    t.set(&mut mask.bits, 1, &TunOption::exact(&[0xf0, 0, 0, 0, 0, 0, 0, 1]).unwrap()).unwrap();
    let packed = t.pack_mask(&raw(&bytes), &mask).unwrap();
    let header = [0xff, 0xff, 0xff, 0x1f];
    assert_eq!(packed.bits.tun_present, u64::MAX);
    assert_eq!(packed.bits.tun_metadata[..4], header);
    assert_eq!(packed.bits.tun_metadata[4..8], [0; 4]);
    assert_eq!(packed.bits.tun_metadata[8..12], header);
    assert_eq!(packed.bits.tun_metadata[12..24], [header, [0xf0, 0, 0, 0], [0, 0, 0, 1]].concat());
    assert_eq!(packed.bits.tun_metadata[24..], [0; 232]);
    let fields = t.unpack_mask(&raw(&bytes), &packed).unwrap();
    assert_eq!(t.get(&fields.bits, 1), t.get(&mask.bits, 1));
    assert_eq!(t.get(&fields.bits, 0).as_deref(), Some(&[0; 4][..]));
}

#[test]
fn what_is_wrong_with_options_is_told() {
    use TunOptionError::*;
    let t = table(&[map(1, 1, 4, 0)]);
    for (bytes, error) in [
        (&[0, 1, 1][..], Truncated { at: 0 }),
        (&[0, 2, 1, 0, 0, 1, 1, 1, 0, 0, 0], Truncated { at: 4 }),
        (&[0, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0], WrongLength { at: 0 }),
        (&[0, 1, 1, 0], WrongLength { at: 0 }),
        (&[0, 1, 0x81, 0], UnknownCritical { class: 1, kind: 0x81 }),
    ] {
        assert_eq!(t.unpack(&raw(bytes)), Err(error));
    }
    // A length that no header has is cut to the room there is.
    let mut endless = FlowKey { tun_present: u64::MAX.into(), ..FlowKey::ZERO };
    endless.tun_metadata.as_chunks_mut::<4>().0.fill([9, 9, 9, 0]);
    assert_eq!(t.unpack(&endless).map(|k| k.tun_present.get()), Ok(0));
    let long = table(&[map(1, 1, 124, 0), map(1, 2, 124, 1)]);
    let mut key = FlowKey::ZERO;
    key.tun_present = 3.into();
    assert_eq!(long.pack(&key), Err(TooMany));
}

#[test]
fn a_match_is_placed_and_lifted() {
    let t = table(&[map(1, 1, 8, 3), map(1, 2, 4, 0)]);
    let m: Match = "tcp,tun_metadata0=0x5/0xf,tun_metadata3=0x102030405".parse().unwrap();
    let placed = t.place(&m).unwrap();
    let mut key = FlowKey { eth_type: 0x0800.into(), nw_proto: 6, ..FlowKey::ZERO };
    assert!(!placed.matches(&key));
    t.set(&mut key, 0, &TunOption::exact(&[0xf5]).unwrap()).unwrap();
    t.set(&mut key, 3, &TunOption::exact(&[1, 2, 3, 4, 5]).unwrap()).unwrap();
    assert!(placed.matches(&key));
    // An exact value is exact in the bytes in front of it too.
    t.set(&mut key, 3, &TunOption::exact(&[9, 0, 0, 1, 2, 3, 4, 5]).unwrap()).unwrap();
    assert!(!placed.matches(&key));
    assert_eq!(t.lift(&placed).to_string(), "tcp,tun_metadata0=0x5/0xf,tun_metadata3=0x102030405");
    // A mask of ones says nothing of the bytes in front of it.
    let tail = t.place(&"tun_metadata3=0x405/0xffff".parse().unwrap()).unwrap();
    assert!(tail.matches(&key) && t.lift(&tail).to_string() == "tun_metadata3=0x405/0xffff");
    let presence: Match = "tun_metadata0".parse().unwrap();
    assert_eq!(t.lift(&t.place(&presence).unwrap()), presence);
    let mut absent = Match::ANY;
    absent.set_tun_option(3, &TunOption::ABSENT).unwrap();
    assert_eq!(t.lift(&t.place(&absent).unwrap()).to_string(), "tun_metadata3=NP");
    let unmapped: Match = "tun_metadata1".parse().unwrap();
    assert_eq!(t.place(&unmapped), Err(TunOptionError::Unmapped { index: 1 }));
    let long: Match = "tun_metadata0=0x1000000000".parse().unwrap();
    assert_eq!(t.place(&long), Err(TunOptionError::TooLong { index: 0 }));
}

fn mappings() -> impl Strategy<Value = Vec<TlvMapping>> {
    prop::collection::vec((0..3u16, any::<u8>(), 0..12u8, 0..64u16), 0..20).prop_map(|m| {
        m.into_iter().map(|(class, kind, units, index)| map(class, kind & 0x83, units * 4, index)).collect()
    })
}

proptest! {
    #[test]
    fn no_two_fields_share_a_byte(adds in mappings(), deletes in prop::collection::vec(0..64u16, 0..8)) {
        let mut t = TlvTable::default();
        for m in &adds {
            let _ = t.add(&[*m]);
        }
        t.delete(&deletes, 0).unwrap();
        for m in &adds {
            let _ = t.add(&[*m]);
        }
        let total: usize = t.mappings().map(|m| usize::from(m.len)).sum();
        prop_assert_eq!(t.used_bytes(), total);
        // Values written to all fields are all read back.
        let mut key = FlowKey::ZERO;
        for m in t.mappings() {
            let value = alloc::vec![m.index as u8 + 1; m.len.into()];
            t.set(&mut key, m.index.into(), &TunOption::exact(&value).unwrap()).unwrap();
        }
        for m in t.mappings() {
            prop_assert!(t.get(&key, m.index.into()).unwrap().iter().all(|b| *b == m.index as u8 + 1));
        }
        if let Ok(raw) = t.pack(&key) {
            prop_assert_eq!(t.unpack(&raw), Ok(key));
            let mut all = FlowMask::EMPTY;
            t.mappings().for_each(|m| t.add_to_mask(&mut all, m.index.into()));
            let packed = t.pack_mask(&raw, &all).unwrap();
            prop_assert_eq!(t.unpack_mask(&raw, &packed), Ok(all));
        }
    }

    #[test]
    fn any_option_bytes_give_an_answer(adds in mappings(), bytes in prop::collection::vec(0..4u8, 0..=252), len: u64, mask: [u8; 32]) {
        let mut t = TlvTable::default();
        adds.iter().for_each(|m| { let _ = t.add(&[*m]); });
        let mut key = raw(&bytes);
        let read = t.unpack(&key);
        if let Ok(k) = &read {
            prop_assert!(t.pack(k).is_ok());
        }
        let mut m = FlowMask::EMPTY;
        m.bits.tun_metadata[..32].copy_from_slice(&mask);
        prop_assert!(read.is_err() || t.unpack_mask(&key, &m).is_ok());
        let _ = t.pack_mask(&key, &m);
        key.tun_present = len.into();
        let _ = t.unpack(&key);
    }

    #[test]
    fn options_of_a_match_keep_apart(sets in prop::collection::vec((0..64usize, prop::collection::vec(any::<u8>(), 0..20), any::<bool>()), 0..20)) {
        let mut m = Match::ANY;
        let mut model = alloc::collections::BTreeMap::new();
        for (index, bytes, exact) in sets {
            let o = if exact { TunOption::exact(&bytes) } else { TunOption::masked(&bytes, &bytes) }.unwrap();
            let others: usize = model.iter().filter(|(i, _)| **i != index).map(|(_, o): (_, &TunOption)| o.value().len()).sum();
            prop_assert_eq!(m.set_tun_option(index, &o).is_ok(), others + bytes.len() <= 256);
            if others + bytes.len() <= 256 {
                model.insert(index, o);
            }
        }
        prop_assert_eq!(m.tun_options().collect::<Vec<_>>(), model.into_iter().collect::<Vec<_>>());
    }
}

/// CVE-2023-3966: a Geneve option that says it is longer than the options are.
#[test]
fn cve_2023_3966_an_option_longer_than_the_rest() {
    let t = table(&[map(0x0102, 0x80, 124, 0), map(0x0102, 0, 4, 1)]);
    let key = raw(&[0x01, 0x02, 0x80, 0x1f, 0, 0, 0, 0]);
    assert_eq!(t.unpack(&key), Err(TunOptionError::Truncated { at: 0 }));
    let all = FlowMask { bits: FlowKey::from_words([u64::MAX; crate::key::WORDS]) };
    assert_eq!(t.unpack_mask(&key, &all), Err(TunOptionError::Truncated { at: 0 }));
    assert_eq!(t.pack_mask(&key, &all), Err(TunOptionError::Truncated { at: 0 }));
}
