//! Keys from words.

use ovs_packet::extract::{
    ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_RARP, ETH_TYPE_VLAN, ETH_TYPE_VLAN_SERVICE, NO_ETHERTYPE,
};
use ovs_packet::field::KeyAttr as A;
use ovs_packet::key::VLAN_PRESENT;
use ovs_packet::{FlowKey, FlowMask};

use super::attr::{self, MPLS, Member, VLANS};
use super::tree::Term;
use super::{PortNames, TextError, tunnel, value};

/// A key that is being read.
pub(super) struct KeyReader<'p> {
    pub(super) key: FlowKey,
    pub(super) mask: FlowMask,
    ports: &'p dyn PortNames,
    seen: Vec<A>,
    /// How many tags were read.
    tags: usize,
    /// Where the Ethertype stood.
    eth_type: Option<usize>,
}

impl<'p> KeyReader<'p> {
    pub(super) fn new(ports: &'p dyn PortNames) -> Self {
        KeyReader { key: FlowKey::ZERO, mask: FlowMask::EMPTY, ports, seen: Vec::new(), tags: 0, eth_type: None }
    }

    /// Reads the attributes of a key.
    pub(super) fn key(mut self, terms: &[Term<'_>]) -> Result<(FlowKey, FlowMask), TextError> {
        self.attributes(terms)?;
        if let Some(at) = self.eth_type {
            self.check_layers(at)?;
        }
        Ok((self.key, self.mask))
    }

    fn attributes(&mut self, terms: &[Term<'_>]) -> Result<(), TextError> {
        for (i, term) in terms.iter().enumerate() {
            match term.name {
                "vlan" => self.tag(term)?,
                "tunnel" => {
                    self.once(A::Tunnel, term)?;
                    tunnel::read(self, term)?;
                }
                "mpls" => {
                    self.once(A::Mpls, term)?;
                    self.mpls(term)?;
                }
                "encap" => {
                    if self.tags == 0 {
                        return Err(TextError::new(term.at, "'vlan(...)' before 'encap'"));
                    }
                    self.attributes(term.args()?)?;
                }
                "eth_type" if terms.get(i + 1).is_some_and(|next| next.name == "vlan") => self.tpid(term)?,
                name => {
                    let row = attr::by_name(name)
                        .ok_or_else(|| TextError::new(term.at, format!("an attribute of a key, not '{name}'")))?;
                    self.once(row.attr, term)?;
                    if row.attr == A::EtherType {
                        self.eth_type = Some(term.at);
                    }
                    self.attr(term, row.members)?;
                }
            }
        }
        Ok(())
    }

    /// Reads the members of one attribute.
    pub(super) fn attr(&mut self, term: &Term<'_>, members: &[Member]) -> Result<(), TextError> {
        if let [member @ Member { name: "", .. }] = members {
            let (text, at) = match term.args()? {
                // Flags without any.
                [] => ("0", term.at),
                _ => term.word()?,
            };
            return self.member(member, text, at);
        }
        term.args()?.iter().try_for_each(|arg| self.argument(arg, members))
    }

    /// Reads one member, `name=value`.
    pub(super) fn argument(&mut self, arg: &Term<'_>, members: &[Member]) -> Result<(), TextError> {
        let member = members.iter().find(|m| m.name == arg.name).ok_or_else(|| {
            let names: Vec<_> = members.iter().map(|m| m.name).collect();
            TextError::new(arg.at, format!("one of {}", names.join(", ")))
        })?;
        let (text, at) = arg.value()?;
        self.member(member, text, at)
    }

    /// Refuses an attribute that was there already.
    fn once(&mut self, attr: A, term: &Term<'_>) -> Result<(), TextError> {
        if self.seen.contains(&attr) {
            return Err(TextError::new(term.at, format!("'{}' once", term.name)));
        }
        self.seen.push(attr);
        Ok(())
    }

    /// Reads label stack entries, each beginning with its label.
    pub(super) fn mpls(&mut self, term: &Term<'_>) -> Result<(), TextError> {
        let mut entries = MPLS.iter();
        let mut entry = None;
        for arg in term.args()? {
            if arg.name == "label" || entry.is_none() {
                entry = entries.next();
            }
            let members = entry.ok_or_else(|| TextError::new(arg.at, "no more than three labels"))?;
            self.argument(arg, members)?;
        }
        Ok(())
    }

    fn member(&mut self, member: &Member, text: &str, at: usize) -> Result<(), TextError> {
        // The absence of an Ethertype has a value of its own.
        let (value, mask) = match (member.form, text) {
            (attr::Form::Hex4, "0/0xffff") => (NO_ETHERTYPE.into(), member.place.max()),
            _ => value::read(member, text, at, self.ports)?,
        };
        member.place.put(&mut self.key, value);
        member.place.put(&mut self.mask.bits, mask);
        Ok(())
    }

    fn tpid(&mut self, term: &Term<'_>) -> Result<(), TextError> {
        let (text, at) = term.word()?;
        let tpid = ovs_packet::text::number(text).and_then(|n| u16::try_from(n).ok());
        match (tpid, self.tags) {
            (Some(tpid @ (ETH_TYPE_VLAN | ETH_TYPE_VLAN_SERVICE)), 0) => self.key.vlan_tpid.set(tpid),
            (Some(tpid @ (ETH_TYPE_VLAN | ETH_TYPE_VLAN_SERVICE)), 1) => self.key.inner_vlan_tpid.set(tpid),
            _ => return Err(TextError::new(at, "0x8100 or 0x88a8 before 'vlan'")),
        }
        Ok(())
    }

    fn tag(&mut self, term: &Term<'_>) -> Result<(), TextError> {
        let Some(members) = VLANS.get(self.tags) else {
            return Err(TextError::new(term.at, "no more than two VLAN tags"));
        };
        let bits = &mut self.mask.bits;
        let (tci, mask) = match self.tags {
            0 => (&mut self.key.vlan_tci, &mut bits.vlan_tci),
            _ => (&mut self.key.inner_vlan_tci, &mut bits.inner_vlan_tci),
        };
        tci.set(VLAN_PRESENT);
        mask.set(VLAN_PRESENT);
        self.tags += 1;
        self.attr(term, members)
    }

    /// Refuses headers that do not go with the Ethertype.
    fn check_layers(&self, at: usize) -> Result<(), TextError> {
        let eth_type = self.key.eth_type.get();
        let ip = match eth_type {
            ETH_TYPE_IPV4 => Some(A::Ipv4),
            ETH_TYPE_IPV6 => Some(A::Ipv6),
            ETH_TYPE_ARP | ETH_TYPE_RARP => Some(A::Arp),
            _ => None,
        };
        let network = [A::Ipv4, A::Ipv6, A::Arp];
        match self.seen.iter().find(|a| network.contains(a) && Some(**a) != ip) {
            Some(odd) => {
                let name = attr::row(*odd).map_or("", |row| row.name);
                Err(TextError::new(at, format!("an Ethertype that goes with '{name}'")))
            }
            None => Ok(()),
        }
    }
}
