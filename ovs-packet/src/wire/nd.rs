//! Neighbour discovery: the routers and the neighbours of an IPv6 link (RFC 4861).
//!
//! ```text
//!   0  type, code 0, checksum
//!   4  133 router solicitation:      reserved
//!      134 router advertisement:     hop limit, M O and reserved, lifetime (2)
//!      135 neighbour solicitation:   reserved
//!      136 neighbour advertisement:  R S O and reserved
//!      137 redirect:                 reserved
//!   8  134: reachable time, retransmission time;    135, 136, 137: target (16);    137: destination (16)
//!      options: type, length of all of it in 8 bytes, value
//! ```
//!
//! A message fills its bytes, the payload of the IPv6 packet, whose hop limit must be 255. Of the checksum see
//! [`icmpv6`](super::icmpv6): it is neither looked at nor written here. An option of length zero makes the whole message
//! invalid (4.6).

use core::fmt;
use core::net::Ipv6Addr;

use bitflags::bitflags;
use zerocopy::big_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Error, Fault, Reader, Vec, Wire, Writer, code_points, parts, view};
use crate::addr::EthAddr;

const NAME: &str = "ND";
const HEAD: usize = 8;

code_points! {
    /// The type of a message.
    Kind: u8 {
        /// Which routers are there?
        ROUTER_SOLICITATION = 133, "router solicitation";
        /// Here is a router.
        ROUTER_ADVERTISEMENT = 134, "router advertisement";
        /// Who has the target?
        NEIGHBOR_SOLICITATION = 135, "neighbor solicitation";
        /// The sender has the target.
        NEIGHBOR_ADVERTISEMENT = 136, "neighbor advertisement";
        /// The destination is better reached by way of the target.
        REDIRECT = 137, "redirect";
    }
}

impl Kind {
    /// Where the options of such a message begin.
    fn options_at(self) -> Option<usize> {
        Some(match self {
            Kind::ROUTER_SOLICITATION => HEAD,
            Kind::ROUTER_ADVERTISEMENT => HEAD + 8,
            Kind::NEIGHBOR_SOLICITATION | Kind::NEIGHBOR_ADVERTISEMENT => HEAD + 16,
            Kind::REDIRECT => HEAD + 32,
            _ => return None,
        })
    }
}

code_points! {
    /// The type of an option.
    OptionKind: u8 {
        /// The sender's link-layer address.
        SOURCE_LINK_LAYER = 1, "source link-layer address";
        /// The target's link-layer address.
        TARGET_LINK_LAYER = 2, "target link-layer address";
        /// A prefix of the link.
        PREFIX = 3, "prefix";
        /// The beginning of the packet that was redirected.
        REDIRECTED = 4, "redirected packet";
        /// The MTU of the link.
        MTU = 5, "MTU";
    }
}

bitflags! {
    /// The flags of a neighbour advertisement.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct NeighborFlags: u8 {
        /// R: the sender is a router.
        const ROUTER = 0x80;
        /// S: it was asked.
        const SOLICITED = 0x40;
        /// O: what is in caches is to be replaced.
        const OVERRIDE = 0x20;
    }
}

bitflags! {
    /// The flags of a router advertisement.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct RouterFlags: u8 {
        /// M: addresses are given by DHCPv6.
        const MANAGED = 0x80;
        /// O: other configuration is.
        const OTHER_CONFIG = 0x40;
    }
}

bitflags! {
    /// The flags of a prefix.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
    pub struct PrefixFlags: u8 {
        /// L: its addresses are on the link.
        const ON_LINK = 0x80;
        /// A: hosts may make addresses of it.
        const AUTONOMOUS = 0x40;
    }
}

/// A message in place.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct View {
    kind: u8,
    code: u8,
    /// The checksum.
    pub checksum: U16,
    word: [u8; 4],
    rest: [u8],
}

view!(View, NAME);

impl View {
    fn check(&self) -> Result<(), Error> {
        let begin = self.kind().options_at().ok_or(Error::value("ND type", 0, self.kind))?;
        if self.code != 0 {
            return Err(Error::value("ND code", 1, self.code));
        }
        if HEAD + self.rest.len() < begin {
            return Err(Error::truncated(NAME, HEAD + self.rest.len()));
        }
        self.read_options().try_for_each(|option| option.map(drop))
    }

    fn read_options(&self) -> impl Iterator<Item = Result<OptionAt<'_>, Error>> {
        let begin = self.kind().options_at().unwrap_or(HEAD);
        parts(Reader::at("ND option", self.rest.get(begin - HEAD..).unwrap_or_default(), begin), read_option)
    }

    /// The type.
    pub fn kind(&self) -> Kind {
        Kind(self.kind)
    }

    /// The flags of a neighbour advertisement; none in other messages.
    pub fn neighbor_flags(&self) -> NeighborFlags {
        let [flags, ..] = self.word;
        let bits = if self.kind() == Kind::NEIGHBOR_ADVERTISEMENT { flags } else { 0 };
        NeighborFlags::from_bits_truncate(bits)
    }

    /// Sets the flags of a neighbour advertisement, and does nothing to other messages. The checksum is then wrong, as
    /// after every change.
    pub fn set_neighbor_flags(&mut self, flags: NeighborFlags) {
        if self.kind() == Kind::NEIGHBOR_ADVERTISEMENT {
            let [to, ..] = &mut self.word;
            *to = *to & !NeighborFlags::all().bits() | flags.intersection(NeighborFlags::all()).bits();
        }
    }

    /// The target of the messages that have one.
    pub fn target(&self) -> Option<Ipv6Addr> {
        let [target] = self.addresses()?;
        Some(target)
    }

    /// Changes the target of the messages that have one.
    pub fn set_target(&mut self, target: Ipv6Addr) {
        if self.target().is_some()
            && let Some(to) = self.rest.first_chunk_mut()
        {
            *to = target.octets();
        }
    }

    /// The first addresses of the messages that have a target.
    fn addresses<const N: usize>(&self) -> Option<[Ipv6Addr; N]> {
        if self.kind().options_at()? < HEAD + 16 {
            return None;
        }
        let (addresses, _) = <[[u8; 16]; N]>::ref_from_prefix(&self.rest).ok()?;
        Some(addresses.map(Ipv6Addr::from))
    }

    /// The type and value of each option.
    pub fn options(&self) -> impl Iterator<Item = (OptionKind, &[u8])> {
        self.read_options().map_while(|option| option.ok().map(|(_, kind, value)| (kind, value)))
    }

    /// The first link-layer address, of the source or of the target, to be read or changed.
    pub fn link_layer_mut(&mut self, kind: OptionKind) -> Option<&mut EthAddr> {
        let mine = |(_, k, value): &OptionAt<'_>| *k == kind && value.len() == 6;
        let is_address = matches!(kind, OptionKind::SOURCE_LINK_LAYER | OptionKind::TARGET_LINK_LAYER);
        let (at, ..) = self.read_options().filter(|_| is_address).map_while(Result::ok).find(mine)?;
        EthAddr::mut_from_prefix(self.rest.get_mut(at - HEAD..)?).ok().map(|(address, _)| address)
    }
}

/// Where the value of an option is, its type, and it.
type OptionAt<'a> = (usize, OptionKind, &'a [u8]);

fn read_option<'a>(r: &mut Reader<'a>) -> Result<Option<OptionAt<'a>>, Error> {
    let begin = r.position();
    let [kind, units] = r.array()?;
    let (kind, at) = (OptionKind(kind), r.position());
    let bad = Error::length("ND option", begin + 1, units.into());
    let value = (8 * usize::from(units)).checked_sub(2).and_then(|len| r.take(len).ok()).ok_or(bad)?;
    let units_of_kind = match kind {
        OptionKind::PREFIX => Some(4),
        OptionKind::MTU => Some(1),
        _ => None,
    };
    if units_of_kind.is_some_and(|of_kind| of_kind != units) { Err(bad) } else { Ok(Some((at, kind, value))) }
}

/// What an option says.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum NdOption {
    /// The sender's Ethernet address.
    SourceLinkLayer(EthAddr),
    /// The target's Ethernet address.
    TargetLinkLayer(EthAddr),
    /// A prefix of the link.
    Prefix {
        /// How many bits of the address are the prefix.
        length: u8,
        /// Flags.
        flags: PrefixFlags,
        /// For how many seconds it is on the link; all ones for ever.
        valid: u32,
        /// For how many seconds addresses made of it are preferred; all ones for ever.
        preferred: u32,
        /// The address.
        prefix: Ipv6Addr,
    },
    /// The beginning of the packet that was redirected: whole groups of 8 bytes.
    Redirected(Vec<u8>),
    /// The MTU of the link.
    Mtu(u32),
    /// Another option, or a link-layer address that is not Ethernet's: type, and value of 6 bytes, 14, and so on.
    Other(OptionKind, Vec<u8>),
}

impl NdOption {
    fn new(kind: OptionKind, value: &[u8]) -> Result<NdOption, Error> {
        let mut r = Reader::new("ND option", value);
        Ok(match (kind, <[u8; 6]>::try_from(value)) {
            (OptionKind::SOURCE_LINK_LAYER, Ok(address)) => NdOption::SourceLinkLayer(EthAddr(address)),
            (OptionKind::TARGET_LINK_LAYER, Ok(address)) => NdOption::TargetLinkLayer(EthAddr(address)),
            (OptionKind::PREFIX, _) => {
                let [length, flags] = r.array()?;
                let (valid, preferred, _) = (r.u32()?, r.u32()?, r.u32()?);
                let flags = PrefixFlags::from_bits_truncate(flags);
                NdOption::Prefix { length, flags, valid, preferred, prefix: r.array::<16>()?.into() }
            }
            (OptionKind::REDIRECTED, _) => {
                r.take(6)?;
                NdOption::Redirected(r.rest().to_vec())
            }
            (OptionKind::MTU, _) => {
                r.take(2)?;
                NdOption::Mtu(r.u32()?)
            }
            _ => NdOption::Other(kind, value.to_vec()),
        })
    }

    fn len(&self) -> usize {
        match self {
            NdOption::SourceLinkLayer(_) | NdOption::TargetLinkLayer(_) | NdOption::Mtu(_) => 8,
            NdOption::Prefix { .. } => 32,
            NdOption::Redirected(packet) => 8 + packet.len(),
            NdOption::Other(_, value) => 2 + value.len(),
        }
    }

    fn emit(&self, w: &mut Writer<'_>) -> Result<(), Error> {
        let len = self.len();
        if !len.is_multiple_of(8) {
            return Err(Error::length("ND option", w.position(), len));
        }
        let units = w.fits("ND option", len / 8, 255)?;
        match self {
            NdOption::SourceLinkLayer(address) => {
                w.put(&[OptionKind::SOURCE_LINK_LAYER.0, units])?;
                w.put(&address.0)
            }
            NdOption::TargetLinkLayer(address) => {
                w.put(&[OptionKind::TARGET_LINK_LAYER.0, units])?;
                w.put(&address.0)
            }
            NdOption::Prefix { length, flags, valid, preferred, prefix } => {
                w.put(&[OptionKind::PREFIX.0, units, *length, flags.bits()])?;
                w.u32(*valid)?;
                w.u32(*preferred)?;
                w.u32(0)?;
                w.put(&prefix.octets())
            }
            NdOption::Redirected(packet) => {
                w.put(&[OptionKind::REDIRECTED.0, units, 0, 0, 0, 0, 0, 0])?;
                w.put(packet)
            }
            NdOption::Mtu(mtu) => {
                w.put(&[OptionKind::MTU.0, units, 0, 0])?;
                w.u32(*mtu)
            }
            NdOption::Other(kind, value) => {
                // What has a variant of its own is not another option.
                let own = match *kind {
                    OptionKind::SOURCE_LINK_LAYER | OptionKind::TARGET_LINK_LAYER => value.len() == 6,
                    OptionKind::PREFIX | OptionKind::REDIRECTED | OptionKind::MTU => true,
                    _ => false,
                };
                if own {
                    return Err(Error::new("ND option", w.position(), Fault::Misplaced));
                }
                w.put(&[kind.0, units])?;
                w.put(value)
            }
        }
    }
}

/// A message.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Message {
    /// Which routers are there?
    RouterSolicitation {
        /// Options.
        options: Vec<NdOption>,
    },
    /// Here is a router.
    RouterAdvertisement {
        /// The hop limit that hosts should send with, or zero.
        hop_limit: u8,
        /// Flags.
        flags: RouterFlags,
        /// For how many seconds the router is a default router.
        lifetime: u16,
        /// For how many milliseconds a neighbour is reachable after it was heard, or zero.
        reachable: u32,
        /// After how many milliseconds a solicitation is repeated, or zero.
        retransmit: u32,
        /// Options.
        options: Vec<NdOption>,
    },
    /// Who has the target?
    NeighborSolicitation {
        /// The target.
        target: Ipv6Addr,
        /// Options.
        options: Vec<NdOption>,
    },
    /// The sender has the target.
    NeighborAdvertisement {
        /// Flags.
        flags: NeighborFlags,
        /// The target.
        target: Ipv6Addr,
        /// Options.
        options: Vec<NdOption>,
    },
    /// The destination is better reached by way of the target.
    Redirect {
        /// The target.
        target: Ipv6Addr,
        /// The destination.
        destination: Ipv6Addr,
        /// Options.
        options: Vec<NdOption>,
    },
}

impl Message {
    /// The type.
    pub fn kind(&self) -> Kind {
        match self {
            Message::RouterSolicitation { .. } => Kind::ROUTER_SOLICITATION,
            Message::RouterAdvertisement { .. } => Kind::ROUTER_ADVERTISEMENT,
            Message::NeighborSolicitation { .. } => Kind::NEIGHBOR_SOLICITATION,
            Message::NeighborAdvertisement { .. } => Kind::NEIGHBOR_ADVERTISEMENT,
            Message::Redirect { .. } => Kind::REDIRECT,
        }
    }

    /// The options.
    pub fn options(&self) -> &[NdOption] {
        match self {
            Message::RouterSolicitation { options }
            | Message::RouterAdvertisement { options, .. }
            | Message::NeighborSolicitation { options, .. }
            | Message::NeighborAdvertisement { options, .. }
            | Message::Redirect { options, .. } => options,
        }
    }
}

impl Wire for Message {
    fn parse(bytes: &[u8]) -> Result<Message, Error> {
        let view = View::new(bytes)?;
        let options = view.options().map(|(kind, value)| NdOption::new(kind, value)).collect::<Result<_, _>>()?;
        let missing = Error::truncated(NAME, bytes.len());
        Ok(match view.kind() {
            Kind::ROUTER_ADVERTISEMENT => {
                let [hop_limit, flags, high, low] = view.word;
                let mut r = Reader::at(NAME, &view.rest, HEAD);
                let (flags, lifetime) = (RouterFlags::from_bits_truncate(flags), u16::from_be_bytes([high, low]));
                let (reachable, retransmit) = (r.u32()?, r.u32()?);
                Message::RouterAdvertisement { hop_limit, flags, lifetime, reachable, retransmit, options }
            }
            Kind::NEIGHBOR_SOLICITATION => {
                Message::NeighborSolicitation { target: view.target().ok_or(missing)?, options }
            }
            Kind::NEIGHBOR_ADVERTISEMENT => {
                let (flags, target) = (view.neighbor_flags(), view.target().ok_or(missing)?);
                Message::NeighborAdvertisement { flags, target, options }
            }
            Kind::REDIRECT => {
                let [target, destination] = view.addresses().ok_or(missing)?;
                Message::Redirect { target, destination, options }
            }
            _ => Message::RouterSolicitation { options },
        })
    }

    fn len(&self) -> usize {
        self.kind().options_at().unwrap_or(HEAD) + self.options().iter().map(NdOption::len).sum::<usize>()
    }

    fn emit(&self, out: &mut [u8]) -> Result<usize, Error> {
        let mut w = Writer::new(NAME, out);
        w.put(&[self.kind().0, 0, 0, 0])?;
        match self {
            Message::RouterSolicitation { .. } => w.u32(0)?,
            Message::RouterAdvertisement { hop_limit, flags, lifetime, reachable, retransmit, .. } => {
                w.put(&[*hop_limit, flags.bits()])?;
                w.u16(*lifetime)?;
                w.u32(*reachable)?;
                w.u32(*retransmit)?;
            }
            Message::NeighborSolicitation { target, .. } => {
                w.u32(0)?;
                w.put(&target.octets())?;
            }
            Message::NeighborAdvertisement { flags, target, .. } => {
                w.put(&[flags.bits(), 0, 0, 0])?;
                w.put(&target.octets())?;
            }
            Message::Redirect { target, destination, .. } => {
                w.u32(0)?;
                w.put(&target.octets())?;
                w.put(&destination.octets())?;
            }
        }
        self.options().iter().try_for_each(|option| option.emit(&mut w))?;
        Ok(w.position())
    }
}

impl fmt::Display for NdOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NdOption::SourceLinkLayer(address) => write!(f, "from {address}"),
            NdOption::TargetLinkLayer(address) => write!(f, "at {address}"),
            NdOption::Prefix { length, flags, valid, preferred, prefix } => {
                write!(f, "prefix {prefix}/{length} valid {valid}s preferred {preferred}s flags ")?;
                bitflags::parser::to_writer(flags, f)
            }
            NdOption::Redirected(packet) => write!(f, "redirected packet ({} bytes)", packet.len()),
            NdOption::Mtu(mtu) => write!(f, "MTU {mtu}"),
            NdOption::Other(kind, value) => write!(f, "option {kind} ({} bytes)", value.len()),
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ND {}", self.kind())?;
        match self {
            Message::RouterSolicitation { .. } => {}
            Message::RouterAdvertisement { hop_limit, flags, lifetime, reachable, retransmit, .. } => {
                write!(f, " hop limit {hop_limit} lifetime {lifetime}s reachable {reachable}ms")?;
                write!(f, " retransmit {retransmit}ms flags ")?;
                bitflags::parser::to_writer(flags, &mut *f)?;
            }
            Message::NeighborSolicitation { target, .. } => write!(f, " who has {target}?")?,
            Message::NeighborAdvertisement { flags, target, .. } => {
                write!(f, " {target} flags ")?;
                bitflags::parser::to_writer(flags, &mut *f)?;
            }
            Message::Redirect { target, destination, .. } => write!(f, " {destination} by {target}")?,
        }
        self.options().iter().try_for_each(|option| write!(f, " {option}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::string::ToString;
    use std::vec;

    use super::*;
    use crate::wire::tests::{any_bytes, changed, hex, laws, no_prefix, refused};

    fn option() -> impl Strategy<Value = NdOption> {
        prop_oneof![
            any::<[u8; 6]>().prop_map(|a| NdOption::SourceLinkLayer(EthAddr(a))),
            any::<[u8; 6]>().prop_map(|a| NdOption::TargetLinkLayer(EthAddr(a))),
            any::<(u8, u8, u32, u32, [u8; 16])>().prop_map(|(length, flags, valid, preferred, prefix)| {
                NdOption::Prefix {
                    length,
                    flags: PrefixFlags::from_bits_truncate(flags),
                    valid,
                    preferred,
                    prefix: prefix.into(),
                }
            }),
            prop::collection::vec(any::<u64>(), 0..4)
                .prop_map(|words| NdOption::Redirected(words.iter().flat_map(|w| w.to_be_bytes()).collect())),
            any::<u32>().prop_map(NdOption::Mtu),
            (6u8.., any::<[u8; 14]>()).prop_map(|(kind, value)| NdOption::Other(OptionKind(kind), value.to_vec())),
            any::<[u8; 14]>().prop_map(|value| NdOption::Other(OptionKind::SOURCE_LINK_LAYER, value.to_vec())),
        ]
    }

    fn message() -> impl Strategy<Value = Message> {
        let words = any::<(u8, u8, u16, u32, u32)>();
        (any::<[[u8; 16]; 2]>(), words, prop::collection::vec(option(), 0..4), 0..5).prop_map(
            |(addresses, (hop_limit, bits, lifetime, reachable, retransmit), options, kind)| {
                let [target, destination] = addresses.map(Ipv6Addr::from);
                match kind {
                    0 => Message::RouterSolicitation { options },
                    1 => Message::RouterAdvertisement {
                        hop_limit,
                        flags: RouterFlags::from_bits_truncate(bits),
                        lifetime,
                        reachable,
                        retransmit,
                        options,
                    },
                    2 => Message::NeighborSolicitation { target, options },
                    3 => {
                        let flags = NeighborFlags::from_bits_truncate(bits);
                        Message::NeighborAdvertisement { flags, target, options }
                    }
                    _ => Message::Redirect { target, destination, options },
                }
            },
        )
    }

    proptest! {
        #[test]
        fn messages_come_back(message in message()) {
            laws(&message);
        }

        #[test]
        fn any_bytes_end(message in message(), at: prop::sample::Index, to: u8, cut in 0usize..8) {
            let bytes = changed(&message, &[], at, to);
            any_bytes::<Message>(&bytes[..bytes.len() - cut]);
        }

        /// etherparse finds the same message and the same number of options.
        #[test]
        fn etherparse_agrees(message in message()) {
            use etherparse::Icmpv6Type as T;
            let bytes = message.to_vec().unwrap();
            let other = etherparse::Icmpv6Header::from_slice(&bytes).unwrap().0.icmp_type;
            match (&message, other) {
                (Message::RouterSolicitation { .. }, T::RouterSolicitation)
                | (Message::NeighborSolicitation { .. }, T::NeighborSolicitation)
                | (Message::Redirect { .. }, T::Redirect) => {}
                (Message::RouterAdvertisement { hop_limit, flags, lifetime, .. }, T::RouterAdvertisement(h)) => {
                    prop_assert_eq!((h.cur_hop_limit, h.router_lifetime), (*hop_limit, *lifetime));
                    prop_assert_eq!(h.managed_address_config, flags.contains(RouterFlags::MANAGED));
                }
                (Message::NeighborAdvertisement { flags, .. }, T::NeighborAdvertisement(h)) => {
                    prop_assert_eq!(h.router, flags.contains(NeighborFlags::ROUTER));
                    prop_assert_eq!(h.solicited, flags.contains(NeighborFlags::SOLICITED));
                    prop_assert_eq!(h.r#override, flags.contains(NeighborFlags::OVERRIDE));
                }
                (ours, theirs) => prop_assert!(false, "{:?} is {:?}", ours, theirs),
            }
        }
    }

    #[test]
    fn layout_is_that_of_the_rfc() {
        let target: Ipv6Addr = "fe80::2".parse().unwrap();
        let options = vec![NdOption::TargetLinkLayer(EthAddr::local(2))];
        let flags = NeighborFlags::SOLICITED | NeighborFlags::OVERRIDE;
        let message = Message::NeighborAdvertisement { flags, target, options };
        let bytes = laws(&message);
        assert_eq!(bytes, hex("88000000 60000000 fe800000000000000000000000000002 0201 020000000002"));
        assert_eq!(
            message.to_string(),
            "ND neighbor advertisement fe80::2 flags SOLICITED | OVERRIDE at 02:00:00:00:00:02"
        );
        // Without its option it is whole too.
        assert!((0..bytes.len()).all(|n| Message::parse(&bytes[..n]).is_ok() == (n == 24)));
        no_prefix::<Message>(&laws(&Message::RouterSolicitation { options: vec![] }));
        let options = vec![
            NdOption::Mtu(1500),
            NdOption::Prefix {
                length: 64,
                flags: PrefixFlags::all(),
                valid: 1,
                preferred: 2,
                prefix: "2001:db8::".parse().unwrap(),
            },
        ];
        let message = Message::RouterAdvertisement {
            hop_limit: 64,
            flags: RouterFlags::OTHER_CONFIG,
            lifetime: 1800,
            reachable: 3,
            retransmit: 4,
            options,
        };
        let expected = "86000000 40400708 00000003 00000004 0501 0000000005dc
                        0304 40c0 00000001 00000002 00000000 20010db8000000000000000000000000";
        assert_eq!(laws(&message), hex(expected));
    }

    #[test]
    fn options_have_the_length_of_their_kind() {
        let with = |option: &str| hex(&["85000000 00000000", option].concat());
        assert_eq!(refused::<Message>(&with("0502 0000000005dc 0000000000000000")), Error::length("ND option", 9, 2));
        assert_eq!(refused::<Message>(&with("0301 000000000000")), Error::length("ND option", 9, 1));
        assert_eq!(refused::<Message>(&with("05")), Error::truncated("ND option", 8));
        assert_eq!(refused::<Message>(&hex("8a000000 00000000")), Error::value("ND type", 0, 138u8));
        // Sections 6.1 and 7.1: the code is zero.
        assert_eq!(refused::<Message>(&hex("85010000 00000000")), Error::value("ND code", 1, 1u8));
    }

    #[test]
    fn what_cannot_be_sent_is_not_emitted() {
        for bad in [
            NdOption::Redirected(vec![0; 7]),
            NdOption::Redirected(vec![0; 2040]),
            NdOption::Other(OptionKind(200), vec![]),
            NdOption::Other(OptionKind::MTU, vec![0; 6]),
            NdOption::Other(OptionKind::TARGET_LINK_LAYER, vec![0; 6]),
        ] {
            assert!(Message::RouterSolicitation { options: vec![bad.clone()] }.to_vec().is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_and_flags_are_patched_in_place() {
        let options = vec![NdOption::Mtu(9), NdOption::SourceLinkLayer(EthAddr::local(1))];
        let mut bytes = Message::NeighborSolicitation { target: Ipv6Addr::LOCALHOST, options }.to_vec().unwrap();
        let view = View::new_mut(&mut bytes).unwrap();
        *view.link_layer_mut(OptionKind::SOURCE_LINK_LAYER).unwrap() = EthAddr::local(7);
        assert_eq!(view.link_layer_mut(OptionKind::TARGET_LINK_LAYER), None);
        assert_eq!(view.link_layer_mut(OptionKind::MTU), None);
        view.set_target("::2".parse().unwrap());
        view.set_neighbor_flags(NeighborFlags::all());
        let options = vec![NdOption::Mtu(9), NdOption::SourceLinkLayer(EthAddr::local(7))];
        let patched = Message::NeighborSolicitation { target: "::2".parse().unwrap(), options };
        assert_eq!(Message::parse(&bytes), Ok(patched));
    }

    /// `nd-optlen-e150d4099/0a1303287` of `security-triggers.json`, the payload of its IPv6 packet.
    #[test]
    fn security_an_option_longer_than_the_message_is_refused() {
        let bytes = hex("8700000000000000 fe800000000000000000000000000002 0eff000000000000 0101505400000009");
        assert_eq!(refused::<Message>(&bytes), Error::length("ND option", 25, 255));
        let mut zero = bytes.clone();
        zero[25] = 0;
        assert_eq!(refused::<Message>(&zero), Error::length("ND option", 25, 0));
        assert!(View::new_mut(&mut zero).is_err());
    }
}
