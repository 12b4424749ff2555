//! `Ring`: items, each stored once, with the number of subscribers that have yet to take it.

use std::collections::VecDeque;

use crate::room::shrink_ring;

/// A ring with at most this many places is not compacted.
const SMALL: usize = 64;

/// Items that no subscriber will take any more, to be dropped outside the section. Almost always none or one.
#[must_use = "items are dropped outside the section"]
#[derive(Debug)]
pub struct Displaced<T> {
    first: Option<T>,
    more: Vec<T>,
}

impl<T> Default for Displaced<T> {
    fn default() -> Self {
        Self { first: None, more: Vec::new() }
    }
}

impl<T> Displaced<T> {
    pub(super) fn add(&mut self, item: Option<T>) {
        let Some(item) = item else { return };
        if self.first.is_none() {
            self.first = Some(item);
        } else {
            self.more.push(item);
        }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}

/// Everything that was in a ring, to be dropped outside the section.
#[must_use = "items are dropped outside the section"]
#[derive(Debug)]
pub struct Drained<T>(#[expect(dead_code, reason = "held, to be dropped")] VecDeque<Place<T>>);

#[derive(Debug)]
struct Place<T> {
    /// `None` once all subscribers have taken it.
    item: Option<T>,
    takers: usize,
}

/// See the head of this file. Positions only grow, except when the ring is compacted.
#[derive(Debug)]
pub(super) struct Ring<T> {
    places: VecDeque<Place<T>>,
    /// The position of the first place.
    base: u64,
    items: usize,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { places: VecDeque::new(), base: 0, items: 0 }
    }
}

impl<T> Ring<T> {
    /// The number of items.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.items
    }

    /// The position of the next item.
    #[inline]
    pub(super) fn next(&self) -> u64 {
        self.base + self.places.len() as u64
    }

    /// Reserves memory for one more item. Returns false if there is none.
    #[inline]
    pub(super) fn reserve(&mut self) -> bool {
        self.places.len() < self.places.capacity() || self.places.try_reserve(1).is_ok()
    }

    /// Stores an item for `takers` subscribers, at least one, in a place that has been reserved.
    #[inline]
    pub(super) fn push(&mut self, item: T, takers: usize) {
        self.items += 1;
        self.places.push_back(Place { item: Some(item), takers });
    }

    #[expect(clippy::cast_possible_truncation, reason = "the index of a place in memory")]
    fn index(&self, position: u64) -> usize {
        (position - self.base) as usize
    }

    /// An item that somebody has yet to take.
    pub(super) fn get(&self, position: u64) -> &T {
        self.places[self.index(position)].item.as_ref().expect("somebody has yet to take it")
    }

    /// Takes an item for one of its takers: the item itself if it is the last taker, otherwise the result of `share`.
    #[inline]
    pub(super) fn take(&mut self, position: u64, share: impl FnOnce(&T) -> T) -> T {
        let index = self.index(position);
        let place = &mut self.places[index];
        if place.takers > 1 {
            place.takers -= 1;
            return share(place.item.as_ref().expect("somebody has yet to take it"));
        }
        self.vacate(index).expect("somebody has yet to take it")
    }

    /// Records that one of its takers will not take the item. Returns the item if that was the last taker.
    pub(super) fn release(&mut self, position: u64) -> Option<T> {
        let index = self.index(position);
        let place = &mut self.places[index];
        place.takers -= 1;
        if place.takers == 0 { self.vacate(index) } else { None }
    }

    fn vacate(&mut self, index: usize) -> Option<T> {
        let item = self.places[index].item.take();
        self.items -= 1;
        while self.places.front().is_some_and(|place| place.item.is_none()) {
            self.places.pop_front();
            self.base += 1;
        }
        item
    }

    /// True if more than half of the ring is gaps.
    #[inline]
    pub(super) fn is_sparse(&self) -> bool {
        self.places.len() > SMALL && self.places.len() > 2 * self.items
    }

    /// Removes the gaps. Returns the map from old positions to new ones. `None`: without memory they stay for now.
    pub(super) fn close_up(&mut self) -> Option<impl Fn(u64) -> u64 + use<T>> {
        let (old_base, base) = (self.base, self.next());
        let mut moved = Vec::new();
        moved.try_reserve_exact(self.places.len()).ok()?;
        let mut next = base;
        for place in &self.places {
            moved.push(next);
            next += u64::from(place.item.is_some());
        }
        self.places.retain(|place| place.item.is_some());
        shrink_ring(&mut self.places, 2 * self.items + SMALL);
        self.base = base;
        Some(move |position| {
            let index = usize::try_from(position - old_base).unwrap_or(usize::MAX);
            moved[index]
        })
    }

    /// Drops all items.
    pub(super) fn clear(&mut self) -> Drained<T> {
        self.base = self.next();
        self.items = 0;
        Drained(std::mem::take(&mut self.places))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| place.item.as_ref())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// One subscriber never takes its items, and one takes each item at once.
    #[test]
    fn a_ring_with_items_that_stay_is_closed_up() {
        let mut ring = Ring::default();
        let mut stays = Vec::new();
        for item in 0..10_000_u32 {
            assert!(ring.reserve());
            let position = ring.next();
            let is_kept = item % 1000 == 7;
            ring.push(item, 1 + usize::from(is_kept));
            if is_kept {
                stays.push((position, item));
            }
            assert_eq!(ring.take(position, |item| *item), item);
            if ring.is_sparse() {
                let moved = ring.close_up().unwrap();
                for (position, _) in &mut stays {
                    *position = moved(*position);
                }
                assert_eq!(ring.places.len(), ring.len());
            }
            assert!(ring.places.len() <= 2 * ring.len() + SMALL + 1);
        }
        assert_eq!(ring.iter().copied().collect::<Vec<_>>(), stays.iter().map(|(_, item)| *item).collect::<Vec<_>>());
        for (position, item) in stays {
            assert_eq!(ring.release(position), Some(item));
        }
        assert_eq!((ring.len(), ring.places.len()), (0, 0));
    }

    #[test]
    fn whoever_takes_an_item_last_has_the_item_itself() {
        let mut ring = Ring::default();
        let position = ring.next();
        ring.push(std::sync::Arc::new(()), 3);
        let first = ring.take(position, std::sync::Arc::clone);
        assert_eq!(std::sync::Arc::strong_count(&first), 2);
        assert!(ring.release(position).is_none());
        let last = ring.take(position, |_| unreachable!("nobody else has it"));
        assert_eq!(std::sync::Arc::strong_count(&last), 2);
    }
}
