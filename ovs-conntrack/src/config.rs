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
    /// Whether TCP packets are believed whatever their sequence numbers; they are not, unless this is set.
    pub tcp_liberal: bool,
    /// How many connections may be expected at a time on behalf of helpers; 1,000 unless set. A further one is not
    /// expected, and counted.
    pub max_expectations: usize,
}

impl Config {
    /// The usual settings, with this secret.
    pub fn new(seed: u64) -> Self {
        Config {
            max_connections: 3_000_000,
            seed,
            timeouts: Timeouts::default(),
            verify_checksums: true,
            tcp_liberal: false,
            max_expectations: 1000,
        }
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

    /// These settings with TCP sequence numbers disregarded, or not.
    #[must_use]
    pub fn with_tcp_liberal(self, tcp_liberal: bool) -> Self {
        Config { tcp_liberal, ..self }
    }

    /// These settings with another limit of expectations.
    #[must_use]
    pub fn with_max_expectations(self, max_expectations: usize) -> Self {
        Config { max_expectations, ..self }
    }
}

/// All but the secret, which has no business in a log.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config { max_connections, seed: _, timeouts, verify_checksums, tcp_liberal, max_expectations } = self;
        f.debug_struct("Config")
            .field("max_connections", max_connections)
            .field("timeouts", timeouts)
            .field("verify_checksums", verify_checksums)
            .field("tcp_liberal", tcp_liberal)
            .field("max_expectations", max_expectations)
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
            /// The names of the members.
            pub const NAMES: &[&str] = &[$(stringify!($field)),+];

            /// The member of this name.
            ///
            /// ```
            /// use std::time::Duration;
            /// use ovs_conntrack::Timeouts;
            ///
            /// let mut timeouts = Timeouts::default();
            /// *timeouts.by_name_mut("udp_first").unwrap() = Duration::from_secs(3);
            /// assert_eq!(timeouts.udp_first, Duration::from_secs(3));
            /// assert_eq!(timeouts.by_name_mut("tcp_unack"), None);
            /// ```
            pub fn by_name_mut(&mut self, name: &str) -> Option<&mut Duration> {
                match name {
                    $(stringify!($field) => Some(&mut self.$field),)+
                    _ => None,
                }
            }

            /// In nanoseconds, by [`TimeoutClass`]; what does not fit is for ever.
            pub(crate) fn nanos(&self) -> [u64; TimeoutClass::COUNT] {
                [$(u64::try_from(self.$field.as_nanos()).unwrap_or(u64::MAX),)+]
            }
        }

        impl TimeoutClass {
            pub(crate) const COUNT: usize = [$(stringify!($class)),+].len();
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
