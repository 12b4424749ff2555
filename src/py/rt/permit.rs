//! Permits: context managers (`with`, `async with`) that acquire something on entry to a block and give it back when the block ends, also by an
//! exception. (What a limiter has granted is used up, so a `RatePermit` gives nothing back at the end of its block.)
//!
//! # States of a permit (changed by one visit to its section)
//!
//! | state | event                                     | next | also                                                         |
//! |-------|-------------------------------------------|------|--------------------------------------------------------------|
//! | free  | an entry is admitted                       | held |                                                              |
//! | held  | another entry begins                       | held | RuntimeError                                                 |
//! | held  | another entry, begun before, is admitted   | held | its grant is given back at once; RuntimeError                 |
//! | held  | the end of the block                       | free | the grant is given back, once                                |
//! | held  | the end of the block of a `RatePermit`     | free | the grant stays taken, and is kept to be settled, see there  |
//! | held  | dropped                                    | -    | the grant is given back, with a ResourceWarning              |
//!
//! Fairness and cancellation are those of the object: an entry is an ordinary operation that waits in the object's wait queue.

use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::{PyResourceWarning, PyRuntimeError};
use pyo3::prelude::*;
use sluicegate_core::clock::Nanos;
use sluicegate_core::section::Section;

use super::aio::AsyncOperation;
use super::arguments::Timeout;
use super::blocking;
use super::domain::Attached;
use super::guarded::last_act;
use super::operation::{Done, Mode, Operation};
use super::registration::{Registration, WaitableClass, registration};

/// A class of permits.
pub(crate) trait Holds {
    /// The grant that is held while the block runs.
    type Grant: Debug + Send;

    fn holder(&self) -> &Holder<Self::Grant>;

    fn give_back(&self, py: Python<'_>, grant: Self::Grant);

    /// Describes what happens to the grant of a permit that is dropped while it is held, for the warning. `abandon` does it.
    const ABANDONED: &'static str = "and has been released";

    fn abandon(&self, py: Python<'_>, grant: Self::Grant) {
        self.give_back(py, grant);
    }

    /// False if nothing is lost with the grant of a permit that is dropped while it is held: then there is no warning.
    fn is_missed(_grant: &Self::Grant) -> bool {
        true
    }

    /// True if this process holds the grant, and not only the parent of a fork.
    fn is_ours(_grant: &Self::Grant) -> bool {
        true
    }

    fn describe(&self, py: Python<'_>) -> String;
}

/// A class of permits for which an entry may have to wait. An entry uses the wait queues of the object that grants the permit.
pub(crate) trait Permit: Holds + WaitableClass {
    /// The longest time that an entry may wait.
    fn timeout(&self) -> Timeout;

    /// The names of the blocking and the awaited entry, for messages.
    fn names() -> (&'static str, &'static str) {
        ("with permit", "async with permit")
    }

    /// Makes what an entry needs that may have to wait. Raises if the permit cannot be entered.
    fn prepare(&self, _py: Python<'_>) -> PyResult<()> {
        Ok(())
    }

    /// One attempt to be admitted, see [`Operation::attempt`].
    fn admit(
        registration: &mut Registration<Py<Self>>,
        py: Python<'_>,
        mode: Mode<'_>,
        now: Nanos,
    ) -> PyResult<Option<Self::Grant>>;

    /// The error if the entry was not admitted in time.
    fn refused(&self, py: Python<'_>, timeout: Timeout) -> PyErr;
}

/// The grant of a permit, while it is held.
#[derive(Debug)]
pub(crate) struct Holder<G> {
    grant: Section<Option<G>, Attached>,
    /// Relaxed: it is only for the error of a caller that reports the result of a call which never began.
    was_admitted: AtomicBool,
}

impl<G> Holder<G> {
    #[inline]
    pub(crate) fn new() -> Self {
        Self { grant: Section::new(None), was_admitted: AtomicBool::new(false) }
    }

    #[inline]
    pub(crate) fn with<R>(&self, py: Python<'_>, critical: impl FnOnce(&mut Option<G>) -> R) -> R {
        self.grant.with(py, critical)
    }

    /// True if a permit that is being dropped is held.
    pub(crate) fn is_held_at_last(&mut self) -> bool {
        self.grant.get_mut().is_some()
    }

    #[inline]
    pub(crate) fn is_held(&self, py: Python<'_>) -> bool {
        self.with(py, |held| held.is_some())
    }

    /// Stores a grant. Returns it if there is one already.
    #[inline]
    pub(crate) fn keep(&self, py: Python<'_>, grant: G) -> Option<G> {
        let surplus = self.with(py, |held| {
            if held.is_some() {
                return Some(grant);
            }
            *held = Some(grant);
            None
        });
        self.was_admitted.store(true, Ordering::Relaxed);
        surplus
    }

    /// True if a grant has been stored, now or before.
    pub(crate) fn was_admitted(&self) -> bool {
        self.was_admitted.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn take(&self, py: Python<'_>) -> Option<G> {
        self.with(py, Option::take)
    }
}

/// The operation of entering the block of a permit: it waits for the grant and stores it in the permit.
#[derive(Debug)]
pub(crate) struct PermitEntry<P: Permit>(Registration<Py<P>>);

impl<P: Permit> PermitEntry<P> {
    fn new(permit: &Bound<'_, P>) -> PyResult<Self> {
        check_free(permit.get(), permit.py())?;
        permit.get().prepare(permit.py())?;
        Ok(Self(Registration::new(permit.clone().unbind())))
    }
}

impl<P: Permit> Operation for PermitEntry<P> {
    fn names(&self) -> (&'static str, &'static str) {
        P::names()
    }

    registration!(0);

    fn attempt(&mut self, py: Python<'_>, mode: Mode<'_>, now: Nanos) -> PyResult<Option<Done>> {
        let Some(grant) = P::admit(&mut self.0, py, mode, now)? else { return Ok(None) };
        hold(self.0.object.get(), py, grant).map(|()| Some(Done::Nothing))
    }

    fn out_of_time(&self, py: Python<'_>, timeout: Timeout) -> PyResult<Done> {
        Err(self.0.object.get().refused(py, timeout))
    }
}

/// Raises if the permit is held, and not only by the parent of a fork.
pub(crate) fn check_free<P: Holds>(permit: &P, py: Python<'_>) -> PyResult<()> {
    let is_held = permit.holder().with(py, |held| held.as_ref().is_some_and(P::is_ours));
    if is_held { Err(held_already()) } else { Ok(()) }
}

/// Stores the grant in the permit. If the permit is held already, by an entry that began at the same time, the grant is given back.
pub(crate) fn hold<P: Holds>(permit: &P, py: Python<'_>, grant: P::Grant) -> PyResult<()> {
    forget_the_parents(permit, py);
    permit.holder().keep(py, grant).map_or(Ok(()), |surplus| {
        permit.give_back(py, surplus);
        Err(held_already())
    })
}

/// Drops the grant that the parent of a fork holds.
pub(crate) fn forget_the_parents<P: Holds>(permit: &P, py: Python<'_>) {
    drop(permit.holder().with(py, |held| held.take_if(|held| !P::is_ours(held))));
}

pub(crate) fn held_already() -> PyErr {
    PyRuntimeError::new_err("this permit is held already: create one for each block that runs at the same time")
}

/// `with permit`.
pub(crate) fn enter<P: Permit>(permit: &Bound<'_, P>) -> PyResult<()> {
    enter_within(permit, permit.get().timeout())
}

/// As `with permit`, with the remaining time as the timeout.
pub(crate) fn enter_within<P: Permit>(permit: &Bound<'_, P>, timeout: Timeout) -> PyResult<()> {
    blocking::run(permit.py(), &mut PermitEntry::new(permit)?, timeout).map(drop)
}

/// `async with permit`.
pub(crate) fn enter_async<P: Permit>(permit: &Bound<'_, P>) -> PyResult<AsyncOperation> {
    enter_async_within(permit, permit.get().timeout())
}

pub(crate) fn enter_async_within<P: Permit>(permit: &Bound<'_, P>, timeout: Timeout) -> PyResult<AsyncOperation> {
    Ok(AsyncOperation::new(PermitEntry::new(permit)?, timeout))
}

/// Ends the block. Returns false if there was nothing to give back.
pub(crate) fn exit<P: Holds>(permit: &P, py: Python<'_>) -> bool {
    let grant = permit.holder().take(py).filter(P::is_ours);
    let was_held = grant.is_some();
    if let Some(grant) = grant {
        permit.give_back(py, grant);
    }
    was_held
}

/// Called when the permit is dropped.
pub(crate) fn dropped<P: Holds>(permit: &P) {
    last_act(|py| {
        if !permit.holder().is_held(py) {
            return;
        }
        // The description may need memory that is not there: then PyO3 panics, and this may run while another panic goes by.
        let described =
            catch_unwind(AssertUnwindSafe(|| permit.describe(py))).unwrap_or_else(|_| "<sluicegate permit>".to_owned());
        if let Some(grant) = permit.holder().take(py).filter(|grant| P::is_ours(grant) && P::is_missed(grant)) {
            permit.abandon(py, grant);
            let message = format!("a permit was dropped while it was held, {}: {described}", P::ABANDONED);
            let message = std::ffi::CString::new(message).unwrap_or_default();
            if let Err(error) = PyErr::warn(py, &py.get_type::<PyResourceWarning>(), &message, 1) {
                error.write_unraisable(py, None);
            }
        }
    });
}

/// Gives a class of permits what all have: the `repr`, the warning about one that is dropped while it is held, and the refusal to be copied.
macro_rules! permit_class {
    ($class:ty) => {
        #[pyo3::pymethods]
        impl $class {
            fn __repr__(&self, py: pyo3::Python<'_>) -> String {
                $crate::rt::permit::Holds::describe(self, py)
            }
        }

        impl Drop for $class {
            fn drop(&mut self) {
                if self.holder.is_held_at_last() {
                    $crate::rt::permit::dropped(self);
                }
            }
        }

        $crate::rt::class::refuse_copies!($class);
    };
}
pub(crate) use permit_class;
