//! `Slots`: the slot of each key's lane in a fair queue.
//!
//! # Algorithm
//! A [table](crate::table) of entries of eight bytes: the slot, and 32 bits of the hash. A lane has its key, and whoever looks up a lane
//! reads it next. With very many keys a lookup then costs one cache line of the table and that of the lane, and the table takes a third of
//! the memory that one of whole keys takes.
//!
//! The 32 bits are all that the table itself needs: the lowest 22 of them choose the part, the others the place in it. Of two keys that agree
//! in all of them, the lane says which is which.

use std::collections::TryReserveError;

use crate::keys::KeyHash;
use crate::table::{Entry, Table};

#[derive(Clone, Copy, Debug)]
struct Place {
    hash: u32,
    /// [`NOBODY`] if the entry is free.
    slot: u32,
}

const NOBODY: u32 = u32::MAX;

impl Entry for Place {
    const DEEPEST: u32 = 22;

    fn free() -> Self {
        Self { hash: 0, slot: NOBODY }
    }

    #[inline]
    fn is_free(&self) -> bool {
        self.slot == NOBODY
    }

    #[inline]
    fn hash(&self) -> u64 {
        u64::from(self.hash)
    }
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Slots {
    places: Table<Place>,
}

impl Slots {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The slot of a key. `is_it` returns true for that slot, and is asked about few others.
    #[inline]
    pub(super) fn get(&self, key: KeyHash, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let hash = key.low();
        let found = self.places.get(hash.into(), |place| place.hash == hash && is_it(place.slot));
        found.map(|place| place.slot)
    }

    /// Inserts a key, which must not be in the table. If memory cannot be allocated, returns an error with nothing changed.
    pub(super) fn insert(&mut self, key: KeyHash, slot: u32) -> Result<(), TryReserveError> {
        self.places.insert(Place { hash: key.low(), slot })
    }

    /// Removes a key, which must be in the table with this slot.
    pub(super) fn remove(&mut self, key: KeyHash, slot: u32) {
        self.places.remove(key.low().into(), |place| place.slot == slot);
    }

    /// The size of the allocated memory, in bytes.
    pub(super) fn allocated(&self) -> usize {
        self.places.allocated()
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
