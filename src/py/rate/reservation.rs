//! `Reservation`: a booked amount, and what can be done with it.

use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyTuple};
use sluicegate_core::clock::{Clock as CoreClock, Nanos, seconds as seconds_of};
use sluicegate_core::rate::{Booking, Bookings, Units};
use sluicegate_core::section::Section;

use super::amounts::{Names, amount, seconds};
use super::ops::AwaitMoment;
use super::refusal::too_far;
use super::{Limiter, Several};
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{Timeout, text};
use crate::rt::blocking;
use crate::rt::class::refuse_copies;
use crate::rt::domain::Attached;
use crate::rt::waker::Waker;

#[derive(Debug)]
pub(super) enum Booked {
    One(Arc<Limiter>, Booking),
    Several(Arc<Several>, Arc<Names>, Bookings),
}

impl Booked {
    fn at(&self) -> Nanos {
        match self {
            Self::One(_, booking) => booking.at,
            Self::Several(.., bookings) => bookings.at,
        }
    }

    fn clock(&self) -> &CoreClock<Waker> {
        match self {
            Self::One(limiter, _) => limiter.clock(),
            Self::Several(several, ..) => several.clock(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Settled,
    Cancelled,
}

/// Tokens booked for a moment to come: what `reserve` returns.
///
/// Wait for the moment with `wait` or `wait_async`, or with `with` or `async with`, which wait on entry and raise RuntimeError
/// if it has been cancelled. An exception in the body gives nothing back; `cancel` does, as far as that is possible. When the
/// true amount is known, `settle` it.
#[pyclass(frozen, weakref, name = "Reservation", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyReservation {
    booked: Booked,
    /// The limiter, or the set. Dropped after the above: a key's handle tidies up behind the last who holds its bucket.
    owner: Py<PyAny>,
    fate: Section<Fate, Attached>,
}

impl PyReservation {
    pub(super) fn new(owner: Py<PyAny>, booked: Booked) -> Self {
        Self { owner, booked, fate: Section::new(Fate::Open) }
    }

    /// It ends this way, unless it has ended already.
    fn end(&self, py: Python<'_>, fate: Fate) -> Option<Fate> {
        self.fate.with(py, |now| {
            let before = *now;
            if before == Fate::Open {
                *now = fate;
            }
            (before != Fate::Open).then_some(before)
        })
    }
}

#[pymethods]
impl PyReservation {
    /// What was booked: tokens, or a dict of them by name for `RateLimits`.
    #[getter]
    fn n(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match &self.booked {
            Booked::One(limiter, booking) => {
                Ok(limiter.scale().tokens(booking.units.into()).into_pyobject(py)?.into_any().unbind())
            }
            Booked::Several(_, names, bookings) => Ok(names.tokens(py, bookings.amounts())?.into_any().unbind()),
        }
    }

    /// The seconds until its moment; 0.0 when that has come.
    #[getter]
    fn delay(&self) -> f64 {
        seconds(self.booked.at().saturating_sub(self.booked.clock().now()))
    }

    /// Its moment, in seconds on the limiter's clock (`sluicegate.Clock().now()` unless it was given another).
    #[getter]
    fn ready_at(&self) -> f64 {
        seconds_of(self.booked.at())
    }

    /// Block until its moment has come.
    ///
    /// Raises RateLimited at once, the booking staying as it is, if that is more than `timeout` seconds away;
    /// ValueError, TypeError or OverflowError for a bad `timeout`. Interrupted by an exception from a signal handler, the
    /// booking stays as it is.
    #[pyo3(signature = (timeout = None))]
    fn wait(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        let booked = &slf.get().booked;
        blocking::run(slf.as_any(), &mut AwaitMoment::new(booked.at(), booked.clock().clone()), timeout)?;
        Ok(true)
    }

    /// The operation behind `wait_async`.
    fn _async_wait(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<AsyncOperation> {
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        let booked = &slf.get().booked;
        let operation = AwaitMoment::new(booked.at(), booked.clock().clone());
        Ok(AsyncOperation::new(slf.clone().into_any().unbind(), operation, timeout))
    }

    /// Report the amount actually used: the difference is given back, or taken, even if that leaves a debt.
    ///
    /// What has come in again since its moment is not given back a second time: of a sliding window comes back what still
    /// counts there, of a bucket what it would have more if `actual` had been booked. Before its moment no more comes back than
    /// `cancel` gives.
    ///
    /// For `RateLimits` by name, `settle(tokens=950)`; a limit that is not named stays as it was booked.
    ///
    /// Raises RuntimeError if it has been settled or cancelled before; ValueError, TypeError or OverflowError for a bad amount.
    #[pyo3(signature = (*args, **amounts), text_signature = "($self, actual=..., /, **actual_by_name)")]
    fn settle(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, amounts: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let owner = this.owner.bind(py);
        let actual: Vec<Option<Units>> = match &this.booked {
            Booked::One(limiter, _) => {
                let given = match (args.len(), amounts.filter(|amounts| !amounts.is_empty())) {
                    (1, None) => Some(args.get_item(0)?),
                    (0, Some(by_name)) if by_name.len() == 1 => by_name.get_item("actual")?,
                    _ => None,
                };
                let given = given.ok_or_else(|| PyTypeError::new_err("settle() takes one argument: the actual amount"))?;
                vec![Some(amount("actual", &given, limiter.scale())?)]
            }
            Booked::Several(..) if !args.is_empty() => {
                return Err(PyTypeError::new_err("settle() of several limits takes the actual amounts by name"));
            }
            Booked::Several(_, names, _) => names.named("settle", amounts)?,
        };
        match this.end(py, Fate::Settled) {
            None => {}
            Some(Fate::Cancelled) => return Err(PyRuntimeError::new_err("settle: the reservation has been cancelled")),
            Some(_) => return Err(PyRuntimeError::new_err("settle: the reservation has been settled already")),
        }
        let (wakes, outcome) = match &this.booked {
            Booked::One(limiter, booking) => limiter.adjust(py, *booking, actual[0].unwrap_or(booking.units)),
            Booked::Several(several, _, bookings) => several.adjust(py, bookings, &actual),
        };
        wakes.fire();
        outcome.map_err(|_| too_far(owner))
    }

    /// Give it back, as far as that is possible, and return how much that was: tokens, or a dict of them by name.
    ///
    /// What has been booked after it, relying on it, stays where it is, and so much of it cannot be given back: else
    /// more might pass in some window than the limit allows. (A sliding window can always give all of it back.)
    /// Nothing is given back once its moment has passed. A second time does nothing.
    ///
    /// Raises RuntimeError if it has been settled.
    fn cancel(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let before = self.end(py, Fate::Cancelled);
        if before == Some(Fate::Settled) {
            return Err(PyRuntimeError::new_err("cancel: the reservation has been settled already"));
        }
        let returned = match &self.booked {
            Booked::One(limiter, booking) => {
                let returned = if before.is_some() {
                    0
                } else {
                    let (wakes, returned) = limiter.cancel(py, *booking);
                    wakes.fire();
                    returned
                };
                limiter.scale().tokens(returned.into()).into_pyobject(py)?.into_any().unbind()
            }
            Booked::Several(several, names, bookings) => {
                let returned = if before.is_some() {
                    vec![0; several.members().len()]
                } else {
                    let (wakes, returned) = several.cancel(py, bookings);
                    wakes.fire();
                    returned
                };
                names.tokens(py, returned.into_iter())?.into_any().unbind()
            }
        };
        Ok(returned)
    }

    /// Raises if it has been cancelled: whoever enters with it would go without having booked.
    #[pyo3(name = "_check_open")]
    fn check_open(&self, py: Python<'_>) -> PyResult<()> {
        match self.fate.with(py, |fate| *fate) {
            Fate::Cancelled => {
                Err(PyRuntimeError::new_err("the reservation has been cancelled: nothing is booked to enter with"))
            }
            _ => Ok(()),
        }
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let this = slf.get();
        this.check_open(slf.py())?;
        // Cancelled by somebody else meanwhile, it lets nobody in either.
        match Self::wait(slf, None).and_then(|_| this.check_open(slf.py())) {
            Ok(()) => Ok(slf.clone()),
            Err(error) => {
                // The body will not run.
                slf.get().cancel(slf.py())?;
                Err(error)
            }
        }
    }

    #[pyo3(signature = (*_exc))]
    #[expect(clippy::unused_self, reason = "Python's protocol")]
    fn __exit__(&self, _exc: &Bound<'_, PyTuple>) {}

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let py = slf.py();
        let this = slf.get();
        let n = text(this.n(py)?.bind(py));
        let fate = match this.fate.with(py, |fate| *fate) {
            Fate::Open => "",
            Fate::Settled => " settled",
            Fate::Cancelled => " cancelled",
        };
        Ok(format!("<sluicegate.Reservation n={n} ready_at={:?} delay={:?}{fate}>", this.ready_at(), this.delay()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.owner)
    }
}

refuse_copies!(PyReservation);
