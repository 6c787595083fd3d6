//! Keys, masks and actions between the kernel's attributes and flow keys, both ways.

use ovs_dpif::kernel::{
    ActionContext, Fitness, put_actions, put_key, put_mask, read_actions, read_key, read_mask, unsupported,
};
use ovs_dpif::text;
use ovs_netlink::attr::Nest;
use ovs_netlink::{EncodeError, Writer};

fn written(write: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>) -> Option<Vec<u8>> {
    let mut buffer = Vec::new();
    write(&mut Writer::new(&mut buffer)).ok().map(|()| buffer)
}

/// Attributes as a key and as a mask: read or refused; what was read is written, and reads back the same.
pub fn kernel_keys(input: &[u8]) {
    let Ok((key, fitness)) = read_key(Nest::new(input)) else { return };
    let bytes = written(|w| put_key(w, &key)).expect("a key is short");
    let (again, fit) = read_key(Nest::new(&bytes)).expect("what was written is read");
    assert_ne!(fit, Fitness::TooMuch, "a flow key has room for what it wrote");
    assert_eq!(written(|w| put_key(w, &again)).expect("a key is short"), bytes);
    if fitness == Fitness::Perfect {
        assert!(!text::exact_key(&key).to_string().is_empty());
    }
    let Ok((mask, _)) = read_mask(Nest::new(input)) else { return };
    let bytes = written(|w| put_mask(w, &key, &mask)).expect("a mask is short");
    let (back, _) = read_mask(Nest::new(&bytes)).expect("what was written is read");
    // A tag that the key has not read is one in what was read back, and there its mask is another.
    if again == key {
        assert_eq!(written(|w| put_mask(w, &key, &back)).expect("a mask is short"), bytes);
    }
}

/// Attributes as actions: read or refused; what was read is written, reads back the same, and has a text that does.
pub fn kernel_actions(input: &[u8]) {
    let Ok(list) = read_actions(Nest::new(input)) else { return };
    let _ = text::actions(&list).to_string();
    if unsupported(&list).is_some() {
        return;
    }
    let context = ActionContext { upcall_pid: 7, eth_type: 0x0800, nw_proto: 17 };
    let Some(bytes) = written(|w| put_actions(w, &list, &context)) else { return };
    let named = read_actions(Nest::new(&bytes)).expect("what was written is read");
    let again = written(|w| put_actions(w, &named, &context)).expect("it fitted before");
    assert_eq!(read_actions(Nest::new(&again)), Ok(named));
}
