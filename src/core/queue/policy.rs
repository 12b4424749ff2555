//! The words for what becomes of an item that finds no room: the policy, the reasons, and the counts. What they mean is said in `overflow`.

use std::num::NonZeroU64;

/// What a queue does with an item that finds no room, see `overflow`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    #[default]
    Block,
    Reject,
    DropOldest,
    DropNewest,
    DropLowest,
    Sample(NonZeroU64),
}

/// Why an item was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// It had come first.
    Oldest,
    /// It came when there was no room.
    Newest,
    /// It was the least urgent one.
    Lowest,
    /// Another arrival was sampled.
    Sampled,
    /// Its time to live had passed.
    Expired,
    /// It had waited longer than an overloaded queue lets items wait.
    Shed,
}

impl DropReason {
    pub const ALL: [Self; 6] = [Self::Oldest, Self::Newest, Self::Lowest, Self::Sampled, Self::Expired, Self::Shed];
    pub const COUNT: usize = Self::ALL.len();
}

/// An item that a queue has given up.
#[must_use = "it is to be reported, and dropped outside the section"]
#[derive(Debug, PartialEq, Eq)]
pub struct Dropped<T> {
    pub item: T,
    pub reason: DropReason,
    /// It had been in the queue. Else it is the new one.
    pub was_stored: bool,
}

/// The items that a queue has given up in one step, in that order.
///
/// Their number has no bound, because all items of a queue may have expired. So memory is reserved before an item is taken out of the queue:
/// without memory an expired item stays there, and the operation that would have to give it up fails.
#[must_use = "they are to be reported, and dropped outside the section"]
#[derive(Debug, PartialEq, Eq)]
pub struct Lost<T> {
    items: Vec<Dropped<T>>,
    lacks_memory: bool,
}

impl<T> Default for Lost<T> {
    fn default() -> Self {
        Self { items: Vec::new(), lacks_memory: false }
    }
}

impl<T> Lost<T> {
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn into_vec(self) -> Vec<Dropped<T>> {
        self.items
    }

    /// The items that have been added since there were `count`.
    pub(crate) fn since(&self, count: usize) -> &[Dropped<T>] {
        &self.items[count..]
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Reserves memory for so many more items. False: there is none, and no stored item may be given up.
    #[inline]
    pub(crate) fn try_reserve(&mut self, more: usize) -> bool {
        // Not `|= !is_reserved`: if the caller branches on the result, rustc 1.95 makes that an assignment of `true` in release builds.
        if self.items.try_reserve(more).is_err() {
            self.lacks_memory = true;
            return false;
        }
        true
    }

    /// True if an item could not be given up for want of memory.
    pub(crate) fn lacks_memory(&self) -> bool {
        self.lacks_memory
    }

    /// Adds an item, for which memory has been reserved.
    pub(crate) fn push(&mut self, item: T, reason: DropReason, was_stored: bool) {
        debug_assert!(self.items.len() < self.items.capacity(), "no memory has been reserved for the report");
        self.items.push(Dropped { item, reason, was_stored });
    }
}

/// What comes back with the mutex (see `mutex`): of the items that came into reserved places while it was locked, and of what its owner did.
#[must_use = "it is to be reported, and dropped outside the section"]
#[derive(Debug, PartialEq, Eq)]
pub struct LateItems<T> {
    /// Nobody is told of them: a shutdown had thrown everything away before, or there is no memory for the report.
    pub lost: Vec<T>,
    /// What a step of the owner has dropped; and then what the policy has dropped of those items, or in their place.
    pub dropped: Vec<Dropped<T>>,
}

impl<T> Default for LateItems<T> {
    fn default() -> Self {
        Self { lost: Vec::new(), dropped: Vec::new() }
    }
}

/// What the policy has done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OverflowState {
    pub(super) policy: Overflow,
    /// Arrivals while the queue was full, since one was sampled.
    skipped: u64,
    pub(super) rejected: u64,
    pub(super) dropped: [u64; DropReason::COUNT],
}

impl OverflowState {
    /// Why a stored item goes for the new one, if one does; and why else the new one is dropped.
    pub(super) fn choose(&mut self) -> (Option<DropReason>, DropReason) {
        match self.policy {
            Overflow::DropOldest => (Some(DropReason::Oldest), DropReason::Newest),
            Overflow::Sample(n) => (self.sample(n).then_some(DropReason::Sampled), DropReason::Sampled),
            _ => (None, DropReason::Newest),
        }
    }

    /// Is this arrival the one in n?
    pub(super) fn sample(&mut self, n: NonZeroU64) -> bool {
        self.skipped += 1;
        let sampled = self.skipped >= n.get();
        if sampled {
            self.skipped = 0;
        }
        sampled
    }
}
