//! What commands share: options, and the datapath that need not be named where there is one only.

use super::{Datapaths, DpctlError, failed, usage};
use crate::action::PortNo;
use crate::dpif::{Dpif, PortInfo};
use crate::text::PortNames;

/// Options, wherever they stand.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Options {
    pub(super) more: bool,
    pub(super) statistics: bool,
    pub(super) names: Option<bool>,
    pub(super) may_create: bool,
    pub(super) clear: bool,
    pub(super) read_only: bool,
}

/// Takes the options out.
pub(super) fn options<'a>(words: &[&'a str]) -> Result<(Options, Vec<&'a str>), DpctlError> {
    let mut options = Options::default();
    let mut rest = Vec::new();
    for word in words {
        match *word {
            "-m" | "--more" => options.more = true,
            "-s" | "--statistics" => options.statistics = true,
            "--names" => options.names = Some(true),
            "--no-names" => options.names = Some(false),
            "--may-create" => options.may_create = true,
            "--clear" => options.clear = true,
            "--read-only" => options.read_only = true,
            odd if odd.starts_with('-') && odd.len() > 1 && !odd.starts_with("-1") => {
                return usage(format!("unrecognized option '{odd}'"));
            }
            word => rest.push(word),
        }
    }
    Ok((options, rest))
}

/// A command's arguments, and what it works on.
pub(super) struct Args<'a, 'd> {
    pub(super) datapaths: &'d mut dyn Datapaths,
    pub(super) options: Options,
    pub(super) rest: Vec<&'a str>,
}

impl<'a> Args<'a, '_> {
    /// The name of a datapath with its type in front, which it may have already.
    pub(super) fn full(&mut self, name: &str) -> Result<String, DpctlError> {
        let usual = self.full_new(name);
        let names = self.datapaths.names().map_err(failed("listing datapaths"))?;
        if name.contains('@') || names.contains(&usual) {
            return Ok(usual);
        }
        let known = names.into_iter().find(|known| known.split_once('@').is_some_and(|(_, bare)| bare == name));
        Ok(known.unwrap_or(usual))
    }

    /// As [`full`](Self::full), of a datapath that is not there yet.
    pub(super) fn full_new(&self, name: &str) -> String {
        if name.contains('@') { name.to_string() } else { format!("{}@{name}", self.datapaths.kind()) }
    }

    /// Whether a word is the name of a datapath that is there.
    pub(super) fn is_datapath(&mut self, word: &str) -> Result<bool, DpctlError> {
        let full = self.full(word)?;
        Ok(self.datapaths.names().map_err(failed("listing datapaths"))?.contains(&full))
    }

    /// The name of the datapath: the first argument if there are `most`, or if it is one's name and there are fewer; else
    /// the one that there is.
    pub(super) fn datapath(&mut self, most: usize) -> Result<String, DpctlError> {
        let names = self.datapaths.names().map_err(failed("listing datapaths"))?;
        let first = self.rest.first().copied().unwrap_or_default();
        // A type with an `@` behind it begins nothing but the name of a datapath.
        let is_typed = first
            .split_once('@')
            .is_some_and(|(kind, _)| !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric()));
        if is_typed || self.is_datapath(first)? || (self.rest.len() >= most && most > 0) {
            self.rest.remove(0);
            return self.full(first);
        }
        match names.as_slice() {
            [one] => Ok(one.clone()),
            [] => usage("no datapaths exist"),
            _ => usage("multiple datapaths, specify one"),
        }
    }

    /// Opens the datapath that the arguments name, of which there are at most `most`.
    pub(super) fn open(&mut self, most: usize) -> Result<&mut dyn Dpif, DpctlError> {
        let name = self.datapath(most)?;
        self.datapaths.open(&name).map_err(failed("opening datapath"))
    }

    /// The last argument if it begins so, without that.
    pub(super) fn take(&mut self, prefix: &str) -> Option<&'a str> {
        let place = self.rest.iter().position(|word| word.starts_with(prefix))?;
        self.rest.remove(place).strip_prefix(prefix)
    }
}

/// A number, decimal or hexadecimal.
pub(super) fn number<T: TryFrom<u128>>(text: &str, what: &str) -> Result<T, DpctlError> {
    let parsed = ovs_packet::text::number(text).and_then(|n| T::try_from(n).ok());
    parsed.ok_or_else(|| DpctlError::Usage(format!("{what}: invalid number '{text}'")))
}

/// The names of a datapath's ports.
#[derive(Default)]
pub(super) struct Names(pub(super) Vec<PortInfo>);

impl PortNames for Names {
    fn name(&self, number: u32) -> Option<String> {
        self.0.iter().find(|port| port.port == PortNo(number)).map(|port| port.name.clone())
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.0.iter().find(|port| port.name == name).map(|port| port.port.0)
    }
}
