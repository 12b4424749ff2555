//! The raw methods of permits: `__enter__`, `__exit__`, and for a permit of one call `acquire`, `try_acquire` and `success`.
//!
//! A class of permits says what an attempt is, and what the end of a block ([`HotPermit`]); one whose block has a result says also how an
//! exception is judged ([`CallPermit`]). The states of a permit are in the table of [`permit`](super::permit).
//!
//! | the attempt ([`HotPermit::try_admit`]) | `__enter__`, `acquire`                     | `try_acquire` |
//! |-----------------------------------------|---------------------------------------------|---------------|
//! | admitted                                | the permit, or True                          | True          |
//! | admitted, and held meanwhile by another  | given back; RuntimeError                     | the same      |
//! | refused                                 | the exception, made of the refusal's `args`   | False         |
//! | not yet                                 | the general form, which waits                | False         |

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use pyo3::PyClass;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::PyTuple;
use sluicegate_core::clock::Nanos;

use super::arguments::Timeout;
use super::exceptions::{self, Exception};
use super::hot::{Fast, apart, aside, attached, boolean, raise};
use super::operation::Mode;
use super::permit::{Holds, Permit, check_free, forget_the_parents, held_already};
use super::registration::{Registration, WaitableClass, WaiterOf};
use super::waker::Waker;

/// Why an entry was not admitted.
pub(crate) enum NotAdmitted<R> {
    /// It may wait; or it is in the wait queue now.
    Busy,
    Refused(R),
}

/// The result of an attempt, and what the object has to report about it.
pub(crate) type Attempt<P> =
    (Result<<P as Holds>::Grant, NotAdmitted<<P as HotPermit>::Refusal>>, Option<<P as HotPermit>::News>);

/// A class of permits with raw methods.
pub(crate) trait HotPermit: Holds + PyClass<Frozen = True> + Sync {
    type Refusal;
    /// What is reported to Python code, outside every section: a change of state, a warning.
    type News;
    /// How a block has ended.
    type Outcome;
    const SERVED: Self::Outcome;

    /// True if this thread is inside the object's section, further up its stack.
    fn is_entered(&self, py: Python<'_>) -> bool;

    /// The longest time that an entry may wait.
    fn timeout(&self) -> Timeout {
        Timeout::Never
    }

    /// One attempt. An entry that may not wait is refused instead.
    fn try_admit(&self, py: Python<'_>, may_wait: bool) -> Attempt<Self>;

    /// The block has ended.
    fn finish(&self, py: Python<'_>, grant: Self::Grant, outcome: Self::Outcome) -> Option<Self::News>;

    fn report(&self, _py: Python<'_>, _news: Self::News) {}

    /// The exception of a refusal.
    fn exception() -> &'static Exception {
        &exceptions::OVERLOADED
    }

    /// Its arguments, or another exception. They can be shared: no exception changes them.
    fn arguments<'py>(&self, py: Python<'py>, refusal: Self::Refusal) -> PyResult<Bound<'py, PyTuple>>;
}

/// A class of permits with raw methods, an entry of which may have to wait.
pub(crate) trait WaitingPermit: HotPermit + WaitableClass {
    /// An attempt that joins the wait queue, or keeps its place there, if the time has not come yet.
    fn admit_or_wait(
        &self,
        py: Python<'_>,
        waiter: &mut WaiterOf<Py<Self>>,
        waker: &Waker,
    ) -> Result<Self::Grant, NotAdmitted<Self::Refusal>>;

    /// The refusal of an entry whose time has run out.
    fn too_late(&self, py: Python<'_>, timeout: Timeout) -> Self::Refusal;
}

impl<P: WaitingPermit> Permit for P {
    fn timeout(&self) -> Timeout {
        HotPermit::timeout(self)
    }

    fn admit(
        registration: &mut Registration<Py<Self>>,
        py: Python<'_>,
        mode: Mode<'_>,
        _now: Nanos,
    ) -> PyResult<Option<P::Grant>> {
        let this = registration.object.get();
        let result = if let Mode::Park(waker) = mode {
            this.admit_or_wait(py, &mut registration.waiter, waker)
        } else {
            let (result, news) = this.try_admit(py, matches!(mode, Mode::TryFair));
            if let Some(news) = news {
                aside(|py| this.report(py, news));
            }
            result
        };
        match result {
            Ok(grant) => Ok(Some(grant)),
            Err(NotAdmitted::Busy) => Ok(None),
            Err(NotAdmitted::Refused(refusal)) => Err(refused(this, py, refusal)),
        }
    }

    fn refused(&self, py: Python<'_>, timeout: Timeout) -> PyErr {
        refused(self, py, self.too_late(py, timeout))
    }
}

/// What an entry returns that was admitted.
type Admitted<P> = fn(Borrowed<'_, '_, P>) -> Py<PyAny>;

fn itself<P>(this: Borrowed<'_, '_, P>) -> Py<PyAny> {
    this.to_owned().into_any().unbind()
}

fn yes<P>(this: Borrowed<'_, '_, P>) -> Py<PyAny> {
    boolean(this.py(), true)
}

#[inline]
fn may_wait<P: HotPermit>(permit: &P) -> bool {
    !matches!(HotPermit::timeout(permit), Timeout::Never)
}

/// `__enter__`.
#[inline]
pub(crate) fn enter_fast<P: HotPermit>(this: Borrowed<'_, '_, P>) -> Fast {
    begin(this, may_wait(this.get()), itself, |refusal| refuse(this, refusal))
}

/// `acquire`.
#[inline]
pub(crate) fn acquire_fast<P: HotPermit>(this: Borrowed<'_, '_, P>) -> Fast {
    begin(this, may_wait(this.get()), yes, |refusal| refuse(this, refusal))
}

/// `try_acquire`.
#[inline]
pub(crate) fn try_fast<P: HotPermit>(this: Borrowed<'_, '_, P>) -> Fast {
    begin(this, false, yes, |_| Fast::Done(boolean(this.py(), false)))
}

#[inline]
fn begin<P: HotPermit>(
    this: Borrowed<'_, '_, P>,
    may_wait: bool,
    admitted: Admitted<P>,
    refused: impl FnOnce(P::Refusal) -> Fast,
) -> Fast {
    let (py, permit) = (this.py(), this.get());
    if permit.holder().is_held(py) || permit.is_entered(py) {
        return Fast::Declined;
    }
    match try_hold(permit, py, may_wait) {
        Ok(None) => Fast::Done(admitted(this)),
        Ok(Some(surplus)) => attached(|py| {
            permit.give_back(py, surplus);
            Err(held_already())
        }),
        Err(NotAdmitted::Refused(refusal)) => refused(refusal),
        Err(NotAdmitted::Busy) => Fast::Declined,
    }
}

/// One attempt. If it is admitted, it is held before its news are reported, which may fail; the surplus is the grant of a permit that was held
/// meanwhile.
#[inline]
fn try_hold<P: HotPermit>(permit: &P, py: Python<'_>, may_wait: bool) -> Result<Option<P::Grant>, NotAdmitted<P::Refusal>> {
    let (result, news) = permit.try_admit(py, may_wait);
    let surplus = result.map(|grant| permit.holder().keep(py, grant));
    if let Some(news) = news {
        aside(|py| permit.report(py, news));
    }
    surplus
}

/// Enters a permit that nobody else has. False if it may wait for that.
#[inline]
pub(crate) fn enter_new<P: HotPermit>(permit: &P, py: Python<'_>) -> PyResult<bool> {
    match try_hold(permit, py, true) {
        Ok(surplus) => {
            debug_assert!(surplus.is_none(), "nobody else holds it");
            Ok(true)
        }
        Err(NotAdmitted::Busy) => Ok(false),
        Err(NotAdmitted::Refused(refusal)) => Err(refused(permit, py, refusal)),
    }
}

#[inline(never)]
fn refuse<P: HotPermit>(this: Borrowed<'_, '_, P>, refusal: P::Refusal) -> Fast {
    apart(|py| match (P::exception().at_hand(py), this.get().arguments(py, refusal)) {
        (Some(class), Ok(args)) => raise(class, &args),
        (_, args) => attached(|py| Err(args.map_or_else(|error| error, |args| P::exception().with(py, args)))),
    })
}

/// The general form of an attempt.
fn attempt<P: HotPermit>(permit: &P, py: Python<'_>) -> PyResult<Result<(), NotAdmitted<P::Refusal>>> {
    check_free(permit, py)?;
    forget_the_parents(permit, py);
    match try_hold(permit, py, false) {
        Ok(None) => Ok(Ok(())),
        Ok(Some(surplus)) => {
            permit.give_back(py, surplus);
            Err(held_already())
        }
        Err(not_admitted) => Ok(Err(not_admitted)),
    }
}

/// The general form of `try_acquire`.
pub(crate) fn try_acquire<P: HotPermit>(permit: &P, py: Python<'_>) -> PyResult<Py<PyAny>> {
    attempt(permit, py).map(|result| boolean(py, result.is_ok()))
}

/// The general form of an entry that never waits.
pub(crate) fn enter_now<P: HotPermit>(permit: &P, py: Python<'_>) -> PyResult<()> {
    attempt(permit, py)?.map_err(|not_admitted| match not_admitted {
        NotAdmitted::Refused(refusal) => refused(permit, py, refusal),
        NotAdmitted::Busy => unreachable!("nothing waits here"),
    })
}

/// The exception of a refusal.
pub(crate) fn refused<P: HotPermit>(permit: &P, py: Python<'_>, refusal: P::Refusal) -> PyErr {
    permit.arguments(py, refusal).map_or_else(|error| error, |args| P::exception().with(py, args))
}

/// `__exit__` without an exception, and `success`.
#[inline]
pub(crate) fn end_fast<P: HotPermit>(this: Borrowed<'_, '_, P>) -> Fast {
    let (py, permit) = (this.py(), this.get());
    if permit.is_entered(py) {
        return Fast::Declined;
    }
    let Some(grant) = permit.holder().take(py) else {
        return if permit.holder().was_admitted() { Fast::Done(py.None()) } else { Fast::Declined };
    };
    if let Some(news) = permit.finish(py, grant, P::SERVED) {
        aside(|py| permit.report(py, news));
    }
    Fast::Done(py.None())
}

/// A class of permits for one call: the first report of its result counts, by the end of the block or before it. Later ones have no effect.
pub(crate) trait CallPermit: HotPermit {
    /// The result of a call that says nothing.
    const IGNORED: Self::Outcome;

    /// How a call ended that raised this.
    fn outcome_of(&self, error: &Bound<'_, PyAny>) -> PyResult<Self::Outcome>;
}

/// Reports the result. Raises if the call has never begun.
pub(crate) fn end<P: CallPermit>(permit: &P, py: Python<'_>, outcome: P::Outcome) -> PyResult<()> {
    match permit.holder().take(py) {
        Some(grant) => finish(permit, py, grant, outcome),
        None if permit.holder().was_admitted() => {}
        None => {
            let refusal = "the permit has not been admitted: use it in a `with` block, or call acquire()";
            return Err(PyRuntimeError::new_err(refusal));
        }
    }
    Ok(())
}

/// Ends a call, and reports what the object has to report about it.
pub(crate) fn finish<P: HotPermit>(permit: &P, py: Python<'_>, grant: P::Grant, outcome: P::Outcome) {
    if let Some(news) = permit.finish(py, grant, outcome) {
        aside(|py| permit.report(py, news));
    }
}

/// Ends the block of a permit, if it has not ended.
#[inline]
pub(crate) fn end_if_held<P: HotPermit>(permit: &P, py: Python<'_>, outcome: P::Outcome) {
    if let Some(grant) = permit.holder().take(py) {
        finish(permit, py, grant, outcome);
    }
}

/// The general form of `success`.
pub(crate) fn succeed<P: CallPermit>(permit: &P, py: Python<'_>) -> PyResult<Py<PyAny>> {
    end(permit, py, P::SERVED).map(|()| py.None())
}

/// The general form of `__exit__`: the block ended with this exception, or with None.
pub(crate) fn leave<P: CallPermit>(permit: &P, error: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    let py = error.py();
    if error.is_none() {
        return succeed(permit, py);
    }
    if check_free(permit, py).is_err() {
        // PyO3 panics where there is no memory.
        match catch_unwind(AssertUnwindSafe(|| permit.outcome_of(error))) {
            Ok(Ok(outcome)) => end(permit, py, outcome)?,
            not_judged => {
                end(permit, py, P::IGNORED)?; // it was not found out what it says
                match not_judged {
                    Ok(judged) => drop(judged?),
                    Err(panic) => resume_unwind(panic),
                }
            }
        }
    }
    Ok(py.None())
}
