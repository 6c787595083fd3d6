//! Messages of Nicira's that are nobody else's: tunnel options, connections to forget, statistics of IPFIX.

use std::fmt::{self, Write};

use ovs_packet::field::TlvMapping;

use super::{Count, Printer};
use crate::codec::{CtFlush, IpfixStats, TlvTableMod, TlvTableReply};
use crate::text::connection::TrackedText;
use crate::text::number::hex;

impl Printer<'_> {
    pub(super) fn tlv_mod(&mut self, t: &TlvTableMod) -> fmt::Result {
        self.out.push_str(["\n ADD", "\n DEL", "\n CLEAR"].get(usize::from(t.command)).unwrap_or(&"\n "));
        if t.command == 2 { Ok(()) } else { self.mappings(&t.mappings) }
    }

    pub(super) fn tlv_reply(&mut self, t: &TlvTableReply) -> fmt::Result {
        let used: usize = t.mappings.iter().map(|m| usize::from(m.len)).sum();
        writeln!(self.out, "\n max option space={} max fields={}", t.max_option_space, t.max_fields)?;
        write!(self.out, " allocated option space={used}\n\n")?;
        self.mappings(&t.mappings)
    }

    fn mappings(&mut self, mappings: &[TlvMapping]) -> fmt::Result {
        self.out.push_str(" mapping table:\n  class  type  length  match field\n ------  ----  ------  --------------");
        for m in mappings {
            let (class, kind) = (hex(m.class.into()), hex(m.kind.into()));
            write!(self.out, "\n {class:>6}  {kind:>4}  {:>6}  tun_metadata{}", m.len, m.index)?;
        }
        Ok(())
    }

    pub(super) fn ct_flush(&mut self, c: &CtFlush) -> fmt::Result {
        write!(self.out, " zone={} {}", c.zone.unwrap_or(0), TrackedText(c))
    }

    /// Two lines, of which the second is indented.
    pub(super) fn ipfix(&mut self, s: &IpfixStats, indent: usize) -> fmt::Result {
        let [v4, v6] = s.ip.map(Count);
        let [bad4, bad6] = s.ip_errors.map(Count);
        let [sent, lost] = s.sent.map(Count);
        let (flows, current, packets, errors) =
            (Count(s.flows), Count(s.current_flows), Count(s.packets), Count(s.errors));
        write!(
            self.out,
            "flows={flows}, current flows={current}, sampled pkts={packets}, ipv4 ok={v4}, ipv6 ok={v6}, "
        )?;
        writeln!(self.out, "tx pkts={sent}")?;
        let blank = " ".repeat(indent);
        writeln!(self.out, "{blank}pkts errs={errors}, ipv4 errs={bad4}, ipv6 errs={bad6}, tx errs={lost}")
    }
}
