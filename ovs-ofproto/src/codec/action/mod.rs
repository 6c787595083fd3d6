//! Actions on the wire: the table of their encodings, and the body of each.
//!
//! A row names an encoding, and says for runs of versions by whose numbering and under which number it goes, how long
//! it is at least, and whether it may be longer. An action that has several encodings goes out in the one that the
//! version has, as upstream chooses: sets of fields as `set_field` from OpenFlow 1.2 on, as actions of their own before,
//! as Nicira's loads where there is a mask.

mod complaint;
mod decode;
mod encode;
mod nicira;

use ovs_packet::field::{EXPERIMENTER_NX as NX, EXPERIMENTER_ONF as ONF};

use super::cursor::Shape;
use super::header::Version;

pub use complaint::Complaint;
pub(crate) use decode::lacks_tag;
pub(super) use decode::{decode, decode_applied, take_usual};
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

/// What is read of an action before its body: how it is encoded, its least length, and whether it may be longer.
#[derive(Clone, Copy, Debug)]
struct Encoding {
    code: Code,
    min: u8,
    more: bool,
}

/// Numbers of actions are below this, but for the ONF's one.
const NUMBERS: usize = 256;
/// Versions as they stand on the wire are below this.
const VERSIONS: usize = 7;

type Numbers = [Option<Encoding>; NUMBERS];

/// For each version, the numbers of standard and of Nicira's actions.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
static BY_NUMBER: [[Numbers; 2]; VERSIONS] = {
    let (mut index, mut row) = ([[[None; NUMBERS]; 2]; VERSIONS], 0);
    while row < ROWS.len() {
        let (code, runs) = ROWS[row];
        let mut run = 0;
        while run < runs.len() {
            let (vendor, since, until, number, min, more) = runs[run];
            let mut version = since as usize;
            while vendor != ONF && version <= until as usize {
                index[version][(vendor == NX) as usize][number as usize] =
                    Some(Encoding { code, min, more: more == MORE });
                version += 1;
            }
            run += 1;
        }
        row += 1;
    }
    index
};

/// For each version, the run of each encoding.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
static RUNS: [[Option<Run>; ROWS.len()]; VERSIONS] = {
    let (mut all, mut row) = ([[None; ROWS.len()]; VERSIONS], 0);
    while row < ROWS.len() {
        let (code, runs) = ROWS[row];
        assert!(code as usize == row);
        let mut run = 0;
        while run < runs.len() {
            let mut version = runs[run].1 as usize;
            while version <= runs[run].2 as usize {
                all[version][row] = Some(runs[run]);
                version += 1;
            }
            run += 1;
        }
        row += 1;
    }
    all
};

/// The encoding that a number has.
#[inline(always)]
fn encoding_of(vendor: u32, number: u16, version: Version) -> Option<Encoding> {
    if vendor == ONF {
        let is = |run: &Run| run.0 == ONF && run.3 == number && (run.1..=run.2).contains(&version.0);
        let found = |(code, runs): &(Code, &[Run])| Some((*code, *runs.iter().find(|run| is(run))?));
        let (code, (.., min, more)) = ROWS.iter().find_map(found)?;
        return Some(Encoding { code, min, more: more == MORE });
    }
    let [standard, nicira] = BY_NUMBER.get(usize::from(version.0))?;
    *(if vendor == NX { nicira } else { standard }).get(usize::from(number))?
}

impl Code {
    #[inline(always)]
    fn run(self, version: Version) -> Option<&'static Run> {
        RUNS.get(usize::from(version.0))?.get(self as usize)?.as_ref()
    }
}
