//! What happens to an item that finds no room.
//!
//! # Algorithm
//! The policy is consulted only when there is no room, so a queue that is not full does not pay for it. With [`Overflow::Block`] the item
//! waits, or is refused if the caller cannot wait. With every other policy nobody waits for room:
//!
//! | policy       | an item that finds no room                      | what is dropped                      |
//! |--------------|--------------------------------------------------|--------------------------------------|
//! | `Reject`     | is refused at once, whether or not it could wait | nothing                              |
//! | `DropNewest` | is dropped                                       | it                                   |
//! | `DropOldest` | takes the place of the item that came first      | that                                 |
//! | `DropLowest` | takes the place of the least urgent item         | that, or the new one if it is it     |
//! | `Sample(n)`  | takes a place, one in n; the others are dropped  | the item that came first, or it      |
//!
//! An operation that meets the policy gets its item back as [`PutError::Overflows`] and calls [`Queue::put_or_drop`](super::Queue), which
//! decides in one step. A dropped item leaves the section with the answer, and its owner reports it. If it had been stored, it counts as a
//! finished task from then on. If the buffer does not know which item came first (a heap, see `baton`), the holder of the baton applies the
//! policy.
//!
//! If all places are promised to items on their way in, there is nothing to displace, and the new item is dropped.
//!
//! # Changing the policy
//! Waiters for room are woken when the policy changes, and meet the new policy.

use std::num::NonZeroU64;

use super::policy::{DropReason, Dropped, Overflow};
use super::state::{PutError, PutOutcome, State};
use crate::buffer::Buffer;
use crate::monitor::{Monitor, MonitorState};
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

impl<B: Buffer, W: Wake, X> State<B, W, X> {
    /// True if nobody waits for room, because the policy is not to block.
    #[inline]
    pub(super) fn overflows(&self) -> bool {
        self.overflow.policy != Overflow::Block
    }

    /// True if the policy drops items.
    pub(super) fn drops(&self) -> bool {
        !matches!(self.overflow.policy, Overflow::Block | Overflow::Reject)
    }

    /// The answer to a put that found no room.
    pub(super) fn full_error<T>(&mut self, item: T) -> PutError<T> {
        if self.buffer_is_stashed() {
            return PutError::Locked(item);
        }
        match self.overflow.policy {
            Overflow::Block => PutError::Full(item),
            Overflow::Reject => {
                self.note_full();
                self.overflow.rejected += 1;
                PutError::Rejected(item)
            }
            _ => PutError::Overflows(item),
        }
    }

    /// Puts the item; if there is no room the policy decides, in the same step. `Full`: the policy is to block.
    pub fn put_or_drop(&mut self, item: B::Item, wakes: &mut Wakes<W>) -> PutOutcome<B::Item> {
        self.forget_after_fork();
        if !self.is_plain {
            return Err(self.not_plain(item));
        }
        if self.buffer.is_keyed() {
            return self.put_keyed_or_drop(item, wakes);
        }
        if self.has_room() {
            self.store(item)?;
            self.wake_eligible(wakes);
            return Ok(None);
        }
        match self.overflow.policy {
            _ if self.buffer_is_stashed() => Err(PutError::Locked(item)),
            Overflow::Block | Overflow::Reject => Err(self.full_error(item)),
            _ => Ok(Some(self.displace(item))),
        }
    }

    /// Puts the item in place of another, or drops it, according to a policy that drops items.
    pub(super) fn displace(&mut self, item: B::Item) -> Dropped<B::Item> {
        let (displaces, otherwise) = self.overflow.choose();
        self.note_full();
        let oldest = displaces.and_then(|reason| Some((self.buffer.pop_oldest()?, reason)));
        let Some((oldest, reason)) = oldest else {
            self.drop_one(otherwise, false);
            return Dropped { item, reason: otherwise, was_stored: false };
        };
        self.store_in_place(item); // uses the memory of the displaced item
        self.drop_one(reason, true);
        Dropped { item: oldest, reason, was_stored: true }
    }

    /// Counts an item that is dropped.
    pub(super) fn drop_one(&mut self, reason: DropReason, was_stored: bool) {
        self.overflow.dropped[reason as usize] += 1;
        if was_stored {
            let full_since = self.full_since;
            self.count_discarded(1);
            self.full_since = full_since; // the queue is as full as before
        }
    }
}

impl<B: Buffer, W: Wake, D: Domain, X> Monitor<State<B, W, X>, W, D, 4> {
    pub fn overflow(&self, proof: D::Proof<'_>) -> Overflow {
        self.section.with(proof, |state| state.overflow.policy)
    }

    /// Changes the policy.
    pub fn set_overflow(&self, proof: D::Proof<'_>, policy: Overflow) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.overflow.policy = policy;
            state.notify_of_room(u64::MAX, wakes); // a putter that no longer needs room may be waiting at the condition
            state.wake_eligible(wakes);
        })
        .0
    }

    /// Puts an item without waiting; if there is no room the policy decides, in the same step. `Full`: the policy is to block.
    pub fn put_or_drop(&self, proof: D::Proof<'_>, item: B::Item) -> (Wakes<W>, PutOutcome<B::Item>) {
        self.visit(proof, |state, wakes| state.put_or_drop(item, wakes))
    }

    /// Called by the holder of the baton when there is no room: true if this arrival is the one in n that is sampled.
    pub fn sample(&self, proof: D::Proof<'_>, n: NonZeroU64) -> bool {
        self.section.with(proof, |state| state.overflow.sample(n))
    }

    /// Called by the holder of the baton when it has dropped an item, which had been removed from the buffer or not been added to it.
    pub fn count_dropped(&self, proof: D::Proof<'_>, reason: DropReason, was_stored: bool) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.drop_one(reason, was_stored);
            state.wake_eligible(wakes);
        })
        .0
    }
}
