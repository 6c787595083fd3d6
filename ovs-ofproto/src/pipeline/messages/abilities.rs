//! What the switch can match and do, as older versions say it: a bit for each.

use crate::codec::Version;

/// Bits from `first` to `last`.
const fn bits(first: u32, last: u32) -> u32 {
    u32::MAX >> (31 - last + first) << first
}

/// The actions that flows and buckets can have (`OFPAT_*` as bits).
///
/// OpenFlow 1.0 has twelve, all of which there are; later ones are there but copies of TTLs, and from 1.2 on those that
/// set one field each are numbered no more.
pub(super) const fn actions(version: Version) -> u32 {
    match version {
        Version::V1_0 => bits(0, 11),
        Version::V1_1 => bits(0, 10) | bits(13, 24),
        _ => 1 | bits(15, 25),
    }
}

/// What statistics of tables say beside numbers, as it stands in them (`ofp_table_stats`).
pub(super) fn of_tables(version: Version, miss: u32, last: bool) -> Vec<u8> {
    /// Every field, `OFPFW_ALL` and `OFPFMF_ALL` of the first two versions; of the second, without ports under MPLS.
    const FIELDS_1_0: u32 = bits(0, 21);
    const FIELDS_1_1: u32 = bits(0, 15) & !(1 << 10);
    /// OXM fields that are matched: all to the end of MPLS labels but the physical port, and packet types.
    const FIELDS_1_2: u64 = (1 << 37) - 1 & !(1 << 1) | 1 << 44;
    /// Of these, those that can be written: no types and protocols, nor the end of labels.
    const WRITTEN_1_2: u64 = (1 << 36) - 1 & !(1 << 1 | 1 << 5 | 1 << 10);
    // Metadata, write, apply and clear actions; going on in a table, if there is one behind.
    let instructions = bits(2, 5) | u32::from(!last) << 1;
    let mut out = Vec::new();
    let mut u32s = |values: &[u32]| values.iter().for_each(|v| out.extend(v.to_be_bytes()));
    let can = actions(version);
    match version {
        Version::V1_0 => u32s(&[FIELDS_1_0]),
        Version::V1_1 => u32s(&[FIELDS_1_1, FIELDS_1_1, instructions, can, can, miss]),
        Version::V1_2 => {
            let halves = |v: u64| [(v >> 32) as u32, v as u32];
            let [fields, written] = [halves(FIELDS_1_2), halves(WRITTEN_1_2)];
            u32s(&fields);
            u32s(&fields);
            u32s(&[can, can]);
            u32s(&written);
            u32s(&written);
            u32s(&[u32::MAX; 4]);
            u32s(&[instructions, miss]);
        }
        _ => {}
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_stock_says_it() {
        let hex = |v: Vec<u8>| v.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(hex(of_tables(Version::V1_0, 0, false)), "003fffff");
        assert_eq!(hex(of_tables(Version::V1_1, 2, true)), "0000fbff0000fbff0000003c01ffe7ff01ffe7ff00000002");
        let stock = "0000101ffffffffd0000101ffffffffd03ff800103ff80010000000ffffffbdd0000000ffffffbdd\
                     ffffffffffffffffffffffffffffffff0000003e00000000";
        assert_eq!(hex(of_tables(Version::V1_2, 0, false)), stock);
        assert!(of_tables(Version::V1_3, 0, false).is_empty());
    }
}
