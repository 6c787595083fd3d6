//! The ways to follow a database, the newest of which a server knows is used (RFC 7047 section 4.1.5; ovsdb-server(7)
//! sections 4.1.12 and 4.1.15).

use super::updates;

/// How the server tells of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Monitor,
    MonitorCond,
    MonitorCondSince,
}

impl Method {
    pub(crate) fn request(self) -> &'static str {
        match self {
            Method::Monitor => "monitor",
            Method::MonitorCond => "monitor_cond",
            Method::MonitorCondSince => "monitor_cond_since",
        }
    }

    pub(crate) fn notification(self) -> &'static str {
        match self {
            Method::Monitor => "update",
            Method::MonitorCond => "update2",
            Method::MonitorCondSince => "update3",
        }
    }

    pub(crate) fn form(self) -> updates::Form {
        if self == Method::Monitor { updates::Form::Whole } else { updates::Form::Difference }
    }

    pub(crate) fn older(self) -> Option<Method> {
        match self {
            Method::MonitorCondSince => Some(Method::MonitorCond),
            Method::MonitorCond => Some(Method::Monitor),
            Method::Monitor => None,
        }
    }
}
