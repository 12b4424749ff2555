//! The state that a fair queue with notes keeps beside its lanes: the shedding rule for new keys, and a heap of the lanes that have to be
//! examined because one of their items may have expired. `fair_noted` describes how it is used.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, TryReserveError};

use crate::clock::Nanos;
use crate::queue::NEVER;
use crate::shed::Codel;

/// The number of obsolete entries that may remain in the heap, in addition to one per lane.
pub(super) const KEEP: usize = 64;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Notes {
    /// The initial state of the rule of a new key.
    pub(super) shed: Option<Codel>,
    /// The times at which lanes are due. An entry that differs from its lane's time is obsolete.
    due: BinaryHeap<Reverse<(Nanos, u32)>>,
}

impl Notes {
    pub(super) fn new(shed: Option<Codel>) -> Self {
        Self { shed, due: BinaryHeap::new() }
    }

    /// Empty notes with the same rule.
    pub(super) fn another(&self) -> Self {
        Self::new(self.shed)
    }

    /// Reserves memory for one more entry.
    pub(super) fn try_reserve(&mut self) -> Result<(), TryReserveError> {
        self.due.try_reserve(1)
    }

    /// Records that the lane is due at `end`. Returns the number of entries.
    pub(super) fn add(&mut self, end: Nanos, slot: u32) -> usize {
        self.due.push(Reverse((end, slot)));
        self.due.len()
    }

    /// Replaces all entries by these.
    pub(super) fn begin_again(&mut self, due: impl Iterator<Item = (Nanos, u32)>) {
        self.due = due.map(Reverse).collect();
    }

    /// No lane is due earlier.
    pub(super) fn earliest(&self) -> Nanos {
        self.due.peek().map_or(NEVER, |Reverse((end, _))| *end)
    }

    /// Takes out the entry that is due first, if it is due by `now`.
    pub(super) fn next_due(&mut self, now: Nanos) -> Option<(Nanos, u32)> {
        self.due.peek().filter(|Reverse((end, _))| *end <= now)?;
        self.due.pop().map(|Reverse(due)| due)
    }

    pub(super) fn allocated(&self) -> usize {
        self.due.capacity() * size_of::<Reverse<(Nanos, u32)>>()
    }
}
