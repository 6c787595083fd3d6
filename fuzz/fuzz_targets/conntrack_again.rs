#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| ovs_fuzz::conntrack_again(data));
