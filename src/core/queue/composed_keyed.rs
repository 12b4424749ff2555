//! A composed queue whose items have keys: admission, dropping, and taking. `composed` describes what a queue is composed of, `keyed` how
//! putters wait for room.
//!
//! # Algorithm
//! The buffer stores the notes (see [`Fair`](crate::buffer::Fair)), and the rule that sheds items has a state for each key. The bound on
//! weight is common to all keys. A putter that finds no room waits in the wait queue of its key, whatever kind of room is lacking.
//!
//! With a bound on weight the waiters want different amounts, so one waiter is woken at a time: the head of the wait queue whose turn it
//! is, as soon as its item fits. Until then it is not overtaken by waiters that the bound on the number of items would admit:
//!
//! | the next waiter lacks               | which putters are admitted                                      |
//! |-------------------------------------|-----------------------------------------------------------------|
//! | nothing                             | it, and no other waiter until it has come                       |
//! | room by weight                      | none: otherwise light items would keep a heavy one out for ever |
//! | a common place                      | keys with reserved places, if the item fits by its weight       |
//! | room within the bound of its key    | the next waiter                                                 |
//!
//! # Fairness
//! As in a queue with keys and in a composed one. If the weight is bounded, shares are shares of weight, of the items that come out as of those
//! that are admitted; otherwise they are counted in items.
//!
//! # What it does not do
//! It reserves numbers of places, not weight.

use super::composed::Attempt;
use super::deadline::Note;
use super::parts::Terms;
use super::policy::{DropReason, Dropped, Lost};
use super::state::{PutError, Side, State, UNBOUNDED, Waiter};
use crate::blocks::Blocks;
use crate::buffer::{Bounds, Buffer, Displaced};
use crate::clock::Nanos;
use crate::keys::KeyHash;
use crate::monitor::MonitorState;
use crate::wait::{Wake, Wakes};

/// What becomes of an item that comes in. Its memory has been reserved, so that an item of a batch stays in the batch if there is none.
#[derive(Clone, Copy)]
enum Place {
    Free,
    /// Others have been dropped for it. `full_since` is that of the queue before.
    OfOthers {
        full_since: Option<Nanos>,
    },
    /// The policy drops it.
    Dropped(DropReason),
}

impl<B: Buffer, W: Wake, X> State<B, W, X> {
    /// The amount that a waiter with an item of this weight wants. Never zero, so that a woken waiter has a claim.
    fn want_of(&self, weight: u64) -> u64 {
        if self.room_by_weight().is_some() { weight.saturating_add(1) } else { 1 }
    }

    /// True if there is room for an item of this key and weight.
    fn has_room_for_weight(&self, key: KeyHash, weight: u64) -> bool {
        self.has_room_for(key) && self.parts.as_ref().is_none_or(|parts| parts.weights.fits(weight))
    }

    /// True if an arrival that can wait may take room for such an item, if there is any.
    fn is_unclaimed(&self, key: KeyHash) -> bool {
        if self.room_by_weight().is_none() {
            return self.unclaimed_room(key) > 0;
        }
        let own = self.lanes.slots.get(&key);
        if self.lanes.claimed > 0 || own.is_some_and(|&slot| !self.wait_queues.queue(Side::Key(slot)).none_waiting()) {
            return false;
        }
        // True unless the next waiter lacks nothing but weight.
        self.lanes.turns.first().is_none_or(|&(_, slot)| !self.has_room_for(self.lanes.all[slot as usize].key))
    }

    fn may_put_keyed(&mut self, key: KeyHash, attempt: &mut Attempt<'_, W>) -> bool {
        match attempt {
            Attempt::Now => true,
            Attempt::Arrival => self.is_unclaimed(key),
            Attempt::Wait(waiter, _) => self.is_its_turn(key, waiter),
        }
    }

    /// As `has_turn_in_lane`, when it is already known whether there is room.
    fn is_its_turn(&mut self, key: KeyHash, waiter: &mut Waiter) -> bool {
        if self.room_by_weight().is_none() {
            return self.has_turn_in_lane(key, waiter);
        }
        let Some((side @ Side::Key(_), ticket)) = waiter.position() else { return self.is_unclaimed(key) };
        let queue = self.wait_queues.queue(side);
        if !queue.contains(ticket) {
            waiter.0 = None; // its place was forgotten after a fork: it is an arrival again
            return self.is_unclaimed(key);
        }
        queue.may_try(ticket)
    }

    /// False if there is no memory to wait with.
    fn can_wait_in_lane(&mut self, key: KeyHash, attempt: &Attempt<'_, W>) -> bool {
        !matches!(attempt, Attempt::Wait(..)) || self.try_reserve_lane(key).is_ok()
    }

    fn enqueue_in_lane_if_allowed(&mut self, key: KeyHash, weight: u64, attempt: &mut Attempt<'_, W>, wakes: &mut Wakes<W>) {
        let want = self.want_of(weight);
        if let Attempt::Wait(waiter, waker) = attempt {
            self.stay_in_lane(key, want, waiter, waker, wakes);
        }
    }

    /// As [`State::put_composed`], of a queue that is not shut down.
    pub(super) fn put_keyed_composed(
        &mut self,
        item: B::Item,
        terms: Terms,
        mut attempt: Attempt<'_, W>,
        lost: &mut Lost<B::Item>,
        wakes: &mut Wakes<W>,
    ) -> Result<(), PutError<B::Item>> {
        let key = self.buffer.key_of(&item);
        let can_wait = self.can_wait_in_lane(key, &attempt);
        if can_wait && self.buffer_is_stashed() {
            self.enqueue_in_lane_if_allowed(key, terms.weight, &mut attempt, wakes);
            return Err(PutError::Locked(item));
        }
        let now = self.wait_queues.clock.now();
        let Some(note) = self.note(now, terms).ok().filter(|_| can_wait) else {
            self.let_go(&mut attempt, wakes);
            self.wake_all_eligible(wakes);
            return Err(PutError::NoMemory(item));
        };
        if note.deadline <= now {
            self.let_go(&mut attempt, wakes);
            self.wake_all_eligible(wakes);
            return Err(PutError::Full(item));
        }
        self.expire_unless_fits_keyed(key, &note, lost, wakes);
        let result = if !self.has_room_for_weight(key, note.weight) {
            self.put_keyed_without_room(item, note, lost)
        } else if self.may_put_keyed(key, &mut attempt) {
            self.store_keyed_noted(item, note)
        } else {
            Err(PutError::Full(item))
        };
        if matches!(result, Err(PutError::Full(_))) {
            self.enqueue_in_lane_if_allowed(key, terms.weight, &mut attempt, wakes);
            if !matches!(attempt, Attempt::Arrival) {
                self.note_full();
            }
        } else {
            self.let_go(&mut attempt, wakes);
        }
        // With a bound on weight, a new item may change what the next waiter lacks, and so which row of the table applies.
        let others_may_go = self.room_by_weight().is_some() && self.has_waiting_putters_with_key();
        let has_getters = !self.wait_queues.queue(Side::Get).none_waiting();
        if matches!(attempt, Attempt::Wait(..)) || has_getters || others_may_go || !lost.is_empty() || self.ends_sooner() {
            self.wake_all_eligible(wakes);
        }
        result
    }

    /// As [`State::expire_unless_fits`].
    fn expire_unless_fits_keyed(&mut self, key: KeyHash, note: &Note, lost: &mut Lost<B::Item>, wakes: &mut Wakes<W>) {
        if self.has_room_for_weight(key, note.weight) {
            return;
        }
        let before = lost.len();
        self.expire_keyed(note.arrived, lost);
        if lost.len() > before {
            self.wake_all_eligible(wakes);
        }
    }

    /// As [`State::put_many_composed`], of a queue that is not shut down. Each item enters through the wait queue of its key.
    pub(super) fn put_many_keyed_composed(
        &mut self,
        items: &mut std::vec::IntoIter<B::Item>,
        terms: &mut dyn FnMut(&B::Item, usize) -> Terms,
        mut attempt: Attempt<'_, W>,
        lost: &mut Lost<B::Item>,
        wakes: &mut Wakes<W>,
    ) -> Result<(), PutError<()>> {
        let now = self.wait_queues.clock.now();
        let mut progress = false;
        let result = loop {
            let Some(next) = items.as_slice().first() else { break Ok(()) };
            let (key, terms) = (self.buffer.key_of(next), terms(next, items.len()));
            if !self.can_wait_in_lane(key, &attempt) {
                break Err(PutError::NoMemory(()));
            }
            if self.buffer_is_stashed() {
                self.enqueue_in_lane_if_allowed(key, terms.weight, &mut attempt, wakes);
                break Err(PutError::Locked(()));
            }
            let Ok(note) = self.note(now, terms) else { break Err(PutError::NoMemory(())) };
            let keeps_place = progress && self.keeps_place(key, note.weight, &mut attempt, wakes);
            self.expire_unless_fits_keyed(key, &note, lost, wakes);
            let has_room = self.has_room_for_weight(key, note.weight);
            // A batch that keeps its place waits again there: it may continue if no other waiter is entitled to the room.
            let entitled = has_room && if keeps_place { self.may_go_on(key) } else { self.may_put_keyed(key, &mut attempt) };
            if has_room && !entitled || !has_room && !self.drops() {
                let full = if has_room { PutError::Full(()) } else { self.full_error(()) };
                if matches!(full, PutError::Full(())) {
                    self.enqueue_in_lane_if_allowed(key, note.weight, &mut attempt, wakes);
                }
                break Err(full);
            }
            let place = if has_room { self.free_place(next, &note) } else { self.place_of_others(next, &note, lost) };
            let Some(place) = place else { break Err(PutError::NoMemory(())) };
            let Some(item) = items.next() else { break Ok(()) };
            if self.fill(place, item, note, lost).is_err() {
                break Err(PutError::NoMemory(()));
            }
            progress = true;
        };
        match result {
            Err(PutError::Full(()) | PutError::Locked(())) => self.note_full(),
            _ => self.let_go(&mut attempt, wakes),
        }
        self.wake_all_eligible(wakes);
        result
    }

    /// True if a batch continues with an item of the key in whose wait queue it is. Then it keeps its place, so that no other putter's
    /// items of this key come in between.
    fn keeps_place(&mut self, key: KeyHash, weight: u64, attempt: &mut Attempt<'_, W>, wakes: &mut Wakes<W>) -> bool {
        let Attempt::Wait(waiter, _) = attempt else { return false };
        let Some((side @ Side::Key(slot), ticket)) = waiter.position() else { return false };
        if self.lanes.slots.get(&key) != Some(&slot) {
            self.remove_waiter(waiter, wakes);
            return false;
        }
        let want = self.want_of(weight);
        self.wait_queues.queue_mut(side).set_want(ticket, want, false);
        self.touch(slot);
        true
    }

    /// True if the head of a wait queue may take room for an item of its key.
    fn may_go_on(&self, key: KeyHash) -> bool {
        if self.room_by_weight().is_none() {
            return self.unclaimed_room(key) > 0;
        }
        let others_first = || {
            let first = self.lanes.turns.first().map(|&(_, slot)| self.lanes.all[slot as usize].key);
            first.is_some_and(|first| first != key && self.has_room_for(first))
        };
        self.lanes.claimed == 0 && !others_first()
    }

    /// Handles an item without room according to the policy.
    fn put_keyed_without_room(&mut self, item: B::Item, note: Note, lost: &mut Lost<B::Item>) -> Result<(), PutError<B::Item>> {
        if !self.drops() {
            return Err(self.full_error(item));
        }
        match self.place_of_others(&item, &note, lost) {
            Some(place) => self.fill(place, item, note, lost),
            None => Err(PutError::NoMemory(item)),
        }
    }

    /// A place for an item for which there is room. `None`: there is no memory for it.
    fn free_place(&mut self, item: &B::Item, note: &Note) -> Option<Place> {
        self.buffer.try_reserve_keyed(item, Some(note)).ok().map(|()| Place::Free)
    }

    /// A place for an item for which there is no room, according to a policy that drops items. `None`: there is no memory for it.
    fn place_of_others(&mut self, item: &B::Item, note: &Note, lost: &mut Lost<B::Item>) -> Option<Place> {
        let (end, reason) = self.choose_end().filter(|_| lost.try_reserve(1))?;
        self.note_full();
        let full_since = self.full_since;
        let bounds = Bounds { limit: self.limit, weight: self.parts.as_ref().map_or(u64::MAX, |parts| parts.weights.max()) };
        let before = lost.len();
        let displaced = match end {
            Some(end) => self.buffer.displace_noted(item, note, (end, reason), bounds, lost),
            None => Displaced::New(()),
        };
        self.account_for(lost.since(before));
        self.weigh_keyed();
        match displaced {
            Displaced::Other(()) => Some(Place::OfOthers { full_since }),
            Displaced::New(()) => Some(Place::Dropped(reason)),
            Displaced::NoMemory(()) => None,
        }
    }

    fn fill(&mut self, place: Place, item: B::Item, note: Note, lost: &mut Lost<B::Item>) -> Result<(), PutError<B::Item>> {
        if let Place::Dropped(reason) = place {
            self.overflow.dropped[reason as usize] += 1;
            lost.push(item, reason, false);
            return Ok(());
        }
        self.store_keyed_noted(item, note)?;
        if let Place::OfOthers { full_since } = place {
            self.full_since = full_since.filter(|_| !self.has_room()); // the queue is as full as before
        }
        Ok(())
    }

    fn store_keyed_noted(&mut self, item: B::Item, note: Note) -> Result<(), PutError<B::Item>> {
        self.buffer.push_keyed_noted(item, note).map_err(PutError::NoMemory)?;
        if let Some(parts) = &mut self.parts {
            parts.count_in(&note);
        }
        self.count_stored(1);
        Ok(())
    }

    /// Takes over the total weight from the buffer.
    fn weigh_keyed(&mut self) {
        if let Some(parts) = &mut self.parts {
            parts.weights.set(self.buffer.weighed());
        }
    }

    /// Counts the items that the buffer has given up. Each makes room for its own key, and for waiters for a common place.
    fn account_for(&mut self, lost: &[Dropped<B::Item>]) {
        for dropped in lost {
            self.overflow.dropped[dropped.reason as usize] += 1;
            self.discount(1);
            self.left(&dropped.item);
        }
    }

    /// As [`State::take`].
    pub(super) fn take_keyed(&mut self, now: Nanos, lost: &mut Lost<B::Item>) -> Option<B::Item> {
        let before = lost.len();
        let taken = self.buffer.pop_keyed_noted(now, lost);
        self.account_for(lost.since(before));
        self.weigh_keyed();
        let (item, note) = taken?;
        if let Some(parts) = &self.parts {
            parts.delivered(&note, now);
        }
        self.count_taken(1);
        self.left(&item);
        Some(item)
    }

    /// The weight of the item that `take_keyed` would return now. Items that it would drop before may be dropped here.
    pub(super) fn next_weight_keyed(&mut self, now: Nanos, lost: &mut Lost<B::Item>) -> Option<u64> {
        let before = lost.len();
        let weight = self.buffer.next_weight_keyed(now, lost);
        self.account_for(lost.since(before));
        self.weigh_keyed();
        weight
    }

    /// As [`State::expire`].
    pub(super) fn expire_keyed(&mut self, now: Nanos, lost: &mut Lost<B::Item>) {
        if self.parts.is_none() {
            return;
        }
        let before = lost.len();
        self.buffer.expire_keyed(now, lost);
        self.account_for(lost.since(before));
        self.weigh_keyed();
    }

    /// Wakes the waiter that has room now, in a queue with a bound on weight.
    pub(super) fn settle_lanes_by_weight(&mut self, wakes: &mut Wakes<W>) {
        while let Some(&(_, slot)) = self.lanes.turns.first() {
            let key = self.lanes.all[slot as usize].key;
            if self.lanes.claimed > 0 {
                return;
            }
            if !self.is_paid(slot) {
                continue; // the next waiter has left, and the one after it has a heavier item
            }
            if self.has_room_for(key) {
                if !self.head_fits(slot) {
                    return; // no waiter overtakes one with a heavy item
                }
                self.wake_one(slot, wakes);
            } else if self.buffer.room_of(key, UNBOUNDED, 0, 0) == 0 {
                self.hold_up(slot);
            } else {
                break; // the common places are taken
            }
        }
        for slot in self.lanes.privileged.iter().copied().collect::<Blocks<_>>() {
            let lane = &self.lanes.all[slot as usize];
            if self.lanes.claimed > 0 {
                return;
            }
            if lane.is_ready && self.has_room_for(lane.key) && self.head_fits(slot) {
                self.wake_one(slot, wakes);
            }
        }
    }

    /// True if the item of this wait queue's head fits by its weight.
    fn head_fits(&self, slot: u32) -> bool {
        let want = self.wait_queues.queue(Side::Key(slot)).head().map_or(1, |(_, want)| want);
        self.parts.as_ref().is_none_or(|parts| parts.weights.fits(want.saturating_sub(1)))
    }
}
