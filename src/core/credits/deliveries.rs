//! `Deliveries`: items that have been handed out and are not settled yet, and items that have been requeued.
//!
//! | a delivery is | event                                   | next                                                          |
//! |---------------|-----------------------------------------|---------------------------------------------------------------|
//! | -             | handed out                              | unacked: with a permanent sequence number, and a number for this hand-out |
//! | unacked       | ack                                     | settled                                                       |
//! | unacked       | nack, requeue, attempts left            | ready at the head, in the order of sequence numbers; or delayed |
//! | unacked       | nack without requeue, or the last attempt | settled, and discarded                                      |
//! | unacked       | `ack_wait` has passed                   | as after a nack; `extend` postpones this                      |
//! | unacked, ready, delayed | the channel or its lane is stopped | ready and delayed items are given up, unsettled; so are unacked items when they are nacked |
//! | delayed       | the delay has passed                    | ready                                                         |
//! | ready         | handed out                              | unacked, one attempt more                                     |
//!
//! Memory for every later state of a delivery is reserved when it is handed out (see `slots` and `lanes`), so that no later transition can
//! fail. Two kinds of lists are not reserved: that of deliveries that expire for the last time and are given up (without memory for it they
//! stay unacked for a little longer), and those of the items that a stop or a cancel gives up.
//!
//! A receipt contains the number of *its* hand-out. If the item has been requeued since, the receipt is stale, and settling with it has no
//! effect (as with AMQP's dispositions; JetStream would accept it).

use std::collections::TryReserveError;

use super::lanes::{Lane, Lanes};
use super::slots::{Slot, SlotId, Slots, TrackedItem};
use crate::clock::Nanos;
use crate::sync::{AtomicU32, Ordering};

/// The delay before another attempt to give up expired deliveries, after an attempt for which there was no memory.
const RETRY: Nanos = 100_000_000;

/// The settings of a channel with deliveries.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// A delivery that is not settled within this time is requeued.
    pub ack_wait: Option<Nanos>,
    /// Maximum number of delivery attempts per item.
    pub max_deliver: u32,
    /// True if progress is reported ([`Channel::next_report`](super::Channel::next_report)).
    pub reports: bool,
}

/// Operations on items that the owner of a channel provides. They are called inside the section, and must not run foreign code.
pub trait Handle<T> {
    /// Another reference to the item, for the receiver.
    fn share(&self, item: &T) -> T;

    fn lane(&self, _item: &T) -> Lane {
        0
    }
}

/// Items that are plain values.
#[derive(Clone, Copy, Debug)]
pub struct Copied;

impl<T: Copy> Handle<T> for Copied {
    fn share(&self, item: &T) -> T {
        *item
    }
}

/// A delivery, as handed to a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handed<T> {
    pub item: T,
    pub receipt: Receipt,
    /// 1 for the first delivery.
    pub attempt: u32,
    pub lane: Lane,
    /// The item's number in its lane: 0, 1, 2, ... in the order of sending.
    pub number: u64,
}

/// Identifies a hand-out of a delivery when it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The item's sequence number: 0, 1, 2, ... in the order of sending, counted over all lanes. Items that were given up before they were
    /// handed out are not counted.
    pub sequence: u64,
    number: u64,
    slot: SlotId,
}

/// Whether a delivery's holder has settled it. Changed inside the channel's section; a value read outside of it may be out of date.
#[derive(Debug, Default)]
pub struct Settlement(AtomicU32);

impl Settlement {
    const DONE: u32 = 1;
    const STALE: u32 = 2;

    pub fn is_settled(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// The outcome of settling again; `None` if it has not been settled yet.
    pub(super) fn before(&self) -> Option<Settling> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            Self::STALE => Some(Settling::Stale),
            _ => Some(Settling::Again),
        }
    }

    pub(super) fn note(&self, outcome: Settling) {
        let word = if outcome == Settling::Stale { Self::STALE } else { Self::DONE };
        self.0.store(word, Ordering::Relaxed); // inside the section, so no other thread writes
    }
}

/// Why an item has been given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscardReason {
    /// All its delivery attempts have failed.
    Poison,
    /// Its receiver has rejected it.
    Rejected,
    /// The receiver has cancelled, stopped or is gone, or has stopped its lane.
    Cancelled,
}

/// The outcome of settling a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settling {
    Done,
    Requeued,
    /// Given up. The item is the last one in the list of removed items for this reason.
    Discarded(DiscardReason),
    /// No effect: its holder had settled it before, or the channel had been cancelled.
    Again,
    /// No effect: the item has been requeued or given up meanwhile.
    Stale,
}

/// How a failed delivery is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nack {
    pub requeue: bool,
    pub delay: Nanos,
    /// False if the attempt does not count, because the receiver was stopped through no fault of the item.
    pub counts: bool,
}

#[derive(Debug)]
pub(super) struct Deliveries<T> {
    rules: Rules,
    next_sequence: u64,
    next_number: u64,
    slots: Slots<T>,
    pub(super) lanes: Lanes,
    /// True if the whole channel is being stopped: nothing is requeued.
    is_stopping: bool,
    /// The earliest time of another attempt to give up expired deliveries, after one for which there was no memory.
    retry_at: Nanos,
    pub(super) requeued: u64,
    pub(super) stale: u64,
}

/// The outcome for a delivery.
#[derive(Debug)]
pub(super) enum Settled<T> {
    /// It has been requeued.
    Requeued,
    /// It has been acked.
    Done(TrackedItem<T>),
    /// It has been given up.
    Discarded(TrackedItem<T>, DiscardReason),
}

impl<T> Deliveries<T> {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            next_sequence: 0,
            next_number: 0,
            slots: Slots::new(),
            lanes: Lanes::new(rules.reports),
            is_stopping: false,
            retry_at: 0,
            requeued: 0,
            stale: 0,
        }
    }

    /// The number of deliveries that can be handed out again now.
    #[inline]
    pub(super) fn ready(&self) -> usize {
        self.slots.ready.len()
    }

    /// The number of deliveries that will be ready after a delay.
    #[inline]
    pub(super) fn delayed(&self) -> usize {
        self.slots.delayed.len()
    }

    #[inline]
    pub(super) fn unacked(&self) -> usize {
        self.slots.out.len()
    }

    fn all_out(&self) -> impl Iterator<Item = &Slot<T>> {
        self.slots.out.ids().map(|id| self.slots.get(id))
    }

    /// The owner of all unacked deliveries, if there is exactly one owner.
    pub(super) fn only_owner(&self) -> Option<u64> {
        let mut owners = self.all_out().map(|slot| slot.owner);
        let first = owners.next()?;
        owners.all(|owner| owner == first).then_some(first)
    }

    /// Reserves memory for the first hand-out of an item of this lane, and for every later state of its delivery.
    ///
    /// # Errors
    /// There is none. Nothing has changed.
    #[inline]
    pub(super) fn try_reserve(&mut self, lane: Lane) -> Result<(), TryReserveError> {
        self.slots.try_reserve()?;
        self.lanes.try_reserve(lane)
    }

    /// The time at which a delivery expires that goes out now.
    fn expiry(&self, now: impl FnOnce() -> Nanos) -> Nanos {
        self.rules.ack_wait.map_or(Nanos::MAX, |wait| now().saturating_add(wait))
    }

    /// Hands out an item for the first time. Memory has been reserved, and its lane is not being stopped.
    pub(super) fn first_time(
        &mut self,
        item: T,
        weight: u64,
        lane: Lane,
        owner: u64,
        now: impl FnOnce() -> Nanos,
        handle: &impl Handle<T>,
    ) -> Handed<T> {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.next_number += 1;
        let (number, place) = (self.next_number, self.lanes.number(lane));
        let shared = handle.share(&item);
        self.lanes.goes_out(lane);
        let tracked = TrackedItem { item, weight, attempts: 1, lane, place };
        let slot = self.slots.insert_out(sequence, tracked, number, owner, self.expiry(now));
        Handed { item: shared, receipt: Receipt { sequence, number, slot }, attempt: 1, lane, number: place }
    }

    /// Hands out the first of the requeued items.
    pub(super) fn once_more(&mut self, owner: u64, now: impl FnOnce() -> Nanos, handle: &impl Handle<T>) -> Option<Handed<T>> {
        let id = self.slots.take_ready(self.next_number + 1, owner, self.expiry(now))?;
        self.next_number += 1;
        let slot = self.slots.get_mut(id);
        let (sequence, number) = (slot.sequence, slot.number);
        let tracked = slot.tracked_mut();
        tracked.attempts += 1;
        let &mut TrackedItem { attempts, lane, place, .. } = tracked;
        let item = handle.share(&tracked.item);
        self.lanes.goes_out(lane);
        Some(Handed { item, receipt: Receipt { sequence, number, slot: id }, attempt: attempts, lane, number: place })
    }

    /// The unacked delivery. `None` if the receipt is stale.
    fn holder(&mut self, receipt: Receipt) -> Option<&mut Slot<T>> {
        let holder = self.slots.holder(receipt.slot, receipt.number);
        self.stale += u64::from(holder.is_none());
        holder
    }

    pub(super) fn ack(&mut self, receipt: Receipt) -> Option<Settled<T>> {
        self.holder(receipt)?;
        let tracked = self.slots.remove(receipt.slot);
        self.lanes.settled(tracked.lane, tracked.place);
        self.lanes.is_back(tracked.lane);
        Some(Settled::Done(tracked))
    }

    pub(super) fn nack(&mut self, receipt: Receipt, nack: Nack, now: impl FnOnce() -> Nanos) -> Option<Settled<T>> {
        let tracked = self.holder(receipt)?.tracked_mut();
        if !nack.counts {
            tracked.attempts -= 1;
        }
        let id = receipt.slot;
        let fate = if nack.requeue { self.fate(id) } else { Some(DiscardReason::Rejected) };
        if let Some(reason) = fate {
            return Some(Settled::Discarded(self.give_up(id, reason), reason));
        }
        let due = if nack.delay == 0 { 0 } else { now().saturating_add(nack.delay) };
        self.come_back(id, due);
        Some(Settled::Requeued)
    }

    /// Gives the holder of the delivery at least until `time`. False if the receipt is stale.
    pub(super) fn extend(&mut self, receipt: Receipt, time: Nanos) -> bool {
        let Some(slot) = self.slots.holder(receipt.slot, receipt.number) else { return false };
        if slot.due < time {
            self.slots.set_expiry(receipt.slot, time);
        }
        true
    }

    /// Why an unacked delivery that has failed is given up; `None` if it is requeued.
    fn fate(&self, id: SlotId) -> Option<DiscardReason> {
        let tracked = self.slots.get(id).tracked();
        if tracked.attempts >= self.rules.max_deliver {
            Some(DiscardReason::Poison)
        } else if self.is_stopping || self.lanes.is_stopping(tracked.lane) {
            Some(DiscardReason::Cancelled)
        } else {
            None
        }
    }

    /// An unacked delivery that has failed is given up; it counts as settled, unless it is stopped.
    fn give_up(&mut self, id: SlotId, reason: DiscardReason) -> TrackedItem<T> {
        let tracked = self.slots.remove(id);
        if reason != DiscardReason::Cancelled {
            self.lanes.settled(tracked.lane, tracked.place);
        }
        self.lanes.is_back(tracked.lane);
        tracked
    }

    /// An unacked delivery that has failed is requeued.
    fn come_back(&mut self, id: SlotId, due: Nanos) {
        let lane = self.slots.get(id).tracked().lane;
        self.requeued += 1;
        self.slots.come_back(id, due);
        self.lanes.is_back(lane);
    }

    /// The time of the next timed event.
    pub(super) fn next_due(&self) -> Option<Nanos> {
        let due = |id| self.slots.get(id).due;
        let expiring = self.slots.out.first().map(due).filter(|&at| at != Nanos::MAX);
        let expiring = expiring.map(|at| at.max(self.retry_at));
        self.slots.delayed.first().map(due).into_iter().chain(expiring).min()
    }

    /// Handles what is due by `now`, until a delivery has to be given up, and returns why: [`Deliveries::give_up_expired`] gives it up.
    pub(super) fn settle_due(&mut self, now: Nanos) -> Option<DiscardReason> {
        while let Some(id) = self.slots.delayed.first().filter(|&id| self.slots.get(id).due <= now) {
            self.slots.end_delay(id);
        }
        while let Some(id) = self.first_expired(now).filter(|_| self.retry_at <= now) {
            if let Some(reason) = self.fate(id) {
                return Some(reason);
            }
            self.come_back(id, 0);
        }
        None
    }

    fn first_expired(&self, now: Nanos) -> Option<SlotId> {
        self.slots.out.first().filter(|&id| self.slots.get(id).due <= now)
    }

    /// Gives up the delivery for which `settle_due` has returned this reason.
    pub(super) fn give_up_expired(&mut self, reason: DiscardReason) -> Option<TrackedItem<T>> {
        let id = self.slots.out.first()?;
        Some(self.give_up(id, reason))
    }

    /// Called instead of `give_up_expired` if there is no memory for it: schedules another attempt, so that the deliveries are not left unacked.
    pub(super) fn try_later(&mut self, now: Nanos) {
        self.retry_at = now.saturating_add(RETRY);
    }

    /// Removes these items, and returns them in the order of their sequence numbers.
    fn remove_all(&mut self, ids: impl Fn(&Slots<T>) -> Vec<SlotId>) -> Vec<TrackedItem<T>> {
        let mut ids = ids(&self.slots);
        ids.sort_unstable_by_key(|&id| self.slots.get(id).sequence);
        ids.into_iter().map(|id| self.slots.remove(id)).collect()
    }

    /// Removes the items that wait to be handed out again, of the lanes for which `is_meant` is true, in order.
    pub(super) fn take_waiting(&mut self, is_meant: impl Fn(Lane) -> bool) -> Vec<TrackedItem<T>> {
        let is_meant = |slots: &Slots<T>, id| is_meant(slots.get(id).tracked().lane);
        if self.unacked() == 0 && self.slots.waiting().all(|id| is_meant(&self.slots, id)) {
            return self.slots.take_all();
        }
        self.remove_all(|slots| slots.waiting().filter(|&id| is_meant(slots, id)).collect())
    }

    /// Removes the unacked deliveries of the lanes for which `is_meant` is true.
    pub(super) fn take_out(&mut self, is_meant: impl Fn(Lane) -> bool) -> Vec<TrackedItem<T>> {
        let is_meant = |slots: &Slots<T>, id| is_meant(slots.get(id).tracked().lane);
        if self.ready() + self.delayed() == 0 && self.slots.out.ids().all(|id| is_meant(&self.slots, id)) {
            return self.slots.take_all();
        }
        self.remove_all(|slots| slots.out.ids().filter(|&id| is_meant(slots, id)).collect())
    }

    /// Records whether the whole channel is being stopped.
    pub(super) fn set_stopping(&mut self, is_stopping: bool) {
        self.is_stopping = is_stopping;
        if is_stopping {
            self.lanes.close();
        } else {
            self.lanes.end();
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    pub(super) fn weight_out(&self) -> u64 {
        self.all_out().map(|slot| slot.tracked().weight).sum()
    }

    pub(super) fn items(&self) -> impl Iterator<Item = &T> {
        self.slots.items()
    }
}
