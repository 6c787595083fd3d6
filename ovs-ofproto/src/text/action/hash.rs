//! Actions that choose by a hash: `bundle`, `bundle_load`, `multipath`.

use ovs_packet::text::PortNames;

use super::Word;
use crate::action::{Action, Bundle, BundleAlgorithm, HashFields, Multipath, MultipathAlgorithm, Subfield};
use crate::text::error::{ParseFlowError, Parsed, invalid};
use crate::text::lexer::Item;
use crate::text::number::{first_digits, port_of};
use crate::text::subfield;

pub(super) const WORDS: [(&str, Word); 3] = [
    ("bundle", Word::Action(|reader, i| bundle(i, false, reader.ports))),
    ("bundle_load", Word::Action(|reader, i| bundle(i, true, reader.ports))),
    ("multipath", Word::Action(|_, i| multipath(i))),
];

/// Takes the next word off `rest`; words end at one of `ends`.
fn word<'a>(rest: &mut &'a str, ends: &[char]) -> Option<&'a str> {
    let text = rest.trim_start_matches(ends);
    let end = text.find(ends).unwrap_or(text.len());
    let (word, behind) = text.split_at_checked(end)?;
    *rest = behind.char_indices().nth(1).map_or("", |(at, _)| behind.get(at..).unwrap_or_default());
    (!word.is_empty()).then_some(word)
}

fn basis(text: &str) -> u16 {
    (first_digits(text) & 0xffff) as u16
}

fn hash_fields(name: &str, item: &Item<'_>) -> Parsed<HashFields> {
    let unknown = || ParseFlowError::invalid(item.arg_at, format!("{}: unknown fields `{name}'", item.arg));
    HashFields::by_word(name).ok_or_else(unknown)
}

fn no_algorithm(name: &str, item: &Item<'_>) -> ParseFlowError {
    ParseFlowError::invalid(item.arg_at, format!("{}: unknown algorithm `{name}'", item.arg))
}

/// A field that these actions can write.
fn destination(text: &str, item: &Item<'_>) -> Parsed<Subfield> {
    let dst = subfield::parse(text, item.arg_at)?;
    match subfield::is_plain(dst.field) {
        true => Ok(dst),
        false => invalid(item.arg_at, format!("{}: experimenter OXM field '{text}' not supported", item.arg)),
    }
}

/// The most ports that a bundle has.
const MAX_MEMBERS: usize = 2048;

/// `FIELDS,BASIS,ALGORITHM,ofport[,TARGET],members:PORT,...`.
fn bundle(item: &Item<'_>, load: bool, ports: &dyn PortNames) -> Parsed<Action> {
    let (arg, at) = (item.arg, item.arg_at);
    let mut rest = arg;
    let mut next = || word(&mut rest, &[',', ' ']);
    let (fields, basis_text, algorithm, kind) = (next(), next(), next(), next());
    let dst = if load { next() } else { None };
    let (Some(fields), Some(basis_text), Some(algorithm), Some(kind), Some(delimiter)) =
        (fields, basis_text, algorithm, kind, word(&mut rest, &[':', ' ']))
    else {
        return invalid(at, format!("{arg}: not enough arguments to bundle action"));
    };
    if !["members", "slaves"].iter().any(|name| name.eq_ignore_ascii_case(delimiter)) {
        return invalid(at, format!("{arg}: missing member delimiter, expected `members', got `{delimiter}'"));
    }
    let mut members = Vec::new();
    while let (Some(member), true) = (word(&mut rest, &[',', ' ', '[', ']']), members.len() < MAX_MEMBERS) {
        members.push(port_of(member, at, ports, |t| format!("{t}: bad port number"))?);
    }
    let fields = hash_fields(fields, item)?;
    let algorithm = BundleAlgorithm::by_word(algorithm).ok_or_else(|| no_algorithm(algorithm, item))?;
    if !kind.eq_ignore_ascii_case("ofport") {
        return invalid(at, format!("{arg}: unknown member_type `{kind}'"));
    }
    let dst = dst.map(|dst| destination(dst, item)).transpose()?;
    Ok(Action::Bundle(Box::new(Bundle { fields, basis: basis(basis_text), algorithm, dst, members })))
}

/// `FIELDS,BASIS,ALGORITHM,LINKS,ARG,TARGET`.
fn multipath(item: &Item<'_>) -> Parsed<Action> {
    let (arg, at) = (item.arg, item.arg_at);
    let mut rest = arg;
    let mut next = || word(&mut rest, &[',', ' ']);
    let (Some(fields), Some(basis_text), Some(algorithm), Some(links), Some(number), Some(dst)) =
        (next(), next(), next(), next(), next(), next())
    else {
        return invalid(at, format!("{arg}: not enough arguments to multipath action"));
    };
    let fields = hash_fields(fields, item)?;
    let algorithm = MultipathAlgorithm::by_word(algorithm).ok_or_else(|| no_algorithm(algorithm, item))?;
    let links = first_digits(links);
    let Some(max_link) = links.checked_sub(1).and_then(|n| u16::try_from(n).ok()) else {
        return invalid(at, format!("{arg}: n_links {links} is not in valid range 1 to 65536"));
    };
    let dst = destination(dst, item)?;
    let room = 1u32.checked_shl(dst.bits.into()).filter(|_| dst.bits < 16);
    if let Some(room) = room.filter(|room| links > *room) {
        return invalid(
            at,
            format!(
                "{arg}: {}-bit destination field has {room} possible values, less than specified n_links {links}",
                dst.bits
            ),
        );
    }
    let (basis, arg) = (basis(basis_text), first_digits(number));
    Ok(Action::Multipath(Box::new(Multipath { fields, basis, algorithm, max_link, arg, dst })))
}
