//! Where packets to the other ends of tunnels go: tables of routes, and rules that say which table is asked.
//!
//! Rules are asked in the order of their priority, the lowest number first; the first table with a route for the
//! destination decides. In a table the longest prefix wins, and among routes with as long a prefix one that was added by
//! hand; one by hand wins over those of the system up to 32 bits longer. A route with a mark is for packets with that mark
//! only; what no such route is for goes by those without. (Upstream has packets with a mark go by no others.)
//!
//! A lookup costs one probe of a hash table for each length of prefix in use, whatever the number of routes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The tables that every system has (rtnetlink(7)).
pub mod table {
    /// The addresses of the machine itself.
    pub const LOCAL: u32 = 255;
    /// Where routes are, unless said otherwise.
    pub const MAIN: u32 = 254;
    /// What is asked last.
    pub const DEFAULT: u32 = 253;

    /// The name of a table that has one.
    pub const fn name(table: u32) -> Option<&'static str> {
        match table {
            LOCAL => Some("local"),
            MAIN => Some("main"),
            DEFAULT => Some("default"),
            _ => None,
        }
    }
}

/// The most routes that are kept in all tables together.
pub const MAX_ROUTES: usize = 1 << 20;

/// Addresses that begin alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Prefix {
    address: IpAddr,
    len: u8,
}

impl Prefix {
    /// The addresses that have their first `len` bits in common with this one; `None` if it has not so many.
    ///
    /// ```
    /// use ovs_ofproto::pipeline::native::Prefix;
    ///
    /// let prefix = Prefix::new("10.1.2.3".parse().unwrap(), 24).unwrap();
    /// assert_eq!(prefix.to_string(), "10.1.2.0/24");
    /// assert!(prefix.contains("10.1.2.9".parse().unwrap()) && !prefix.contains("10.1.3.9".parse().unwrap()));
    /// assert_eq!(Prefix::new("10.1.2.3".parse().unwrap(), 33), None);
    /// ```
    pub fn new(address: IpAddr, len: u8) -> Option<Prefix> {
        if len > width(address) {
            return None;
        }
        let bits = first_bits(bits_of(address), len);
        let address = match address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits((bits >> 96) as u32)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        };
        Some(Prefix { address, len })
    }

    /// The address alone.
    pub fn host(address: IpAddr) -> Prefix {
        Prefix { address, len: width(address) }
    }

    /// The first of the addresses.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits they have in common.
    #[expect(clippy::len_without_is_empty, reason = "a number of bits")]
    pub fn len(self) -> u8 {
        self.len
    }

    /// Whether an address is one of them.
    pub fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && first_bits(bits_of(self.address) ^ bits_of(address), self.len) == 0
    }

    fn is_host(self) -> bool {
        self.len == width(self.address)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The bits of an address from the highest on.
fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn first_bits(bits: u128, len: u8) -> u128 {
    if len == 0 { 0 } else { bits & u128::MAX << (128 - u32::from(len.min(128))) }
}

/// A way to addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Which addresses.
    pub to: Prefix,
    /// The mark of the packets that it is for.
    pub mark: u32,
    /// The device that they leave by.
    pub device: String,
    /// The router that takes them; none if the addresses are on the device's link.
    pub gateway: Option<IpAddr>,
    /// The address that packets leave with, unless they have one.
    pub source: IpAddr,
    /// Whether it was added by hand, and not learnt of the system.
    pub by_hand: bool,
}

impl Route {
    /// What wins over what: the higher.
    fn rank(&self) -> u8 {
        self.to.len + if self.by_hand { 32 } else { 0 }
    }
}

/// Says which table is asked for a packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rule {
    /// Lower numbers are asked first.
    pub priority: u32,
    /// Whether it is for the packets that are not from there.
    pub invert: bool,
    /// The sources that it is for; none is all.
    pub from: Option<Prefix>,
    /// Whether it is for IPv6.
    pub v6: bool,
    /// The table.
    pub table: u32,
    /// Whether it was added by hand.
    pub by_hand: bool,
}

impl Rule {
    fn is_for(&self, v6: bool, source: Option<IpAddr>) -> bool {
        let matches = self.from.is_none_or(|from| source.is_some_and(|source| from.contains(source)));
        self.v6 == v6 && matches != self.invert
    }

    fn standard() -> impl Iterator<Item = Rule> {
        let rule = |v6, priority, table| Rule { priority, invert: false, from: None, v6, table, by_hand: false };
        let v4 = [(0, table::LOCAL), (0x7ffe, table::MAIN), (0x7fff, table::DEFAULT)];
        let v4 = v4.into_iter().map(move |(priority, table)| rule(false, priority, table));
        let v6 = [(0, table::LOCAL), (0x7ffe, table::MAIN)];
        v4.chain(v6.into_iter().map(move |(priority, table)| rule(true, priority, table)))
    }
}

impl fmt::Display for Rule {
    /// As `ovs/route/rule/show` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rule { priority, invert, from, v6: _, table, by_hand } = self;
        f.write_str(if *by_hand { "User: " } else { "Cached: " })?;
        write!(f, "{priority}: {}from ", if *invert { "not " } else { "" })?;
        match from {
            None => f.write_str("all")?,
            Some(host) if host.is_host() => write!(f, "{}", host.address)?,
            Some(from) => write!(f, "{from} ")?,
        }
        match table::name(*table) {
            Some(name) => write!(f, " lookup {name}"),
            None => write!(f, " lookup {table}"),
        }
    }
}

/// What a lookup comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hop {
    /// The device to leave by.
    pub device: String,
    /// The router there, if the destination is not on the device's link.
    pub gateway: Option<IpAddr>,
    /// The source address.
    pub source: IpAddr,
}

/// Routes of one family and mark, by their ranks and then by the bits of their prefixes.
type Ranks = BTreeMap<Reverse<u8>, HashMap<(u128, u8), Route>>;

/// The tables of routes and the rules.
#[derive(Clone, Debug)]
pub struct Routes {
    tables: BTreeMap<u32, BTreeMap<(bool, u32), Ranks>>,
    rules: Vec<Rule>,
    count: usize,
}

impl Default for Routes {
    fn default() -> Self {
        let mut routes = Routes { tables: BTreeMap::new(), rules: Vec::new(), count: 0 };
        Rule::standard().for_each(|rule| routes.add_rule(rule));
        routes
    }
}

impl Routes {
    /// Adds a route, in the place of the one with the same addresses, mark and origin. False if there are too many.
    pub fn add(&mut self, table: u32, route: Route) -> bool {
        let of_mark =
            self.tables.entry(table).or_default().entry((route.to.address.is_ipv6(), route.mark)).or_default();
        let same = of_mark.entry(Reverse(route.rank())).or_default();
        let key = (bits_of(route.to.address), route.to.len);
        if self.count >= MAX_ROUTES && !same.contains_key(&key) {
            return false;
        }
        self.count += usize::from(same.insert(key, route).is_none());
        true
    }

    /// Removes a route. Whether it was there.
    pub fn remove(&mut self, table: u32, to: Prefix, mark: u32, by_hand: bool) -> bool {
        let family = (to.address.is_ipv6(), mark);
        let Some(of_table) = self.tables.get_mut(&table) else { return false };
        let Some(of_mark) = of_table.get_mut(&family) else { return false };
        let rank = Reverse(to.len + if by_hand { 32 } else { 0 });
        let Some(same) = of_mark.get_mut(&rank) else { return false };
        let key = (bits_of(to.address), to.len);
        // A rank is shared by routes by hand and longer ones that are not.
        if same.get(&key).is_none_or(|route| route.by_hand != by_hand) {
            return false;
        }
        same.remove(&key);
        self.count -= 1;
        if same.is_empty() {
            of_mark.remove(&rank);
        }
        of_table.retain(|_, of_mark| !of_mark.is_empty());
        self.tables.retain(|_, of_table| !of_table.is_empty());
        true
    }

    /// Removes what the system said, before it says everything anew. What was added by hand stays, and the rules that
    /// every system has come back.
    pub fn forget_cached(&mut self) {
        for of_mark in self.tables.values_mut().flat_map(BTreeMap::values_mut) {
            of_mark.values_mut().for_each(|same| same.retain(|_, route| route.by_hand));
            of_mark.retain(|_, same| !same.is_empty());
        }
        self.tables.values_mut().for_each(|of_table| of_table.retain(|_, of_mark| !of_mark.is_empty()));
        self.tables.retain(|_, of_table| !of_table.is_empty());
        self.count = self.iter().count();
    }

    /// Whether there is a table of this number: one with a route.
    pub fn has_table(&self, table: u32) -> bool {
        self.tables.contains_key(&table)
    }

    /// The routes with their tables, in each the longest prefixes first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Route)> {
        self.tables.iter().flat_map(|(table, of_table)| {
            let mut routes: Vec<&Route> =
                of_table.values().flat_map(BTreeMap::values).flat_map(HashMap::values).collect();
            routes.sort_by_key(|r| (r.to.address.is_ipv6(), Reverse(r.to.len), r.by_hand, r.mark, r.to));
            routes.into_iter().map(|route| (*table, route))
        })
    }

    // Rules.

    /// Adds a rule, behind those of its priority.
    pub fn add_rule(&mut self, rule: Rule) {
        let at = self.rules.partition_point(|other| other.priority <= rule.priority);
        self.rules.insert(at, rule);
    }

    /// The priority of a rule that is added without one: the lowest gap in front of the first rule with a priority.
    pub fn free_priority(&self) -> u32 {
        let (mut free, mut before) = (0, 0);
        for rule in &self.rules {
            if rule.priority != 0 && (free == 0 || rule.priority - before > 1) {
                free = rule.priority - 1;
            }
            before = rule.priority;
        }
        free
    }

    /// Removes the first rule by hand that is like this one, of any priority if its own is 0. Whether there was one.
    pub fn remove_rule(&mut self, rule: &Rule) -> bool {
        let is_it = |other: &Rule| {
            let priority = if rule.priority == 0 { other.priority } else { rule.priority };
            other.by_hand && *other == Rule { priority, by_hand: true, ..*rule }
        };
        let found = self.rules.iter().position(is_it);
        found.map(|at| self.rules.remove(at)).is_some()
    }

    /// Replaces the rules that the system has.
    pub fn set_cached_rules(&mut self, rules: impl IntoIterator<Item = Rule>) {
        self.rules.retain(|rule| rule.by_hand);
        rules.into_iter().for_each(|rule| self.add_rule(Rule { by_hand: false, ..rule }));
    }

    /// The rules of a family, in the order in which they are asked.
    pub fn rules(&self, v6: bool) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| rule.v6 == v6)
    }

    // Lookups.

    /// Whether there is a route to addresses of a family for packets with a mark: only then does a mark matter.
    pub fn has_marks(&self, v6: bool) -> bool {
        self.tables.values().any(|of_table| of_table.keys().any(|(of, mark)| *of == v6 && *mark != 0))
    }

    /// The way to an address, for a packet with this mark, and with this source if it has one, which must be one of the
    /// machine's own. If no route is for the mark, those without any count.
    pub fn lookup(&self, to: IpAddr, mark: u32, source: Option<IpAddr>) -> Option<Hop> {
        let marked = (mark != 0).then(|| self.lookup_marked(to, mark, source)).flatten();
        marked.or_else(|| self.lookup_marked(to, 0, source))
    }

    fn lookup_marked(&self, to: IpAddr, mark: u32, source: Option<IpAddr>) -> Option<Hop> {
        if let Some(source) = source {
            // The machine's own addresses are its own whatever mark the packet has.
            self.lookup_in(table::LOCAL, source, mark).or_else(|| self.lookup_in(table::LOCAL, source, 0))?;
        }
        let v6 = to.is_ipv6();
        let mut rules = self.rules.iter().filter(|rule| rule.is_for(v6, source));
        let route = rules.find_map(|rule| self.lookup_in(rule.table, to, mark))?;
        let (device, gateway) = (route.device.clone(), route.gateway);
        Some(Hop { device, gateway, source: source.unwrap_or(route.source) })
    }

    fn lookup_in(&self, table: u32, to: IpAddr, mark: u32) -> Option<&Route> {
        let ranks = self.tables.get(&table)?.get(&(to.is_ipv6(), mark))?;
        let bits = bits_of(to);
        ranks.iter().find_map(|(Reverse(rank), same)| {
            let of = |by_hand: bool| {
                let len = rank.checked_sub(if by_hand { 32 } else { 0 }).filter(|len| *len <= width(to))?;
                same.get(&(first_bits(bits, len), len)).filter(|route| route.by_hand == by_hand)
            };
            of(true).or_else(|| of(false))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn to(text: &str) -> Prefix {
        let (address, len) = text.split_once('/').unwrap();
        Prefix::new(ip(address), len.parse().unwrap()).unwrap()
    }

    fn route(prefix: &str, device: &str, source: &str) -> Route {
        Route { to: to(prefix), mark: 0, device: device.into(), gateway: None, source: ip(source), by_hand: false }
    }

    fn device(routes: &Routes, address: &str, mark: u32, source: Option<&str>) -> Option<String> {
        routes.lookup(ip(address), mark, source.map(ip)).map(|hop| hop.device)
    }

    #[test]
    fn the_longest_prefix_by_hand_first_and_the_mark_exactly() {
        let mut routes = Routes::default();
        routes.add(table::MAIN, route("0.0.0.0/0", "any", "10.0.0.1"));
        routes.add(table::MAIN, route("10.0.0.0/24", "near", "10.0.0.1"));
        routes.add(table::MAIN, Route { mark: 7, ..route("10.0.0.0/8", "marked", "10.0.0.1") });
        assert_eq!(device(&routes, "10.0.0.9", 0, None).unwrap(), "near");
        assert_eq!(device(&routes, "10.0.0.9", 7, None).unwrap(), "marked");
        assert_eq!(device(&routes, "10.0.0.9", 8, None).unwrap(), "near");
        assert_eq!(device(&routes, "11.0.0.9", 7, None).unwrap(), "any");
        assert!(routes.has_marks(false) && !routes.has_marks(true));
        assert_eq!(device(&routes, "2001:db8::1", 0, None), None);
        routes.add(table::MAIN, Route { by_hand: true, ..route("10.0.0.0/16", "mine", "10.0.0.1") });
        assert_eq!(device(&routes, "10.0.0.9", 0, None).unwrap(), "mine");
        assert!(!routes.remove(table::MAIN, to("10.0.0.0/16"), 0, false));
        assert!(routes.remove(table::MAIN, to("10.0.0.0/16"), 0, true));
        assert_eq!(device(&routes, "10.0.0.9", 0, None).unwrap(), "near");
        routes.forget_cached();
        assert_eq!(routes.iter().count(), 0);
        assert!(!routes.has_table(table::MAIN));
    }

    #[test]
    fn a_source_must_be_the_machines_own_and_rules_choose_by_it() {
        let mut routes = Routes::default();
        for (n, name) in [(11, "p1"), (22, "p2")] {
            let source = format!("10.0.0.{n}");
            routes.add(table::LOCAL, route(&format!("{source}/32"), name, &source));
            routes.add(table::MAIN, route("10.0.0.0/24", name, &source));
        }
        routes.add(11, Route { gateway: Some(ip("10.0.0.1")), ..route("10.0.0.0/24", "p1", "10.0.0.11") });
        assert_eq!(device(&routes, "10.0.0.100", 0, Some("10.0.0.11")).unwrap(), "p2");
        assert_eq!(device(&routes, "10.0.0.100", 0, Some("10.0.0.12")), None);
        let rule =
            Rule { priority: 100, invert: false, from: Some(to("10.0.0.11/32")), v6: false, table: 11, by_hand: true };
        routes.add_rule(rule);
        let hop = routes.lookup(ip("10.0.0.100"), 0, Some(ip("10.0.0.11"))).unwrap();
        assert_eq!((hop.device.as_str(), hop.gateway, hop.source), ("p1", Some(ip("10.0.0.1")), ip("10.0.0.11")));
        assert_eq!(device(&routes, "10.0.0.100", 0, Some("10.0.0.22")).unwrap(), "p2");
        routes.add_rule(Rule { priority: 50, invert: true, from: Some(to("10.0.0.11/32")), table: 11, ..rule });
        assert_eq!(device(&routes, "10.0.0.100", 0, Some("10.0.0.22")).unwrap(), "p1");
        assert!(routes.remove_rule(&Rule { priority: 0, ..rule }));
        assert!(!routes.remove_rule(&Rule { priority: 0, ..rule }));
    }

    #[test]
    fn priorities_fill_the_gap_in_front_of_main() {
        let mut routes = Routes::default();
        let rule = |priority| Rule {
            priority,
            invert: false,
            from: Some(to("10.0.0.0/8")),
            v6: false,
            table: 7,
            by_hand: true,
        };
        for expected in [32_765, 32_764, 32_763] {
            let priority = routes.free_priority();
            assert_eq!(priority, expected);
            routes.add_rule(rule(priority));
        }
        assert!(routes.remove_rule(&rule(32_764)));
        let shown: Vec<String> = routes.rules(false).map(Rule::to_string).collect();
        assert_eq!(shown[0], "Cached: 0: from all lookup local");
        assert_eq!(shown[1], "User: 32763: from 10.0.0.0/8  lookup 7");
        assert_eq!(shown[3], "Cached: 32766: from all lookup main");
        assert_eq!(routes.rules(true).count(), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_lookup_is_what_a_look_at_every_route_finds(
            entries in prop::collection::vec((any::<bool>(), any::<u16>(), 0u8..=16, 0u32..2, any::<bool>()), 0..60),
            asked in prop::collection::vec((any::<bool>(), any::<u16>(), 0u32..2), 0..40),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let address = |v6: bool, bits: u16| match v6 {
                true => IpAddr::V6(Ipv6Addr::from_bits(u128::from(bits) << 112)),
                false => IpAddr::V4(Ipv4Addr::from_bits(u32::from(bits) << 16)),
            };
            let (mut routes, mut oracle) = (Routes::default(), Vec::<Route>::new());
            for (n, (v6, bits, len, mark, by_hand)) in entries.iter().enumerate() {
                let to = Prefix::new(address(*v6, *bits), *len).unwrap();
                let route = Route {
                    to, mark: *mark, device: n.to_string(), gateway: None, source: address(*v6, 1), by_hand: *by_hand,
                };
                oracle.retain(|r| (r.to, r.mark, r.by_hand) != (to, *mark, *by_hand));
                oracle.push(route.clone());
                prop_assert!(routes.add(table::MAIN, route));
            }
            for index in &removed {
                if oracle.is_empty() { break; }
                let gone = oracle.swap_remove(index.index(oracle.len()));
                prop_assert!(routes.remove(table::MAIN, gone.to, gone.mark, gone.by_hand));
                prop_assert!(!routes.remove(table::MAIN, gone.to, gone.mark, gone.by_hand));
            }
            prop_assert_eq!(routes.iter().count(), oracle.len());
            for (v6, bits, mark) in asked {
                let to = address(v6, bits);
                let of_mark = |mark| oracle.iter().filter(move |r| r.mark == mark && r.to.contains(to));
                let best = |mark| of_mark(mark).max_by_key(|r| (r.rank(), r.by_hand));
                let best = best(mark).or_else(|| best(0));
                let found = routes.lookup(to, mark, None).map(|hop| hop.device);
                prop_assert_eq!(found, best.map(|r| r.device.clone()));
            }
        }
    }
}
