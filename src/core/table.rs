//! `Table`: a hash table of very many entries that never grows in one piece.
//!
//! # Algorithm
//! Extendible hashing (Fagin, Nievergelt, Pippenger and Strong, 1979): a directory, indexed by the lowest bits of the hash, of parts with at
//! most 1024 entries. A full part is split in two by one more bit: with five million entries no insertion moves more than one part (and
//! rarely the directory of a few thousand numbers doubles). Each part is an open-addressing hash table with linear probing and deletion by
//! backward shift (Knuth, *The Art of Computer Programming*, vol. 3, 6.4, algorithm R), at most three quarters full.
//!
//! It is used instead of a standard map for three reasons: it grows part by part, it has a *hand*, a position from which a walk over the
//! entries continues where the last one stopped (as in the clock algorithm), and its entries have no padding.
//!
//! | entries                            | an entry is                                    | bytes                         |
//! |------------------------------------|------------------------------------------------|-------------------------------|
//! | [`keys::Table`](crate::keys::Table) | a key's hash of 128 bits, and the key's value  | 24, if the value is a number  |
//! | the lanes of a fair queue           | 32 bits of the hash, and the slot of the lane  | 8: the lane itself has the key |
//!
//! # What it does not do
//! It does not know what a key is: who looks for one says which entry it is.

use std::collections::TryReserveError;

/// The size of a new part.
const SMALLEST: usize = 16;

/// The largest number of entries in a part before it is split.
const LARGEST: usize = 1024;

/// What a table stores in each of its places: something with a hash, or nothing.
pub(crate) trait Entry: Sized {
    /// The largest number of bits that choose a part; the bits above them choose the place in it. Entries that agree in all these bits
    /// (those of real hashes do not) share one part, however large.
    const DEEPEST: u32;

    fn free() -> Self;

    fn is_free(&self) -> bool;

    /// The hash, of an entry that is not free.
    fn hash(&self) -> u64;
}

/// The entries that agree in the lowest `depth` bits.
#[derive(Debug)]
struct Part<E> {
    entries: Vec<E>,
    len: usize,
    depth: u32,
    hand: usize,
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Table<E> {
    parts: Vec<Part<E>>,
    /// The index of the part for each value of a hash's lowest bits. Its length is a power of two.
    directory: Vec<u32>,
    len: usize,
    /// The part in which the hand is.
    hand: usize,
}

impl<E> Default for Table<E> {
    fn default() -> Self {
        Self { parts: Vec::new(), directory: Vec::new(), len: 0, hand: 0 }
    }
}

impl<E: Entry> Part<E> {
    fn new(size: usize, depth: u32) -> Result<Self, TryReserveError> {
        let mut entries = Vec::new();
        entries.try_reserve_exact(size)?;
        entries.resize_with(size, E::free);
        Ok(Self { entries, len: 0, depth, hand: 0 })
    }

    #[inline]
    fn mask(&self) -> usize {
        self.entries.len() - 1
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
    fn home(&self, hash: u64) -> usize {
        (hash >> E::DEEPEST) as usize & self.mask()
    }

    /// The place of the first entry from the home of the hash on for which `is_it` returns true, or of a free one before it.
    #[inline]
    fn find(&self, hash: u64, mut is_it: impl FnMut(&E) -> bool) -> usize {
        let mut at = self.home(hash);
        while !self.entries[at].is_free() && !is_it(&self.entries[at]) {
            at = (at + 1) & self.mask();
        }
        at
    }

    fn is_full(&self) -> bool {
        (self.len + 1) * 4 > self.entries.len() * 3
    }

    fn insert(&mut self, entry: E) {
        let at = self.find(entry.hash(), |_| false);
        self.entries[at] = entry;
        self.len += 1;
    }

    fn remove_at(&mut self, mut hole: usize) {
        let mask = self.mask();
        let mut next = (hole + 1) & mask;
        while !self.entries[next].is_free() {
            // It may move back to the hole unless the hole is before its own home.
            let home = self.home(self.entries[next].hash());
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                self.entries.swap(hole, next);
                hole = next;
            }
            next = (next + 1) & mask;
        }
        self.entries[hole] = E::free();
        self.len -= 1;
    }

    /// Moves the entries to a part of another size.
    fn resize(&mut self, size: usize) -> Result<(), TryReserveError> {
        let larger = Self::new(size, self.depth)?;
        std::mem::replace(self, larger).used().for_each(|entry| self.insert(entry));
        Ok(())
    }

    /// Splits the part by one more bit: returns a new part with the entries for which the bit is set. `None` if all of them or none have it
    /// set.
    fn divide(&mut self) -> Result<Option<Self>, TryReserveError> {
        let depth = self.depth;
        let is_high = |entry: &E| entry.hash() >> depth & 1 != 0;
        let high_ones = self.entries.iter().filter(|entry| !entry.is_free() && is_high(entry)).count();
        if high_ones == 0 || high_ones == self.len {
            return Ok(None);
        }
        let size = self.entries.len();
        let (low, mut high) = (Self::new(size, depth + 1)?, Self::new(size, depth + 1)?);
        for entry in std::mem::replace(self, low).used() {
            if is_high(&entry) { high.insert(entry) } else { self.insert(entry) }
        }
        Ok(Some(high))
    }

    fn used(self) -> impl Iterator<Item = E> {
        self.entries.into_iter().filter(|entry| !entry.is_free())
    }
}

impl<E: Entry> Table<E> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The index of the part of a hash. There is at least one part.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
    fn part(&self, hash: u64) -> usize {
        self.directory[hash as usize & (self.directory.len() - 1)] as usize
    }

    /// The entry with this hash for which `is_it` returns true. It is asked about few others.
    #[inline]
    pub(crate) fn get(&self, hash: u64, is_it: impl FnMut(&E) -> bool) -> Option<&E> {
        if self.directory.is_empty() {
            return None;
        }
        let part = &self.parts[self.part(hash)];
        Some(&part.entries[part.find(hash, is_it)]).filter(|entry| !entry.is_free())
    }

    /// As [`Table::get`].
    #[inline]
    pub(crate) fn get_mut(&mut self, hash: u64, is_it: impl FnMut(&E) -> bool) -> Option<&mut E> {
        if self.directory.is_empty() {
            return None;
        }
        let place = self.part(hash);
        let part = &mut self.parts[place];
        let at = part.find(hash, is_it);
        Some(&mut part.entries[at]).filter(|entry| !entry.is_free())
    }

    /// Inserts an entry. If memory cannot be allocated, returns an error with nothing changed.
    pub(crate) fn insert(&mut self, entry: E) -> Result<(), TryReserveError> {
        if self.directory.is_empty() {
            self.parts.try_reserve(1)?;
            self.directory.try_reserve(1)?;
            self.parts.push(Part::new(SMALLEST, 0)?);
            self.directory.push(0);
        }
        let mut place = self.part(entry.hash());
        if self.parts[place].is_full() {
            self.grow(place, entry.hash())?;
            place = self.part(entry.hash());
        }
        self.parts[place].insert(entry);
        self.len += 1;
        Ok(())
    }

    /// Makes a part larger, or splits it: each half has fewer entries then. So one step makes room for one more entry, and there is no second
    /// one for which memory might be missing.
    fn grow(&mut self, place: usize, hash: u64) -> Result<(), TryReserveError> {
        let (depth, size) = (self.parts[place].depth, self.parts[place].entries.len());
        let must_double = self.directory.len() == 1 << depth;
        if size < LARGEST || depth == E::DEEPEST {
            return self.parts[place].resize(size * 2);
        }
        self.parts.try_reserve(1)?;
        if must_double {
            self.directory.try_reserve(self.directory.len())?;
        }
        let Some(high) = self.parts[place].divide()? else { return self.parts[place].resize(size * 2) };
        let new = u32::try_from(self.parts.len()).expect("there are at most 2^24 parts");
        self.parts.push(high);
        if must_double {
            self.directory.extend_from_within(..);
        }
        // The directory entries with the same lowest bits for which the new bit is set.
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
        let first = hash as usize & ((1 << depth) - 1) | 1 << depth;
        self.directory.iter_mut().skip(first).step_by(2 << depth).for_each(|index| *index = new);
        Ok(())
    }

    /// Removes an entry, which must be in the table.
    pub(crate) fn remove(&mut self, hash: u64, is_it: impl FnMut(&E) -> bool) {
        let place = self.part(hash);
        let at = self.parts[place].find(hash, is_it);
        self.parts[place].remove_at(at);
        self.len -= 1;
    }

    /// Moves the hand on, over at most `most` places, until it finds an entry for which `goes` returns true, and removes it. `goes` may
    /// change the entries for which it returns false. Returns false after a whole round without such an entry, or after `most` places.
    pub(crate) fn remove_one(&mut self, most: usize, mut goes: impl FnMut(&mut E) -> bool) -> bool {
        let mut left = most;
        // If the walk starts in the middle of a part, that part comes once more at the end.
        for _ in 0..=self.parts.len() {
            let Some(part) = self.parts.get_mut(self.hand) else {
                self.hand = 0;
                continue;
            };
            while part.hand < part.entries.len() {
                if left == 0 {
                    return false;
                }
                left -= 1;
                let entry = &mut part.entries[part.hand];
                if !entry.is_free() && goes(entry) {
                    part.remove_at(part.hand);
                    self.len -= 1;
                    return true; // the hand stays here: another entry may have moved into the place
                }
                part.hand += 1;
            }
            part.hand = 0;
            self.hand = (self.hand + 1) % self.parts.len();
        }
        false
    }

    /// As [`Table::remove_one`], for one round through one part, which has a hand of its own.
    pub(crate) fn remove_in(&mut self, place: usize, mut goes: impl FnMut(&mut E) -> bool) -> bool {
        let part = &mut self.parts[place];
        for _ in 0..part.entries.len() {
            let entry = &mut part.entries[part.hand];
            if !entry.is_free() && goes(entry) {
                part.remove_at(part.hand);
                self.len -= 1;
                return true;
            }
            part.hand = (part.hand + 1) & part.mask();
        }
        false
    }

    /// The number of parts.
    pub(crate) fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The part of a hash. `None` if there are no parts yet.
    pub(crate) fn place_of(&self, hash: u64) -> Option<usize> {
        (!self.directory.is_empty()).then(|| self.part(hash))
    }

    /// True if the insertion of an entry with this hash may add a part.
    pub(crate) fn may_split(&self, hash: u64) -> bool {
        self.place_of(hash).is_none_or(|place| self.parts[place].is_full())
    }

    /// The entries of one part.
    pub(crate) fn entries_in(&mut self, place: usize) -> impl Iterator<Item = &mut E> {
        self.parts[place].entries.iter_mut().filter(|entry| !entry.is_free())
    }

    pub(crate) fn entries_mut(&mut self) -> impl Iterator<Item = &mut E> {
        self.parts.iter_mut().flat_map(|part| &mut part.entries).filter(|entry| !entry.is_free())
    }

    /// The size of the allocated memory, in bytes.
    pub(crate) fn allocated(&self) -> usize {
        let entries: usize = self.parts.iter().map(|part| part.entries.capacity()).sum();
        entries * size_of::<E>() + self.parts.capacity() * size_of::<Part<E>>() + self.directory.capacity() * size_of::<u32>()
    }

    /// The numbers of places of all parts, and the length of the directory.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn sizes(&self) -> (Vec<usize>, usize) {
        (self.parts.iter().map(|part| part.entries.len()).collect(), self.directory.len())
    }
}
