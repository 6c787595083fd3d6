//! What classifiers know of a flow key: its stages, and where its fields are.

use ovs_classifier::{BitOrder, Field, Layout, MAX_FIELDS};
use ovs_packet::field::FieldId;
use ovs_packet::key::{FlowKey, STAGES, WORDS};

/// The run of bits that a match field has in the words of a flow key; `None` for one that is no single run.
#[must_use]
pub fn key_field(field: FieldId) -> Option<Field> {
    key_run(&[field])
}

/// The run of bits that neighbouring match fields have together.
fn key_run(fields: &[FieldId]) -> Option<Field> {
    let mut key = FlowKey::ZERO;
    fields.iter().for_each(|field| field.info().put(&mut key, u128::MAX));
    Field::from_mask(key.words(), BitOrder::Bytes)
}

/// The layout of the flow key for a classifier: stages by protocol layer, all match fields, the ports of L4,
/// and where the id of a conjunction is.
#[must_use]
pub fn key_layout() -> Layout<WORDS> {
    // Several fields are at the same place, as the ports of all protocols are. Pairs and fours of registers are made
    // of registers, which are there one by one.
    let mut fields: Vec<Field> = Vec::new();
    let single = FieldId::all().filter(|field| !(FieldId::Xreg0..=FieldId::Xxreg7).contains(field));
    for field in single.filter_map(key_field).filter(|field| field.bits() >= 8) {
        if fields.len() < MAX_FIELDS && !fields.contains(&field) {
            fields.push(field);
        }
    }
    // The stages are the key's own, and so are the fields: none is beyond what a layout takes.
    let layout = Layout::new(STAGES).unwrap_or(Layout::flat()).with_order(BitOrder::Bytes);
    let layout = layout.with_fields(&fields).unwrap_or(layout);
    let layout = key_field(FieldId::ConjId).and_then(|id| layout.with_conjunction(id)).unwrap_or(layout);
    key_run(&[FieldId::TcpSrc, FieldId::TcpDst]).and_then(|ports| layout.with_ports(ports)).unwrap_or(layout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_has_stages_fields_and_ports() {
        let layout = key_layout();
        assert_eq!(layout.stage(0), Some(STAGES[0]));
        let fields: Vec<_> = layout.fields().collect();
        for field in [FieldId::NwSrc, FieldId::Ipv6Dst, FieldId::EthSrc, FieldId::Metadata, FieldId::TcpDst] {
            assert!(fields.contains(&key_field(field).unwrap()), "{field:?}");
        }
        assert_eq!(layout.ports().map(|ports| ports.bits()), Some(32));
        let key = FlowKey { nw_src: 0xc000_0201.into(), ..FlowKey::ZERO };
        assert_eq!(key_field(FieldId::NwSrc).unwrap().get(key.words(), BitOrder::Bytes), 0xc000_0201);
    }
}
