//! Congestion marks of packets in tunnels (RFC 6040, RFC 3168).

/// The bits of a TOS or traffic class that are congestion marks (RFC 3168, section 5).
pub(super) const ECN: u8 = 3;
/// The transport cannot do with marks.
const NOT_ECT: u8 = 0;
/// The transport can: codepoint ECT(1).
const ECT_1: u8 = 1;
/// The transport can: codepoint ECT(0).
const ECT_0: u8 = 2;
/// Congestion was experienced.
const CE: u8 = 3;

/// What becomes of the mark of a packet that comes out of a tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::pipeline) enum Decapsulated {
    /// It stays, whatever it is.
    Stays,
    /// It is this now.
    Becomes(u8),
    /// The packet is dropped: there was congestion, and its transport would not know.
    Dropped,
}

/// The mark of the packet inside, by that of the outer header (RFC 6040, figure 4). `inner` is asked only where it counts.
pub(in crate::pipeline) fn decapsulate(outer_tos: u8, inner: impl FnOnce() -> u8) -> Decapsulated {
    match outer_tos & ECN {
        CE => match inner() & ECN {
            NOT_ECT => Decapsulated::Dropped,
            CE => Decapsulated::Stays,
            _ => Decapsulated::Becomes(CE),
        },
        ECT_1 if inner() & ECN == ECT_0 => Decapsulated::Becomes(ECT_1),
        _ => Decapsulated::Stays,
    }
}

/// The mark of the outer header, by that of the packet inside. Congestion is left inside, so that it is told once
/// (RFC 3168, section 9.1.1).
pub(super) fn encapsulate(inner: u8) -> u8 {
    match inner & ECN {
        CE => ECT_0,
        mark => mark,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_out_as_the_table_says() {
        // RFC 6040, figure 4: a row for each inner mark, a column for each outer one, in the order of their names.
        const ORDER: [u8; 4] = [NOT_ECT, ECT_0, ECT_1, CE];
        const TABLE: [[Option<u8>; 4]; 4] = [
            [Some(NOT_ECT), Some(NOT_ECT), Some(NOT_ECT), None],
            [Some(ECT_0), Some(ECT_0), Some(ECT_1), Some(CE)],
            [Some(ECT_1), Some(ECT_1), Some(ECT_1), Some(CE)],
            [Some(CE), Some(CE), Some(CE), Some(CE)],
        ];
        for (inner, row) in ORDER.into_iter().zip(TABLE) {
            for (outer, wanted) in ORDER.into_iter().zip(row) {
                let came = match decapsulate(0xfc | outer, || 0xfc | inner) {
                    Decapsulated::Stays => Some(inner),
                    Decapsulated::Becomes(mark) => Some(mark),
                    Decapsulated::Dropped => None,
                };
                assert_eq!(came, wanted, "inner {inner:02b}, outer {outer:02b}");
            }
        }
    }

    #[test]
    fn the_packet_inside_is_read_only_where_it_counts() {
        for outer in [NOT_ECT, ECT_0] {
            assert_eq!(decapsulate(outer, || panic!("read")), Decapsulated::Stays);
        }
    }

    #[test]
    fn congestion_stays_inside() {
        assert_eq!([NOT_ECT, ECT_1, ECT_0, CE].map(encapsulate), [NOT_ECT, ECT_1, ECT_0, ECT_0]);
    }
}
