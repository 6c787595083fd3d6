//! How a connection comes to be: room is reserved within the limits, a reply tuple claimed, the slot filled.

use ovs_packet::Instant;

use crate::connection::{Connection, Flags};
use crate::helper::Helped;
use crate::key::Key;
use crate::outcome::Outcome;
use crate::shard::zones::deadline;
use crate::shard::{Claim, Common, Holder, Opening, Said, Search, Shard, Way};
use crate::table::Alias;

/// How many connections a full tracker looks at, in search of one that is dead, before it refuses another.
const RECLAIM: usize = 8;

/// How many slots are looked at for every connection that is stored, while flushes have left many.
const SWEEP: usize = 8;

/// After how many connections that make the table grow it is seen whether any have ended.
const GROWTH: u32 = 32;

/// One in how many dead ones are many.
const MANY: usize = 16;

impl Shard {
    /// Makes room for a connection: a reserved slot. The limits are charged.
    pub(crate) fn reserve(&mut self, zone: u16, now: Instant, common: &Common) -> Option<u32> {
        let number = self.zone_number(zone, common);
        if !self.quota.take() {
            self.expire(now, RECLAIM);
            if !self.quota.take() {
                self.stats.refused += 1;
                return None;
            }
        }
        if let Some(quota) = self.zones.get_mut(number).and_then(|z| z.quota.as_mut())
            && !quota.take()
        {
            self.expire(now, RECLAIM);
            let again = self.zones.get_mut(number).and_then(|z| z.quota.as_mut());
            if again.is_some_and(|quota| !quota.take()) {
                self.quota.give(1);
                self.stats.refused_by_zone += 1;
                return None;
            }
        }
        if self.stale * MANY > self.table.len() {
            self.sweep(SWEEP);
        }
        // Before the table grows: it need not while there are any that have ended.
        if self.table.grows() && self.table.slots() % GROWTH == GROWTH - 1 {
            self.expire(now, 2 * GROWTH as usize);
        }
        Some(self.table.reserve())
    }

    /// Gives back what [`reserve`](Self::reserve) gave.
    pub(crate) fn release(&mut self, id: u32, zone: u16, common: &Common) {
        self.table.release(id);
        self.uncharge(zone, common);
    }

    /// Gives room for a connection back to the limits.
    pub(crate) fn uncharge(&mut self, zone: u16, common: &Common) {
        self.quota.give(1);
        let number = self.zone_number(zone, common);
        if let Some(quota) = self.zones.get_mut(number).and_then(|z| z.quota.as_mut()) {
            quota.give(1);
        }
    }

    /// Stores the connection that a packet opens, in a reserved slot, and says what is to be said of the packet.
    ///
    /// `None` if the packet opens none, or the slot was lost to a flush of everything.
    pub(crate) fn store(
        &mut self,
        id: u32,
        opening: &Opening<'_>,
        common: &Common,
        said: &mut Said<'_>,
    ) -> Option<Outcome> {
        let Opening { seen, request, now, reply, expectation } = *opening;
        let number = self.zone_number(request.zone, common);
        let (mut connection, windows, class) = Connection::open(seen.key, seen.from_low, &seen.content)?;
        let (generation, policy) = self.zones.get(number).map_or((0, 0), |z| (z.generation, z.policy));
        connection.zone = number;
        connection.generation = generation;
        connection.policy = match request.timeout_policy {
            Some(wanted) => self.policies.iter().position(|p| p.id == Some(wanted)).unwrap_or(0) as u16,
            None => policy,
        };
        connection.deadline = deadline(&self.policies, connection.policy, class, now);
        connection.mark = expectation.map_or(0, |e| e.mark);
        connection.flags.set(Flags::PARENT, expectation.is_some());
        let helper = request.helper.filter(|helper| helper.proto() == seen.key.proto());
        connection.flags.set(Flags::HELPER, helper.is_some());
        if !self.table.fill(id, seen.hash, connection, windows) {
            return None;
        }
        if let Some(zone) = self.zones.get_mut(number) {
            zone.connections += 1;
        }
        self.stats.created += 1;
        if let Some((key, from_low)) = reply {
            self.table.set_reply(id, key, from_low);
        }
        let helped = helper.map(|helper| Helped { helper, adjust: Default::default() });
        if let Some(helped) = helped {
            self.helped.insert(id, helped);
        }
        let mut outcome = Outcome::Created;
        if let Some(expectation) = expectation {
            self.parents.insert(id, expectation.parent);
            self.table.set_label(id, expectation.label);
            outcome = Outcome::Expected { created: true };
        }
        Some(self.judge(Way { id, reply: false, rewritten: false }, outcome, request, helped, said))
    }

    /// Takes a key for the replies of a connection elsewhere.
    pub(crate) fn claim(
        &mut self,
        key: Key,
        from_low: bool,
        owner: (u16, u32),
        now: Instant,
        common: &Common,
    ) -> Claim {
        match self.holder(&key, key.hash(common.hash), from_low, now) {
            Holder::Nobody | Holder::Opposite => {}
            Holder::Here => return Claim::Taken,
            Holder::There(alias) => return Claim::Alias(alias),
        }
        let zone = self.zone_number(key.zone(), common);
        let generation = self.generation(zone).unwrap_or(0);
        let (shard, id) = owner;
        self.table.insert_alias(Alias { key, from_low, zone, generation, shard, id });
        Claim::Done
    }

    /// Whether such a search was made, found all taken, and nothing has come free since.
    pub(crate) fn is_futile(&self, search: &Search) -> bool {
        self.futile == Some(*search)
    }

    pub(crate) fn remember_futile(&mut self, search: Search) {
        self.futile = Some(search);
    }
}
