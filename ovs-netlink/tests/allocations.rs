//! Writing into a buffer with room and reading allocate nothing.

#[path = "../benches/common/flow_put.rs"]
mod flow_put;
#[path = "../benches/common/sys.rs"]
mod sys;

#[global_allocator]
static ALLOCATOR: sys::Counting = sys::Counting;

#[test]
fn a_flow_put_is_written_and_read_without_allocating() {
    let mut buffer = Vec::with_capacity(1 << 16);
    let before = sys::allocations();
    let mut attributes = 0;
    for number in 0..10 {
        buffer.clear();
        flow_put::encode(&mut buffer, number).unwrap();
        attributes += flow_put::decode(&buffer).unwrap();
    }
    assert_eq!(sys::allocations() - before, 0);
    assert_eq!(attributes, 10 * (2 * flow_put::KEYS + flow_put::ACTIONS));
    // The counter counts.
    drop(vec![attributes]);
    assert!(sys::allocations() > before);
}
