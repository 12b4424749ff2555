//! The optional parts of a queue beside its buffer: times to live, weights, a rule that sheds items that have waited too long, and a
//! histogram of waits.
//!
//! # Algorithm
//! A queue with any of these parts keeps a [`Note`] for each item, in [`Parts`], which a plain queue does not have. If the buffer is worked
//! on inside the section, the notes are in a ring beside it, in order of arrival; buffers that need the baton keep them beside the items
//! themselves (see `baton`). The fast paths of put and get decline at a composed queue by conditions that they check anyway, and the other
//! operations return `Composed`: then the caller uses the operation of that name here. So a plain queue pays for none of this.
//!
//! | operation               | on a plain queue            | on a composed queue                                                |
//! |-------------------------|-----------------------------|---------------------------------------------------------------------|
//! | put, get, a batch       | goes                        | returns `Composed`, with nothing done                              |
//! | the same `_composed`    | the queue is composed first | goes; the items that it has dropped are returned as [`Lost`]       |
//!
//! # When there is no room
//! Expired items are dropped first, wherever they are; then the policy decides (see `overflow`). A policy that displaces items removes the
//! oldest until the new one fits, and removes none if that would not be enough.
//!
//! # Taking items
//! An item that has expired or that the rule sheds is dropped instead of being delivered, and the next one is considered.
//!
//! # Waiting for an item to expire
//! A putter that waits for room looks again when the first item may expire ([`next_end`](State::next_end)), and drops what has. Whoever
//! drops it, the room is offered to the waiters before an arrival may take it.
//!
//! | the putters that wait           | an item comes that                          | what happens                                |
//! |----------------------------------|---------------------------------------------|---------------------------------------------|
//! | look at `awaited_end` at the latest | ends no earlier                          | nothing                                     |
//! | the same                         | ends earlier (`ends_sooner`)                | all of them try again, and look at that time |
//!
//! # Fairness
//! As in the plain queue, except with a bound on weight: then an arrival that can wait comes after all waiters.

use std::cell::RefCell;
use std::collections::TryReserveError;

use super::deadline::{Deadlines, NEVER, Note};
use super::parts::{Composition, Due, Parts, Terms};
use super::policy::{DropReason, Lost, Overflow};
use super::state::{PutError, Side, State, UNBOUNDED, Waiter};
use crate::buffer::{Buffer, Fifo};
use crate::clock::Nanos;
use crate::monitor::MonitorState;
use crate::shed::Shed;
use crate::wait::{Wake, Wakes};

/// After this time a putter looks again if an item that has expired could not be dropped.
const SOON: Nanos = 10_000_000;

/// How an operation is attempted.
#[derive(Debug)]
pub enum Attempt<'a, W> {
    /// It cannot wait: it takes what is available, even while others wait.
    Now,
    /// It could wait, and has no place in a wait queue yet.
    Arrival,
    /// It is in the wait queue until it is served.
    Wait(&'a mut Waiter, &'a W),
}

impl<B: Buffer, W: Wake, X> State<B, W, X> {
    /// Composes the queue from now on. The items in it count as having arrived now.
    ///
    /// # Errors
    /// There is no memory for the notes of the items; nothing has changed.
    pub(super) fn compose(&mut self, composition: &Composition, now: Nanos) -> Result<(), TryReserveError> {
        if composition.is_plain() {
            self.parts = None;
        } else {
            let mut parts = Parts::new(composition);
            if let Some(Shed::AdaptiveLifo(rule)) = &mut parts.shed {
                rule.empty_at(now);
            }
            self.begin_notes(parts, now)?;
        }
        self.set_shut(self.shut);
        Ok(())
    }

    #[cold]
    fn begin_notes(&mut self, mut parts: Parts, now: Nanos) -> Result<(), TryReserveError> {
        let note = Note::new(now, 0);
        if self.buffer.is_keyed() {
            let shed = parts.shed.take().and_then(|shed| if let Shed::Codel(rule) = shed { Some(rule) } else { None });
            self.buffer.keep_keyed_notes(note, shed, parts.weights.is_bounded())?;
        } else if !self.buffer.keeps_notes() {
            parts.notes.try_reserve(self.buffer.len())?;
            for _ in 0..self.buffer.len() {
                parts.count_in(&note);
                parts.notes.push(note);
            }
        }
        self.parts = Some(Box::new(parts));
        self.buffer.leave_the_fast_path();
        self.set_shut(self.shut);
        Ok(())
    }

    /// The parts of the queue, which is composed from now on if it was not.
    ///
    /// # Errors
    /// There is no memory for the notes of the items that are here already; nothing has changed.
    #[inline]
    pub(super) fn parts(&mut self, now: Nanos) -> Result<&mut Parts, TryReserveError> {
        if self.parts.is_none() {
            self.begin_notes(Parts::default(), now)?;
        }
        Ok(self.parts.as_mut().expect("made a line ago"))
    }

    /// The note of an item that comes now.
    #[inline]
    pub(super) fn note(&mut self, now: Nanos, terms: Terms) -> Result<Note, TryReserveError> {
        let is_empty = self.buffer.is_empty();
        Ok(self.parts(now)?.note(now, terms, is_empty))
    }

    /// The weight that may still be added, if the weight is bounded.
    pub(super) fn room_by_weight(&self) -> Option<u64> {
        self.parts.as_ref().filter(|parts| parts.weights.is_bounded()).map(|parts| parts.weights.room())
    }

    /// True if there is room for an item of this weight.
    pub(super) fn fits(&self, weight: u64) -> bool {
        self.has_room() && self.parts.as_ref().is_none_or(|parts| parts.weights.fits(weight))
    }

    /// True if an arrival with an item must queue even though there is room.
    pub(super) fn is_barred_by_weight(&self) -> bool {
        let queue = self.wait_queues.queue(Side::Put);
        queue.arrivals_must_queue() || !queue.is_empty() && self.room_by_weight().is_some()
    }

    /// True if this put may take room, if there is any.
    pub(super) fn may_put(&mut self, attempt: &mut Attempt<'_, W>) -> bool {
        match attempt {
            Attempt::Now => true,
            Attempt::Arrival => !self.is_barred_by_weight(),
            Attempt::Wait(waiter, _) => self.has_put_turn(waiter),
        }
    }

    /// As `has_turn`, but an arrival with a light item does not overtake a waiter with a heavy one.
    pub(super) fn has_put_turn(&mut self, waiter: &mut Waiter) -> bool {
        self.wait_queues.is_woken(Side::Put, waiter).unwrap_or_else(|| !self.is_barred_by_weight())
    }

    /// As `may_put`, for a get.
    pub(super) fn may_get(&mut self, attempt: &mut Attempt<'_, W>) -> bool {
        match attempt {
            Attempt::Now => true,
            Attempt::Arrival => !self.wait_queues.queue(Side::Get).arrivals_must_queue(),
            Attempt::Wait(waiter, _) => self.wait_queues.has_turn(Side::Get, waiter),
        }
    }

    /// Called when the operation ends, served or not.
    pub(super) fn let_go(&mut self, attempt: &mut Attempt<'_, W>, wakes: &mut Wakes<W>) {
        if let Attempt::Wait(waiter, _) = attempt {
            self.remove_waiter(waiter, wakes);
        }
    }

    /// Called when the operation is not served now.
    pub(super) fn enqueue_if_allowed(&mut self, attempt: &mut Attempt<'_, W>, side: Side, want: u64, wakes: &mut Wakes<W>) {
        if let Attempt::Wait(waiter, waker) = attempt {
            self.wait_queues.enqueue_or_requeue(side, want, waiter, waker, wakes);
        }
    }

    /// Reserves memory for this many more items and their notes.
    pub(super) fn reserve_noted(&mut self, more: usize) -> Result<(), TryReserveError> {
        self.buffer.try_reserve(more)?;
        match &mut self.parts {
            Some(parts) if !self.buffer.keeps_notes() => parts.notes.try_reserve(more),
            _ => Ok(()),
        }
    }

    /// Stores an item for which memory has been reserved.
    pub(super) fn store_noted(&mut self, item: B::Item, note: Note) {
        if let Some(parts) = &mut self.parts {
            parts.count_in(&note);
            if !self.buffer.keeps_notes() {
                parts.notes.push(note);
            }
        }
        self.buffer.push_noted(item, note);
        self.count_stored(1);
    }

    /// Stores an item that has a place and memory already.
    pub(super) fn store_somehow(&mut self, item: B::Item, terms: Terms) {
        let (now, is_empty) = (self.wait_queues.clock.now(), self.buffer.is_empty());
        let Some(parts) = &mut self.parts else { return self.store_in_place(item) };
        let note = parts.note(now, terms, is_empty);
        self.store_noted(item, note);
    }

    /// The same, or what the policy says if there is no room. The item is dropped, too, if there is no memory for it. It is returned if there is
    /// none for the report of that either.
    pub(super) fn admit_somehow(&mut self, item: B::Item, terms: Terms, lost: &mut Lost<B::Item>) -> Option<B::Item> {
        let now = self.wait_queues.clock.now();
        let admitted = match self.note(now, terms) {
            Ok(note) => self.admit(item, note, true, lost),
            Err(_) => Err(PutError::NoMemory(item)),
        };
        let Err(PutError::NoMemory(item)) = admitted else {
            debug_assert!(admitted.is_ok(), "the policy drops");
            return None;
        };
        self.overflow.dropped[DropReason::Newest as usize] += 1;
        if !lost.try_reserve(1) {
            return Some(item);
        }
        lost.push(item, DropReason::Newest, false);
        None
    }

    /// Removes the newest or the oldest item.
    #[inline]
    fn pop_end(&mut self, newest: bool) -> Option<(B::Item, Note)> {
        let item = if newest { self.buffer.pop_newest() } else { self.buffer.pop_oldest() };
        let parts = self.parts.as_mut()?;
        let Some(item) = item else {
            parts.clear();
            return None;
        };
        let note = if newest { parts.notes.pop_last() } else { parts.notes.pop() };
        let note = note.unwrap_or(Note::new(0, 0));
        parts.weights.remove(note.weight);
        Some((item, note))
    }

    /// Records an item that has been dropped.
    pub(super) fn lose(&mut self, item: B::Item, reason: DropReason, lost: &mut Lost<B::Item>) {
        self.overflow.dropped[reason as usize] += 1;
        self.count_discarded(1);
        lost.push(item, reason, true);
    }

    /// The next item from this end that has not expired. `None` if there is none, or `lost` lacks memory for one that has.
    #[inline]
    pub(super) fn pop_live(&mut self, now: Nanos, newest: bool, lost: &mut Lost<B::Item>) -> Option<(B::Item, Note)> {
        if self.lose_end(now, newest, lost) { self.pop_end(newest) } else { None }
    }

    /// Drops the newest or the oldest items as long as they have expired. False if `lost` lacks memory for one of them.
    #[inline]
    pub(super) fn lose_end(&mut self, now: Nanos, newest: bool, lost: &mut Lost<B::Item>) -> bool {
        while let Some(reason) = self.note_at(newest).and_then(|note| note.lapse(now)) {
            if !lost.try_reserve(1) {
                return false;
            }
            let Some((item, _)) = self.pop_end(newest) else { break };
            self.lose(item, reason, lost);
        }
        true
    }

    /// The note of the newest or the oldest item.
    #[inline]
    fn note_at(&self, newest: bool) -> Option<&Note> {
        let notes = &self.parts.as_ref()?.notes;
        if newest { notes.last() } else { notes.peek() }
    }

    /// Takes the next item for a getter. The items that are dropped before it are lost.
    pub(super) fn take(&mut self, now: Nanos, lost: &mut Lost<B::Item>) -> Option<B::Item> {
        if self.buffer.is_keyed() {
            return self.take_keyed(now, lost);
        }
        let newest = self.buffer.is_stack();
        let shed = self.parts.as_ref().and_then(|parts| parts.shed);
        let taken = match shed {
            None => self.pop_live(now, newest, lost),
            Some(Shed::AdaptiveLifo(rule)) => {
                self.lose_end(now, false, lost); // so that their senders learn of it
                self.pop_live(now, rule.is_standing(now), lost)
            }
            Some(Shed::Codel(mut rule)) => {
                let (target, before) = (rule.target(), lost.len());
                let (state, collected) = (&mut *self, RefCell::new(&mut *lost));
                let mut take = || {
                    let lost = &mut **collected.borrow_mut();
                    let may_be_shed = state.lose_end(now, newest, lost) && state.note_at(newest)?.waited(now) >= target;
                    if may_be_shed && !lost.try_reserve(1) || lost.lacks_memory() {
                        return None;
                    }
                    let (item, note) = state.pop_end(newest)?;
                    Some(((item, note), note.waited(now), state.buffer.is_empty()))
                };
                let mut drop = |(item, _)| collected.borrow_mut().push(item, DropReason::Shed, true);
                let taken = rule.next(now, &mut take, &mut drop);
                let shed = lost.since(before).iter().filter(|dropped| dropped.reason == DropReason::Shed).count();
                self.overflow.dropped[DropReason::Shed as usize] += shed as u64;
                self.count_discarded(shed);
                if let Some(parts) = &mut self.parts {
                    parts.shed = Some(Shed::Codel(rule));
                }
                taken
            }
        };
        if self.buffer.is_empty() {
            if let Some(Shed::AdaptiveLifo(rule)) = self.parts.as_mut().and_then(|parts| parts.shed.as_mut()) {
                rule.empty_at(now);
            }
        }
        let (item, note) = taken?;
        if let Some(parts) = &self.parts {
            parts.delivered(&note, now);
        }
        self.count_taken(1);
        Some(item)
    }

    /// Drops every expired item, because there is no room.
    pub(super) fn expire(&mut self, now: Nanos, lost: &mut Lost<B::Item>) {
        if self.buffer.is_keyed() {
            return self.expire_keyed(now, lost);
        }
        if self.buffer.keeps_notes() || !self.parts.as_ref().is_some_and(|parts| parts.deadlines.may_have_passed(now)) {
            return;
        }
        if !self.lose_end(now, false, lost) {
            return;
        }
        let Some(parts) = &mut self.parts else { return };
        if parts.deadlines.oldest_is(parts.notes.peek().map(Note::end)) {
            return;
        }
        if !lost.try_reserve(parts.notes.iter().filter(|note| note.lapse(now).is_some()).count()) {
            return;
        }
        let (mut left, before) = (Deadlines::default(), lost.len());
        self.buffer.keep_where(&mut |item| {
            let Some(note) = parts.notes.pop() else { return Some(item) };
            if let Some(reason) = note.lapse(now) {
                parts.weights.remove(note.weight);
                self.overflow.dropped[reason as usize] += 1;
                lost.push(item, reason, true);
                return None;
            }
            left.add(note.end());
            parts.notes.push(note);
            Some(item)
        });
        parts.deadlines = left;
        self.count_discarded(lost.len() - before);
    }

    /// Drops every expired item if there is no room for one of this weight. The room is offered to the waiters first.
    pub(super) fn expire_unless_fits(&mut self, weight: u64, now: Nanos, lost: &mut Lost<B::Item>, wakes: &mut Wakes<W>) {
        if self.fits(weight) {
            return;
        }
        let before = lost.len();
        self.expire(now, lost);
        if lost.len() > before {
            self.wake_all_eligible(wakes);
        }
    }

    /// When a putter that waits, and looked at that time, has to look again, because an item may have expired by then.
    pub(super) fn next_end(&mut self, looked_at: Nanos) -> Option<Nanos> {
        let soon = looked_at.saturating_add(SOON);
        let is_hidden = self.buffer.is_keyed() && self.buffer_is_stashed();
        let parts = self.parts.as_mut()?;
        if is_hidden {
            return Some(soon); // the owner of the mutex has the items
        }
        let end = if self.buffer.is_keyed() { self.buffer.next_end() } else { parts.deadlines.earliest() };
        parts.awaited_end = parts.awaited_end.max(end);
        // An item that had expired when it looked could not be reported. One that has expired since is to be reported at once.
        (end != NEVER).then_some(if end <= looked_at { soon } else { end })
    }

    /// Makes the putters that wait look again if an item ends before they would, and the getters if a batch lingers for no more weight.
    #[inline]
    pub(super) fn wake_to_look_again(&mut self, wakes: &mut Wakes<W>) {
        let Some(parts) = self.parts.as_mut() else { return };
        if parts.ends_sooner {
            (parts.ends_sooner, parts.awaited_end) = (false, 0);
            self.wait_queues.queue(Side::Put).prod_all(wakes);
            self.wait_queues.prod_further(wakes);
        }
        if parts.awaited_weight.is_some_and(|weight| parts.weights.sum() >= weight) {
            parts.awaited_weight = None;
            self.wait_queues.queue(Side::Get).prod_all(wakes);
        }
    }

    /// True if [`wake_to_look_again`](Self::wake_to_look_again) has something to do.
    pub(super) fn ends_sooner(&self) -> bool {
        self.parts.as_ref().is_some_and(|parts| parts.ends_sooner)
    }

    /// Puts the item, or does what the policy says. `entitled`: it may take room if there is any.
    pub(super) fn admit(
        &mut self,
        item: B::Item,
        note: Note,
        entitled: bool,
        lost: &mut Lost<B::Item>,
    ) -> Result<(), PutError<B::Item>> {
        if !self.fits(note.weight) {
            self.expire(note.arrived, lost);
        }
        if self.fits(note.weight) {
            if !entitled {
                return Err(PutError::Full(item));
            }
            if self.reserve_noted(1).is_err() {
                return Err(PutError::NoMemory(item));
            }
            self.store_noted(item, note);
            return Ok(());
        }
        match self.overflow.policy {
            Overflow::Block | Overflow::Reject => Err(self.full_error(item)),
            _ => self.displace_noted(item, note, lost),
        }
    }

    /// True if `lost` has memory for the items that an item of this weight displaces, and for itself.
    pub(super) fn can_report_losses(&self, weight: u64, lost: &mut Lost<B::Item>) -> bool {
        let by_number = (self.buffer.len() + self.reserved + 1).saturating_sub(self.limit);
        let by_weight = self.parts.as_ref().map_or(0, |parts| {
            let mut missing = parts.weights.excess_with(weight);
            let still_missing = |note: &&Note| {
                let is_missing = missing > 0;
                missing = missing.saturating_sub(note.weight);
                is_missing
            };
            parts.notes.iter().take_while(still_missing).count()
        });
        lost.try_reserve(by_number.max(by_weight) + 1)
    }

    /// Puts the item in place of as many others as it needs, or drops it, according to a policy that drops items.
    pub(super) fn displace_noted(
        &mut self,
        item: B::Item,
        note: Note,
        lost: &mut Lost<B::Item>,
    ) -> Result<(), PutError<B::Item>> {
        if !self.can_report_losses(note.weight, lost) {
            return Err(PutError::NoMemory(item));
        }
        let (displaces, otherwise) = self.overflow.choose();
        self.note_full();
        // Whether it would fit after the oldest items, if necessary all, had been removed.
        let can = self.reserved < self.limit && self.parts.as_ref().is_none_or(|parts| note.weight <= parts.weights.max());
        let Some(reason) = displaces.filter(|_| can && !self.buffer.keeps_notes()) else {
            self.overflow.dropped[otherwise as usize] += 1;
            lost.push(item, otherwise, false);
            return Ok(());
        };
        let full_since = self.full_since;
        while !self.fits(note.weight) {
            let Some((oldest, _)) = self.pop_end(false) else { break };
            self.lose(oldest, reason, lost);
        }
        self.store_noted(item, note);
        self.full_since = full_since.filter(|_| !self.has_room()); // the queue is as full as before
        Ok(())
    }

    /// Called when the buffer has been changed directly. New items count as having arrived now, and weigh nothing.
    pub(super) fn notes_follow(&mut self) {
        if self.parts.is_none() {
            return;
        }
        self.buffer.leave_the_fast_path();
        let (len, now, is_stack) = (self.buffer.len(), self.wait_queues.clock.now(), self.buffer.is_stack());
        let Some(parts) = &mut self.parts else { return };
        if len == 0 {
            return parts.clear();
        }
        if self.buffer.is_keyed() {
            parts.weights.set(self.buffer.weighed());
        }
        if self.buffer.keeps_notes() {
            return;
        }
        while parts.notes.len() > len {
            let note = if is_stack { parts.notes.pop_last() } else { parts.notes.pop() };
            parts.weights.remove(note.map_or(0, |note| note.weight));
        }
        while parts.notes.len() < len {
            let note = Note::new(now, 0);
            parts.count_in(&note);
            parts.notes.push(note);
        }
    }

    /// Takes the next item by hand, as [`State::edit`] does, if the queue keeps no notes of its items; otherwise nothing happens.
    pub fn take_by_hand(&mut self, wakes: &mut Wakes<W>) -> Option<Option<B::Item>> {
        if self.parts.is_some() { None } else { Some(self.edit(Buffer::pop, wakes)) }
    }

    /// As [`State::edit`]; afterwards the items have these notes, in order of arrival. (A plain queue has no notes.)
    ///
    /// # Errors
    /// There is no memory; nothing has changed.
    pub fn edit_with_notes<R>(
        &mut self,
        edit: impl FnOnce(&mut B, &[Note], Nanos) -> Result<(R, Option<Vec<Note>>), TryReserveError>,
        wakes: &mut Wakes<W>,
    ) -> Result<R, TryReserveError> {
        let now = self.wait_queues.clock.now();
        let mut known = Vec::new();
        match &mut self.parts {
            Some(_) if self.buffer.keeps_notes() => {
                known.try_reserve_exact(self.buffer.notes().count())?;
                known.extend(self.buffer.notes().copied());
            }
            Some(parts) => {
                known.try_reserve_exact(parts.notes.len())?;
                known.extend(parts.notes.iter().copied());
            }
            None => {}
        }
        let (edited, notes) = edit(&mut self.buffer, &known, now)?;
        if let (Some(notes), Some(parts)) = (notes, &mut self.parts) {
            parts.clear();
            for note in &notes {
                parts.count_in(note);
            }
            if self.buffer.keeps_notes() {
                self.buffer.set_notes(notes);
            } else {
                parts.notes = Fifo::from(notes);
            }
        }
        self.notes_follow();
        self.count_discarded(0);
        self.wake_eligible(wakes);
        Ok(edited)
    }

    /// Adds an item directly, without checking bounds or counting a task.
    ///
    /// # Errors
    /// There is no memory for the item, which is returned.
    pub fn push_by_hand(&mut self, item: B::Item, weight: u64, wakes: &mut Wakes<W>) -> Result<(), B::Item> {
        if self.reserve_noted(1).is_err() {
            return Err(item);
        }
        let (puts, peak) = (self.puts, self.peak);
        self.store_somehow(item, Terms { weight, due: Due::Never });
        (self.puts, self.peak) = (puts, peak);
        self.count_discarded(0);
        self.wake_eligible(wakes);
        Ok(())
    }
}

const _: () = assert!(UNBOUNDED as u64 == u64::MAX || size_of::<usize>() < 8, "as `wake_eligible` compares them");
