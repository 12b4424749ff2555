//! Where the permits of a `Semaphore` are: its own, or those of one key of a `KeyedSemaphore`.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use sluicegate_core::clock::Clock;
use sluicegate_core::keys::KeyHash;
use sluicegate_core::semaphore::{AcquireError, Keyed, KeyedPlace, KeyedSpot, Overreleased, Semaphore, Statistics};
use sluicegate_core::wait::Wakes;

use crate::rt::domain::Attached;
use crate::rt::gc::{Shown, attached_in_traverse};
use crate::rt::waker::Waker;

pub(super) type Own = Semaphore<Waker, Attached>;
pub(super) type Keys = Keyed<KeyHash, Waker, Attached>;

#[derive(Debug)]
pub(super) enum Permits {
    Own(Own),
    Key {
        keys: Arc<Keys>,
        hash: KeyHash,
        key: Py<PyAny>,
        /// The keyed semaphore, which shows the lines of its keys to the garbage collector.
        owner: Py<PyAny>,
    },
}

impl Permits {
    #[inline]
    pub(super) fn is_entered(&self, py: Python<'_>) -> bool {
        match self {
            Self::Own(own) => own.is_entered(py),
            Self::Key { keys, .. } => keys.is_entered(py),
        }
    }

    #[inline]
    pub(super) fn try_acquire(&self, py: Python<'_>, n: u64) -> Result<(), AcquireError> {
        match self {
            Self::Own(own) => own.try_acquire(py, n),
            Self::Key { keys, hash, .. } => keys.try_acquire(py, *hash, n),
        }
    }

    pub(super) fn acquire_or_wait(
        &self,
        py: Python<'_>,
        n: u64,
        spot: &mut KeyedSpot,
        waker: &Waker,
    ) -> Result<(), AcquireError> {
        let (wakes, result) = match self {
            Self::Own(own) => own.acquire_or_wait(py, n, &mut spot.spot, waker),
            Self::Key { keys, hash, .. } => keys.acquire_or_wait(py, *hash, n, spot, waker),
        };
        wakes.fire();
        result
    }

    #[inline]
    pub(super) fn release(&self, py: Python<'_>, n: u64) -> (Wakes<Waker>, Result<(), Overreleased>) {
        match self {
            Self::Own(own) => own.release(py, n),
            Self::Key { keys, hash, .. } => keys.release(py, *hash, n),
        }
    }

    pub(super) fn leave(&self, py: Python<'_>, spot: &mut KeyedSpot) -> Wakes<Waker> {
        match self {
            Self::Own(own) => own.leave(py, &mut spot.spot),
            Self::Key { keys, hash, .. } => keys.leave(py, *hash, spot),
        }
    }

    pub(super) fn step_aside(&self, py: Python<'_>, place: KeyedPlace) {
        match self {
            Self::Own(own) => own.step_aside(py, ((), place.ticket)).fire(),
            Self::Key { keys, hash, .. } => keys.step_aside(py, *hash, place).fire(),
        }
    }

    pub(super) fn step_back(&self, py: Python<'_>, place: KeyedPlace) {
        match self {
            Self::Own(own) => own.step_back(py, ((), place.ticket)).fire(),
            Self::Key { keys, hash, .. } => keys.step_back(py, *hash, place).fire(),
        }
    }

    pub(super) fn statistics(&self, py: Python<'_>) -> Statistics {
        match self {
            Self::Own(own) => own.statistics(py),
            Self::Key { keys, hash, .. } => keys.statistics_of(py, *hash),
        }
    }

    pub(super) fn clock(&self, py: Python<'_>) -> Clock<Waker> {
        match self {
            Self::Own(own) => own.clock(py),
            Self::Key { keys, .. } => keys.clock(py),
        }
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Own(own) => {
                let shown = Shown::to(visit);
                own.visit_wakers(attached_in_traverse(), |waker| shown.waker(waker));
                shown.outcome()
            }
            Self::Key { owner, key, .. } => {
                visit.call(owner)?;
                visit.call(key)
            }
        }
    }
}
