//! Very many keys in bounded memory: what every primitive with keys stands on.
//!
//! - [`KeyHash`]: what is kept of a key, a keyed hash of 128 bits.
//! - [`Table`]: a small value for each key; 24 bytes a slot where that is a number.
//! - [`Room`]: how many keys there may be, in all tables of an object together.
//!
//! # Algorithm
//! Extendible hashing (Fagin, Nievergelt, Pippenger and Strong, 1979): a directory, by the lowest bits of the hash, of parts with at most
//! 1024 slots. A full part is divided in two by one bit more, so the table never grows in one piece: at five million keys no insertion moves
//! more than one part (and the directory, of some thousand numbers, doubles now and then). Each part is an open-addressing hash table with
//! linear probing and deletion by shifting back (Knuth, *The Art of Computer Programming*, vol. 3, 6.4, algorithm R), at most three quarters
//! full. The keys are 128-bit hashes already, keyed so that nobody can aim at a slot.
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

/// A part has at most so many slots; then it is divided.
const LARGEST: usize = 1024;

/// Not more bits than this choose a part: keys that agree in all of them (real hashes do not) share one, however large.
const DEEPEST: u32 = 24;

#[derive(Clone, Copy, Debug)]
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
    /// By the lowest bits of a key: which part it is in. Its length is a power of two.
    directory: Vec<u32>,
    len: usize,
    /// The part at which the hand is.
    hand: usize,
}

impl<V: Copy + Default> Part<V> {
    fn new(slots: usize, depth: u32) -> Self {
        Self { slots: vec![Slot { key: EMPTY, value: V::default() }; slots], len: 0, depth, hand: 0 }
    }

    fn mask(&self) -> usize {
        self.slots.len() - 1
    }

    fn home(&self, key: KeyHash) -> usize {
        usize::try_from(key.0[1] >> DEEPEST & 0xffff_ffff).expect("32 bits") & self.mask()
    }

    /// Where the key is, or where it would be.
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

    /// Its keys, in a part of another size.
    fn resized(&self, slots: usize) -> Self {
        let mut resized = Self::new(slots, self.depth);
        self.keys().for_each(|slot| resized.insert(*slot));
        resized
    }

    /// Its keys in two parts, by one bit more.
    fn divided(&self) -> (Self, Self) {
        let mut halves = (Self::new(self.slots.len(), self.depth + 1), Self::new(self.slots.len(), self.depth + 1));
        for slot in self.keys() {
            let half = if slot.key.0[1] >> self.depth & 1 == 0 { &mut halves.0 } else { &mut halves.1 };
            half.insert(*slot);
        }
        halves
    }

    fn keys(&self) -> impl Iterator<Item = &Slot<V>> {
        self.slots.iter().filter(|slot| slot.key != EMPTY)
    }
}

impl<V: Copy + Default> Table<V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The part of a key. There is at least one.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
    fn part(&self, key: KeyHash) -> usize {
        self.directory[key.0[1] as usize & (self.directory.len() - 1)] as usize
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

    /// The key must not be there.
    pub(crate) fn insert(&mut self, key: KeyHash, value: V) {
        if self.directory.is_empty() {
            self.parts.push(Part::new(SMALLEST, 0));
            self.directory.push(0);
        }
        let mut place = self.part(key);
        while self.parts[place].is_full() {
            self.grow(place, key);
            place = self.part(key);
        }
        self.parts[place].insert(Slot { key, value });
        self.len += 1;
    }

    /// Makes a part larger, or divides it.
    fn grow(&mut self, place: usize, key: KeyHash) {
        let Part { depth, ref slots, .. } = self.parts[place];
        let larger = slots.len() * 2;
        let halves = if slots.len() < LARGEST || depth == DEEPEST { None } else { Some(self.parts[place].divided()) };
        let Some((low, high)) = halves.filter(|(low, high)| low.len > 0 && high.len > 0) else {
            self.parts[place] = self.parts[place].resized(larger);
            return;
        };
        let new = u32::try_from(self.parts.len()).expect("there are at most 2^24 parts");
        self.parts[place] = low;
        self.parts.push(high);
        if self.directory.len() == 1 << depth {
            self.directory.extend_from_within(..);
        }
        // Those of the same lowest bits that have one more.
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
        let first = key.0[1] as usize & ((1 << depth) - 1) | 1 << depth;
        self.directory.iter_mut().skip(first).step_by(2 << depth).for_each(|entry| *entry = new);
    }

    /// The key must be there.
    pub(crate) fn remove(&mut self, key: KeyHash) {
        let place = self.part(key);
        let at = self.parts[place].find(key);
        self.parts[place].remove_at(at);
        self.len -= 1;
    }

    /// Moves the hand on until it finds a value of which `goes` says yes (it may change those it says no of), and removes that. False after a
    /// whole round.
    pub(crate) fn remove_one(&mut self, mut goes: impl FnMut(KeyHash, &mut V) -> bool) -> bool {
        // The part in the middle of which it starts comes once more at the end.
        for _ in 0..=self.parts.len() {
            let Some(part) = self.parts.get_mut(self.hand) else {
                self.hand = 0;
                continue;
            };
            while part.hand < part.slots.len() {
                let slot = &mut part.slots[part.hand];
                if slot.key != EMPTY && goes(slot.key, &mut slot.value) {
                    part.remove_at(part.hand);
                    self.len -= 1;
                    return true; // the hand stays: another may have moved there
                }
                part.hand += 1;
            }
            part.hand = 0;
            self.hand = (self.hand + 1) % self.parts.len();
        }
        false
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        let slots = self.parts.iter_mut().flat_map(|part| &mut part.slots);
        slots.filter(|slot| slot.key != EMPTY).map(|slot| &mut slot.value)
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

    /// A good hash of a number.
    fn hashed(number: u64) -> KeyHash {
        let mut random = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        random = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        random = (random ^ (random >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        KeyHash::new([number, random ^ (random >> 31)])
    }

    /// Very many keys: the largest part says what an insertion moves at most.
    #[test]
    fn it_never_grows_in_one_piece() {
        let mut table: Table<u64> = Table::default();
        for number in 0..40_000 {
            table.insert(hashed(number), number);
        }
        assert_eq!(table.len(), 40_000);
        assert!(table.parts.iter().all(|part| part.slots.len() <= LARGEST));
        assert!(table.parts.len() > 40 && table.directory.len() < 1024, "{} {}", table.parts.len(), table.directory.len());
        assert!((0..40_000).all(|number| table.get_mut(hashed(number)) == Some(&mut { number })));
        // The hand comes to each of them, in one round.
        let mut seen = 0;
        assert!(!table.remove_one(|_, _| {
            seen += 1;
            false
        }));
        assert!((40_000..41_024).contains(&seen));
        while table.remove_one(|_, number| *number % 2 == 0) {}
        assert_eq!((table.len(), table.values_mut().count()), (20_000, 20_000));
        assert!(table.values_mut().all(|number| *number % 2 == 1));
    }

    /// Keys that agree in all bits of the directory.
    #[test]
    fn keys_that_cannot_be_told_apart_share_a_part() {
        let mut table: Table<u64> = Table::default();
        for number in 0..3_000 {
            table.insert(KeyHash::new([number, 7]), number);
        }
        assert!((0..3_000).all(|number| table.get_mut(KeyHash::new([number, 7])) == Some(&mut { number })));
    }
}
