//! The fast paths of put and get: what they do in the common case, when there is room, or an item, and nobody waits.
//!
//! # Algorithm
//! There are two of each. The first is for a plain queue and is inlined into its caller, where each instruction counts; it declines at every
//! other queue by conditions that it has to check anyway. The second is for queues with marks, notes or keys, and is tried next. For a queue
//! that has times to live and nothing else there is one in between, in which as much is known as in the first.
//!
//! | fast path               | plain | with marks (`pressure`)                 | with notes (`composed`)                          | with keys (`keyed`)  |
//! |-------------------------|-------|-----------------------------------------|--------------------------------------------------|----------------------|
//! | `put_uncontended`       | goes  | declines                                | declines                                         | declines             |
//! | `get_uncontended`       | goes  | declines                                | declines                                         | declines             |
//! | `put_in_time`, `get_in_time` | declines | declines                        | goes, if there are only times to live            | declines             |
//! | `put_watched_or_noted`  | goes  | goes, unless the number is at a mark    | goes, unless weights or a shedding rule are kept | declines             |
//! | `put_keyed_uncontended` |       | goes, unless the number is at a mark    | declines                                         | goes                 |
//! | `get_watched_or_noted`  | goes  | goes, unless the number is at a mark    | goes, if the item has not expired                | goes, without notes  |
//! | `displace_uncontended`  | goes  | declines                                | declines                                         | declines             |
//!
//! `displace_uncontended` is a put into a full queue whose policy is to drop the oldest item.
//!
//! A buffer that needs the baton has fast paths of its own, [`Monitor::put_without_baton`] and [`Monitor::get_without_baton`]: for items whose
//! order is found without foreign code, while nobody holds the baton. They wake waiters, because there is no second way that is fast.
//!
//! A fast path that declines has changed nothing: the caller then makes a visit, which decides.
//!
//! # Reading the time
//! Reading the clock costs as much as a whole put and get of a plain queue. Where a few milliseconds are no matter the second path reads
//! the time of the system's last tick instead ([`Clock::recent`]): for a time to live of a second or more, and to see that an item's
//! end is still far away. That time is never later than the present one, so an item may expire a tick too early, and never too late.

use super::deadline::{NEVER, Note};
use super::ops::Queue;
use super::policy::{Dropped, Overflow};
use super::state::{Admission, Side, State};
use crate::buffer::Buffer;
use crate::clock::{Clock, Nanos, TICKS};
use crate::keys::KeyHash;
use crate::monitor::{Monitor, MonitorState};
use crate::section::{Domain, Gate};
use crate::wait::{Wake, Wakes};

/// A time to live that is not shorter is counted from the last tick.
const LONG: Nanos = 1_000_000_000;

impl<B: Buffer, W: Wake, D: Domain, X> Queue<B, W, D, X> {
    /// The fast path of [`Queue::try_put`] on a plain queue, small enough to be inlined into its caller: there is room, also in memory, and
    /// nobody waits. The item is made only then. On false nothing has happened.
    #[expect(clippy::inline_always, reason = "the point of it")]
    #[inline(always)]
    pub fn put_uncontended(&self, proof: D::Proof<'_>, admission: Admission, item: impl FnOnce() -> B::Item) -> bool {
        !self.section.is_entered(proof)
            && self.section.with(proof, |state| {
                if !state.buffer.has_slot() || !state.is_everyday {
                    return false;
                }
                let size = state.buffer.len_in_place();
                let free = size + state.reserved < state.limit && !state.is_barred(Side::Put, admission);
                let free = free && state.wait_queues.queue(Side::Get).none_waiting();
                if free {
                    state.buffer.push_in_place(item());
                    state.puts += 1;
                    state.note_peak(size + 1);
                }
                free
            })
    }

    /// The fast path of [`Queue::try_get`], as [`Queue::put_uncontended`] is that of `try_put`.
    #[expect(clippy::inline_always, reason = "the point of it")]
    #[inline(always)]
    pub fn get_uncontended(&self, proof: D::Proof<'_>, admission: Admission) -> Option<B::Item> {
        if self.section.is_entered(proof) {
            return None;
        }
        self.section.with(proof, |state| {
            if state.is_barred(Side::Get, admission) || !state.wait_queues.queue(Side::Put).none_waiting() {
                return None;
            }
            let item = state.buffer.pop_in_place();
            if item.is_some() {
                state.count_taken(1);
            }
            item
        })
    }
}

impl<B: Buffer, W: Wake, X> State<B, W, X> {
    /// A put with this time to live, if the queue [is timed](State::is_timed), there is room, also in memory, and nobody waits. On false
    /// nothing has happened.
    #[expect(clippy::inline_always, reason = "the point of it")]
    #[inline(always)]
    fn put_in_time(&mut self, ttl: Nanos, admission: Admission, item: impl FnOnce() -> B::Item) -> bool {
        if !self.is_timed {
            return false;
        }
        let clock = &self.wait_queues.clock;
        // The call comes first, so that few values have to be kept over it.
        let now = if ttl >= LONG { clock.recent() } else { clock.now() };
        let is_barred = self.is_barred(Side::Put, admission);
        let (putters, getters) = (self.wait_queues.queue(Side::Put), self.wait_queues.queue(Side::Get));
        let nobody = putters.none_waiting() & getters.none_waiting();
        let Some(parts) = &mut self.parts else { return false };
        let has_memory = self.buffer.has_slot() & parts.notes.has_slot();
        let size = self.buffer.len_in_place();
        let is_free = size + self.reserved < self.limit;
        // One branch: the compiler takes what comes after many of them for rare, and makes calls of it.
        #[expect(clippy::needless_bitwise_bool, reason = "as said")]
        let goes = has_memory & is_free & nobody & !is_barred;
        if goes {
            let note = Note::new(now, 0).until(now.saturating_add(ttl));
            parts.deadlines.add(note.deadline);
            parts.notes.push_in_place(note);
            self.buffer.push_in_place(item());
            self.puts += 1;
            self.note_peak(size + 1);
        }
        goes
    }

    /// A get, if the queue [is timed](State::is_timed), the next item has not expired, and nobody waits. On `None` nothing has happened.
    #[expect(clippy::inline_always, reason = "the point of it")]
    #[inline(always)]
    fn get_in_time(&mut self, admission: Admission) -> Option<B::Item> {
        if !self.is_timed {
            return None;
        }
        let recent = self.wait_queues.clock.recent();
        if self.is_barred(Side::Get, admission) || !self.wait_queues.queue(Side::Put).none_waiting() {
            return None;
        }
        let parts = self.parts.as_mut()?;
        let end = parts.notes.peek()?.deadline; // nothing is shed
        if end.saturating_sub(recent) <= TICKS && end <= self.wait_queues.clock.now() {
            return None; // it has to be dropped
        }
        let item = self.buffer.pop_oldest_in_place()?; // none while the mutex is locked
        parts.notes.pop(); // as few as there are items
        self.count_taken(1);
        Some(item)
    }
}

impl<B: Buffer, W: Wake, D: Domain, X> Queue<B, W, D, X> {
    /// The fast path of a put that can wait, with a time to live. It is to be inlined into one caller; others use
    /// [`Monitor::put_watched_or_noted`]. On false nothing has happened.
    #[expect(clippy::inline_always, reason = "the point of it")]
    #[inline(always)]
    pub fn put_in_time(&self, proof: D::Proof<'_>, ttl: Nanos, item: impl FnOnce() -> B::Item) -> bool {
        !self.section.is_entered(proof) && self.section.with(proof, |state| state.put_in_time(ttl, Admission::Queued, item))
    }

    /// The fast path of a get that can wait, from a queue with times to live, in the same way. On `None` nothing has happened. Where a section
    /// is a lock it always declines, because entering the section costs more than it saves: [`Monitor::get_watched_or_noted`] does the same.
    #[expect(clippy::inline_always, reason = "the point of it")]
    #[inline(always)]
    pub fn get_in_time(&self, proof: D::Proof<'_>) -> Option<B::Item> {
        if D::Gate::IS_A_LOCK || self.section.is_entered(proof) {
            return None;
        }
        self.section.with(proof, |state| state.get_in_time(Admission::Queued))
    }
}

/// True if the time of an item that ends then has not come.
#[inline]
fn is_live<W: Wake>(clock: &Clock<W>, end: Nanos) -> bool {
    end == NEVER || end.saturating_sub(clock.recent()) > TICKS || end > clock.now()
}

impl<B: Buffer, W: Wake, D: Domain, X> Monitor<State<B, W, X>, W, D, 4> {
    /// The fast path of a put into a queue with marks or notes. On false nothing has happened.
    #[inline]
    pub fn put_watched_or_noted(
        &self,
        proof: D::Proof<'_>,
        ttl: Option<Nanos>,
        admission: Admission,
        item: impl FnOnce() -> B::Item,
    ) -> bool {
        self.section.with(proof, |state| {
            let nobody = !state.is_barred(Side::Put, admission)
                && state.wait_queues.queue(Side::Put).none_waiting()
                && state.wait_queues.queue(Side::Get).none_waiting();
            if !nobody || !state.buffer.has_slot() || !state.has_room() || !state.is_quiet_at(state.buffer.len() + 1) {
                return false;
            }
            match &mut state.parts {
                Some(parts) if parts.is_everyday && parts.notes.has_slot() => {
                    let clock = &state.wait_queues.clock;
                    let is_rough = parts.latency.is_none() && ttl.is_none_or(|ttl| ttl >= LONG);
                    let now = if is_rough { clock.recent() } else { clock.now() };
                    let note = Note::new(now, 0).until(ttl.map_or(NEVER, |ttl| now.saturating_add(ttl)));
                    parts.deadlines.add(note.deadline);
                    parts.notes.push_in_place(note);
                }
                None if state.is_plain && ttl.is_none() => (),
                _ => return false,
            }
            state.buffer.push_in_place(item());
            state.count_stored(1);
            true
        })
    }

    /// The fast path of a put of an item with this key, and without a rank, into a queue without notes. The item is made only if there is room
    /// for it, and need not know its key. On false nothing has happened.
    #[inline]
    pub fn put_keyed_uncontended(&self, proof: D::Proof<'_>, key: KeyHash, item: impl FnOnce() -> B::Item) -> bool {
        self.section.with(proof, |state| {
            let nobody = state.wait_queues.queue(Side::Get).none_waiting() && !state.has_waiting_putters_with_key();
            if !nobody || !state.is_plain || !state.is_quiet_at(state.buffer.len() + 1) {
                return false;
            }
            let goes = state.buffer.push_with_key(key, state.limit, item);
            if goes {
                state.count_stored(1);
            }
            goes
        })
    }

    /// The fast path of a get from a queue with marks, notes or keys. On `None` nothing has happened.
    #[inline]
    pub fn get_watched_or_noted(&self, proof: D::Proof<'_>, admission: Admission) -> Option<B::Item> {
        self.section.with(proof, |state| {
            if let Some(item) = state.get_in_time(admission) {
                return Some(item);
            }
            let nobody = !state.is_barred(Side::Get, admission) && state.wait_queues.queue(Side::Put).none_waiting();
            let left = state.buffer.len().checked_sub(1)?; // none also while the mutex is locked
            if !nobody || !state.is_quiet_at(left) {
                return None;
            }
            let Some(parts) = &mut state.parts else {
                if state.has_waiting_putters_with_key() {
                    return None;
                }
                let item = state.buffer.pop()?;
                state.count_taken(1);
                return Some(item);
            };
            if !parts.is_everyday {
                return None;
            }
            let is_stack = state.buffer.is_stack();
            let note = *if is_stack { parts.notes.last() } else { parts.notes.peek() }?;
            let clock = &state.wait_queues.clock;
            let is_live = match &parts.latency {
                None => is_live(clock, note.end()),
                Some(latency) => {
                    let now = clock.now();
                    let is_live = note.end() > now;
                    if is_live {
                        latency.record_alone(note.waited(now));
                    }
                    is_live
                }
            };
            if !is_live {
                return None; // it has to be dropped
            }
            if is_stack {
                parts.notes.pop_last()
            } else {
                parts.notes.pop()
            };
            parts.weights.remove(note.weight);
            state.take_end(is_stack)
        })
    }
}

impl<B: Buffer, W: Wake, D: Domain, X> Monitor<State<B, W, X>, W, D, 4> {
    /// The fast path of a put into a full queue that drops its oldest item: nobody waits, and it has been full since an earlier put. Returns
    /// the dropped item. On `None` nothing has happened.
    #[inline]
    pub fn displace_uncontended(&self, proof: D::Proof<'_>, item: impl FnOnce() -> B::Item) -> Option<Dropped<B::Item>> {
        self.section.with(proof, |state| {
            let drops_oldest = state.overflow.policy == Overflow::DropOldest && !state.buffer.is_keyed();
            let nobody = state.wait_queues.queue(Side::Put).none_waiting() && state.wait_queues.queue(Side::Get).none_waiting();
            let is_full = state.full_since.is_some() && !state.has_room() && !state.buffer.is_empty(); // empty while the mutex is locked
            (drops_oldest && nobody && is_full && state.is_everyday).then(|| state.displace(item()))
        })
    }
}

impl<B: Buffer, W: Wake, D: Domain, X> Monitor<State<B, W, X>, W, D, 4> {
    /// The fast path of a put into a plain queue that needs the baton: nobody holds it, and there is room. `push` adds the item, if that needs
    /// no foreign code; it returns false if it has changed nothing. On false nothing has happened.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn put_without_baton(
        &self,
        proof: D::Proof<'_>,
        admission: Admission,
        push: impl FnOnce(&mut B) -> bool,
    ) -> (Wakes<W>, bool) {
        self.visit(proof, |state, wakes| {
            let goes = state.needs_no_baton(Side::Put, admission) && state.has_room() && push(&mut state.buffer);
            if goes {
                state.count_stored(1);
                if !state.wait_queues.queue(Side::Get).none_waiting() {
                    state.wake_eligible(wakes);
                }
            }
            goes
        })
    }

    /// The fast path of a get, in the same way: `pop` takes the next item out. On `None` nothing has happened.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn get_without_baton<T>(
        &self,
        proof: D::Proof<'_>,
        admission: Admission,
        pop: impl FnOnce(&mut B) -> Option<T>,
    ) -> (Wakes<W>, Option<T>) {
        self.visit(proof, |state, wakes| {
            let item = if state.needs_no_baton(Side::Get, admission) { pop(&mut state.buffer) } else { None };
            if item.is_some() {
                state.count_taken(1);
                if !state.wait_queues.queue(Side::Put).none_waiting() {
                    state.wake_eligible(wakes);
                }
            }
            item
        })
    }
}

impl<B: Buffer, W: Wake, X> State<B, W, X> {
    /// True if nobody works on the buffer, and this arrival overtakes nobody.
    #[inline]
    fn needs_no_baton(&mut self, side: Side, admission: Admission) -> bool {
        self.forget_after_fork();
        let is_free = self.baton.is_free() && !self.wait_queues.queue(Side::Baton).arrivals_must_queue();
        is_free && self.is_plain && self.held_mutex.is_none() && !self.is_barred(side, admission)
    }

    /// Takes the next item, if it is the newest or the oldest.
    #[inline]
    fn take_end(&mut self, is_stack: bool) -> Option<B::Item> {
        let item = if is_stack { self.buffer.pop_newest() } else { self.buffer.pop_oldest() }?;
        self.count_taken(1);
        Some(item)
    }
}
