//! Very many keys in bounded memory: the base of every primitive with keys.
//!
//! - [`KeyHash`]: a keyed hash of 128 bits, which is stored instead of the key.
//! - [`Table`]: a small value for each key; 24 bytes a slot if the value is a number.
//! - [`KeyCapacity`]: the largest number of keys in all tables of an object together.
//!
//! # Algorithm
//! Extendible hashing (Fagin, Nievergelt, Pippenger and Strong, 1979): a directory, indexed by the lowest bits of the hash, of parts with at
//! most 1024 slots. A full part is split in two by one more bit, so the table never grows in one piece: with five million keys no insertion
//! moves more than one part (and rarely the directory of a few thousand numbers doubles). Each part is an open-addressing hash table with
//! linear probing and deletion by backward shift (Knuth, *The Art of Computer Programming*, vol. 3, 6.4, algorithm R), at most three quarters
//! full. The keys are 128-bit hashes already, keyed so that an attacker cannot choose keys for the same slot.
//!
//! It is used instead of a standard map for two reasons: it has a *hand*, a position from which a walk over the slots continues where the
//! last one stopped (as in the clock algorithm), and its slots have no padding.
//!
//! # Which keys may be forgotten
//! The owner of a table decides: [`Table::remove_one`] and [`Table::remove_in`] ask it about one key after another until one may be removed:
//! the first looks at no more slots than its caller allows, the second at those of one part. No other key is forgotten. The code that inserts a key has taken a place of the
//! [`KeyCapacity`] for it, and gives the place back when it removes the key.

use std::collections::TryReserveError;

use crate::sync::{Count, Ordering};

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

    /// One of the bits that choose a part of the table.
    fn bit(self, depth: u32) -> bool {
        self.0[1] >> depth & 1 != 0
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
const SMALLEST: usize = 16;

/// The largest number of slots in a part before it is split.
const LARGEST: usize = 1024;

/// The largest number of bits that choose a part. Keys that agree in all these bits (real hashes do not) share one part, however large.
const DEEPEST: u32 = 24;

#[derive(Debug)]
struct Slot<V> {
    key: KeyHash,
    value: V,
}

/// A hash table of the keys that agree in the lowest `depth` bits.
#[derive(Debug)]
struct Part<V> {
    slots: Vec<Slot<V>>,
    len: usize,
    depth: u32,
    hand: usize,
}

/// A value for each of many keys.
#[derive(Debug, Default)]
pub(crate) struct Table<V> {
    parts: Vec<Part<V>>,
    /// The index of the part for each value of a key's lowest bits. Its length is a power of two.
    directory: Vec<u32>,
    len: usize,
    /// The part in which the hand is.
    hand: usize,
}

impl<V: Default> Part<V> {
    fn new(size: usize, depth: u32) -> Result<Self, TryReserveError> {
        let mut slots = Vec::new();
        slots.try_reserve_exact(size)?;
        slots.resize_with(size, || Slot { key: EMPTY, value: V::default() });
        Ok(Self { slots, len: 0, depth, hand: 0 })
    }

    fn mask(&self) -> usize {
        self.slots.len() - 1
    }

    fn home(&self, key: KeyHash) -> usize {
        usize::try_from(key.0[1] >> DEEPEST & 0xffff_ffff).expect("32 bits") & self.mask()
    }

    /// The slot where the key is, or where it would be inserted.
    #[inline]
    fn find(&self, key: KeyHash) -> usize {
        let mut at = self.home(key);
        while self.slots[at].key != key && self.slots[at].key != EMPTY {
            at = (at + 1) & self.mask();
        }
        at
    }

    fn is_full(&self) -> bool {
        (self.len + 1) * 4 > self.slots.len() * 3
    }

    fn insert(&mut self, slot: Slot<V>) {
        let at = self.find(slot.key);
        self.slots[at] = slot;
        self.len += 1;
    }

    fn remove_at(&mut self, mut hole: usize) {
        let mask = self.mask();
        let mut next = (hole + 1) & mask;
        while self.slots[next].key != EMPTY {
            // It may move back to the hole unless the hole is before its own home slot.
            let home = self.home(self.slots[next].key);
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                self.slots.swap(hole, next);
                hole = next;
            }
            next = (next + 1) & mask;
        }
        self.slots[hole] = Slot { key: EMPTY, value: V::default() };
        self.len -= 1;
    }

    /// Moves the keys to a part of another size.
    fn resize(&mut self, size: usize) -> Result<(), TryReserveError> {
        let larger = Self::new(size, self.depth)?;
        let smaller = std::mem::replace(self, larger);
        smaller.keys().for_each(|slot| self.insert(slot));
        Ok(())
    }

    /// Splits the part by one more bit: returns a new part with the keys for which the bit is set. `None` if all keys or none have it set.
    fn divide(&mut self) -> Result<Option<Self>, TryReserveError> {
        let (depth, ones) = (self.depth, self.slots.iter().filter(|slot| slot.key != EMPTY && slot.key.bit(self.depth)).count());
        if ones == 0 || ones == self.len {
            return Ok(None);
        }
        let (low, mut high) = (Self::new(self.slots.len(), depth + 1)?, Self::new(self.slots.len(), depth + 1)?);
        for slot in std::mem::replace(self, low).keys() {
            if slot.key.bit(depth) { high.insert(slot) } else { self.insert(slot) }
        }
        Ok(Some(high))
    }

    fn keys(self) -> impl Iterator<Item = Slot<V>> {
        self.slots.into_iter().filter(|slot| slot.key != EMPTY)
    }
}

impl<V: Default> Table<V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The index of a key's part. There is at least one part.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
    fn part(&self, key: KeyHash) -> usize {
        self.directory[key.0[1] as usize & (self.directory.len() - 1)] as usize
    }

    #[inline]
    pub(crate) fn get(&self, key: KeyHash) -> Option<&V> {
        if self.directory.is_empty() {
            return None;
        }
        let part = &self.parts[self.part(key)];
        let slot = &part.slots[part.find(key)];
        (slot.key != EMPTY).then_some(&slot.value)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: KeyHash) -> Option<&mut V> {
        if self.directory.is_empty() {
            return None;
        }
        let place = self.part(key);
        let part = &mut self.parts[place];
        let at = part.find(key);
        let slot = &mut part.slots[at];
        (slot.key != EMPTY).then_some(&mut slot.value)
    }

    /// Inserts a key, which must not be in the table. If memory cannot be allocated, returns an error with nothing changed.
    pub(crate) fn insert(&mut self, key: KeyHash, value: V) -> Result<(), TryReserveError> {
        if self.directory.is_empty() {
            self.parts.try_reserve(1)?;
            self.directory.try_reserve(1)?;
            self.parts.push(Part::new(SMALLEST, 0)?);
            self.directory.push(0);
        }
        let mut place = self.part(key);
        if self.parts[place].is_full() {
            self.grow(place, key)?;
            place = self.part(key);
        }
        self.parts[place].insert(Slot { key, value });
        self.len += 1;
        Ok(())
    }

    /// Makes a part larger, or splits it: each half has fewer keys then. So one step makes room for one more key, and there is no second one
    /// for which memory might be missing.
    fn grow(&mut self, place: usize, key: KeyHash) -> Result<(), TryReserveError> {
        let Part { depth, ref slots, .. } = self.parts[place];
        let size = slots.len();
        let must_double = self.directory.len() == 1 << depth;
        if size < LARGEST || depth == DEEPEST {
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
        let first = key.0[1] as usize & ((1 << depth) - 1) | 1 << depth;
        self.directory.iter_mut().skip(first).step_by(2 << depth).for_each(|entry| *entry = new);
        Ok(())
    }

    /// Removes a key, which must be in the table.
    pub(crate) fn remove(&mut self, key: KeyHash) {
        let place = self.part(key);
        let at = self.parts[place].find(key);
        self.parts[place].remove_at(at);
        self.len -= 1;
    }

    /// Moves the hand on, over at most `most` slots, until it finds a value for which `goes` returns true, and removes that key. `goes` may
    /// change the values for which it returns false. Returns false after a whole round without such a value, or after `most` slots.
    pub(crate) fn remove_one(&mut self, most: usize, mut goes: impl FnMut(KeyHash, &mut V) -> bool) -> bool {
        let mut left = most;
        // If the walk starts in the middle of a part, that part comes once more at the end.
        for _ in 0..=self.parts.len() {
            let Some(part) = self.parts.get_mut(self.hand) else {
                self.hand = 0;
                continue;
            };
            while part.hand < part.slots.len() {
                if left == 0 {
                    return false;
                }
                left -= 1;
                let slot = &mut part.slots[part.hand];
                if slot.key != EMPTY && goes(slot.key, &mut slot.value) {
                    part.remove_at(part.hand);
                    self.len -= 1;
                    return true; // the hand stays here: another key may have moved into the slot
                }
                part.hand += 1;
            }
            part.hand = 0;
            self.hand = (self.hand + 1) % self.parts.len();
        }
        false
    }

    /// The number of parts.
    pub(crate) fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The part of a key, whether it is in the table or not. `None` if there are no parts yet.
    pub(crate) fn place_of(&self, key: KeyHash) -> Option<usize> {
        (!self.directory.is_empty()).then(|| self.part(key))
    }

    /// True if the insertion of this key may add a part.
    pub(crate) fn may_split(&self, key: KeyHash) -> bool {
        self.place_of(key).is_none_or(|place| self.parts[place].is_full())
    }

    /// As [`Table::remove_one`], for one round through one part, which has a hand of its own.
    pub(crate) fn remove_in(&mut self, place: usize, mut goes: impl FnMut(KeyHash, &mut V) -> bool) -> bool {
        let part = &mut self.parts[place];
        for _ in 0..part.slots.len() {
            let slot = &mut part.slots[part.hand];
            if slot.key != EMPTY && goes(slot.key, &mut slot.value) {
                part.remove_at(part.hand);
                self.len -= 1;
                return true;
            }
            part.hand = (part.hand + 1) & part.mask();
        }
        false
    }

    /// The keys of one part, with their values.
    pub(crate) fn keys_in(&mut self, place: usize) -> impl Iterator<Item = (KeyHash, &mut V)> {
        let slots = self.parts[place].slots.iter_mut();
        slots.filter(|slot| slot.key != EMPTY).map(|slot| (slot.key, &mut slot.value))
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        let slots = self.parts.iter_mut().flat_map(|part| &mut part.slots);
        slots.filter(|slot| slot.key != EMPTY).map(|slot| &mut slot.value)
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
            assert_eq!(table.len, model.len());
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
        assert!(table.parts.iter().all(|part| part.slots.len() <= LARGEST));
        assert!(table.parts.len() > 40 && table.directory.len() < 1024, "{} {}", table.parts.len(), table.directory.len());
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
