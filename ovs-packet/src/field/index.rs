//! Finding a field by its number, its name or its attribute: tables built when this is compiled.
//!
//! Numbers are looked up in one array of 128 for each space of numbers, names in tables of [`Words`].

use super::oxm::{OxmId, SPACES};
use super::table::{IDS, TABLE};
use super::{FieldId, KeyAttr};
use crate::text::Words;

/// No field.
const NONE: u8 = 0xff;

const _: () = assert!(IDS.len() < NONE as usize);

#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const INDEX: [[u8; 128]; SPACES] = {
    let mut index = [[NONE; 128]; SPACES];
    let mut f = 0;
    while f < TABLE.len() {
        let points = TABLE[f].points();
        let mut p = 0;
        while p < points.len() {
            if let Some(point) = points[p] {
                let Some(space) = point.id.space() else { panic!("a number of no known class") };
                assert!(index[space][point.id.field as usize] == NONE);
                index[space][point.id.field as usize] = f as u8;
            }
            p += 1;
        }
        f += 1;
    }
    index
};

static BY_OXM: [[u8; 128]; SPACES] = INDEX;

/// The field with a number in a space of numbers.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
pub(super) const fn by_number(space: usize, number: usize) -> Option<FieldId> {
    match INDEX[space][number] {
        NONE => None,
        field => Some(IDS[field as usize]),
    }
}

/// Every field by its name and its alias, if it has one.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const NAMES: [(&str, FieldId); 2 * TABLE.len()] = {
    let (mut names, mut f) = ([("", IDS[0]); 2 * TABLE.len()], 0);
    while f < TABLE.len() {
        names[2 * f] = (TABLE[f].name, IDS[f]);
        if let Some(alias) = TABLE[f].alias {
            names[2 * f + 1] = (alias, IDS[f]);
        }
        f += 1;
    }
    names
};

/// Every field by its names in wire formats.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
const WIRE_NAMES: [(&str, FieldId); 3 * TABLE.len()] = {
    let (mut names, mut i) = ([("", IDS[0]); 3 * TABLE.len()], 0);
    while i < names.len() {
        if let Some(point) = TABLE[i / 3].points()[i % 3] {
            names[i] = (point.name, IDS[i / 3]);
        }
        i += 1;
    }
    names
};

static BY_NAME: Words<FieldId, 1024> = Words::new(&NAMES);
static BY_WIRE_NAME: Words<FieldId, 1024> = Words::new(&WIRE_NAMES);

/// How many numbers of datapath attributes there may be, without those of none.
const ATTRS: usize = 32;

/// The fields in the order of their attributes, and where each attribute's begin; those of none stand last.
#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
static BY_ATTR: ([u8; IDS.len()], [u8; ATTRS + 1]) = {
    let (mut order, mut starts, mut n, mut attr) = ([0; IDS.len()], [0; ATTRS + 1], 0, 0);
    while attr <= ATTRS {
        starts[attr] = n as u8;
        let mut f = 0;
        while f < TABLE.len() {
            let own = match TABLE[f].attr {
                Some(a) => a as usize,
                None => ATTRS,
            };
            if own == attr {
                order[n] = f as u8;
                n += 1;
            }
            f += 1;
        }
        attr += 1;
    }
    assert!(n == IDS.len());
    (order, starts)
};

impl FieldId {
    /// The fields whose rows come under the datapath attribute `attr`, in the order of the table.
    pub fn of_attr(attr: KeyAttr) -> impl Iterator<Item = FieldId> + Clone {
        let (order, starts) = &BY_ATTR;
        let place = |i: usize| starts.get(i).map_or(0, |n| usize::from(*n));
        let own = order.get(place(attr as usize)..place(attr as usize + 1)).unwrap_or(&[]);
        own.iter().filter_map(|f| IDS.get(usize::from(*f)).copied())
    }

    /// The field called `name`, by its name or its alias.
    pub fn by_name(name: &str) -> Option<FieldId> {
        BY_NAME.get(name).copied()
    }

    /// The same of a name whose hash is known.
    #[inline]
    pub(crate) fn by_hashed_name(name: &str, hash: u32) -> Option<&'static FieldId> {
        BY_NAME.find(name, hash)
    }

    /// The field that a wire format calls `name`.
    ///
    /// ```
    /// use ovs_packet::field::FieldId;
    ///
    /// assert_eq!(FieldId::by_wire_name("OXM_OF_PKT_REG3"), Some(FieldId::Xreg3));
    /// assert_eq!(FieldId::by_wire_name("NXM_OF_METADATA"), None);
    /// ```
    pub fn by_wire_name(name: &str) -> Option<FieldId> {
        BY_WIRE_NAME.get(name).copied()
    }

    /// The field with this number in OXM or NXM.
    #[inline]
    pub fn by_oxm(id: OxmId) -> Option<FieldId> {
        let index = BY_OXM.get(id.space()?)?.get(usize::from(id.field))?;
        IDS.get(usize::from(*index)).copied()
    }
}
