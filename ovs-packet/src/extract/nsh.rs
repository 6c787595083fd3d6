//! The network service header (RFC 8300).

use super::{Extraction, Malformed, claim};
use crate::key::{Block, BlockSet, FlowKey};

/// Bytes of the base and service path headers.
const BASE: usize = 8;
/// Bytes of a header of metadata type 1: four context headers behind the base.
const TYPE_1: usize = BASE + 16;

/// Reads the header that `data` begins with. What it carries is not looked at; nor are the context headers of metadata
/// type 2.
pub(super) fn read(data: &[u8], key: &mut FlowKey, blocks: BlockSet) -> Extraction {
    let bad = Extraction::bad(blocks, Malformed::Nsh);
    let Some((base, rest)) = data.split_first_chunk::<BASE>() else { return bad };
    let [h0, h1, mdtype, np, path @ ..] = *base;
    let header = u16::from_be_bytes([h0, h1]);
    let (version, len) = (header >> 14, usize::from(header & 0x3f) * 4);
    if version != 0 || len > data.len() {
        return bad;
    }
    let context = match (mdtype, rest.first_chunk::<{ TYPE_1 - BASE }>()) {
        (1, Some(context)) if len == TYPE_1 => *context,
        (1, _) => return bad,
        (2, _) if len < BASE => return bad,
        _ => [0; TYPE_1 - BASE],
    };
    let blocks = claim(key, blocks, Block::Service);
    key.nsh_flags = (header >> 12 & 3) as u8;
    key.nsh_ttl = (header >> 6 & 0x3f) as u8;
    key.nsh_mdtype = mdtype;
    key.nsh_np = np;
    key.nsh_path.set(u32::from_be_bytes(path));
    for (word, bytes) in key.nsh_context.iter_mut().zip(context.as_chunks::<4>().0) {
        word.set(u32::from_be_bytes(*bytes));
    }
    Extraction::good(blocks)
}
