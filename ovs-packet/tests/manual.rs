//! What the manual page of stock Open vSwitch says of every field, the table of fields says too. Skipped where the page
//! is not installed.

use std::collections::BTreeMap;
use std::process::Command;

use ovs_packet::field::{FieldId, Format, Prereq};

/// The rows of a field's table in the page: the first cell, and the text behind it.
type Rows = BTreeMap<String, String>;

fn page() -> Option<String> {
    let path = ["/usr/share/man/man7/ovs-fields.7.gz", "/usr/share/man/man7/ovs-fields.7"]
        .into_iter()
        .find(|path| std::path::Path::new(path).exists())?;
    let text = Command::new("gzip").args(["-cdf", path]).output().ok()?;
    Some(
        String::from_utf8(text.stdout)
            .ok()?
            .replace("\\fB", "")
            .replace("\\fR", "")
            .replace("\\[char59]", ";")
            .replace("\\[char46]", "."),
    )
}

fn fields(page: &str) -> Vec<Rows> {
    let mut all: Vec<Rows> = Vec::new();
    let mut open: Option<String> = None;
    let mut inside = false;
    for line in page.lines() {
        if line.starts_with("Name:;") && !line.contains("Bytes") {
            all.push(Rows::new());
            inside = true;
        }
        inside &= line != ".TE";
        let Some(rows) = all.last_mut().filter(|_| inside) else { continue };
        match (line.split_once(":;"), &open) {
            (Some((cell, "T{")), _) => open = Some(cell.to_string()),
            (Some((cell, text)), _) => {
                rows.insert(cell.to_string(), text.to_string());
            }
            (None, Some(cell)) if line != "T}" => {
                rows.entry(cell.clone()).or_default().push_str(line);
            }
            (None, _) => {}
        }
    }
    all
}

/// `NAME (NUMBER) since [OpenFlow VERSION and] Open vSwitch VERSION`, several with semicolons between them.
fn code_points(text: &str) -> Vec<(String, u8, u8)> {
    let points = text.split(';').map(str::trim).filter(|p| *p != "none" && !p.is_empty());
    let one = |p: &str| {
        let (name, rest) = p.split_once(" (").unwrap();
        let (number, since) = rest.split_once(')').unwrap();
        let version = since.split_once("OpenFlow 1.").map_or(0, |(_, v)| v[..1].parse::<u8>().unwrap() + 1);
        (name.to_string(), number.parse().unwrap(), version)
    };
    points.map(one).collect()
}

#[test]
fn the_table_is_what_the_manual_says() {
    let Some(page) = page() else { return eprintln!("skipped: no ovs-fields(7)") };
    let fields = fields(&page);
    assert!(fields.len() >= 89, "{}", fields.len());
    for rows in fields {
        let (name, alias) = match rows["Name"].split_once(" (aka ") {
            Some((name, alias)) => (name, Some(alias.trim_end_matches(')'))),
            None => (rows["Name"].as_str(), None),
        };
        let id = FieldId::by_name(name).unwrap_or_else(|| panic!("{name}"));
        let info = id.info();
        assert_eq!((info.name, info.alias), (name, alias));

        let (width, rest) = rows["Width"].split_once(" bits").unwrap();
        let width: u16 = width.parse().unwrap();
        let bits =
            rest.split_once("least-significant ").map_or(width, |(_, n)| n.split(' ').next().unwrap().parse().unwrap());
        assert_eq!((u16::from(info.wire_bytes) * 8, info.bits), (width, bits), "{name}");

        assert_eq!(info.maskable, rows["Masking"] == "arbitrary bitwise masks", "{name}");
        assert_eq!(info.writable, rows["Access"] == "read/write", "{name}");
        let format = match info.format {
            Format::Decimal => "decimal",
            Format::Hexadecimal => "hexadecimal",
            Format::Ethernet => "Ethernet",
            Format::Ipv4 => "IPv4",
            Format::Ipv6 => "IPv6",
            Format::Port => "OpenFlow 1.1+ port",
            Format::Port16 => "OpenFlow 1.0 port",
            Format::Fragment => "frag",
            Format::TcpFlags => "TCP flags",
            Format::PacketType => "packet type",
            Format::CtState => "ct state",
            Format::TunnelFlags => "tunnel flags",
            other => panic!("{other:?}"),
        };
        assert_eq!(format, rows["Format"], "{name}");
        let prereq = match info.prereq {
            Prereq::None => "none",
            Prereq::Ethernet => "Ethernet",
            Prereq::Vlan => "VLAN VID",
            Prereq::Ipv4 => "IPv4",
            Prereq::Ipv6 => "IPv6",
            Prereq::Ip => "IPv4/IPv6",
            Prereq::Arp => "ARP",
            Prereq::Tcp => "TCP",
            Prereq::Udp => "UDP",
            Prereq::Sctp => "SCTP",
            Prereq::Icmpv4 => "ICMPv4",
            Prereq::Icmpv6 => "ICMPv6",
            Prereq::Nd => "ND",
            Prereq::NdSolicit => "ND solicit",
            Prereq::NdAdvert => "ND advert",
            Prereq::Mpls => "MPLS",
            Prereq::Nsh => "NSH",
            Prereq::Ct => "CT",
            other => panic!("{other:?}"),
        };
        assert_eq!(prereq, rows["Prerequisites"], "{name}");

        let mut theirs = [code_points(&rows["NXM"]), code_points(&rows["OXM"])].concat();
        let mut ours: Vec<_> = info.code_points().map(|p| (p.name.to_string(), p.id.field, p.since)).collect();
        theirs.sort();
        ours.sort();
        assert_eq!(ours, theirs, "{name}");
    }
}
