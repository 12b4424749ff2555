//! First in, first out, with at most one item for each key: an item whose key is already waiting takes the place of the earlier item.
//!
//! # Algorithm
//! The items are in a ring. For each waiting key, a table stores the number of its item, counted from the first item ever pushed. Nothing
//! is removed from the middle, so the number of an item minus the number of the first one is its index. Adding, replacing and removing take
//! constant amortized time.
//!
//! # Memory
//! In proportion to the items that are waiting, or were waiting a short time ago: the ring and the table halve when less than a quarter is
//! in use.
//!
//! # What it does not do
//! It is not a [`Buffer`](super::Buffer): foreign code (a user's `merge`) decides what becomes of two items with one key, so it is worked
//! on outside the section, by the holder of the baton. It compares hashes only and does not store keys.

use std::collections::{HashMap, TryReserveError, VecDeque};

use crate::keys::{ByHash, KeyHash};
use crate::room::shrink_ring;

/// Below this capacity no memory is given back.
const KEEP: usize = 1024;

/// See the head of this file.
#[derive(Debug)]
pub struct Coalescing<T> {
    ring: VecDeque<(KeyHash, T)>,
    /// The number of the first item in the ring.
    first: u64,
    numbers: HashMap<KeyHash, u64, ByHash>,
}

impl<T> Default for Coalescing<T> {
    fn default() -> Self {
        Self { ring: VecDeque::new(), first: 0, numbers: HashMap::default() }
    }
}

impl<T> Coalescing<T> {
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// The number of items for which there is memory, in the ring and in the table.
    pub fn capacity(&self) -> (usize, usize) {
        (self.ring.capacity(), self.numbers.capacity())
    }

    /// The size of that memory, in bytes.
    pub fn allocated(&self) -> usize {
        let (ring, table) = self.capacity();
        ring * size_of::<(KeyHash, T)>() + table * size_of::<(KeyHash, u64)>()
    }

    #[expect(clippy::cast_possible_truncation, reason = "an index of something in memory")]
    fn index(&self, key: KeyHash) -> Option<usize> {
        self.numbers.get(&key).map(|number| (number - self.first) as usize)
    }

    /// The waiting item of this key, if there is one.
    pub fn get(&self, key: KeyHash) -> Option<&T> {
        self.index(key).map(|index| &self.ring[index].1)
    }

    /// Replaces the waiting item of this key, which is returned. `Err` with the new item if there is none; then nothing has changed.
    pub fn replace(&mut self, key: KeyHash, item: T) -> Result<T, T> {
        match self.index(key) {
            Some(index) => Ok(std::mem::replace(&mut self.ring[index].1, item)),
            None => Err(item),
        }
    }

    /// Reserves memory for `more` items.
    ///
    /// # Errors
    /// There is no memory; nothing has changed.
    pub fn try_reserve(&mut self, more: usize) -> Result<(), TryReserveError> {
        self.ring.try_reserve(more)?;
        self.numbers.try_reserve(more)
    }

    /// Adds an item at the end. No item of its key may be waiting, and memory must have been reserved.
    pub fn push(&mut self, key: KeyHash, item: T) {
        let other = self.numbers.insert(key, self.first + self.ring.len() as u64);
        debug_assert!(other.is_none(), "the key waits already");
        self.ring.push_back((key, item));
    }

    /// Takes out the item that has waited longest.
    pub fn pop(&mut self) -> Option<T> {
        let (key, item) = self.ring.pop_front()?;
        self.first += 1;
        self.numbers.remove(&key);
        let (ring, table) = self.capacity();
        if ring.max(table) > KEEP && self.ring.len() < ring.max(table) / 4 {
            self.shrink();
        }
        Some(item)
    }

    #[cold]
    fn shrink(&mut self) {
        let (ring, table) = self.capacity();
        shrink_ring(&mut self.ring, ring.max(KEEP) / 2);
        // A smaller table has to be allocated; if there is no memory for it, the old one stays.
        let mut numbers = HashMap::default();
        if table > KEEP && numbers.try_reserve((table / 2).max(self.numbers.len())).is_ok() {
            numbers.extend(self.numbers.drain());
            self.numbers = numbers;
        }
    }

    /// The items in the order in which they will come out.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.ring.iter().map(|(_, item)| item)
    }
}
