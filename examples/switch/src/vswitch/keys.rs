//! The keys of `other_config` columns that are obeyed, and what their values can be (ovs-vswitchd.conf.db(5)).
//!
//! A key that is not here, or a value that its key cannot have, is told where the row's errors are; what it stands for is as
//! by default. A number outside its range is told too, and taken for the end of the range that it passed, where that is what
//! the key's reader does.

use ovs_dpif::netdev::OFFLOAD_DRIVERS;
use ovs_packet::EthAddr;

use super::threads;
use crate::config::{Settings, datapath_id};

/// What the value of a key can be.
#[derive(Clone, Copy)]
enum Value {
    /// Any text.
    Text,
    /// `true` or `false`.
    Flag,
    /// What is not there to be turned on: nothing but this.
    Only(&'static str),
    /// A number from the first to the second.
    Number(u32, u32),
    /// An Ethernet address that a device can have.
    Address,
    /// Up to 16 hexadecimal digits; all of them zero ask for the default.
    DatapathId,
    /// One of these.
    Word(&'static [&'static str]),
    /// What this finds nothing wrong with.
    By(fn(&str) -> Option<String>),
}

use Value::{Address, By, DatapathId, Flag, Number, Only, Text, Word};

/// Keys of a table.
pub(super) struct Keys(&'static [(&'static str, Value)]);

const MAX: u32 = u32::MAX;

/// Those of the whole. Segmentation is left to whoever can do it, always: enabling it is nothing to do. Handlers and
/// revalidators are this switch's loop.
pub(super) const WHOLE: Keys = Keys(&[
    ("bundle-idle-timeout", Number(1, MAX)),
    ("dpdk-init", Only("false")),
    ("emc-insert-inv-prob", Number(0, MAX)),
    ("enable-statistics", Only("false")),
    ("explicit-sampled-drops", Flag),
    ("flow-limit", Number(0, MAX)),
    ("flow-restore-wait", Only("false")),
    ("hw-offload", Flag),
    ("hw-offload-priority", By(drivers)),
    ("max-idle", Number(500, MAX)),
    ("max-revalidator", Number(100, MAX)),
    ("min-revalidate-pps", Number(0, MAX)),
    ("n-handler-threads", Number(1, MAX)),
    ("n-revalidator-threads", Number(1, MAX)),
    ("offload-rebalance", Only("false")),
    ("offloaded-stats-delay", Number(0, MAX)),
    ("pmd-auto-lb", Flag),
    ("pmd-auto-lb-improvement-threshold", Number(0, 100)),
    ("pmd-auto-lb-load-threshold", Number(0, 100)),
    ("pmd-auto-lb-rebal-interval", Number(0, 20_000)),
    ("pmd-cpu-mask", By(cores)),
    ("pmd-maxsleep", Number(0, MAX)),
    ("pmd-perf-metrics", Flag),
    ("pmd-rxq-assign", Word(&["cycles", "roundrobin", "group"])),
    ("pmd-rxq-isolate", Flag),
    ("pmd-sleep-max", By(threads::wrong_sleeps)),
    ("smc-enable", Flag),
    ("stats-update-interval", Number(5000, MAX)),
    ("tx-flush-interval", Number(0, 1_000_000)),
    ("userspace-tso-enable", Flag),
    ("vlan-limit", Number(0, MAX)),
]);

/// Those of a bridge.
pub(super) const BRIDGE: Keys = Keys(&[
    ("datapath-id", DatapathId),
    ("disable-in-band", Flag),
    ("dp-desc", Text),
    ("dp-sn", Text),
    ("forward-bpdu", Flag),
    ("hwaddr", Address),
    ("in-band-queue", Number(0, MAX)),
    ("mac-aging-time", Number(15, 3600)),
    ("mac-table-size", Number(10, 1_000_000)),
    ("mcast-snooping-aging-time", Number(15, 3600)),
    ("mcast-snooping-disable-flood-unregistered", Flag),
    ("mcast-snooping-table-size", Number(10, 1_000_000)),
]);

/// Those of a port.
pub(super) const PORT: Keys = Keys(&[
    ("mcast-snooping-flood", Flag),
    ("mcast-snooping-flood-reports", Flag),
    ("priority-tags", Word(&["no", "never", "false", "if-nonzero", "true", "always"])),
    ("qinq-ethtype", Word(&["802.1ad", "802.1q"])),
    ("transient", Flag),
]);

/// Those of an interface.
pub(super) const INTERFACE: Keys = Keys(&[
    ("hw-offload-priority", By(drivers)),
    ("pmd-rxq-affinity", Text),
    ("tx-steering", Word(&["thread", "hash"])),
]);

/// Whether a key is set; `usual` if it is not there, or neither `true` nor `false` in letters of any case.
pub(crate) fn flag(settings: &Settings, key: &str, usual: bool) -> bool {
    match settings.get(key) {
        Some(value) if usual => !value.eq_ignore_ascii_case("false"),
        Some(value) => value.eq_ignore_ascii_case("true"),
        None => usual,
    }
}

/// What is wrong with a list of drivers of cards. `none` ends that of an interface.
fn drivers(list: &str) -> Option<String> {
    let known = |name: &str| name.is_empty() || name == "none" || OFFLOAD_DRIVERS.contains(&name);
    let odd = list.split(',').find(|name| !known(name))?;
    Some(format!("no list of drivers: there is none of the name {odd}"))
}

/// What is wrong with a mask of cores. Which of them there are, the log tells.
fn cores(mask: &str) -> Option<String> {
    let digits = mask.strip_prefix("0x").or(mask.strip_prefix("0X")).unwrap_or(mask);
    (!digits.bytes().all(|b| b.is_ascii_hexdigit())).then(|| "no number of hexadecimal digits".to_string())
}

impl Keys {
    /// The keys of `settings` that are none of these.
    pub(super) fn unknown(&self, settings: &Settings) -> impl Iterator<Item = String> {
        let known = |key: &str| self.0.iter().any(|(k, _)| *k == key);
        settings.keys().filter(move |key| !known(key)).map(|key| format!("other_config:{key}"))
    }

    /// What is wrong with the values of those that are.
    pub(super) fn wrong(&self, settings: &Settings) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|(key, value)| {
            let text = settings.get(*key)?;
            let why = value.refuses(text)?;
            Some(format!("other_config:{key}: {text} is {why}"))
        })
    }
}

impl Value {
    /// What a text is not, if it is no such value.
    fn refuses(self, text: &str) -> Option<String> {
        let why = match self {
            Text => return None,
            Flag if ["true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word)) => return None,
            Flag => "neither true nor false".into(),
            Only(word) if text.eq_ignore_ascii_case(word) => return None,
            Only(word) => format!("not available, but {word}"),
            Number(from, to) => match (text.parse::<i128>(), to) {
                (Ok(n), _) if (from.into()..=to.into()).contains(&n) => return None,
                (Ok(_), MAX) => format!("no number from {from} up"),
                (Ok(_), to) => format!("no number from {from} to {to}"),
                (Err(_), _) => "no number".into(),
            },
            Address => match text.parse::<EthAddr>() {
                Ok(address) if address == EthAddr::default() || address.is_multicast() => {
                    "no address that a device can have".into()
                }
                Ok(_) => return None,
                Err(_) => "no Ethernet address".into(),
            },
            DatapathId => match datapath_id(text) {
                Some(_) => return None,
                None => "not 1 to 16 hexadecimal digits".into(),
            },
            By(wrong) => return wrong(text),
            Word(words) if words.contains(&text) => return None,
            Word(words) => format!("none of {}", words.join(", ")),
        };
        Some(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pairs: &[(&str, &str)]) -> Settings {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn each_key_has_values_that_it_can_have() {
        let good = said(&[
            ("datapath-id", "0x00000000000000ff"),
            ("forward-bpdu", "TRUE"),
            ("hwaddr", "02:00:00:00:00:01"),
            ("mac-aging-time", "300"),
        ]);
        assert_eq!(BRIDGE.unknown(&good).chain(BRIDGE.wrong(&good)).next(), None);
        let bad = said(&[
            ("colour", "red"),
            ("datapath-id", "0x"),
            ("forward-bpdu", "maybe"),
            ("hwaddr", "01:00:00:00:00:00"),
            ("mac-aging-time", "-4"),
            ("mac-table-size", "lots"),
        ]);
        assert_eq!(BRIDGE.unknown(&bad).collect::<Vec<_>>(), ["other_config:colour"]);
        assert_eq!(
            BRIDGE.wrong(&bad).collect::<Vec<_>>(),
            [
                "other_config:datapath-id: 0x is not 1 to 16 hexadecimal digits",
                "other_config:forward-bpdu: maybe is neither true nor false",
                "other_config:hwaddr: 01:00:00:00:00:00 is no address that a device can have",
                "other_config:mac-aging-time: -4 is no number from 15 to 3600",
                "other_config:mac-table-size: lots is no number",
            ]
        );
        let whole = [
            ("dpdk-init", "try"),
            ("flow-restore-wait", "false"),
            ("hw-offload-priority", "dummy,card"),
            ("max-idle", "99999999999999999999999"),
            ("pmd-cpu-mask", "0xg"),
            ("pmd-sleep-max", "50,1:x"),
            ("smc-enable", "True"),
            ("tx-flush-interval", "1000001"),
        ];
        assert_eq!(
            WHOLE.wrong(&said(&whole)).collect::<Vec<_>>(),
            [
                "other_config:dpdk-init: try is not available, but false",
                "other_config:hw-offload-priority: dummy,card is no list of drivers: there is none of the name card",
                "other_config:max-idle: 99999999999999999999999 is no number from 500 up",
                "other_config:pmd-cpu-mask: 0xg is no number of hexadecimal digits",
                "other_config:pmd-sleep-max: 50,1:x is no list of microseconds: 1:x",
                "other_config:tx-flush-interval: 1000001 is no number from 0 to 1000000",
            ]
        );
        let wrong = PORT.wrong(&said(&[("priority-tags", "sometimes")])).collect::<String>();
        assert!(wrong.starts_with("other_config:priority-tags: sometimes is none of no, never"), "{wrong}");
    }

    #[test]
    fn flags_are_read_as_they_are_checked() {
        let flags = said(&[("a", "TRUE"), ("b", "False"), ("c", "odd")]);
        assert_eq!(["a", "b", "c", "d"].map(|key| flag(&flags, key, false)), [true, false, false, false]);
        assert_eq!(["a", "b", "c", "d"].map(|key| flag(&flags, key, true)), [true, false, true, true]);
    }

    #[test]
    fn keys_are_in_order_and_once() {
        for Keys(all) in [WHOLE, BRIDGE, PORT, INTERFACE] {
            assert!(all.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
    }
}
