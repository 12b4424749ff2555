//! A fair queue: items have keys, and each key gets its share.
//!
//! # Algorithm
//! Self-clocked fair queueing (Golestani, "A Self-Clocked Fair Queueing Scheme for Broadband Applications", 1994). Each item has a cost: 1,
//! or its weight, at least 1, if the weight of all items is bounded (see `fair_noted`).
//! Each key has a *lane*: its items, first in, first out, or by their ranks. The first item of each lane has a *tag*, and the item with the
//! smallest tag comes out first; of equal tags the one that was assigned first. Virtual time is the tag of the item that came out last.
//!
//! | event                               | the tag of the lane                  |
//! |-------------------------------------|--------------------------------------|
//! | an item comes into an empty lane    | virtual time + cost / weight         |
//! | an item has come out, others follow | its tag + the next one's cost / weight |
//! | the last item of a lane has come out | none: the lane is forgotten          |
//! | the last item of all has come out   | virtual time begins again with 0     |
//!
//! The first item of a lane can change after the tag has been assigned: by its rank, or because the first one is dropped. So a lane has a
//! *credit*, the part of its tag that no item has used. If the first item of the lane with the smallest tag costs more than the credit, the
//! lane gets a larger tag; if it costs less, the rest counts for the next item. (Of items of equal cost each uses exactly its tag.)
//!
//! An empty lane can be forgotten at once because its tag equals virtual time then: if it had been kept, its next tag would be the same.
//!
//! # Fairness
//! Over any time in which two lanes are never empty, the costs of the items that come out of them, each sum divided by the weight, differ
//! by at most the sum of the largest cost / weight over the two lanes (Golestani's theorem 1; with costs of 1 these are numbers of items). A
//! lane that was empty waits until every other lane has given as much, relative to its weight, as its first item costs: one item, if costs
//! are equal. A key gains nothing by leaving and coming back, and a stream of ever new keys starves no other key, because virtual time
//! advances with each item.
//!
//! In a lane with ranks the item with the lowest rank comes first. (A rank that grows with the time of arrival is priority with aging.)
//!
//! # Room for items
//! A number of places can be *reserved* for a key; no other key uses them, and all keys share the remaining places. The number of items of
//! a key can be bounded, too. [`Fair::room_of`] returns the number of items of a key for which there is room.
//!
//! # Which item is dropped
//! When an item has to be dropped because there is no room, it is one of the lane that holds most in relation to its weight ("longest queue
//! drop": Suter, Lakshman, Stiliadis and Choudhury, 1998). A heap of lanes, which is built when it is first needed, finds that lane.
//!
//! # Cost
//! Each item takes the logarithm of the number of different weights of keys (see `turns`), which is usually constant; if items have
//! weights, the logarithm of the number of lanes. Ranks add the logarithm of the lane's length, and the heap of lanes adds the logarithm of
//! their number.
//!
//! # What it does not do
//! It stores hashes of keys, not the keys, and has no waiters.

use std::cell::Cell;
use std::collections::{HashMap, TryReserveError};

pub use super::held::End;
use super::held::{Held, NotedLane, cost_of};
use super::notes::Notes;
use super::slots::Slots;
use super::turns::Turns;
use crate::keys::{ByHash, KeyHash};
use crate::room::{Boxed, shrink_vec};

/// Below this number of lanes no memory is given back.
const KEEP: usize = 1024;

/// The position of a lane that is not in the heap, and the new slot of a lane that has none.
const NOWHERE: u32 = HAS_TURN - 1;

/// The rule for a key, which is set in advance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// The share of the key relative to others. Finite and greater than 0.
    pub weight: f64,
    /// The number of places that are reserved for the key.
    pub reserved: usize,
}

impl Rule {
    /// The part of the common places that `held` items with a total load of `load` use, divided by the weight.
    #[expect(clippy::cast_precision_loss, reason = "a comparison")]
    pub(super) fn share(&self, held: usize, load: u64) -> f64 {
        if held <= self.reserved {
            return 0.0;
        }
        (held - self.reserved) as f64 * (load as f64 / held as f64) / self.weight
    }
}

impl Default for Rule {
    fn default() -> Self {
        Self { weight: 1.0, reserved: 0 }
    }
}

/// What became of an item for which there was no room.
#[must_use = "an item comes back"]
#[derive(Debug, PartialEq, Eq)]
pub enum Displaced<T> {
    /// The item has been added, and this one has been dropped for it.
    Other(T),
    /// The item itself has to be dropped.
    New(T),
    /// There is no memory for the item; nothing has changed.
    NoMemory(T),
}

/// Aligned, because it fits into a cache line, and is often the only one that an operation has to fetch.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Lane<T> {
    pub(super) key: KeyHash,
    pub(super) items: Held<T>,
    /// The rule of the key. So many items that the number of reserved places would not fit are never there.
    pub(super) weight: f64,
    reserved: u32,
    /// The position of the lane in the heap, and [`HAS_TURN`].
    at: u32,
}

const _: () = assert!(size_of::<Lane<&()>>() == 64, "of items that are pointers");

/// Set if the lane is among the `turns`; otherwise its slot is free.
const HAS_TURN: u32 = 1 << 31;

impl<T> Lane<T> {
    fn new(key: KeyHash, items: Held<T>, rule: Rule, at: usize) -> Self {
        let mut lane = Self { key, items, weight: 1.0, reserved: 0, at: 0 };
        lane.set_rule(rule);
        lane.set_at(at);
        lane
    }

    #[inline]
    pub(super) fn rule(&self) -> Rule {
        Rule { weight: self.weight, reserved: self.reserved as usize }
    }

    fn set_rule(&mut self, rule: Rule) {
        (self.weight, self.reserved) = (rule.weight, u32::try_from(rule.reserved).unwrap_or(u32::MAX));
    }

    #[inline]
    pub(super) fn has_turn(&self) -> bool {
        self.at & HAS_TURN != 0
    }

    #[inline]
    fn set_turn(&mut self, has_turn: bool) {
        self.at = self.at & !HAS_TURN | if has_turn { HAS_TURN } else { 0 };
    }

    pub(super) fn at(&self) -> usize {
        (self.at & !HAS_TURN) as usize
    }

    pub(super) fn set_at(&mut self, at: usize) {
        self.at = self.at & HAS_TURN | u32::try_from(at).expect("no more than lanes") & !HAS_TURN;
    }
}

/// See the head of this file.
#[derive(Debug)]
pub struct Fair<T> {
    pub(super) lanes: Vec<Lane<T>>,
    /// The free slots in `lanes`.
    free: Vec<u32>,
    slots: Slots,
    /// The slot that was looked up last: an operation asks for the lane of its key several times.
    last: Cell<u32>,
    pub(super) rules: HashMap<KeyHash, Rule, ByHash>,
    /// The largest number of items of one key.
    pub(super) per_key: usize,
    is_ranked: bool,
    len: usize,
    /// The total number of reserved places.
    pub(super) reserved: usize,
    /// The number of items beyond the reserved places of their keys.
    common: usize,
    /// The lanes in order of their tags. The first one has an item; a lane that [`Fair::displace`] has emptied stays here until it is the
    /// first.
    pub(super) turns: Turns,
    virtual_time: f64,
    /// The total weight of the items, if notes of their weights are kept.
    pub(super) weighed: u64,
    /// The state that is needed when notes of the items are kept, see `fair_noted`.
    pub(super) notes: Option<Box<Notes>>,
    /// The heap of all lanes, the largest share first. `None` until it is first needed.
    pub(super) largest: Option<Vec<u32>>,
}

impl<T> Default for Fair<T> {
    fn default() -> Self {
        Self::new(usize::MAX, false)
    }
}

/// Maps a float to an integer of the same order.
pub(super) fn in_order(rank: f64) -> u64 {
    let bits = (rank + 0.0).to_bits(); // no -0.0
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

impl<T> Fair<T> {
    /// No key may have more than `per_key` items. `is_ranked`: the items of a key come out by rank, otherwise in order of arrival.
    pub fn new(per_key: usize, is_ranked: bool) -> Self {
        Self {
            lanes: Vec::new(),
            free: Vec::new(),
            slots: Slots::default(),
            last: Cell::new(0),
            rules: HashMap::default(),
            per_key,
            is_ranked,
            len: 0,
            reserved: 0,
            common: 0,
            turns: Turns::default(),
            virtual_time: 0.0,
            weighed: 0,
            notes: None,
            largest: None,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn is_ranked(&self) -> bool {
        self.is_ranked
    }

    /// The number of keys with items.
    pub fn keys(&self) -> usize {
        self.slots.len()
    }

    pub fn per_key(&self) -> usize {
        self.per_key
    }

    pub fn set_per_key(&mut self, per_key: usize) {
        self.per_key = per_key;
    }

    /// The largest number of places that are reserved for one key, if it is above this bound.
    pub fn reserved_beyond(&self, per_key: usize) -> Option<usize> {
        self.rules.values().map(|rule| rule.reserved).max().filter(|&most| most > per_key)
    }

    /// The size of the allocated memory, in bytes.
    pub fn allocated(&self) -> usize {
        let lanes =
            self.lanes.capacity() * size_of::<Lane<T>>() + self.lanes.iter().map(|lane| lane.items.allocated()).sum::<usize>();
        let tables = self.slots.allocated() + self.rules.capacity() * size_of::<(KeyHash, Rule)>();
        let notes = self.notes.as_ref().map_or(0, |notes| notes.allocated());
        lanes + tables + notes + self.turns.allocated() + self.free.capacity() * size_of::<u32>()
    }

    pub(super) fn rule(&self, key: KeyHash) -> Rule {
        self.rules.get(&key).copied().unwrap_or_default()
    }

    /// The slot of the lane of this key. Looks first at the lane that was found last, then at the one made after it: a program that takes from
    /// its sources in turn reaches the keys in the order of their lanes. With very many keys this avoids a cache miss in the table, which costs
    /// more than everything else.
    #[inline]
    fn slot_of(&self, key: KeyHash) -> Option<u32> {
        let is_its = |slot: u32| self.lanes.get(slot as usize).is_some_and(|lane| lane.key == key && lane.has_turn());
        let last = self.last.get();
        if is_its(last) {
            return Some(last);
        }
        let next = if (last as usize) + 1 < self.lanes.len() { last + 1 } else { 0 };
        let slot = if is_its(next) { next } else { self.find(key)? };
        self.last.set(slot);
        Some(slot)
    }

    /// The same, without `last`.
    #[inline]
    pub(super) fn find(&self, key: KeyHash) -> Option<u32> {
        self.slots.get(key, |slot| self.lanes[slot as usize].key == key)
    }

    fn lane(&self, key: KeyHash) -> Option<&Lane<T>> {
        self.slot_of(key).map(|slot| &self.lanes[slot as usize])
    }

    pub fn weight_of(&self, key: KeyHash) -> f64 {
        self.rule(key).weight
    }

    /// The number of items of this key.
    pub fn len_of(&self, key: KeyHash) -> usize {
        self.lane(key).map_or(0, |lane| lane.items.len())
    }

    /// Reserves places for a key without items, if there is memory for the rule of one more key.
    pub fn try_set_reserved(&mut self, key: KeyHash, reserved: usize) -> Result<(), TryReserveError> {
        let rule = self.rule(key);
        self.try_set_rule(key, Rule { reserved, ..rule })
    }

    /// Sets the weight of a key, if there is memory for the rule of one more key. Returns the weight that the key had before; to set that again
    /// needs no memory.
    pub fn try_set_weight(&mut self, key: KeyHash, weight: f64) -> Result<f64, TryReserveError> {
        let rule = self.rule(key);
        self.try_set_rule(key, Rule { weight, ..rule }).map(|()| rule.weight)
    }

    /// Sets the rule of a key. The number of reserved places can be changed only while the key has no items. If there is no memory for the rule
    /// of one more key, returns an error with nothing changed.
    pub fn try_set_rule(&mut self, key: KeyHash, rule: Rule) -> Result<(), TryReserveError> {
        if rule != Rule::default() && !self.rules.contains_key(&key) {
            self.rules.try_reserve(1)?;
        }
        let old = if rule == Rule::default() { self.rules.remove(&key) } else { self.rules.insert(key, rule) };
        self.reserved = self.reserved - old.unwrap_or_default().reserved + rule.reserved;
        if let Some(slot) = self.find(key) {
            debug_assert_eq!(self.lanes[slot as usize].rule().reserved, rule.reserved);
            self.lanes[slot as usize].set_rule(rule);
            self.sift(slot);
        }
        Ok(())
    }

    /// The number of further items of the key for which there is room, if there may be `limit` items in all. `here` is the number of places
    /// that have been promised to items of this key, `all` the number promised to items of any key.
    pub fn room_of(&self, key: KeyHash, limit: usize, here: usize, all: usize) -> usize {
        if limit == usize::MAX && self.per_key == usize::MAX {
            return usize::MAX;
        }
        self.room_in(self.slot_of(key), key, limit, here, all)
    }

    /// The same, where the slot of the key's lane is known.
    #[inline]
    fn room_in(&self, slot: Option<u32>, key: KeyHash, limit: usize, here: usize, all: usize) -> usize {
        let (held, rule) = match slot {
            Some(slot) => (self.lanes[slot as usize].items.len(), self.lanes[slot as usize].rule()),
            None => (0, self.rule(key)),
        };
        let own = self.per_key.saturating_sub(held + here);
        if limit == usize::MAX {
            return own;
        }
        let kept = rule.reserved.saturating_sub(held + here);
        let common = limit.saturating_sub(self.reserved).saturating_sub(self.common + all);
        own.min(kept + common).min(limit.saturating_sub(self.len + all))
    }

    /// The number of places that are reserved for keys.
    pub fn reserved(&self) -> usize {
        self.reserved
    }

    pub fn reserved_for(&self, key: KeyHash) -> usize {
        self.rule(key).reserved
    }

    /// The end of the lane at which a sampling queue drops: the first item has waited longest, unless it is the most urgent one.
    pub fn end_to_sample(&self) -> End {
        if self.is_ranked { End::Last } else { End::First }
    }

    /// Adds an item. If there is no memory, the item is returned and nothing has changed.
    pub fn push(&mut self, key: KeyHash, rank: f64, item: T) -> Result<(), T> {
        let rank = in_order(rank);
        let Ok(slot) = self.lane_for(key, rank) else { return Err(item) };
        self.lanes[slot as usize].items.push(rank, item);
        self.has_come(slot);
        Ok(())
    }

    /// Adds an item without a rank, if there is room for it (see [`Fair::room_of`]) and memory. The item is made only then. On false nothing
    /// has changed.
    #[inline]
    pub fn push_if_room(&mut self, key: KeyHash, limit: usize, item: impl FnOnce() -> T) -> bool {
        let (slot, rank) = (self.slot_of(key), in_order(0.0));
        if self.room_in(slot, key, limit, 0, 0) == 0 {
            return false;
        }
        let reserved = match slot {
            Some(slot) => self.lanes[slot as usize].items.try_reserve(rank).map(|()| slot),
            None => self.open(key, rank),
        };
        let Ok(slot) = reserved else { return false };
        self.lanes[slot as usize].items.push(rank, item());
        self.has_come(slot);
        true
    }

    /// Reserves memory for an item, so that `push` of it, if nothing happens before, does not lack any.
    pub fn try_reserve(&mut self, key: KeyHash, rank: f64) -> Result<(), TryReserveError> {
        self.lane_for(key, in_order(rank)).map(drop)
    }

    /// Finds or makes the lane of the key, with memory for one more item of this rank.
    #[inline]
    pub(super) fn lane_for(&mut self, key: KeyHash, rank: u64) -> Result<u32, TryReserveError> {
        let Some(slot) = self.slot_of(key) else { return self.open(key, rank) };
        self.lanes[slot as usize].items.try_reserve(rank)?;
        Ok(slot)
    }

    /// Called when an item has been added to this lane.
    #[inline]
    pub(super) fn has_come(&mut self, slot: u32) {
        let lane = &mut self.lanes[slot as usize];
        let held = lane.items.len();
        self.common += usize::from(held > lane.rule().reserved);
        self.len += 1;
        if held == 1 && !lane.has_turn() {
            lane.set_turn(true);
            self.give_turn(slot);
        }
        self.sift(slot);
        if self.is_weighed() {
            self.settle_by_cost(); // it may be the first item of the first lane
        }
    }

    /// True if items cost what they weigh.
    #[inline]
    pub(super) fn is_weighed(&self) -> bool {
        self.turns.in_any_order()
    }

    /// Assigns the lane a tag that includes the cost of its next item.
    #[inline]
    fn give_turn(&mut self, slot: u32) {
        let Self { lanes, turns, .. } = self;
        let lane = &mut lanes[slot as usize];
        let cost = if turns.in_any_order() { lane.items.pay_for_next() } else { 1.0 };
        turns.push(self.virtual_time + cost / lane.weight, lane.weight, slot);
    }

    /// Takes out the next item.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        self.pop_keyed().map(|(item, _)| item)
    }

    /// Takes out the next item, and returns its key with it.
    #[inline]
    pub fn pop_keyed(&mut self) -> Option<(T, KeyHash)> {
        let (_, slot) = self.turns.first()?;
        let Lane { key, ref items, .. } = self.lanes[slot as usize];
        let cost = items.noted().and_then(NotedLane::first).map_or(1.0, cost_of);
        let item = self.take(slot, End::First)?;
        self.turn_is_over(slot, cost);
        Some((item, key))
    }

    /// Called when an item of the first lane, of this cost, has come out: assigns the lane its next tag.
    #[inline]
    pub(super) fn turn_is_over(&mut self, slot: u32, cost: f64) {
        let Self { lanes, turns, .. } = self;
        let lane = &mut lanes[slot as usize];
        let passed_on = if lane.items.len() > 0 { turns.pass_on(lane.weight) } else { None };
        if let Some(tag) = passed_on {
            lane.items.delivered(cost);
            self.virtual_time = tag;
            return self.settle();
        }
        self.virtual_time = self.turns.pop();
        let lane = &mut self.lanes[slot as usize];
        if lane.items.len() > 0 {
            lane.items.delivered(cost);
            self.give_turn(slot);
        } else {
            self.forget(slot);
        }
        self.settle();
    }

    pub fn peek(&self) -> Option<&T> {
        self.turns.first().and_then(|(_, slot)| self.lanes[slot as usize].items.first())
    }

    /// Adds an item of `key` for which there is no room and drops another for it, unless the new one itself has to be dropped.
    pub fn displace(&mut self, key: KeyHash, rank: f64, item: T, end: End) -> Displaced<T> {
        let Some(slot) = self.victim(key, rank, end, 1) else { return Displaced::New(item) };
        if let Err(item) = self.push(key, rank, item) {
            return Displaced::NoMemory(item);
        }
        // If it is the same lane, the new item is not the one at this end.
        let other = self.take(slot, end).expect("it had an item before");
        self.settle();
        Displaced::Other(other)
    }

    /// The lane whose item is dropped when a new item of this load finds no room. `None`: the new item is dropped.
    pub(super) fn victim(&mut self, key: KeyHash, rank: f64, end: End, load: u64) -> Option<u32> {
        let own = self.find(key).filter(|&slot| self.lanes[slot as usize].items.len() > 0);
        let (held, loaded) = own.map_or((0, 0), |slot| {
            let items = &self.lanes[slot as usize].items;
            (items.len(), items.load())
        });
        let largest = self.largest();
        let share = self.rule(key).share(held + 1, loaded.saturating_add(load));
        let is_own = held >= self.per_key || largest.is_none_or(|slot| share >= self.share(slot));
        let slot = if is_own && (held > 0 || end == End::Last) { own? } else { largest? };
        if is_own && end == End::Last {
            // The new item would be the last of its lane, unless its rank is lower.
            self.lanes[slot as usize].items.last_rank().filter(|&last| last > in_order(rank))?;
        }
        Some(slot)
    }

    /// Removes the first item found for which `is_it` returns true. It may look at all items.
    pub fn remove(&mut self, mut is_it: impl FnMut(&T) -> bool) -> Option<T> {
        let Self { lanes, weighed, .. } = self;
        let found = lanes.iter_mut().zip(0..).find_map(|(lane, slot)| Some((lane.items.remove(&mut is_it, weighed)?, slot)));
        let (item, slot) = found?;
        self.have_left(slot, 1);
        self.settle();
        Some(item)
    }

    /// The items, lane by lane, each lane in the order in which its items will come out.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.lanes.iter().flat_map(|lane| lane.items.iter())
    }

    /// Moves all items out. The rules stay.
    #[must_use = "the items are to be dropped outside the section"]
    pub fn take_all(&mut self) -> Self {
        let mut empty = Self::new(self.per_key, self.is_ranked);
        std::mem::swap(&mut empty.rules, &mut self.rules);
        empty.reserved = self.reserved;
        empty.keep_notes_as(self);
        std::mem::replace(self, empty)
    }

    #[inline]
    pub(super) fn take(&mut self, slot: u32, end: End) -> Option<T> {
        let item = self.lanes[slot as usize].items.pop(end, &mut self.weighed)?;
        self.have_left(slot, 1);
        Some(item)
    }

    /// Called when `count` items have been taken out of this lane.
    #[inline]
    pub(super) fn have_left(&mut self, slot: u32, count: usize) {
        let lane = &self.lanes[slot as usize];
        let held = lane.items.len();
        self.common -= (held + count).saturating_sub(lane.rule().reserved) - held.saturating_sub(lane.rule().reserved);
        self.len -= count;
        self.sift(slot);
    }

    /// Makes a lane for a key that has none, with memory for an item of this rank.
    fn open(&mut self, key: KeyHash, rank: u64) -> Result<u32, TryReserveError> {
        let rule = self.rule(key);
        self.turns.try_reserve(rule.weight)?;
        self.lanes.try_reserve(1)?;
        self.free.try_reserve(self.lanes.len() + 1 - self.free.len())?;
        if let Some(heap) = &mut self.largest {
            heap.try_reserve(1)?;
        }
        let next = self.free.last().copied().unwrap_or(u32::try_from(self.lanes.len()).expect("they are larger than this"));
        let mut items = match &self.notes {
            None => Held::new(self.is_ranked),
            Some(notes) => Held::Noted(Boxed::try_new(NotedLane::new(self.is_ranked, notes.shed))?),
        };
        items.try_reserve(rank)?;
        self.slots.insert(key, next)?;
        let at = self.largest.as_ref().map_or(NOWHERE as usize, Vec::len);
        let lane = Lane::new(key, items, rule, at);
        match self.free.pop() {
            Some(slot) => self.lanes[slot as usize] = lane,
            None => self.lanes.push(lane),
        }
        self.largest.iter_mut().for_each(|heap| heap.push(next));
        Ok(next)
    }

    /// Forgets empty lanes at the head, until the first lane has an item.
    #[inline]
    pub(super) fn settle(&mut self) {
        if self.turns.first().is_none_or(|(_, slot)| self.lanes[slot as usize].items.len() == 0) {
            self.forget_first();
        }
        if self.is_weighed() {
            self.settle_by_cost();
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn forget_first(&mut self) {
        while let Some((_, slot)) = self.turns.first() {
            if self.lanes[slot as usize].items.len() > 0 {
                return;
            }
            self.turns.pop();
            self.forget(slot);
        }
        // No items and no lanes are left, so no lane is ahead of another.
        self.virtual_time = 0.0;
        self.largest = None;
        self.nothing_is_due();
        if self.lanes.capacity() > KEEP {
            (self.lanes, self.free, self.turns, self.slots) = (Vec::new(), Vec::new(), self.turns.another(), Slots::default());
        }
    }

    /// Forgets an empty lane that is not among the turns.
    fn forget(&mut self, slot: u32) {
        self.leave_heap(slot);
        let lane = &mut self.lanes[slot as usize];
        lane.set_turn(false);
        self.slots.remove(lane.key, slot);
        lane.items = Held::new(false);
        self.free.push(slot);
        if self.lanes.len() > KEEP && self.slots.len() < self.lanes.len() / 4 {
            self.shrink();
        }
    }

    /// Moves the lanes to the first slots and gives back the memory of the others. If there is no memory for this, everything stays as it
    /// is.
    #[cold]
    fn shrink(&mut self) {
        let (Ok((new, slots)), mut lanes) = (self.moved_together(), Vec::new()) else { return };
        if lanes.try_reserve_exact(self.slots.len()).is_err() {
            return;
        }
        lanes.extend(std::mem::take(&mut self.lanes).into_iter().filter(Lane::has_turn));
        self.free.clear();
        shrink_vec(&mut self.free, lanes.len()); // each of these slots may become free
        self.largest.iter_mut().flatten().for_each(|slot| *slot = new[*slot as usize]);
        self.turns.rename(&new);
        (self.lanes, self.slots) = (lanes, slots);
        self.all_are_due();
    }

    /// The new slot of each lane after the free slots have been removed, and the table of the new slots.
    fn moved_together(&self) -> Result<(Vec<u32>, Slots), TryReserveError> {
        let (mut new, mut slots, mut next) = (Vec::new(), Slots::default(), 0);
        new.try_reserve_exact(self.lanes.len())?;
        for lane in &self.lanes {
            new.push(if lane.has_turn() { next } else { NOWHERE });
            if lane.has_turn() {
                slots.insert(lane.key, next)?;
                next += 1;
            }
        }
        Ok((new, slots))
    }
}
