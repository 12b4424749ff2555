//! `RateLimiter`: what all limiters have in common, the handles of keys included.

use std::sync::{Arc, Weak};

use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use sluicegate_core::keys::KeyHash;
use sluicegate_core::rate::{Booking, Scale, Statistics, Terms, Units};
use sluicegate_core::section::Section;

use super::Limiter;
use super::amounts::{amount, positive_amount, positive_number, rate_of, seconds};
use super::buckets::Buckets;
use super::class::{statistics, visit_tasks};
use super::ops::{Acquire, AwaitMoment, Request};
use super::refusal::{cannot_pass, too_far};
use super::reservation::{Booked, PyReservation};
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{self, Argument, Timeout, text};
use crate::rt::blocking;
use crate::rt::class::{Common, refuse_copies, repr_head};
use crate::rt::domain::Attached;
use crate::rt::gc::attached_in_traverse;

/// Whose bucket it is.
#[derive(Debug)]
pub(super) enum Target {
    Own(Arc<Limiter>),
    Key {
        buckets: Arc<Buckets>,
        /// The `KeyedTokenBucket`, which shows the collector the lines of its keys.
        owner: Py<PyAny>,
        hash: KeyHash,
        key: Py<PyAny>,
        /// From its first use on; the keyed bucket may take it back when there is nothing to it.
        limiter: Section<Weak<Limiter>, Attached>,
    },
}

/// Which class it is of, for `repr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Bucket,
    Leaky,
    Window,
}

/// The common base of `TokenBucket`, `LeakyBucket`, `SlidingWindow` and the handles that `KeyedTokenBucket.key`
/// returns. A limiter admits amounts at a limited rate. The class cannot be instantiated.
#[pyclass(frozen, subclass, weakref, name = "RateLimiter", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyRateLimiter {
    pub(super) target: Target,
    shape: Shape,
    common: Common,
}

impl PyRateLimiter {
    pub(super) fn new(target: Target, shape: Shape, common: Common) -> Self {
        Self { target, shape, common }
    }

    /// What it was told, last: rate, size and period of one moment.
    pub(super) fn terms(&self, py: Python<'_>) -> Terms {
        match &self.target {
            Target::Own(limiter) => limiter.terms(py),
            Target::Key { buckets, hash, .. } => buckets.core.terms_of(py, *hash),
        }
    }

    /// Its limiter in the core. A key's is made for it.
    pub(super) fn limiter(&self, this: &Bound<'_, PyAny>) -> PyResult<Arc<Limiter>> {
        match &self.target {
            Target::Own(limiter) => Ok(Arc::clone(limiter)),
            Target::Key { buckets, hash, limiter, .. } => {
                if let Some(limiter) = limiter.with(this.py(), |limiter| limiter.upgrade()) {
                    return Ok(limiter);
                }
                let found = buckets.limiter(this, *hash)?;
                drop(limiter.with(this.py(), |limiter| std::mem::replace(limiter, Arc::downgrade(&found))));
                Ok(found)
            }
        }
    }

    pub(super) fn scale(&self) -> Scale {
        match &self.target {
            Target::Own(limiter) => limiter.scale(),
            Target::Key { buckets, .. } => buckets.core.scale(),
        }
    }

    pub(super) fn amount(&self, name: &str, n: Option<&Bound<'_, PyAny>>) -> PyResult<Units> {
        n.map_or_else(|| Ok(self.scale().per_token()), |n| amount(name, n, self.scale()))
    }

    /// A request for `n`. For a key, what can never pass is refused before a limiter is made for it; else the operation says so.
    fn request(&self, this: &Bound<'_, PyAny>, n: Units) -> PyResult<Request> {
        match &self.target {
            Target::Key { buckets, hash, .. } if buckets.never_fits(this.py(), *hash, n) => Err(self.cannot_pass(this, n)),
            _ => Ok(Request::One(self.limiter(this)?, n)),
        }
    }

    fn cannot_pass(&self, this: &Bound<'_, PyAny>, n: Units) -> PyErr {
        cannot_pass("n", self.scale().tokens(n.into()), this)
    }

    /// Takes `n` now, or not. With `or_wait` the caller waits elsewhere if it does not go: that is no refusal.
    pub(super) fn try_acquire(&self, this: &Bound<'_, PyAny>, n: Units, or_wait: bool) -> PyResult<bool> {
        if n == 0 {
            return Ok(true);
        }
        let request = self.request(this, n)?;
        request.try_acquire(this.py(), or_wait).map_err(|refusal| request.error(this, refusal))
    }

    /// Another rate, per the same period, and another burst, if one is given, for a bucket of its own or a key's.
    pub(super) fn set_rate(this: &Bound<'_, Self>, rate: &Bound<'_, PyAny>, burst: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let (py, limiter) = (this.py(), this.get());
        let scale = limiter.scale();
        let per_period = positive_number("rate", rate)?;
        let burst = burst.map(|burst| burst_of(burst, scale)).transpose()?;
        let rate = rate_of((rate, per_period), limiter.terms(py).period, scale)?;
        let units = burst.map(|(units, _)| units);
        let told = told(per_period, burst.map(|(_, size)| size));
        match &limiter.target {
            Target::Own(own) => own.set_rate(py, rate, units, None, told).fire(),
            Target::Key { buckets, hash, .. } => buckets.set_rate_of(this.as_any(), *hash, (rate, units), told)?,
        }
        Ok(())
    }
}

/// A burst, in units and as it was given.
pub(super) fn burst_of(burst: &Bound<'_, PyAny>, scale: Scale) -> PyResult<(Units, f64)> {
    Ok((positive_amount("burst", burst, scale)?, positive_number("burst", burst)?))
}

/// What is told with another rate, and another size, if one is given.
pub(super) fn told(rate: f64, size: Option<f64>) -> impl FnOnce(&mut Terms) {
    move |terms| *terms = Terms { rate, size: size.unwrap_or(terms.size), period: terms.period }
}

#[pymethods]
impl PyRateLimiter {
    /// The name given at creation, for `repr` and statistics.
    #[getter]
    fn name(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.common.name(py)
    }

    /// Take `n` tokens, waiting until they are available.
    ///
    /// With `timeout` it waits for at most that many seconds; if the wait is known to be longer, the request is refused
    /// at once. `n=0` succeeds at once and changes nothing.
    ///
    /// Raises RateLimited, with `retry_after` in seconds and nothing taken, if `n` tokens are not available in time or
    /// a leaky bucket has no free place for a waiter; ValueError if `n` is larger than can ever be admitted at once;
    /// ValueError, TypeError or OverflowError for an invalid argument.
    ///
    /// Fairness: strictly first come, first served; threads and tasks share one wait queue, and nobody overtakes a
    /// large request. If an exception from a signal handler interrupts the wait, nothing has been taken, and later
    /// waiters are admitted earlier.
    #[pyo3(signature = (n = Argument::MISSING, *, timeout = None), text_signature = "($self, n=1, *, timeout=None)")]
    fn acquire(slf: &Bound<'_, Self>, n: Argument<'_, '_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let this = slf.get();
        let n = this.amount("n", n.given())?;
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        let at_once = n == 0 || matches!(&this.target, Target::Own(limiter) if limiter.pass_or_wait(slf.py(), n));
        if !at_once {
            blocking::run(slf.as_any(), &mut Acquire::new(this.request(slf.as_any(), n)?), timeout)?;
        }
        Ok(true)
    }

    /// The operation behind `acquire_async`.
    #[pyo3(signature = (n, timeout))]
    fn _async_acquire(
        slf: &Bound<'_, Self>,
        n: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<AsyncOperation> {
        let this = slf.get();
        let n = this.amount("n", Some(n))?;
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        let owner = slf.clone().into_any().unbind();
        if n == 0 {
            let clock = match &this.target {
                Target::Own(limiter) => limiter.clock(),
                Target::Key { buckets, .. } => buckets.core.clock(),
            };
            return Ok(AsyncOperation::new(owner, AwaitMoment::new(0, clock.clone()), timeout));
        }
        let request = this.request(slf.as_any(), n)?;
        request.check(slf.as_any())?;
        Ok(AsyncOperation::new(owner, Acquire::new(request), timeout))
    }

    /// The arguments of a decorator, before anything is called.
    fn _check(slf: &Bound<'_, Self>, n: &Bound<'_, PyAny>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let this = slf.get();
        let n = this.amount("n", Some(n))?;
        Timeout::parse_strict("timeout", timeout)?;
        let never_fits = match &this.target {
            Target::Own(limiter) => limiter.never_fits(n),
            Target::Key { buckets, hash, .. } => buckets.never_fits(slf.py(), *hash, n),
        };
        if never_fits { Err(this.cannot_pass(slf.as_any(), n)) } else { Ok(()) }
    }

    /// Book `n` tokens for the first moment at which they will be available, after all current waiters.
    ///
    /// Returns a Reservation, which tells that moment and can be waited for, settled and cancelled. The moment is
    /// fixed: nothing that happens later moves it.
    ///
    /// Raises RateLimited, with nothing booked, if the moment is more than `max_wait` seconds away or a leaky bucket
    /// has no free place for a waiter; ValueError if `n` is larger than can ever be admitted at once; ValueError,
    /// TypeError or OverflowError for an invalid argument.
    #[pyo3(signature = (n = Argument::MISSING, *, max_wait = None), text_signature = "($self, n=1, *, max_wait=None)")]
    fn reserve(slf: &Bound<'_, Self>, n: Argument<'_, '_>, max_wait: Option<&Bound<'_, PyAny>>) -> PyResult<PyReservation> {
        let py = slf.py();
        let this = slf.get();
        let n = this.amount("n", n.given())?;
        let limit = Timeout::parse_strict("max_wait", max_wait)?.limit()?;
        let request = this.request(slf.as_any(), n)?;
        let Request::One(limiter, _) = &request else { unreachable!("one limiter's") };
        let booking = if n == 0 {
            Booking::nothing(limiter.clock().now())
        } else {
            let (wakes, booking) = limiter.reserve(py, n, limit);
            wakes.fire();
            booking.map_err(|refusal| request.error(slf.as_any(), refusal))?
        };
        Ok(PyReservation::new(slf.clone().into_any().unbind(), Booked::One(Arc::clone(limiter), booking)))
    }

    /// Give `n` tokens back, at most until the limiter is full.
    ///
    /// Raises ValueError, TypeError or OverflowError for an invalid `n`.
    fn refund(slf: &Bound<'_, Self>, n: &Bound<'_, PyAny>) -> PyResult<()> {
        let n = slf.get().amount("n", Some(n))?;
        if let Target::Key { buckets, hash, .. } = &slf.get().target {
            if !buckets.core.is_remembered(slf.py(), *hash) {
                return Ok(()); // it is full
            }
        }
        slf.get().limiter(slf.as_any())?.refund(slf.py(), n).fire();
        Ok(())
    }

    /// Take `n` tokens without waiting, even if that leaves a debt. Later requests wait until the debt is paid.
    ///
    /// Raises ValueError, TypeError or OverflowError for an invalid `n`.
    fn debit(slf: &Bound<'_, Self>, n: &Bound<'_, PyAny>) -> PyResult<()> {
        let n = slf.get().amount("n", Some(n))?;
        let (wakes, result) = slf.get().limiter(slf.as_any())?.debit(slf.py(), n);
        wakes.fire();
        result.map_err(|_| too_far(slf.as_any()))
    }

    /// The number of tokens available now; negative in debt. For a sliding window it is the unused part of the limit;
    /// for a leaky bucket it is the level of a token bucket with a burst of one. A booking for the next free moment is
    /// deducted at once, a later booking (by a set, or behind waiters or a pause) only when it is due.
    #[getter]
    fn tokens(slf: &Bound<'_, Self>) -> f64 {
        let (py, this) = (slf.py(), slf.get());
        let (wakes, level) = match &this.target {
            Target::Own(limiter) => limiter.level(py),
            Target::Key { buckets, hash, .. } => buckets.core.level(py, *hash),
        };
        wakes.fire();
        this.scale().tokens(level)
    }

    /// Return the seconds until `try_acquire(n)` can succeed, after all current waiters have been served; 0.0 if it can
    /// now.
    ///
    /// A caller that comes exactly then is admitted, unless another request has come in between. (For a key that is not
    /// remembered, it does not take into account whether there is room for another key.)
    ///
    /// Raises ValueError if `n` is larger than can ever be admitted at once; ValueError, TypeError or OverflowError for
    /// an invalid `n`.
    #[pyo3(signature = (n = Argument::MISSING), text_signature = "($self, n=1)")]
    fn retry_after(slf: &Bound<'_, Self>, n: Argument<'_, '_>) -> PyResult<f64> {
        let (py, this) = (slf.py(), slf.get());
        let n = this.amount("n", n.given())?;
        if n == 0 {
            return Ok(0.0);
        }
        let (wakes, result) = match &this.target {
            Target::Own(limiter) => limiter.retry_after(py, n),
            Target::Key { buckets, hash, .. } => buckets.core.retry_after(py, *hash, n),
        };
        wakes.fire();
        result.map(seconds).map_err(|_| this.cannot_pass(slf.as_any(), n))
    }

    /// Admit no request for `seconds`, such as a server's Retry-After. Tokens are still refilled during the pause.
    ///
    /// A shorter pause does not shorten a longer one. Existing reservations keep their moments.
    ///
    /// Raises ValueError, TypeError or OverflowError for invalid `seconds`.
    fn pause_for(slf: &Bound<'_, Self>, seconds: &Bound<'_, PyAny>) -> PyResult<()> {
        let pause = sluicegate_core::clock::nanos(arguments::duration("seconds", seconds)?);
        slf.get().limiter(slf.as_any())?.pause(slf.py(), pause).fire();
        Ok(())
    }

    /// Return a snapshot of the limiter's counters and waiting times.
    fn statistics<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let seen = match &slf.get().target {
            // Nothing has been seen of it, and looking is no reason to remember it.
            Target::Key { buckets, hash, .. } if !buckets.core.is_remembered(py, *hash) => Statistics::default(),
            _ => {
                let (wakes, seen) = slf.get().limiter(slf.as_any())?.statistics(py);
                wakes.fire();
                seen
            }
        };
        statistics(py, "RateStatistics", slf.get().name(py), seen, &[])
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        describe(slf)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let py = attached_in_traverse();
        self.common.traverse(&visit)?;
        match &self.target {
            Target::Own(limiter) => visit_tasks(visit, |each| limiter.visit_wakers(py, each)),
            Target::Key { owner, key, .. } => {
                visit.call(owner)?;
                visit.call(key)
            }
        }
    }
}

refuse_copies!(PyRateLimiter);

impl Drop for PyRateLimiter {
    /// A key is light again when nobody holds it.
    fn drop(&mut self) {
        if let Target::Key { buckets, hash, .. } = &self.target {
            // No interpreter any more: nothing is left to be tidied.
            Python::try_attach(|py| buckets.core.let_go(py, *hash).fire());
        }
    }
}

/// What a limiter looks like.
fn describe(this: &Bound<'_, PyRateLimiter>) -> PyResult<String> {
    use std::fmt::Write;
    let py = this.py();
    let limiter = this.get();
    let mut label = limiter.common.label(py);
    if let Target::Key { key, .. } = &limiter.target {
        let _ = write!(label, " key={}", text(key.bind(py)));
    }
    let mut described = repr_head(this, &label)?;
    let Terms { rate, size, period } = limiter.terms(py);
    let _ = match limiter.shape {
        Shape::Window => write!(described, " limit={size:?} period={period:?}"),
        Shape::Leaky => write!(described, " rate={rate:?} capacity={size:.0}"),
        Shape::Bucket => write!(described, " rate={rate:?} burst={size:?}"),
    };
    if limiter.shape != Shape::Window && (period - 1.0).abs() > 0.0 {
        let _ = write!(described, " period={period:?}");
    }
    let tokens: f64 = this.getattr("tokens")?.extract()?;
    let _ = write!(described, " tokens={tokens:?}>");
    Ok(described)
}
