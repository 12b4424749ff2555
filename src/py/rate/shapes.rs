//! `TokenBucket`, `LeakyBucket`, `SlidingWindow`.

use std::sync::Arc;

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyTuple};
use sluicegate_core::clock::{Nanos, nanos};
use sluicegate_core::rate::{Policy, Scale, Terms};

use super::Limiter;
use super::amounts::{amount, period_of, positive_amount, positive_number, rate_of, scale};
use super::keywords::{LEAKY_BUCKET, SET_LEAKY_RATE, SET_RATE, SLIDING_WINDOW, TOKEN_BUCKET};
use super::limiter::{PyRateLimiter, Shape, Target, burst_of, told};
use crate::rt::arguments::{Argument, as_int, text, type_name};
use crate::rt::class::Common;

/// A token bucket: it is refilled with `rate` tokens per `period` seconds, and holds at most `burst` tokens.
///
/// In any window of t seconds it admits at most `burst + rate * t / period` tokens. That is too much for somebody
/// else's quota of N a minute; use `SlidingWindow(N, 60)` for that. The bucket starts with `initial` tokens, by
/// default full. Rates and amounts can be fractions; amounts are counted in billionths of a token, or more coarsely
/// if `burst` is above 1e9.
///
/// Any number of threads and event loops can share it. Waiters are served strictly first come, first served. `with
/// bucket:` takes one token, and `@bucket` takes one before each call.
///
/// Raises ValueError, TypeError or OverflowError for invalid arguments.
///
/// Algorithm: GCRA (ITU-T I.371, annex A).
#[pyclass(frozen, subclass, weakref, extends = PyRateLimiter, name = "TokenBucket", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyTokenBucket;

/// A leaky bucket used as a shaper: it admits requests evenly spaced. A request for n tokens delays the next one by
/// `n / rate` periods.
///
/// At most `capacity` requests can wait, reservations included; further requests are refused. (Waiters of a
/// `RateLimits` are in the wait queue of the set and do not count.) Unused capacity is not saved: after a pause the
/// first request is admitted at once, and the second at the usual distance from it.
///
/// Raises ValueError, TypeError or OverflowError for invalid arguments.
///
/// Algorithm: GCRA (ITU-T I.371, annex A) without a burst.
#[pyclass(frozen, subclass, weakref, extends = PyRateLimiter, name = "LeakyBucket", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyLeakyBucket;

/// A sliding window: it never admits more than `limit` tokens in any window of `period` seconds.
///
/// An amount taken at time t counts until just before t + `period`. Use it for somebody else's quota, where a token
/// bucket may admit up to twice as much in one window. It remembers each moment of the last `period` at which
/// something was taken, so its memory grows with `limit`.
///
/// Raises ValueError, TypeError or OverflowError for invalid arguments.
#[pyclass(frozen, subclass, weakref, extends = PyRateLimiter, name = "SlidingWindow", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PySlidingWindow;

/// The largest number of requests that can wait.
fn capacity_of(value: &Bound<'_, PyAny>) -> PyResult<(usize, f64)> {
    let value = &as_int(value)?;
    if value.is_instance_of::<PyBool>() || !value.is_instance_of::<PyInt>() {
        let (value, kind) = (text(value), type_name(value));
        return Err(PyTypeError::new_err(format!("'capacity' must be an int, not {value} ({kind})")));
    }
    if value.lt(0)? {
        return Err(PyValueError::new_err(format!("'capacity' must not be negative, got {}", text(value))));
    }
    let capacity =
        value.extract::<u32>().map_err(|_| PyOverflowError::new_err("'capacity' is too large: the maximum is 4294967295"))?;
    Ok((capacity as usize, f64::from(capacity)))
}

fn window_of(value: &Bound<'_, PyAny>) -> PyResult<(Nanos, f64)> {
    let period = period_of(Some(value))?;
    match nanos(period) {
        0 => Err(PyValueError::new_err(format!("'period' is too small: {}; time is counted in nanoseconds", text(value)))),
        window => Ok((window, period)),
    }
}

fn own(law: Policy, terms: Terms, scale: Scale, common: Common) -> PyRateLimiter {
    let shape = match law {
        Policy::Bucket { .. } => Shape::Bucket,
        Policy::Spaced { .. } => Shape::Leaky,
        Policy::Window { .. } => Shape::Window,
    };
    let limiter = Arc::new(Limiter::with_terms(law, terms, scale, common.core_clock()));
    PyRateLimiter::new(Target::Own(limiter), shape, common)
}

#[pymethods]
impl PyTokenBucket {
    #[new]
    #[pyo3(signature = (rate = Argument::MISSING, *more, burst = Argument::MISSING, period = Argument::MISSING, initial = None, clock = None, name = None, **unknown), text_signature = "(rate, *, burst, period=1.0, initial=None, clock=None, name=None)")]
    #[expect(clippy::too_many_arguments, reason = "a constructor's parameters")]
    fn new(
        py: Python<'_>,
        rate: Argument<'_, '_>,
        more: &Bound<'_, PyTuple>,
        burst: Argument<'_, '_>,
        period: Argument<'_, '_>,
        initial: Option<&Bound<'_, PyAny>>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        TOKEN_BUCKET.refuse(rate.given(), more, unknown)?;
        let (rate, burst) = (TOKEN_BUCKET.required("rate", &rate)?, TOKEN_BUCKET.required("burst", &burst)?);
        let per_period = positive_number("rate", rate)?;
        let scale = scale("burst", burst)?;
        let (units, size) = burst_of(burst, scale)?;
        let period = period_of(period.given())?;
        let rate = rate_of((rate, per_period), period, scale)?;
        let initial_units = initial.map_or(Ok(units), |initial| amount("initial", initial, scale))?;
        if initial_units > units {
            let (initial, burst) = (initial.map_or_else(String::new, text), text(burst));
            return Err(PyValueError::new_err(format!("'initial' must not be more than the burst of {burst}, got {initial}")));
        }
        let law = Policy::Bucket { rate, burst: units, debt: units - initial_units };
        let terms = Terms { rate: per_period, size, period };
        Ok(PyClassInitializer::from(own(law, terms, scale, Common::new(py, name, clock)?)).add_subclass(Self))
    }

    /// The number of tokens refilled per `period`.
    #[getter]
    fn rate(slf: &Bound<'_, Self>) -> f64 {
        slf.as_super().get().terms(slf.py()).rate
    }

    /// The largest number of tokens the bucket holds.
    #[getter]
    fn burst(slf: &Bound<'_, Self>) -> f64 {
        slf.as_super().get().terms(slf.py()).size
    }

    /// The length of time that `rate` refers to, in seconds.
    #[getter]
    fn period(slf: &Bound<'_, Self>) -> f64 {
        slf.as_super().get().terms(slf.py()).period
    }

    /// Change the rate (per the same period) and, if given, the burst, from now on.
    ///
    /// Tokens are kept as far as they fit, and debts are kept. The times of waiters are recalculated; a waiter whose
    /// amount is now larger than the burst gets ValueError. Reservations keep their moments.
    ///
    /// Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed.
    #[pyo3(signature = (rate, *more, burst = None, **unknown), text_signature = "($self, rate, *, burst=None)")]
    fn set_rate(
        slf: &Bound<'_, Self>,
        rate: &Bound<'_, PyAny>,
        more: &Bound<'_, PyTuple>,
        burst: Option<&Bound<'_, PyAny>>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        SET_RATE.refuse(Some(rate), more, unknown)?;
        PyRateLimiter::set_rate(slf.as_super(), rate, burst)
    }
}

#[pymethods]
impl PyLeakyBucket {
    #[new]
    #[pyo3(signature = (rate = Argument::MISSING, *more, capacity = Argument::MISSING, period = Argument::MISSING, clock = None, name = None, **unknown), text_signature = "(rate, *, capacity, period=1.0, clock=None, name=None)")]
    #[expect(clippy::too_many_arguments, reason = "a constructor's parameters")]
    fn new(
        py: Python<'_>,
        rate: Argument<'_, '_>,
        more: &Bound<'_, PyTuple>,
        capacity: Argument<'_, '_>,
        period: Argument<'_, '_>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        LEAKY_BUCKET.refuse(rate.given(), more, unknown)?;
        let (rate, capacity) = (LEAKY_BUCKET.required("rate", &rate)?, LEAKY_BUCKET.required("capacity", &capacity)?);
        let per_period = positive_number("rate", rate)?;
        let (capacity, size) = capacity_of(capacity)?;
        let period = period_of(period.given())?;
        let scale = Scale::for_largest(1e6).expect("a million can be counted");
        let rate = rate_of((rate, per_period), period, scale)?;
        let terms = Terms { rate: per_period, size, period };
        let limiter = own(Policy::Spaced { rate, capacity }, terms, scale, Common::new(py, name, clock)?);
        Ok(PyClassInitializer::from(limiter).add_subclass(Self))
    }

    /// The number of tokens admitted per `period`.
    #[getter]
    fn rate(slf: &Bound<'_, Self>) -> f64 {
        slf.as_super().get().terms(slf.py()).rate
    }

    /// The largest number of requests that can wait.
    #[getter]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was made of a u32")]
    fn capacity(slf: &Bound<'_, Self>) -> u32 {
        slf.as_super().get().terms(slf.py()).size as u32
    }

    /// The length of time that `rate` refers to, in seconds.
    #[getter]
    fn period(slf: &Bound<'_, Self>) -> f64 {
        slf.as_super().get().terms(slf.py()).period
    }

    /// Change the rate (per the same period) and, if given, the capacity, from now on.
    ///
    /// The times of waiters are recalculated. A smaller capacity does not remove requests that are already waiting.
    /// Reservations keep their moments.
    ///
    /// Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed.
    #[pyo3(signature = (rate, *more, capacity = None, **unknown), text_signature = "($self, rate, *, capacity=None)")]
    fn set_rate(
        slf: &Bound<'_, Self>,
        rate: &Bound<'_, PyAny>,
        more: &Bound<'_, PyTuple>,
        capacity: Option<&Bound<'_, PyAny>>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        SET_LEAKY_RATE.refuse(Some(rate), more, unknown)?;
        let py = slf.py();
        let this = slf.as_super().get();
        let per_period = positive_number("rate", rate)?;
        let capacity = capacity.map(capacity_of).transpose()?;
        let rate = rate_of((rate, per_period), this.terms(py).period, this.scale())?;
        let Target::Own(limiter) = &this.target else { unreachable!("a leaky bucket is its own") };
        let told = told(per_period, capacity.map(|(_, size)| size));
        limiter.set_rate(py, rate, None, capacity.map(|(capacity, _)| capacity), told).fire();
        Ok(())
    }
}

#[pymethods]
impl PySlidingWindow {
    #[new]
    #[pyo3(signature = (limit = Argument::MISSING, period = Argument::MISSING, *more, clock = None, name = None, **unknown), text_signature = "(limit, period, *, clock=None, name=None)")]
    fn new(
        py: Python<'_>,
        limit: Argument<'_, '_>,
        period: Argument<'_, '_>,
        more: &Bound<'_, PyTuple>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        SLIDING_WINDOW.refuse(limit.given(), more, unknown)?;
        let (limit, period) = (SLIDING_WINDOW.required("limit", &limit)?, SLIDING_WINDOW.required("period", &period)?);
        let scale = scale("limit", limit)?;
        let units = positive_amount("limit", limit, scale)?;
        let (window, period) = window_of(period)?;
        let size = positive_number("limit", limit)?;
        let law = Policy::Window { limit: units, period: window };
        let limiter = own(law, Terms { rate: size, size, period }, scale, Common::new(py, name, clock)?);
        Ok(PyClassInitializer::from(limiter).add_subclass(Self))
    }

    /// The largest number of tokens admitted in any window.
    #[getter]
    fn limit(slf: &Bound<'_, Self>) -> f64 {
        slf.as_super().get().terms(slf.py()).size
    }

    /// The length of the window, in seconds.
    #[getter]
    fn period(slf: &Bound<'_, Self>) -> f64 {
        slf.as_super().get().terms(slf.py()).period
    }

    /// Change the limit and, if given, the period, from now on.
    ///
    /// Amounts already taken still count. The times of waiters are recalculated; a waiter whose amount is now larger
    /// than the limit gets ValueError. Reservations keep their moments. Lengthening the period does not bring back
    /// amounts that have already left the window.
    ///
    /// Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed.
    #[pyo3(signature = (limit, period = None))]
    fn set_limit(slf: &Bound<'_, Self>, limit: &Bound<'_, PyAny>, period: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.as_super().get();
        let units = positive_amount("limit", limit, this.scale())?;
        let size = positive_number("limit", limit)?;
        let period = period.map(window_of).transpose()?;
        let Target::Own(limiter) = &this.target else { unreachable!("a window is its own") };
        let told = |terms: &mut Terms| {
            let period = period.map_or(terms.period, |(_, period)| period);
            *terms = Terms { rate: size, size, period };
        };
        limiter.set_window(py, units, period.map(|(window, _)| window), told).fire();
        Ok(())
    }
}
