//! `TokenBucket`, `LeakyBucket`, `SlidingWindow`, `UnlimitedRate`, `ZeroRate`.

use std::sync::Arc;

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyTuple, PyType};
use sluicegate_core::clock::{Nanos, nanos};
use sluicegate_core::rate::{NewLimit, NewRate, Policy, Rate, Scale, Terms, Units};

use super::Limiter;
use super::amounts::{amount, period_of, positive_amount, positive_number, rate_of, scale};
use super::keys::Change;
use super::keywords::{LEAKY_BUCKET, SLIDING_WINDOW, TOKEN_BUCKET, UNLIMITED_RATE, ZERO_RATE};
use super::limiter::{PyRateLimiter, Shape, Target, burst_of};
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

/// A limiter that admits every request at once, for settings in which there is no limit.
///
/// It counts requests as any limiter does, and a `pause_for` holds: during a pause requests wait. `tokens` is infinite.
///
/// Raises TypeError for invalid arguments.
#[pyclass(frozen, subclass, weakref, extends = PyRateLimiter, name = "UnlimitedRate", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyUnlimitedRate;

/// A limiter that admits no request, for settings in which something is switched off.
///
/// `try_acquire` returns False; `acquire`, `reserve` and `permit` raise RateLimited at once, with or without a timeout,
/// because waiting would not end. `retry_after` is infinite. (`n=0` succeeds, as with every limiter.)
///
/// Raises TypeError for invalid arguments.
#[pyclass(frozen, subclass, weakref, extends = PyRateLimiter, name = "ZeroRate", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyZeroRate;

/// A leaky bucket uses the finest scale in which this number of tokens can be counted.
const LEAKY_SCALE: f64 = 1e6;

/// The scale of a limiter that counts nothing.
const ANY_SCALE: f64 = 1e12;

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

/// What amounts are counted in, and the rate, size and period as they were given.
pub(super) type Counted = (Scale, Terms);

/// The arguments of a token bucket.
pub(super) fn bucket_of(
    rate: &Bound<'_, PyAny>,
    burst: &Bound<'_, PyAny>,
    period: Option<&Bound<'_, PyAny>>,
) -> PyResult<(Rate, Units, Counted)> {
    let per_period = positive_number("rate", rate)?;
    let scale = scale("burst", burst)?;
    let (units, size) = burst_of(burst, scale)?;
    let period = period_of(period)?;
    Ok((rate_of((rate, per_period), period, scale)?, units, (scale, Terms { rate: per_period, size, period })))
}

/// The arguments of a leaky bucket.
pub(super) fn leaky_of(
    rate: &Bound<'_, PyAny>,
    capacity: &Bound<'_, PyAny>,
    period: Option<&Bound<'_, PyAny>>,
) -> PyResult<(Rate, usize, Counted)> {
    let per_period = positive_number("rate", rate)?;
    let (capacity, size) = capacity_of(capacity)?;
    let period = period_of(period)?;
    let scale = Scale::for_largest(LEAKY_SCALE).expect("it can be counted");
    Ok((rate_of((rate, per_period), period, scale)?, capacity, (scale, Terms { rate: per_period, size, period })))
}

/// The arguments of a window.
pub(super) fn window_of(limit: &Bound<'_, PyAny>, period: &Bound<'_, PyAny>) -> PyResult<(Units, Nanos, Counted)> {
    let scale = scale("limit", limit)?;
    let units = positive_amount("limit", limit, scale)?;
    let (window, period) = length_of(period)?;
    let size = positive_number("limit", limit)?;
    Ok((units, window, (scale, Terms { rate: size, size, period })))
}

/// The length of a window.
fn length_of(value: &Bound<'_, PyAny>) -> PyResult<(Nanos, f64)> {
    let period = period_of(Some(value))?;
    match nanos(period) {
        0 => Err(PyValueError::new_err(format!("'period' is too small: {}; time is counted in nanoseconds", text(value)))),
        window => Ok((window, period)),
    }
}

/// The arguments of a bucket's `set_rate`, as a change and the new terms. The period stays.
pub(super) fn bucket_change(
    rate: &Bound<'_, PyAny>,
    burst: Option<&Bound<'_, PyAny>>,
    terms: Terms,
    scale: Scale,
) -> PyResult<(Change, impl Fn(&mut Terms) + use<>)> {
    let per_period = positive_number("rate", rate)?;
    let burst = burst.map(|burst| burst_of(burst, scale)).transpose()?;
    let rate = rate_of((rate, per_period), terms.period, scale)?;
    let change = Change::Rate(NewRate { rate, burst: burst.map(|(units, _)| units), capacity: None });
    Ok((change, told(per_period, burst.map(|(_, size)| size))))
}

/// Those of a leaky bucket's `set_rate`.
pub(super) fn leaky_change(
    rate: &Bound<'_, PyAny>,
    capacity: Option<&Bound<'_, PyAny>>,
    terms: Terms,
    scale: Scale,
) -> PyResult<(Change, impl Fn(&mut Terms) + use<>)> {
    let per_period = positive_number("rate", rate)?;
    let capacity = capacity.map(capacity_of).transpose()?;
    let rate = rate_of((rate, per_period), terms.period, scale)?;
    let change = Change::Rate(NewRate { rate, burst: None, capacity: capacity.map(|(capacity, _)| capacity) });
    Ok((change, told(per_period, capacity.map(|(_, size)| size))))
}

/// Sets the terms to the new rate and, if given, the new size.
fn told(rate: f64, size: Option<f64>) -> impl Fn(&mut Terms) {
    move |terms| *terms = Terms { rate, size: size.unwrap_or(terms.size), period: terms.period }
}

/// The arguments of `set_limit`, as a change and the new terms.
pub(super) fn limit_change(
    limit: &Bound<'_, PyAny>,
    period: Option<&Bound<'_, PyAny>>,
    scale: Scale,
) -> PyResult<(Change, impl Fn(&mut Terms) + use<>)> {
    let units = positive_amount("limit", limit, scale)?;
    let size = positive_number("limit", limit)?;
    let period = period.map(length_of).transpose()?;
    let told = move |terms: &mut Terms| {
        let period = period.map_or(terms.period, |(_, period)| period);
        *terms = Terms { rate: size, size, period };
    };
    Ok((Change::Limit(NewLimit { limit: units, period: period.map(|(window, _)| window) }), told))
}

/// What a token bucket and that of a key have alike. The docstring is that of `set_rate`.
macro_rules! bucket_methods {
    ($class:ty: $($(#[$doc:meta])+)?) => {
        #[pyo3::pymethods]
        impl $class {
            /// The number of tokens refilled per `period`.
            #[getter]
            fn rate(slf: &pyo3::Bound<'_, Self>) -> f64 {
                slf.as_super().get().terms(slf.py()).rate
            }

            /// The largest number of tokens the bucket holds.
            #[getter]
            fn burst(slf: &pyo3::Bound<'_, Self>) -> f64 {
                slf.as_super().get().terms(slf.py()).size
            }

            /// The length of time that `rate` refers to, in seconds.
            #[getter]
            fn period(slf: &pyo3::Bound<'_, Self>) -> f64 {
                slf.as_super().get().terms(slf.py()).period
            }

            $($(#[$doc])+)?
            #[pyo3(signature = (rate, *more, burst = None, **unknown), text_signature = "($self, rate, *, burst=None)")]
            fn set_rate(
                slf: &pyo3::Bound<'_, Self>,
                rate: &pyo3::Bound<'_, pyo3::PyAny>,
                more: &pyo3::Bound<'_, pyo3::types::PyTuple>,
                burst: Option<&pyo3::Bound<'_, pyo3::PyAny>>,
                unknown: Option<&pyo3::Bound<'_, pyo3::types::PyDict>>,
            ) -> pyo3::PyResult<()> {
                $crate::rate::keywords::SET_RATE.refuse(Some(rate), more, unknown)?;
                let (this, limiter) = (slf.as_super(), slf.as_super().get());
                limiter.ready()?;
                let change = $crate::rate::shapes::bucket_change(rate, burst, limiter.terms(slf.py()), limiter.scale())?;
                $crate::rate::limiter::PyRateLimiter::change(this, change)
            }
        }
    };
}
pub(super) use bucket_methods;

/// The same of a leaky bucket.
macro_rules! leaky_methods {
    ($class:ty: $($(#[$doc:meta])+)?) => {
        #[pyo3::pymethods]
        impl $class {
            /// The number of tokens admitted per `period`.
            #[getter]
            fn rate(slf: &pyo3::Bound<'_, Self>) -> f64 {
                slf.as_super().get().terms(slf.py()).rate
            }

            /// The largest number of requests that can wait.
            #[getter]
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was made of a u32")]
            fn capacity(slf: &pyo3::Bound<'_, Self>) -> u32 {
                slf.as_super().get().terms(slf.py()).size as u32
            }

            /// The length of time that `rate` refers to, in seconds.
            #[getter]
            fn period(slf: &pyo3::Bound<'_, Self>) -> f64 {
                slf.as_super().get().terms(slf.py()).period
            }

            $($(#[$doc])+)?
            #[pyo3(signature = (rate, *more, capacity = None, **unknown), text_signature = "($self, rate, *, capacity=None)")]
            fn set_rate(
                slf: &pyo3::Bound<'_, Self>,
                rate: &pyo3::Bound<'_, pyo3::PyAny>,
                more: &pyo3::Bound<'_, pyo3::types::PyTuple>,
                capacity: Option<&pyo3::Bound<'_, pyo3::PyAny>>,
                unknown: Option<&pyo3::Bound<'_, pyo3::types::PyDict>>,
            ) -> pyo3::PyResult<()> {
                $crate::rate::keywords::SET_LEAKY_RATE.refuse(Some(rate), more, unknown)?;
                let (this, limiter) = (slf.as_super(), slf.as_super().get());
                limiter.ready()?;
                let change = $crate::rate::shapes::leaky_change(rate, capacity, limiter.terms(slf.py()), limiter.scale())?;
                $crate::rate::limiter::PyRateLimiter::change(this, change)
            }
        }
    };
}
pub(super) use leaky_methods;

/// The same of a sliding window; the docstring is that of `set_limit`.
macro_rules! window_methods {
    ($class:ty: $($(#[$doc:meta])+)?) => {
        #[pyo3::pymethods]
        impl $class {
            /// The largest number of tokens admitted in any window.
            #[getter]
            fn limit(slf: &pyo3::Bound<'_, Self>) -> f64 {
                slf.as_super().get().terms(slf.py()).size
            }

            /// The length of the window, in seconds.
            #[getter]
            fn period(slf: &pyo3::Bound<'_, Self>) -> f64 {
                slf.as_super().get().terms(slf.py()).period
            }

            $($(#[$doc])+)?
            #[pyo3(signature = (limit, period = None))]
            fn set_limit(
                slf: &pyo3::Bound<'_, Self>,
                limit: &pyo3::Bound<'_, pyo3::PyAny>,
                period: Option<&pyo3::Bound<'_, pyo3::PyAny>>,
            ) -> pyo3::PyResult<()> {
                let this = slf.as_super();
                let change = $crate::rate::shapes::limit_change(limit, period, this.get().scale())?;
                $crate::rate::limiter::PyRateLimiter::change(this, change)
            }
        }
    };
}
pub(super) use window_methods;

fn own(law: Policy, (scale, terms): Counted, common: Common) -> PyRateLimiter {
    let shape = match law {
        Policy::Bucket { .. } => Shape::Bucket,
        Policy::Spaced { .. } => Shape::Leaky,
        Policy::Window { .. } => Shape::Window,
        Policy::Unlimited => Shape::Unlimited,
        Policy::Closed => Shape::Zero,
    };
    let limiter = Arc::new(Limiter::with_terms(law, terms, scale, common.core_clock()));
    PyRateLimiter::new(Target::Own(limiter), shape, common)
}

#[pymethods]
impl PyTokenBucket {
    #[new]
    #[classmethod]
    #[pyo3(signature = (rate = Argument::MISSING, *more, burst = Argument::MISSING, period = Argument::MISSING, initial = None, clock = None, name = None, **unknown), text_signature = "(rate, *, burst, period=1.0, initial=None, clock=None, name=None)")]
    #[expect(clippy::too_many_arguments, reason = "a constructor's parameters")]
    fn new(
        class: &Bound<'_, PyType>,
        rate: Argument<'_, '_>,
        more: &Bound<'_, PyTuple>,
        burst: Argument<'_, '_>,
        period: Argument<'_, '_>,
        initial: Option<&Bound<'_, PyAny>>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let py = class.py();
        let limiter = PyRateLimiter::of_class::<Self>(class, || {
            TOKEN_BUCKET.refuse(rate.given(), more, unknown)?;
            let (rate, burst) = (TOKEN_BUCKET.required("rate", &rate)?, TOKEN_BUCKET.required("burst", &burst)?);
            let (rate, units, counted) = bucket_of(rate, burst, period.given())?;
            let initial_units = initial.map_or(Ok(units), |initial| amount("initial", initial, counted.0))?;
            if initial_units > units {
                let (initial, burst) = (initial.map_or_else(String::new, text), text(burst));
                return Err(PyValueError::new_err(format!(
                    "'initial' must not be more than the burst of {burst}, got {initial}"
                )));
            }
            let law = Policy::Bucket { rate, burst: units, debt: units - initial_units };
            Ok(own(law, counted, Common::new(py, name, clock)?))
        })?;
        Ok(PyClassInitializer::from(limiter).add_subclass(Self))
    }
}

bucket_methods! {
    PyTokenBucket:
    /// Change the rate (per the same period) and, if given, the burst, from now on.
    ///
    /// Tokens are kept as far as they fit, and debts are kept. The times of waiters are recalculated; a waiter whose
    /// amount is now larger than the burst gets ValueError. Reservations keep their moments.
    ///
    /// Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed.
}

#[pymethods]
impl PyLeakyBucket {
    #[new]
    #[classmethod]
    #[pyo3(signature = (rate = Argument::MISSING, *more, capacity = Argument::MISSING, period = Argument::MISSING, clock = None, name = None, **unknown), text_signature = "(rate, *, capacity, period=1.0, clock=None, name=None)")]
    #[expect(clippy::too_many_arguments, reason = "a constructor's parameters")]
    fn new(
        class: &Bound<'_, PyType>,
        rate: Argument<'_, '_>,
        more: &Bound<'_, PyTuple>,
        capacity: Argument<'_, '_>,
        period: Argument<'_, '_>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let py = class.py();
        let limiter = PyRateLimiter::of_class::<Self>(class, || {
            LEAKY_BUCKET.refuse(rate.given(), more, unknown)?;
            let (rate, capacity) = (LEAKY_BUCKET.required("rate", &rate)?, LEAKY_BUCKET.required("capacity", &capacity)?);
            let (rate, capacity, counted) = leaky_of(rate, capacity, period.given())?;
            Ok(own(Policy::Spaced { rate, capacity }, counted, Common::new(py, name, clock)?))
        })?;
        Ok(PyClassInitializer::from(limiter).add_subclass(Self))
    }
}

leaky_methods! {
    PyLeakyBucket:
    /// Change the rate (per the same period) and, if given, the capacity, from now on.
    ///
    /// The times of waiters are recalculated. A smaller capacity does not remove requests that are already waiting.
    /// Reservations keep their moments.
    ///
    /// Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed.
}

#[pymethods]
impl PySlidingWindow {
    #[new]
    #[classmethod]
    #[pyo3(signature = (limit = Argument::MISSING, period = Argument::MISSING, *more, clock = None, name = None, **unknown), text_signature = "(limit, period, *, clock=None, name=None)")]
    fn new(
        class: &Bound<'_, PyType>,
        limit: Argument<'_, '_>,
        period: Argument<'_, '_>,
        more: &Bound<'_, PyTuple>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let py = class.py();
        let limiter = PyRateLimiter::of_class::<Self>(class, || {
            SLIDING_WINDOW.refuse(limit.given(), more, unknown)?;
            let (limit, period) = (SLIDING_WINDOW.required("limit", &limit)?, SLIDING_WINDOW.required("period", &period)?);
            let (limit, period, counted) = window_of(limit, period)?;
            Ok(own(Policy::Window { limit, period }, counted, Common::new(py, name, clock)?))
        })?;
        Ok(PyClassInitializer::from(limiter).add_subclass(Self))
    }
}

window_methods! {
    PySlidingWindow:
    /// Change the limit and, if given, the period, from now on.
    ///
    /// Amounts already taken still count. The times of waiters are recalculated; a waiter whose amount is now larger
    /// than the limit gets ValueError. Reservations keep their moments. Lengthening the period does not bring back
    /// amounts that have already left the window.
    ///
    /// Raises ValueError, TypeError or OverflowError for invalid arguments, with nothing changed.
}

#[pymethods]
impl PyUnlimitedRate {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*more, clock = None, name = None, **unknown), text_signature = "(*, clock=None, name=None)")]
    fn new(
        class: &Bound<'_, PyType>,
        more: &Bound<'_, PyTuple>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let py = class.py();
        let limiter = PyRateLimiter::of_class::<Self>(class, || {
            UNLIMITED_RATE.refuse(None, more, unknown)?;
            let scale = Scale::for_largest(ANY_SCALE).expect("it can be counted");
            let limiter = own(Policy::Unlimited, (scale, Terms::default()), Common::new(py, name, clock)?);
            Ok(limiter)
        })?;
        Ok(PyClassInitializer::from(limiter).add_subclass(Self))
    }
}

#[pymethods]
impl PyZeroRate {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*more, clock = None, name = None, **unknown), text_signature = "(*, clock=None, name=None)")]
    fn new(
        class: &Bound<'_, PyType>,
        more: &Bound<'_, PyTuple>,
        clock: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let py = class.py();
        let limiter = PyRateLimiter::of_class::<Self>(class, || {
            ZERO_RATE.refuse(None, more, unknown)?;
            let scale = Scale::for_largest(ANY_SCALE).expect("it can be counted");
            let limiter = own(Policy::Closed, (scale, Terms::default()), Common::new(py, name, clock)?);
            Ok(limiter)
        })?;
        Ok(PyClassInitializer::from(limiter).add_subclass(Self))
    }
}
