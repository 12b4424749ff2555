//! The permits of a `Semaphore`: its own, or those of one key of a `KeyedSemaphore`.

use pyo3::prelude::*;
use sluicegate_core::clock::Clock;
use sluicegate_core::monitor::Waitable;
use sluicegate_core::semaphore::{AcquireError, Keyed, Semaphore, Waiter};
use sluicegate_core::wait::{Ticket, Wakes};

use crate::rt::domain::Attached;
use crate::rt::keys::{Home, at_home};
use crate::rt::waker::Waker;

pub(super) type Own = Semaphore<Waker, Attached>;
pub(super) type Keys = Keyed<Waker, Attached>;
pub(crate) type Permits = Home<Own, Keys>;

impl Permits {
    pub(super) fn acquire_or_wait(&self, py: Python<'_>, n: u64, waiter: &mut Waiter, waker: &Waker) -> Result<(), AcquireError> {
        let (wakes, result) = at_home!(self, acquire_or_wait, py, n, waiter, waker);
        wakes.fire();
        result
    }
}

impl Waitable<Waker, Attached> for Permits {
    type Waiter = Waiter;
    type Position = ((), Ticket);

    fn position(waiter: &Waiter) -> Option<Self::Position> {
        waiter.position()
    }

    fn clock(&self, py: Python<'_>) -> Clock<Waker> {
        at_home!(self, clock, py)
    }

    fn leave(&self, py: Python<'_>, waiter: &mut Waiter) -> Wakes<Waker> {
        at_home!(self, leave, py, waiter)
    }

    fn step_aside(&self, py: Python<'_>, position: Self::Position) -> Wakes<Waker> {
        at_home!(self, step_aside, py, position)
    }

    fn step_back(&self, py: Python<'_>, position: Self::Position) -> Wakes<Waker> {
        at_home!(self, step_back, py, position)
    }
}
