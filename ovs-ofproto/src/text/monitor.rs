//! Reads monitors of flows: `!initial,table=1,ip`.

use super::error::{ParseFlowError, Parsed, invalid};
use super::flow::{Parser, Read, forms_of_match};
use super::lexer::items;
use super::number::{port_of, table_of};
use super::protocol::Protocols;
use crate::codec::{FlowMonitorRequest, MonitorFlags};
use ovs_packet::text::Term;

/// What can be left out of what a monitor tells. Nothing tells flows in full or not here, as upstream has it.
const LEFT_OUT: [(&str, MonitorFlags); 7] = [
    ("!initial", MonitorFlags::INITIAL),
    ("!add", MonitorFlags::ADD),
    ("!delete", MonitorFlags::REMOVED),
    ("!modify", MonitorFlags::MODIFY),
    ("!actions", MonitorFlags::INSTRUCTIONS),
    ("!own", MonitorFlags::OWN),
    ("!abbrev", MonitorFlags::empty()),
];

impl Parser<'_> {
    /// Reads what `monitor watch:` takes: which flows, and with `!` in front what not to tell of them.
    ///
    /// ```
    /// use ovs_ofproto::codec::MonitorFlags;
    /// use ovs_ofproto::text::Parser;
    ///
    /// let monitor = Parser::default().flow_monitor("!initial,table=1,ip")?.value;
    /// assert_eq!((monitor.table, monitor.flags.contains(MonitorFlags::INITIAL)), (1, false));
    /// # Ok::<(), ovs_ofproto::text::ParseFlowError>(())
    /// ```
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn flow_monitor(&self, text: &str) -> Parsed<Read<FlowMonitorRequest>> {
        let mut request = FlowMonitorRequest::default();
        let mut matching = Vec::new();
        for item in items(text) {
            let at = item.arg_at;
            if let Some((_, flag)) = LEFT_OUT.iter().find(|(name, _)| *name == item.name) {
                request.flags.remove(*flag);
                continue;
            }
            match item.name {
                "table" | "out_port" | "out_group" if item.arg.is_empty() => {
                    return invalid(item.at, format!("{text}: field {} missing value", item.name));
                }
                "table" => request.table = table_of(item.arg, at, self.ports, |t| format!("unknown table \"{t}\""))?,
                "out_port" => {
                    let says = |t: &str| format!("{t} is not a valid OpenFlow port");
                    request.out_port = port_of(item.arg, at, self.ports, says)?;
                }
                "out_group" => {
                    let group = super::group::group_id(item.arg);
                    let bad = || ParseFlowError::invalid(at, format!("{} is not a valid OpenFlow group", item.arg));
                    request.out_group = group.ok_or_else(bad)?;
                }
                name => {
                    let value = (at > item.at.saturating_add(name.len())).then_some(item.arg);
                    let term = Term::new(name, value, item.at);
                    if !term.is_of_match() {
                        return invalid(item.at, format!("{text}: unknown keyword {name}"));
                    }
                    matching.push(term);
                }
            }
        }
        request.matching = self.matching(&matching)?;
        let protocols = forms_of_match(&matching, &request.matching);
        match matching.first() {
            Some(first) if !protocols.intersects(Protocols::OF10_ANY) => {
                invalid(first.at, format!("{}: match field is not supported for flow monitor", first.name))
            }
            _ => Ok(Read { value: request, protocols }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monitors() {
        let read = |text: &str| Parser::default().flow_monitor(text);
        let m = read("!add,!own,out_port=LOCAL,tcp,tp_dst=80").unwrap().value;
        assert_eq!(m.matching.to_string(), "tcp,tp_dst=80");
        assert!(!m.flags.intersects(MonitorFlags::ADD | MonitorFlags::OWN) && m.flags.contains(MonitorFlags::MODIFY));
        assert_eq!(read("table=x").unwrap_err().problem.to_string(), "unknown table \"x\"");
        assert_eq!(read("bogus=1").unwrap_err().problem.to_string(), "bogus=1: unknown keyword bogus");
        assert_eq!(read("table").unwrap_err().problem.to_string(), "table: field table missing value");
    }
}
