//! Very many keys in bounded memory: the base of every primitive with keys.
//!
//! - [`KeyHash`]: a keyed hash of 128 bits, which is stored instead of the key.
//! - [`Table`]: a small value for each key; 24 bytes a slot if the value is a number.
//! - [`KeyCapacity`]: the largest number of keys in all tables of an object together.
//!
//! # Algorithm
//! That of [`table`]. The keys are 128-bit hashes already, keyed so that an attacker cannot choose keys for the same slot.
//!
//! # Which keys may be forgotten
//! The owner of a table decides: [`Table::remove_one`] and [`Table::remove_in`] ask it about one key after another until one may be removed:
//! the first looks at no more slots than its caller allows, the second at those of one part. No other key is forgotten. The code that inserts a key has taken a place of the
//! [`KeyCapacity`] for it, and gives the place back when it removes the key.

use std::collections::TryReserveError;

use crate::sync::{Count, Ordering};
use crate::table::{self, Entry};

/// A keyed 128-bit hash of a key. Two keys with the same one are taken for the same, with a chance of one in 2^64 at 2^32 keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyHash([u64; 2]);

impl KeyHash {
    /// The hash of no key.
    pub(crate) const NONE: Self = EMPTY;

    pub fn new(hash: [u64; 2]) -> Self {
        Self(if hash == EMPTY.0 { [1, 0] } else { hash })
    }

    /// The half of the hash that chooses a shard; the table uses the other half.
    pub(crate) fn shard(self, shards: usize) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
        let low = self.0[0] as usize;
        low & (shards - 1)
    }

    /// 32 bits of the half that a table uses.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "that is what is wanted")]
    pub(crate) fn low(self) -> u32 {
        self.0[1] as u32
    }
}

/// For maps of the standard library: half of the hash is random enough.
impl std::hash::Hash for KeyHash {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.0[1]);
    }
}

/// What a map of the library hashes a [`KeyHash`] with.
pub(crate) type ByHash = std::hash::BuildHasherDefault<AsItIs>;

/// A hash as it is: keyed and well mixed already.
#[derive(Debug, Default)]
pub(crate) struct AsItIs(u64);

impl std::hash::Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte); // a key hash is written as a number
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

const EMPTY: KeyHash = KeyHash([0, 0]);

#[derive(Debug)]
struct Slot<V> {
    key: KeyHash,
    value: V,
}

impl<V: Default> Entry for Slot<V> {
    const DEEPEST: u32 = 24;

    fn free() -> Self {
        Self { key: EMPTY, value: V::default() }
    }

    #[inline]
    fn is_free(&self) -> bool {
        self.key == EMPTY
    }

    #[inline]
    fn hash(&self) -> u64 {
        self.key.0[1]
    }
}

/// A value for each of many keys: a [table] by the hashes of the keys.
#[derive(Debug, Default)]
pub(crate) struct Table<V> {
    slots: table::Table<Slot<V>>,
}

impl<V: Default> Table<V> {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    pub(crate) fn get(&self, key: KeyHash) -> Option<&V> {
        self.slots.get(key.0[1], |slot| slot.key == key).map(|slot| &slot.value)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: KeyHash) -> Option<&mut V> {
        self.slots.get_mut(key.0[1], |slot| slot.key == key).map(|slot| &mut slot.value)
    }

    /// Inserts a key, which must not be in the table. If memory cannot be allocated, returns an error with nothing changed.
    pub(crate) fn insert(&mut self, key: KeyHash, value: V) -> Result<(), TryReserveError> {
        self.slots.insert(Slot { key, value })
    }

    /// Removes a key, which must be in the table.
    pub(crate) fn remove(&mut self, key: KeyHash) {
        self.slots.remove(key.0[1], |slot| slot.key == key);
    }

    /// Moves the hand on, over at most `most` slots, until it finds a value for which `goes` returns true, and removes that key. `goes` may
    /// change the values for which it returns false. Returns false after a whole round without such a value, or after `most` slots.
    pub(crate) fn remove_one(&mut self, most: usize, mut goes: impl FnMut(KeyHash, &mut V) -> bool) -> bool {
        self.slots.remove_one(most, |slot| goes(slot.key, &mut slot.value))
    }

    /// The number of parts.
    pub(crate) fn parts(&self) -> usize {
        self.slots.parts()
    }

    /// The part of a key, whether it is in the table or not. `None` if there are no parts yet.
    pub(crate) fn place_of(&self, key: KeyHash) -> Option<usize> {
        self.slots.place_of(key.0[1])
    }

    /// True if the insertion of this key may add a part.
    pub(crate) fn may_split(&self, key: KeyHash) -> bool {
        self.slots.may_split(key.0[1])
    }

    /// As [`Table::remove_one`], for one round through one part, which has a hand of its own.
    pub(crate) fn remove_in(&mut self, place: usize, mut goes: impl FnMut(KeyHash, &mut V) -> bool) -> bool {
        self.slots.remove_in(place, |slot| goes(slot.key, &mut slot.value))
    }

    /// The keys of one part, with their values.
    pub(crate) fn keys_in(&mut self, place: usize) -> impl Iterator<Item = (KeyHash, &mut V)> {
        self.slots.entries_in(place).map(|slot| (slot.key, &mut slot.value))
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.slots.entries_mut().map(|slot| &mut slot.value)
    }
}

/// The largest number of keys, and the number of keys at present.
#[derive(Debug)]
pub(crate) struct KeyCapacity {
    /// The number of places taken. Relaxed: what is done with a place is ordered by the section of the key.
    keys: Count,
    most: u64,
}

impl KeyCapacity {
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

    /// True if no place is free.
    pub(crate) fn is_full(&self) -> bool {
        self.keys.load(Ordering::Relaxed) >= self.most
    }

    /// Takes a place for one more key, if one is free. Call it in the key's own section, in the visit that puts the key in.
    pub(crate) fn claim(&self) -> bool {
        let claimed = self.keys.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |keys| (keys < self.most).then_some(keys + 1));
        claimed.is_ok()
    }

    /// Gives a place back.
    pub(crate) fn release(&self) {
        self.keys.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Compares the table with a standard map, with keys that collide.
    #[test]
    fn as_a_map() {
        for shift in [0, 24, 40] {
            as_a_map_with(shift);
        }
    }

    fn as_a_map_with(shift: u32) {
        let mut table: Table<u64> = Table::default();
        let mut model: BTreeMap<KeyHash, u64> = BTreeMap::new();
        let mut random = 1_u64;
        for step in 0..8_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let key = KeyHash::new([(random >> 33) % 7, ((random >> 40) % 97) << shift]);
            if (random >> 60) % 4 == 0 {
                let gone = table.remove_one(usize::MAX, |found, _| found == key);
                assert_eq!(gone, model.remove(&key).is_some());
            } else if let Some(value) = table.get_mut(key) {
                assert_eq!(Some(&*value), model.get(&key));
                *value = step;
                model.insert(key, step);
            } else {
                assert_eq!(model.insert(key, step), None);
                table.insert(key, step).unwrap();
            }
            assert_eq!(table.len(), model.len());
        }
        assert!(model.iter().all(|(key, value)| table.get_mut(*key).copied() == Some(*value)));
        assert_eq!(table.values_mut().count(), model.len());
    }

    /// A well-mixed hash of a number.
    fn hashed(number: u64) -> KeyHash {
        let mut random = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        random = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        random = (random ^ (random >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        KeyHash::new([number, random ^ (random >> 31)])
    }

    /// With very many keys the size of the largest part is the most that an insertion moves.
    #[test]
    fn it_never_grows_in_one_piece() {
        let mut table: Table<u64> = Table::default();
        for number in 0..40_000 {
            table.insert(hashed(number), number).unwrap();
        }
        assert_eq!(table.len(), 40_000);
        let (parts, directory) = table.slots.sizes();
        assert!(parts.iter().all(|&size| size <= 1024));
        assert!(parts.len() > 40 && directory < 1024, "{} {directory}", parts.len());
        assert!((0..40_000).all(|number| table.get_mut(hashed(number)) == Some(&mut { number })));
        // The hand reaches every key in one round.
        let mut seen = 0;
        assert!(!table.remove_one(usize::MAX, |_, _| {
            seen += 1;
            false
        }));
        assert!((40_000..41_024).contains(&seen));
        // As far as it is let, and from there on the next time.
        let mut looked_at = BTreeMap::new();
        for _ in 0..=80_000 / 100 {
            assert!(!table.remove_one(100, |key, _| {
                *looked_at.entry(key).or_insert(0) += 1;
                false
            }));
        }
        assert_eq!((looked_at.len(), looked_at.values().max()), (40_000, Some(&2)));
        while table.remove_one(usize::MAX, |_, number| *number % 2 == 0) {}
        assert_eq!((table.len(), table.values_mut().count()), (20_000, 20_000));
        assert!(table.values_mut().all(|number| *number % 2 == 1));
    }

    /// Keys that agree in all bits of the directory.
    #[test]
    fn keys_that_cannot_be_told_apart_share_a_part() {
        let mut table: Table<u64> = Table::default();
        for number in 0..3_000 {
            table.insert(KeyHash::new([number, 7]), number).unwrap();
        }
        assert!((0..3_000).all(|number| table.get_mut(KeyHash::new([number, 7])) == Some(&mut { number })));
    }
}
