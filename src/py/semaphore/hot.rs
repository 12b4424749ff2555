//! The hot methods of semaphores.
#![expect(clippy::inline_always, reason = "a fast form is a part of its entry, see `rt::hot`")]

use std::ffi::CStr;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt};

use super::inner::PySemaphore;
use crate::rt::aio;
use crate::rt::hot::{Arguments, Hot, Parameter, Plain, deliver, install as install_on, is_trivial_timeout, method};

static BLOCKING: Parameter = Parameter::new("blocking");
static N: Parameter = Parameter::new("n");
static TIMEOUT: Parameter = Parameter::new("timeout");

/// The weight, if there is nothing to report about it.
#[inline]
fn trivial_weight(n: Option<Borrowed<'_, '_, PyAny>>) -> Option<u64> {
    let Some(n) = n else { return Some(1) };
    let n = n.cast_exact::<PyInt>().ok()?.extract::<u32>().ok()?;
    (n > 0).then_some(n.into())
}

fn boolean(py: Python<'_>, value: bool) -> Py<PyAny> {
    PyBool::new(py, value).to_owned().into_any().unbind()
}

/// Takes permits if that goes at once.
#[inline]
fn take_fast(this: Borrowed<'_, '_, PySemaphore>, n: Option<Borrowed<'_, '_, PyAny>>) -> Plain {
    let (py, permits) = (this.py(), &this.get().permits);
    match trivial_weight(n) {
        Some(n) if !permits.is_entered(py) && permits.try_acquire(py, n).is_ok() => Plain::Done(boolean(py, true)),
        _ => Plain::Declined,
    }
}

struct Acquire;

impl Hot<3> for Acquire {
    type Class = PySemaphore;
    const CLASS: &'static str = "Semaphore";
    const NAME: &'static CStr = c"acquire";
    const DOC: &'static CStr = ACQUIRE;
    const REQUIRED: usize = 0;

    fn parameters() -> [&'static Parameter; 3] {
        [&BLOCKING, &TIMEOUT, &N]
    }

    #[inline(always)]
    fn plainly<'py>(this: Borrowed<'_, 'py, PySemaphore>, [blocking, timeout, n]: Arguments<'_, 'py, 3>) -> Plain {
        if blocking.is_none() && timeout.is_none() { take_fast(this, n) } else { Plain::Declined }
    }

    fn in_general<'py>(this: &Bound<'py, PySemaphore>, [blocking, timeout, n]: Arguments<'_, 'py, 3>) -> PyResult<Py<PyAny>> {
        PySemaphore::acquire(this, blocking.as_deref(), timeout.as_deref(), n.as_deref())
    }
}

struct TryAcquire;

impl Hot<1> for TryAcquire {
    type Class = PySemaphore;
    const CLASS: &'static str = "Semaphore";
    const NAME: &'static CStr = c"try_acquire";
    const DOC: &'static CStr = TRY_ACQUIRE;
    const REQUIRED: usize = 0;

    fn parameters() -> [&'static Parameter; 1] {
        [&N]
    }

    #[inline(always)]
    fn plainly<'py>(this: Borrowed<'_, 'py, PySemaphore>, [n]: Arguments<'_, 'py, 1>) -> Plain {
        take_fast(this, n)
    }

    fn in_general<'py>(this: &Bound<'py, PySemaphore>, [n]: Arguments<'_, 'py, 1>) -> PyResult<Py<PyAny>> {
        Ok(boolean(this.py(), PySemaphore::try_acquire(this, n.as_deref())?))
    }
}

/// The fast path of `acquire_async`: True if it is done, `WAIT` if the coroutine has to go the long way, which checks the arguments.
struct TryAcquireAsync;

impl Hot<2> for TryAcquireAsync {
    type Class = PySemaphore;
    const CLASS: &'static str = "Semaphore";
    const NAME: &'static CStr = c"_try_acquire";
    const DOC: &'static CStr = TRY_ACQUIRE_ASYNC;
    const REQUIRED: usize = 2;

    fn parameters() -> [&'static Parameter; 2] {
        [&N, &TIMEOUT]
    }

    #[inline(always)]
    fn plainly<'py>(this: Borrowed<'_, 'py, PySemaphore>, [n, timeout]: Arguments<'_, 'py, 2>) -> Plain {
        let plain = if is_trivial_timeout(timeout) && aio::spend() { take_fast(this, n) } else { Plain::Declined };
        plain.or_wait(this.py())
    }

    fn in_general<'py>(this: &Bound<'py, PySemaphore>, _: Arguments<'_, 'py, 2>) -> PyResult<Py<PyAny>> {
        Ok(aio::wait_marker(this.py()))
    }
}

struct Release;

impl Hot<1> for Release {
    type Class = PySemaphore;
    const CLASS: &'static str = "Semaphore";
    const NAME: &'static CStr = c"release";
    const DOC: &'static CStr = RELEASE;
    const REQUIRED: usize = 0;

    fn parameters() -> [&'static Parameter; 1] {
        [&N]
    }

    #[inline(always)]
    fn plainly<'py>(this: Borrowed<'_, 'py, PySemaphore>, [n]: Arguments<'_, 'py, 1>) -> Plain {
        let (py, permits) = (this.py(), &this.get().permits);
        let Some(n) = trivial_weight(n).filter(|_| !permits.is_entered(py)) else { return Plain::Declined };
        let (wakes, result) = permits.release(py, n);
        deliver(wakes);
        if result.is_ok() { Plain::Done(py.None()) } else { Plain::Declined }
    }

    fn in_general<'py>(this: &Bound<'py, PySemaphore>, [n]: Arguments<'_, 'py, 1>) -> PyResult<Py<PyAny>> {
        PySemaphore::release(this, n.as_deref()).map(|()| this.py().None())
    }
}

const ACQUIRE: &CStr = c"acquire($self, blocking=True, timeout=None, n=1)
--

Acquire `n` permits, waiting until they are free, and return True.

Return False if the permits are not free and `blocking` is false, or if they did not become free within
`timeout` seconds. A timeout of zero or less does not wait.

Raises ValueError if `n` is more than one and more than the total number of permits, or if `blocking` is false
and `timeout` is given; ValueError, TypeError or OverflowError for an invalid argument.

Fairness: strictly first come, first served; threads and tasks share one wait queue, and nobody overtakes a
request for many permits. If an exception from a signal handler interrupts the wait, nothing has been acquired,
and later waiters move up.";

const TRY_ACQUIRE: &CStr = c"try_acquire($self, n=1)
--

Acquire `n` permits if they are free and nobody is waiting. Return whether they were acquired. Never waits.

Raises ValueError if `n` is more than one and more than the total number of permits; ValueError, TypeError or
OverflowError for an invalid `n`.";

const TRY_ACQUIRE_ASYNC: &CStr = c"_try_acquire($self, n, timeout)\n--\n\nThe fast path of acquire_async.";

const RELEASE: &CStr = c"release($self, n=1)
--

Release `n` permits and wake waiters, in order of arrival.

Releasing more permits than are held increases their number; a bounded semaphore raises ValueError instead, with
nothing changed. Raises ValueError, TypeError or OverflowError for an invalid `n`.";

pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    let methods = [method::<Acquire, 3>(), method::<TryAcquire, 1>(), method::<TryAcquireAsync, 2>(), method::<Release, 1>()];
    install_on(&py.get_type::<PySemaphore>(), &methods)
}
