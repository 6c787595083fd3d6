//! Reads settings of tables: `evict`, `vacancy:20,80`, `drop`, `name:acl`.

use super::error::{ParseFlowError, Parsed, invalid};
use super::flow::{Parser, Read};
use super::number::table_of;
use super::protocol::Protocols;
use crate::flow_mod::ALL_TABLES;

/// What is to become of a table; what is not named stays.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct TableSetting {
    /// The table, or [`ALL_TABLES`].
    pub table: u8,
    /// Where packets go that no flow matches: 0 to the controllers, 1 to the next table, 2 nowhere (OpenFlow 1.1 and 1.2).
    pub miss: Option<u32>,
    /// Whether flows are evicted (OpenFlow 1.4 and later).
    pub eviction: Option<bool>,
    /// Whether vacancy is told, and then percent below and above which it is (OpenFlow 1.4 and later).
    pub vacancy: Option<Option<(u8, u8)>>,
    /// Its name (OpenFlow 1.3 and later).
    pub name: Option<String>,
}

impl Parser<'_> {
    /// Reads a table and a setting as `mod-table` takes them.
    ///
    /// # Errors
    /// What is wrong, with its place in the text that it is in.
    pub fn table_setting(&self, table: &str, setting: &str) -> Parsed<Read<TableSetting>> {
        let number = match table {
            t if t.eq_ignore_ascii_case("all") => ALL_TABLES,
            t => table_of(t, 0, self.ports, |t| format!("unknown table \"{t}\""))?,
        };
        let mut value = TableSetting { table: number, ..TableSetting::default() };
        let (old, new) = (Protocols::OF11 | Protocols::OF12, Protocols::OF14_UP);
        let protocols = match setting {
            "controller" | "continue" | "drop" => {
                value.miss = ["controller", "continue", "drop"].iter().position(|s| *s == setting).map(|n| n as u32);
                if (number, setting) == (0xfe, "continue") {
                    return invalid(0, "last table's flow miss handling can not be continue");
                }
                old
            }
            "evict" | "noevict" => {
                value.eviction = Some(setting == "evict");
                new
            }
            "novacancy" => {
                value.vacancy = Some(None);
                new
            }
            _ => match setting.split_once(':') {
                Some(("vacancy", range)) => {
                    value.vacancy = Some(Some(vacancy(range)?));
                    new
                }
                Some(("name", name)) if number != ALL_TABLES => {
                    value.name = Some(name.to_string());
                    Protocols::OF13_UP
                }
                _ => return invalid(0, format!("invalid table_mod setting {setting}")),
            },
        };
        Ok(Read { value, protocols })
    }
}

/// `DOWN,UP` in percent.
fn vacancy(text: &str) -> Parsed<(u8, u8)> {
    let mut parts = text.split(',').filter(|part| !part.is_empty());
    let mut percent = |which: &str| {
        let text = parts.next().ok_or_else(|| ParseFlowError::invalid(0, format!("Vacancy {which} value missing")))?;
        let number = ovs_packet::text::integer(text).filter(|n| *n <= 100).and_then(|n| u8::try_from(n).ok());
        number.ok_or_else(|| ParseFlowError::invalid(0, format!("Invalid vacancy {which} value \"{text}\"")))
    };
    let (down, up) = (percent("down")?, percent("up")?);
    if down > up {
        let says = "Invalid vacancy range, vacancy up should be greater than vacancy down (OFPBPC_BAD_VALUE)";
        return invalid(0, says);
    }
    Ok((down, up))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings() {
        let read = |table: &str, setting: &str| Parser::default().table_setting(table, setting);
        let vacancy = read("all", "vacancy:20,80").unwrap();
        assert_eq!((vacancy.value.table, vacancy.value.vacancy), (ALL_TABLES, Some(Some((20, 80)))));
        assert_eq!(vacancy.protocols, Protocols::OF14_UP);
        assert_eq!(read("1", "drop").unwrap().value.miss, Some(2));
        assert_eq!(read("1", "name:acl").unwrap().value.name.as_deref(), Some("acl"));
        let says = |table: &str, setting: &str| read(table, setting).unwrap_err().problem.to_string();
        assert_eq!(says("x", "drop"), "unknown table \"x\"");
        assert_eq!(says("1", "bogus"), "invalid table_mod setting bogus");
        assert_eq!(says("1", "vacancy:20"), "Vacancy up value missing");
        assert_eq!(says("1", "vacancy:200,1"), "Invalid vacancy down value \"200\"");
        assert_eq!(says("254", "continue"), "last table's flow miss handling can not be continue");
    }
}
