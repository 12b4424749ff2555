//! `Slots`: the slot of each key's lane in a fair queue.
//!
//! # Algorithm
//! Extendible hashing, as in [`Table`](crate::keys::Table), and for the same reason: no insertion moves more than one part. What differs is
//! what an entry is. A lane has its key, and whoever looks up a lane reads it next, so an entry is eight bytes: the slot, and 32 bits of the
//! hash. With very many keys a lookup then costs one cache line of the table and that of the lane, and the table takes a third of the memory.
//!
//! The 32 bits are all that the table itself needs: the lowest 22 of them choose the part, the others the place in it. Of two keys that agree
//! in all of them, the lane says which is which.

use std::collections::TryReserveError;

use crate::keys::KeyHash;

/// The size of a new part, and the size from which on a part is split instead of being doubled.
const SMALLEST: usize = 16;
const LARGEST: usize = 1024;

/// The largest number of bits that choose a part. Keys that agree in all these bits (real hashes do not) share one part, however large.
const DEEPEST: u32 = 22;

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u32,
    /// [`NOBODY`] if the entry is free.
    slot: u32,
}

const NOBODY: u32 = u32::MAX;
const FREE: Entry = Entry { hash: 0, slot: NOBODY };

/// A hash table with linear probing of the keys that agree in the lowest `depth` bits, at most three quarters full.
#[derive(Debug)]
struct Part {
    entries: Vec<Entry>,
    len: usize,
    depth: u32,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Slots {
    parts: Vec<Part>,
    /// The index of the part for each value of a hash's lowest bits. Its length is a power of two.
    directory: Vec<u32>,
    len: usize,
}

impl Part {
    fn new(size: usize, depth: u32) -> Result<Self, TryReserveError> {
        let mut entries = Vec::new();
        entries.try_reserve_exact(size)?;
        entries.resize(size, FREE);
        Ok(Self { entries, len: 0, depth })
    }

    #[inline]
    fn mask(&self) -> usize {
        self.entries.len() - 1
    }

    #[inline]
    fn home(&self, hash: u32) -> usize {
        (hash >> DEEPEST) as usize & self.mask()
    }

    /// The place of the first entry from the home of the hash on for which `ends` returns true, or of a free one before it.
    #[inline]
    fn find(&self, hash: u32, mut ends: impl FnMut(Entry) -> bool) -> usize {
        let mut at = self.home(hash);
        while self.entries[at].slot != NOBODY && !ends(self.entries[at]) {
            at = (at + 1) & self.mask();
        }
        at
    }

    fn is_full(&self) -> bool {
        (self.len + 1) * 4 > self.entries.len() * 3
    }

    fn insert(&mut self, entry: Entry) {
        let at = self.find(entry.hash, |_| false);
        self.entries[at] = entry;
        self.len += 1;
    }

    /// Deletion by backward shift, as in [`Table`](crate::keys::Table).
    fn remove_at(&mut self, mut hole: usize) {
        let mask = self.mask();
        let mut next = (hole + 1) & mask;
        while self.entries[next].slot != NOBODY {
            // It may move back to the hole unless the hole is before its own home.
            let home = self.home(self.entries[next].hash);
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                self.entries.swap(hole, next);
                hole = next;
            }
            next = (next + 1) & mask;
        }
        self.entries[hole] = FREE;
        self.len -= 1;
    }

    fn used(&self) -> impl Iterator<Item = Entry> {
        self.entries.iter().copied().filter(|entry| entry.slot != NOBODY)
    }

    /// Moves the entries to a part of another size.
    fn resize(&mut self, size: usize) -> Result<(), TryReserveError> {
        let mut larger = Self::new(size, self.depth)?;
        self.used().for_each(|entry| larger.insert(entry));
        *self = larger;
        Ok(())
    }

    /// Splits the part by one more bit: returns a new part with the entries for which the bit is set. `None` if all of them or none have it
    /// set.
    fn divide(&mut self) -> Result<Option<Self>, TryReserveError> {
        let is_high = |entry: &Entry| entry.hash >> self.depth & 1 != 0;
        let high_ones = self.used().filter(is_high).count();
        if high_ones == 0 || high_ones == self.len {
            return Ok(None);
        }
        let size = self.entries.len();
        let (mut low, mut high) = (Self::new(size, self.depth + 1)?, Self::new(size, self.depth + 1)?);
        self.used().for_each(|entry| if is_high(&entry) { high.insert(entry) } else { low.insert(entry) });
        *self = low;
        Ok(Some(high))
    }
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The index of the part of a hash. There is at least one part.
    #[inline]
    fn part(&self, hash: u32) -> usize {
        self.directory[hash as usize & (self.directory.len() - 1)] as usize
    }

    /// The slot of a key. `is_it` returns true for that slot, and is asked about few others.
    #[inline]
    pub(super) fn get(&self, key: KeyHash, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        if self.directory.is_empty() {
            return None;
        }
        let hash = key.low();
        let part = &self.parts[self.part(hash)];
        let found = part.entries[part.find(hash, |entry| entry.hash == hash && is_it(entry.slot))].slot;
        (found != NOBODY).then_some(found)
    }

    /// Inserts a key, which must not be in the table. If memory cannot be allocated, returns an error with nothing changed.
    pub(super) fn insert(&mut self, key: KeyHash, slot: u32) -> Result<(), TryReserveError> {
        if self.directory.is_empty() {
            self.parts.try_reserve(1)?;
            self.directory.try_reserve(1)?;
            self.parts.push(Part::new(SMALLEST, 0)?);
            self.directory.push(0);
        }
        let hash = key.low();
        let mut place = self.part(hash);
        while self.parts[place].is_full() {
            self.grow(place, hash)?;
            place = self.part(hash);
        }
        self.parts[place].insert(Entry { hash, slot });
        self.len += 1;
        Ok(())
    }

    /// Makes a part larger, or splits it.
    fn grow(&mut self, place: usize, hash: u32) -> Result<(), TryReserveError> {
        let (depth, size) = (self.parts[place].depth, self.parts[place].entries.len());
        let must_double = self.directory.len() == 1 << depth;
        if size < LARGEST || depth == DEEPEST {
            return self.parts[place].resize(size * 2);
        }
        self.parts.try_reserve(1)?;
        if must_double {
            self.directory.try_reserve(self.directory.len())?;
        }
        let Some(high) = self.parts[place].divide()? else { return self.parts[place].resize(size * 2) };
        let new = u32::try_from(self.parts.len()).expect("there are at most 2^22 parts");
        self.parts.push(high);
        if must_double {
            self.directory.extend_from_within(..);
        }
        // The directory entries with the same lowest bits for which the new bit is set.
        let first = hash as usize & ((1 << depth) - 1) | 1 << depth;
        self.directory.iter_mut().skip(first).step_by(2 << depth).for_each(|entry| *entry = new);
        Ok(())
    }

    /// Removes a key, which must be in the table with this slot.
    pub(super) fn remove(&mut self, key: KeyHash, slot: u32) {
        let hash = key.low();
        let place = self.part(hash);
        let at = self.parts[place].find(hash, |entry| entry.slot == slot);
        self.parts[place].remove_at(at);
        self.len -= 1;
    }

    /// The size of the allocated memory, in bytes.
    pub(super) fn allocated(&self) -> usize {
        let entries: usize = self.parts.iter().map(|part| part.entries.capacity()).sum();
        entries * size_of::<Entry>() + self.parts.capacity() * size_of::<Part>() + self.directory.capacity() * size_of::<u32>()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Each key has its slot, through growth, splits and removals, with hashes that agree in some bits and in all.
    fn check(hash_of: impl Fn(u64) -> KeyHash, count: u64) {
        let (mut slots, mut keys) = (Slots::default(), Vec::new());
        let found = |slots: &Slots, keys: &[Option<KeyHash>], key| slots.get(key, |slot| keys[slot as usize] == Some(key));
        for number in 0..count {
            let key = hash_of(number);
            assert_eq!(found(&slots, &keys, key), None);
            slots.insert(key, u32::try_from(keys.len()).unwrap()).unwrap();
            keys.push(Some(key));
            if number % 3 == 2 {
                // One that came before, from the middle.
                let gone = usize::try_from(number / 2).unwrap();
                if let Some(key) = keys[gone].take() {
                    slots.remove(key, u32::try_from(gone).unwrap());
                    assert_eq!(found(&slots, &keys, key), None);
                }
            }
        }
        assert_eq!(slots.len(), keys.iter().flatten().count());
        for (slot, key) in keys.iter().enumerate().filter_map(|(slot, key)| Some((slot, (*key)?))) {
            assert_eq!(found(&slots, &keys, key), u32::try_from(slot).ok());
        }
    }

    #[test]
    fn each_key_has_its_slot() {
        let mixed = |number: u64| number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        check(|number| KeyHash::new([number, mixed(number)]), 50_000);
        check(|number| KeyHash::new([number, number]), 20_000);
        check(|number| KeyHash::new([number, number << 20]), 5_000);
        check(|number| KeyHash::new([number, 7]), 2_000);
    }
}
