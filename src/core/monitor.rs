//! `Monitor`: a section with wait queues, and the operations on them that all primitives share.
//!
//! A primitive has a state that contains [`WaitQueues`], and determines which waiters that state allows to proceed
//! ([`MonitorState::wake_all_eligible`]). The monitor adds, requeues, sets aside and removes waiters, and forgets them after a fork.

use std::collections::TryReserveError;
use std::fmt;
use std::marker::PhantomData;

use crate::clock::{Clock, Nanos};
use crate::fork;
use crate::section::{Domain, Section};
use crate::wait::waiter::Enqueued;
use crate::wait::{Blocked, Ticket, WaitQueue, Waiter, Wake, Wakes};

/// One of a primitive's wait queues.
pub trait Side: Copy + PartialEq {
    fn index(self) -> usize;

    /// The number of a further wait queue, which exists only while it has waiters. Its `index` is that of the queue that it belongs to.
    #[inline]
    fn further(self) -> Option<usize> {
        None
    }
}

impl Side for () {
    fn index(self) -> usize {
        0
    }
}

/// The wait queues of a primitive, and how long their waiters have waited.
#[derive(Debug)]
pub struct WaitQueues<W, const N: usize> {
    queues: [WaitQueue<W>; N],
    /// Allocated when the first further queue is added.
    further: Option<Box<Further<W>>>,
    blocked: [Blocked; N],
    pub(crate) clock: Clock<W>,
    generation: u64,
}

/// Wait queues that exist only while they have waiters.
#[derive(Debug)]
struct Further<W> {
    queues: Vec<WaitQueue<W>>,
    /// No new queue issues a ticket below this one, because an old ticket could be mistaken for it.
    next_ticket: Ticket,
}

impl<W: Wake, const N: usize> WaitQueues<W, N> {
    pub(crate) fn new(clock: Clock<W>) -> Self {
        let (queues, blocked) = (std::array::from_fn(|_| WaitQueue::default()), std::array::from_fn(|_| Blocked::default()));
        Self { queues, further: None, blocked, clock, generation: fork::generation() }
    }

    #[inline]
    pub(crate) fn queue(&self, side: impl Side) -> &WaitQueue<W> {
        // A further queue that no longer exists is replaced by the queue that it belonged to: no ticket of the one is found in the other.
        let further = side.further().and_then(|number| self.further.as_ref()?.queues.get(number));
        further.unwrap_or(&self.queues[side.index()])
    }

    #[inline]
    pub(crate) fn queue_mut(&mut self, side: impl Side) -> &mut WaitQueue<W> {
        let further = side.further().and_then(|number| self.further.as_mut()?.queues.get_mut(number));
        further.unwrap_or(&mut self.queues[side.index()])
    }

    /// All queues, further ones included.
    fn all_queues(&self) -> impl Iterator<Item = &WaitQueue<W>> {
        self.queues.iter().chain(self.further.iter().flat_map(|further| &further.queues))
    }

    fn further(&mut self) -> &mut Further<W> {
        self.further.get_or_insert_with(|| Box::new(Further { queues: Vec::new(), next_ticket: Ticket::default() }))
    }

    /// Reserves memory for a further queue.
    pub(crate) fn try_reserve_queue(&mut self) -> Result<(), TryReserveError> {
        self.further().queues.try_reserve(1)
    }

    /// Adds a further queue and returns its number.
    pub(crate) fn add_queue(&mut self) -> usize {
        let further = self.further();
        let mut queue = WaitQueue::default();
        queue.skip_tickets_before(further.next_ticket);
        further.queues.push(queue);
        further.queues.len() - 1
    }

    /// Removes all further queues, which are empty.
    pub(crate) fn remove_queues(&mut self) {
        let Some(further) = &mut self.further else { return };
        further.next_ticket = further.queues.iter().map(WaitQueue::next_ticket).fold(further.next_ticket, Ord::max);
        debug_assert!(further.queues.iter().all(WaitQueue::is_empty));
        further.queues = Vec::new();
    }

    /// The number of waiters in this queue and in the further queues that belong to it.
    pub(crate) fn waiters(&self, side: impl Side) -> usize {
        self.queue(side).len() + self.all_queues().skip(N).map(WaitQueue::len).sum::<usize>()
    }

    /// Prods all waiters in further queues.
    pub(crate) fn prod_further(&self, wakes: &mut Wakes<W>) {
        self.all_queues().skip(N).for_each(|queue| queue.prod_all(wakes));
    }

    /// The total time of all waits in the queue.
    pub(crate) fn blocked(&self, side: impl Side, now: Nanos) -> Nanos {
        self.blocked[side.index()].total(now)
    }

    /// The time during which the queue was not empty.
    pub(crate) fn occupied(&self, side: impl Side, now: Nanos) -> Nanos {
        self.blocked[side.index()].occupied(now)
    }

    /// Whether the waiter has been woken; `None` if it is not in this queue, and so counts as an arrival.
    pub(crate) fn is_woken<S: Side>(&mut self, side: S, waiter: &mut Waiter<S>) -> Option<bool> {
        let (_, ticket) = waiter.position().filter(|(held, _)| *held == side)?;
        if self.queue(side).contains(ticket) {
            return Some(self.queue(side).may_try(ticket));
        }
        waiter.0 = None; // its place was forgotten after a fork: it is an arrival again
        None
    }

    /// Whether the waiter may take what is available. An arrival may, unless arrivals must queue.
    pub(crate) fn has_turn<S: Side>(&mut self, side: S, waiter: &mut Waiter<S>) -> bool {
        self.is_woken(side, waiter).unwrap_or_else(|| !self.queue(side).arrivals_must_queue())
    }

    /// Adds the waiter at the end of the queue; one that is in the queue already waits again, in its old place.
    pub(crate) fn enqueue_or_requeue<S: Side>(
        &mut self,
        side: S,
        want: u64,
        waiter: &mut Waiter<S>,
        waker: &W,
        wakes: &mut Wakes<W>,
    ) {
        if let Some(ticket) = self.keep_or_enqueue(side, want, waiter, waker, wakes) {
            self.queue_mut(side).requeue(ticket);
        }
    }

    /// Returns the waiter's ticket if it is in the queue already; otherwise adds it at the end and returns `None`.
    pub(crate) fn keep_or_enqueue<S: Side>(
        &mut self,
        side: S,
        want: u64,
        waiter: &mut Waiter<S>,
        waker: &W,
        wakes: &mut Wakes<W>,
    ) -> Option<Ticket> {
        match waiter.position() {
            Some((held, ticket)) if held == side && self.queue(side).contains(ticket) => Some(ticket),
            _ => {
                self.remove_waiter(waiter, wakes);
                let since = self.clock.now();
                let ticket = self.queue_mut(side).join(waker.share(), want);
                self.blocked[side.index()].begin(since);
                waiter.0 = Some(Enqueued { side, ticket, since });
                None
            }
        }
    }

    /// Calls `waker` with every waker in every queue, once each; after a fork not with the parent's.
    pub(crate) fn visit_wakers(&self, waker: impl FnMut(&W)) {
        if self.generation == fork::generation() {
            self.all_queues().flat_map(WaitQueue::wakers).for_each(waker);
        }
    }

    /// Wakes and removes all waiters in the queue: they have been served, and their waits are over.
    pub(crate) fn serve_all(&mut self, side: impl Side, wakes: &mut Wakes<W>) {
        if !self.queue(side).is_empty() {
            let now = self.clock.now();
            self.blocked[side.index()].end_all(now);
            self.queue_mut(side).release_all(wakes);
        }
    }

    /// Removes the waiter from its queue, if it is in one.
    pub(crate) fn remove_waiter<S: Side>(&mut self, waiter: &mut Waiter<S>, wakes: &mut Wakes<W>) {
        let Some(held) = waiter.0.take() else { return };
        if let Some(waker) = self.queue_mut(held.side).leave(held.ticket) {
            wakes.discard(waker);
            let now = self.clock.now();
            self.blocked[held.side.index()].end(held.since, now);
        }
    }
}

/// State in a monitor.
pub trait MonitorState<W: Wake, const N: usize> {
    type Side: Side;

    fn wait_queues(&self) -> &WaitQueues<W, N>;
    fn wait_queues_mut(&mut self) -> &mut WaitQueues<W, N>;

    /// Wakes the waiters that the state now allows to proceed, in every queue.
    fn wake_all_eligible(&mut self, wakes: &mut Wakes<W>);

    /// Removes the waiter from its queue, if it is in one.
    fn remove_waiter(&mut self, waiter: &mut Waiter<Self::Side>, wakes: &mut Wakes<W>) {
        self.wait_queues_mut().remove_waiter(waiter, wakes);
    }

    /// Called at the end of a visit, for checks that are needed after every change.
    #[inline]
    fn settle(&mut self, _wakes: &mut Wakes<W>) {}

    /// Called when a waiter in this wait queue has stepped aside, or back.
    fn stepped(&mut self, _side: Self::Side) {}

    /// In the child of a fork: forgets other state that belongs to threads of the parent.
    fn forget_more(&mut self) {}

    /// In the child of a fork: forgets all waiters, which are the parent's, without touching them. True if this was the first call there.
    #[inline]
    fn forget_after_fork(&mut self) -> bool {
        let is_foreign = self.wait_queues().generation != fork::generation();
        if is_foreign {
            self.forget();
        }
        is_foreign
    }

    #[cold]
    #[inline(never)]
    fn forget(&mut self) {
        let wait_queues = self.wait_queues_mut();
        wait_queues.generation = fork::generation();
        let further = wait_queues.further.iter_mut().flat_map(|further| &mut further.queues);
        wait_queues.queues.iter_mut().chain(further).for_each(WaitQueue::forget);
        wait_queues.blocked.iter_mut().for_each(Blocked::forget);
        self.forget_more();
    }
}

/// Implements the methods of a state that return its wait queues, given the field and the number of the queues.
macro_rules! wait_queues {
    ($field:ident, $n:literal) => {
        #[inline]
        fn wait_queues(&self) -> &$crate::monitor::WaitQueues<W, $n> {
            &self.$field
        }

        #[inline]
        fn wait_queues_mut(&mut self) -> &mut $crate::monitor::WaitQueues<W, $n> {
            &mut self.$field
        }
    };
}
pub(crate) use wait_queues;

/// An object with wait queues, as its waiters use it.
pub trait Waitable<W: Wake, D: Domain> {
    /// The state that one operation keeps of its wait.
    type Waiter: Default + fmt::Debug + Send + Sync;
    /// The place in a queue, for `step_aside`.
    type Position: Copy;

    /// True if the first waiter keeps time for the others. It then steps aside whenever its thread runs signal handlers, which may take long.
    const FIRST_KEEPS_TIME: bool = false;

    fn position(waiter: &Self::Waiter) -> Option<Self::Position>;

    /// The clock of the object.
    fn clock(&self, proof: D::Proof<'_>) -> Clock<W>;

    /// See [`Monitor::leave`].
    #[must_use = "wake-ups are delivered by `fire`"]
    fn leave(&self, proof: D::Proof<'_>, waiter: &mut Self::Waiter) -> Wakes<W>;

    /// See [`Monitor::step_aside`].
    #[must_use = "wake-ups are delivered by `fire`"]
    fn step_aside(&self, proof: D::Proof<'_>, position: Self::Position) -> Wakes<W>;

    /// See [`Monitor::step_back`].
    #[must_use = "wake-ups are delivered by `fire`"]
    fn step_back(&self, proof: D::Proof<'_>, position: Self::Position) -> Wakes<W>;
}

impl<T, W: Wake, D: Domain, const N: usize> Waitable<W, D> for Monitor<T, W, D, N>
where
    T: MonitorState<W, N>,
    T::Side: fmt::Debug + Send + Sync,
{
    type Waiter = Waiter<T::Side>;
    type Position = (T::Side, Ticket);

    fn position(waiter: &Self::Waiter) -> Option<Self::Position> {
        waiter.position()
    }

    fn clock(&self, proof: D::Proof<'_>) -> Clock<W> {
        Monitor::clock(self, proof)
    }

    #[inline]
    fn leave(&self, proof: D::Proof<'_>, waiter: &mut Self::Waiter) -> Wakes<W> {
        Monitor::leave(self, proof, waiter)
    }

    fn step_aside(&self, proof: D::Proof<'_>, position: Self::Position) -> Wakes<W> {
        Monitor::step_aside(self, proof, position)
    }

    fn step_back(&self, proof: D::Proof<'_>, position: Self::Position) -> Wakes<W> {
        Monitor::step_back(self, proof, position)
    }
}

/// See the head of this file. `W` wakes a waiter, `D` guards the section.
pub struct Monitor<T, W: Wake, D: Domain, const N: usize> {
    pub(crate) section: Section<T, D>,
    waker: PhantomData<fn() -> W>,
}

impl<T: MonitorState<W, N>, W: Wake, D: Domain, const N: usize> Monitor<T, W, D, N> {
    pub(crate) fn of(state: T) -> Self {
        Self { section: Section::new(state), waker: PhantomData }
    }

    /// Enters the section once; `critical` may wake waiters.
    #[inline]
    pub(crate) fn visit<R>(&self, proof: D::Proof<'_>, critical: impl FnOnce(&mut T, &mut Wakes<W>) -> R) -> (Wakes<W>, R) {
        let mut wakes = Wakes::none();
        let result = self.section.with(proof, |state| {
            let result = critical(state, &mut wakes);
            state.settle(&mut wakes);
            result
        });
        (wakes, result)
    }

    /// True if this thread is inside the section already. Every other operation would then panic.
    #[inline]
    pub fn is_entered(&self, proof: D::Proof<'_>) -> bool {
        self.section.is_entered(proof)
    }

    pub fn clock(&self, proof: D::Proof<'_>) -> Clock<W> {
        self.section.with(proof, |state| state.wait_queues().clock.clone())
    }

    /// Stops waiting. If the waiter had been woken, the next waiter is woken instead. Can be called at any time, any number of times.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn leave(&self, proof: D::Proof<'_>, waiter: &mut Waiter<T::Side>) -> Wakes<W> {
        if !waiter.is_enqueued() {
            return Wakes::none();
        }
        self.visit(proof, |state, wakes| {
            state.remove_waiter(waiter, wakes);
            state.wake_all_eligible(wakes);
        })
        .0
    }

    /// Sets a waiter aside that cannot try for a while, because its thread runs a signal handler in the middle of the wait. If it had
    /// been woken, the next waiter is woken instead. It keeps its place until [`Monitor::step_back`].
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn step_aside(&self, proof: D::Proof<'_>, (side, ticket): (T::Side, Ticket)) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.wait_queues_mut().queue_mut(side).step_aside(ticket);
            state.stepped(side);
            state.wake_all_eligible(wakes);
        })
        .0
    }

    /// Puts a waiter back into its place after [`Monitor::step_aside`]; without that it has no effect.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn step_back(&self, proof: D::Proof<'_>, (side, ticket): (T::Side, Ticket)) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.wait_queues_mut().queue_mut(side).step_back(ticket);
            state.stepped(side);
            state.wake_all_eligible(wakes);
        })
        .0
    }

    /// Calls `waker` with every waker in every queue, once each.
    pub fn visit_wakers(&self, proof: D::Proof<'_>, waker: impl FnMut(&W)) {
        self.section.with(proof, |state| state.wait_queues().visit_wakers(waker));
    }
}

impl<T, W: Wake, D: Domain, const N: usize> fmt::Debug for Monitor<T, W, D, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").finish_non_exhaustive()
    }
}
