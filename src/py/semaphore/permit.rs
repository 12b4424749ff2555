//! `SemaphorePermit`: permits that are held while a block runs.

use std::convert::Infallible;

use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyString, PyTuple};
use sluicegate_core::semaphore::{AcquireError, Waiter};

use super::class::{PySemaphore, no_memory, too_large};
use super::keyed::PyKeyedSemaphore;
use super::permits::Permits;
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{Timeout, text};
use crate::rt::entries::{self, Attempt, CallPermit, HotPermit, NotAdmitted, WaitingPermit};
use crate::rt::hot::deliver;
use crate::rt::kept::interned;
use crate::rt::keys::at_home;
use crate::rt::permit::{self, Holder, Holds, permit_class};
use crate::rt::registration::WaitableClass;
use crate::rt::waker::Waker;

/// Permits held while a block runs, as returned by `Semaphore.permit`.
#[pyclass(frozen, weakref, name = "SemaphorePermit", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyPermit {
    of: Source,
    n: u64,
    timeout: Timeout,
    holder: Holder<()>,
}

/// Whose permits they are.
#[derive(Debug)]
pub(super) enum Source {
    Semaphore(Py<PySemaphore>),
    /// Those of a key, which needs no handle for this.
    Key(Permits),
}

impl PyPermit {
    #[inline]
    pub(super) fn new(of: Source, n: u64, timeout: Timeout) -> Self {
        Self { of, n, timeout, holder: Holder::new() }
    }

    /// One permit, and nobody who gives up waiting for it.
    #[inline]
    pub(crate) fn one_of(semaphore: Py<PySemaphore>) -> Self {
        Self::new(Source::Semaphore(semaphore), 1, Timeout::Forever)
    }

    /// The arguments of `Overloaded`.
    fn not_free<'py>(&self, py: Python<'py>, timeout: Timeout) -> PyResult<Bound<'py, PyTuple>> {
        let (reason, when) = match timeout {
            Timeout::Within(seconds) => (interned!(py, "expired"), &PyString::new(py, &format!("within {seconds} seconds"))),
            _ => (interned!(py, "full"), interned!(py, "without waiting")),
        };
        let (retry_after, n) = (1.0, self.n); // a hint: it is not known when permits will be free
        match (&self.of, self.waitable().key()) {
            (Source::Semaphore(semaphore), None) => {
                let template = interned!(py, "the request (n={3}) was not granted {4}: Semaphore{0} had too few free permits");
                (template, semaphore.get().common.name(py), retry_after, reason, n, when).into_pyobject(py)
            }
            (_, of) => {
                let of = of.expect("of a key");
                let name = of.owner.bind(py).cast::<PyKeyedSemaphore>()?.get().common().name(py);
                let template = interned!(
                    py,
                    "the request (n={3}) was not granted {4}: key {5!r} of KeyedSemaphore{0} had too few free permits"
                );
                (template, name, retry_after, reason, n, when, &of.key).into_pyobject(py)
            }
        }
    }

    fn source(&self, py: Python<'_>) -> String {
        match (&self.of, self.waitable().key()) {
            (Source::Semaphore(semaphore), _) => text(semaphore.bind(py)),
            (_, Some(of)) => format!("key {} of {}", text(of.key.bind(py)), text(of.owner.bind(py))),
            (Source::Key(_), None) => String::new(),
        }
    }
}

impl WaitableClass for PyPermit {
    type Waitable = Permits;

    #[inline]
    fn waitable(&self) -> &Permits {
        match &self.of {
            Source::Semaphore(semaphore) => &semaphore.get().permits,
            Source::Key(permits) => permits,
        }
    }
}

impl Holds for PyPermit {
    type Grant = ();

    #[inline]
    fn holder(&self) -> &Holder<()> {
        &self.holder
    }

    fn give_back(&self, py: Python<'_>, (): ()) {
        entries::finish(self, py, (), ());
    }

    fn describe(&self, py: Python<'_>) -> String {
        let held = if self.holder.is_held(py) { "held" } else { "not held" };
        format!("<sluicegate.SemaphorePermit n={} {held} of {}>", self.n, self.source(py))
    }
}

impl HotPermit for PyPermit {
    type Refusal = Refusal;
    type News = Infallible;
    type Outcome = ();
    const SERVED: () = ();

    #[inline]
    fn is_entered(&self, py: Python<'_>) -> bool {
        at_home!(self.waitable(), is_entered, py)
    }

    #[inline]
    fn timeout(&self) -> Timeout {
        self.timeout
    }

    #[inline]
    fn try_admit(&self, py: Python<'_>, may_wait: bool) -> Attempt<Self> {
        let result = at_home!(self.waitable(), try_acquire, py, self.n);
        (result.map_err(|error| not_admitted(error, may_wait)), None)
    }

    #[inline]
    fn finish(&self, py: Python<'_>, (): (), (): ()) -> Option<Infallible> {
        // This fails if others have released too much of a bounded semaphore; then there is nothing left to release.
        deliver(at_home!(self.waitable(), release, py, self.n).0);
        None
    }

    fn arguments<'py>(&self, py: Python<'py>, refusal: Refusal) -> PyResult<Bound<'py, PyTuple>> {
        match (refusal, &self.of) {
            (Refusal::NoMemory, _) => Err(no_memory(py)),
            (Refusal::TooLarge(size), _) => Err(too_large(self.n, size, &self.source(py))),
            (Refusal::NotFree(Timeout::Never), Source::Semaphore(semaphore)) if self.n == 1 => {
                semaphore.get().refused_one.get(py, || self.not_free(py, Timeout::Never))
            }
            (Refusal::NotFree(timeout), _) => self.not_free(py, timeout),
        }
    }
}

/// To a semaphore all calls are the same, however they end.
impl CallPermit for PyPermit {
    const IGNORED: () = ();

    fn outcome_of(&self, _error: &Bound<'_, PyAny>) -> PyResult<()> {
        Ok(())
    }
}

impl WaitingPermit for PyPermit {
    fn admit_or_wait(&self, py: Python<'_>, waiter: &mut Waiter, waker: &Waker) -> Result<(), NotAdmitted<Refusal>> {
        self.waitable().acquire_or_wait(py, self.n, waiter, waker).map_err(|error| not_admitted(error, true))
    }

    fn too_late(&self, _py: Python<'_>, timeout: Timeout) -> Refusal {
        Refusal::NotFree(timeout)
    }
}

/// Why an entry is refused.
pub(crate) enum Refusal {
    NotFree(Timeout),
    /// The semaphore has only so many permits.
    TooLarge(u64),
    /// There is no memory for one more key.
    NoMemory,
}

#[inline]
fn not_admitted(error: AcquireError, may_wait: bool) -> NotAdmitted<Refusal> {
    match error {
        AcquireError::Busy if may_wait => NotAdmitted::Busy,
        AcquireError::Busy => NotAdmitted::Refused(Refusal::NotFree(Timeout::Never)),
        AcquireError::TooLarge { size } => NotAdmitted::Refused(Refusal::TooLarge(size)),
        AcquireError::NoMemory => NotAdmitted::Refused(Refusal::NoMemory),
    }
}

#[pymethods]
impl PyPermit {
    /// The operation behind `async with`.
    fn _async_acquire(slf: &Bound<'_, Self>) -> PyResult<AsyncOperation> {
        permit::enter_async(slf)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.of {
            Source::Semaphore(semaphore) => visit.call(semaphore),
            Source::Key(permits) => permits.traverse(&visit, |_| Ok(())),
        }
    }
}

permit_class!(PyPermit);
