//! `Ordered`: a map in the order of its keys, where an insertion takes memory that has been reserved.
//!
//! A tree of the standard library would do, but it aborts the process when there is no memory for a node.
//!
//! # Algorithm
//! The entries are in *chunks* of at most 64, in order, and each chunk is a ring. A key is found by two binary searches: for its chunk, and
//! in it. A full chunk is split in two, unless the new key comes after all of it: then a new chunk is begun, so that keys that only grow
//! leave full chunks. A chunk that has become almost empty is merged with one beside it. All chunks have memory for 64 entries, except for
//! the first one while it is the only one. (`buffer::sorted` has the same two levels, for elements of equal rank.)
//!
//! | operation            | cost                                                    |
//! |----------------------|---------------------------------------------------------|
//! | insertion, removal   | logarithm of the number, and a move of up to 32 entries |
//! | the first, the last  | constant                                                |
//! | iteration            | constant for each entry                                 |
//!
//! At a split or a merge, the ring of chunks moves its own entries, which are one for every 32 to 64 of the map.

use std::collections::{TryReserveError, VecDeque};

/// The largest number of entries in a chunk.
const CHUNK: usize = 64;

/// A chunk with fewer entries than this may be merged with one beside it.
const MERGED: usize = CHUNK / 4;

type Chunk<K, V> = VecDeque<(K, V)>;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Ordered<K, V> {
    /// None of them is empty.
    chunks: VecDeque<Chunk<K, V>>,
    /// An empty chunk, with memory for the reserved insertion if that may need one.
    spare: Chunk<K, V>,
    len: usize,
}

impl<K, V> Default for Ordered<K, V> {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), spare: VecDeque::new(), len: 0 }
    }
}

impl<K: Ord + Copy, V> Ordered<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reserves memory for the insertion of one entry, whatever its key. Entries may be removed before it.
    ///
    /// # Errors
    /// There is no memory; nothing has changed.
    pub(crate) fn try_reserve(&mut self) -> Result<(), TryReserveError> {
        match self.chunks.len() {
            1 if self.len < CHUNK => return self.chunks[0].try_reserve(1),
            0 => self.spare.try_reserve(1)?, // the first chunk grows with its entries
            _ => self.spare.try_reserve(CHUNK)?,
        }
        self.chunks.try_reserve(1)
    }

    /// The index of the chunk that has the key, if it is there, or in which it belongs.
    fn chunk_of(&self, key: &K) -> usize {
        self.chunks.partition_point(|chunk| chunk.front().is_some_and(|(first, _)| first <= key)).saturating_sub(1)
    }

    /// The chunk and the place in it of the first entry with at least this key. The place may be the end of the chunk.
    fn place_of(&self, key: &K) -> (usize, usize) {
        let index = self.chunk_of(key);
        (index, self.chunks.get(index).map_or(0, |chunk| chunk.partition_point(|(other, _)| other < key)))
    }

    fn find(&self, key: &K) -> Option<(usize, usize)> {
        let (index, place) = self.place_of(key);
        self.chunks.get(index)?.get(place).is_some_and(|(other, _)| other == key).then_some((index, place))
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.find(key).is_some()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let (index, place) = self.find(key)?;
        Some(&self.chunks[index][place].1)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let (index, place) = self.find(key)?;
        Some(&mut self.chunks[index][place].1)
    }

    /// Inserts an entry, whose key must not be there. Call it only after `try_reserve`.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        let mut index = self.chunk_of(&key);
        if self.chunks.get(index).is_none_or(|chunk| chunk.len() >= CHUNK) {
            index = self.add_chunk(index, &key);
        }
        let chunk = &mut self.chunks[index];
        let place = chunk.partition_point(|(other, _)| *other < key);
        debug_assert!(chunk.get(place).is_none_or(|(other, _)| *other != key), "the key is there");
        chunk.insert(place, (key, value));
        self.len += 1;
    }

    /// Makes room beside the full chunk at `index`. Returns the index of the chunk that is to have the entry.
    fn add_chunk(&mut self, index: usize, key: &K) -> usize {
        let mut added = std::mem::take(&mut self.spare);
        let Some(full) = self.chunks.get_mut(index) else {
            self.chunks.push_back(added);
            return index;
        };
        if full.back().is_some_and(|(last, _)| last > key) {
            added.extend(full.drain(CHUNK / 2..));
        }
        let goes_behind = added.front().is_none_or(|(first, _)| first < key);
        self.chunks.insert(index + 1, added);
        index + usize::from(goes_behind)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let (index, place) = self.find(key)?;
        let (_, value) = self.chunks[index].remove(place)?;
        self.len -= 1;
        self.tidy(index);
        Some(value)
    }

    /// Removes an empty chunk. Its memory is kept for an insertion that may have been reserved in it.
    fn keep_as_spare(&mut self, index: usize) {
        let empty = self.chunks.remove(index).unwrap_or_default();
        if empty.capacity() > self.spare.capacity() {
            self.spare = empty;
        }
    }

    /// Removes the chunk if it is empty, or merges it with one beside it if both have few entries.
    fn tidy(&mut self, index: usize) {
        match self.chunks[index].len() {
            0 => self.keep_as_spare(index),
            1..MERGED if index > 0 && self.merge(index - 1) => {}
            1..MERGED => _ = self.merge(index),
            _ => {}
        }
    }

    /// Merges the chunk with the next one if both together have few entries.
    fn merge(&mut self, index: usize) -> bool {
        let Some(next) = self.chunks.get(index + 1) else { return false };
        if self.chunks[index].len() + next.len() > CHUNK / 2 {
            return false;
        }
        let mut next = self.chunks.remove(index + 1).unwrap_or_default();
        self.chunks[index].append(&mut next); // it has memory for `CHUNK` entries, since it was not the only chunk
        true
    }

    pub(crate) fn first(&self) -> Option<&(K, V)> {
        self.chunks.front()?.front()
    }

    pub(crate) fn last(&self) -> Option<&(K, V)> {
        self.chunks.back()?.back()
    }

    pub(crate) fn pop_first(&mut self) -> Option<(K, V)> {
        let chunk = self.chunks.front_mut()?;
        let first = chunk.pop_front()?;
        if chunk.is_empty() {
            self.keep_as_spare(0);
        }
        self.len -= 1;
        Some(first)
    }

    /// All entries, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.chunks.iter().flatten()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.chunks.iter_mut().flatten().map(|(_, value)| value)
    }

    /// The entries with at least this key, in order.
    pub(crate) fn starting_at(&self, key: K) -> impl Iterator<Item = &(K, V)> {
        let (index, place) = self.place_of(&key);
        self.chunks.range(index.min(self.chunks.len())..).flatten().skip(place)
    }

    /// Removes the entries for which `stays` returns false.
    pub(crate) fn retain(&mut self, mut stays: impl FnMut(&K, &mut V) -> bool) {
        self.chunks.iter_mut().for_each(|chunk| chunk.retain_mut(|(key, value)| stays(key, value)));
        let spare = &mut self.spare;
        self.chunks.retain_mut(|chunk| {
            if chunk.is_empty() && chunk.capacity() > spare.capacity() {
                std::mem::swap(chunk, spare);
            }
            !chunk.is_empty()
        });
        self.len = self.chunks.iter().map(VecDeque::len).sum();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The memory that the next insertion takes.
    fn rooms(map: &Ordered<u64, u64>) -> (usize, Vec<usize>) {
        (map.chunks.capacity(), map.chunks.iter().map(VecDeque::capacity).collect())
    }

    fn insert(map: &mut Ordered<u64, u64>, key: u64, value: u64) {
        map.try_reserve().unwrap();
        insert_reserved(map, key, value);
    }

    fn insert_reserved(map: &mut Ordered<u64, u64>, key: u64, value: u64) {
        let (directory, chunks) = rooms(map);
        let spare = map.spare.capacity();
        map.insert(key, value);
        let (directory_after, mut after) = rooms(map);
        after.sort_unstable();
        let mut before = chunks.clone();
        if after.len() > chunks.len() {
            before.push(spare);
        }
        before.sort_unstable();
        assert_eq!((directory_after, after), (directory, before), "an insertion asks for no memory");
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0_u8..12, 0_u64..600), 1..3000)) {
            let (mut map, mut model) = (Ordered::default(), BTreeMap::new());
            for (number, (step, key)) in steps.into_iter().enumerate() {
                let number = number as u64;
                match step {
                    0..6 if !model.contains_key(&key) => {
                        model.insert(key, number);
                        insert(&mut map, key, number);
                    }
                    6 => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                    7 => {
                        let other = key ^ 1;
                        map.try_reserve().unwrap();
                        prop_assert_eq!(map.remove(&other), model.remove(&other));
                        if model.insert(key, number).is_none() {
                            insert_reserved(&mut map, key, number);
                        } else {
                            *map.get_mut(&key).unwrap() = number;
                        }
                    }
                    8 => prop_assert_eq!(map.pop_first(), model.pop_first()),
                    9 if key < 30 => {
                        map.retain(|key, value| (*key + *value) % 3 > 0);
                        model.retain(|key, value| (*key + *value) % 3 > 0);
                    }
                    10 => map.values_mut().zip(model.values_mut()).for_each(|(one, other)| (*one, *other) = (number, number)),
                    _ => {
                        prop_assert_eq!(map.get(&key), model.get(&key));
                        prop_assert_eq!(map.get_mut(&key), model.get_mut(&key));
                        prop_assert_eq!(map.contains(&key), model.contains_key(&key));
                        prop_assert!(map.starting_at(key).map(|(key, value)| (key, value)).eq(model.range(key..)));
                    }
                }
                prop_assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
                prop_assert_eq!(map.first().map(|(key, _)| key), model.first_key_value().map(|(key, _)| key));
                prop_assert_eq!(map.last().map(|(key, _)| key), model.last_key_value().map(|(key, _)| key));
            }
            prop_assert!(map.iter().map(|(key, value)| (key, value)).eq(model.iter()));
        }
    }

    /// Of keys that only grow the chunks are full; when most are removed, few chunks are left.
    #[test]
    fn its_chunks_are_neither_many_nor_empty() {
        let mut map = Ordered::default();
        (0..64_000).for_each(|key| insert(&mut map, key, key));
        assert_eq!(map.chunks.len(), 1_000);
        (0..64_000).filter(|key| key % 64 != 7).for_each(|key| assert_eq!(map.remove(&key), Some(key)));
        assert_eq!(map.len(), 1_000);
        assert!(map.chunks.len() <= 130, "{}", map.chunks.len());
    }
}
