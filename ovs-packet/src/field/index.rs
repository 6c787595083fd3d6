//! Finding a field by its number, its name or its attribute: tables built when this is compiled.
//!
//! Numbers are looked up in one array of 128 for each space of numbers. Names are looked up in open hash tables with
//! linear probing, a quarter full.

use super::oxm::{OxmId, SPACES};
use super::table::{IDS, TABLE};
use super::{FieldId, KeyAttr};

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

const SLOTS: usize = 1024;

/// A hash table of names: the places hold the numbers of fields.
struct Names([u8; SLOTS]);

/// The 32-bit FNV-1a hash, folded to a place.
#[expect(clippy::indexing_slicing, reason = "below the length")]
const fn place_of(name: &str) -> usize {
    let (bytes, mut h, mut i) = (name.as_bytes(), 0x811c_9dc5u32, 0);
    while i < bytes.len() {
        h = (h ^ bytes[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    (h ^ h >> 16) as usize % SLOTS
}

impl Names {
    #[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
    const fn with(mut self, name: &str, field: usize) -> Names {
        let mut at = place_of(name);
        while self.0[at] != NONE {
            at = (at + 1) % SLOTS;
        }
        self.0[at] = field as u8;
        self
    }

    fn find(&self, name: &str, is: impl Fn(FieldId) -> bool) -> Option<FieldId> {
        let mut at = place_of(name);
        // The table is never full: an empty place ends the search.
        while let Some(field) = self.0.get(at).and_then(|i| IDS.get(usize::from(*i))) {
            if is(*field) {
                return Some(*field);
            }
            at = (at + 1) % SLOTS;
        }
        None
    }
}

#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
static BY_NAME: Names = {
    let (mut names, mut f) = (Names([NONE; SLOTS]), 0);
    while f < TABLE.len() {
        names = names.with(TABLE[f].name, f);
        if let Some(alias) = TABLE[f].alias {
            names = names.with(alias, f);
        }
        f += 1;
    }
    names
};

#[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
static BY_WIRE_NAME: Names = {
    let (mut names, mut f) = (Names([NONE; SLOTS]), 0);
    while f < TABLE.len() {
        let points = TABLE[f].points();
        let mut p = 0;
        while p < points.len() {
            if let Some(point) = points[p] {
                names = names.with(point.name, f);
            }
            p += 1;
        }
        f += 1;
    }
    names
};

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
        BY_NAME.find(name, |f| f.info().name == name || f.info().alias == Some(name))
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
        BY_WIRE_NAME.find(name, |f| f.info().code_points().any(|p| p.name == name))
    }

    /// The field with this number in OXM or NXM.
    #[inline]
    pub fn by_oxm(id: OxmId) -> Option<FieldId> {
        let index = BY_OXM.get(id.space()?)?.get(usize::from(id.field))?;
        IDS.get(usize::from(*index)).copied()
    }
}
