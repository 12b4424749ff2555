//! A fair queue that keeps a note of each item: when it expires, what it weighs, and when it arrived.
//!
//! # Algorithm
//! The notes are stored beside the items, in the lanes (see `held`). An item that is dropped, because it has expired or the rule sheds it,
//! does not use its lane's turn: the next item of the same key is considered, and a lane that becomes empty is skipped.
//!
//! | what is kept for each key            | from when           | until                          |
//! |--------------------------------------|---------------------|--------------------------------|
//! | the notes of its items               | an item comes       | the item leaves                |
//! | the state of CoDel (RFC 8290, 4.2)   | its first item      | its last item has left         |
//! | when it is due: no item ends earlier | an item with an end | it is due, or no item is left  |
//!
//! RFC 8290 has a fixed number of permanent queues, so their states are permanent too. Here a key without items is forgotten, together with
//! the rate of its last drops: a key that becomes overloaded again begins with one drop per interval.
//!
//! # Costs
//! If the weight of all items together is bounded, each item costs its key what it weighs, at least 1: so the shares of the keys are shares
//! of weight. (An item that weighs nothing would otherwise be free, and a stream of them would hold up every other key.)
//!
//! # Expiry
//! When there is no room, every expired item is dropped, whatever its key. A heap orders the lanes by the time at which they are due. That
//! time is a lower bound: it is not raised when an item leaves, but when the lane is examined because it is due. So puts and gets hardly
//! pay for it, and a lane is examined at most once for each item that has left. If all items of a key have the same time to live, they
//! expire from the head of the lane; otherwise, and with ranks, all items of the lane are examined.
//!
//! # Which items are dropped
//! As in [`Fair::displace`], but as many items as the new one needs. The load of a lane is counted by weight if items have weights, so that
//! few heavy items can count for more than many light ones. Nothing is dropped if that would not be enough.

use std::collections::TryReserveError;

use super::fair::{Displaced, End, Fair, in_order};
use super::held::{cost_of, load_of};
use super::notes::{KEEP, Notes};
use crate::clock::Nanos;
use crate::keys::KeyHash;
use crate::queue::{DropReason, Lost, NEVER, Note};
use crate::shed::Codel;

/// The bounds of the whole queue.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The largest number of items.
    pub limit: usize,
    /// The largest total weight.
    pub weight: u64,
}

impl<T> Fair<T> {
    /// Keeps a note of each item from now on; the items that are already here get this one. `shed`: the rule by which the items of each key
    /// are shed. `is_weighed`: an item costs its lane what it weighs, otherwise 1.
    ///
    /// # Errors
    /// There is no memory for the notes; nothing has changed.
    pub fn keep_notes(&mut self, note: Note, shed: Option<Codel>, is_weighed: bool) -> Result<(), TryReserveError> {
        let mut rooms = Vec::new();
        rooms.try_reserve_exact(self.keys())?;
        for lane in self.lanes.iter().filter(|lane| lane.has_turn()) {
            rooms.push(lane.items.room_for_notes(shed)?);
        }
        if is_weighed {
            self.turns.any_order()?;
        }
        for (lane, room) in self.lanes.iter_mut().filter(|lane| lane.has_turn()).zip(rooms) {
            lane.items.keep_notes(room, note);
        }
        self.notes = Some(Box::new(Notes::new(shed)));
        self.weighed = note.weight * self.len() as u64;
        Ok(())
    }

    /// Keeps notes if `other` does, by the same rules. This queue must have no items.
    pub fn keep_notes_as<U>(&mut self, other: &Fair<U>) {
        self.turns = other.turns.another();
        self.notes = other.notes.as_ref().map(|notes| Box::new(notes.another()));
    }

    /// The total weight of the items.
    pub fn weighed(&self) -> u64 {
        self.weighed
    }

    /// The arrival time of the item that has waited longest.
    pub fn oldest_arrival(&self) -> Option<Nanos> {
        self.lanes.iter().filter_map(|lane| lane.items.noted()?.oldest()).min()
    }

    /// As [`Fair::try_reserve`], for `push_noted`.
    pub fn try_reserve_noted(&mut self, key: KeyHash, rank: f64, note: &Note) -> Result<(), TryReserveError> {
        if let Some(notes) = self.notes.as_mut().filter(|_| note.end() != NEVER) {
            notes.try_reserve()?;
        }
        self.try_reserve(key, rank)
    }

    /// As [`Fair::push`], where notes are kept.
    pub fn push_noted(&mut self, key: KeyHash, rank: f64, item: T, note: Note) -> Result<(), T> {
        if note.end() != NEVER && self.notes.as_mut().is_some_and(|notes| notes.try_reserve().is_err()) {
            return Err(item);
        }
        let rank = in_order(rank);
        let Ok(slot) = self.lane_for(key, rank) else { return Err(item) };
        self.store(slot, rank, item, note);
        self.settle(); // the item may come after others have been dropped for it
        Ok(())
    }

    /// Stores an item for which memory has been reserved.
    fn store(&mut self, slot: u32, rank: u64, item: T, note: Note) {
        let Some(lane) = self.lanes[slot as usize].items.noted_mut() else { return };
        lane.push(rank, item, note);
        let is_first_due = note.end() < lane.due;
        if is_first_due {
            lane.due = note.end();
        }
        self.weighed += note.weight;
        self.has_come(slot);
        if is_first_due {
            self.becomes_due(note.end(), slot);
        }
    }

    fn becomes_due(&mut self, end: Nanos, slot: u32) {
        let lanes = self.keys();
        let Some(notes) = &mut self.notes else { return };
        if notes.add(end, slot) > 2 * lanes + KEEP {
            self.all_are_due();
        }
    }

    /// Rebuilds the heap without obsolete entries.
    pub(super) fn all_are_due(&mut self) {
        let Self { notes: Some(notes), lanes, .. } = self else { return };
        let due = lanes.iter().zip(0..).filter_map(|(lane, slot)| Some((lane.items.noted()?.due, slot)));
        notes.begin_again(due.filter(|&(due, _)| due != NEVER));
    }

    /// Clears the heap. Called when no item is left.
    #[inline]
    pub(super) fn nothing_is_due(&mut self) {
        if let Some(notes) = &mut self.notes {
            notes.begin_again(std::iter::empty());
        }
    }

    /// As [`Fair::settle`], and gives lanes at the head larger tags, until the tag of the first lane includes the cost of its next item.
    pub(super) fn settle_by_cost(&mut self) {
        while let Some((tag, slot)) = self.turns.first() {
            let lane = &mut self.lanes[slot as usize];
            if lane.items.len() == 0 {
                self.forget_first();
                continue;
            }
            let unpaid = lane.items.pay_for_next();
            if unpaid <= 0.0 {
                return;
            }
            self.turns.pop();
            self.turns.push(tag + unpaid / lane.weight, lane.weight, slot);
        }
    }

    /// Takes out the next item to be delivered. `lost` receives the items that are dropped before it; `None` if it lacks memory for one.
    pub fn pop_noted(&mut self, now: Nanos, lost: &mut Lost<T>) -> Option<(T, Note)> {
        loop {
            let (_, slot) = self.turns.first()?;
            let Self { lanes, weighed, .. } = self;
            let items = &mut lanes[slot as usize].items;
            let before = items.len();
            let taken = items.noted_mut()?.next(now, weighed, lost);
            let after = items.len();
            self.have_left(slot, before - after);
            if taken.is_none() && lost.lacks_memory() {
                self.settle();
                return None;
            }
            if let Some((_, note)) = &taken {
                self.turn_is_over(slot, cost_of(note));
                return taken;
            }
            self.settle();
        }
    }

    /// The weight of the item that [`Fair::pop_noted`] would return now. The items of a lane that has nothing to deliver any more are dropped.
    pub fn next_weight(&mut self, now: Nanos, lost: &mut Lost<T>) -> Option<u64> {
        loop {
            let (_, slot) = self.turns.first()?;
            let Self { lanes, weighed, .. } = self;
            let items = &mut lanes[slot as usize].items;
            let before = items.len();
            let lane = items.noted_mut()?;
            let weight = lane.next_weight(now);
            if weight.is_some() {
                return weight;
            }
            let nothing = lane.next(now, weighed, lost);
            debug_assert!(nothing.is_none(), "as its weight has said");
            let after = items.len();
            self.have_left(slot, before - after);
            self.settle();
            if lost.lacks_memory() {
                return None;
            }
        }
    }

    /// No item ends earlier.
    pub fn next_end(&self) -> Nanos {
        self.notes.as_ref().map_or(NEVER, |notes| notes.earliest())
    }

    /// Drops every expired item for which `lost` has memory.
    pub fn expire(&mut self, now: Nanos, lost: &mut Lost<T>) {
        while let Some((end, slot)) = self.notes.as_mut().and_then(|notes| notes.next_due(now)) {
            let Self { lanes, weighed, .. } = self;
            let Some(items) = lanes.get_mut(slot as usize).map(|lane| &mut lane.items) else { continue };
            let before = items.len();
            let Some(lane) = items.noted_mut().filter(|lane| lane.due == end) else { continue };
            lane.due = lane.expire(now, weighed, lost);
            let due = lane.due;
            let after = items.len();
            self.have_left(slot, before - after);
            if due != NEVER {
                self.becomes_due(due, slot);
            }
            if lost.lacks_memory() {
                break; // the lane is due still
            }
        }
        self.settle();
    }

    /// Makes room for an item for which there is none, and reserves memory for it: drops as many others as it needs, for this reason, unless
    /// the new one itself has to be dropped. After `Other` the item has to be pushed at once.
    pub fn displace_noted(
        &mut self,
        (key, rank): (KeyHash, f64),
        note: &Note,
        (end, reason): (End, DropReason),
        bounds: Bounds,
        lost: &mut Lost<T>,
    ) -> Displaced<()> {
        let Some(first) = self.victim(key, rank, end, load_of(note)) else { return Displaced::New(()) };
        if !self.could_fit(key, note.weight, end, bounds) {
            return Displaced::New(());
        }
        if self.try_reserve_noted(key, rank, note).is_err() {
            return Displaced::NoMemory(());
        }
        let mut first = Some(first);
        while self.room_of(key, bounds.limit, 0, 0) == 0 || note.weight > bounds.weight.saturating_sub(self.weighed) {
            let own = self.find(key);
            let is_at_its_bound = own.is_some_and(|own| self.lanes[own as usize].items.len() >= self.per_key);
            let slot = first.take().or_else(|| if is_at_its_bound { own } else { self.largest() });
            if !lost.try_reserve(1) {
                self.settle();
                return Displaced::NoMemory(());
            }
            let Some(other) = slot.and_then(|slot| self.take(slot, end)) else { break };
            lost.push(other, reason, true);
        }
        Displaced::Other(())
    }

    /// True if there would be room for the item after every item that may be dropped for it had been dropped.
    fn could_fit(&self, key: KeyHash, weight: u64, end: End, bounds: Bounds) -> bool {
        let other_end = if end == End::First { End::Last } else { End::First };
        let (mut stay, mut stay_own, mut stay_weight) = (0, 0, 0_u64);
        for (&each, rule) in self.rules.iter().filter(|(_, rule)| rule.reserved > 0) {
            let Some(slot) = self.find(each) else { continue };
            let items = &self.lanes[slot as usize].items;
            let held = items.len().min(rule.reserved);
            stay += held;
            stay_own += if each == key { held } else { 0 };
            stay_weight = stay_weight.saturating_add(items.noted().map_or(0, |lane| lane.weight_of(held, other_end)));
        }
        let kept = self.rule(key).reserved - stay_own.min(self.rule(key).reserved);
        let common = bounds.limit.saturating_sub(self.reserved);
        kept.saturating_add(common) > 0 && stay < bounds.limit && weight <= bounds.weight.saturating_sub(stay_weight)
    }
}
