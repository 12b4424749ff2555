//! `RatePermit`: an amount that is taken on entry to a block and settled when the amount actually used is known.
//!
//! | event                               | what becomes of the grant                                                        |
//! |--------------------------------------|----------------------------------------------------------------------------------|
//! | `settle(actual)`, `refund()`         | the difference is given back as far as no window then exceeds its limit, or charged |
//! | the end of the block, however         | it stays taken; it can still be settled                                            |
//! | dropped in the block, not settled     | it stays taken, with a ResourceWarning: the amount used is not known              |
//!
//! What an entry needs that may have to wait or is granted is made then and not before, because a refusal needs none of it: the limiter of a
//! key, and references to what a set shares with its permits. (An atomic count that goes up and down again is a tenth of a refusal.)
//!
//! A set with semaphores acquires these first: that part is in Python (`sluicegate._rates`), which stores the held permits here.

use std::sync::{Arc, OnceLock};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyTuple};
use sluicegate_core::clock::{Nanos, nanos, seconds as seconds_of};
use sluicegate_core::keys::KeyHash;
use sluicegate_core::rate::{AcquireState, Booking, Bookings, Refusal, Scale, Units, Waiter};
use sluicegate_core::section::Section;

use super::ops::{Measure, Request};
use super::refusal::too_far;
use super::reservation::{Booked, actual_amounts};
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{Timeout, text};
use crate::rt::domain::Attached;
use crate::rt::gc::{Shown, attached_in_traverse};
use crate::rt::keys::text_of_handle;
use crate::rt::operation::Mode;
use crate::rt::permit::{self, Holder, Holds, Permit, permit_class};
use crate::rt::registration::{Registration, WaitableClass};

/// The grant, `None` inside once it has been settled.
#[derive(Debug)]
pub(crate) struct Grant(Option<Booked>);

/// What is asked for.
#[derive(Debug)]
pub(super) enum Asked {
    Of(Request),
    Key(OfKey),
    Set(OfSet),
}

/// Amounts of the limiters of a set.
#[derive(Debug)]
pub(super) struct OfSet {
    pub(super) amounts: Amounts,
    make: fn(&Bound<'_, PyAny>, &Amounts) -> Request,
    made: OnceLock<Request>,
}

#[derive(Debug)]
pub(super) enum Amounts {
    /// One token of each.
    Ones,
    Two([Units; 2]),
    Any(Arc<[Units]>),
}

impl OfSet {
    /// `make` makes the request to a set, the owner of the permit: it refers to what the set shares with its permits.
    #[inline]
    pub(super) fn new(amounts: Amounts, make: fn(&Bound<'_, PyAny>, &Amounts) -> Request) -> Self {
        Self { amounts, make, made: OnceLock::new() }
    }
}

/// An amount of a key whose limiter is perhaps not there yet.
#[derive(Debug)]
pub(super) struct OfKey {
    pub(super) hash: KeyHash,
    pub(super) n: Units,
    pub(super) scale: Scale,
    pub(super) key: Py<PyAny>,
    /// Makes the handle of this key of the keyed limiter, and the request.
    pub(super) make: fn(&Bound<'_, PyAny>, &OfKey) -> PyResult<OfHandle>,
    pub(super) made: OnceLock<Box<OfHandle>>,
}

/// A request to the limiter of a key. The handle is dropped last, because it tidies up when its limiter is no longer held.
#[derive(Debug)]
pub(super) struct OfHandle {
    pub(super) request: Request,
    pub(super) handle: Py<PyAny>,
}

/// An amount taken on entry to a block, `with` or `async with`, as returned by `permit`.
///
/// Entering waits in the wait queue as `acquire` does. When the true amount is known, in the block or after it, `settle` reports
/// it, or `refund` gives everything back. An exception in the block gives nothing back, since the limiter cannot know
/// how much was used; nor does a permit that is entered and then dropped, which gives a ResourceWarning. A permit can
/// be entered again after its block has ended.
#[pyclass(frozen, weakref, name = "RatePermit", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyRatePermit {
    timeout: Timeout,
    holder: Holder<Grant>,
    /// The grant of the last block that has ended.
    ended: Section<Option<Grant>, Attached>,
    /// The semaphores of a set that are to be acquired, each with its number of permits and its index.
    gates: Option<Py<PyTuple>>,
    /// The permits of these semaphores, which Python holds.
    held_gates: Section<Option<Py<PyAny>>, Attached>,
    /// Dropped after the grants, and before the owner, because the handle of a key tidies up when its limiter is no longer held.
    asked: Asked,
    /// The limiter, the keyed limiter, or the set.
    owner: Py<PyAny>,
}

impl PyRatePermit {
    #[inline]
    pub(super) fn new(owner: Py<PyAny>, request: Request, timeout: Timeout) -> Self {
        Self::asking(owner, Asked::Of(request), timeout, None)
    }

    /// Of a key of a keyed limiter.
    #[inline]
    pub(super) fn of_key(owner: Py<PyAny>, of_key: OfKey, timeout: Timeout) -> Self {
        Self::asking(owner, Asked::Key(of_key), timeout, None)
    }

    #[inline]
    fn asking(owner: Py<PyAny>, asked: Asked, timeout: Timeout, gates: Option<Py<PyTuple>>) -> Self {
        Self { timeout, holder: Holder::new(), ended: Section::new(None), gates, held_gates: Section::new(None), asked, owner }
    }

    /// Amounts of a set, and its semaphores.
    #[inline]
    pub(super) fn of_set(owner: Py<PyAny>, of_set: OfSet, timeout: Timeout, gates: Option<Py<PyTuple>>) -> Self {
        Self::asking(owner, Asked::Set(of_set), timeout, gates)
    }

    /// The request and the limiter that it is made to. `None` until an entry has begun.
    #[inline]
    fn made(&self) -> Option<(&Request, &Py<PyAny>)> {
        match &self.asked {
            Asked::Of(request) => Some((request, &self.owner)),
            Asked::Key(of) => of.made.get().map(|made| (&made.request, &made.handle)),
            Asked::Set(of) => of.made.get().map(|request| (request, &self.owner)),
        }
    }

    /// The same, once an entry has begun.
    #[inline]
    fn entered(&self) -> (&Request, &Py<PyAny>) {
        self.made().expect("an entry makes it first")
    }

    /// Makes the request. If two threads do it at once, one has made it.
    #[inline]
    fn make(&self, py: Python<'_>) -> PyResult<(&Request, &Py<PyAny>)> {
        match &self.asked {
            Asked::Key(of) if of.made.get().is_none() => drop(of.made.set(Box::new((of.make)(self.owner.bind(py), of)?))),
            Asked::Set(of) if of.made.get().is_none() => drop(of.made.set((of.make)(self.owner.bind(py), &of.amounts))),
            Asked::Of(_) | Asked::Key(_) | Asked::Set(_) => {}
        }
        Ok(self.entered())
    }

    /// The grant; a booking of nothing for a request of zero.
    fn booked(request: &Request, waiter: &mut Waiter) -> Booked {
        match request {
            Request::One(limiter, _) => {
                let nothing = || Booking::nothing(limiter.clock().now());
                Booked::One(Arc::clone(limiter), waiter.take_booking().unwrap_or_else(nothing))
            }
            Request::Set(set, _, names) => {
                let nothing = || Bookings::nothing(set.members().len(), set.clock().now());
                Booked::Set(Arc::clone(set), Arc::clone(names), waiter.take_bookings().unwrap_or_else(nothing))
            }
        }
    }

    /// `with permit` in the general form.
    pub(super) fn enter(slf: &Bound<'_, Self>) -> PyResult<()> {
        if slf.get().gates.is_none() {
            return permit::enter(slf);
        }
        slf.py().import("sluicegate._rates")?.call_method1("_enter_gates", (slf,)).map(drop)
    }

    /// What is asked for, and how long an entry may wait, if it may be refused at once.
    #[inline]
    pub(super) fn asked(&self, py: Python<'_>) -> Option<(&Asked, Nanos)> {
        let limit = match self.timeout {
            Timeout::Never => 0,
            Timeout::Within(seconds) => nanos(seconds),
            Timeout::Forever => return None,
        };
        (self.gates.is_none() && !self.holder.is_held(py)).then_some((&self.asked, limit))
    }

    pub(super) fn owner(&self) -> &Py<PyAny> {
        &self.owner
    }

    fn error(&self, py: Python<'_>, refusal: Refusal) -> PyErr {
        let (request, limiter) = self.entered();
        request.error(limiter.bind(py), refusal)
    }

    /// Takes the grant out if it has not been settled. Returns it once.
    fn take_for(&self, py: Python<'_>, what: &str) -> PyResult<Booked> {
        let take = |held: &mut Option<Grant>| held.as_mut().map(|grant| grant.0.take());
        let found = self.holder.with(py, take).or_else(|| self.ended.with(py, take));
        match found {
            Some(Some(booked)) => Ok(booked),
            Some(None) => Err(PyRuntimeError::new_err(format!("{what}: the permit has been settled already"))),
            None => Err(PyRuntimeError::new_err(format!("{what}: the permit has not been entered"))),
        }
    }

    /// Ends the block; the amount stays taken. Returns false if the permit was not held.
    fn exit(&self, py: Python<'_>) -> bool {
        let Some(grant) = self.holder.with(py, Option::take) else { return false };
        drop(self.ended.with(py, |ended| ended.replace(grant)));
        true
    }
}

impl WaitableClass for PyRatePermit {
    type Waitable = Request;

    #[inline]
    fn waitable(&self) -> &Request {
        self.entered().0
    }
}

impl Holds for PyRatePermit {
    type Grant = Grant;

    fn holder(&self) -> &Holder<Grant> {
        &self.holder
    }

    fn give_back(&self, py: Python<'_>, grant: Grant) {
        if let Some(booked) = grant.0 {
            drop(booked.settle(py, None));
        }
    }

    const ABANDONED: &'static str = "and what it took stays taken";

    fn is_missed(grant: &Grant) -> bool {
        grant.0.is_some()
    }

    fn abandon(&self, _py: Python<'_>, _grant: Grant) {}

    fn describe(&self, py: Python<'_>) -> String {
        let held = if self.holder.is_held(py) { "held" } else { "not held" };
        let n = self.n(py).map_or_else(|_| String::new(), |n| format!(" n={}", text(n.bind(py))));
        let of = match (self.made(), &self.asked) {
            (None, Asked::Key(of)) => text_of_handle(self.owner.bind(py), of.key.bind(py)),
            (limiter, _) => text(limiter.map_or(&self.owner, |(_, limiter)| limiter).bind(py)),
        };
        format!("<sluicegate.RatePermit{n} {held} of {of}>")
    }
}

impl Permit for PyRatePermit {
    fn timeout(&self) -> Timeout {
        self.timeout
    }

    fn prepare(&self, py: Python<'_>) -> PyResult<()> {
        self.make(py).map(drop)
    }

    fn admit(registration: &mut Registration<Py<Self>>, py: Python<'_>, mode: Mode<'_>, _now: Nanos) -> PyResult<Option<Grant>> {
        let Registration { object, waiter, deadline, look_again_at } = registration;
        let this = object.get();
        let (request, _) = this.entered();
        let went = match mode {
            Mode::Park(waker) => match request.acquire_or_wait(py, waiter, waker, *deadline) {
                AcquireState::Granted => Ok(true),
                AcquireState::Waiting(at) => {
                    *look_again_at = at;
                    Ok(false)
                }
                AcquireState::Refused(refusal) => Err(refusal),
            },
            _ => request.try_book(py, waiter, matches!(mode, Mode::TryFair)),
        };
        let went = went.map_err(|refusal| this.error(py, refusal))?;
        Ok(went.then(|| Grant(Some(Self::booked(request, waiter)))))
    }

    fn refused(&self, py: Python<'_>, _timeout: Timeout) -> PyErr {
        self.error(py, self.entered().0.refusal(py))
    }
}

#[pymethods]
impl PyRatePermit {
    /// The amount taken on entry: tokens, or a dict of tokens by name for `RateLimits`.
    #[getter]
    fn n(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match &self.asked {
            // Its limiter is made for an entry, and not to be looked at.
            Asked::Key(of) => Ok(of.scale.tokens(of.n.into()).into_pyobject(py)?.into_any().unbind()),
            Asked::Of(_) | Asked::Set(_) => self.make(py)?.0.tokens(py),
        }
    }

    /// Report the amount actually used; the difference is refunded, or debited even if that leaves a debt.
    ///
    /// Call it in the block or after it, once for each time the block was entered. An amount that has been refilled since
    /// is not refunded a second time: a sliding window refunds what still counts in it, a bucket refunds what it would
    /// hold in addition if `actual` had been taken.
    ///
    /// For `RateLimits` give amounts by name, as in `settle(tokens=950)`; a limit that is not named keeps its amount.
    ///
    /// Raises RuntimeError if the permit has not been entered, or has been settled; ValueError, TypeError or
    /// OverflowError for an invalid amount.
    #[pyo3(signature = (*args, **amounts), text_signature = "($self, actual=..., /, **actual_by_name)")]
    fn settle(&self, py: Python<'_>, args: &Bound<'_, PyTuple>, amounts: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let measure = match &self.asked {
            Asked::Key(of) => Measure::One(of.scale),
            Asked::Of(_) | Asked::Set(_) => self.make(py)?.0.measure(),
        };
        let actual = actual_amounts(measure, args, amounts)?;
        let booked = self.take_for(py, "settle")?;
        booked.settle(py, Some(&actual)).map(drop).map_err(|_| too_far(self.owner.bind(py)))
    }

    /// Report that nothing was used, and return the amount given back: tokens, or a dict of tokens by name.
    ///
    /// As with `settle`, an amount that has been refilled since is not given back a second time.
    ///
    /// Raises RuntimeError if the permit has not been entered, or has been settled.
    fn refund(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let booked = self.take_for(py, "refund")?;
        let returned = booked.settle(py, None).map_err(|_| too_far(self.owner.bind(py)))?;
        booked.tokens(py, &returned)
    }

    /// The operation behind `async with`.
    fn _async_acquire(slf: &Bound<'_, Self>) -> PyResult<AsyncOperation> {
        permit::enter_async(slf)
    }

    /// The same, with the rest of the time limit after the semaphores have been acquired.
    fn _async_acquire_within(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<AsyncOperation> {
        permit::enter_async_within(slf, Timeout::parse_strict("timeout", timeout)?)
    }

    fn _acquire_within(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        permit::enter_within(slf, Timeout::parse_strict("timeout", timeout)?)
    }

    /// The set, and the name of one of its semaphores.
    fn _gate(&self, py: Python<'_>, index: usize) -> PyResult<(Py<PyAny>, Option<String>)> {
        let (request, set) = self.make(py)?;
        let path = if let Request::Set(_, _, names) = request { Some(names.gate_path(index)) } else { None };
        Ok((set.clone_ref(py), path))
    }

    /// The semaphores of a set, each with its number of permits and its index, or None.
    #[getter]
    fn _gates(&self, py: Python<'_>) -> Option<Py<PyTuple>> {
        self.gates.as_ref().map(|gates| gates.clone_ref(py))
    }

    /// The timeout in seconds, and the current time of the limiter's clock.
    fn _timing(&self, py: Python<'_>) -> PyResult<(Option<f64>, f64)> {
        let timeout = match self.timeout {
            Timeout::Never => Some(0.0),
            Timeout::Within(seconds) => Some(seconds),
            Timeout::Forever => None,
        };
        Ok((timeout, seconds_of(self.make(py)?.0.clock().now())))
    }

    /// Stores the permits that Python holds while the block runs, and returns what was stored before.
    fn _keep(&self, py: Python<'_>, held: Option<Py<PyAny>>) -> Option<Py<PyAny>> {
        self.held_gates.with(py, |kept| std::mem::replace(kept, held))
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, py: Python<'_>, _exc: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.exit(py);
        let held = self.held_gates.with(py, Option::take);
        held.map_or(Ok(()), |held| held.call_method0(py, "close").map(drop))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.owner)?;
        visit.call(&self.gates)?;
        if let Asked::Key(of) = &self.asked {
            visit.call(&of.key)?;
            visit.call(of.made.get().map(|made| &made.handle))?;
        }
        let shown = Shown::to(&visit);
        self.held_gates.with(attached_in_traverse(), |held| shown.object(&*held));
        shown.outcome()
    }
}

permit_class!(PyRatePermit);
