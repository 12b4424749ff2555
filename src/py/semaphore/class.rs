//! `Semaphore` and `BoundedSemaphore`, and the operation that waits for permits.

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyInt;
use sluicegate_core::clock::Nanos;
use sluicegate_core::semaphore::{AcquireError, MAX_PERMITS, Overrelease, Waiter};

use super::permits::{Own, Permits};
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{Argument, Timeout, at_least, in_seconds, text};
use crate::rt::blocking;
use crate::rt::class::{Common, common_methods, counts, repr_head, snapshot};
use crate::rt::exceptions::SharedArgs;
use crate::rt::gc::show_wakers;
use crate::rt::keys::at_home;
use crate::rt::late::{Late, constructor, made_late};
use crate::rt::memory;
use crate::rt::operation::{Done, Mode, Operation};
use crate::rt::registration::{Registration, WaitableClass, registration};
use crate::rt::select::PySelectable;

/// A number of permits that threads and coroutines acquire and release: `threading.Semaphore` that can also be
/// awaited.
///
/// `value` is the number of permits, and `resize` changes it. `acquire`, `release` and `with` are those of
/// `threading.Semaphore`; `async_semaphore` is the same semaphore with exactly the interface of
/// `asyncio.Semaphore`. A request can be for several permits at once. As in the standard library, releasing more
/// permits than were acquired increases their number.
///
/// Fairness: strictly first come, first served; threads and tasks share one wait queue, and nobody overtakes a
/// request for many permits.
///
/// Raises ValueError, TypeError or OverflowError for invalid arguments.
#[pyclass(frozen, subclass, weakref, name = "Semaphore", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PySemaphore {
    pub(super) parts: Late<Parts>,
}

/// The parts of a semaphore.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(super) permits: Permits,
    pub(super) common: Common,
    pub(super) kind: Overrelease,
    /// The arguments of the exception for one permit that was not free. See `permit`.
    pub(super) refused_one: SharedArgs,
}

impl Parts {
    pub(super) fn new(permits: Permits, kind: Overrelease, common: Common) -> Self {
        Self { permits, common, kind, refused_one: SharedArgs::default() }
    }

    fn own(size: u64, kind: Overrelease, common: Common) -> Self {
        Self::new(Permits::Own(Box::new(Own::new(size, kind, common.core_clock()))), kind, common)
    }
}

/// A semaphore that raises ValueError when more permits are released than are held, as `threading.BoundedSemaphore`
/// does.
#[pyclass(frozen, subclass, weakref, extends = PySemaphore, name = "BoundedSemaphore", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyBoundedSemaphore;

/// Converts a number of permits. `name` is the name of the argument.
pub(super) fn permits(name: &str, value: &Bound<'_, PyAny>, least: u64) -> PyResult<u64> {
    at_least(name, value, least)?;
    let permits = value.extract::<u64>().ok().filter(|&permits| permits <= MAX_PERMITS);
    permits.ok_or_else(|| PyOverflowError::new_err(format!("'{name}' is too large: the maximum is {MAX_PERMITS} permits")))
}

/// The weight of a request.
pub(super) fn weight(n: Option<&Bound<'_, PyAny>>) -> PyResult<u64> {
    n.map_or(Ok(1), |n| permits("n", n, 1))
}

impl WaitableClass for PySemaphore {
    type Waitable = Permits;

    #[inline]
    fn waitable(&self) -> &Permits {
        &self.permits
    }
}

impl PySemaphore {
    fn unmade(_py: Python<'_>) -> PyClassInitializer<Self> {
        // Without permits, so that nothing can be acquired or released until `__init__` has run.
        Self { parts: Late::unmade(Parts::own(0, Overrelease::Bounded, Common::default())) }.into()
    }

    fn made(value: Option<&Bound<'_, PyAny>>, common: Common) -> PyResult<PyClassInitializer<Self>> {
        Self::of(value, Overrelease::Growing, common)
    }

    fn of(value: Option<&Bound<'_, PyAny>>, kind: Overrelease, common: Common) -> PyResult<PyClassInitializer<Self>> {
        let size = value.map_or(Ok(1), |value| permits("value", value, 0))?;
        Ok(Self { parts: Late::made(Parts::own(size, kind, common)) }.into())
    }

    /// `acquire`, with the standard library's rules for its arguments.
    pub(super) fn acquire(
        this: &Bound<'_, Self>,
        blocking: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
        n: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let n = weight(n)?;
        let timeout = timeout.filter(|timeout| !timeout.is_none()).map(in_seconds).transpose()?;
        let timeout = timeout.as_ref();
        if let Some(number) = blocking.filter(|blocking| blocking.is_exact_instance_of::<PyInt>()) {
            // As in `threading`, the first argument is `blocking`; but a caller who writes 3 means three permits.
            if !number.eq(0)? && !number.eq(1)? {
                return Err(PyTypeError::new_err(format!(
                    "'blocking' must be a bool, not {number}; for {number} permits write n={number}"
                )));
            }
        }
        let timeout = match (blocking.map_or(Ok(true), PyAnyMethods::is_truthy)?, timeout) {
            (false, Some(_)) => return Err(PyValueError::new_err("can't specify timeout for non-blocking acquire")),
            (false, None) => Timeout::Never,
            (true, Some(timeout)) if timeout.lt(0)? => Timeout::Never,
            (true, timeout) => Timeout::parse(timeout)?,
        };
        blocking::run(this.py(), &mut Acquire::new(this, n), timeout)?.into_object(this.py())
    }

    pub(super) fn try_acquire(this: &Bound<'_, Self>, n: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        Self::acquire_or_wait(this, weight(n)?, &mut Waiter::default(), Mode::Try)
    }

    pub(super) fn release(this: &Bound<'_, Self>, n: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        this.get().parts.ready()?;
        let n = weight(n)?;
        let py = this.py();
        let (wakes, result) = at_home!(&this.get().permits, release, py, n);
        wakes.fire();
        result.map_err(|error| {
            let held = error.held;
            PyValueError::new_err(format!("semaphore released too many times: 'n' is {n}, and {held} are held: {}", text(this)))
        })
    }

    fn acquire_or_wait(this: &Bound<'_, Self>, n: u64, waiter: &mut Waiter, mode: Mode<'_>) -> PyResult<bool> {
        this.get().parts.ready()?;
        let (py, permits) = (this.py(), &this.get().permits);
        let result = match mode {
            Mode::Park(waker) => permits.acquire_or_wait(py, n, waiter, waker),
            _ => at_home!(permits, try_acquire, py, n),
        };
        match result {
            Ok(()) => Ok(true),
            Err(AcquireError::Busy) => Ok(false),
            Err(AcquireError::TooLarge { size }) => Err(too_large(n, size, &text(this))),
            Err(AcquireError::NoMemory) => Err(no_memory(py)),
        }
    }
}

/// The error for a key for which there is no memory.
pub(super) fn no_memory(py: Python<'_>) -> PyErr {
    memory::none(py, c"there is no memory for one more key")
}

/// The error for a request that can never be granted.
pub(super) fn too_large(n: u64, size: u64, semaphore: &str) -> PyErr {
    PyValueError::new_err(format!("'n' is {n}, more than the total of {size} permits: {semaphore}"))
}

/// The operation of `acquire`. At a timeout it returns False and raises nothing.
#[derive(Debug)]
pub(super) struct Acquire {
    n: u64,
    registration: Registration<Py<PySemaphore>>,
}

impl Acquire {
    pub(super) fn new(semaphore: &Bound<'_, PySemaphore>, n: u64) -> Self {
        Self { n, registration: Registration::new(semaphore.clone().unbind()) }
    }
}

impl Operation for Acquire {
    fn names(&self) -> (&'static str, &'static str) {
        ("acquire", "acquire_async")
    }

    registration!(registration);

    fn attempt(&mut self, py: Python<'_>, mode: Mode<'_>, _now: Nanos) -> PyResult<Option<Done>> {
        let Registration { object, waiter, .. } = &mut self.registration;
        Ok(PySemaphore::acquire_or_wait(object.bind(py), self.n, waiter, mode)?.then_some(Done::Yes))
    }

    fn out_of_time(&self, _py: Python<'_>, _timeout: Timeout) -> PyResult<Done> {
        Ok(Done::No)
    }
}

#[pymethods]
impl PySemaphore {
    /// The total number of permits, held or free.
    #[getter]
    fn size(&self, py: Python<'_>) -> u64 {
        at_home!(&self.permits, statistics, py).size
    }

    /// The number of free permits, not counting those on their way to a waiter. It is the counter of
    /// `threading.Semaphore`.
    #[getter]
    fn value(&self, py: Python<'_>) -> u64 {
        at_home!(&self.permits, statistics, py).value
    }

    /// Return True if a permit cannot be acquired immediately.
    fn locked(&self, py: Python<'_>) -> bool {
        let seen = at_home!(&self.permits, statistics, py);
        seen.value == 0 || seen.waiters > 0
    }

    /// Return the operation `acquire(n=n)` for `select`, which then acquires `n` permits and returns True.
    ///
    /// Raises ValueError, TypeError or OverflowError for an invalid `n`.
    #[pyo3(signature = (n = Argument::MISSING), text_signature = "($self, n=1)")]
    fn acquiring(slf: &Bound<'_, Self>, n: Argument<'_, '_>) -> PyResult<PySelectable> {
        weight(n.given())?;
        Ok(PySelectable::new("acquiring", slf.as_any(), n.given(), |this, n| {
            Ok(Box::new(Acquire::new(this.cast::<Self>()?, weight(n)?)))
        }))
    }

    /// Change the total number of permits, from now on.
    ///
    /// A larger number wakes waiters. With a smaller number, permits that are held stay held, and none is granted until
    /// enough have been released. A waiter for more than one permit and more than the new total gets ValueError.
    ///
    /// Raises ValueError, TypeError or OverflowError for an invalid `value`, with nothing changed.
    fn resize(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.parts.ready()?;
        let size = permits("value", value, 0)?;
        let Permits::Own(own) = &self.permits else {
            let refusal = "resize() is not available for one key: all keys have the same number of permits";
            return Err(PyTypeError::new_err(refusal));
        };
        own.resize(py, size).fire();
        Ok(())
    }

    /// The operation behind `acquire_async`.
    fn _async_acquire(
        slf: &Bound<'_, Self>,
        n: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<AsyncOperation> {
        let (n, timeout) = (weight(Some(n))?, Timeout::parse_strict("timeout", timeout)?);
        Ok(AsyncOperation::new(Acquire::new(slf, n), timeout))
    }

    /// Return a snapshot of the semaphore's permits, counters and waiting times.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.parts.ready()?;
        let seen = at_home!(&self.permits, statistics, py);
        let counts = counts!(seen: size, held, value, peak_held, acquired, waiters);
        snapshot(py, "SemaphoreStatistics", self.common.name(py), &counts, &[("waited_seconds", seen.waited)])
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, this) = (slf.py(), slf.get());
        let seen = at_home!(&this.permits, statistics, py);
        let head = repr_head(slf.as_any(), &this.permits.label(py, &this.common))?;
        let most = if this.kind == Overrelease::Bounded { format!("/{}", seen.size) } else { String::new() };
        Ok(format!("{head} held={} waiters={}: value={}{most}>", seen.held, seen.waiters, seen.value))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.common.traverse(&visit)?;
        self.permits.traverse(&visit, |own| show_wakers(&visit, |py, each| own.visit_wakers(py, each)))
    }
}

impl PyBoundedSemaphore {
    fn unmade(py: Python<'_>) -> PyClassInitializer<Self> {
        PySemaphore::unmade(py).add_subclass(Self)
    }

    fn made(value: Option<&Bound<'_, PyAny>>, common: Common) -> PyResult<PyClassInitializer<Self>> {
        Ok(PySemaphore::of(value, Overrelease::Bounded, common)?.add_subclass(Self))
    }
}

made_late!(PySemaphore, Parts);
constructor!(PySemaphore as "Semaphore", value, "(value=1, *, clock=None, name=None)");
constructor!(PyBoundedSemaphore as "BoundedSemaphore", value, "(value=1, *, clock=None, name=None)");
common_methods!(PySemaphore, common);
