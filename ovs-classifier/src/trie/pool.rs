//! Items by number, of which those that nobody needs are used again.

use crate::segments::Segments;

/// What can be one of a list of vacant places.
pub(super) trait Vacancy: Sized {
    /// The place of none, which has the number of the next.
    fn vacant(next: u32) -> Self;

    /// That number.
    fn next(&self) -> u32;
}

#[derive(Clone, Debug)]
pub(super) struct Pool<T> {
    items: Segments<T>,
    /// The number of a vacant place; 0 is none.
    vacant: u32,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self { items: Segments::new(), vacant: 0 }
    }
}

impl<T: Vacancy> Pool<T> {
    pub(super) fn heap_bytes(&self) -> usize {
        self.items.heap_bytes()
    }

    /// How many places there are.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// The item of a number, which is one at least.
    #[inline(always)]
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.items.get((number as usize).wrapping_sub(1))
    }

    #[inline(always)]
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.items.get_mut((number as usize).wrapping_sub(1))
    }

    /// Adds an item; returns its number.
    pub(super) fn add(&mut self, item: T) -> u32 {
        let number = self.vacant;
        if let Some(place) = self.get_mut(number) {
            let vacant = core::mem::replace(place, item);
            self.vacant = vacant.next();
            return number;
        }
        self.items.push([item], 1);
        self.items.len() as u32
    }

    /// Takes an item away.
    pub(super) fn remove(&mut self, number: u32) -> Option<T> {
        let next = self.vacant;
        let item = core::mem::replace(self.get_mut(number)?, T::vacant(next));
        self.vacant = number;
        Some(item)
    }

    /// How many places are vacant.
    #[cfg(test)]
    pub(super) fn vacancies(&self) -> usize {
        let next = |number: &u32| self.get(*number).map(Vacancy::next).filter(|next| *next != 0);
        core::iter::successors(Some(self.vacant).filter(|number| *number != 0), next).count()
    }
}
