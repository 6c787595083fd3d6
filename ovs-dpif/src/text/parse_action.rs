//! Actions from words.

use std::str::FromStr;

use arrayvec::ArrayVec;
use ovs_packet::EthAddr;
use ovs_packet::field::KeyAttr;
use ovs_packet::key::VLAN_PRESENT;

use super::attr::{self, VLANS};
use super::ct::{self, narrow};
use super::parse_key::KeyReader;
use super::tree::Term;
use super::{PortNames, TextError, outer, tunnel};
use crate::action::{Cookie, DpAction, HashAlgorithm, PortNo, SampleDirection, SlowPath, Userspace};
use crate::assignment::Assignment;
use crate::drops::DropReason;

/// Reads a list of actions. `drop` alone is the empty list.
pub(super) fn actions(terms: &[Term<'_>], ports: &dyn PortNames) -> Result<Vec<DpAction>, TextError> {
    match terms {
        [only] if only.name == "drop" && only.is_bare() => Ok(Vec::new()),
        terms => terms.iter().map(|t| action(t, ports)).collect(),
    }
}

fn action(term: &Term<'_>, ports: &dyn PortNames) -> Result<DpAction, TextError> {
    let list = |term: &Term<'_>| actions(term.args()?, ports);
    Ok(match term.name {
        "lb_output" => DpAction::LbOutput(one(term)?),
        "userspace" => DpAction::Userspace(userspace(term)?),
        "set" => set(term, ports)?,
        "push_vlan" => push_vlan(term)?,
        "pop_vlan" => plain(term, DpAction::PopVlan)?,
        "push_mpls" => {
            let (eth_type, lse) = mpls(term)?;
            DpAction::PushMpls { eth_type, lse }
        }
        "add_mpls" => {
            let (eth_type, lse) = mpls(term)?;
            DpAction::AddMpls { eth_type, lse }
        }
        "pop_mpls" => {
            let mut args = Args::of(term)?;
            let eth_type = args.number("eth_type")?;
            args.done()?;
            DpAction::PopMpls(eth_type)
        }
        "push_eth" => {
            let mut args = Args::of(term)?;
            let (src, dst) = (args.address("src")?, args.address("dst")?);
            args.done()?;
            DpAction::PushEth { src, dst }
        }
        "tnl_push" => DpAction::TunnelPush(Box::new(outer::read(term, ports)?)),
        "tnl_pop" => DpAction::TunnelPop(outer::port(term, ports)?),
        "pop_eth" => plain(term, DpAction::PopEth)?,
        "push_nsh" => push_nsh(term)?,
        "pop_nsh" => match term.args.as_deref() {
            None | Some([]) => DpAction::PopNsh,
            Some(_) => return Err(TextError::new(term.at, "'pop_nsh()'")),
        },
        "ct" => DpAction::Ct(ct::read(term)?),
        "ct_clear" => plain(term, DpAction::CtClear)?,
        "recirc" => DpAction::Recirc(one(term)?),
        "hash" => match term.args()? {
            [of] if of.name == "l4" => DpAction::Hash { algorithm: HashAlgorithm::L4, basis: one(of)? },
            [of] if of.name == "sym_l4" => DpAction::Hash { algorithm: HashAlgorithm::SymmetricL4, basis: one(of)? },
            _ => return Err(TextError::new(term.at, "'hash(l4(BASIS))' or 'hash(sym_l4(BASIS))'")),
        },
        "sample" => {
            let mut args = Args::of(term)?;
            let (text, at) = args.named("sample")?.value()?;
            let percent =
                text.strip_suffix('%').and_then(|p| p.parse::<f64>().ok()).filter(|p| (0.0..=100.0).contains(p));
            let percent = percent.ok_or_else(|| TextError::new(at, "a percentage from 0% to 100%"))?;
            let actions = list(args.named("actions")?)?;
            args.done()?;
            DpAction::Sample { probability: (percent / 100.0 * f64::from(u32::MAX)).round() as u32, actions }
        }
        "clone" => DpAction::Clone(list(term)?),
        "check_pkt_len" => {
            let mut args = Args::of(term)?;
            let len = args.number("size")?;
            let (greater, less_equal) = (list(args.named("gt")?)?, list(args.named("le")?)?);
            args.done()?;
            DpAction::CheckPktLen { len, greater, less_equal }
        }
        "trunc" => match one(term)? {
            len if len < ETH_HEADER => {
                return Err(TextError::new(term.at, format!("a length of at least {ETH_HEADER}")));
            }
            len => DpAction::Trunc(len),
        },
        "meter" => DpAction::Meter(one(term)?),
        "dec_ttl" => {
            let mut args = Args::of(term)?;
            let actions = list(args.named("le_1")?)?;
            args.done()?;
            DpAction::DecTtl(actions)
        }
        "psample" => {
            let mut args = Args::of(term)?;
            let (group, cookie) = (args.number("group")?, args.find("cookie"));
            let cookie = cookie.map(|c| c.value()).transpose()?.map_or(Ok(ArrayVec::new()), |(hex, at)| {
                let digits = hex.strip_prefix("0x").unwrap_or(hex);
                // A number loses the zeros in front.
                let even = if digits.len().is_multiple_of(2) { digits.into() } else { format!("0{digits}") };
                bytes(&even, at)?.as_slice().try_into().map_err(|_| TextError::new(at, "at most 16 bytes"))
            })?;
            args.done()?;
            DpAction::Psample { group, cookie }
        }
        "drop" if term.is_bare() => DpAction::Drop(DropReason::FlowDrop),
        "drop" => {
            let (id, at) = term.word()?;
            let reason = DropReason::of_id(id).ok_or_else(|| TextError::new(at, "the id of a reason to drop"))?;
            DpAction::Drop(reason)
        }
        name => {
            term.bare().map_err(|_| unknown(term))?;
            let port = ports.number(name).or_else(|| ovs_packet::text::number(name).and_then(|n| n.try_into().ok()));
            DpAction::Output(PortNo(port.ok_or_else(|| unknown(term))?))
        }
    })
}

/// A packet is not cut within its Ethernet header.
const ETH_HEADER: u32 = 14;

fn unknown(term: &Term<'_>) -> TextError {
    TextError::new(term.at, format!("an action or a port, not '{}'", term.name))
}

fn plain(term: &Term<'_>, action: DpAction) -> Result<DpAction, TextError> {
    term.bare().map(|()| action)
}

/// The one number in parentheses.
fn one<T: TryFrom<u128>>(term: &Term<'_>) -> Result<T, TextError> {
    let (text, at) = term.word()?;
    narrow(text, at)
}

fn set(term: &Term<'_>, ports: &dyn PortNames) -> Result<DpAction, TextError> {
    let [what] = term.args()? else { return Err(TextError::new(term.at, "'set(ATTRIBUTE(...))'")) };
    let mut reader = KeyReader::new(ports);
    let attr = match what.name {
        "vlan" => {
            let [outer, _] = VLANS;
            reader.attr(what, outer)?;
            KeyAttr::Vlan
        }
        "mpls" => {
            reader.mpls(what)?;
            KeyAttr::Mpls
        }
        "tunnel" => {
            tunnel::read(&mut reader, what)?;
            KeyAttr::Tunnel
        }
        name => {
            let row =
                attr::by_name(name).ok_or_else(|| TextError::new(what.at, format!("an attribute, not '{name}'")))?;
            reader.attr(what, row.members)?;
            row.attr
        }
    };
    Ok(DpAction::Set(attr, Assignment::new(&reader.key, &reader.mask)))
}

fn push_vlan(term: &Term<'_>) -> Result<DpAction, TextError> {
    let mut args = Args::of(term)?;
    let tpid = args.optional("tpid")?.unwrap_or(0x8100);
    let (vid, pcp, cfi): (u16, u16, u16) =
        (args.number("vid")?, args.number("pcp")?, args.optional("cfi")?.unwrap_or(1));
    args.done()?;
    if vid >= VLAN_PRESENT || pcp > 7 || cfi > 1 {
        return Err(TextError::new(term.at, "vid of at most 4095, pcp of at most 7, cfi of at most 1"));
    }
    Ok(DpAction::PushVlan { tpid, tci: vid | pcp << 13 | cfi << 12 })
}

fn push_nsh(term: &Term<'_>) -> Result<DpAction, TextError> {
    let mut reader = KeyReader::new(&());
    let key = &mut reader.key;
    (key.nsh_ttl, key.nsh_mdtype, key.nsh_np) = (63, 1, 3);
    key.nsh_path.set(255);
    let members = attr::row(KeyAttr::Nsh).map_or(&[][..], |row| row.members);
    let mut metadata = Vec::new();
    for arg in term.args()? {
        if arg.name != "md2" {
            reader.argument(arg, members)?;
            continue;
        }
        let (hex, at) = arg.value()?;
        let digits = hex.strip_prefix("0x").unwrap_or(hex);
        // A number loses the zeros in front: a word has eight digits.
        let padding = "0".repeat(digits.len().next_multiple_of(8) - digits.len());
        metadata = bytes(&(padding + digits), at)?;
        if metadata.len() > 244 {
            return Err(TextError::new(at, "at most 244 bytes"));
        }
    }
    match (reader.key.nsh_mdtype, metadata.is_empty()) {
        (1, true) | (2, _) => Ok(DpAction::PushNsh { header: (&reader.key).into(), metadata }),
        _ => Err(TextError::new(term.at, "metadata type 1 with c1 to c4, or 2 with md2")),
    }
}

/// Ethertype and label stack entry.
fn mpls(term: &Term<'_>) -> Result<(u16, u32), TextError> {
    let mut args = Args::of(term)?;
    let (label, tc, ttl, bos): (u32, u32, u8, u32) =
        (args.number("label")?, args.number("tc")?, args.number("ttl")?, args.number("bos")?);
    let eth_type = args.number("eth_type")?;
    args.done()?;
    if label >= 1 << 20 || tc > 7 || bos > 1 {
        return Err(TextError::new(term.at, "label of 20 bits, tc of 3, bos of 1"));
    }
    Ok((eth_type, label << 12 | tc << 9 | bos << 8 | u32::from(ttl)))
}

fn userspace(term: &Term<'_>) -> Result<Userspace, TextError> {
    let mut args = Args::of(term)?;
    let pid = args.number("pid")?;
    let with_actions = args.flag("actions")?;
    let tunnel_out_port = args.optional("tunnel_out_port")?.map(PortNo);
    let cookie = args.next().map_or(Ok(Cookie::UserData(Vec::new())), cookie)?;
    args.done()?;
    Ok(Userspace { cookie, pid, with_actions, tunnel_out_port })
}

fn cookie(term: &Term<'_>) -> Result<Cookie, TextError> {
    let some_port = |n: u32| (n != u32::MAX).then_some(PortNo(n));
    if term.name == "slow_path" {
        return slow_path(term).map(Cookie::SlowPath);
    }
    if term.name == "userdata" {
        let (hex, at) = if term.args()?.is_empty() { ("", term.at) } else { term.word()? };
        return bytes(hex, at).map(Cookie::UserData);
    }
    let mut args = Args::of(term)?;
    let cookie = match term.name {
        "controller" => Cookie::Controller {
            reason: args.number("reason")?,
            dont_send: args.number::<u8>("dont_send")? != 0,
            continuation: args.number::<u8>("continuation")? != 0,
            recirc_id: args.number("recirc_id")?,
            rule_cookie: args.number("rule_cookie")?,
            table: 0,
            controller_id: args.number("controller_id")?,
            max_len: args.number("max_len")?,
        },
        "sFlow" => {
            let (vid, pcp): (u16, u16) = (args.number("vid")?, args.number("pcp")?);
            if vid >= VLAN_PRESENT || pcp > 7 {
                return Err(TextError::new(term.at, "vid of at most 4095, pcp of at most 7"));
            }
            let tagged = if vid | pcp != 0 { VLAN_PRESENT } else { 0 };
            Cookie::SFlow { vlan_tci: vid | pcp << 13 | tagged, output: args.number("output")? }
        }
        "flow_sample" => Cookie::FlowSample {
            probability: args.number("probability")?,
            collector_set_id: args.number("collector_set_id")?,
            obs_domain_id: args.number("obs_domain_id")?,
            obs_point_id: args.number("obs_point_id")?,
            output_port: some_port(args.number("output_port")?),
            direction: match (args.flag("ingress")?, args.flag("egress")?) {
                (true, false) => SampleDirection::Ingress,
                (false, true) => SampleDirection::Egress,
                (false, false) => SampleDirection::Default,
                (true, true) => return Err(TextError::new(term.at, "'ingress' or 'egress', not both")),
            },
        },
        "ipfix" => Cookie::Ipfix { output_port: some_port(args.number("output_port")?) },
        other => {
            let expected = format!("controller, slow_path, sFlow, flow_sample, ipfix or userdata, not '{other}'");
            return Err(TextError::new(term.at, expected));
        }
    };
    args.done()?;
    Ok(cookie)
}

fn slow_path(term: &Term<'_>) -> Result<SlowPath, TextError> {
    if term.args()?.is_empty() {
        return Ok(SlowPath::empty());
    }
    let (text, at) = term.word()?;
    if text == "0" {
        return Ok(SlowPath::empty());
    }
    let bit = |name: &str| {
        let i = SlowPath::NAMES.iter().position(|n| *n == name);
        let known = i.map(|i| SlowPath::from_bits_truncate(1 << i));
        known.ok_or_else(|| {
            TextError::new(at, format!("reasons among {}, with '|' between them", SlowPath::NAMES.join(", ")))
        })
    };
    text.split('|').try_fold(SlowPath::empty(), |all, name| Ok(all | bit(name)?))
}

/// Bytes as pairs of hexadecimal digits.
fn bytes(hex: &str, at: usize) -> Result<Vec<u8>, TextError> {
    let wrong = || TextError::new(at, "pairs of hexadecimal digits");
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else { return Err(wrong()) };
    let digit = |d: u8| char::from(d).to_digit(16).ok_or_else(wrong);
    pairs.iter().map(|[high, low]| Ok((digit(*high)? << 4 | digit(*low)?) as u8)).collect()
}

/// The arguments of an action, each taken once.
pub(super) struct Args<'a, 't> {
    of: &'a Term<'t>,
    left: Vec<&'a Term<'t>>,
}

impl<'a, 't> Args<'a, 't> {
    pub(super) fn of(term: &'a Term<'t>) -> Result<Self, TextError> {
        Ok(Args { of: term, left: term.args()?.iter().collect() })
    }

    pub(super) fn find(&mut self, name: &str) -> Option<&'a Term<'t>> {
        let i = self.left.iter().position(|t| t.name == name)?;
        Some(self.left.remove(i))
    }

    pub(super) fn named(&mut self, name: &str) -> Result<&'a Term<'t>, TextError> {
        let of = self.of;
        self.find(name).ok_or_else(|| TextError::new(of.at, format!("'{name}' in '{}'", of.name)))
    }

    pub(super) fn optional<T: TryFrom<u128>>(&mut self, name: &str) -> Result<Option<T>, TextError> {
        let Some(term) = self.find(name) else { return Ok(None) };
        let (text, at) = term.value()?;
        narrow(text, at).map(Some)
    }

    pub(super) fn number<T: TryFrom<u128>>(&mut self, name: &str) -> Result<T, TextError> {
        let (text, at) = self.named(name)?.value()?;
        narrow(text, at)
    }

    /// A value of a form that `what` says.
    pub(super) fn parsed<T: FromStr>(&mut self, name: &str, what: &'static str) -> Result<T, TextError> {
        let (text, at) = self.named(name)?.value()?;
        text.parse().map_err(|_| TextError::new(at, what))
    }

    pub(super) fn address(&mut self, name: &str) -> Result<EthAddr, TextError> {
        self.parsed(name, "an Ethernet address")
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<bool, TextError> {
        self.find(name).map_or(Ok(false), |term| term.bare().map(|()| true))
    }

    fn next(&mut self) -> Option<&'a Term<'t>> {
        (!self.left.is_empty()).then(|| self.left.remove(0))
    }

    /// Refuses what nobody asked for.
    pub(super) fn done(self) -> Result<(), TextError> {
        match self.left.first() {
            None => Ok(()),
            Some(odd) => Err(TextError::new(odd.at, format!("no '{}' in '{}'", odd.name, self.of.name))),
        }
    }
}
