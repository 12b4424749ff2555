//! The orders in which a queue returns its items.
//!
//! A [`Buffer`] is plain data inside a queue's section: it never blocks, never runs foreign code, and drops its items only when it is
//! dropped itself. Memory for an item is reserved before the item is accepted, and a lack of memory is reported then. Orders that need
//! foreign code (a heap of items with their own `<`) keep their storage here, but are worked on outside the section, see
//! [`Baton`](crate::queue::Baton).

mod coalescing;
mod fair;
mod fair_noted;
mod fifo;
pub mod heap;
mod held;
mod notes;
mod shares;
mod slots;
mod sorted;
mod turns;

use std::collections::TryReserveError;

pub use coalescing::Coalescing;
pub use fair::{Displaced, End, Fair, Rule};
pub use fair_noted::Bounds;
pub use fifo::Fifo;

use crate::clock::Nanos;
use crate::keys::KeyHash;
use crate::queue::{DropReason, Lost, Note};
use crate::shed::Codel;

/// The storage of a queue's items.
pub trait Buffer {
    type Item;

    fn len(&self) -> usize;

    /// Reserves memory for `more` items.
    ///
    /// # Errors
    /// There is no memory; nothing has changed.
    fn try_reserve(&mut self, more: usize) -> Result<(), TryReserveError>;

    /// Call it only after `try_reserve`, or in place of an item that has been popped.
    fn push(&mut self, item: Self::Item);
    fn pop(&mut self) -> Option<Self::Item>;

    /// True if the next push needs no memory, so that [`Buffer::push_in_place`] may be called.
    #[inline]
    fn has_slot(&self) -> bool {
        false
    }

    /// As `len`, in a few instructions. Call it only after `has_slot` has returned true.
    #[inline]
    fn len_in_place(&self) -> usize {
        self.len()
    }

    /// As `push`, in a few instructions. Call it only after `has_slot` has returned true.
    #[inline]
    fn push_in_place(&mut self, item: Self::Item) {
        self.push(item);
    }

    /// As `pop`, if a few instructions are enough. `None` does not mean that the buffer is empty.
    #[inline]
    fn pop_in_place(&mut self) -> Option<Self::Item> {
        None
    }

    /// Pops the item that was pushed first, whatever the order. `None` if the buffer cannot tell, or is empty.
    fn pop_oldest(&mut self) -> Option<Self::Item> {
        None
    }

    /// As `pop_oldest`, if a few instructions are enough. `None` does not mean that the buffer is empty.
    #[inline]
    fn pop_oldest_in_place(&mut self) -> Option<Self::Item> {
        self.pop_oldest()
    }

    /// Pops the item that was pushed last. `None` if the buffer cannot tell, or is empty.
    fn pop_newest(&mut self) -> Option<Self::Item> {
        None
    }

    /// True if `pop` returns the item that was pushed last.
    fn is_stack(&self) -> bool {
        false
    }

    /// Offers each item, in the order in which they were pushed, to `keep`, which returns the item if it is to stay. Does nothing if the
    /// buffer does not know their order.
    fn keep_where(&mut self, keep: &mut dyn FnMut(Self::Item) -> Option<Self::Item>) {
        let _ = keep;
    }

    /// True if the buffer stores the notes of the items (see `push_noted`). Otherwise the queue stores them.
    fn keeps_notes(&self) -> bool {
        false
    }

    /// The notes, if the buffer stores them, in any order.
    fn notes(&self) -> impl Iterator<Item = &Note> {
        std::iter::empty()
    }

    /// Sets the notes, in the arrangement of the items, if the buffer stores them.
    fn set_notes(&mut self, notes: Vec<Note>) {
        let _ = notes;
    }

    /// As `push`, for an item with a note.
    #[inline]
    fn push_noted(&mut self, item: Self::Item, note: Note) {
        let _ = note;
        self.push(item);
    }

    /// Makes `pop_in_place` return `None` from now on, because each item has a note that has to be considered.
    fn leave_the_fast_path(&mut self) {}

    /// The item that `pop` would return.
    fn peek(&self) -> Option<&Self::Item>;
    /// Pushes the first `count` of `items`. Call it only after `try_reserve`.
    fn push_many(&mut self, items: &mut std::vec::IntoIter<Self::Item>, count: usize) {
        for item in items.take(count) {
            self.push(item);
        }
    }

    /// Pops `count` items, or all if there are fewer.
    ///
    /// # Errors
    /// There is no memory for so many items; nothing has changed.
    fn pop_many(&mut self, count: usize) -> Result<Vec<Self::Item>, TryReserveError> {
        let mut popped = Vec::new();
        popped.try_reserve_exact(count.min(self.len()))?;
        while popped.len() < count {
            match self.pop() {
                Some(item) => popped.push(item),
                None => break,
            }
        }
        Ok(popped)
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True if items have keys, and each key has its own room. Then the operations on a queue call the methods below, which only [`Fair`]
    /// implements, and a caller that waits for room joins the wait queue of a key.
    #[inline]
    fn is_keyed(&self) -> bool {
        false
    }

    /// The key of an item that comes in.
    fn key_of(&self, _item: &Self::Item) -> KeyHash {
        unreachable!("{}", NO_KEYS)
    }

    /// The key of an item that has come out. `None`: the item does not know it, because it came by `push_with_key`.
    fn key_of_taken(&self, item: &Self::Item) -> Option<KeyHash> {
        Some(self.key_of(item))
    }

    /// As `pop`, with the key of the item.
    fn pop_keyed(&mut self) -> Option<(Self::Item, KeyHash)> {
        let item = self.pop()?;
        let key = self.key_of(&item);
        Some((item, key))
    }

    /// See [`Fair::push_if_room`]. Only of items without ranks, in a buffer without notes.
    fn push_with_key(&mut self, _key: KeyHash, _limit: usize, _item: impl FnOnce() -> Self::Item) -> bool {
        unreachable!("{}", NO_KEYS)
    }

    /// See [`Fair::room_of`].
    fn room_of(&self, _key: KeyHash, _limit: usize, _here: usize, _all: usize) -> usize {
        unreachable!("{}", NO_KEYS)
    }

    /// See [`Fair::reserved_for`].
    fn reserved_for(&self, _key: KeyHash) -> usize {
        unreachable!("{}", NO_KEYS)
    }

    /// See [`Fair::weight_of`].
    fn weight_of(&self, _key: KeyHash) -> f64 {
        unreachable!("{}", NO_KEYS)
    }

    /// See [`Fair::end_to_sample`].
    fn end_to_sample(&self) -> End {
        End::First
    }

    /// See [`Fair::displace`].
    fn displace(&mut self, _arriving: Self::Item, _end: End) -> Displaced<Self::Item> {
        unreachable!("{}", NO_KEYS)
    }

    /// See [`Fair::try_reserve`], and for an item with a note [`Fair::try_reserve_noted`].
    fn try_reserve_keyed(&mut self, _item: &Self::Item, _note: Option<&Note>) -> Result<(), TryReserveError> {
        unreachable!("{}", NO_KEYS)
    }

    /// See [`Fair::push`].
    fn push_keyed(&mut self, _item: Self::Item) -> Result<(), Self::Item> {
        unreachable!("{}", NO_KEYS)
    }

    /// See [`Fair::keep_notes`].
    fn keep_keyed_notes(&mut self, _note: Note, _shed: Option<Codel>, _is_weighed: bool) -> Result<(), TryReserveError> {
        Ok(())
    }

    /// See [`Fair::push_noted`].
    fn push_keyed_noted(&mut self, _item: Self::Item, _note: Note) -> Result<(), Self::Item> {
        unreachable!("{}", NO_KEYS)
    }

    /// See [`Fair::pop_noted`].
    fn pop_keyed_noted(&mut self, _now: Nanos, _lost: &mut Lost<Self::Item>) -> Option<(Self::Item, Note)> {
        unreachable!("{}", NO_KEYS)
    }

    /// See [`Fair::next_weight`].
    fn next_weight_keyed(&mut self, _now: Nanos, _lost: &mut Lost<Self::Item>) -> Option<u64> {
        unreachable!("{}", NO_KEYS)
    }

    /// See [`Fair::expire`].
    fn expire_keyed(&mut self, _now: Nanos, _lost: &mut Lost<Self::Item>) {
        unreachable!("{}", NO_KEYS)
    }

    /// See [`Fair::next_end`].
    fn next_end(&self) -> Nanos {
        unreachable!("{}", NO_KEYS)
    }

    /// See [`Fair::displace_noted`].
    fn displace_noted(
        &mut self,
        _arriving: &Self::Item,
        _note: &Note,
        _end: (End, DropReason),
        _bounds: Bounds,
        _lost: &mut Lost<Self::Item>,
    ) -> Displaced<()> {
        unreachable!("{}", NO_KEYS)
    }

    /// See [`Fair::weighed`].
    fn weighed(&self) -> u64 {
        unreachable!("{}", NO_KEYS)
    }

    /// The arrival time of the item that has waited longest, if the buffer stores notes.
    fn oldest_arrival(&self) -> Option<Nanos> {
        self.notes().map(|note| note.arrived).min()
    }
}

const NO_KEYS: &str = "only a buffer whose items have keys is asked for them";

/// An item of a [`Fair`] that is used as a queue's [`Buffer`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Keyed<T> {
    pub key: KeyHash,
    pub rank: f64,
    pub item: T,
}

impl<T> Keyed<T> {
    /// An item that does not know its key, for [`Buffer::push_with_key`].
    pub fn without_key(item: T) -> Self {
        Self { key: KeyHash::NONE, rank: 0.0, item }
    }
}

impl<T: Copy> Buffer for Fair<Keyed<T>> {
    type Item = Keyed<T>;

    fn len(&self) -> usize {
        self.len()
    }

    /// Does nothing: items enter by `push_keyed`, which reserves memory itself.
    fn try_reserve(&mut self, _more: usize) -> Result<(), TryReserveError> {
        Ok(())
    }

    fn push(&mut self, item: Keyed<T>) {
        assert!(self.push_keyed(item).is_ok(), "no memory for an item that is put by hand");
    }

    fn pop(&mut self) -> Option<Keyed<T>> {
        self.pop()
    }

    fn peek(&self) -> Option<&Keyed<T>> {
        self.peek()
    }

    fn is_keyed(&self) -> bool {
        true
    }

    fn key_of(&self, item: &Keyed<T>) -> KeyHash {
        item.key
    }

    fn key_of_taken(&self, item: &Keyed<T>) -> Option<KeyHash> {
        Some(item.key).filter(|&key| key != KeyHash::NONE)
    }

    fn pop_keyed(&mut self) -> Option<(Keyed<T>, KeyHash)> {
        self.pop_keyed()
    }

    fn push_with_key(&mut self, key: KeyHash, limit: usize, item: impl FnOnce() -> Keyed<T>) -> bool {
        self.push_if_room(key, limit, item)
    }

    fn room_of(&self, key: KeyHash, limit: usize, here: usize, all: usize) -> usize {
        self.room_of(key, limit, here, all)
    }

    fn reserved_for(&self, key: KeyHash) -> usize {
        self.reserved_for(key)
    }

    fn weight_of(&self, key: KeyHash) -> f64 {
        self.weight_of(key)
    }

    fn end_to_sample(&self) -> End {
        self.end_to_sample()
    }

    fn displace(&mut self, arriving: Keyed<T>, end: End) -> Displaced<Keyed<T>> {
        self.displace(arriving.key, arriving.rank, arriving, end)
    }

    fn try_reserve_keyed(&mut self, item: &Keyed<T>, note: Option<&Note>) -> Result<(), TryReserveError> {
        match note {
            Some(note) => self.try_reserve_noted(item.key, item.rank, note),
            None => Fair::try_reserve(self, item.key, item.rank),
        }
    }

    fn push_keyed(&mut self, item: Keyed<T>) -> Result<(), Keyed<T>> {
        self.push(item.key, item.rank, item)
    }

    fn keeps_notes(&self) -> bool {
        true
    }

    fn push_noted(&mut self, item: Keyed<T>, note: Note) {
        assert!(self.push_keyed_noted(item, note).is_ok(), "no memory for an item that is put by hand");
    }

    fn keep_keyed_notes(&mut self, note: Note, shed: Option<Codel>, is_weighed: bool) -> Result<(), TryReserveError> {
        self.keep_notes(note, shed, is_weighed)
    }

    fn push_keyed_noted(&mut self, item: Keyed<T>, note: Note) -> Result<(), Keyed<T>> {
        self.push_noted(item.key, item.rank, item, note)
    }

    fn pop_keyed_noted(&mut self, now: Nanos, lost: &mut Lost<Keyed<T>>) -> Option<(Keyed<T>, Note)> {
        self.pop_noted(now, lost)
    }

    fn next_weight_keyed(&mut self, now: Nanos, lost: &mut Lost<Keyed<T>>) -> Option<u64> {
        self.next_weight(now, lost)
    }

    fn expire_keyed(&mut self, now: Nanos, lost: &mut Lost<Keyed<T>>) {
        self.expire(now, lost);
    }

    fn next_end(&self) -> Nanos {
        self.next_end()
    }

    fn displace_noted(
        &mut self,
        item: &Keyed<T>,
        note: &Note,
        end: (End, DropReason),
        bounds: Bounds,
        lost: &mut Lost<Keyed<T>>,
    ) -> Displaced<()> {
        self.displace_noted((item.key, item.rank), note, end, bounds, lost)
    }

    fn weighed(&self) -> u64 {
        self.weighed()
    }

    fn oldest_arrival(&self) -> Option<Nanos> {
        self.oldest_arrival()
    }
}
