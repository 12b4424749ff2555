//! The wait queues of putters when items have keys: the putters of each key wait in a queue of their own.
//!
//! # Algorithm
//! A key has a wait queue as long as it has waiters (`WaitQueues::add_queue`). Room that becomes free goes to the head of one of these
//! queues, which is chosen by self-clocked fair queueing (Golestani, 1994, see [`Fair`](crate::buffer::Fair)). A wait queue with waiters
//! has a tag. The queue with the smallest tag is next, virtual time advances to that tag, and the next tag of this queue is larger by cost /
//! weight, where the cost is that of the next waiter's item, as in the buffer: 1, or its weight. So the admissions of two keys that always have waiters are in proportion to their weights, as the items that come out are: in a
//! full queue, fairness of the items alone would not be enough. When the common places are taken, only the wait queues of keys with
//! reserved places are considered.
//!
//! The room of a woken putter is *claimed*. Unlike in a queue without keys, an arrival that can wait does not take claimed room, because it
//! would take it from another key.
//!
//! | wait queue | in `turns` | when                                                                                          |
//! |------------|------------|-----------------------------------------------------------------------------------------------|
//! | ready      | yes        | a waiter may have to be woken                                                                 |
//! | held up    | no         | no waiter is to be woken: the key is at its own bound, or all have been woken. Considered     |
//! |            |            | again when an item of the key leaves, or a waiter of the key comes, leaves, steps aside or back |
//!
//! # Cost
//! The logarithm of the number of keys with waiters, for each admission. A key at its own bound costs nothing while others come and go.
//!
//! # What it does not do
//! The waiters themselves are in the [`WaitQueues`](crate::monitor::WaitQueues), as all others; this file only decides which queue is next.

use std::collections::TryReserveError;

use super::lanes::{Lane, Lanes};
use super::policy::{DropReason, Dropped, Overflow};
use super::state::{Admission, PutError, PutOutcome, Side, State, UNBOUNDED, Waiter};
use crate::blocks::Blocks;
use crate::buffer::{Buffer, Displaced, End};
use crate::keys::KeyHash;
use crate::monitor::MonitorState;
use crate::wait::{Wake, Wakes};

#[expect(clippy::cast_possible_truncation, reason = "a count of waiters in memory")]
fn count(claimed: u64) -> usize {
    claimed as usize
}

impl<B: Buffer, W: Wake, X> State<B, W, X> {
    /// True if a putter waits in the wait queue of a key.
    pub(super) fn has_waiting_putters_with_key(&self) -> bool {
        !self.lanes.is_empty()
    }

    /// True if such a waiter has been woken and has not come yet.
    pub(super) fn has_woken_putters_with_key(&self) -> bool {
        self.lanes.claimed > 0
    }

    /// Reserves memory for the wait queue of this key, if it has none.
    pub(super) fn try_reserve_lane(&mut self, key: KeyHash) -> Result<(), TryReserveError> {
        let lanes = &mut self.lanes;
        if lanes.slots.contains_key(&key) {
            return Ok(());
        }
        if lanes.free.is_empty() {
            lanes.all.try_reserve(1)?;
            lanes.free.try_reserve(lanes.all.len() + 1)?; // each of them may be freed
            self.wait_queues.try_reserve_queue()?;
        }
        lanes.slots.try_reserve(1)
    }

    /// The wait queue of this key, which is made if necessary. Call it only after `try_reserve_lane`.
    fn lane(&mut self, key: KeyHash) -> u32 {
        if let Some(&slot) = self.lanes.slots.get(&key) {
            return slot;
        }
        let is_privileged = self.buffer.reserved_for(key) > 0;
        let lane = Lane { key, tag: 0.0, credit: 0.0, claimed: 0, is_ready: false, is_privileged };
        let slot = if let Some(slot) = self.lanes.free.pop() {
            self.lanes.all[slot as usize] = lane;
            slot
        } else {
            self.lanes.all.push(lane);
            u32::try_from(self.wait_queues.add_queue()).expect("they are in memory, and larger than this")
        };
        self.lanes.slots.insert(key, slot);
        slot
    }

    /// Called after a change in this wait queue or of its key.
    pub(super) fn touch(&mut self, slot: u32) {
        let queue = self.wait_queues.queue(Side::Key(slot));
        let (claimed, is_empty, none_waiting) = (queue.claimed(), queue.is_empty(), queue.none_waiting());
        let cost = self.cost_of_next(slot);
        let Some(lane) = self.lanes.all.get_mut(slot as usize) else { return };
        self.lanes.claimed = self.lanes.claimed - lane.claimed + claimed;
        lane.claimed = claimed;
        if none_waiting {
            self.hold_up(slot);
            if is_empty {
                self.forget_lane(slot);
            }
        } else if !lane.is_ready {
            lane.is_ready = true;
            lane.tag = lane.tag.max(self.lanes.virtual_time);
            if cost > lane.credit {
                lane.tag += (cost - lane.credit) / self.buffer.weight_of(lane.key);
                lane.credit = cost;
            }
            self.lanes.turns.insert((lane.tag.to_bits(), slot));
            if lane.is_privileged {
                self.lanes.privileged.insert(slot);
            }
        }
    }

    /// Removes an empty wait queue. When the last one is removed, virtual time begins again.
    fn forget_lane(&mut self, slot: u32) {
        let lanes = &mut self.lanes;
        if lanes.slots.remove(&lanes.all[slot as usize].key).is_some() {
            lanes.free.push(slot);
        }
        if lanes.slots.is_empty() {
            self.forget_lanes();
        }
    }

    /// Removes all wait queues, when no putter waits.
    pub(super) fn forget_lanes(&mut self) {
        std::mem::take(&mut self.lanes);
        self.wait_queues.remove_queues();
    }

    /// Takes out the next item. Its key has room then.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<B::Item> {
        if self.lanes.is_empty() {
            return self.buffer.pop();
        }
        let (item, key) = self.buffer.pop_keyed()?;
        self.key_has_room(key);
        Some(item)
    }

    /// Called when an item that is not the next one has left the buffer, so that its key has room: any key, if the item does not know its own.
    #[inline]
    pub(super) fn left(&mut self, item: &B::Item) {
        if self.buffer.is_keyed() && !self.lanes.is_empty() {
            match self.buffer.key_of_taken(item) {
                Some(key) => self.key_has_room(key),
                None => self.all_have_room(),
            }
        }
    }

    pub(super) fn key_has_room(&mut self, key: KeyHash) {
        if let Some(&slot) = self.lanes.slots.get(&key) {
            self.touch(slot);
        }
    }

    /// Called when any key may have room.
    pub(super) fn all_have_room(&mut self) {
        for slot in self.lanes.slots.values().copied().collect::<Blocks<_>>() {
            self.touch(slot);
        }
    }

    /// The number of items of a key for which there is room that no woken waiter has claimed.
    pub(super) fn unclaimed_room(&self, key: KeyHash) -> usize {
        let here = self.lanes.slots.get(&key).map_or(0, |&slot| self.lanes.all[slot as usize].claimed);
        self.buffer.room_of(key, self.limit, count(here), count(self.lanes.claimed))
    }

    pub(super) fn has_room_for(&self, key: KeyHash) -> bool {
        self.buffer.room_of(key, self.limit, 0, 0) > 0
    }

    /// As [`State::put`].
    pub(super) fn put_keyed(
        &mut self,
        item: B::Item,
        admission: Admission,
        wakes: &mut Wakes<W>,
    ) -> Result<(), PutError<B::Item>> {
        let key = self.buffer.key_of(&item);
        let free = match admission {
            Admission::Immediate => self.has_room_for(key),
            Admission::Queued => self.unclaimed_room(key) > 0,
        };
        if !free && self.has_room_for(key) {
            return Err(PutError::Full(item)); // waiters come first
        }
        if !free {
            if admission == Admission::Immediate && !self.buffer_is_stashed() {
                self.note_full();
            }
            return Err(self.full_error(item));
        }
        self.store_keyed(item)?;
        if !self.wait_queues.queue(Side::Get).none_waiting() {
            self.wake_eligible(wakes);
        }
        Ok(())
    }

    /// True if the operation with this waiter may put an item of this key now.
    pub(super) fn has_turn_in_lane(&mut self, key: KeyHash, waiter: &mut Waiter) -> bool {
        let Some((side @ Side::Key(_), ticket)) = waiter.position() else { return self.unclaimed_room(key) > 0 };
        let queue = self.wait_queues.queue(side);
        if !queue.contains(ticket) {
            waiter.0 = None; // its place was forgotten after a fork: it is an arrival again
            return self.unclaimed_room(key) > 0;
        }
        queue.may_try(ticket) && self.has_room_for(key)
    }

    /// Joins the wait queue of the key, or waits again at the place that the waiter has in it.
    pub(super) fn stay_in_lane(&mut self, key: KeyHash, want: u64, waiter: &mut Waiter, waker: &W, wakes: &mut Wakes<W>) {
        // Looked up by key: a wait queue keeps its key as long as it has a waiter.
        let old = waiter.position();
        let side = Side::Key(self.lane(key));
        if old.is_some_and(|(held, _)| held != side) {
            self.remove_waiter(waiter, wakes);
        }
        let slot = self.lane(key); // if that was the last waiter, all wait queues have been removed
        self.wait_queues.enqueue_or_requeue(Side::Key(slot), want, waiter, waker, wakes);
        self.touch(slot);
    }

    /// As [`put_or_wait`](super::Queue::put_or_wait), of a queue that is not shut down.
    pub(super) fn put_keyed_or_wait(
        &mut self,
        item: B::Item,
        waiter: &mut Waiter,
        waker: &W,
        wakes: &mut Wakes<W>,
    ) -> Result<(), PutError<B::Item>> {
        let key = self.buffer.key_of(&item);
        if self.has_turn_in_lane(key, waiter) {
            self.remove_waiter(waiter, wakes);
            let stored = self.store_keyed(item);
            self.wake_eligible(wakes);
            return stored;
        }
        if self.overflows() && !self.buffer_is_stashed() && !self.has_room_for(key) {
            self.abandon(waiter, wakes);
            return Err(self.full_error(item));
        }
        if self.try_reserve_lane(key).is_err() {
            self.abandon(waiter, wakes);
            return Err(PutError::NoMemory(item));
        }
        self.stay_in_lane(key, 1, waiter, waker, wakes);
        self.note_full();
        self.wake_eligible(wakes);
        Err(if self.buffer_is_stashed() { PutError::Locked(item) } else { PutError::Full(item) })
    }

    /// Stores `items` as long as there is room for the next one.
    pub(super) fn put_keyed_batch(
        &mut self,
        items: &mut std::vec::IntoIter<B::Item>,
        admission: Admission,
    ) -> Result<(), PutError<()>> {
        while let Some(first) = items.as_slice().first() {
            let key = self.buffer.key_of(first);
            if !self.has_room_for(key) {
                return Err(self.full_error(()));
            }
            if admission == Admission::Queued && self.unclaimed_room(key) == 0 {
                return Err(PutError::Full(()));
            }
            self.put_next(items)?;
        }
        Ok(())
    }

    /// Stores the next item, which is taken out only when there is memory for it.
    fn put_next(&mut self, items: &mut std::vec::IntoIter<B::Item>) -> Result<(), PutError<()>> {
        let Some(next) = items.as_slice().first() else { return Ok(()) };
        self.buffer.try_reserve_keyed(next, None).map_err(|_| PutError::NoMemory(()))?;
        items.next().map_or(Ok(()), |item| self.store_keyed(item).map_err(|_| PutError::NoMemory(())))
    }

    /// As [`put_batch_or_wait`](super::Queue::put_batch_or_wait), of a queue that is not shut down. Each item enters through the wait queue
    /// of its key.
    pub(super) fn put_keyed_batch_or_wait(
        &mut self,
        items: &mut std::vec::IntoIter<B::Item>,
        waiter: &mut Waiter,
        waker: &W,
        wakes: &mut Wakes<W>,
    ) -> Result<(), PutError<()>> {
        let mut progress = false;
        while let Some(first) = items.as_slice().first() {
            let key = self.buffer.key_of(first);
            let own = self.lanes.slots.get(&key).map(|&slot| Side::Key(slot));
            let is_queued = waiter.position().is_some_and(|(side, _)| Some(side) == own);
            if progress && !is_queued {
                self.remove_waiter(waiter, wakes);
            }
            let turn = if progress && is_queued { self.unclaimed_room(key) > 0 } else { self.has_turn_in_lane(key, waiter) };
            if turn {
                if let Err(error) = self.put_next(items) {
                    self.abandon(waiter, wakes);
                    return Err(error);
                }
                progress = true;
                if let Some((side @ Side::Key(slot), ticket)) = waiter.position() {
                    // The waiter keeps its place, so that no other putter's items of this key come in between.
                    self.wait_queues.queue_mut(side).set_want(ticket, 1, false);
                    self.touch(slot);
                }
                continue;
            }
            if self.overflows() && !self.buffer_is_stashed() && !self.has_room_for(key) {
                self.abandon(waiter, wakes);
                return Err(self.full_error(()));
            }
            if self.try_reserve_lane(key).is_err() {
                self.abandon(waiter, wakes);
                return Err(PutError::NoMemory(()));
            }
            self.stay_in_lane(key, 1, waiter, waker, wakes);
            self.note_full();
            self.wake_eligible(wakes);
            return Err(if self.buffer_is_stashed() { PutError::Locked(()) } else { PutError::Full(()) });
        }
        self.remove_waiter(waiter, wakes);
        self.wake_eligible(wakes);
        Ok(())
    }

    /// Wakes the waiters that have room now.
    pub(super) fn settle_lanes(&mut self, wakes: &mut Wakes<W>) {
        if self.shut || self.overflows() {
            for slot in self.lanes.slots.values().copied().collect::<Blocks<_>>() {
                self.wait_queues.queue_mut(Side::Key(slot)).wake_while(wakes, |_, _| true);
                self.touch(slot);
            }
            return;
        }
        if self.room_by_weight().is_some() {
            return self.settle_lanes_by_weight(wakes);
        }
        while let Some(&(_, slot)) = self.lanes.turns.first() {
            let Lane { key, claimed, .. } = self.lanes.all[slot as usize];
            if self.unclaimed_room(key) > 0 {
                self.wake_one(slot, wakes);
            } else if self.buffer.room_of(key, UNBOUNDED, count(claimed), 0) == 0 {
                self.hold_up(slot);
            } else {
                break; // the common places are taken
            }
        }
        for slot in self.lanes.privileged.iter().copied().collect::<Blocks<_>>() {
            while self.lanes.all[slot as usize].is_ready && self.unclaimed_room(self.lanes.all[slot as usize].key) > 0 {
                self.wake_one(slot, wakes);
            }
        }
    }

    /// Marks a wait queue in which no waiter is to be woken for now.
    pub(super) fn hold_up(&mut self, slot: u32) {
        let Lanes { all, turns, privileged, .. } = &mut self.lanes;
        let lane = &mut all[slot as usize];
        if std::mem::take(&mut lane.is_ready) {
            turns.remove(&(lane.tag.to_bits(), slot));
            privileged.remove(&slot);
        }
    }

    /// What the item of the next waiter of this wait queue costs: its weight if that is bounded, otherwise 1. At least 1.
    #[expect(clippy::cast_precision_loss, reason = "the rounding is relative")]
    fn cost_of_next(&self, slot: u32) -> f64 {
        let want = self.wait_queues.queue(Side::Key(slot)).head().map_or(1, |(_, want)| want);
        if self.room_by_weight().is_some() { want.saturating_sub(1).max(1) as f64 } else { 1.0 }
    }

    /// True if the tag includes what the item of the next waiter costs. Otherwise the wait queue gets a larger tag.
    pub(super) fn is_paid(&mut self, slot: u32) -> bool {
        let is_paid = self.cost_of_next(slot) <= self.lanes.all[slot as usize].credit;
        if !is_paid {
            self.hold_up(slot);
            self.touch(slot);
        }
        is_paid
    }

    /// Wakes the head of this wait queue, whose turn it is.
    pub(super) fn wake_one(&mut self, slot: u32, wakes: &mut Wakes<W>) {
        let cost = self.cost_of_next(slot);
        let mut is_first = true;
        self.wait_queues.queue_mut(Side::Key(slot)).wake_while(wakes, |_, _| std::mem::take(&mut is_first));
        self.hold_up(slot);
        if is_first {
            return; // a woken waiter has to come first
        }
        let lane = &mut self.lanes.all[slot as usize];
        lane.credit -= cost;
        self.lanes.virtual_time = self.lanes.virtual_time.max(lane.tag);
        self.touch(slot);
    }

    /// As [`State::put_or_drop`], of a queue that is not shut down. The item that is dropped is one of the key that holds most in relation
    /// to its weight.
    pub(super) fn put_keyed_or_drop(&mut self, item: B::Item, wakes: &mut Wakes<W>) -> PutOutcome<B::Item> {
        if self.has_room_for(self.buffer.key_of(&item)) {
            self.store_keyed(item)?;
            self.wake_eligible(wakes);
            return Ok(None);
        }
        if self.buffer_is_stashed() {
            return Err(PutError::Locked(item));
        }
        let Some((end, reason)) = self.choose_end() else { return Err(self.full_error(item)) };
        self.note_full();
        let displaced = match end {
            Some(end) => self.buffer.displace(item, end),
            None => Displaced::New(item),
        };
        match displaced {
            Displaced::NoMemory(item) => Err(PutError::NoMemory(item)),
            Displaced::New(item) => {
                self.drop_one(reason, false);
                Ok(Some(Dropped { item, reason, was_stored: false }))
            }
            Displaced::Other(item) => {
                self.count_stored(1);
                self.left(&item);
                self.drop_one(reason, true);
                Ok(Some(Dropped { item, reason, was_stored: true }))
            }
        }
    }

    /// The end of a lane at which the policy drops an item (`None`: the new item), and the reason. `None` if the policy drops nothing.
    pub(super) fn choose_end(&mut self) -> Option<(Option<End>, DropReason)> {
        Some(match self.overflow.policy {
            Overflow::Block | Overflow::Reject => return None,
            Overflow::DropOldest => (Some(End::First), DropReason::Oldest),
            Overflow::DropLowest => (Some(End::Last), DropReason::Lowest),
            Overflow::Sample(n) => (self.overflow.sample(n).then(|| self.buffer.end_to_sample()), DropReason::Sampled),
            Overflow::DropNewest => (Some(End::Last), DropReason::Newest),
        })
    }

    /// As [`State::store`].
    fn store_keyed(&mut self, item: B::Item) -> Result<(), PutError<B::Item>> {
        self.buffer.push_keyed(item).map_err(PutError::NoMemory)?;
        self.count_stored(1);
        Ok(())
    }
}
