//! Actions on the wire: the table of their encodings, and the body of each.
//!
//! A row names an encoding, and says for runs of versions by whose numbering and under which number it goes, how long
//! it is at least, and whether it may be longer. An action that has several encodings goes out in the one that the
//! version has, as upstream chooses: sets of fields as `set_field` from OpenFlow 1.2 on, as actions of their own before,
//! as Nicira's loads where there is a mask.

mod decode;
mod encode;
mod nicira;

use std::sync::LazyLock;

use ovs_packet::field::{EXPERIMENTER_NX as NX, EXPERIMENTER_ONF as ONF};

use super::cursor::Shape;
use super::header::Version;

pub(crate) use decode::lacks_tag;
pub(super) use decode::{decode, decode_applied};
pub(super) use encode::encode;
pub(crate) use nicira::ct_is_consistent;

/// How deep actions may be nested: clones within clones, and the settings of a connection.
pub const MAX_NESTING: usize = 32;

/// The type of all experimenters' actions.
pub(in crate::codec) const EXPERIMENTER: u16 = 0xffff;

const ACTION: Shape = Shape::tlv("an action");
/// The action may be longer.
const MORE: u8 = 1;

/// (experimenter, first version, last version, number, least length, [`MORE`])
type Run = (u32, u8, u8, u16, u8, u8);

macro_rules! encodings {
    ($($code:ident, [$($run:expr),+];)+) => {
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        enum Code {
            $($code,)+
        }

        const ROWS: &[(Code, &[Run])] = &[$((Code::$code, &[$($run),+]),)+];
    };
}

encodings! {
    Output10, [(0, 1, 1, 0, 8, 0)];
    Output11, [(0, 2, 6, 0, 16, 0)];
    SetVlanVid10, [(0, 1, 1, 1, 8, 0)];
    SetVlanVid11, [(0, 2, 6, 1, 8, 0)];
    SetVlanPcp10, [(0, 1, 1, 2, 8, 0)];
    SetVlanPcp11, [(0, 2, 6, 2, 8, 0)];
    PushVlan11, [(0, 2, 6, 17, 8, 0)];
    StripVlan10, [(0, 1, 1, 3, 8, 0)];
    SetDlSrc, [(0, 1, 1, 4, 16, 0), (0, 2, 6, 3, 16, 0)];
    PopVlan11, [(0, 2, 6, 18, 8, 0)];
    SetDlDst, [(0, 1, 1, 5, 16, 0), (0, 2, 6, 4, 16, 0)];
    SetNwSrc, [(0, 1, 1, 6, 8, 0), (0, 2, 6, 5, 8, 0)];
    SetNwDst, [(0, 1, 1, 7, 8, 0), (0, 2, 6, 6, 8, 0)];
    SetNwTos, [(0, 1, 1, 8, 8, 0), (0, 2, 6, 7, 8, 0)];
    SetNwEcn11, [(0, 2, 6, 8, 8, 0)];
    SetTpSrc, [(0, 1, 6, 9, 8, 0)];
    SetTpDst, [(0, 1, 6, 10, 8, 0)];
    Enqueue10, [(0, 1, 1, 11, 16, 0)];
    SetMplsLabel, [(NX, 1, 1, 30, 16, 0), (0, 2, 6, 13, 8, 0)];
    SetMplsTc, [(NX, 1, 1, 31, 16, 0), (0, 2, 6, 14, 8, 0)];
    SetMplsTtl, [(NX, 1, 1, 25, 16, 0), (0, 2, 6, 15, 8, 0)];
    DecMplsTtl, [(NX, 1, 1, 26, 16, 0), (0, 2, 6, 16, 8, 0)];
    PushMpls, [(NX, 1, 1, 23, 16, 0), (0, 2, 6, 19, 8, 0)];
    PopMpls, [(NX, 1, 1, 24, 16, 0), (0, 2, 6, 20, 8, 0)];
    SetQueue, [(NX, 1, 1, 4, 16, 0), (0, 2, 6, 21, 8, 0)];
    Group, [(NX, 1, 1, 40, 16, 0), (0, 2, 6, 22, 8, 0)];
    SetNwTtl11, [(0, 2, 6, 23, 8, 0)];
    DecNwTtl, [(NX, 1, 1, 18, 16, 0), (0, 2, 6, 24, 8, 0)];
    SetField12, [(0, 3, 5, 25, 8, MORE)];
    SetField15, [(0, 6, 6, 25, 8, MORE)];
    CopyField15, [(0, 6, 6, 28, 16, MORE)];
    Meter15, [(0, 6, 6, 29, 8, 0)];
    OnfCopyField13, [(ONF, 4, 5, 3200, 24, MORE)];
    NxDecTtlCntIds, [(NX, 1, 6, 21, 16, MORE)];
    NxRegLoad, [(NX, 1, 5, 7, 24, 0)];
    NxRegLoad2, [(NX, 1, 5, 33, 16, MORE)];
    NxRegMove, [(NX, 1, 5, 6, 16, MORE)];
    NxResubmit, [(NX, 1, 6, 1, 16, 0)];
    NxResubmitTable, [(NX, 1, 6, 14, 16, 0)];
    NxResubmitTableCt, [(NX, 1, 6, 44, 16, 0)];
    NxSetTunnel, [(NX, 1, 6, 2, 16, 0)];
    NxSetTunnel64, [(NX, 1, 6, 9, 24, 0)];
    NxPopQueue, [(NX, 1, 6, 5, 16, 0)];
    NxNote, [(NX, 1, 6, 8, 16, MORE)];
    NxMultipath, [(NX, 1, 6, 10, 32, 0)];
    NxBundle, [(NX, 1, 6, 12, 32, MORE)];
    NxBundleLoad, [(NX, 1, 6, 13, 32, MORE)];
    NxOutputReg, [(NX, 1, 6, 15, 24, 0)];
    NxOutputReg2, [(NX, 1, 6, 32, 24, 0)];
    NxLearn, [(NX, 1, 6, 16, 32, MORE)];
    NxLearn2, [(NX, 1, 6, 45, 40, MORE)];
    NxExit, [(NX, 1, 6, 17, 16, 0)];
    NxFinTimeout, [(NX, 1, 6, 19, 16, 0)];
    NxController, [(NX, 1, 6, 20, 16, 0)];
    NxController2, [(NX, 1, 6, 37, 16, MORE)];
    NxWriteMetadata, [(NX, 1, 6, 22, 32, 0)];
    NxStackPush, [(NX, 1, 6, 27, 24, 0)];
    NxStackPop, [(NX, 1, 6, 28, 24, 0)];
    NxSample, [(NX, 1, 6, 29, 24, 0)];
    NxSample2, [(NX, 1, 6, 38, 32, 0)];
    NxSample3, [(NX, 1, 6, 41, 32, 0)];
    NxSample4, [(NX, 1, 6, 51, 40, 0)];
    NxConjunction, [(NX, 1, 6, 34, 16, 0)];
    NxCt, [(NX, 1, 6, 35, 24, MORE)];
    NxNat, [(NX, 1, 6, 36, 16, MORE)];
    NxOutputTrunc, [(NX, 1, 6, 39, 16, 0)];
    NxClone, [(NX, 1, 6, 42, 16, MORE)];
    NxCtClear, [(NX, 1, 6, 43, 16, 0)];
    NxEncap, [(NX, 4, 6, 46, 16, MORE)];
    NxDecap, [(NX, 4, 6, 47, 16, MORE)];
    NxDecNshTtl, [(NX, 4, 6, 48, 16, 0)];
    NxCheckPktLarger, [(NX, 1, 6, 49, 24, MORE)];
    NxDeleteField, [(NX, 1, 6, 50, 24, 0)];
    NxDebugSlow, [(NX, 1, 6, 254, 16, 0)];
    NxDebugRecirc, [(NX, 1, 6, 255, 16, 0)];
}

/// Numbers of experimenters' actions are below this, but for the ONF's one.
const NUMBERS: usize = 256;

/// For each version, and for standard and Nicira's actions, the place of a number in [`ROWS`].
static BY_NUMBER: LazyLock<Vec<[u8; NUMBERS]>> = LazyLock::new(|| {
    let mut index = vec![[u8::MAX; NUMBERS]; 14];
    for (at, (_, runs)) in ROWS.iter().enumerate() {
        for (vendor, since, until, number, ..) in *runs {
            for version in *since..=*until {
                let space = index.get_mut(space(*vendor, version)).and_then(|s| s.get_mut(usize::from(*number)));
                if let Some(place) = space {
                    *place = at.try_into().unwrap_or(u8::MAX);
                }
            }
        }
    }
    index
});

fn space(vendor: u32, version: u8) -> usize {
    usize::from(version).wrapping_mul(2).wrapping_add((vendor == NX).into())
}

fn row_of(vendor: u32, number: u16, version: Version) -> Option<&'static (Code, &'static [Run])> {
    if vendor == ONF {
        return ROWS
            .iter()
            .find(|(_, runs)| runs.iter().any(|r| r.0 == ONF && r.3 == number && (r.1..=r.2).contains(&version.0)));
    }
    let at = BY_NUMBER.get(space(vendor, version.0))?.get(usize::from(number))?;
    ROWS.get(usize::from(*at))
}

impl Code {
    fn run(self, version: Version) -> Option<&'static Run> {
        let (_, runs) = ROWS.get(self as usize)?;
        runs.iter().find(|(_, since, until, ..)| (*since..=*until).contains(&version.0))
    }
}
