//! `Slots`: the memory of the deliveries of a channel. It is reserved when an item is handed out for the first time, and never later.
//!
//! An item that has been handed out keeps one slot until it is settled. It is in one of three heaps, and an operation moves it from one to
//! another, which needs no memory: each heap has room for the items of all slots. So what has to succeed (a `nack`, an `extend`, the end of a
//! lease, a delivery that its holder drops) cannot fail for want of memory.
//!
//! | heap      | its items                       | the first of them              |
//! |-----------|---------------------------------|--------------------------------|
//! | `out`     | with a receiver                 | expires first                  |
//! | `ready`   | to be handed out again          | has the smallest sequence number |
//! | `delayed` | the same, after a delay         | the first whose delay is over; of equal ones the smallest sequence number |
//!
//! Each heap is a binary heap of slot numbers, and each slot knows its place in its heap, so that any item can be removed. An operation
//! costs the logarithm of the number of items. If deliveries never expire, all items in `out` are equal, and it costs constant time.
//!
//! Memory is given back when three quarters of the slots are free: the memory behind the last slot in use. Slots do not move, because
//! receipts contain their numbers.
//!
//! What it does not do: it knows no rules and no lanes. [`Deliveries`](super::deliveries::Deliveries) does.

use std::collections::TryReserveError;

use super::lanes::Lane;
use crate::clock::Nanos;
use crate::room::shrink_vec;

/// Below this number of slots no memory is given back.
const KEEP: usize = 1024;

/// The number of a slot.
pub(super) type SlotId = u32;

/// The number that means no slot.
const NONE: SlotId = SlotId::MAX;

/// An item of a channel with deliveries, and what the channel records about it.
#[derive(Debug)]
pub(super) struct TrackedItem<T> {
    pub(super) item: T,
    pub(super) weight: u64,
    /// The number of delivery attempts so far.
    pub(super) attempts: u32,
    pub(super) lane: Lane,
    /// Its number in its lane.
    pub(super) place: u64,
}

#[derive(Debug)]
pub(super) struct Slot<T> {
    /// `None` if the slot is free.
    tracked: Option<TrackedItem<T>>,
    pub(super) sequence: u64,
    /// The number of the hand-out, from 1; 0 if the item is not with a receiver.
    pub(super) number: u64,
    pub(super) owner: u64,
    /// When its delivery expires, or its delay is over; 0 if it is ready.
    pub(super) due: Nanos,
    /// The place in its heap; for a free slot, the next free slot.
    at: u32,
}

impl<T> Slot<T> {
    pub(super) fn tracked(&self) -> &TrackedItem<T> {
        self.tracked.as_ref().expect("a slot in a heap has an item")
    }

    pub(super) fn tracked_mut(&mut self) -> &mut TrackedItem<T> {
        self.tracked.as_mut().expect("a slot in a heap has an item")
    }

    #[inline]
    fn key(&self) -> (Nanos, u64) {
        (self.due, if self.number == 0 { self.sequence } else { 0 })
    }
}

/// Slots by [`Slot::key`], the smallest first.
#[derive(Debug, Default)]
pub(super) struct Heap(Vec<SlotId>);

impl Heap {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn first(&self) -> Option<SlotId> {
        self.0.first().copied()
    }

    /// All slots in the heap, in no particular order.
    pub(super) fn ids(&self) -> impl Iterator<Item = SlotId> {
        self.0.iter().copied()
    }

    fn reserve(&mut self, room: usize) -> Result<(), TryReserveError> {
        self.0.try_reserve_exact(room - self.0.len())
    }

    #[inline]
    fn place<T>(&mut self, slots: &mut [Slot<T>], at: usize, id: SlotId) {
        self.0[at] = id;
        #[expect(clippy::cast_possible_truncation, reason = "there are fewer than `NONE` slots")]
        let place = at as u32;
        slots[id as usize].at = place;
    }

    fn push<T>(&mut self, slots: &mut [Slot<T>], id: SlotId) {
        debug_assert!(self.0.len() < self.0.capacity(), "room was reserved with the slot");
        self.0.push(id);
        self.rise(slots, self.0.len() - 1, id);
    }

    fn remove<T>(&mut self, slots: &mut [Slot<T>], id: SlotId) {
        let at = slots[id as usize].at as usize;
        debug_assert_eq!(self.0[at], id, "the slot is in this heap");
        let Some(last) = self.0.pop().filter(|&last| last != id) else { return };
        if slots[last as usize].key() < slots[id as usize].key() {
            self.rise(slots, at, last);
        } else {
            self.sink(slots, at, last);
        }
    }

    /// Puts `id` where `at` is empty, or nearer to the head.
    fn rise<T>(&mut self, slots: &mut [Slot<T>], mut at: usize, id: SlotId) {
        let key = slots[id as usize].key();
        while at > 0 {
            let above = self.0[(at - 1) / 2];
            if slots[above as usize].key() <= key {
                break;
            }
            self.place(slots, at, above);
            at = (at - 1) / 2;
        }
        self.place(slots, at, id);
    }

    /// Puts `id` where `at` is empty, or farther from the head.
    fn sink<T>(&mut self, slots: &mut [Slot<T>], mut at: usize, id: SlotId) {
        let key = slots[id as usize].key();
        while let Some(&left) = self.0.get(2 * at + 1) {
            let (mut below, mut child) = (left, 2 * at + 1);
            if let Some(&right) = self.0.get(child + 1) {
                if slots[right as usize].key() < slots[left as usize].key() {
                    (below, child) = (right, child + 1);
                }
            }
            if slots[below as usize].key() >= key {
                break;
            }
            self.place(slots, at, below);
            at = child;
        }
        self.place(slots, at, id);
    }
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Slots<T> {
    all: Vec<Slot<T>>,
    pub(super) out: Heap,
    pub(super) ready: Heap,
    pub(super) delayed: Heap,
    free: SlotId,
    /// The number of slots for which there is memory, here and in each heap.
    room: usize,
    /// The number of items at which memory may be given back.
    few: usize,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        let (out, ready, delayed) = Default::default();
        Self { all: Vec::new(), out, ready, delayed, free: NONE, room: 0, few: 0 }
    }

    /// The number of items.
    pub(super) fn len(&self) -> usize {
        self.out.len() + self.ready.len() + self.delayed.len()
    }

    /// Reserves memory for one more item.
    ///
    /// # Errors
    /// There is no memory; nothing has changed.
    #[inline]
    pub(super) fn try_reserve(&mut self) -> Result<(), TryReserveError> {
        if self.free != NONE || self.all.len() < self.room { Ok(()) } else { self.grow() }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) -> Result<(), TryReserveError> {
        let room = (2 * self.room).clamp(4, NONE as usize);
        if room == self.room {
            return Vec::<u8>::new().try_reserve(usize::MAX); // there are no more slot numbers
        }
        for heap in [&mut self.out, &mut self.ready, &mut self.delayed] {
            heap.reserve(room)?;
        }
        self.all.try_reserve_exact(room - self.all.len())?;
        self.room = room;
        self.few = if room > KEEP { room / 4 } else { 0 };
        Ok(())
    }

    /// The slot of a receipt, if the delivery is still with its receiver.
    #[inline]
    pub(super) fn holder(&mut self, id: SlotId, number: u64) -> Option<&mut Slot<T>> {
        self.all.get_mut(id as usize).filter(|slot| slot.number == number)
    }

    pub(super) fn get(&self, id: SlotId) -> &Slot<T> {
        &self.all[id as usize]
    }

    pub(super) fn get_mut(&mut self, id: SlotId) -> &mut Slot<T> {
        &mut self.all[id as usize]
    }

    /// The items that are ready or delayed, in no particular order.
    pub(super) fn waiting(&self) -> impl Iterator<Item = SlotId> {
        self.ready.ids().chain(self.delayed.ids())
    }

    /// All items.
    pub(super) fn items(&self) -> impl Iterator<Item = &T> {
        self.all.iter().filter_map(|slot| slot.tracked.as_ref()).map(|tracked| &tracked.item)
    }

    /// Adds an item that is handed to a receiver. Memory must have been reserved.
    pub(super) fn insert_out(&mut self, sequence: u64, tracked: TrackedItem<T>, number: u64, owner: u64, due: Nanos) -> SlotId {
        let slot = Slot { tracked: Some(tracked), sequence, number, owner, due, at: NONE };
        let id = if self.free == NONE {
            debug_assert!(self.all.len() < self.room, "room was reserved");
            self.all.push(slot);
            SlotId::try_from(self.all.len() - 1).expect("there are fewer than `NONE` slots")
        } else {
            let id = self.free;
            self.free = std::mem::replace(&mut self.all[id as usize], slot).at;
            id
        };
        self.out.push(&mut self.all, id);
        id
    }

    /// Hands out the first ready item.
    pub(super) fn take_ready(&mut self, number: u64, owner: u64, due: Nanos) -> Option<SlotId> {
        let id = self.ready.first()?;
        self.ready.remove(&mut self.all, id);
        let slot = &mut self.all[id as usize];
        (slot.number, slot.owner, slot.due) = (number, owner, due);
        self.out.push(&mut self.all, id);
        Some(id)
    }

    /// Requeues an item that is out, after a delay if `due` is greater than 0.
    pub(super) fn come_back(&mut self, id: SlotId, due: Nanos) {
        self.out.remove(&mut self.all, id);
        let slot = &mut self.all[id as usize];
        (slot.number, slot.due) = (0, due);
        let heap = if due == 0 { &mut self.ready } else { &mut self.delayed };
        heap.push(&mut self.all, id);
    }

    /// Makes a delayed item ready.
    pub(super) fn end_delay(&mut self, id: SlotId) {
        self.delayed.remove(&mut self.all, id);
        self.all[id as usize].due = 0;
        self.ready.push(&mut self.all, id);
    }

    /// Changes the expiry of an item that is out.
    pub(super) fn set_expiry(&mut self, id: SlotId, due: Nanos) {
        self.out.remove(&mut self.all, id);
        self.all[id as usize].due = due;
        self.out.push(&mut self.all, id);
    }

    /// Removes an item, whatever heap it is in.
    pub(super) fn remove(&mut self, id: SlotId) -> TrackedItem<T> {
        let slot = &self.all[id as usize];
        let heap = match (slot.number, slot.due) {
            (0, 0) => &mut self.ready,
            (0, _) => &mut self.delayed,
            _ => &mut self.out,
        };
        heap.remove(&mut self.all, id);
        let slot = &mut self.all[id as usize];
        let tracked = slot.tracked.take().expect("a slot in a heap has an item");
        (slot.number, slot.at) = (0, self.free);
        self.free = id;
        if self.len() < self.few {
            self.shrink();
        }
        tracked
    }

    /// Takes all items, in the order of their sequence numbers, in the memory of the slots: so it needs none.
    pub(super) fn take_all(&mut self) -> Vec<TrackedItem<T>> {
        let mut all = std::mem::replace(self, Self::new()).all;
        all.sort_unstable_by_key(|slot| slot.sequence);
        all.into_iter().filter_map(|slot| slot.tracked).collect()
    }

    /// Gives back the memory behind the last slot that is used, if that is half of it or more. After that the number of items has to halve before
    /// this is tried again.
    #[cold]
    #[inline(never)]
    fn shrink(&mut self) {
        self.few = if self.len() == 0 { 0 } else { (self.len() / 2).max(1) };
        let used = self.all.iter().rposition(|slot| slot.tracked.is_some()).map_or(0, |last| last + 1);
        let room = (2 * used).max(KEEP / 4);
        if room > self.room / 2 {
            return;
        }
        self.all.truncate(used);
        self.free = NONE;
        // The lowest ones are used first, so that those behind them become free.
        for id in (0..used).rev() {
            if self.all[id].tracked.is_none() {
                self.all[id].at = self.free;
                self.free = SlotId::try_from(id).expect("there are fewer than `NONE` slots");
            }
        }
        // Whatever keeps more memory than it needs has enough.
        self.room = room;
        shrink_vec(&mut self.all, room);
        for heap in [&mut self.out, &mut self.ready, &mut self.delayed] {
            shrink_vec(&mut heap.0, room);
        }
    }
}
