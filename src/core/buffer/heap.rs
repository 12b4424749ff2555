//! A binary heap with exactly the order of Python's `heapq`, for a comparison that may fail.
//!
//! The moves are those of `heapq`'s `_siftdown` and `_siftup` (the hole moves down to a leaf along the smaller children, then the item
//! rises), so that equal and partially ordered items come out in the order of the standard library. The algorithm is Floyd's, by way of
//! Knuth, TAOCP volume 3, section 5.2.3 exercise 18. A comparison that fails leaves the heap with every item in it, in the arrangement that
//! `heapq` leaves; or, if the caller asks for that, the moves are undone, so that nothing has changed. Undoing needs no comparison: at any
//! moment the moving item is on one path, and the other items on that path have moved by one place.

use std::collections::TryReserveError;

use crate::clock::Nanos;
use crate::queue::{DropReason, Note};

/// The items, and the items that have been taken out but not yet handed over.
///
/// A comparison function receives the whole heap and the indices of two items. So it can put the heap where others find it while it runs,
/// for example in the child of a fork in which the comparison never returns.
#[derive(Debug)]
pub struct Heap<T> {
    pub items: Vec<T>,
    pub taken: Vec<T>,
    /// The notes of the items, or nothing until the first item with a note has come.
    notes: Vec<Note>,
    /// The same for the items that have been taken out.
    taken_notes: Vec<Note>,
}

impl<T> Default for Heap<T> {
    fn default() -> Self {
        Self { items: Vec::new(), taken: Vec::new(), notes: Vec::new(), taken_notes: Vec::new() }
    }
}

impl<T> Heap<T> {
    /// Reserves memory for `more` items.
    ///
    /// # Errors
    /// There is no memory; nothing has changed.
    pub fn try_reserve(&mut self, more: usize) -> Result<(), TryReserveError> {
        if !self.notes.is_empty() {
            self.notes.try_reserve(more)?;
        }
        self.items.try_reserve(more)
    }

    /// Reserves memory for the note of one more item, and for those of the items that have come without one.
    ///
    /// # Errors
    /// There is no memory; nothing has changed.
    pub fn try_reserve_notes(&mut self) -> Result<(), TryReserveError> {
        self.notes.try_reserve(self.items.len() + 1 - self.notes.len())
    }

    /// Adds `item`, with a note if there is one. An item without a note counts as having arrived now. On an error the item is in the heap
    /// all the same, as with `heapq.heappush`.
    pub fn push<E>(
        &mut self,
        item: T,
        note: Option<Note>,
        less: impl FnMut(&mut Self, usize, usize) -> Result<bool, E>,
    ) -> Result<(), E> {
        self.push_unless(item, note, less, |_| false).map_err(|(error, _)| error)
    }

    /// As `push`, but after an error for which `undoes` returns true, nothing has changed and the item is returned.
    pub fn push_unless<E>(
        &mut self,
        item: T,
        note: Option<Note>,
        less: impl FnMut(&mut Self, usize, usize) -> Result<bool, E>,
        undoes: impl FnOnce(&E) -> bool,
    ) -> Result<(), (E, Option<T>)> {
        self.add(item, note);
        let last = self.items.len() - 1;
        let mut pos = last;
        self.rise(0, &mut pos, less).map_err(|error| {
            let undone = self.items.len() == last + 1 && undoes(&error);
            let item = undone.then(|| {
                self.fall_back(pos, last);
                self.remove_last()
            });
            (error, item.flatten().map(|(item, _)| item))
        })
    }

    /// As `push`, if `less` can compare the items on the way. If it returns `None` for one of them, if there is no memory, or if notes are kept,
    /// nothing has changed and the item is returned.
    pub fn push_if_comparable(&mut self, item: T, less: impl Fn(&T, &T) -> Option<bool>) -> Result<(), T> {
        if !self.notes.is_empty() || self.items.try_reserve(1).is_err() {
            return Err(item);
        }
        // No item moves before all comparisons have been made.
        let mut end = self.items.len();
        while end > 0 {
            let parent = (end - 1) / 2;
            match less(&item, &self.items[parent]) {
                Some(true) => end = parent,
                Some(false) => break,
                None => return Err(item),
            }
        }
        let mut pos = self.items.len();
        self.items.push(item);
        while pos > end {
            let parent = (pos - 1) / 2;
            self.items.swap(pos, parent);
            pos = parent;
        }
        Ok(())
    }

    /// As `pop`, if `less` can compare the items on the way, and returns the item itself. `None`: nothing has changed.
    pub fn pop_if_comparable(&mut self, less: impl Fn(&T, &T) -> Option<bool>) -> Option<T> {
        if !self.notes.is_empty() || !self.taken.is_empty() {
            return None;
        }
        let last = self.items.len().checked_sub(1)?;
        // The hole moves down this path, to a leaf.
        let mut path = [0_usize; usize::BITS as usize];
        let (mut depth, mut child) = (0, 1);
        while child < last {
            let right = child + 1;
            if right < last && !less(&self.items[child], &self.items[right])? {
                child = right;
            }
            depth += 1;
            path[depth] = child;
            child = 2 * child + 1;
        }
        // Then the last item rises on it.
        while depth > 0 && less(&self.items[last], &self.items[path[depth]])? {
            depth -= 1;
        }
        let first = self.items.swap_remove(0);
        for step in path[..=depth].windows(2) {
            self.items.swap(step[0], step[1]);
        }
        Some(first)
    }

    fn add(&mut self, item: T, note: Option<Note>) {
        if let Some(note) = note {
            self.notes.resize(self.items.len(), Note::new(note.arrived, 0));
            self.notes.push(note);
        } else if !self.notes.is_empty() {
            self.notes.push(Note::new(0, 0));
        }
        self.items.push(item);
    }

    /// The notes of the items in the heap, in the same arrangement; empty if no notes are kept.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Sets the notes of all items, in the arrangement of the items.
    pub fn set_notes(&mut self, mut notes: Vec<Note>, otherwise: Note) {
        notes.resize(self.items.len(), otherwise);
        self.notes = notes;
    }

    /// The note of the item that was taken out last, if it had one. Ask once for each item.
    pub fn taken_note(&mut self) -> Option<Note> {
        self.taken_notes.pop()
    }

    #[inline]
    fn swap(&mut self, one: usize, other: usize) {
        self.items.swap(one, other);
        if !self.notes.is_empty() {
            self.notes.swap(one, other);
        }
    }

    /// Moves the last item to `taken`.
    fn take_last(&mut self) {
        self.taken.extend(self.items.pop());
        self.taken_notes.extend(self.notes.pop());
    }

    /// Moves the item at `pos` to `taken`, even if the comparison fails.
    pub fn take_at<E>(&mut self, pos: usize, mut less: impl FnMut(&mut Self, usize, usize) -> Result<bool, E>) -> Result<(), E> {
        let last = self.items.len() - 1;
        self.swap(pos, last);
        self.take_last();
        if pos == last {
            return Ok(());
        }
        // The item that is now at `pos` comes from elsewhere in the heap, so it may have to move in either direction.
        let mut moves = pos;
        self.rise(0, &mut moves, &mut less)?;
        moves = pos;
        self.sink(&mut moves, less)
    }

    /// Moves the smallest item to `taken`, even if the comparison fails, because `heapq.heappop` has removed it by then. `None` if the heap
    /// is empty.
    pub fn pop<E>(&mut self, less: impl FnMut(&mut Self, usize, usize) -> Result<bool, E>) -> Option<Result<(), E>> {
        self.pop_unless(less, |_| false).map(|outcome| outcome.map(|_| ()))
    }

    /// As `pop`, but after an error for which `undoes` returns true, nothing has changed. The result is the argument of [`Heap::undo_pop`].
    pub fn pop_unless<E>(
        &mut self,
        less: impl FnMut(&mut Self, usize, usize) -> Result<bool, E>,
        undoes: impl FnOnce(&E) -> bool,
    ) -> Option<Result<usize, E>> {
        let last = self.items.len().checked_sub(1)?;
        self.swap(0, last);
        self.take_last();
        let mut pos = 0;
        let outcome = if last == 0 { Ok(()) } else { self.sink(&mut pos, less) };
        if outcome.as_ref().is_err_and(|error| self.items.len() == last && undoes(error)) {
            self.undo_pop(pos);
        }
        Some(outcome.map(|()| pos))
    }

    /// Undoes the last pop, which returned `pos`. Several pops are undone last one first.
    pub fn undo_pop(&mut self, mut pos: usize) {
        // The item that was the last one is at `pos`, and the items above it have risen by one place.
        while pos > 0 {
            let parent = (pos - 1) / 2;
            self.swap(pos, parent);
            pos = parent;
        }
        self.give_back_taken();
        self.swap(0, self.items.len() - 1);
    }

    /// Reserves memory for one more item that is taken out, and its note.
    ///
    /// # Errors
    /// There is no memory; nothing has changed.
    pub fn try_reserve_taken(&mut self) -> Result<(), TryReserveError> {
        self.taken_notes.try_reserve(1)?;
        self.taken.try_reserve(1)
    }

    /// The items that have been taken out, and the notes of those that have any.
    pub fn take_taken(&mut self) -> (Vec<T>, Vec<Note>) {
        (std::mem::take(&mut self.taken), std::mem::take(&mut self.taken_notes))
    }

    /// The reason not to deliver the item that was taken out last, if there is one.
    pub fn lapse_of_taken(&self, now: Nanos) -> Option<DropReason> {
        self.taken_notes.last()?.lapse(now)
    }

    /// Replaces the greatest item by `item`, unless `item` itself is not smaller. Returns the item that is dropped, and whether it is the
    /// old one. The greatest item is a leaf, so half of the items are compared. On an error nothing has changed, and `item` is returned as
    /// the dropped one.
    #[expect(clippy::type_complexity, reason = "the dropped item with its note")]
    pub fn displace_greatest<E>(
        &mut self,
        item: T,
        note: Option<Note>,
        mut less: impl FnMut(&mut Self, usize, usize) -> Result<bool, E>,
    ) -> (Option<(T, Option<Note>)>, bool, Result<(), E>) {
        let new = self.items.len();
        self.add(item, note);
        let greatest = match self.greatest_but_last(&mut less) {
            Ok(greatest) => greatest,
            Err(error) => return (self.remove_last(), false, Err(error)),
        };
        match if new == 0 { Ok(false) } else { less(self, new, greatest) } {
            Ok(true) => {
                self.swap(greatest, new);
                self.take_last();
                let mut pos = greatest;
                let outcome = self.rise(0, &mut pos, less);
                if outcome.is_err() && self.items.len() == new {
                    self.fall_back(pos, greatest);
                    self.give_back_taken();
                    self.swap(greatest, new);
                    return (self.remove_last(), false, outcome);
                }
                let note = self.taken_notes.pop();
                (self.taken.pop().map(|item| (item, note)), true, outcome)
            }
            outcome => (self.remove_last(), false, outcome.map(|_| ())),
        }
    }

    /// Puts the item that was taken out last back at the end.
    fn give_back_taken(&mut self) {
        self.items.extend(self.taken.pop());
        self.notes.extend(self.taken_notes.pop());
    }

    /// Undoes a rise of the item from `start` to `pos`: it moves back, and so do the items that it has passed.
    fn fall_back(&mut self, pos: usize, start: usize) {
        if start > pos {
            let parent = (start - 1) / 2;
            self.fall_back(pos, parent);
            self.swap(parent, start);
        }
    }

    fn remove_last(&mut self) -> Option<(T, Option<Note>)> {
        let note = self.notes.pop();
        self.items.pop().map(|item| (item, note))
    }

    /// The index of the greatest item, not counting the last item. It is a leaf, so half of the items are compared.
    fn greatest_but_last<E>(&mut self, less: &mut impl FnMut(&mut Self, usize, usize) -> Result<bool, E>) -> Result<usize, E> {
        let new = self.items.len() - 1;
        let mut greatest = new / 2;
        for pos in greatest + 1..new {
            if less(self, greatest, pos)? {
                greatest = pos;
            }
        }
        Ok(greatest)
    }

    /// Lets the item at `pos` rise while it is smaller than its parent, but not above `start`. `pos` follows it, even on an error.
    fn rise<E>(
        &mut self,
        start: usize,
        pos: &mut usize,
        mut less: impl FnMut(&mut Self, usize, usize) -> Result<bool, E>,
    ) -> Result<(), E> {
        while *pos > start {
            let parent = (*pos - 1) / 2;
            if !less(self, *pos, parent)? {
                break;
            }
            self.swap(*pos, parent);
            *pos = parent;
        }
        Ok(())
    }

    /// Lets the item at `pos` sink to a leaf along the smaller children, and rise from there to its place. `pos` follows it, even on an
    /// error.
    fn sink<E>(&mut self, pos: &mut usize, mut less: impl FnMut(&mut Self, usize, usize) -> Result<bool, E>) -> Result<(), E> {
        let end = self.items.len();
        let start = *pos;
        let mut child = 2 * start + 1;
        while child < end {
            let right = child + 1;
            if right < end && !less(self, child, right)? {
                child = right;
            }
            self.swap(*pos, child);
            *pos = child;
            child = 2 * child + 1;
        }
        self.rise(start, pos, less)
    }
}
