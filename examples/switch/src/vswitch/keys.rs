//! The keys of `other_config` columns that are obeyed, and what their values can be (ovs-vswitchd.conf.db(5)).
//!
//! A key that is not here, or a value that its key cannot have, is told where the row's errors are; what it stands for is as
//! by default. A number outside its range is taken for the end of the range that it passed.

use ovs_packet::EthAddr;

use crate::config::Settings;

/// What the value of a key can be.
#[derive(Clone, Copy)]
enum Value {
    /// What reads it says what is wrong with it, or what holds instead.
    Other,
    /// `true` or `false`.
    Flag,
    /// A number that is not negative.
    Number,
    /// An Ethernet address that a device can have.
    Address,
    /// Up to 16 hexadecimal digits; all of them zero ask for the default.
    DatapathId,
    /// One of these.
    Word(&'static [&'static str]),
}

use Value::{Address, DatapathId, Flag, Number, Other, Word};

/// Keys of a table.
pub(super) struct Keys(&'static [(&'static str, Value)]);

/// Those of the whole. Segmentation is left to whoever can do it, always: enabling it is nothing to do. Handlers and
/// revalidators are this switch's loop.
pub(super) const WHOLE: Keys = Keys(&[
    ("bundle-idle-timeout", Number),
    ("emc-insert-inv-prob", Number),
    ("explicit-sampled-drops", Flag),
    ("flow-limit", Number),
    ("hw-offload", Flag),
    ("hw-offload-priority", Other),
    ("max-idle", Number),
    ("max-revalidator", Number),
    ("min-revalidate-pps", Number),
    ("n-handler-threads", Number),
    ("n-revalidator-threads", Number),
    ("offloaded-stats-delay", Number),
    ("pmd-auto-lb", Flag),
    ("pmd-auto-lb-improvement-threshold", Other),
    ("pmd-auto-lb-load-threshold", Other),
    ("pmd-auto-lb-rebal-interval", Other),
    ("pmd-cpu-mask", Other),
    ("pmd-maxsleep", Number),
    ("pmd-perf-metrics", Flag),
    ("pmd-rxq-assign", Word(&["cycles", "roundrobin", "group"])),
    ("pmd-rxq-isolate", Flag),
    ("pmd-sleep-max", Other),
    ("smc-enable", Flag),
    ("stats-update-interval", Number),
    ("tx-flush-interval", Number),
    ("userspace-tso-enable", Flag),
    ("vlan-limit", Number),
]);

/// Those of a bridge.
pub(super) const BRIDGE: Keys = Keys(&[
    ("datapath-id", DatapathId),
    ("disable-in-band", Flag),
    ("dp-desc", Other),
    ("dp-sn", Other),
    ("forward-bpdu", Flag),
    ("hwaddr", Address),
    ("in-band-queue", Number),
    ("mac-aging-time", Number),
    ("mac-table-size", Number),
    ("mcast-snooping-aging-time", Number),
    ("mcast-snooping-disable-flood-unregistered", Flag),
    ("mcast-snooping-table-size", Number),
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
pub(super) const INTERFACE: Keys =
    Keys(&[("hw-offload-priority", Other), ("pmd-rxq-affinity", Other), ("tx-steering", Word(&["thread", "hash"]))]);

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
            Other => return None,
            Flag if ["true", "false"].iter().any(|word| text.eq_ignore_ascii_case(word)) => return None,
            Flag => "neither true nor false".into(),
            Number if text.parse::<u64>().is_ok() => return None,
            Number => "no number from 0 up".into(),
            Address => match text.parse::<EthAddr>() {
                Ok(address) if address == EthAddr::default() || address.is_multicast() => {
                    "no address that a device can have".into()
                }
                Ok(_) => return None,
                Err(_) => "no Ethernet address".into(),
            },
            DatapathId => match u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16) {
                Ok(_) => return None,
                Err(_) => "not 1 to 16 hexadecimal digits".into(),
            },
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
                "other_config:mac-aging-time: -4 is no number from 0 up",
                "other_config:mac-table-size: lots is no number from 0 up",
            ]
        );
        let wrong = PORT.wrong(&said(&[("priority-tags", "sometimes")])).collect::<String>();
        assert!(wrong.starts_with("other_config:priority-tags: sometimes is none of no, never"), "{wrong}");
    }

    #[test]
    fn keys_are_in_order_and_once() {
        for Keys(all) in [WHOLE, BRIDGE, PORT, INTERFACE] {
            assert!(all.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
    }
}
