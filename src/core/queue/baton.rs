//! The slow path, for buffers whose order needs foreign code: heaps of items with their own `<`, and classes with overridden hooks.
//!
//! Foreign code must not run inside the section. So an operation takes a *baton*, works outside, and gives the baton back together with the
//! result. Meanwhile other operations wait for the baton, in a wait queue of their own. An item that the foreign code itself puts, on the
//! same thread, goes to an inbox, which is merged before the baton is given back (waiting would be a deadlock), and a get by the foreign
//! code is refused.
//!
//! | operation                  | baton free | held by another thread | held by this thread | mutex locked by another (see `mutex`) | by the caller |
//! |----------------------------|------------|------------------------|---------------------|---------------------------------------|---------------|
//! | put                        | takes it   | waits                  | inbox               | returns [`BatonTaken::Locked`]        | takes it      |
//! | get, peek, clear, snapshot | takes it   | waits                  | refused             | returns [`BatonTaken::Locked`]        | takes it      |
//!
//! While it holds the baton, a put asks for room by [`Monitor::admit_put`]:
//!
//! | the queue                     | answer                       | the baton                                              |
//! |-------------------------------|------------------------------|--------------------------------------------------------|
//! | has room, or places promised  | [`Admitted::Room`]           | stays; the places are reserved until `finish`          |
//! | is full, `Block`              | [`Admitted::Refused`]        | goes back; a put that can wait joins the queue of putters |
//! | is full, `Reject`             | [`Admitted::Rejected`]       | goes back; the refusal is counted                      |
//! | is full, a policy that drops  | [`Admitted::Overflows`]      | stays; the holder does as the policy says, for one item |
//! | is shut, no places promised   | [`Admitted::ShutDown`]       | goes back                                              |
//!
//! While the baton is out, the buffer belongs to its holder, which may change it step by step, each in a visit of its own. An item from the
//! inbox counts as stored as soon as it leaves the inbox; a heap stays in its place while a comparison runs (because a fork in it must find
//! the heap); and [`Monitor::count_progress`] accounts for the items put and taken so far. At each visit `buffer.len()` agrees with what
//! has been accounted for. [`Monitor::finish`] accounts for the rest.

use super::batch::{BatchBounds, BatchError, Linger};
use super::policy::Overflow;
use super::state::{MutexOwner, Side, State, Waiter};
use crate::buffer::Buffer;
use crate::keys::KeyHash;
use crate::monitor::{Monitor, MonitorState};
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

impl<B: Buffer, W: Wake, X> State<B, W, X> {
    fn give_back_baton(&mut self, wakes: &mut Wakes<W>) {
        self.baton.release(self.held_mutex.is_some());
        self.wake_for_baton(wakes);
    }

    /// Makes sure that a waiter for the baton is awake while nobody holds it.
    pub(super) fn wake_for_baton(&mut self, wakes: &mut Wakes<W>) {
        let queue = self.wait_queues.queue_mut(Side::Baton);
        if self.baton.is_free() && !queue.none_waiting() {
            queue.wake_while(wakes, |_, claimed| claimed == 0);
        }
    }
}

/// The result of asking for the baton.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatonTaken {
    Yes,
    /// Another thread holds it: the waiter is in the wait queue, and the waker will be woken.
    Busy,
    /// This thread holds it: the call comes from foreign code of its own.
    Reentered,
    /// The mutex is locked by another owner, or by the caller itself without saying so. The waiter has not joined a wait queue.
    Locked,
}

/// The answer to a request for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// This many items may be put; their places are reserved until `finish`.
    Room(usize),
    /// There is no room now. The baton has been given back.
    Refused,
    /// There is no room, and the policy does not wait for room. The baton has been given back.
    Rejected,
    /// There is no room: the holder acts according to the policy, one item at a time.
    Overflows(Overflow),
    ShutDown,
}

impl<B: Buffer, W: Wake, D: Domain, X> Monitor<State<B, W, X>, W, D, 4> {
    /// The common case of [`Monitor::take_baton`]: the baton is free and nobody waits for it. On false nothing has happened.
    pub fn take_baton_uncontended(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| {
            state.forget_after_fork();
            let free = state.baton.is_free() && !state.wait_queues.queue(Side::Baton).arrivals_must_queue();
            if free {
                state.baton.take();
            }
            free
        })
    }

    /// True if a put or get that does not wait would be refused even by the holder of the baton, without changing anything. On false the operation
    /// has to be tried. `is_settled` says whether the buffer's size is up to date.
    pub fn refuses_at_once(&self, proof: D::Proof<'_>, side: Side, is_settled: impl FnOnce(&B) -> bool) -> bool {
        self.section.with(proof, |state| {
            state.forget_after_fork();
            let free = state.baton.is_free() && !state.wait_queues.queue(Side::Baton).arrivals_must_queue();
            if !free || state.shut || state.parts.is_some() || !is_settled(&state.buffer) {
                return false;
            }
            if side == Side::Get {
                return state.buffer.is_empty();
            }
            let refused = !state.overflows() && state.room() == 0;
            if refused {
                state.note_full();
            }
            refused
        })
    }

    /// True if a plain queue refuses an item of this key that does not wait, whatever the item is. Records it as the put would.
    pub fn refuses_key(&self, proof: D::Proof<'_>, key: KeyHash) -> bool {
        self.section.with(proof, |state| {
            state.forget_after_fork();
            let decides = state.is_plain && !state.overflows() && !state.buffer_is_stashed();
            let refused = decides && !state.has_room_for(key);
            if refused {
                state.note_full();
            }
            refused
        })
    }

    /// Takes the baton, or joins the wait queue for it. `waiter` is for this wait queue alone; an operation that also waits for room or
    /// items has another waiter for that. `by` is the owner of the mutex, if that is locked.
    pub fn take_baton(
        &self,
        proof: D::Proof<'_>,
        by: Option<MutexOwner>,
        waiter: &mut Waiter,
        waker: &W,
    ) -> (Wakes<W>, BatonTaken) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            if state.baton.is_mine() {
                return BatonTaken::Reentered;
            }
            if state.baton.is_free() && state.wait_queues.has_turn(Side::Baton, waiter) {
                state.wait_queues.remove_waiter(waiter, wakes);
                state.baton.take();
                return BatonTaken::Yes;
            }
            if state.baton.is_locked() {
                state.wait_queues.remove_waiter(waiter, wakes);
                if by.is_none_or(|owner| !state.is_held_by(owner)) {
                    return BatonTaken::Locked;
                }
                state.baton.take();
                return BatonTaken::Yes;
            }
            state.wait_queues.enqueue_or_requeue(Side::Baton, 1, waiter, waker, wakes);
            BatonTaken::Busy
        })
    }

    /// True if this thread holds the baton: then the caller runs inside the holder's foreign code.
    pub fn baton_is_mine(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| state.baton.is_mine())
    }

    /// The holder asks to put `want` items. `look` updates the buffer's size first. If the request is refused, a waiter joins the queue of
    /// putters. `promised` is the number of items that have a reserved place; these are accepted, unless the policy drops items and the
    /// queue is full without them. `weight` is the weight of the first item, if items have weights; then they are put one by one.
    pub fn admit_put(
        &self,
        proof: D::Proof<'_>,
        (want, promised, weight): (usize, usize, u64),
        waiting: Option<(&mut Waiter, &W)>,
        look: impl FnOnce(&mut B),
    ) -> (Wakes<W>, Admitted) {
        self.visit(proof, |state, wakes| {
            look(&mut state.buffer);
            let promised = promised.min(state.reserved);
            state.reserved -= promised;
            let mut room =
                if state.room_by_weight().is_some() { usize::from(state.fits(weight)) } else { state.room() }.min(want);
            if state.shut || !state.drops() {
                room = room.max(promised);
            }
            let policy = state.overflow.policy;
            let admitted = match waiting {
                _ if state.shut && promised == 0 => Admitted::ShutDown,
                _ if room == 0 && policy == Overflow::Reject => {
                    state.overflow.rejected += 1;
                    Admitted::Rejected
                }
                Some((waiter, _)) if room == 0 && state.overflows() => {
                    state.wait_queues.remove_waiter(waiter, wakes);
                    state.note_full();
                    return Admitted::Overflows(policy);
                }
                None if room == 0 && state.overflows() => {
                    state.note_full();
                    return Admitted::Overflows(policy);
                }
                None if room > 0 => {
                    state.reserved += room;
                    return Admitted::Room(room);
                }
                None => Admitted::Refused,
                Some((waiter, waker)) => {
                    if state.has_put_turn(waiter) && room > 0 {
                        state.wait_queues.remove_waiter(waiter, wakes);
                        state.reserved += room;
                        return Admitted::Room(room);
                    }
                    let want = if state.room_by_weight().is_some() { weight } else { 1 };
                    state.wait_queues.enqueue_or_requeue(Side::Put, want, waiter, waker, wakes);
                    Admitted::Refused
                }
            };
            state.note_full();
            state.give_back_baton(wakes);
            state.wake_eligible(wakes);
            admitted
        })
    }

    /// The holder asks to get a batch, and sees to its weight. Otherwise as `admit_put`; `linger` as in `get_batch_or_wait`.
    pub fn admit_get(
        &self,
        proof: D::Proof<'_>,
        bounds: impl Into<BatchBounds>,
        linger: Linger,
        waiting: Option<(&mut Waiter, &W)>,
        look: impl FnOnce(&mut B),
    ) -> (Wakes<W>, Result<usize, BatchError>) {
        let bounds = bounds.into();
        self.visit(proof, |state, wakes| {
            look(&mut state.buffer);
            let admitted = match waiting {
                Some((waiter, waker)) => state.batch_turn(bounds, linger, waiter, waker, wakes),
                None if !state.buffer.is_empty() => Ok(bounds.max.min(state.buffer.len())),
                None if state.is_drained() => Err(BatchError::ShutDown),
                None => Err(BatchError::Empty),
            };
            if admitted.is_err() {
                state.give_back_baton(wakes);
                state.wake_eligible(wakes);
            }
            admitted
        })
    }

    /// Records that the holder has merged this many items into waiting ones: they count as put and as finished. `counted`: they were
    /// counted as put, and as unfinished, when they came into the inbox.
    pub fn count_merged(&self, proof: D::Proof<'_>, merged: usize, counted: bool) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.merged += merged as u64;
            if counted {
                state.count_discarded(merged);
                state.wake_eligible(wakes);
            } else {
                let unfinished = state.unfinished();
                state.puts += merged as u64;
                state.set_unfinished(unfinished);
            }
        })
        .0
    }

    /// Makes waiters for room try again: the item of one of them may now be merged into an item that has come.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn prod_putters(&self, proof: D::Proof<'_>) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            let queue = state.wait_queues.queue(Side::Put);
            queue.waiting().for_each(|(ticket, _)| queue.prod(ticket, wakes));
        })
        .0
    }

    /// Accounts for the items that the holder has put and taken so far.
    pub fn count_progress(&self, proof: D::Proof<'_>, puts: usize, gets: usize) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.count_stored(puts);
            if gets > 0 {
                state.count_taken(gets);
            }
            state.wake_eligible(wakes);
        })
        .0
    }

    /// Called when the holder is done: `puts` items of `admitted` have been put, and `gets` have been taken. `bring_back` returns the
    /// buffer, and whether the inbox is empty. If not, the holder keeps the baton, and has to merge the inbox and finish again.
    pub fn finish(
        &self,
        proof: D::Proof<'_>,
        admitted: usize,
        puts: usize,
        gets: usize,
        bring_back: impl FnOnce(&mut B) -> bool,
    ) -> (Wakes<W>, bool) {
        self.visit(proof, |state, wakes| {
            let done = bring_back(&mut state.buffer);
            state.reserved = state.reserved.saturating_sub(admitted);
            state.count_stored(puts);
            if gets > 0 {
                state.count_taken(gets);
            }
            if done {
                state.give_back_baton(wakes);
                state.wake_eligible(wakes);
            }
            done
        })
    }
}
