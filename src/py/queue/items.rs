//! The storage of a Python queue: one of the core's buffers, or storage that is worked on outside the section.
//!
//! It is a struct with a kind, not an enum with a payload: the hot path then reads one byte, and the compiler makes a branch instead of a
//! jump table at each of the four places that read it (docs/decisions, 0001).

use std::collections::{TryReserveError, VecDeque};

use pyo3::prelude::*;
use sluicegate_core::buffer::heap::Heap;
use sluicegate_core::buffer::{Bounds, Buffer, Coalescing, Displaced, End, Fair, Fifo};
use sluicegate_core::clock::Nanos;
use sluicegate_core::keys::KeyHash;
use sluicegate_core::queue::{DropReason, Lost, NEVER, Note};
use sluicegate_core::shed::Codel;

use crate::queue::fair_item::{key_and_rank, key_if_wrapped};
use crate::queue::plain;
pub(in crate::queue) use crate::rt::Item;
use crate::rt::drops::drop_flat;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::queue) enum Order {
    Fifo,
    Stack,
    /// Ordered by fair queueing over the items' keys.
    Fair,
    /// Ordered by the items' own `<`: worked on by the holder of the baton.
    Heap,
    /// One item per key, first in, first out: the holder of the baton merges two items with the same key.
    Keyed,
    /// Stored by a subclass with its own `_put` and other hooks.
    Hooked,
}

#[derive(Debug)]
pub(crate) struct Items {
    order: Order,
    /// The items of FIFO and LIFO queues; empty in the other orders.
    ring: Fifo<Item>,
    /// The heap, unless the holder of the baton has taken it out. During a comparison it is here.
    pub(in crate::queue) heap: Heap<Item>,
    /// True if the heap is here only for a comparison.
    pub(in crate::queue) is_compared: bool,
    /// The items of a `CoalescingQueue`; `None` in the other orders.
    pub(in crate::queue) keyed: Option<Box<Coalescing<Item>>>,
    /// The items of a `FairQueue`; `None` in the other orders.
    pub(in crate::queue) fair: Option<Box<Fair<Item>>>,
    /// How many items the fair queue or the heap holds, or the subclass, or wait with keys. (For the latter: what its `_qsize` said last, give or take the operations since.)
    pub(in crate::queue) size: usize,
    /// Accepted, and not yet in order: for the holder of the baton to merge.
    pub(in crate::queue) inbox: VecDeque<(Item, Option<Note>)>,
    /// The queue keeps notes of its items.
    is_composed: bool,
}

impl Items {
    pub(in crate::queue) fn new(order: Order) -> Self {
        let keyed = (order == Order::Keyed).then(Box::default);
        let fair = (order == Order::Fair).then(Box::default);
        Self {
            order,
            ring: Fifo::default(),
            heap: Heap::default(),
            is_compared: false,
            keyed,
            fair,
            size: 0,
            inbox: VecDeque::new(),
            is_composed: false,
        }
    }

    /// Empty, and as composed as this one.
    fn another(&self) -> Self {
        let mut another = Self::new(self.order);
        if self.is_composed {
            another.leave_the_fast_path();
        }
        another
    }

    pub(in crate::queue) fn order(&self) -> Order {
        self.order
    }

    /// Items come and go only through the holder of the baton.
    #[inline]
    pub(in crate::queue) fn needs_baton(&self) -> bool {
        self.order >= Order::Heap
    }

    /// How much memory it has asked for, in bytes.
    pub(in crate::queue) fn allocated(&self) -> usize {
        let plain = (self.ring.capacity() + self.heap.items.capacity()) * size_of::<Item>()
            + self.inbox.capacity() * size_of::<(Item, Option<Note>)>();
        let keyed = self.keyed.as_ref().map_or(0, |keyed| keyed.allocated());
        plain + keyed + self.fair.as_ref().map_or(0, |fair| fair.allocated())
    }

    /// Every item that is here now (not those that a holder of the baton has taken out): in order, or as the heap lies.
    pub(in crate::queue) fn iter(&self) -> impl Iterator<Item = &Item> {
        let heap = self.heap.items.iter().chain(&self.heap.taken);
        self.ring
            .iter()
            .chain(heap)
            .chain(self.keyed.iter().flat_map(|keyed| keyed.iter()))
            .chain(self.fair.iter().flat_map(|fair| fair.iter()))
            .chain(self.inbox.iter().map(|(item, _)| item))
    }

    /// Puts these in the place of everything that is here, in the same arrangement as `iter` shows them. What was here comes back.
    pub(in crate::queue) fn replace(&mut self, mut items: Vec<Item>) -> Self {
        let mut new = self.another();
        if self.order == Order::Heap {
            new.size = items.len();
            new.heap.items = items;
        } else {
            new.ring = Fifo::from(std::mem::take(&mut items));
        }
        std::mem::replace(self, new)
    }

    /// True unless a thread that does not exist in this child of a fork was in the middle of a comparison.
    pub(in crate::queue) fn is_settled(&self) -> bool {
        !self.is_compared
    }

    /// Adds an item to the heap, if that needs no Python. False: nothing has changed.
    pub(in crate::queue) fn push_plain(&mut self, item: Borrowed<'_, '_, PyAny>) -> bool {
        if !self.is_plain_heap() {
            return false;
        }
        let py = item.py();
        let pushed =
            self.heap.push_if_comparable(item.to_owned().unbind(), |left, right| plain::less(left.bind(py), right.bind(py)));
        self.size = self.heap.items.len();
        pushed.map_err(|item| drop(item.into_bound(py))).is_ok() // the caller holds it too
    }

    /// Takes the next item from the heap, if that needs no Python. `None`: nothing has changed.
    pub(in crate::queue) fn pop_plain(&mut self, py: Python<'_>) -> Option<Item> {
        if !self.is_plain_heap() {
            return None;
        }
        let popped = self.heap.pop_if_comparable(|left, right| plain::less(left.bind(py), right.bind(py)))?;
        self.size = self.heap.items.len();
        Some(popped)
    }

    /// True for a heap in which every item has its place.
    fn is_plain_heap(&self) -> bool {
        self.order == Order::Heap && self.inbox.is_empty() && self.is_settled()
    }

    /// Called before work on the heap begins. If a thread that does not exist in this child of a fork was in the middle of a comparison, all
    /// items are put in order again, including those that it had taken out. Returns how many had been put and not counted.
    pub(in crate::queue) fn recover(&mut self) -> usize {
        if std::mem::take(&mut self.is_compared) { self.begin_again() } else { 0 }
    }

    #[cold]
    fn begin_again(&mut self) -> usize {
        let mut heap = std::mem::take(&mut self.heap);
        let (items, taken) = (std::mem::take(&mut heap.items), std::mem::take(&mut heap.taken));
        let mut notes = heap.notes().to_vec();
        notes.resize(if notes.is_empty() { 0 } else { items.len() }, Note::new(0, 0));
        notes.extend(std::iter::from_fn(|| heap.taken_note()).collect::<Vec<_>>().into_iter().rev());
        let mut notes = notes.into_iter();
        let left = items.len() + taken.len();
        let uncounted = left.saturating_sub(std::mem::take(&mut self.size));
        let inbox = std::mem::take(&mut self.inbox);
        self.inbox = items.into_iter().chain(taken).map(|item| (item, notes.next())).chain(inbox).collect();
        uncounted
    }

    /// The holder of the baton has put or taken items with keys.
    pub(in crate::queue) fn count_keyed(&mut self) {
        if let Some(keyed) = &self.keyed {
            self.size = keyed.len();
        }
    }

    /// Moves everything out, to be dropped outside the section.
    pub(in crate::queue) fn take_all(&mut self) -> Self {
        let mut all = self.another();
        if let Some(fair) = &mut self.fair {
            // What it has been told about keys stays.
            all.fair = Some(Box::new(fair.take_all()));
            self.size = 0;
            return all;
        }
        std::mem::swap(self, &mut all);
        all
    }
}

/// What has no place in the ring.
impl Items {
    #[inline(never)]
    fn push_general(&mut self, item: Item) {
        if self.fair.is_some() {
            assert!(self.push_keyed(item).is_ok(), "no memory for an item that is put by hand");
        } else {
            self.inbox.push_back((item, None));
        }
    }

    /// Takes an item out of which `is_it` says yes. None in the other orders.
    pub(in crate::queue) fn remove_fair(&mut self, is_it: impl FnMut(&Item) -> bool) -> Option<Item> {
        let item = self.fair.as_mut()?.remove(is_it)?;
        self.size -= 1;
        Some(item)
    }

    #[inline(never)]
    fn pop_fair(&mut self) -> Option<Item> {
        let item = self.fair.as_mut()?.pop()?;
        self.size -= 1;
        Some(item)
    }
}

/// The items may hold queues, and so on.
impl Drop for Items {
    fn drop(&mut self) {
        let keyed = self.keyed.take_if(|keyed| !keyed.is_empty());
        let fair = self.fair.take_if(|fair| !fair.is_empty());
        if self.ring.len() + self.heap.items.len() + self.heap.taken.len() + self.inbox.len() > 0
            || keyed.is_some()
            || fair.is_some()
        {
            drop_flat((
                std::mem::take(&mut self.ring),
                std::mem::take(&mut self.heap),
                std::mem::take(&mut self.inbox),
                keyed,
                fair,
            ));
        }
    }
}

impl Buffer for Items {
    type Item = Item;

    #[inline]
    fn len(&self) -> usize {
        if self.order >= Order::Fair { self.size + self.inbox.len() } else { self.ring.len() }
    }

    /// Where the order needs the baton, for the inbox. The holder reserves memory for what it puts in order.
    #[inline]
    fn try_reserve(&mut self, more: usize) -> Result<(), TryReserveError> {
        if self.needs_baton() { self.inbox.try_reserve(more) } else { self.ring.try_reserve(more) }
    }

    #[inline]
    fn push(&mut self, item: Item) {
        if self.order >= Order::Fair {
            self.push_general(item);
        } else {
            self.ring.push(item);
        }
    }

    #[inline]
    fn pop(&mut self) -> Option<Item> {
        match self.order {
            Order::Fifo => self.ring.pop(),
            Order::Stack => self.ring.pop_last(),
            Order::Fair => self.pop_fair(),
            Order::Heap | Order::Keyed | Order::Hooked => None,
        }
    }

    /// None, where the order needs the baton: the ring stays empty there.
    #[inline]
    fn pop_oldest(&mut self) -> Option<Item> {
        self.ring.pop()
    }

    #[inline]
    fn pop_oldest_in_place(&mut self) -> Option<Item> {
        self.ring.pop_oldest_in_place()
    }

    #[inline]
    fn pop_newest(&mut self) -> Option<Item> {
        self.ring.pop_last()
    }

    #[inline]
    fn is_stack(&self) -> bool {
        self.order == Order::Stack
    }

    fn keep_where(&mut self, keep: &mut dyn FnMut(Item) -> Option<Item>) {
        self.ring.keep_where(keep);
    }

    fn keeps_notes(&self) -> bool {
        self.order >= Order::Fair
    }

    fn push_noted(&mut self, item: Item, note: Note) {
        if self.is_keyed() {
            assert!(self.push_keyed_noted(item, note).is_ok(), "no memory for an item that is put by hand");
        } else if self.needs_baton() {
            self.inbox.push_back((item, Some(note)));
        } else {
            self.ring.push(item);
        }
    }

    fn notes(&self) -> impl Iterator<Item = &Note> {
        self.heap.notes().iter().chain(self.inbox.iter().filter_map(|(_, note)| note.as_ref()))
    }

    fn set_notes(&mut self, notes: Vec<Note>) {
        if !notes.is_empty() {
            self.heap.set_notes(notes, Note::new(0, 0));
        }
    }

    fn leave_the_fast_path(&mut self) {
        self.is_composed = true;
        self.ring.leave_the_fast_path();
    }

    /// None, where the order needs the baton: the ring stays empty there.
    #[inline]
    fn has_slot(&self) -> bool {
        self.ring.has_slot()
    }

    #[inline]
    fn len_in_place(&self) -> usize {
        self.ring.len()
    }

    #[expect(clippy::inline_always, reason = "a part of every put")]
    #[inline(always)]
    fn push_in_place(&mut self, item: Item) {
        self.ring.push(item);
    }

    #[inline]
    fn pop_in_place(&mut self) -> Option<Item> {
        if self.order == Order::Stack { self.ring.pop_last_in_place() } else { self.ring.pop_in_place() }
    }

    fn peek(&self) -> Option<&Item> {
        match self.order {
            Order::Fifo => self.ring.peek(),
            Order::Stack => self.ring.last(),
            Order::Fair => self.fair.as_ref().and_then(|fair| fair.peek()),
            Order::Heap => self.heap.items.first(),
            Order::Keyed => self.keyed.as_ref().and_then(|keyed| keyed.iter().next()),
            Order::Hooked => None,
        }
    }

    fn push_many(&mut self, items: &mut std::vec::IntoIter<Item>, count: usize) {
        if self.order >= Order::Fair {
            items.take(count).for_each(|item| self.push_general(item));
        } else {
            self.ring.push_many(items, count);
        }
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Item>, TryReserveError> {
        match self.order {
            Order::Fifo => self.ring.pop_many(count),
            Order::Stack => {
                let mut popped = Vec::new();
                popped.try_reserve_exact(count.min(self.ring.len()))?;
                popped.extend(std::iter::from_fn(|| self.ring.pop_last()).take(count));
                Ok(popped)
            }
            Order::Fair => {
                let mut popped = Vec::new();
                popped.try_reserve_exact(count.min(self.size))?;
                popped.extend(std::iter::from_fn(|| self.pop_fair()).take(count));
                Ok(popped)
            }
            Order::Heap | Order::Keyed | Order::Hooked => Ok(Vec::new()),
        }
    }

    #[inline]
    fn is_keyed(&self) -> bool {
        self.order == Order::Fair
    }

    fn key_of(&self, item: &Item) -> KeyHash {
        key_and_rank(item).0
    }

    fn key_of_taken(&self, item: &Item) -> Option<KeyHash> {
        key_if_wrapped(item)
    }

    fn pop_keyed(&mut self) -> Option<(Item, KeyHash)> {
        let popped = self.fair.as_mut()?.pop_keyed()?;
        self.size -= 1;
        Some(popped)
    }

    #[inline]
    fn push_with_key(&mut self, key: KeyHash, limit: usize, item: impl FnOnce() -> Item) -> bool {
        let goes = self.fair.as_mut().is_some_and(|fair| fair.push_if_room(key, limit, item));
        self.size += usize::from(goes);
        goes
    }

    fn room_of(&self, key: KeyHash, limit: usize, here: usize, all: usize) -> usize {
        self.fair.as_ref().map_or(0, |fair| fair.room_of(key, limit, here, all))
    }

    fn reserved_for(&self, key: KeyHash) -> usize {
        self.fair.as_ref().map_or(0, |fair| fair.reserved_for(key))
    }

    fn weight_of(&self, key: KeyHash) -> f64 {
        self.fair.as_ref().map_or(1.0, |fair| fair.weight_of(key))
    }

    fn end_to_sample(&self) -> End {
        self.fair.as_ref().map_or(End::First, |fair| fair.end_to_sample())
    }

    fn displace(&mut self, arriving: Item, end: End) -> Displaced<Item> {
        let (key, rank) = key_and_rank(&arriving);
        match &mut self.fair {
            Some(fair) => fair.displace(key, rank, arriving, end),
            None => Displaced::New(arriving),
        }
    }

    fn try_reserve_keyed(&mut self, item: &Item, note: Option<&Note>) -> Result<(), TryReserveError> {
        let (key, rank) = key_and_rank(item);
        self.fair.as_mut().map_or(Ok(()), |fair| match note {
            Some(note) => fair.try_reserve_noted(key, rank, note),
            None => fair.try_reserve(key, rank),
        })
    }

    fn push_keyed(&mut self, item: Item) -> Result<(), Item> {
        let (key, rank) = key_and_rank(&item);
        match &mut self.fair {
            Some(fair) => fair.push(key, rank, item)?,
            None => return Err(item),
        }
        self.size += 1;
        Ok(())
    }

    fn keep_keyed_notes(&mut self, note: Note, shed: Option<Codel>, is_weighed: bool) -> Result<(), TryReserveError> {
        self.fair.as_mut().map_or(Ok(()), |fair| fair.keep_notes(note, shed, is_weighed))
    }

    fn push_keyed_noted(&mut self, item: Item, note: Note) -> Result<(), Item> {
        let (key, rank) = key_and_rank(&item);
        match &mut self.fair {
            Some(fair) => fair.push_noted(key, rank, item, note)?,
            None => return Err(item),
        }
        self.size += 1;
        Ok(())
    }

    fn pop_keyed_noted(&mut self, now: Nanos, lost: &mut Lost<Item>) -> Option<(Item, Note)> {
        let fair = self.fair.as_mut()?;
        let taken = fair.pop_noted(now, lost);
        self.size = fair.len();
        taken
    }

    fn next_weight_keyed(&mut self, now: Nanos, lost: &mut Lost<Item>) -> Option<u64> {
        let fair = self.fair.as_mut()?;
        let weight = fair.next_weight(now, lost);
        self.size = fair.len();
        weight
    }

    fn expire_keyed(&mut self, now: Nanos, lost: &mut Lost<Item>) {
        if let Some(fair) = &mut self.fair {
            fair.expire(now, lost);
            self.size = fair.len();
        }
    }

    fn next_end(&self) -> Nanos {
        self.fair.as_ref().map_or(NEVER, |fair| fair.next_end())
    }

    fn displace_noted(
        &mut self,
        item: &Item,
        note: &Note,
        end: (End, DropReason),
        bounds: Bounds,
        lost: &mut Lost<Item>,
    ) -> Displaced<()> {
        let Some(fair) = &mut self.fair else { return Displaced::New(()) };
        let displaced = fair.displace_noted(key_and_rank(item), note, end, bounds, lost);
        self.size = fair.len();
        displaced
    }

    fn weighed(&self) -> u64 {
        self.fair.as_ref().map_or(0, |fair| fair.weighed())
    }

    fn oldest_arrival(&self) -> Option<Nanos> {
        match &self.fair {
            Some(fair) => fair.oldest_arrival(),
            None => self.notes().map(|note| note.arrived).min(),
        }
    }
}
