//! Notification of crossings of the marks: of callers that wait for the low mark ([`Relief`]), and of listeners, each in order ([`Told`]).
//!
//! A crossing happens in the queue's section, where nobody can be notified. So it is only counted there, and the queue's *herald*, a waker
//! like any other, leaves the section with the wake-ups. When it is woken, in the thread that caused the crossing, it reads the number of
//! crossings ([`Crossings`]) and notifies everyone who has been told of fewer. Crossings alternate, so their number is all the information.
//!
//! Two threads that cause consecutive crossings may reach a listener in the wrong order. The listener is still notified in the right order,
//! because it counts what it has been told; while one thread notifies it, other threads leave further crossings to that thread.
//!
//! | a listener | event                | answer of `next`            |
//! |------------|----------------------|-----------------------------|
//! | idle       | there is news        | the news: the caller notifies the listener, then asks again |
//! | idle       | there is no news     | nothing                     |
//! | being told | another caller asks  | nothing: the thread that notifies it asks again, and finds the news |
//! | closed     | any                  | nothing, for ever           |
//!
//! In the child of a fork, a listener that was being notified by another thread is idle, because that thread does not exist there.
//!
//! # Fairness
//! All waiters for the low mark are woken at once, in order of arrival, because they do not compete.

use crate::clock::{Clock, Nanos};
use crate::fork;
use crate::monitor::{Monitor, MonitorState, WaitQueues, wait_queues};
use crate::section::Domain;
use crate::sync::{AtomicBool, AtomicU64, Ordering, Shared, ThreadMark, this_thread};
use crate::wait::{Waiter, Wake, Wakes};

/// The crossings of a queue's marks, written only inside its section and read by others.
#[derive(Debug, Default)]
pub struct Crossings {
    count: AtomicU64,
    shut: AtomicBool,
}

impl Crossings {
    /// The number of crossings in both directions; it is odd while the level is high.
    pub fn count(&self) -> u64 {
        // Acquire: a thread that sees a crossing sees what led to it. (A stale number does no harm, because the herald of the newer
        // crossing is on its way.)
        self.count.load(Ordering::Acquire)
    }

    pub fn is_high(&self) -> bool {
        self.count() % 2 == 1
    }

    pub fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire)
    }

    pub(super) fn set(&self, count: u64, shut: bool) {
        self.count.store(count, Ordering::Release);
        self.shut.store(shut, Ordering::Release);
    }
}

/// The result of waiting for the low mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relieved {
    /// The level is low, or has been low since the waiter came.
    Yes,
    /// The level is high. A waiter that can wait is in the wait queue.
    NotYet,
    /// The level is high, and the queue has been shut down.
    ShutDown,
}

/// The waiters for the low mark.
#[derive(Debug)]
pub struct Relief<W> {
    crossings: Shared<Crossings>,
    /// All current waiters have come since this crossing.
    seen: u64,
    wait_queues: WaitQueues<W, 1>,
}

impl<W: Wake> Relief<W> {
    /// Releases the waiters that came before the level was last low; after a shutdown, all waiters.
    fn look(&mut self, wakes: &mut Wakes<W>) {
        let count = self.crossings.count();
        // Whether the level has become low since.
        let was_low = count / 2 > self.seen / 2;
        self.seen = self.seen.max(count);
        if was_low || self.crossings.is_shut() {
            self.wait_queues.serve_all((), wakes);
        }
    }
}

impl<W: Wake> MonitorState<W, 1> for Relief<W> {
    type Side = ();

    wait_queues!(wait_queues, 1);

    fn wake_all_eligible(&mut self, wakes: &mut Wakes<W>) {
        self.look(wakes);
    }
}

impl<W: Wake, D: Domain> Monitor<Relief<W>, W, D, 1> {
    pub fn new(crossings: Shared<Crossings>, clock: Clock<W>) -> Self {
        let seen = crossings.count();
        Self::of(Relief { crossings, seen, wait_queues: WaitQueues::new(clock) })
    }

    /// Releases the waiters that the crossings so far allow to go.
    pub fn look(&self, proof: D::Proof<'_>) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            state.look(wakes);
        })
        .0
    }

    /// Whether the level is low, or has been low since the waiter came. Otherwise, with a waker, the waiter is in the wait queue.
    pub fn relieved_or_wait(&self, proof: D::Proof<'_>, waiter: &mut Waiter<()>, waker: Option<&W>) -> (Wakes<W>, Relieved) {
        self.visit(proof, |state, wakes| {
            if state.forget_after_fork() {
                waiter.0 = None;
            }
            state.look(wakes);
            // A waiter that has been released has left the wait queue.
            let released = waiter.0.as_ref().is_some_and(|held| !state.wait_queues.queue(()).contains(held.ticket));
            let is_high = state.seen % 2 == 1;
            if state.crossings.is_shut() && is_high {
                state.wait_queues.remove_waiter(waiter, wakes);
                return Relieved::ShutDown;
            }
            if released || !is_high {
                state.wait_queues.remove_waiter(waiter, wakes);
                return Relieved::Yes;
            }
            if let Some(waker) = waker {
                state.wait_queues.enqueue_or_requeue((), 1, waiter, waker, wakes);
            }
            Relieved::NotYet
        })
    }

    /// The number of waiters, and the sum of their waiting times.
    pub fn waits(&self, proof: D::Proof<'_>) -> (usize, Nanos) {
        self.section.with(proof, |state| {
            state.forget_after_fork();
            (state.wait_queues.waiters(()), state.wait_queues.blocked((), state.wait_queues.clock.now()))
        })
    }
}

/// The state of one listener, see the head of this file. It is kept in a section.
#[derive(Debug)]
pub struct Told {
    count: u64,
    /// The thread that is notifying the listener, and its process.
    teller: Option<(ThreadMark, u64)>,
    closed: bool,
}

impl Told {
    /// A listener that knows of this many crossings.
    pub fn new(count: u64) -> Self {
        Self { count, teller: None, closed: false }
    }

    fn is_being_told(&self) -> bool {
        self.teller.is_some_and(|(thread, generation)| generation == fork::generation() || thread == this_thread())
    }

    /// Returns whether the level is high, if there is news and the caller is to report it. The caller then has to ask again. With `latest`,
    /// several crossings are reported as their final result only.
    pub fn next(&mut self, crossings: u64, latest: bool) -> Option<bool> {
        if self.closed || self.is_being_told() || crossings <= self.count {
            return None;
        }
        let was_high = self.count % 2 == 1;
        self.count = if latest { crossings } else { self.count + 1 };
        let is_high = self.count % 2 == 1;
        if is_high == was_high {
            return None; // the level is what the listener was told last
        }
        self.teller = Some((this_thread(), fork::generation()));
        Some(is_high)
    }

    /// Called after the listener has been notified. `Some`: it was closed meanwhile, and the caller has to end it, as after
    /// [`Told::close`].
    pub fn has_been_told(&mut self) -> Option<bool> {
        self.teller = None;
        self.closed.then_some(self.count % 2 == 1)
    }

    /// Closes the listener. `Some`: the caller has to end it; the value is the level that it was told last. `None`: this was done before,
    /// or is left to the thread that is notifying it.
    pub fn close(&mut self) -> Option<bool> {
        let again = std::mem::replace(&mut self.closed, true);
        (!again && !self.is_being_told()).then_some(self.count % 2 == 1)
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_crossing_is_told_in_order() {
        let mut told = Told::new(0);
        let mut heard = Vec::new();
        while let Some(high) = told.next(3, false) {
            heard.push(high);
            assert_eq!(told.has_been_told(), None);
        }
        assert_eq!(heard, [true, false, true]);
    }

    #[test]
    fn nobody_tells_it_while_another_does() {
        let mut told = Told::new(0);
        assert_eq!(told.next(1, false), Some(true));
        assert_eq!(told.next(2, false), None, "this thread is in the middle of it");
        assert_eq!(told.has_been_told(), None);
        assert_eq!(told.next(2, false), Some(false));
    }

    #[test]
    fn only_the_latest() {
        let mut told = Told::new(0);
        assert_eq!(told.next(5, true), Some(true));
        assert_eq!(told.has_been_told(), None);
        assert_eq!(told.next(7, true), None, "high before, high now");
        assert_eq!(told.next(8, true), Some(false));
    }

    #[test]
    fn closed_it_hears_nothing() {
        let mut told = Told::new(0);
        assert_eq!(told.next(1, false), Some(true));
        assert_eq!(told.has_been_told(), None);
        assert_eq!(told.close(), Some(true));
        assert_eq!(told.close(), None);
        assert_eq!(told.next(2, false), None);
    }

    #[test]
    fn closed_in_the_middle_it_ends_with_who_tells_it() {
        let mut told = Told::new(0);
        assert_eq!(told.next(1, true), Some(true));
        assert_eq!(told.close(), None);
        assert_eq!(told.has_been_told(), Some(true));
        assert_eq!(told.close(), None);
    }
}
