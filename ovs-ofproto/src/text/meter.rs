//! Reads meters: `meter=1,kbps,burst,bands=type=drop,rate=1000,burst_size=100`.

use super::error::{ParseFlowError, Parsed, invalid};
use super::flow::Parser;
use super::number::{u8_of, u32_of};
use crate::codec::{Band, MeterConfig, MeterMod};

/// What to do with a meter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u16)]
pub enum MeterCommand {
    /// Add it.
    Add = 0,
    /// Change it.
    Modify = 1,
    /// Delete it.
    Delete = 2,
}

const FLAGS: [(&str, u16); 4] = [("kbps", 1), ("pktps", 2), ("burst", BURST), ("stats", 8)];
const BURST: u16 = 4;
/// The greatest number of a meter.
const MAX_METER: u32 = 0xffff_0000;
const DROP: u16 = 1;
const DSCP_REMARK: u16 = 2;

/// Words between commas, white space and equals signs, with their places.
struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Words<'a> {
    /// The next word, which ends at one of `ends`.
    fn next(&mut self, ends: &[char]) -> Option<(&'a str, usize)> {
        let rest = self.text.get(self.at..)?;
        let start = rest.find(|c| !ends.contains(&c))?;
        let word = rest.get(start..)?;
        let len = word.find(ends).unwrap_or(word.len());
        let at = self.at.saturating_add(start);
        self.at = at.saturating_add(len).saturating_add(1);
        Some((word.get(..len)?, at))
    }

    fn key(&mut self) -> Option<(&'a str, usize)> {
        self.next(&['=', ',', ' ', '\t', '\r', '\n'])
    }

    fn value(&mut self, key: &str) -> Parsed<(&'a str, usize)> {
        let end = self.text.len();
        let value = self.next(&[',', ' ', '\t', '\r', '\n']);
        value.ok_or_else(|| ParseFlowError::invalid(end, format!("field {key} missing value")))
    }
}

impl Parser<'_> {
    /// Reads what `add-meter` and the like take. OpenFlow 1.3 and later can say it.
    ///
    /// ```
    /// use ovs_ofproto::text::{MeterCommand, Parser};
    ///
    /// let meter = Parser::default().meter_mod("meter=1 kbps bands=type=drop rate=1000", MeterCommand::Add)?;
    /// assert_eq!((meter.config.meter, meter.config.bands[0].rate), (1, 1000));
    /// # Ok::<(), ovs_ofproto::text::ParseFlowError>(())
    /// ```
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn meter_mod(&self, text: &str, command: MeterCommand) -> Parsed<MeterMod> {
        let sets = command != MeterCommand::Delete;
        let no_bands = || ParseFlowError::invalid(text.len(), "must specify bands");
        let (head, bands) = match text.find("band").filter(|_| sets) {
            Some(at) => {
                let (head, rest) = text.split_at_checked(at).ok_or_else(no_bands)?;
                let equals = rest.find('=').ok_or_else(no_bands)?;
                (head, Some(at.saturating_add(equals).saturating_add(1)))
            }
            None if sets => return Err(no_bands()),
            None => (text, None),
        };
        let mut config = MeterConfig::default();
        let mut words = Words { text: head, at: 0 };
        while let Some((name, at)) = words.key() {
            if let Some((_, flag)) = FLAGS.iter().find(|(word, _)| sets && *word == name) {
                config.flags |= flag;
                continue;
            }
            let (value, value_at) = words.value(name)?;
            match (name, value) {
                ("meter", value) => config.meter = meter_id(value, value_at)?,
                _ => return invalid(at, format!("unknown keyword {name}")),
            }
        }
        if config.meter == 0 {
            return invalid(head.len(), "must specify 'meter'");
        }
        if sets && config.flags == 0 {
            return invalid(head.len(), "meter must specify either 'kbps' or 'pktps'");
        }
        if let Some(at) = bands {
            config.bands = read_bands(text, at)?;
            check_bands(&config, at)?;
        }
        Ok(MeterMod { command: command as u16, config })
    }
}

/// A meter by number, or `all`, `controller`, `slowpath`.
fn meter_id(text: &str, at: usize) -> Parsed<u32> {
    Ok(match text {
        "all" => 0xffff_ffff,
        "controller" => 0xffff_fffe,
        "slowpath" => 0xffff_fffd,
        text => match u32_of(text, at)? {
            id @ 1..=MAX_METER => id,
            _ => return invalid(at, "invalid value for meter"),
        },
    })
}

fn read_bands(text: &str, at: usize) -> Parsed<Vec<Band>> {
    let mut bands: Vec<Band> = Vec::new();
    let mut words = Words { text, at };
    while let Some((name, at)) = words.key() {
        let (value, value_at) = words.value(name)?;
        if name == "type" {
            let kind = match value {
                "drop" => DROP,
                "dscp_remark" => DSCP_REMARK,
                other => return invalid(value_at, format!("field {name} unknown value {other}")),
            };
            bands.push(Band { kind, ..Band::default() });
            continue;
        }
        let Some(band) = bands.last_mut() else {
            return invalid(at, "band must start with the 'type' keyword");
        };
        match name {
            "rate" => band.rate = u32_of(value, value_at)?,
            "burst_size" => band.burst = u32_of(value, value_at)?,
            "prec_level" => band.precedence = u8_of(value, value_at, name)?,
            name => return invalid(at, format!("unknown keyword {name}")),
        }
    }
    Ok(bands)
}

fn check_bands(config: &MeterConfig, at: usize) -> Parsed<()> {
    if config.bands.is_empty() {
        return invalid(at, "meter must have bands");
    }
    for band in &config.bands {
        let says = match (band.kind, config.flags & BURST != 0) {
            (DSCP_REMARK, _) if band.precedence == 0 => "'dscp_remark' band must have 'prec_level'",
            (DROP, _) if band.precedence != 0 => "Only 'dscp_remark' band may have 'prec_level'",
            _ if band.rate == 0 => "band must have 'rate'",
            (_, true) if band.burst == 0 => "band must have 'burst_size' when 'burst' flag is set",
            (_, false) if band.burst != 0 => "band may have 'burst_size' only when 'burst' flag is set",
            _ => continue,
        };
        return invalid(at, says);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands() {
        let text = "meter=controller, pktps, burst, stats, bands=type=drop, rate=1, burst_size=2 type=dscp_remark rate=3 burst_size=4 prec_level=5";
        let m = Parser::default().meter_mod(text, MeterCommand::Modify).unwrap();
        assert_eq!((m.command, m.config.meter, m.config.flags), (1, 0xffff_fffe, 14));
        assert_eq!(
            m.config.bands,
            [Band { kind: 1, rate: 1, burst: 2, precedence: 0 }, Band { kind: 2, rate: 3, burst: 4, precedence: 5 }]
        );
        let delete = Parser::default().meter_mod("meter=all", MeterCommand::Delete).unwrap();
        assert_eq!(delete.config.meter, u32::MAX);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let says = |text: &str| Parser::default().meter_mod(text, MeterCommand::Add).unwrap_err().problem.to_string();
        assert_eq!(says("meter=1 kbps"), "must specify bands");
        assert_eq!(says("meter=1 bands=type=drop rate=1"), "meter must specify either 'kbps' or 'pktps'");
        assert_eq!(says("kbps bands=type=drop rate=1"), "must specify 'meter'");
        assert_eq!(says("meter=1 kbps bands=rate=1"), "band must start with the 'type' keyword");
        assert_eq!(says("meter=1 kbps bands=type=drop"), "band must have 'rate'");
        assert_eq!(
            says("meter=1 kbps bands=type=drop rate=1 burst_size=1"),
            "band may have 'burst_size' only when 'burst' flag is set"
        );
        assert_eq!(says("meter=0 kbps bands=type=drop rate=1"), "invalid value for meter");
        assert_eq!(says("meter=1 kbps bands=type"), "field type missing value");
        assert_eq!(says("meter"), "must specify bands");
    }
}
