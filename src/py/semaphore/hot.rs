//! The hot methods of semaphores and their permits.

use pyo3::prelude::*;
use pyo3::types::PyInt;

use super::class::{PySemaphore, weight};
use super::permit::{PyPermit, Source};
use crate::rt::aio;
use crate::rt::arguments::Timeout;
use crate::rt::entries::{acquire_fast, end_fast, enter_fast};
use crate::rt::hot::{Fast, boolean, created, deliver, is_trivial_timeout, plain_timeout};
use crate::rt::hot_methods::hot_methods;
use crate::rt::keys::at_home;
use crate::rt::permit::{enter, exit};

/// The weight, if it is valid.
#[inline]
pub(super) fn trivial_weight(n: Option<Borrowed<'_, '_, PyAny>>) -> Option<u64> {
    let Some(n) = n else { return Some(1) };
    let n = n.cast_exact::<PyInt>().ok()?.extract::<u32>().ok()?;
    (n > 0).then_some(n.into())
}

/// Takes permits if they are available at once.
#[inline]
fn take_fast(this: Borrowed<'_, '_, PySemaphore>, n: Option<Borrowed<'_, '_, PyAny>>) -> Fast {
    let (py, permits) = (this.py(), &this.get().permits);
    match trivial_weight(n) {
        Some(n) if !at_home!(permits, is_entered, py) && at_home!(permits, try_acquire, py, n).is_ok() => {
            Fast::Done(boolean(py, true))
        }
        _ => Fast::Declined,
    }
}

#[inline]
fn give_fast(this: Borrowed<'_, '_, PySemaphore>, n: Option<Borrowed<'_, '_, PyAny>>) -> Fast {
    let (py, permits) = (this.py(), &this.get().permits);
    let Some(n) = trivial_weight(n).filter(|_| !at_home!(permits, is_entered, py)) else { return Fast::Declined };
    let (wakes, result) = at_home!(permits, release, py, n);
    deliver(wakes);
    if result.is_ok() { Fast::Done(py.None()) } else { Fast::Declined }
}

pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    install_semaphore(&py.get_type::<PySemaphore>())?;
    install_permit(&py.get_type::<PyPermit>())
}

hot_methods! {
    fn install_permit() for PyPermit as "SemaphorePermit";

    /// Acquire the permits, waiting until they are free.
    fn __enter__(this) {
        fast: enter_fast(this),
        general: enter(this).map(|()| this.clone().into_any().unbind()),
    }

    /// The fast path of `async with`.
    fn _try_enter(this) {
        fast: if aio::spend() { acquire_fast(this) } else { Fast::Declined },
    }

    /// Release the permits.
    fn __exit__(this, exc_type = None, exc_value = None, traceback = None) {
        fast: end_fast(this),
        general: Ok(exit(this.get(), this.py())).map(|_| this.py().None()),
    }
}

hot_methods! {
    fn install_semaphore() for PySemaphore as "Semaphore";

    /// Acquire `n` permits, waiting until they are free, and return True.
    ///
    /// Return False if the permits are not free and `blocking` is false, or if they did not become free within
    /// `timeout` seconds. A timeout of zero or less does not wait.
    ///
    /// Raises ValueError if `n` is more than one and more than the total number of permits, or if `blocking` is false
    /// and `timeout` is given; ValueError, TypeError or OverflowError for an invalid argument.
    ///
    /// Fairness: strictly first come, first served; threads and tasks share one wait queue, and nobody overtakes a
    /// request for many permits. If an exception from a signal handler interrupts the wait, nothing has been acquired,
    /// and later waiters move up.
    fn acquire(this, blocking = True, timeout = None, n = 1) {
        fast: if blocking.is_none() && timeout.is_none() { take_fast(this, n) } else { Fast::Declined },
        general: PySemaphore::acquire(this, blocking.as_deref(), timeout.as_deref(), n.as_deref()),
    }

    /// Acquire `n` permits if they are free and nobody is waiting. Return whether they were acquired. Never waits.
    ///
    /// Raises ValueError if `n` is more than one and more than the total number of permits; ValueError, TypeError or
    /// OverflowError for an invalid `n`.
    fn try_acquire(this, n = 1) {
        fast: take_fast(this, n),
        general: Ok(boolean(this.py(), PySemaphore::try_acquire(this, n.as_deref())?)),
    }

    /// The fast path of acquire_async.
    fn _try_acquire(this, n, timeout) {
        fast: if is_trivial_timeout(Some(timeout)) && aio::spend() { take_fast(this, Some(n)) } else { Fast::Declined },
    }

    /// Release `n` permits and wake waiters, in order of arrival.
    ///
    /// Releasing more permits than are held increases their number; a bounded semaphore raises ValueError instead, with
    /// nothing changed. Raises ValueError, TypeError or OverflowError for an invalid `n`.
    fn release(this, n = 1) {
        fast: give_fast(this, n),
        general: PySemaphore::release(this, n.as_deref()).map(|()| this.py().None()),
    }
    /// Release a permit.
    fn __exit__(this, exc_type = None, exc_value = None, traceback = None) {
        fast: give_fast(this, None),
        general: PySemaphore::release(this, None).map(|()| this.py().None()),
    }

    /// Return a context manager (`with`, `async with`) that holds `n` permits while its block runs.
    ///
    /// The permits are acquired on entry, waiting at most `timeout` seconds if that is given, and released on exit. A
    /// permit object that is dropped while it is held releases its permits, with a ResourceWarning.
    ///
    /// Entering raises Overloaded if the permits were not free in time, ValueError if `n` is more than one and more
    /// than the total number. Raises ValueError, TypeError or OverflowError for an invalid argument.
    fn permit(this, n = 1, *, timeout = None) {
        fast: match (trivial_weight(n), plain_timeout(timeout)) {
            (Some(n), Some(timeout)) if this.get().parts.is_made() => {
                created(this.py(), PyPermit::new(Source::Semaphore(this.to_owned().unbind()), n, timeout))
            }
            _ => Fast::Declined,
        },
        general: {
            this.get().parts.ready()?;
            let (n, timeout) = (weight(n.as_deref())?, Timeout::parse_strict("timeout", timeout.as_deref())?);
            Ok(Py::new(this.py(), PyPermit::new(Source::Semaphore(this.clone().unbind()), n, timeout))?.into_any())
        },
    }
}
