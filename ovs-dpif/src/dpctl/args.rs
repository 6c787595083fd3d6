//! What commands share: options, and the datapath that need not be named where there is one only.

use super::{Datapaths, DpctlError, failed, usage};
use crate::action::PortNo;
use crate::dpif::{Dpif, DpifError, PortInfo};
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
    /// The name of a datapath without its type.
    pub(super) fn bare<'n>(&self, name: &'n str) -> Result<&'n str, DpctlError> {
        match name.split_once('@') {
            None => Ok(name),
            Some((kind, name)) if kind == self.datapaths.kind() => Ok(name),
            Some(_) => Err(failed("opening datapath")(DpifError::NoSuchDatapath(name.into()))),
        }
    }

    /// The name of the datapath: the first argument if there are `most`, or if it is one's name and there are fewer; else
    /// the one that there is.
    pub(super) fn datapath(&mut self, most: usize) -> Result<String, DpctlError> {
        let names = self.datapaths.names().map_err(failed("listing datapaths"))?;
        let named = self.rest.first().is_some_and(|first| {
            let known = self.bare(first).is_ok_and(|name| names.iter().any(|n| n == name));
            known || first.split_once('@').is_some_and(|(kind, _)| kind == self.datapaths.kind())
        });
        if named || (self.rest.len() >= most && most > 0) {
            let first = self.rest.remove(0);
            return Ok(self.bare(first)?.to_string());
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
