//! How megaflows are kept true: what `other_config` of the whole says of it.

use std::time::Duration;

use ovs_ofproto::pipeline::RevalidatorConfig;

use crate::config::Settings;

/// What settings say; what they do not say, or say in no number, is as by default. Times are in milliseconds, and no shorter
/// than ovs-vswitchd.conf.db(5) allows.
pub(super) fn config_of(settings: &Settings) -> RevalidatorConfig {
    let number = |key: &str| settings.get(key).and_then(|v| v.parse::<u32>().ok());
    let time = |key: &str, least: u32| number(key).map(|ms| Duration::from_millis(ms.max(least).into()));
    let mut config = RevalidatorConfig::default();
    config.flow_limit = number("flow-limit").map_or(config.flow_limit, |n| n as usize);
    config.max_idle = time("max-idle", 500).unwrap_or(config.max_idle);
    config.interval = time("max-revalidator", 100).unwrap_or(config.interval);
    config.min_pps = number("min-revalidate-pps").unwrap_or(config.min_pps);
    config.stats_delay = time("offloaded-stats-delay", 0).unwrap_or(config.stats_delay);
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_and_their_limits() {
        assert_eq!(config_of(&Settings::default()), RevalidatorConfig::default());
        let said = [("flow-limit", "1000"), ("max-idle", "1"), ("max-revalidator", "250"), ("min-revalidate-pps", "x")];
        let config = config_of(&said.into_iter().map(|(k, v)| (k.to_string(), v.to_string())).collect());
        assert_eq!((config.flow_limit, config.min_pps), (1000, 5));
        assert_eq!((config.max_idle, config.interval), (Duration::from_millis(500), Duration::from_millis(250)));
    }
}
