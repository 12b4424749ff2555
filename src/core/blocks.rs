//! `Blocks`: a list that grows by blocks of a fixed size.
//!
//! A vector that grows asks for one allocation that holds all its entries, and aborts the process if there is none. Some lists have an entry for
//! each waiter and cannot fail, because nobody could be told and nothing could be undone: the waiters to be woken by a shutdown, for example.
//! This list makes only small allocations.
//!
//! What it does not do: an entry is not found by its number, and the list is not changed other than at its end.

use std::collections::LinkedList;

/// The number of entries of a block.
const BLOCK: usize = 32;

/// See the head of this file.
#[derive(Debug)]
#[expect(clippy::linkedlist, reason = "a list of blocks in one piece would be the large block")]
pub struct Blocks<T> {
    full: LinkedList<Vec<T>>,
    last: Vec<T>,
}

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Self { full: LinkedList::new(), last: Vec::new() }
    }
}

impl<T> Blocks<T> {
    pub fn is_empty(&self) -> bool {
        self.last.is_empty() // a full block moves away only to make room for an entry
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.full.iter().flatten().chain(&self.last)
    }

    #[inline]
    pub fn push(&mut self, entry: T) {
        if self.last.len() == BLOCK {
            self.begin_block();
        }
        self.last.push(entry);
    }

    #[cold]
    fn begin_block(&mut self) {
        const { assert!(size_of::<T>() <= 64, "a block is to be small") };
        self.full.push_back(std::mem::replace(&mut self.last, Vec::with_capacity(BLOCK)));
    }
}

impl<T> IntoIterator for Blocks<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::iter::Flatten<std::collections::linked_list::IntoIter<Vec<T>>>, std::vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.full.into_iter().flatten().chain(self.last)
    }
}

impl<T> Extend<T> for Blocks<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, entries: I) {
        entries.into_iter().for_each(|entry| self.push(entry));
    }
}

impl<T> FromIterator<T> for Blocks<T> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        let mut blocks = Self::default();
        blocks.extend(entries);
        blocks
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn entries_come_in_order() {
        for count in [0, 1, BLOCK, BLOCK + 1, 10 * BLOCK] {
            let blocks: Blocks<usize> = (0..count).collect();
            assert_eq!(blocks.is_empty(), count == 0);
            assert!(blocks.full.iter().chain([&blocks.last]).all(|block| block.capacity() <= BLOCK));
            assert!(blocks.iter().copied().eq(0..count));
            assert_eq!(blocks.into_iter().collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
        }
    }
}
