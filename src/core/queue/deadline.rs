//! `Note`: what a queue knows of an item beside the item, and `Deadlines`: whether one of them may have passed.
//!
//! # Algorithm
//! Expiry is lazy. An item whose time has passed is found when it would be taken, and when there is no room for another one; until then it
//! counts as an item. So that a full queue need not be searched for each item that comes, [`Deadlines`] knows a time before
//! which none has passed. If they were set in growing order, which they are when all items have the same time to live, the oldest
//! item's is the first to pass, and nothing is searched at all. Otherwise a full queue is searched at most once for each item that has
//! expired or has been taken.

use super::policy::DropReason;
use crate::clock::Nanos;
use crate::shed::Codel;

/// No deadline.
pub const NEVER: Nanos = Nanos::MAX;

/// What a queue knows of one item beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// When it came into the queue.
    pub arrived: Nanos,
    /// From when on nobody wants it: its time to live has passed.
    pub deadline: Nanos,
    /// From when on an overloaded queue sheds it.
    pub shed_at: Nanos,
    pub weight: u64,
}

impl Note {
    pub fn new(arrived: Nanos, weight: u64) -> Self {
        Self { arrived, deadline: NEVER, shed_at: NEVER, weight }
    }

    #[must_use]
    pub fn until(self, deadline: Nanos) -> Self {
        Self { deadline, ..self }
    }

    /// When it ends, for whichever reason.
    #[inline]
    pub fn end(&self) -> Nanos {
        self.deadline.min(self.shed_at)
    }

    /// Why it has ended, if it has.
    #[inline]
    pub fn lapse(&self, now: Nanos) -> Option<DropReason> {
        if now < self.end() {
            return None;
        }
        Some(if self.deadline <= now { DropReason::Expired } else { DropReason::Shed })
    }

    /// For how long it has waited.
    pub fn waited(&self, now: Nanos) -> Nanos {
        now.saturating_sub(self.arrived)
    }
}

/// What the item weighs that is to be delivered next, of these with these notes. `codel` decides as it will when the item is taken.
pub(crate) fn weight_of_next<'a>(
    notes: impl Iterator<Item = &'a Note>,
    count: usize,
    codel: Option<Codel>,
    now: Nanos,
) -> Option<u64> {
    let mut live = (1..).zip(notes).filter(|(_, note)| note.lapse(now).is_none());
    match codel {
        None => live.next().map(|(_, note)| note.weight),
        Some(mut rule) => {
            rule.next(now, &mut || live.next().map(|(nth, note)| (note.weight, note.waited(now), nth == count)), &mut |_| {})
        }
    }
}

/// The ends of all items that wait: when the first of them may have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// None of them is earlier.
    earliest: Nanos,
    latest: Nanos,
    /// Each was set no earlier than the one before, so that the oldest item's is the first.
    in_order: bool,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { earliest: NEVER, latest: 0, in_order: true }
    }
}

impl Deadlines {
    /// An item that ends then is the newest.
    #[inline]
    pub fn add(&mut self, end: Nanos) {
        self.in_order &= self.latest <= end;
        self.latest = end;
        self.earliest = self.earliest.min(end);
    }

    /// None of them is earlier.
    pub fn earliest(&self) -> Nanos {
        self.earliest
    }

    /// One of them may have passed.
    #[inline]
    pub fn may_have_passed(&self, now: Nanos) -> bool {
        self.earliest <= now
    }

    /// Those that had passed at the oldest end have left, and this one is the oldest now. False: others may have passed.
    pub fn oldest_is(&mut self, end: Option<Nanos>) -> bool {
        match end {
            None => *self = Self::default(),
            Some(end) if self.in_order => self.earliest = end,
            Some(_) => return false,
        }
        true
    }

    /// All have been looked through: this is what is left.
    pub fn begin_again(&mut self, ends: impl Iterator<Item = Nanos>) {
        *self = Self::default();
        ends.for_each(|end| self.add(end));
    }
}
