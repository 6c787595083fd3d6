//! Every number, name and type of every attribute, and every structure, against what the kernel itself says: its headers,
//! which a C compiler brings along, and its specifications of netlink in YAML.
//!
//! `OVS_NETLINK_KERNEL` may name a tree of kernel sources, whose headers and specifications are then read as well.

mod c;
mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ovs_netlink::attr::{Policy, Rule, StructLayout, Type, Typed};
use ovs_netlink::{nf, ovs, psample};

/// Every set of the crate.
fn sets() -> Vec<&'static Policy> {
    vec![
        ovs::DatapathAttr::policy(),
        ovs::VportAttr::policy(),
        ovs::UpcallAttr::policy(),
        ovs::TunnelOption::policy(),
        ovs::FlowAttr::policy(),
        ovs::PacketAttr::policy(),
        ovs::MeterAttr::policy(),
        ovs::BandAttr::policy(),
        ovs::CtLimitAttr::policy(),
        ovs::Key::policy(),
        ovs::MaskedKey::policy(),
        ovs::TunnelKey::policy(),
        ovs::VxlanExt::policy(),
        ovs::NshKey::policy(),
        ovs::MaskedNshKey::policy(),
        ovs::Action::policy(),
        ovs::UserspaceAttr::policy(),
        ovs::SampleAttr::policy(),
        ovs::CtAttr::policy(),
        ovs::NatAttr::policy(),
        ovs::CheckPktLenAttr::policy(),
        ovs::DecTtlAttr::policy(),
        ovs::PsampleAttr::policy(),
        psample::SampleAttr::policy(),
        nf::CtAttr::policy(),
        nf::TupleAttr::policy(),
        nf::TupleIpAttr::policy(),
        nf::TupleProtoAttr::policy(),
        nf::ProtoInfoAttr::policy(),
        nf::TcpAttr::policy(),
        nf::SctpAttr::policy(),
        nf::HelpAttr::policy(),
        nf::NatAttr::policy(),
        nf::NatProtoAttr::policy(),
        nf::CountersAttr::policy(),
        nf::SeqAdjAttr::policy(),
        nf::SecctxAttr::policy(),
        nf::TimestampAttr::policy(),
        nf::SynproxyAttr::policy(),
        nf::FilterAttr::policy(),
        nf::StatsAttr::policy(),
        nf::TableAttr::policy(),
        nf::ExpectAttr::policy(),
        nf::ExpectNatAttr::policy(),
        nf::TimeoutAttr::policy(),
        nf::TimeoutTcpAttr::policy(),
        nf::TimeoutUdpAttr::policy(),
        nf::TimeoutGreAttr::policy(),
        nf::TimeoutSctpAttr::policy(),
        nf::TimeoutSingleAttr::policy(),
    ]
}

/// Attributes of the kernel that are not in the sets: names of what is gone, and numbers that only the kernel uses.
const LEFT_OUT: &[&str] = &["CTA_COUNTERS32_PACKETS", "CTA_COUNTERS32_BYTES"];

/// Sets of the kernel that the crate does not have: DCCP, which newer kernels do not track, what a UDP-Lite and an ICMPv6
/// timeout have (numbers as UDP's and ICMP's), counts of expectations, a second name of `ctattr_seqadj`, and one of
/// `ovs_tunnel_key_attr`.
const SETS_LEFT_OUT: &[&str] = &[
    "ctattr_protoinfo_dccp",
    "ctattr_timeout_dccp",
    "ctattr_timeout_udplite",
    "ctattr_timeout_icmpv6",
    "ctattr_timeout_generic",
    "ctattr_expect_stats",
    "ctattr_natseq",
    "psample_tunnel_key_attr",
];

fn kernel_tree() -> Option<PathBuf> {
    std::env::var_os("OVS_NETLINK_KERNEL").map(PathBuf::from)
}

/// The headers to compare with: the machine's, and those of the tree.
fn headers(name: &str) -> Vec<PathBuf> {
    let tree = kernel_tree().map(|tree| tree.join("include/uapi/linux"));
    let folders = [Some(PathBuf::from("/usr/include/linux")), tree];
    let found: Vec<_> =
        folders.into_iter().flatten().map(|folder| folder.join(name)).filter(|path| path.exists()).collect();
    if found.is_empty() {
        println!("skipped: there is no linux/{name} here (it comes with a C compiler)");
    }
    found
}

const HEADERS: [&str; 4] =
    ["openvswitch.h", "psample.h", "netfilter/nfnetlink_conntrack.h", "netfilter/nfnetlink_cttimeout.h"];

fn compare_header(path: &Path) {
    let header = c::Header::read(&std::fs::read_to_string(path).unwrap());
    assert!(!header.enums.is_empty(), "{}", path.display());
    let mut compared = 0;
    for c::Enum { name, members } in &header.enums {
        let ours: Vec<_> = sets()
            .into_iter()
            .filter(|set| if name.is_empty() { set.name.is_empty() } else { set.name == name })
            .filter(|set| members.iter().any(|(member, _)| member.starts_with(set.prefix)))
            .collect();
        let attributes = name.ends_with("_attr") || name.starts_with("ctattr_");
        assert!(
            !ours.is_empty() || !attributes || SETS_LEFT_OUT.contains(&name.as_str()),
            "{}: no set for {name}",
            path.display()
        );
        let last = members.iter().map(|(_, number)| *number).max().unwrap_or(0);
        for set in ours {
            // Masked sets are parts of the others, which are compared whole.
            let whole = !set.rules.iter().any(|rule| matches!(rule.ty, Type::Masked(_))) || set.name == "ovs_ct_attr";
            for (member, number) in members.iter().filter(|_| whole) {
                let (private, unspec) = (member.starts_with("__"), member.ends_with("_UNSPEC"));
                let alias =
                    members.iter().any(|(other, n)| n == number && other != member && other.starts_with(set.prefix));
                if private || unspec || LEFT_OUT.contains(&member.as_str()) || !member.starts_with(set.prefix) {
                    continue;
                }
                let rule = set.rules.iter().find(|rule| format!("{}{}", set.prefix, rule.name) == *member);
                let found = rule.map(|rule| i64::from(rule.number));
                assert!(found == Some(*number) || alias, "{}: {member} is {number}, not {found:?}", path.display());
                compared += 1;
            }
            for rule in set.rules {
                let member = format!("{}{}", set.prefix, rule.name);
                // Older headers lack what was added at the end.
                let newer = i64::from(rule.number) >= last;
                assert!(newer || members.iter().any(|(name, _)| *name == member), "{}: no {member}", path.display());
            }
        }
    }
    println!("{}: {compared} attributes", path.display());
    assert!(compared > 10);
}

#[test]
fn numbers_and_names_are_those_of_the_headers() {
    for path in HEADERS.iter().flat_map(|name| headers(name)) {
        compare_header(&path);
    }
}

fn layouts(ty: &Type) -> Option<&'static StructLayout> {
    match ty {
        Type::Struct(layout) | Type::Prefix(layout) | Type::Structs(layout) => Some(layout),
        Type::Masked(inner) => layouts(inner),
        _ => None,
    }
}

#[test]
fn structures_lie_as_the_headers_say() {
    let ours: BTreeMap<_, _> = sets()
        .iter()
        .flat_map(|set| set.rules)
        .filter_map(|rule| layouts(&rule.ty))
        .map(|layout| (layout.name, layout))
        .collect();
    let mut compared = 0;
    for path in headers("openvswitch.h").into_iter().chain(headers("netfilter/nf_conntrack_tcp.h")) {
        let header = c::Header::read(&std::fs::read_to_string(&path).unwrap());
        for (name, layout) in &ours {
            let Some(fields) = header.structs.get(*name) else { continue };
            let mut size = 0;
            assert_eq!(fields.len(), layout.parts.len(), "{name}");
            for (field, part) in fields.iter().zip(layout.parts) {
                size = header.place(size, field);
                assert_eq!((field.name.as_str(), header.bytes(field)), (part.name, part.size), "{name}");
                // Addresses are bytes here, whatever the header makes of them.
                let big = field.ty.starts_with("__be") && field.count == 1;
                let address = big && part.size == 4 && !part.big_endian;
                assert!(part.big_endian == big || address, "{name}.{}", part.name);
            }
            assert_eq!(header.size(name), layout.size, "{name}");
            compared += 1;
        }
        // Those that go by another name have the same size.
        for (other, ours) in
            [("ovs_key_udp", 4), ("ovs_key_sctp", 4), ("ovs_key_icmpv6", 2), ("ovs_action_push_eth", 12)]
        {
            if header.structs.contains_key(other) {
                assert_eq!(header.size(other), ours, "{other}");
            }
        }
    }
    println!("{compared} structures");
}

/// What the comment behind an attribute in a header says of its payload.
fn said(comment: &str, ty: &Type) -> Option<bool> {
    let words: Vec<&str> = comment.split_whitespace().map(|word| word.trim_end_matches(['.', ','])).collect();
    Some(match words.as_slice() {
        ["u8", ..] => matches!(ty, Type::U8),
        ["u16" | "16-bit", ..] => matches!(ty, Type::U16),
        ["u32", ..] => matches!(ty, Type::U32),
        ["u64", ..] => matches!(ty, Type::U64),
        ["be16" | "__be16", ..] => matches!(ty, Type::Be16),
        // Addresses: 4 bytes as they are on the wire.
        ["be32" | "__be32", ..] => matches!(ty, Type::Be32 | Type::Bytes(4, 4)),
        ["be64", ..] => matches!(ty, Type::Be64),
        ["Nested", "struct", "ovs_zone_limit", ..] => matches!(ty, Type::Structs(_)),
        ["Nested", ..] | ["One", "nested", ..] => matches!(ty, Type::Nest(_) | Type::Nests(_)),
        ["No", "argument", ..] => matches!(ty, Type::Flag),
        ["array", "of", "u32", ..] => matches!(ty, Type::Numbers),
        ["struct", name, ..] => match layouts(ty) {
            // Some structures are one here, and a number in front of another is a number.
            Some(layout) => {
                let same = [
                    ("ovs_key_udp", "ovs_key_tcp"),
                    ("ovs_key_sctp", "ovs_key_tcp"),
                    ("ovs_key_icmpv6", "ovs_key_icmp"),
                ];
                layout.name.starts_with(name) || same.contains(&(name, layout.name)) || *name == "ovs_action_push_eth"
            }
            None => ["in6_addr", "ip_tunnel_info"].contains(name),
        },
        _ => return None,
    })
}

#[test]
fn types_are_those_that_the_comments_of_the_header_say() {
    for path in headers("openvswitch.h") {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut compared = 0;
        for line in text.lines() {
            let Some((member, comment)) = line.split_once("/*") else { continue };
            let member = member.trim().trim_end_matches(',');
            let rules = sets().into_iter().flat_map(|set| set.rules.iter().map(move |rule| (set, rule)));
            for (set, rule) in rules.filter(|(set, rule)| format!("{}{}", set.prefix, rule.name) == member) {
                // The flag and the number of the same name, by who asks and who is told.
                let both =
                    member == "OVS_VXLAN_EXT_GBP" || set.rules.iter().any(|rule| matches!(rule.ty, Type::Masked(_)));
                if both && set.name != "ovs_ct_attr" {
                    continue;
                }
                let verdict = said(comment, &rule.ty);
                assert_ne!(verdict, Some(false), "{member}: {comment} but {:?}", rule.ty);
                compared += usize::from(verdict.is_some());
            }
        }
        println!("{}: {compared} types", path.display());
        assert!(compared > 80, "{compared}");
    }
}

/// What a specification says that is not so, or not so here. The header is what counts: the kernel was built from it.
const NOT_AS_SPECIFIED: &[(&str, &str)] = &[
    // The specification has no `drop`, so that what follows it has a number too few.
    ("action-attrs", "psample"),
    // 16 bits, and padded.
    ("vport-options", "dst-port"),
    ("vport-options", "extension"),
    // The kernel takes a flag.
    ("flow-attrs", "probe"),
    // Signed: -1 says that there is none.
    ("vport", "netnsid"),
    // The specification has the addresses of IPv6 before the ports, the header behind them.
    ("nat-attrs", "nat-v6-minip"),
    ("nat-attrs", "nat-v6-maxip"),
    ("nat-attrs", "nat-proto"),
    // Bytes here: newer kernels do not track DCCP.
    ("protoinfo-attrs", "protoinfo-dccp"),
    // A nest of two numbers, and one of two other numbers.
    ("conntrack-attrs", "timestamp"),
    ("conntrack-attrs", "filter"),
];

/// The sets of the specifications that have no name of the kernel's.
fn set_of(spec: &str, name: &str) -> Option<&'static Policy> {
    Some(match (spec, name) {
        ("ovs_vport", "vport-options") => ovs::TunnelOption::policy(),
        ("ovs_flow", "vxlan-ext-attrs") => ovs::VxlanExt::policy(),
        ("conntrack", "counter-attrs") => nf::CountersAttr::policy(),
        ("conntrack", "tuple-proto-attrs") => nf::TupleProtoAttr::policy(),
        ("conntrack", "tuple-ip-attrs") => nf::TupleIpAttr::policy(),
        ("conntrack", "tuple-attrs") => nf::TupleAttr::policy(),
        ("conntrack", "protoinfo-tcp-attrs") => nf::TcpAttr::policy(),
        ("conntrack", "protoinfo-sctp-attrs") => nf::SctpAttr::policy(),
        ("conntrack", "protoinfo-attrs") => nf::ProtoInfoAttr::policy(),
        ("conntrack", "help-attrs") => nf::HelpAttr::policy(),
        ("conntrack", "nat-proto-attrs") => nf::NatProtoAttr::policy(),
        ("conntrack", "nat-attrs") => nf::NatAttr::policy(),
        ("conntrack", "seqadj-attrs") => nf::SeqAdjAttr::policy(),
        ("conntrack", "secctx-attrs") => nf::SecctxAttr::policy(),
        ("conntrack", "synproxy-attrs") => nf::SynproxyAttr::policy(),
        ("conntrack", "filter-attrs") => nf::FilterAttr::policy(),
        ("conntrack", "conntrack-attrs") => nf::CtAttr::policy(),
        ("conntrack", "conntrack-stats-attrs") => nf::StatsAttr::policy(),
        _ => return None,
    })
}

fn same_type(spec: &yaml::Attribute, rule: &Rule) -> bool {
    let big = spec.big_endian;
    match (spec.ty.as_str(), &rule.ty) {
        ("flag", Type::Flag) | ("u8", Type::U8) | ("string", Type::Text) | ("s32", Type::I32) => true,
        ("u16", Type::U16) | ("u32", Type::U32) | ("u64", Type::U64) => !big,
        ("u16", Type::Be16) | ("u32", Type::Be32) | ("u64", Type::Be64) => big,
        // Addresses: 4 bytes as they are on the wire.
        ("u32", Type::Bytes(4, 4)) => big,
        ("nest", Type::Nest(_) | Type::Nests(_)) => true,
        ("unused" | "pad", Type::Bytes(..)) => true,
        ("binary", ty) => match (&spec.structure, layouts(ty)) {
            (Some(structure), Some(layout)) => {
                let structure = structure.replace('-', "_");
                let ports =
                    matches!(structure.as_str(), "ovs_key_udp" | "ovs_key_sctp") && layout.name == "ovs_key_tcp";
                // Specifications have names of their own for what is not in the flow family.
                layout.name.ends_with(&structure)
                    || ports
                    || structure.ends_with("_stats")
                    || structure.contains("flags")
            }
            (Some(_), None) => false,
            (None, _) => !matches!(ty, Type::U8 | Type::U16 | Type::U32 | Type::U64),
        },
        _ => false,
    }
}

#[test]
fn attributes_are_those_of_the_specifications() {
    let Some(folder) = kernel_tree().map(|tree| tree.join("Documentation/netlink/specs")) else {
        return println!("skipped: OVS_NETLINK_KERNEL names no tree of kernel sources");
    };
    let (mut compared, mut wrong) = (0, Vec::new());
    for spec in ["ovs_datapath", "ovs_vport", "ovs_flow", "ovs_packet", "conntrack"] {
        let path = folder.join(format!("{spec}.yaml"));
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("skipped: no {}", path.display());
            continue;
        };
        let read = yaml::Spec::read(&text);
        assert!(!read.sets.is_empty(), "{spec}");
        for set in &read.sets {
            let kernel_name = set.enum_name.replace('-', "_");
            let named = || sets().into_iter().find(|ours| !kernel_name.is_empty() && ours.name == kernel_name);
            let datapath = || (spec == "ovs_datapath").then(ovs::DatapathAttr::policy);
            let Some(ours) = set_of(spec, &set.name).or_else(named).or_else(datapath) else {
                assert_eq!(set.name, "protoinfo-dccp-attrs", "{spec}: no set for {}", set.name);
                continue;
            };
            for attribute in &set.attributes {
                let name = attribute.name.replace(['-', ' '], "_").to_uppercase();
                let excused = NOT_AS_SPECIFIED.contains(&(set.name.as_str(), attribute.name.as_str()));
                let old = matches!(name.as_str(), "PACKETS_OLD" | "BYTES_OLD" | "UNSPEC");
                if excused || old {
                    continue;
                }
                let rule = ours.rule(attribute.number);
                let full = rule.map(|rule| format!("{}{}", ours.prefix, rule.name)).unwrap_or_default();
                // `nat-port-min` is CTA_PROTONAT_PORT_MIN.
                let fits = full.ends_with(&name) || full.ends_with(name.trim_start_matches("NAT_"));
                if !fits || !rule.is_some_and(|rule| same_type(attribute, rule)) {
                    wrong.push(format!("{spec} {} {attribute:?}: {full} {rule:?}", set.name));
                }
                compared += 1;
            }
        }
    }
    println!("{compared} attributes");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
