//! The queue's mutex, `queue.mutex` in Python. To others, the steps of its owner are one step.
//!
//! # Algorithm
//! Operations take no additional lock. Locking the mutex stashes the buffer and leaves an empty one, with a bound of 0, in its place: a put
//! finds no room and a get no item, so both take existing branches, and the fast paths never check the mutex. If operations need the baton
//! (see `baton`), it is withheld from them instead, and the buffer stays. The owner's own steps go through [`Monitor::step`], which
//! restores the buffer for one visit.
//!
//! | operation                          | mutex free  | locked by another                   | locked by the caller       |
//! |------------------------------------|-------------|-------------------------------------|----------------------------|
//! | `lock_mutex`                       | takes it    | waits; a deadlock is reported       | locks it once more         |
//! | one that can wait                  | goes        | waits in its ordinary wait queue    | `step`; it may not wait    |
//! | one that cannot                    | goes        | gets [`Locked`]: takes the mutex    | `step`                     |
//! | an item for a reserved place       | goes        | is put when the mutex is unlocked   | `step`                     |
//! | an inspection                      | goes        | sees the owner's current state      | the same                   |
//!
//! The foreign code of a holder of the baton may lock and unlock the mutex, because no other thread can be inside. The holder keeps the
//! baton.
//!
//! No waiter is woken while the mutex is locked. Unlocking wakes the waiters that can proceed afterwards. What the owner's steps drop is kept
//! until then, too, because it is reported outside every lock (`report_later`).
//!
//! # Conditions
//! A wait at a condition (`not_empty`, `not_full`, `all_tasks_done`) is an observer in the queue of putters, getters or joiners: it takes
//! nothing. Each put (get) notifies one of them, the last unfinished task and a shutdown notify all.
//!
//! # Fairness
//! Callers wait for the mutex in the wait queue for the baton, first come, first served. An arrival may overtake a woken waiter until that
//! has missed twice.
//!
//! # What it does not do
//! The mutex stays locked when its owner's thread ends. In the child of a fork it is free, unless its owner forked.

use super::parts::Terms;
use super::policy::{DropReason, Dropped, LateItems, Lost};
use super::state::{HeldMutex, MutexOwner, Side, State, Waiter};
use crate::buffer::Buffer;
use crate::monitor::{Monitor, MonitorState};
use crate::section::Domain;
use crate::sync::this_thread;
use crate::wait::{Ticket, Wake, Wakes};

/// The mutex is locked by another owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locked;

/// Why an item cannot be put when the mutex is unlocked. It is returned.
#[derive(Debug, PartialEq, Eq)]
pub enum NotLater<T> {
    /// The mutex is not locked.
    Unlocked(T),
    /// There is no memory to keep it until then. Its place has been given up.
    NoMemory(T),
}

/// The result of locking the mutex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MutexTaken {
    Yes,
    /// Another owner has it: the waiter, if one was passed, is in the queue, and its waker will be woken.
    Busy,
    /// Another owner on this thread has locked it, and cannot unlock it while this one waits.
    Deadlock,
}

/// A wait at one of the conditions.
#[derive(Debug)]
pub struct ConditionWait {
    side: Side,
    ticket: Ticket,
}

impl<B: Buffer, W: Wake, X> State<B, W, X> {
    /// True if the buffer has been stashed.
    #[inline]
    pub(super) fn buffer_is_stashed(&self) -> bool {
        self.held_mutex.as_ref().is_some_and(|held_mutex| held_mutex.stashed.is_some())
    }

    /// The mutex is locked.
    #[inline]
    pub(super) fn is_locked(&self) -> bool {
        self.held_mutex.is_some() || self.baton.is_locked()
    }

    /// The buffer and the bound, stashed or not.
    #[inline]
    pub(super) fn contents(&self) -> (&B, usize) {
        match self.held_mutex.as_ref().and_then(|held_mutex| held_mutex.stashed.as_ref()) {
            Some((buffer, limit)) => (buffer, *limit),
            None => (&self.buffer, self.limit),
        }
    }

    pub(super) fn contents_mut(&mut self) -> (&mut B, &mut usize) {
        match self.held_mutex.as_mut().and_then(|held_mutex| held_mutex.stashed.as_mut()) {
            Some((buffer, limit)) => (buffer, limit),
            None => (&mut self.buffer, &mut self.limit),
        }
    }

    fn held_by(&mut self, owner: MutexOwner) -> Option<&mut HeldMutex<B>> {
        self.held_mutex.as_deref_mut().filter(|held_mutex| held_mutex.owner == owner)
    }

    pub(super) fn is_held_by(&self, owner: MutexOwner) -> bool {
        self.held_mutex.as_ref().is_some_and(|held_mutex| held_mutex.owner == owner)
    }

    fn lock(&mut self, owner: MutexOwner, empty: Option<B>, wakes: &mut Wakes<W>) {
        let stashed = empty.map(|empty| (std::mem::replace(&mut self.buffer, empty), std::mem::replace(&mut self.limit, 0)));
        self.held_mutex = Some(Box::new(HeldMutex {
            owner,
            thread: this_thread(),
            depth: 1,
            stashed,
            late: Vec::new(),
            dropped: Lost::default(),
        }));
        self.baton.lock();
        if let Some(gauge) = &mut self.gauge {
            gauge.marks.look_again(); // the bound may be another when the mutex is unlocked
        }
        // Waiters for the baton move to other wait queues meanwhile, if they can.
        self.wait_queues.queue(Side::Baton).prod_all(wakes);
    }

    /// Unlocks the mutex. The caller drops the items that have come too late.
    fn unlock(&mut self) -> LateItems<B::Item> {
        let Some(held_mutex) = self.held_mutex.take() else { return LateItems::default() };
        let HeldMutex { stashed, late, mut dropped, .. } = *held_mutex;
        if let Some((buffer, limit)) = stashed {
            // The buffer that stood in for it is still empty.
            self.buffer = buffer;
            self.limit = limit;
        }
        // If the foreign code of a holder of the baton has locked and unlocked the mutex, the holder keeps the baton.
        if !self.baton.is_mine() {
            self.baton.release(false);
        }
        let is_over = self.shut && self.reserved == 0;
        let admit = |(item, terms)| if is_over { Some(item) } else { self.admit_late(item, terms, &mut dropped) };
        let lost = late.into_iter().filter_map(admit).collect(); // in the memory of `late`
        LateItems { lost, dropped: dropped.into_vec() }
    }

    /// Fills a reserved place. Returns the item if it is dropped and there is no memory for the report.
    fn admit_late(&mut self, item: B::Item, terms: Terms, dropped: &mut Lost<B::Item>) -> Option<B::Item> {
        self.reserved = self.reserved.saturating_sub(1);
        if self.drops() && self.parts.is_some() {
            return self.admit_somehow(item, terms, dropped);
        }
        if !self.drops() || self.has_room() {
            self.store_somehow(item, terms); // memory was reserved together with the place
        } else if dropped.try_reserve(1) {
            let Dropped { item, reason, was_stored } = self.displace(item);
            dropped.push(item, reason, was_stored);
        } else {
            self.drop_one(DropReason::Newest, false);
            return Some(item);
        }
        None
    }

    /// In the child of a fork: unlocks the mutex if its owner's thread does not exist there.
    pub(super) fn forget_mutex(&mut self) {
        if self.held_mutex.as_ref().is_some_and(|held_mutex| held_mutex.thread != this_thread()) {
            self.reserved = self.held_mutex.as_ref().map_or(0, |held_mutex| held_mutex.late.len());
            let late = self.unlock();
            std::mem::forget(late); // what was dropped, and after a shutdown what came too late: it is reported in the parent
        }
    }

    /// Notifies waits for `not_full` of room for this many items that no get has made.
    pub(super) fn notify_of_room(&mut self, places: u64, wakes: &mut Wakes<W>) {
        self.wait_queues.queue_mut(Side::Put).release_observers(places, wakes);
    }

    /// Notifies waits at conditions of the puts and gets since the last call.
    pub(super) fn notify_conditions(&mut self, wakes: &mut Wakes<W>) {
        for (side, events) in [(Side::Get, self.puts), (Side::Put, self.gets)] {
            let seen = &mut self.notified[usize::from(side == Side::Put)];
            let news = if self.shut { u64::MAX } else { events - *seen };
            *seen = events;
            self.wait_queues.queue_mut(side).release_observers(news, wakes);
        }
    }
}

impl<B: Buffer, W: Wake, D: Domain, X> Monitor<State<B, W, X>, W, D, 4> {
    /// Locks the mutex, or with `waiting` joins the wait queue for it. `empty` replaces a buffer that operations use directly; it is `None`
    /// if they need the baton.
    pub fn lock_mutex(
        &self,
        proof: D::Proof<'_>,
        owner: MutexOwner,
        empty: Option<B>,
        waiting: Option<(&mut Waiter, &W)>,
    ) -> (Wakes<W>, MutexTaken) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            let mut none = Waiter::default();
            let (waiter, waker) = waiting.map_or((&mut none, None), |(waiter, waker)| (waiter, Some(waker)));
            if let Some(held_mutex) = state.held_by(owner) {
                held_mutex.depth += 1;
                state.wait_queues.remove_waiter(waiter, wakes);
                return MutexTaken::Yes;
            }
            if state.held_mutex.as_ref().is_some_and(|held_mutex| held_mutex.thread == this_thread()) {
                state.wait_queues.remove_waiter(waiter, wakes);
                return MutexTaken::Deadlock;
            }
            // Inside its own hook or comparison the caller may lock the mutex at once, because no other thread can be inside.
            let free = state.baton.is_mine() || state.baton.is_free() && state.wait_queues.has_turn(Side::Baton, waiter);
            if free && state.held_mutex.is_none() {
                state.wait_queues.remove_waiter(waiter, wakes);
                state.lock(owner, empty, wakes);
                return MutexTaken::Yes;
            }
            if let Some(waker) = waker {
                state.wait_queues.enqueue_or_requeue(Side::Baton, 1, waiter, waker, wakes);
            }
            MutexTaken::Busy
        })
    }

    /// Unlocks the mutex as often as it was locked. If the caller is not the owner, this is an error, and nothing happens. Returns items
    /// that came after a shutdown had dropped all items.
    pub fn unlock_mutex(&self, proof: D::Proof<'_>, owner: MutexOwner) -> (Wakes<W>, Result<LateItems<B::Item>, Locked>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            let held_mutex = state.held_by(owner).ok_or(Locked)?;
            held_mutex.depth -= 1;
            if held_mutex.depth > 0 {
                return Ok(LateItems::default());
            }
            let late = state.unlock();
            state.wake_all_eligible(wakes);
            Ok(late)
        })
    }

    /// Whether this owner has locked the mutex.
    pub fn has_mutex(&self, proof: D::Proof<'_>, owner: MutexOwner) -> bool {
        self.section.with(proof, |state| {
            state.forget_after_fork();
            state.held_by(owner).is_some()
        })
    }

    /// Whether the mutex is locked.
    pub fn is_locked(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| {
            state.forget_after_fork();
            state.held_mutex.is_some()
        })
    }

    /// Changes the state in one step, `by` the owner of the mutex if it is locked. If another owner has locked it, `step` is not called.
    pub fn step<R>(
        &self,
        proof: D::Proof<'_>,
        by: Option<MutexOwner>,
        step: impl FnOnce(&mut State<B, W, X>, &mut Wakes<W>) -> R,
    ) -> (Wakes<W>, Result<R, Locked>) {
        let mut step = Some(step); // dropped outside the section, if it is not called
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            let allowed =
                state.baton.is_mine() || state.held_mutex.as_ref().is_none_or(|held_mutex| Some(held_mutex.owner) == by);
            let Some(step) = step.take_if(|_| allowed) else { return Err(Locked) };
            let mut held_mutex = state.held_mutex.take();
            let mut swap = |state: &mut State<B, W, X>| {
                if let Some((buffer, limit)) = held_mutex.as_mut().and_then(|held_mutex| held_mutex.stashed.as_mut()) {
                    std::mem::swap(buffer, &mut state.buffer);
                    std::mem::swap(limit, &mut state.limit);
                }
            };
            swap(state);
            let result = step(state, wakes);
            swap(state);
            state.held_mutex = held_mutex;
            Ok(result)
        })
    }

    /// Fills a reserved place as soon as the mutex is unlocked.
    pub fn fulfil_later(&self, proof: D::Proof<'_>, item: B::Item, terms: Terms) -> Result<(), NotLater<B::Item>> {
        self.section.with(proof, |state| {
            let Some(held_mutex) = &mut state.held_mutex else { return Err(NotLater::Unlocked(item)) };
            if held_mutex.late.try_reserve(1).is_err() {
                state.reserved = state.reserved.saturating_sub(1); // whom that lets proceed is woken when the mutex is unlocked
                return Err(NotLater::NoMemory(item));
            }
            held_mutex.late.push((item, terms));
            Ok(())
        })
    }

    /// Keeps what a step of the owner has dropped until the mutex is unlocked, which returns it. What is dropped by others, or finds no memory
    /// here, is returned at once.
    pub fn report_later(
        &self,
        proof: D::Proof<'_>,
        owner: MutexOwner,
        dropped: Dropped<B::Item>,
    ) -> Result<(), Dropped<B::Item>> {
        self.section.with(proof, |state| {
            let Some(held_mutex) = state.held_by(owner) else { return Err(dropped) };
            if !held_mutex.dropped.try_reserve(1) {
                return Err(dropped);
            }
            let Dropped { item, reason, was_stored } = dropped;
            held_mutex.dropped.push(item, reason, was_stored);
            Ok(())
        })
    }

    /// Unlocks the mutex of any owner, because the owner will not unlock it. Returns the same items as `unlock_mutex`.
    pub fn reset_mutex(&self, proof: D::Proof<'_>) -> LateItems<B::Item> {
        self.section.with(proof, State::unlock)
    }

    /// Joins (or stays in) the queue of putters or getters while another owner has locked the mutex. Returns false if the mutex is
    /// unlocked.
    pub fn enqueue_while_locked(&self, proof: D::Proof<'_>, side: Side, waiter: &mut Waiter, waker: &W) -> (Wakes<W>, bool) {
        self.visit(proof, |state, wakes| {
            let locked = !state.forget_after_fork() && state.held_mutex.is_some();
            if locked {
                state.wait_queues.enqueue_or_requeue(side, 1, waiter, waker, wakes);
            }
            locked
        })
    }

    /// Visits the items that wait for the mutex to be unlocked.
    pub fn visit_late(&self, proof: D::Proof<'_>, mut see: impl FnMut(&B::Item)) {
        self.section.with(proof, |state| {
            if let Some(held_mutex) = &state.held_mutex {
                held_mutex.late.iter().for_each(|(item, _)| see(item));
                held_mutex.dropped.since(0).iter().for_each(|dropped| see(&dropped.item));
            }
        });
    }

    /// The owner begins to wait for a notification. This unlocks the mutex, however often it was locked. Returns how often that was.
    #[expect(clippy::type_complexity, reason = "as above, with the place")]
    pub fn begin_condition_wait(
        &self,
        proof: D::Proof<'_>,
        owner: MutexOwner,
        side: Side,
        waker: &W,
    ) -> (Wakes<W>, Result<(ConditionWait, usize, LateItems<B::Item>), Locked>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            let depth = state.held_by(owner).ok_or(Locked)?.depth;
            let late = state.unlock();
            state.wake_all_eligible(wakes); // earlier events were for the waits that existed then
            (state.notified[0], state.notified[1]) = (state.puts, state.gets);
            let ticket = state.wait_queues.queue_mut(side).join_as_observer(waker.share());
            Ok((ConditionWait { side, ticket }, depth, late))
        })
    }

    /// Whether the wait has been notified.
    pub fn is_notified(&self, proof: D::Proof<'_>, wait: &ConditionWait) -> bool {
        self.section.with(proof, |state| state.forget_after_fork() || !state.wait_queues.queue(wait.side).contains(wait.ticket))
    }

    /// Ends a wait. Returns true if it had been notified; with `pass_on` the notification goes to the next wait.
    pub fn end_condition_wait(&self, proof: D::Proof<'_>, wait: &ConditionWait, pass_on: bool) -> (Wakes<W>, bool) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            let waker = state.wait_queues.queue_mut(wait.side).leave(wait.ticket);
            let notified = waker.is_none();
            if let Some(waker) = waker {
                wakes.discard(waker);
            } else if pass_on {
                state.wait_queues.queue_mut(wait.side).release_observers(1, wakes);
            }
            notified
        })
    }

    /// The owner notifies up to `count` waits at this condition.
    pub fn notify(&self, proof: D::Proof<'_>, owner: MutexOwner, side: Side, count: u64) -> (Wakes<W>, Result<(), Locked>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            if !state.baton.is_mine() {
                state.held_by(owner).ok_or(Locked)?;
            }
            state.wait_queues.queue_mut(side).release_observers(count, wakes);
            Ok(())
        })
    }

    /// Called after a wait: sets how often the mutex counts as locked.
    pub fn set_mutex_depth(&self, proof: D::Proof<'_>, owner: MutexOwner, depth: usize) {
        self.section.with(proof, |state| {
            if let Some(held_mutex) = state.held_by(owner) {
                held_mutex.depth = depth;
            }
        });
    }
}
