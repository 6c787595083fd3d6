//! Requests for the statistics of flows.

use ovs_packet::{Match, OfPort};

use super::{OFPG_ANY, port16, read_port16};
use crate::codec::cursor::{Reader, Writer};
use crate::codec::error::{DecodeError, EncodeError, OfError};
use crate::codec::header::Version;
use crate::codec::io::read_port;
use crate::codec::kind::Kind;
use crate::codec::oxm::Reading;
use crate::codec::{matching, oxm};
use crate::flow_mod::ALL_TABLES;
#[cfg(feature = "serde")]
use crate::json::form::*;

/// Asks for the statistics of flows (OFPMP_FLOW), or for their sums (OFPMP_AGGREGATE).
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct FlowStatsRequest {
    /// The table, or [`ALL_TABLES`].
    #[cfg_attr(feature = "serde", serde(rename = "table_id"))]
    pub table: u8,
    /// Only flows that output to this port; [`OfPort::ANY`] is all.
    pub out_port: OfPort,
    /// Only flows that output to this group; 0xffffffff is all.
    #[cfg_attr(feature = "serde", serde(with = "As::<Named<GroupId>>"))]
    pub out_group: u32,
    /// Only flows whose cookie agrees in the bits of the mask.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
    pub cookie: u64,
    /// The bits of the cookie that must agree.
    #[cfg_attr(feature = "serde", serde(with = "As::<Hex>"))]
    pub cookie_mask: u64,
    /// Only flows within this match.
    #[cfg_attr(feature = "serde", serde(rename = "match"))]
    pub matching: Match,
}

impl Default for FlowStatsRequest {
    fn default() -> Self {
        FlowStatsRequest {
            table: ALL_TABLES,
            out_port: OfPort::ANY,
            out_group: OFPG_ANY,
            cookie: 0,
            cookie_mask: 0,
            matching: Match::ANY,
        }
    }
}

impl FlowStatsRequest {
    pub(in crate::codec) fn needs_nxm(&self) -> bool {
        self.cookie_mask != 0 || !matching::may_fit_10(&self.matching)
    }

    pub(in crate::codec) fn write(&self, w: &mut Writer, version: Version, kind: Kind) -> Result<(), EncodeError> {
        if version == Version::V1_0 && self.out_group != OFPG_ANY {
            return Err(EncodeError::NotInVersion { version: version.0, what: "flows by their group" });
        }
        match kind {
            Kind::StatsFlowRequest10 | Kind::StatsAggregateRequest10 => {
                if self.cookie_mask != 0 {
                    return Err(EncodeError::NotInVersion { version: version.0, what: "flows by their cookie" });
                }
                matching::write_10(&self.matching, w, matching::Said::All)?;
                w.u8(self.table);
                w.zeros(1);
                w.u16(port16(self.out_port)?);
                Ok(())
            }
            Kind::NxStatsFlowRequest | Kind::NxStatsAggregateRequest => {
                w.u16(port16(self.out_port)?);
                let at = w.len();
                w.zeros(2);
                w.u8(self.table);
                w.zeros(3);
                let len = oxm::write_nxm(&self.matching, w, Some((self.cookie, self.cookie_mask)))?;
                w.patch_u16(at, len);
                Ok(())
            }
            _ => {
                w.u8(self.table);
                w.zeros(3);
                w.u32(self.out_port.0);
                w.u32(self.out_group);
                w.zeros(4);
                w.u64(self.cookie);
                w.u64(self.cookie_mask);
                matching::write(&self.matching, w, version)
            }
        }
    }

    pub(in crate::codec) fn read(r: &mut Reader<'_>, kind: Kind) -> Result<Self, DecodeError> {
        let mut request = FlowStatsRequest::default();
        match kind {
            Kind::StatsFlowRequest10 | Kind::StatsAggregateRequest10 => {
                request.matching = matching::read_10(r)?;
                request.table = r.u8()?;
                r.skip(1)?;
                request.out_port = read_port16(r)?;
            }
            Kind::NxStatsFlowRequest | Kind::NxStatsAggregateRequest => {
                request.out_port = read_port16(r)?;
                let len = r.u16()?;
                request.table = r.u8()?;
                r.skip(3)?;
                let cookie = oxm::read_nxm(r, len.into(), Reading::COOKIE, &mut request.matching)?;
                (request.cookie, request.cookie_mask) = cookie.unwrap_or((0, 0));
                if !r.is_empty() {
                    return Err(r.error(OfError::BadRequestBadLength, "the end of the request"));
                }
            }
            _ => {
                request.table = r.u8()?;
                r.skip(3)?;
                request.out_port = read_port(r)?;
                request.out_group = r.u32()?;
                r.skip(4)?;
                request.cookie = r.u64()?;
                request.cookie_mask = r.u64()?;
                matching::read(r, Reading::STRICT, &mut request.matching)?;
                if kind == Kind::StatsAggregateRequest15 {
                    // Which statistics are asked for: all of them are told.
                    r.remaining();
                }
            }
        }
        Ok(request)
    }
}
