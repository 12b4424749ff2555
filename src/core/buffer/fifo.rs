//! First in, first out: a ring that grows by doubling and gives memory back after a burst.

use std::collections::VecDeque;

use super::Buffer;

/// Below this many slots (32 KiB of pointers) memory is not worth giving back, and a bounded queue that swings between empty and
/// full would pay for it on every swing.
const KEEP: usize = 4096;

/// First in, first out.
#[derive(Debug)]
pub struct Fifo<T> {
    ring: VecDeque<T>,
}

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Self { ring: VecDeque::new() }
    }
}

impl<T> Fifo<T> {
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.ring.iter()
    }

    /// As [`Buffer::pop_in_place`], of `pop_last`.
    #[inline]
    pub fn pop_last_in_place(&mut self) -> Option<T> {
        if self.ring.capacity() > KEEP { None } else { self.ring.pop_back() }
    }

    /// Halve under a quarter: each move is paid for by as many pops as it moves items.
    #[inline]
    fn wastes_memory(&self) -> bool {
        self.ring.capacity() > KEEP && self.ring.len() < self.ring.capacity() / 4
    }

    /// For how many items there is memory.
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

    /// Last in, first out, of the same ring.
    #[inline]
    pub fn pop_last(&mut self) -> Option<T> {
        let item = self.ring.pop_back();
        if self.wastes_memory() {
            self.shrink();
        }
        item
    }

    /// Pops `count` items, or all there are, each made into something else.
    pub fn pop_many_as<U>(&mut self, count: usize, make: impl FnMut(T) -> U) -> Vec<U> {
        let count = count.min(self.ring.len());
        let popped = self.ring.drain(..count).map(make).collect();
        if self.wastes_memory() {
            self.shrink();
        }
        popped
    }

    #[cold]
    #[inline(never)]
    fn shrink(&mut self) {
        self.ring.shrink_to(self.ring.capacity() / 2);
    }
}

impl<T> Buffer for Fifo<T> {
    type Item = T;

    #[inline]
    fn len(&self) -> usize {
        self.ring.len()
    }

    #[inline]
    fn push(&mut self, item: T) {
        self.ring.push_back(item);
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        let item = self.ring.pop_front();
        if self.wastes_memory() {
            self.shrink();
        }
        item
    }

    #[inline]
    fn has_slot(&self) -> bool {
        self.ring.len() < self.ring.capacity()
    }

    #[inline]
    fn pop_in_place(&mut self) -> Option<T> {
        if self.ring.capacity() > KEEP { None } else { self.ring.pop_front() }
    }

    #[inline]
    fn peek(&self) -> Option<&T> {
        self.ring.front()
    }

    fn push_many(&mut self, items: &mut std::vec::IntoIter<T>, count: usize) {
        self.ring.extend(items.take(count));
    }

    fn pop_many(&mut self, count: usize) -> Vec<T> {
        self.pop_many_as(count, |item| item)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_burst_gives_its_memory_back() {
        let mut fifo = Fifo::default();
        for n in 0..100_000 {
            fifo.push(n);
        }
        for n in 0..100_000 {
            assert_eq!(fifo.pop(), Some(n));
        }
        assert!(fifo.ring.capacity() <= KEEP);
    }
}
