//! What is said of a flow that has ended.

use std::time::Duration;

use ovs_packet::Match;

use super::oxs::{Oxs, seconds};
use crate::codec::cursor::{Reader, Writer};
use crate::codec::error::{DecodeError, EncodeError};
use crate::codec::header::Version;
use crate::codec::kind::Kind;
use crate::codec::oxm::Reading;
use crate::codec::{matching, oxm};
#[cfg(feature = "serde")]
use crate::json::form::*;

/// A flow has ended.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct FlowRemoved {
    /// What it matched.
    #[cfg_attr(feature = "serde", serde(rename = "match"))]
    pub matching: Match,
    /// Its priority.
    pub priority: u16,
    /// Its cookie.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
    pub cookie: u64,
    /// Why it ended (`OFPRR_*`).
    #[cfg_attr(feature = "serde", serde(with = "As::<Named<RemovedReason>>"))]
    pub reason: u8,
    /// Its table; OpenFlow 1.0 does not tell.
    #[cfg_attr(feature = "serde", serde(rename = "table_id"))]
    pub table: Option<u8>,
    /// How long it existed.
    #[cfg_attr(feature = "serde", serde(with = "As::<Seconds>"))]
    pub duration: Duration,
    /// Its idle timeout.
    pub idle_timeout: u16,
    /// Its hard timeout; versions before 1.2 do not tell.
    pub hard_timeout: u16,
    /// Packets that met it.
    #[cfg_attr(feature = "serde", serde(rename = "packet_count"))]
    pub packets: u64,
    /// Bytes of those packets.
    #[cfg_attr(feature = "serde", serde(rename = "byte_count"))]
    pub bytes: u64,
}

impl FlowRemoved {
    pub(in crate::codec) fn write(&self, w: &mut Writer, version: Version, kind: Kind) -> Result<(), EncodeError> {
        let (secs, nanos) = (seconds(self.duration), self.duration.subsec_nanos());
        let table = self.table.unwrap_or(0);
        match kind {
            Kind::FlowRemoved10 => {
                matching::write_10(&self.matching, w, matching::Said::Nearest)?;
                w.u64(self.cookie);
                w.u16(self.priority);
                w.u8(self.reason);
                w.zeros(1);
                w.u32(secs);
                w.u32(nanos);
                w.u16(self.idle_timeout);
                w.zeros(2);
                w.u64(self.packets);
                w.u64(self.bytes);
                Ok(())
            }
            Kind::FlowRemoved15 => {
                w.u8(table);
                w.u8(self.reason);
                w.u16(self.priority);
                w.u16(self.idle_timeout);
                w.u16(self.hard_timeout);
                w.u64(self.cookie);
                matching::write_nearest(&self.matching, w, version)?;
                let (packets, bytes) = (self.packets, self.bytes);
                Oxs { duration: Some(self.duration), packets, bytes, ..Oxs::default() }.write(w)
            }
            _ => {
                w.u64(self.cookie);
                w.u16(self.priority);
                w.u8(self.reason);
                w.u8(match (kind, self.table) {
                    // Nicira's message has the table less one, so that 0 is none.
                    (Kind::NxFlowRemoved, table) => table.map_or(0, |t| t.saturating_add(1)),
                    _ => table,
                });
                w.u32(secs);
                w.u32(nanos);
                w.u16(self.idle_timeout);
                let at = w.len();
                w.u16(if version >= Version::V1_2 && kind != Kind::NxFlowRemoved { self.hard_timeout } else { 0 });
                w.u64(self.packets);
                w.u64(self.bytes);
                if kind == Kind::NxFlowRemoved {
                    let len = oxm::write_nxm(&self.matching, w, None)?;
                    w.patch_u16(at, len);
                    return Ok(());
                }
                matching::write_nearest(&self.matching, w, version)
            }
        }
    }

    pub(in crate::codec) fn read(r: &mut Reader<'_>, version: Version, kind: Kind) -> Result<Self, DecodeError> {
        let mut f = FlowRemoved::default();
        let duration = |r: &mut Reader<'_>| Ok(Duration::new(r.u32()?.into(), r.u32()?.min(999_999_999)));
        match kind {
            Kind::FlowRemoved15 => {
                f.table = Some(r.u8()?);
                f.reason = r.u8()?;
                (f.priority, f.idle_timeout, f.hard_timeout) = (r.u16()?, r.u16()?, r.u16()?);
                f.cookie = r.u64()?;
                matching::read(r, Reading::STRICT, &mut f.matching)?;
                let oxs = Oxs::read(r)?;
                f.duration = oxs.duration.unwrap_or_default();
                (f.packets, f.bytes) = (oxs.packets, oxs.bytes);
            }
            _ => {
                if kind == Kind::FlowRemoved10 {
                    f.matching = matching::read_10_whole(r)?;
                }
                f.cookie = r.u64()?;
                f.priority = r.u16()?;
                f.reason = r.u8()?;
                let table = r.u8()?;
                f.table = match kind {
                    Kind::FlowRemoved10 => None,
                    Kind::NxFlowRemoved => table.checked_sub(1),
                    _ => Some(table),
                };
                f.duration = duration(r)?;
                f.idle_timeout = r.u16()?;
                let hard = r.u16()?;
                (f.packets, f.bytes) = (r.u64()?, r.u64()?);
                match kind {
                    Kind::FlowRemoved10 => {}
                    Kind::NxFlowRemoved => {
                        oxm::read_nxm(r, hard.into(), Reading::STRICT, &mut f.matching)?;
                    }
                    _ => {
                        f.hard_timeout = if version >= Version::V1_2 { hard } else { 0 };
                        matching::read(r, Reading::STRICT, &mut f.matching)?;
                    }
                }
            }
        }
        Ok(f)
    }
}
