//! `Reservation`: a booked amount, which can be waited for, settled and cancelled.

use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyTuple};
use sluicegate_core::clock::{Clock as CoreClock, Nanos, seconds as seconds_of};
use sluicegate_core::rate::{Booking, Bookings, Refusal, Units};
use sluicegate_core::section::Section;

use super::amounts::{amount, seconds};
use super::names::Names;
use super::ops::{AwaitMoment, Measure};
use super::refusal::too_far;
use super::{LimitSet, Limiter};
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{Timeout, text};
use crate::rt::blocking;
use crate::rt::class::refuse_copies;
use crate::rt::domain::Attached;
use crate::rt::waker::Waker;

#[derive(Debug)]
pub(super) enum Booked {
    One(Arc<Limiter>, Booking),
    Set(Arc<LimitSet>, Arc<Names>, Bookings),
}

impl Booked {
    fn at(&self) -> Nanos {
        match self {
            Self::One(_, booking) => booking.at,
            Self::Set(.., bookings) => bookings.at,
        }
    }

    fn clock(&self) -> &CoreClock<Waker> {
        match self {
            Self::One(limiter, _) => limiter.clock(),
            Self::Set(set, ..) => set.clock(),
        }
    }

    /// Settles the booking with the amounts actually used, for the members of a set where they are known; without `actual`, with zero.
    /// Returns the amounts given back.
    pub(super) fn settle(&self, py: Python<'_>, actual: Option<&[Option<Units>]>) -> Result<Vec<Units>, Refusal> {
        match self {
            Self::One(limiter, booking) => {
                let actual = actual.map_or(0, |actual| actual[0].unwrap_or(booking.units));
                let (wakes, returned) = limiter.adjust(py, *booking, actual);
                wakes.fire();
                returned.map(|returned| vec![returned])
            }
            Self::Set(set, _, bookings) => {
                let nothing = vec![Some(0); set.members().len()];
                let (wakes, returned) = set.adjust(py, bookings, actual.unwrap_or(&nothing));
                wakes.fire();
                returned
            }
        }
    }

    /// The amounts in tokens, as a Python object.
    pub(super) fn tokens(&self, py: Python<'_>, units: &[Units]) -> PyResult<Py<PyAny>> {
        match self {
            Self::One(limiter, _) => Ok(limiter.scale().tokens(units[0].into()).into_pyobject(py)?.into_any().unbind()),
            Self::Set(_, names, _) => Ok(names.tokens(py, units)?.into_any().unbind()),
        }
    }
}

/// The arguments of `settle`: the amount of one limiter, or the amounts of the named members of a set.
pub(super) fn actual_amounts(
    measure: Measure<'_>,
    args: &Bound<'_, PyTuple>,
    amounts: Option<&Bound<'_, PyDict>>,
) -> PyResult<Vec<Option<Units>>> {
    let scale = match measure {
        Measure::One(scale) => scale,
        Measure::ByName(names) if args.is_empty() => return names.named("settle", amounts),
        Measure::ByName(_) => return Err(PyTypeError::new_err("settle() takes the actual amounts by name for several limits")),
    };
    let given = match (args.len(), amounts.filter(|amounts| !amounts.is_empty())) {
        (1, None) => Some(args.get_item(0)?),
        (0, Some(by_name)) if by_name.len() == 1 => by_name.get_item("actual")?,
        _ => None,
    };
    let given = given.ok_or_else(|| PyTypeError::new_err("settle() takes one argument: the actual amount"))?;
    Ok(vec![Some(amount("actual", &given, scale)?)])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Settled,
    Cancelled,
}

/// Tokens booked for a future moment, as returned by `reserve`.
///
/// Wait for the moment with `wait` or `wait_async`; call `cancel` before the moment, or `settle` with the true amount
/// when it is known. A reservation is not a context manager: use `with limiter.permit(n):`, which waits in the wait queue
/// and can be settled.
#[pyclass(frozen, weakref, name = "Reservation", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyReservation {
    booked: Booked,
    /// The limiter or the set. Dropped after the fields above, because the handle of a key tidies up when its bucket is no longer held.
    owner: Py<PyAny>,
    fate: Section<Fate, Attached>,
}

impl PyReservation {
    pub(super) fn new(owner: Py<PyAny>, booked: Booked) -> Self {
        Self { owner, booked, fate: Section::new(Fate::Open) }
    }

    fn await_moment(slf: &Bound<'_, Self>) -> AwaitMoment {
        let booked = &slf.get().booked;
        AwaitMoment::new(slf.clone().into_any().unbind(), Self::refuse_cancelled, booked.at(), booked.clock().clone())
    }

    fn refuse_cancelled(this: &Bound<'_, PyAny>) -> PyResult<()> {
        let this = this.cast::<Self>()?;
        if this.get().fate.with(this.py(), |fate| *fate == Fate::Cancelled) {
            return Err(PyRuntimeError::new_err("wait: the reservation has been cancelled, so nothing is booked for the caller"));
        }
        Ok(())
    }

    /// Sets the fate of the reservation, unless it has one already.
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
    /// The booked amount: tokens, or a dict of tokens by name for `RateLimits`.
    #[getter]
    fn n(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match &self.booked {
            Booked::One(limiter, booking) => {
                Ok(limiter.scale().tokens(booking.units.into()).into_pyobject(py)?.into_any().unbind())
            }
            Booked::Set(_, names, bookings) => Ok(names.tokens(py, &bookings.amounts().collect::<Vec<_>>())?.into_any().unbind()),
        }
    }

    /// The seconds until the reservation is ready; 0.0 if it is ready.
    #[getter]
    fn delay(&self) -> f64 {
        seconds(self.booked.at().saturating_sub(self.booked.clock().now()))
    }

    /// The moment at which the reservation is ready, in seconds on the limiter's clock (by default
    /// `sluicegate.Clock().now()`).
    #[getter]
    fn ready_at(&self) -> f64 {
        seconds_of(self.booked.at())
    }

    /// Block until the reservation is ready.
    ///
    /// Raises RateLimited at once, with the booking unchanged, if that is more than `timeout` seconds away; RuntimeError if
    /// the reservation has been cancelled, or is cancelled meanwhile (then at its moment); ValueError, TypeError or
    /// OverflowError for an invalid `timeout`. If an exception from a signal handler interrupts the wait, the booking is
    /// unchanged.
    #[pyo3(signature = (timeout = None))]
    fn wait(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        blocking::run(slf.py(), &mut Self::await_moment(slf), timeout)?;
        Ok(true)
    }

    /// The operation behind `wait_async`.
    fn _async_wait(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<AsyncOperation> {
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        Ok(AsyncOperation::new(Self::await_moment(slf), timeout))
    }

    /// Report the amount actually used; the difference is refunded, or debited even if that leaves a debt.
    ///
    /// An amount that has been refilled since the reservation's moment is not refunded a second time: a sliding window
    /// refunds what still counts in it, a bucket refunds what it would hold in addition if `actual` had been booked.
    /// Before its moment, a reservation refunds no more than `cancel` would.
    ///
    /// For `RateLimits` give amounts by name, as in `settle(tokens=950)`; a limit that is not named keeps its booked
    /// amount.
    ///
    /// Raises RuntimeError if the reservation has been settled or cancelled; ValueError, TypeError or OverflowError for
    /// an invalid amount.
    #[pyo3(signature = (*args, **amounts), text_signature = "($self, actual=..., /, **actual_by_name)")]
    fn settle(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, amounts: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let measure = match &this.booked {
            Booked::One(limiter, _) => Measure::One(limiter.scale()),
            Booked::Set(_, names, _) => Measure::ByName(names),
        };
        let actual = actual_amounts(measure, args, amounts)?;
        match this.end(py, Fate::Settled) {
            None => {}
            Some(Fate::Cancelled) => return Err(PyRuntimeError::new_err("settle: the reservation has been cancelled")),
            Some(_) => return Err(PyRuntimeError::new_err("settle: the reservation has been settled already")),
        }
        this.booked.settle(py, Some(&actual)).map(drop).map_err(|_| too_far(this.owner.bind(py)))
    }

    /// Cancel the reservation and return the amount given back: tokens, or a dict of tokens by name.
    ///
    /// Later bookings rely on this one and keep their moments, so the part of it that they need cannot be given back
    /// without exceeding the limit in some window. (A sliding window can always give back everything.) Once its moment
    /// has passed, nothing is given back. Calling it again has no effect.
    ///
    /// Raises RuntimeError if the reservation has been settled.
    fn cancel(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let before = self.end(py, Fate::Cancelled);
        if before == Some(Fate::Settled) {
            return Err(PyRuntimeError::new_err("cancel: the reservation has been settled already"));
        }
        let returned = match &self.booked {
            Booked::One(..) if before.is_some() => vec![0],
            Booked::Set(set, ..) if before.is_some() => vec![0; set.members().len()],
            Booked::One(limiter, booking) => {
                let (wakes, returned) = limiter.cancel(py, *booking);
                wakes.fire();
                vec![returned]
            }
            Booked::Set(set, _, bookings) => {
                let (wakes, returned) = set.cancel(py, bookings);
                wakes.fire();
                returned
            }
        };
        self.booked.tokens(py, &returned)
    }

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
