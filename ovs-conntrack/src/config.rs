//! What a tracker is told once: its size, its secret, its timeouts.

use core::fmt;
use core::time::Duration;

/// Settings of a [`Tracker`](crate::Tracker).
///
/// There is no `Default`: a tracker whose secret is known can be flooded with colliding connections, so the secret is
/// asked for.
///
/// ```
/// use std::time::Duration;
/// use ovs_conntrack::{Config, Timeouts};
///
/// let mut timeouts = Timeouts::default();
/// timeouts.udp_multiple = Duration::from_secs(180);
/// let config = Config::new(0x5eed).with_max_connections(10_000).with_timeouts(timeouts);
/// assert_eq!(config.max_connections, 10_000);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// How many connections are held at most; 3,000,000 unless set. The tracker holds no more than 2^32 - 2.
    pub max_connections: usize,
    /// Secret for the hash of the connection table. A lab passes a constant, so that runs agree; anything that
    /// strangers can send packets to draws it at random.
    pub seed: u64,
    /// How long connections live without traffic.
    pub timeouts: Timeouts,
    /// Whether packets with a wrong IPv4 or transport checksum are invalid, as they are unless this is unset. A packet
    /// whose transport checksum was checked already, or is still to be filled in, is not checked
    /// ([`L4Checksum`](ovs_packet::packet::L4Checksum)).
    pub verify_checksums: bool,
}

impl Config {
    /// The usual settings, with this secret.
    pub fn new(seed: u64) -> Self {
        Config { max_connections: 3_000_000, seed, timeouts: Timeouts::default(), verify_checksums: true }
    }

    /// These settings with another limit.
    #[must_use]
    pub fn with_max_connections(self, max_connections: usize) -> Self {
        Config { max_connections, ..self }
    }

    /// These settings with other timeouts.
    #[must_use]
    pub fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Config { timeouts, ..self }
    }

    /// These settings with checksums verified, or not.
    #[must_use]
    pub fn with_verify_checksums(self, verify_checksums: bool) -> Self {
        Config { verify_checksums, ..self }
    }
}

/// All but the secret, which has no business in a log.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config { max_connections, seed: _, timeouts, verify_checksums } = self;
        f.debug_struct("Config")
            .field("max_connections", max_connections)
            .field("timeouts", timeouts)
            .field("verify_checksums", verify_checksums)
            .finish_non_exhaustive()
    }
}

macro_rules! timeouts {
    ($($(#[$doc:meta])+ $class:ident $field:ident = $secs:expr;)+) => {
        /// How long a connection lives without traffic, by what its last packet left it in.
        ///
        /// The names are those of `CT_Timeout_Policy`, the values those of upstream's userspace datapath.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub struct Timeouts {
            $($(#[$doc])+ #[doc = concat!("Default: ", stringify!($secs), " seconds.")] pub $field: Duration,)+
        }

        impl Default for Timeouts {
            fn default() -> Self {
                Timeouts { $($field: Duration::from_secs($secs),)+ }
            }
        }

        /// The member of [`Timeouts`] that applies.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum TimeoutClass {
            $($class,)+
        }

        impl Timeouts {
            pub(crate) const fn of(&self, class: TimeoutClass) -> Duration {
                match class {
                    $(TimeoutClass::$class => self.$field,)+
                }
            }
        }
    };
}

timeouts! {
    /// TCP: one end spoke, the other did not.
    TcpSynSent tcp_syn_sent = 30;
    /// TCP: both ends spoke, not both have been acknowledged.
    TcpSynRecv tcp_syn_recv = 30;
    /// TCP: open both ways.
    TcpEstablished tcp_established = 86400;
    /// TCP: one end has finished.
    TcpFinWait tcp_fin_wait = 900;
    /// TCP: both ends have finished.
    TcpTimeWait tcp_time_wait = 45;
    /// TCP: both ends have finished and know it, or the connection was reset.
    TcpClose tcp_close = 30;
    /// UDP and all else but TCP and ICMP: one packet.
    UdpFirst udp_first = 60;
    /// Likewise: several packets, all in one direction.
    UdpSingle udp_single = 60;
    /// Likewise: packets in both directions.
    UdpMultiple udp_multiple = 30;
    /// ICMP: a query without an answer.
    IcmpFirst icmp_first = 60;
    /// ICMP: an answered query.
    IcmpReply icmp_reply = 30;
}
