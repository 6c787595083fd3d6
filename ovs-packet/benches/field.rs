//! The table of fields as codecs and tools use it: lookups, values in and out of a key, matches in words.

mod common;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ovs_packet::field::{FieldId, OxmId};
use ovs_packet::key::FlowKey;
use ovs_packet::{Match, compose};

const TEXT: &str = "tcp,in_port=1,dl_vlan=5,dl_src=00:00:00:00:00:01,nw_src=10.0.0.0/8,nw_dst=10.1.2.3,tp_dst=80";

fn table(c: &mut Criterion) {
    let ids: Vec<OxmId> = FieldId::all().flat_map(|f| f.info().code_points()).map(|p| p.id).collect();
    common::measure(c, "field/by_oxm", ids.len(), None, || {
        for id in &ids {
            black_box(FieldId::by_oxm(black_box(*id)));
        }
    });
    let names: Vec<&str> = FieldId::all().map(|f| f.info().name).collect();
    common::measure(c, "field/by_name", names.len(), None, || {
        for name in &names {
            black_box(FieldId::by_name(black_box(name)));
        }
    });
    let fields: Vec<FieldId> = FieldId::all().filter(|f| f.tun_metadata_index().is_none()).collect();
    let mut key = FlowKey::from_words([0x5555_5555_5555_5555; ovs_packet::key::WORDS]);
    common::measure(c, "field/get", fields.len(), None, || {
        for field in &fields {
            black_box(black_box(field).info().get(black_box(&key)));
        }
    });
    common::measure(c, "field/put", fields.len(), None, || {
        fields.iter().for_each(|f| black_box(f).info().put(&mut key, black_box(5)));
        black_box(&key);
    });
}

fn matches(c: &mut Criterion) {
    let m: Match = TEXT.parse().expect("a match");
    // The peer reads a whole flow in 0.9 to 2.7 us, of which its match is the greater part.
    common::measure(c, "match/read", 1, Some(900.0), || {
        black_box(black_box(TEXT).parse::<Match>().expect("a match"));
    });
    common::measure(c, "match/write", 1, None, || {
        black_box(black_box(&m).to_string());
    });
    let packet = compose::compose(m.key(), b"");
    let mut key = FlowKey::ZERO;
    ovs_packet::extract::extract(&mut packet.clone(), &mut key);
    common::measure(c, "match/matches", 1, None, || {
        black_box(black_box(&m).matches(black_box(&key)));
    });
}

criterion_group! { name = benches; config = common::criterion(); targets = table, matches }
criterion_main!(benches);
