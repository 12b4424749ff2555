//! The core's semaphore, one thread at a time: what each operation does, who is woken, in which order.
#![cfg(not(loom))]

mod forks;

use std::sync::Arc;

use forks::{Alone, Unforked, alone};
use sluicegate_core::clock::Clock;
use sluicegate_core::fork;
use sluicegate_core::section::Threads;
use sluicegate_core::semaphore::{AcquireError, Overrelease, Overreleased, Semaphore, Waiter};
use sluicegate_core::wait::Parker;

const BUSY: Result<(), AcquireError> = Err(AcquireError::Busy);

struct Permits(Semaphore<Arc<Parker>, Threads>, #[expect(dead_code, reason = "held, not read")] Unforked);

impl Permits {
    fn new(size: u64) -> Self {
        Self(Semaphore::new(size, Overrelease::Growing, Clock::Monotonic), Unforked::new())
    }

    fn that_is_forked(size: u64, alone: &Alone) -> Self {
        Self(Semaphore::new(size, Overrelease::Growing, Clock::Monotonic), Unforked::forked(alone))
    }

    fn bounded(size: u64) -> Self {
        Self(Semaphore::new(size, Overrelease::Bounded, Clock::Monotonic), Unforked::new())
    }

    fn take(&self, n: u64) -> Result<(), AcquireError> {
        self.0.try_acquire((), n)
    }

    fn release(&self, n: u64) -> Result<(), Overreleased> {
        let (wakes, result) = self.0.release((), n);
        wakes.fire();
        result
    }

    fn resize(&self, size: u64) {
        self.0.resize((), size).fire();
    }

    /// What can be had at once.
    fn value(&self) -> u64 {
        self.0.statistics(()).value
    }
}

/// One operation that waits.
#[derive(Default)]
struct Caller {
    n: u64,
    parker: Arc<Parker>,
    waiter: Waiter,
}

impl Caller {
    /// Joins the line: it finds nothing.
    fn joins(permits: &Permits, n: u64) -> Self {
        let mut caller = Self { n, ..Self::default() };
        assert_eq!(caller.comes(permits), BUSY);
        caller
    }

    /// It looks (again).
    fn comes(&mut self, permits: &Permits) -> Result<(), AcquireError> {
        self.parker.reset();
        let (wakes, result) = permits.0.acquire_or_wait((), self.n, &mut self.waiter, &self.parker);
        wakes.fire();
        assert_eq!(self.waiter.is_enqueued(), result == BUSY);
        result
    }

    fn leaves(&mut self, permits: &Permits) {
        permits.0.leave((), &mut self.waiter).fire();
    }

    fn is_woken(&self) -> bool {
        self.parker.is_notified()
    }
}

#[test]
fn permits_are_taken_and_given_back_by_weight() {
    let permits = Permits::new(3);
    assert_eq!(permits.take(2), Ok(()));
    assert_eq!(permits.take(2), BUSY);
    assert_eq!(permits.take(1), Ok(()));
    assert_eq!(permits.take(1), BUSY);
    assert_eq!(permits.release(2), Ok(()));
    assert_eq!(permits.value(), 2);
    let seen = permits.0.statistics(());
    assert_eq!((seen.size, seen.held, seen.peak_held, seen.acquired), (3, 1, 3, 2));
}

#[test]
fn more_than_there_are_is_refused_with_the_size_but_one_permit_always_waits() {
    let permits = Permits::new(2);
    assert_eq!(permits.take(3), Err(AcquireError::TooLarge { size: 2 }));
    let mut caller = Caller { n: 3, ..Caller::default() };
    assert_eq!(caller.comes(&permits), Err(AcquireError::TooLarge { size: 2 }));
    let nothing = Permits::new(0);
    assert_eq!(nothing.take(1), BUSY);
    let mut caller = Caller::joins(&nothing, 1);
    assert_eq!(nothing.release(1), Ok(()));
    assert_eq!(caller.comes(&nothing), Ok(()));
}

#[test]
fn what_is_released_beyond_what_is_held_makes_it_grow() {
    let permits = Permits::new(1);
    permits.release(1).unwrap();
    assert_eq!((permits.take(2), permits.take(1)), (Ok(()), BUSY));
    permits.release(5).unwrap();
    assert_eq!(permits.0.statistics(()).size, 5);
    assert_eq!(permits.value(), 5);
}

#[test]
fn a_bounded_one_refuses_that_and_changes_nothing() {
    let permits = Permits::bounded(2);
    permits.take(1).unwrap();
    assert_eq!(permits.release(2), Err(Overreleased { held: 1 }));
    assert_eq!(permits.value(), 1);
    permits.release(1).unwrap();
    assert_eq!(permits.release(1), Err(Overreleased { held: 0 }));
}

#[test]
fn waiters_are_served_in_the_order_they_came_and_small_ones_do_not_pass_large_ones() {
    let permits = Permits::new(2);
    permits.take(2).unwrap();
    let (mut large, mut small) = (Caller::joins(&permits, 2), Caller::joins(&permits, 1));
    permits.release(1).unwrap();
    assert!(!large.is_woken() && !small.is_woken(), "one permit is not enough for the first");
    assert_eq!(permits.take(1), BUSY, "nor is it for those who come");
    permits.release(1).unwrap();
    assert!(large.is_woken() && !small.is_woken());
    assert_eq!(permits.value(), 0, "what the first has been woken for is nobody else's");
    assert_eq!(large.comes(&permits), Ok(()));
    permits.release(2).unwrap();
    assert_eq!(small.comes(&permits), Ok(()));
}

#[test]
fn an_arrival_joins_the_line_behind_a_waiter_that_has_been_woken() {
    let permits = Permits::new(2);
    permits.take(2).unwrap();
    let mut first = Caller::joins(&permits, 1);
    permits.release(2).unwrap();
    assert!(first.is_woken());
    assert_eq!(permits.take(1), BUSY, "there is one for it, but it is not its turn");
    let mut second = Caller::joins(&permits, 1);
    assert!(second.is_woken(), "in line, it is told at once: it need not wait for the first to come");
    assert_eq!(second.comes(&permits), Ok(()));
    assert_eq!(first.comes(&permits), Ok(()));
}

#[test]
fn a_waiter_that_leaves_passes_its_turn_on() {
    let permits = Permits::new(1);
    permits.take(1).unwrap();
    let (mut first, mut second) = (Caller::joins(&permits, 1), Caller::joins(&permits, 1));
    permits.release(1).unwrap();
    first.leaves(&permits);
    assert!(second.is_woken());
    assert_eq!(second.comes(&permits), Ok(()));
    first.leaves(&permits); // any number of times
    let mut large = Caller::joins(&permits, 1);
    permits.release(1).unwrap();
    large.leaves(&permits);
    assert_eq!(permits.take(1), Ok(()), "nobody is before it any more");
}

#[test]
fn a_waiter_too_large_at_the_head_that_leaves_lets_the_small_ones_go() {
    let permits = Permits::new(2);
    permits.take(1).unwrap();
    let (mut large, mut small) = (Caller::joins(&permits, 2), Caller::joins(&permits, 1));
    large.leaves(&permits);
    assert!(small.is_woken());
    assert_eq!(small.comes(&permits), Ok(()));
}

#[test]
fn growth_wakes_those_who_now_fit() {
    let permits = Permits::new(1);
    permits.take(1).unwrap();
    let (mut first, second) = (Caller::joins(&permits, 1), Caller::joins(&permits, 1));
    permits.resize(2);
    assert!(first.is_woken() && !second.is_woken());
    assert_eq!(first.comes(&permits), Ok(()));
    permits.resize(3);
    assert!(second.is_woken());
}

#[test]
fn holders_finish_after_a_resize_to_fewer() {
    let permits = Permits::new(3);
    permits.take(3).unwrap();
    permits.resize(1);
    assert_eq!((permits.take(1), permits.value()), (BUSY, 0));
    permits.release(2).unwrap();
    assert_eq!(permits.take(1), BUSY, "one is held, and there is one");
    permits.release(1).unwrap();
    assert_eq!((permits.take(1), permits.take(1)), (Ok(()), BUSY));
    let seen = permits.0.statistics(());
    assert_eq!((seen.size, seen.held, seen.peak_held), (1, 1, 3));
}

#[test]
fn a_waiter_that_a_resize_made_too_large_is_told_at_once_wherever_it_stands() {
    let permits = Permits::new(3);
    permits.take(3).unwrap();
    let (mut one, mut three, mut last) = (Caller::joins(&permits, 1), Caller::joins(&permits, 3), Caller::joins(&permits, 1));
    permits.resize(2);
    assert!(three.is_woken() && !one.is_woken() && !last.is_woken());
    assert_eq!(three.comes(&permits), Err(AcquireError::TooLarge { size: 2 }));
    permits.release(3).unwrap();
    assert_eq!((one.comes(&permits), last.comes(&permits)), (Ok(()), Ok(())));
}

#[test]
fn waiters_woken_for_more_than_a_resize_has_left_go_by_their_order() {
    let permits = Permits::new(3);
    permits.take(3).unwrap();
    let (mut two, mut one) = (Caller::joins(&permits, 2), Caller::joins(&permits, 1));
    permits.release(3).unwrap();
    assert!(two.is_woken() && one.is_woken());
    permits.resize(2);
    assert_eq!(one.comes(&permits), BUSY, "the first has not come, and has been promised both");
    assert_eq!(two.comes(&permits), Ok(()));
    permits.release(2).unwrap();
    assert_eq!(one.comes(&permits), Ok(()));
}

#[test]
fn a_waiter_that_a_resize_sends_back_to_waiting_is_not_passed() {
    let permits = Permits::new(3);
    permits.take(3).unwrap();
    let (mut two, mut one) = (Caller::joins(&permits, 2), Caller::joins(&permits, 1));
    permits.release(3).unwrap();
    permits.take(1).unwrap_err();
    permits.resize(2);
    permits.take(1).unwrap_err();
    permits.resize(1); // the first is too large now, and grows back before it comes
    permits.resize(2);
    assert_eq!(one.comes(&permits), BUSY);
    assert_eq!(two.comes(&permits), Ok(()));
    permits.release(2).unwrap();
    assert_eq!(one.comes(&permits), Ok(()));
}

#[test]
fn a_waiter_aside_keeps_its_place_and_nobody_waits_for_it() {
    let permits = Permits::new(1);
    permits.take(1).unwrap();
    let (mut first, mut second) = (Caller::joins(&permits, 1), Caller::joins(&permits, 1));
    let place = first.waiter.position().unwrap();
    permits.release(1).unwrap();
    permits.0.step_aside((), place).fire();
    assert!(second.is_woken(), "the first cannot come");
    assert_eq!(second.comes(&permits), Ok(()));
    let mut third = Caller::joins(&permits, 1);
    permits.0.step_back((), place).fire();
    permits.release(1).unwrap();
    assert!(first.is_woken() && !third.is_woken(), "it is back in its place, before the third");
    assert_eq!(first.comes(&permits), Ok(()));
    permits.0.step_aside((), third.waiter.position().unwrap()).fire();
    permits.release(1).unwrap();
    assert_eq!(permits.take(1), Ok(()), "only one that is aside is in line");
    third.leaves(&permits);
}

#[test]
fn after_a_fork_the_line_is_forgotten_and_the_held_permits_are_not() {
    let alone = alone();
    let permits = Permits::that_is_forked(2, &alone);
    permits.take(2).unwrap();
    let mut parents = Caller::joins(&permits, 1);
    permits.release(1).unwrap();
    fork::after_fork_in_child();
    assert_eq!(permits.0.statistics(()).waiters, 0);
    assert_eq!((permits.take(1), permits.take(1)), (Ok(()), BUSY));
    let mut ours = Caller::joins(&permits, 1);
    permits.release(1).unwrap();
    assert_eq!(ours.comes(&permits), Ok(()));
    parents.leaves(&permits);
    assert_eq!(permits.0.statistics(()).held, 2);
}
