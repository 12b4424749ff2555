//! First in, first out: a ring that grows by doubling and gives memory back after a burst.

use std::collections::{TryReserveError, VecDeque};

use super::Buffer;
use crate::room::shrink_ring;

/// Below this number of slots (32 KiB of pointers) no memory is given back: it would save little, and a bounded queue that alternates
/// between empty and full would reallocate each time.
const KEEP: usize = 4096;

/// First in, first out.
#[derive(Debug)]
pub struct Fifo<T> {
    ring: VecDeque<T>,
    /// Items are popped in place if the ring has fewer slots than this: [`KEEP`], or 0.
    in_place: usize,
}

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self { ring: VecDeque::new(), in_place: KEEP }
    }
}

/// Reuses the memory of the vector.
impl<T> From<Vec<T>> for Fifo<T> {
    fn from(items: Vec<T>) -> Self {
        Self { ring: VecDeque::from(items), in_place: KEEP }
    }
}

impl<T> Fifo<T> {
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.ring.iter()
    }

    /// Pops the last item as [`Buffer::pop_in_place`] pops the first.
    #[inline]
    pub fn pop_last_in_place(&mut self) -> Option<T> {
        if self.ring.capacity() > self.in_place { None } else { self.ring.pop_back() }
    }

    /// The ring halves when less than a quarter is used: then each item that is moved has been paid for by a pop.
    #[inline]
    fn wastes_memory(&self) -> bool {
        self.ring.capacity() > KEEP && self.ring.len() < self.ring.capacity() / 4
    }

    /// The number of items for which there is memory.
    pub fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    pub fn extend(&mut self, items: impl IntoIterator<Item = T>) {
        self.ring.extend(items);
    }

    /// The item that was pushed last.
    pub fn last(&self) -> Option<&T> {
        self.ring.back()
    }

    /// Pops the item that was pushed last.
    #[inline]
    pub fn pop_last(&mut self) -> Option<T> {
        let item = self.ring.pop_back();
        if self.wastes_memory() {
            self.shrink();
        }
        item
    }

    /// Pops `count` items, or all if there are fewer, and maps each of them with `make`.
    pub fn pop_into<U>(&mut self, into: &mut Vec<U>, count: usize, make: impl FnMut(T) -> U) {
        into.extend(self.ring.drain(..count.min(self.ring.len())).map(make));
        if self.wastes_memory() {
            self.shrink();
        }
    }

    /// Takes out all items, in order.
    pub fn take_all(&mut self) -> Vec<T> {
        Vec::from(std::mem::take(&mut self.ring)) // reuses the memory
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, more: usize) -> Result<(), TryReserveError> {
        self.ring.try_reserve(more)
    }

    #[cold]
    #[inline(never)]
    fn shrink(&mut self) {
        let room = self.ring.capacity() / 2;
        shrink_ring(&mut self.ring, room);
    }
}

impl<T> Buffer for Fifo<T> {
    type Item = T;

    #[inline]
    fn len(&self) -> usize {
        self.ring.len()
    }

    #[inline]
    fn try_reserve(&mut self, more: usize) -> Result<(), TryReserveError> {
        if self.ring.capacity() - self.ring.len() >= more { Ok(()) } else { self.grow(more) }
    }

    #[inline]
    fn push(&mut self, item: T) {
        self.ring.push_back(item);
    }

    #[expect(clippy::inline_always, reason = "a part of the get from a queue with notes")]
    #[inline(always)]
    fn pop(&mut self) -> Option<T> {
        let item = self.ring.pop_front();
        if self.wastes_memory() {
            self.shrink();
        }
        item
    }

    fn pop_oldest(&mut self) -> Option<T> {
        self.pop()
    }

    #[inline]
    fn pop_oldest_in_place(&mut self) -> Option<T> {
        if self.ring.capacity() > KEEP { None } else { self.ring.pop_front() }
    }

    fn pop_newest(&mut self) -> Option<T> {
        self.pop_last()
    }

    fn keep_where(&mut self, keep: &mut dyn FnMut(T) -> Option<T>) {
        for _ in 0..self.ring.len() {
            // Each item is taken out once, and those that stay are pushed again behind the others: this needs no memory and keeps the
            // order.
            let Some(item) = self.ring.pop_front() else { break };
            if let Some(item) = keep(item) {
                self.ring.push_back(item);
            }
        }
    }

    fn leave_the_fast_path(&mut self) {
        self.in_place = 0;
    }

    #[inline]
    fn has_slot(&self) -> bool {
        self.ring.len() < self.ring.capacity()
    }

    #[inline]
    fn pop_in_place(&mut self) -> Option<T> {
        if self.ring.capacity() > self.in_place { None } else { self.ring.pop_front() }
    }

    #[inline]
    fn peek(&self) -> Option<&T> {
        self.ring.front()
    }

    fn push_many(&mut self, items: &mut std::vec::IntoIter<T>, count: usize) {
        self.ring.extend(items.take(count));
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<T>, TryReserveError> {
        let count = count.min(self.ring.len());
        let mut popped = Vec::new();
        popped.try_reserve_exact(count)?;
        self.pop_into(&mut popped, count, |item| item);
        Ok(popped)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_burst_gives_its_memory_back() {
        let mut fifo = Fifo::default();
        for n in 0..100_000 {
            fifo.try_reserve(1).unwrap();
            fifo.push(n);
        }
        for n in 0..100_000 {
            assert_eq!(fifo.pop(), Some(n));
        }
        assert!(fifo.ring.capacity() <= KEEP);
    }
}
