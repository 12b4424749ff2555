//! `Buffer`: the items of a channel that have been sent and not received, in order: single items, and bales of items.
//!
//! A bale is a number of items that do not exist yet: the receiver creates them from the bale's data, outside the section. A bale enters and
//! leaves the buffer in one step, cut to the items for which there is credit, or to the number requested. It counts and weighs the same as its
//! items.
//!
//! Items and bales are in separate rings, so that a channel without bales only pays for a check whether there are any.

use std::collections::{TryReserveError, VecDeque};

use crate::buffer::{Buffer as _, Fifo};

/// A number of items that are created when they are received. It is plain memory: dropping it runs no foreign code.
pub trait Bale: Sized {
    /// The number of items it holds.
    fn count(&self) -> usize;
    /// True if each item weighs one.
    fn weighs_one_each(&self) -> bool;
    /// The weight of one item.
    fn weight(&self, index: usize) -> u64;
    /// Splits off the first `count` items; `count` is at most [`Bale::count`].
    #[must_use]
    fn take(&mut self, count: usize) -> Self;
    /// Appends `next` if it directly follows this bale; otherwise gives it back.
    fn join(&mut self, next: Self) -> Result<(), Self>;

    /// The weight of the first `count` items together.
    fn weight_of(&self, count: usize) -> u64 {
        if self.weighs_one_each() { count as u64 } else { (0..count).map(|index| self.weight(index)).sum() }
    }
}

/// The bale type of a channel without bales.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoBale {}

impl Bale for NoBale {
    fn count(&self) -> usize {
        match *self {}
    }

    fn weighs_one_each(&self) -> bool {
        match *self {}
    }

    fn weight(&self, _index: usize) -> u64 {
        match *self {}
    }

    fn take(&mut self, _count: usize) -> Self {
        match *self {}
    }

    fn join(&mut self, next: Self) -> Result<(), Self> {
        match next {}
    }
}

/// A received item or bale. If a single item was requested, the bale contains one item.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<T, B> {
    Item(T),
    Bale(B),
}

impl<T> Received<T, NoBale> {
    pub fn into_item(self) -> T {
        match self {
            Self::Item(item) => item,
            Self::Bale(bale) => match bale {},
        }
    }
}

/// Items and bales that have been received or discarded together.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch<T, B> {
    pub items: Vec<T>,
    /// Each bale, with the index of the item that comes after it.
    pub bales: Vec<(usize, B)>,
}

impl<T, B> Default for Batch<T, B> {
    fn default() -> Self {
        Self { items: Vec::new(), bales: Vec::new() }
    }
}

impl<T, B: Bale> Batch<T, B> {
    pub fn count(&self) -> usize {
        self.items.len() + self.bales.iter().map(|(_, bale)| bale.count()).sum::<usize>()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.bales.is_empty()
    }

    /// Each item, in order.
    pub fn into_items(self) -> impl Iterator<Item = Received<T, B>> {
        self.into_parts().flat_map(|received| {
            let (item, mut bale) = match received {
                Received::Item(item) => (Some(Received::Item(item)), None),
                Received::Bale(bale) => (None, Some(bale)),
            };
            let next = move || bale.as_mut().filter(|bale| bale.count() > 0).map(|bale| Received::Bale(bale.take(1)));
            item.into_iter().chain(std::iter::from_fn(next))
        })
    }

    /// The items and the bales, in order.
    pub fn into_parts(self) -> impl Iterator<Item = Received<T, B>> {
        let Self { items, bales } = self;
        let (mut items, mut bales) = (items.into_iter().enumerate().peekable(), bales.into_iter().peekable());
        std::iter::from_fn(move || {
            let before = items.peek().map_or(usize::MAX, |(index, _)| *index);
            match bales.next_if(|(place, _)| *place <= before) {
                Some((_, bale)) => Some(Received::Bale(bale)),
                None => items.next().map(|(_, item)| Received::Item(item)),
            }
        })
    }
}

impl<T, B> FromIterator<Received<T, B>> for Batch<T, B> {
    fn from_iter<I: IntoIterator<Item = Received<T, B>>>(parts: I) -> Self {
        let mut batch = Self::default();
        for received in parts {
            match received {
                Received::Item(item) => batch.items.push(item),
                Received::Bale(bale) => batch.bales.push((batch.items.len(), bale)),
            }
        }
        batch
    }
}

#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) item: T,
    pub(super) weight: u64,
}

/// A bale, and the number of single items between the previous bale (or the head) and it.
#[derive(Debug)]
struct Placed<B> {
    before: usize,
    bale: B,
}

#[derive(Debug)]
pub(super) struct Buffer<T, B> {
    entries: Fifo<Entry<T>>,
    bales: VecDeque<Placed<B>>,
    /// The number of items in all bales.
    baled: usize,
    /// The number of single items before the last bale: the sum of all `before`.
    placed: usize,
}

impl<T, B> Default for Buffer<T, B> {
    fn default() -> Self {
        Self { entries: Fifo::default(), bales: VecDeque::new(), baled: 0, placed: 0 }
    }
}

impl<T, B: Bale> Buffer<T, B> {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.entries.len() + self.baled
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True if a single item can be added without an allocation.
    #[inline]
    pub(super) fn has_slot(&self) -> bool {
        self.entries.has_slot()
    }

    /// Reserves memory for this many more single items. False if there is none; nothing has changed then.
    pub(super) fn reserve(&mut self, more: usize) -> bool {
        self.entries.try_reserve(more).is_ok()
    }

    #[inline]
    pub(super) fn push(&mut self, item: T, weight: u64) {
        self.entries.push(Entry { item, weight });
    }

    pub(super) fn extend(&mut self, entries: impl IntoIterator<Item = Entry<T>>) {
        self.entries.extend(entries);
    }

    pub(super) fn push_bale(&mut self, bale: B) {
        let count = bale.count();
        if count == 0 {
            return;
        }
        self.baled += count;
        let before = self.entries.len() - self.placed;
        let bale = match self.bales.back_mut() {
            Some(last) if before == 0 => match last.bale.join(bale) {
                Ok(()) => return,
                Err(bale) => bale,
            },
            _ => bale,
        };
        self.placed += before;
        self.bales.push_back(Placed { before, bale });
    }

    /// The next item, unless that is of a bale.
    #[inline]
    pub(super) fn peek(&self) -> Option<&T> {
        debug_assert!(self.bales.is_empty(), "items that are settled are not in bales");
        self.entries.peek().map(|entry| &entry.item)
    }

    /// Takes the next item; also returns its weight.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<(Received<T, B>, u64)> {
        if !self.bales.is_empty() {
            return self.pop_beside_bales();
        }
        let Entry { item, weight } = self.entries.pop()?;
        Some((Received::Item(item), weight))
    }

    #[cold]
    #[inline(never)]
    fn pop_beside_bales(&mut self) -> Option<(Received<T, B>, u64)> {
        if let Some((bale, weight)) = self.pop_bale(1) {
            return Some((Received::Bale(bale), weight));
        }
        let Entry { item, weight } = self.entries.pop()?;
        self.passed(1);
        Some((Received::Item(item), weight))
    }

    /// Records that `count` single items before the first bale have been taken.
    fn passed(&mut self, count: usize) {
        if let Some(first) = self.bales.front_mut() {
            first.before -= count;
            self.placed -= count;
        }
    }

    /// Takes at most `count` items from the bale at the head, if there is one.
    fn pop_bale(&mut self, count: usize) -> Option<(B, u64)> {
        let first = self.bales.front_mut().filter(|first| first.before == 0)?;
        let count = count.min(first.bale.count());
        let weight = first.bale.weight_of(count);
        let taken = if count == first.bale.count() { self.bales.pop_front()?.bale } else { first.bale.take(count) };
        self.baled -= count;
        Some((taken, weight))
    }

    /// Takes at most `max` items; also returns their total weight.
    ///
    /// # Errors
    /// There is not enough memory for the batch. Nothing has changed then.
    pub(super) fn pop_batch(&mut self, max: usize) -> Result<(Batch<T, B>, u64), TryReserveError> {
        let mut batch = Batch::default();
        batch.items.try_reserve_exact(max.min(self.entries.len()))?;
        batch.bales.try_reserve_exact(max.min(self.bales.len()))?;
        let weight = self.pop_into(&mut batch, max);
        Ok((batch, weight))
    }

    /// Takes everything. If there was nothing in the batch, its list has the memory of the buffer.
    pub(super) fn pop_all(&mut self, batch: &mut Batch<T, B>) {
        if self.bales.is_empty() && batch.is_empty() {
            batch.items = self.entries.take_all().into_iter().map(|entry| entry.item).collect();
        } else {
            self.pop_into(batch, usize::MAX);
        }
    }

    /// The same for a batch that is there: how much they weigh.
    pub(super) fn pop_into(&mut self, batch: &mut Batch<T, B>, max: usize) -> u64 {
        let (mut weight, mut left) = (0, max);
        while left > 0 && !self.is_empty() {
            if let Some((bale, weighs)) = self.pop_bale(left) {
                (left, weight) = (left - bale.count(), weight + weighs);
                batch.bales.push((batch.items.len(), bale));
                continue;
            }
            let count = left.min(self.bales.front().map_or(usize::MAX, |first| first.before));
            let before = batch.items.len();
            self.entries.pop_into(&mut batch.items, count, |entry| {
                weight += entry.weight;
                entry.item
            });
            let popped = batch.items.len() - before;
            left -= popped;
            self.passed(popped);
        }
        weight
    }

    /// Removes the single items for which `is_meant` is true, in order. Not for a buffer with bales.
    pub(super) fn take_where(&mut self, is_meant: impl Fn(&T) -> bool) -> Vec<Entry<T>> {
        debug_assert!(self.bales.is_empty(), "items that are settled are not in bales");
        let all = self.entries.take_all();
        let (taken, left) = all.into_iter().partition(|entry| is_meant(&entry.item));
        let left: Vec<_> = left;
        self.entries.extend(left);
        taken
    }

    /// The single items, in order.
    pub(super) fn items(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|entry| &entry.item)
    }
}
