//! `Ageing`: a table of keys that finds a key that may be forgotten without looking at all of them.
//!
//! # Algorithm
//! Each key has a *position* on a scale that moves with time (for a bucket it is the `tat` of `gcra`): the key may be forgotten once the
//! present has reached it. A key's position only grows while the key is used, so it need not be followed: for each part of the [`Table`] a
//! lower bound of the positions in it is kept, and a tournament over the parts yields the least bound. While the present has not reached
//! that one, no key may be forgotten, and one comparison says so. Otherwise the part with the least bound is searched, from where its hand
//! stopped the last time. If no key is found there, the search has found the exact bound of that part.
//!
//! So a key costs no memory beyond its slot and no work while it is used, and a search looks at the slots of one part, however many there
//! are. It looks at a further part only if the least position of a part has grown since the part was last searched. Whether a bound is still
//! exact shows at the key that it was found at.
//!
//! # Bound
//! One search looks at no more than [`MOST`] parts. With very many keys that are all used again just before they could be forgotten, a
//! search may end before it has found one that could. The next one goes on from there.

use std::collections::TryReserveError;

use crate::keys::{KeyHash, Table};

/// The largest number of parts, of at most 1024 slots each, that one search looks at.
const MOST: usize = 32;

/// The bound of a part without keys, and a key that is none.
const NONE: (u64, KeyHash) = (u64::MAX, KeyHash::NONE);

/// A number for each of several places, and the least of them: a complete binary tree in which each inner node is the lesser of its two
/// children.
#[derive(Debug, Default)]
struct Tournament {
    /// The root is at 1, the children of a node at twice its index, and the leaves in the second half.
    nodes: Vec<u64>,
}

impl Tournament {
    fn leaves(&self) -> usize {
        self.nodes.len() / 2
    }

    /// Makes room for this many places. If memory cannot be allocated, nothing has changed.
    fn grow(&mut self, places: usize) -> Result<(), TryReserveError> {
        let (old, new) = (self.leaves(), places.next_power_of_two());
        if new <= old {
            return Ok(());
        }
        let mut nodes = Vec::new();
        nodes.try_reserve_exact(new * 2)?;
        nodes.resize(new * 2, u64::MAX);
        nodes[new..new + old].copy_from_slice(&self.nodes[old..]);
        self.nodes = nodes;
        for at in (1..new).rev() {
            self.play(at);
        }
        Ok(())
    }

    /// Computes an inner node from its children. Returns whether it has changed.
    fn play(&mut self, at: usize) -> bool {
        let least = self.nodes[at * 2].min(self.nodes[at * 2 + 1]);
        let changed = self.nodes[at] != least;
        self.nodes[at] = least;
        changed
    }

    fn get(&self, place: usize) -> u64 {
        self.nodes[self.leaves() + place]
    }

    fn set(&mut self, place: usize, number: u64) {
        let mut at = self.leaves() + place;
        self.nodes[at] = number;
        while at > 1 {
            at /= 2;
            if !self.play(at) {
                return;
            }
        }
    }

    fn least(&self) -> u64 {
        self.nodes.get(1).copied().unwrap_or(u64::MAX)
    }

    /// A place with the least number.
    fn first(&self) -> usize {
        let mut at = 1;
        while at < self.leaves() {
            at *= 2;
            if self.nodes[at] > self.nodes[at + 1] {
                at += 1;
            }
        }
        at - self.leaves()
    }
}

/// The result of a search for the least position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Least {
    /// No position is less.
    pub(super) bound: u64,
    /// The least one that was seen; more than the bound only if too many parts would have had to be searched.
    pub(super) seen: u64,
}

/// See the head of this file. What is stored for a key has a position that never decreases except through the methods here.
#[derive(Debug, Default)]
pub(super) struct Ageing<V> {
    table: Table<V>,
    bounds: Tournament,
    /// For each part a key that had the position of the bound when that was set.
    firsts: Vec<KeyHash>,
}

impl<V: Default> Ageing<V> {
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: KeyHash) -> Option<&mut V> {
        self.table.get_mut(key)
    }

    /// Inserts a key, which must not be in the table. If memory cannot be allocated, returns an error with nothing changed.
    pub(super) fn insert(&mut self, key: KeyHash, value: V, position: impl Fn(&V) -> u64) -> Result<(), TryReserveError> {
        let (place, before, at) = (self.table.place_of(key), self.table.parts(), position(&value));
        let more = usize::from(self.table.may_split(key));
        self.bounds.grow(before + more)?;
        self.firsts.try_reserve(more)?;
        self.table.insert(key, value)?;
        if self.table.parts() > before {
            self.firsts.resize(self.table.parts(), KeyHash::NONE); // in the memory that is reserved
            // The part has been split. Its keys have just been moved, so that to look at all of them once more is not much.
            for changed in place.into_iter().chain(before..self.table.parts()) {
                self.find_bound(changed, &position);
            }
        } else {
            self.lower(key, at);
        }
        Ok(())
    }

    /// Replaces the value of a key, which must be in the table.
    pub(super) fn replace(&mut self, key: KeyHash, value: V, position: u64) {
        *self.table.get_mut(key).expect("the key is in the table") = value;
        self.lower(key, position);
    }

    fn lower(&mut self, key: KeyHash, position: u64) {
        let place = self.table.place_of(key).expect("the key is in the table");
        if position < self.bounds.get(place) {
            self.set_bound(place, (position, key));
        }
    }

    fn set_bound(&mut self, place: usize, (position, key): (u64, KeyHash)) {
        self.bounds.set(place, position);
        self.firsts[place] = key;
    }

    /// Looks at all keys of a part.
    fn find_bound(&mut self, place: usize, position: impl Fn(&V) -> u64) {
        let first = self.table.keys_in(place).fold(NONE, |first, (key, value)| {
            #[cfg(all(test, not(loom)))]
            super::costs::step();
            first.min((position(value), key))
        });
        self.set_bound(place, first);
    }

    /// Removes a key, which must be in the table.
    pub(super) fn remove(&mut self, key: KeyHash) {
        self.table.remove(key);
    }

    /// Changes all values, and counts their positions anew.
    pub(super) fn change_all(&mut self, mut change: impl FnMut(&mut V), position: impl Fn(&V) -> u64) {
        for place in 0..self.table.parts() {
            self.table.keys_in(place).for_each(|(_, value)| change(value));
            self.find_bound(place, &position);
        }
    }

    /// A lower bound of the positions of all keys.
    #[inline]
    pub(super) fn least(&self) -> u64 {
        self.bounds.least()
    }

    /// Looks for the least position of all keys.
    pub(super) fn find_least(&mut self, position: impl Fn(&V) -> u64) -> Least {
        let mut seen = u64::MAX;
        for _ in 0..MOST {
            let bound = self.least();
            if bound == u64::MAX {
                return Least { bound, seen: bound };
            }
            let place = self.bounds.first();
            if self.table.get(self.firsts[place]).is_some_and(|value| position(value) == bound) {
                return Least { bound, seen: bound };
            }
            self.find_bound(place, &position);
            seen = seen.min(self.bounds.get(place));
        }
        Least { bound: self.least(), seen }
    }

    /// Removes one key whose position has been reached. Err: the least position that it has seen. There is no key to be found, unless
    /// [`Ageing::least`] has been reached still.
    pub(super) fn remove_one(&mut self, reached: u64, position: impl Fn(&V) -> u64) -> Result<(), u64> {
        let mut seen = u64::MAX;
        for _ in 0..MOST {
            if self.least() > reached {
                break;
            }
            let (place, mut first) = (self.bounds.first(), NONE);
            let found = self.table.remove_in(place, |key, value| {
                #[cfg(all(test, not(loom)))]
                super::costs::step();
                let at = position(value);
                first = first.min((at, key));
                at <= reached
            });
            if found {
                return Ok(());
            }
            self.set_bound(place, first);
            seen = seen.min(first.0);
        }
        Err(seen)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Compares it with a map that is searched as a whole: keys are found as soon as their positions have been reached, and only then.
    #[test]
    fn as_a_map_that_is_searched() {
        let mut state = 1;
        let mut ageing: Ageing<u64> = Ageing::default();
        let mut model: BTreeMap<KeyHash, u64> = BTreeMap::new();
        let mut now = 0;
        for step in 0..20_000_u64 {
            let key = KeyHash::new([step, random(&mut state)]);
            let at = now + random(&mut state) % 5_000;
            match random(&mut state) % 8 {
                0..=3 => {
                    ageing.insert(key, at, |at| *at).unwrap();
                    model.insert(key, at);
                }
                4 | 5 => {
                    let used =
                        model.range(KeyHash::new([random(&mut state) % (step + 1), 0])..).next().map(|(key, at)| (*key, *at));
                    if let Some((key, old)) = used {
                        *ageing.get_mut(key).unwrap() = old + at;
                        model.insert(key, old + at);
                    }
                }
                6 => {
                    let used = model.range(KeyHash::new([random(&mut state) % (step + 1), 0])..).next().map(|(key, _)| *key);
                    if let Some(key) = used {
                        if at % 2 == 0 {
                            ageing.replace(key, at, at); // perhaps an earlier position
                            model.insert(key, at);
                        } else {
                            ageing.remove(key);
                            model.remove(&key);
                        }
                    }
                }
                _ => {
                    now += random(&mut state) % 8;
                    let due = model.values().filter(|at| **at <= now).count();
                    let least = model.values().copied().min().unwrap_or(u64::MAX);
                    assert!(ageing.least() <= least);
                    if now % 3 == 0 {
                        assert_eq!(ageing.find_least(|at| *at), Least { bound: least, seen: least });
                    }
                    let removed = ageing.remove_one(now, |at| *at);
                    assert_eq!(removed.is_ok(), due > 0, "at {now}");
                    assert!(removed.is_ok() || removed.is_err_and(|seen| seen >= least));
                    if due > 0 {
                        model.retain(|key, _| ageing.get_mut(*key).is_some());
                        assert_eq!(model.values().filter(|at| **at <= now).count(), due - 1);
                    }
                }
            }
            assert_eq!(ageing.len(), model.len());
        }
        assert!(ageing.len() > 1_000, "{}", ageing.len());
        ageing.change_all(|at| *at *= 2, |at| *at);
        assert_eq!(ageing.least(), model.values().min().unwrap() * 2);
        assert!(model.iter().all(|(key, at)| ageing.get_mut(*key).copied() == Some(at * 2)));
    }

    #[test]
    fn a_tournament_knows_the_least() {
        let mut tournament = Tournament::default();
        assert_eq!(tournament.least(), u64::MAX);
        let (mut numbers, mut state) = (Vec::new(), 7);
        for place in 0..100 {
            tournament.grow(place + 1).unwrap();
            numbers.push(random(&mut state));
            tournament.set(place, numbers[place]);
            for _ in 0..5 {
                let (other, number) = (usize::try_from(random(&mut state) % 100).unwrap() % numbers.len(), random(&mut state));
                tournament.set(other, number);
                numbers[other] = number;
            }
            assert_eq!(Some(&tournament.least()), numbers.iter().min());
            assert_eq!(numbers[tournament.first()], tournament.least());
        }
    }
}
