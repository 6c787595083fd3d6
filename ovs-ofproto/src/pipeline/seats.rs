//! The switches of a datapath as work in them sees them: one of them at hand, the others in boxes beside it.
//!
//! A switch that is being changed is taken out of its box's row and lent to its owner. Work that needs all of them finds it
//! between those before and those after it, at the place that it has: nothing is moved for that.

use super::ofproto::Ofproto;

/// Switches in the order of their places.
#[derive(Debug)]
pub(super) struct Seats<'a> {
    before: &'a mut [Box<Ofproto>],
    /// One, or none where there are none at all.
    own: &'a mut [Ofproto],
    after: &'a mut [Box<Ofproto>],
}

impl<'a> Seats<'a> {
    /// All of a row.
    pub(super) fn of(all: &'a mut [Box<Ofproto>]) -> Seats<'a> {
        Seats { before: all, own: &mut [], after: &mut [] }
    }

    /// A switch, and those of a row but for the one at its place.
    pub(super) fn with(own: &'a mut Ofproto, all: &'a mut [Box<Ofproto>], at: usize) -> Seats<'a> {
        let (before, rest) = all.split_at_mut(at.min(all.len()));
        let after = rest.split_first_mut().map(|(_, after)| after).unwrap_or_default();
        Seats { before, own: std::slice::from_mut(own), after }
    }

    pub(super) fn len(&self) -> usize {
        self.before.len() + self.own.len() + self.after.len()
    }

    pub(super) fn get(&self, place: usize) -> Option<&Ofproto> {
        let Some(rest) = place.checked_sub(self.before.len()) else { return self.before.get(place).map(|b| &**b) };
        match rest.checked_sub(self.own.len()) {
            None => self.own.get(rest),
            Some(rest) => self.after.get(rest).map(|b| &**b),
        }
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut Ofproto> {
        let Some(rest) = place.checked_sub(self.before.len()) else {
            return self.before.get_mut(place).map(|b| &mut **b);
        };
        match rest.checked_sub(self.own.len()) {
            None => self.own.get_mut(rest),
            Some(rest) => self.after.get_mut(rest).map(|b| &mut **b),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Ofproto> + Clone {
        self.before.iter().map(|b| &**b).chain(&*self.own).chain(self.after.iter().map(|b| &**b))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Ofproto> {
        self.before.iter_mut().map(|b| &mut **b).chain(&mut *self.own).chain(self.after.iter_mut().map(|b| &mut **b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_the_same_to_all_ways_of_looking() {
        let named = |name: &str| {
            let mut switch = Ofproto::new();
            switch.set_name(name);
            switch
        };
        let row = || -> Vec<Box<Ofproto>> { ["a", "b", "c"].map(|n| Box::new(named(n))).into() };
        for at in 0..3 {
            let (mut all, mut own) = (row(), named("own"));
            let mut seats = Seats::with(&mut own, &mut all, at);
            let mut expected = ["a", "b", "c"];
            expected[at] = "own";
            assert_eq!(seats.len(), 3);
            assert!(seats.iter().map(Ofproto::name).eq(expected));
            assert!(seats.iter_mut().map(|b| b.name().to_string()).eq(expected));
            for (place, name) in expected.into_iter().enumerate() {
                assert_eq!(seats.get(place).unwrap().name(), name);
                assert_eq!(seats.get_mut(place).unwrap().name(), name);
            }
            assert!(seats.get(3).is_none() && seats.get_mut(3).is_none());
        }
        let (mut all, mut alone) = (row(), named("alone"));
        assert_eq!(Seats::of(&mut all).iter().count(), 3);
        assert_eq!(Seats::with(&mut alone, &mut [], 0).get(0).unwrap().name(), "alone");
    }
}
