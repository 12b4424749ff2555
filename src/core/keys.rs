//! Very many keys in bounded memory: what every primitive with keys stands on.
//!
//! - [`KeyHash`]: what is kept of a key, a keyed hash of 128 bits.
//! - [`Table`]: a small value for each key; 24 bytes a slot where that is a number.
//! - [`Room`]: how many keys there may be, in all tables of an object together.
//!
//! # Algorithm
//! An open-addressing hash table with linear probing and deletion by shifting back (Knuth, *The Art of Computer Programming*, vol. 3,
//! 6.4, algorithm R), at most three quarters full. The keys are 128-bit hashes already, keyed so that nobody can aim at a slot.
//!
//! Its own, and not a map of the library, for two things that those do not have: a *hand* that walks over the slots and takes up where it
//! stopped, and a slot without padding.
//!
//! # What may be forgotten
//! That is for the owner to say, who knows what a value is worth: [`Table::remove_one`] asks it about one key after the other. Nothing is
//! forgotten otherwise. Whoever puts a key in has a place of the [`Room`] for it, and gives that up when it takes the key out.

use std::sync::atomic::Ordering;

use crate::sync::Count;

/// A keyed 128-bit hash of a key. Two keys with the same one are taken for the same, with a chance of one in 2^64 at 2^32 keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyHash([u64; 2]);

impl KeyHash {
    pub fn new(hash: [u64; 2]) -> Self {
        Self(if hash == EMPTY.0 { [1, 0] } else { hash })
    }

    /// For the choice of a shard; the table uses the other half.
    pub(crate) fn shard(self, shards: usize) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
        let low = self.0[0] as usize;
        low & (shards - 1)
    }
}

const EMPTY: KeyHash = KeyHash([0, 0]);
const SMALLEST: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Slot<V> {
    key: KeyHash,
    value: V,
}

/// A value for each of many keys.
#[derive(Debug, Default)]
pub(crate) struct Table<V> {
    slots: Vec<Slot<V>>,
    len: usize,
    hand: usize,
}

impl<V: Copy + Default> Table<V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn mask(&self) -> usize {
        self.slots.len() - 1
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
    fn home(&self, key: KeyHash) -> usize {
        key.0[1] as usize & self.mask()
    }

    /// Where the key is, or where it would be.
    fn find(&self, key: KeyHash) -> usize {
        let mut at = self.home(key);
        while self.slots[at].key != key && self.slots[at].key != EMPTY {
            at = (at + 1) & self.mask();
        }
        at
    }

    pub(crate) fn get_mut(&mut self, key: KeyHash) -> Option<&mut V> {
        if self.slots.is_empty() {
            return None;
        }
        let at = self.find(key);
        let slot = &mut self.slots[at];
        (slot.key != EMPTY).then_some(&mut slot.value)
    }

    /// The key must not be there.
    pub(crate) fn insert(&mut self, key: KeyHash, value: V) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        let at = self.find(key);
        self.slots[at] = Slot { key, value };
        self.len += 1;
    }

    fn grow(&mut self) {
        let larger = (self.slots.len() * 2).max(SMALLEST);
        let old = std::mem::replace(&mut self.slots, vec![Slot { key: EMPTY, value: V::default() }; larger]);
        for slot in old.into_iter().filter(|slot| slot.key != EMPTY) {
            let at = self.find(slot.key);
            self.slots[at] = slot;
        }
    }

    /// The key must be there.
    pub(crate) fn remove(&mut self, key: KeyHash) {
        let at = self.find(key);
        self.remove_at(at);
    }

    fn remove_at(&mut self, mut hole: usize) {
        let mask = self.mask();
        let mut next = (hole + 1) & mask;
        while self.slots[next].key != EMPTY {
            // May it move back to the hole? Only if that is not before its home.
            let home = self.home(self.slots[next].key);
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                self.slots[hole] = self.slots[next];
                hole = next;
            }
            next = (next + 1) & mask;
        }
        self.slots[hole].key = EMPTY;
        self.len -= 1;
    }

    /// Moves the hand on until it finds a value of which `goes` says yes (it may change those it says no of), and removes that. False after a whole round.
    pub(crate) fn remove_one(&mut self, mut goes: impl FnMut(KeyHash, &mut V) -> bool) -> bool {
        for _ in 0..self.slots.len() {
            let at = self.hand & self.mask();
            let slot = &mut self.slots[at];
            if slot.key != EMPTY && goes(slot.key, &mut slot.value) {
                self.remove_at(at);
                return true; // the hand stays: another may have moved there
            }
            self.hand = at + 1;
        }
        false
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.slots.iter_mut().filter(|slot| slot.key != EMPTY).map(|slot| &mut slot.value)
    }
}

/// So many keys there may be.
#[derive(Debug)]
pub(crate) struct Room {
    /// Relaxed: how many places are taken. What is done with a place is ordered by the section of the key.
    keys: Count,
    most: u64,
}

impl Room {
    pub(crate) fn new(most: usize) -> Self {
        Self { keys: Count::new(0), most: most as u64 }
    }

    pub(crate) fn most(&self) -> u64 {
        self.most
    }

    #[expect(clippy::cast_possible_truncation, reason = "they are in memory")]
    pub(crate) fn keys(&self) -> usize {
        self.keys.load(Ordering::Relaxed) as usize
    }

    /// Takes a place for one more key, if one is free. Call it in the key's own section, in the visit that puts the key in.
    pub(crate) fn claim(&self) -> bool {
        let claimed = self.keys.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |keys| (keys < self.most).then_some(keys + 1));
        claimed.is_ok()
    }

    /// Gives a place up.
    pub(crate) fn give_up(&self) {
        self.keys.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Against a map of the library, with keys that collide.
    #[test]
    fn as_a_map() {
        let mut table: Table<u64> = Table::default();
        let mut model: BTreeMap<KeyHash, u64> = BTreeMap::new();
        let mut random = 1_u64;
        for step in 0..20_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = KeyHash::new([(random >> 33) % 7, (random >> 40) % 97]);
            if (random >> 60) % 4 == 0 {
                let gone = table.remove_one(|found, _| found == key);
                assert_eq!(gone, model.remove(&key).is_some());
            } else if let Some(value) = table.get_mut(key) {
                assert_eq!(Some(&*value), model.get(&key));
                *value = step;
                model.insert(key, step);
            } else {
                assert_eq!(model.insert(key, step), None);
                table.insert(key, step);
            }
            assert_eq!(table.len, model.len());
        }
        assert!(model.iter().all(|(key, value)| table.get_mut(*key).copied() == Some(*value)));
        assert_eq!(table.values_mut().count(), model.len());
    }
}
