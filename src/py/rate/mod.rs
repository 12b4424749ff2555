//! The limiters: argument checks, and nothing else. The hot methods are in `hot`; coroutines and decorators are Python
//! (`sluicegate._rates`).
//!
//! | file          | what it is for                                         |
//! |---------------|--------------------------------------------------------|
//! | this one      | what all limiters have in common                        |
//! | `shapes`      | `TokenBucket`, `LeakyBucket`, `SlidingWindow`            |
//! | `keyed`       | `KeyedTokenBucket` and its handles                      |
//! | `set`         | `RateLimits`                                            |
//! | `reservation` | `Reservation`                                           |
//! | `ops`         | the operations that wait                                |
//! | `amounts`     | checks of numbers                                       |

pub(crate) mod amounts;
pub(crate) mod hot;
pub(crate) mod keyed;
pub(crate) mod ops;
pub(crate) mod reservation;
pub(crate) mod set;
pub(crate) mod shapes;

use std::sync::{Arc, Weak};

use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType, PyWeakrefMethods, PyWeakrefReference};
use sluicegate_core::clock::Nanos;
use sluicegate_core::rate::{self, Booking, KeyHash, Refusal, Statistics, Units};
use sluicegate_core::section::Section;

use self::amounts::{amount, seconds};
use self::keyed::PyKeyedTokenBucket;
use self::ops::{Acquire, AwaitMoment, Line};
use self::reservation::{Booked, PyReservation};
use self::set::PyRateLimits;
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{self, Argument, Timeout, text};
use crate::rt::blocking;
use crate::rt::class::{Common, refuse_copies};
use crate::rt::domain::Attached;
use crate::rt::exceptions;
use crate::rt::gc::{Shown, attached_in_traverse};
use crate::rt::imported::imported;
use crate::rt::waker::Waker;

pub(crate) type Limiter = rate::Limiter<Waker, Attached>;
pub(crate) type Several = rate::Several<Waker, Attached>;
pub(crate) type Keyed = rate::Keyed<Waker, Attached>;

/// `RateLimited`, with the time after which it is worth trying again.
pub(crate) fn rate_limited(py: Python<'_>, message: &str, after: Nanos) -> PyErr {
    let after = seconds(after);
    let error = exceptions::rate_limited(py, format!("{message}; retry after {after:.6} seconds"));
    match error.value(py).setattr("retry_after", after) {
        Ok(()) => error,
        Err(other) => other,
    }
}

/// The exception for a refusal by a limiter.
pub(crate) fn refusal_error(this: &Bound<'_, PyAny>, refusal: Refusal, line: &Line) -> PyErr {
    let py = this.py();
    let after = |at: Nanos| if at == Nanos::MAX { at } else { at.saturating_sub(line.clock().now()) };
    match refusal {
        Refusal::Until(at) => rate_limited(py, &format!("not now: {}", described(this)), after(at)),
        Refusal::LineFull(at) => rate_limited(py, &format!("no place is free: {}", described(this)), after(at)),
        Refusal::NeverFits => never_fits(this, line),
        Refusal::TooFar => too_far(this),
    }
}

pub(crate) fn cannot_pass(name: &str, asked: f64, limiter: &Bound<'_, PyAny>) -> PyErr {
    let limiter = described(limiter);
    PyValueError::new_err(format!("'{name}' is {asked:?}, which can never pass: {limiter} lets less through at once"))
}

/// More than may ever go at once: of what, and how much that would be.
fn never_fits(this: &Bound<'_, PyAny>, line: &Line) -> PyErr {
    let py = this.py();
    match line {
        Line::One(limiter, n) => cannot_pass("n", limiter.scale().tokens((*n).into()), this),
        Line::Several(several, amounts) => {
            let mut each = several.members().iter().zip(amounts.iter()).enumerate();
            let found = each.find(|(_, (member, n))| member.never_fits(py, **n));
            match (found, this.cast::<PyRateLimits>()) {
                (Some((index, (member, n))), Ok(set)) => {
                    let (name, limit) = set.get().member(py, index);
                    cannot_pass(name, member.scale().tokens((*n).into()), limit.as_any())
                }
                _ => PyValueError::new_err("that can never pass at once"), // the limit has been changed this moment
            }
        }
    }
}

pub(crate) fn too_far(this: &Bound<'_, PyAny>) -> PyErr {
    PyOverflowError::new_err(format!("'n' is too large: so much is booked of {} that more cannot be counted", described(this)))
}

fn described(this: &Bound<'_, PyAny>) -> String {
    text(this)
}

pub(crate) fn statistics<'py>(
    py: Python<'py>,
    cell: &'static PyOnceLock<Py<PyType>>,
    class: &str,
    name: Option<Py<PyAny>>,
    seen: Statistics,
    more: &[(&str, u64)],
) -> PyResult<Bound<'py, PyAny>> {
    let fields = PyDict::new(py);
    fields.set_item("name", name)?;
    fields.set_item("admitted", seen.admitted)?;
    fields.set_item("refused", seen.refused)?;
    fields.set_item("waited", seen.waited)?;
    fields.set_item("waited_seconds", sluicegate_core::clock::seconds(seen.waited_for))?;
    fields.set_item("waiters", seen.waiters)?;
    for (key, value) in more {
        fields.set_item(key, value)?;
    }
    imported(py, cell, "sluicegate._statistics", class)?.call((), Some(&fields))
}

/// Shows the garbage collector the tasks in a line.
pub(crate) fn visit_tasks(visit: PyVisit<'_>, wakers: impl FnOnce(&mut dyn FnMut(&Waker))) -> Result<(), PyTraverseError> {
    let shown = Shown::to(&visit);
    wakers(&mut |waker| shown.waker(waker));
    shown.outcome()
}

/// Whose bucket it is.
#[derive(Debug)]
pub(crate) enum Target {
    Own(Arc<Limiter>),
    Key {
        bucket: Py<PyKeyedTokenBucket>,
        hash: KeyHash,
        key: Py<PyAny>,
        /// From its first use on; the keyed bucket may take it back when there is nothing to it.
        limiter: Section<Weak<Limiter>, Attached>,
    },
}

/// What was given, as it was given; changed by `set_rate` and the like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given {
    pub(crate) rate: f64,
    /// Or capacity, or limit.
    pub(crate) size: f64,
    pub(crate) period: f64,
}

/// Something that admits amounts at a limited rate: the common base of `TokenBucket`, `LeakyBucket`, `SlidingWindow` and the handles
/// that `KeyedTokenBucket.key` returns. It cannot be made itself.
#[pyclass(frozen, subclass, weakref, name = "RateLimiter", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyRateLimiter {
    pub(crate) target: Target,
    pub(crate) given: Section<Given, Attached>,
    common: Common,
    /// The sets that it is a member of, by weak references.
    sets: Section<Vec<Py<PyWeakrefReference>>, Attached>,
}

impl PyRateLimiter {
    pub(crate) fn new(target: Target, given: Given, common: Common) -> Self {
        Self { target, given: Section::new(given), common, sets: Section::new(Vec::new()) }
    }

    pub(crate) fn given(&self, py: Python<'_>) -> Given {
        match &self.target {
            Target::Own(_) => self.given.with(py, |given| *given),
            Target::Key { bucket, hash, .. } => bucket.get().given_of(py, *hash),
        }
    }

    /// Its limiter in the core. A key's is made for it.
    pub(crate) fn limiter(&self, this: &Bound<'_, PyAny>) -> PyResult<Arc<Limiter>> {
        match &self.target {
            Target::Own(limiter) => Ok(Arc::clone(limiter)),
            Target::Key { bucket, hash, limiter, .. } => {
                if let Some(limiter) = limiter.with(this.py(), |limiter| limiter.upgrade()) {
                    return Ok(limiter);
                }
                let found = bucket.get().limiter(this, *hash)?;
                drop(limiter.with(this.py(), |limiter| std::mem::replace(limiter, Arc::downgrade(&found))));
                Ok(found)
            }
        }
    }

    pub(crate) fn scale(&self) -> rate::Scale {
        match &self.target {
            Target::Own(limiter) => limiter.scale(),
            Target::Key { bucket, .. } => bucket.get().keyed.scale(),
        }
    }

    pub(crate) fn amount(&self, name: &str, n: Option<&Bound<'_, PyAny>>) -> PyResult<Units> {
        n.map_or_else(|| Ok(self.scale().per_token()), |n| amount(name, n, self.scale()))
    }

    /// The line for `n`. What can never pass is refused here, before anything is made for a key.
    fn line(&self, this: &Bound<'_, PyAny>, n: Units) -> PyResult<Line> {
        let py = this.py();
        let never_fits = match &self.target {
            Target::Own(limiter) => limiter.never_fits(py, n),
            Target::Key { bucket, hash, .. } => bucket.get().never_fits(py, *hash, n),
        };
        if never_fits {
            return Err(cannot_pass("n", self.scale().tokens(n.into()), this));
        }
        Ok(Line::One(self.limiter(this)?, n))
    }

    /// Takes `n` now, or not.
    pub(crate) fn try_acquire(&self, this: &Bound<'_, PyAny>, n: Units) -> PyResult<bool> {
        let py = this.py();
        if n == 0 {
            return Ok(true);
        }
        let line = self.line(this, n)?;
        line.try_acquire(py, false).map_err(|refusal| refusal_error(this, refusal, &line))
    }

    /// Takes `n` now, or waits for it elsewhere: then it is no refusal.
    pub(crate) fn try_or_wait(&self, this: &Bound<'_, PyAny>, n: Units) -> PyResult<bool> {
        let py = this.py();
        if n == 0 {
            return Ok(true);
        }
        let line = self.line(this, n)?;
        line.try_acquire(py, true).map_err(|refusal| refusal_error(this, refusal, &line))
    }

    /// Its law, or what it has let through, has been changed: the sets that it is in look again.
    pub(crate) fn changed(&self, py: Python<'_>) {
        let sets = self.sets.with(py, |sets| sets.iter().map(|set| set.clone_ref(py)).collect::<Vec<_>>());
        for set in sets {
            if let Some(set) = set.bind(py).upgrade_as::<PyRateLimits>().ok().flatten() {
                set.get().several.members_changed(py).fire();
            }
        }
    }

    pub(crate) fn joins(&self, set: &Bound<'_, PyRateLimits>) -> PyResult<()> {
        let py = set.py();
        let reference = PyWeakrefReference::new(set.as_any())?.unbind();
        let gone = self.sets.with(py, |sets| {
            let (kept, gone) = std::mem::take(sets).into_iter().partition(|set| set.bind(py).upgrade().is_some());
            *sets = kept;
            sets.push(reference);
            gone
        });
        let gone: Vec<Py<PyWeakrefReference>> = gone;
        drop(gone);
        Ok(())
    }
}

#[pymethods]
impl PyRateLimiter {
    /// The name given at creation, for `repr` and statistics.
    #[getter]
    fn name(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.common.name(py)
    }

    /// Take `n` tokens, waiting for them in line.
    ///
    /// With `timeout` it waits for at most that many seconds, and if it can be foreseen that this is not enough it
    /// does not wait at all. `n=0` goes at once and changes nothing.
    ///
    /// Raises RateLimited, with `retry_after` in seconds and nothing taken, if `n` cannot be had in time or no place
    /// in line is free; ValueError if `n` can never pass at once; ValueError, TypeError or OverflowError for a bad
    /// argument.
    ///
    /// Fairness: strictly in the order of arrival, threads and tasks in one line; nobody overtakes a large request.
    /// Interrupted by an exception from a signal handler, it has taken nothing, and those behind it go earlier.
    #[pyo3(signature = (n = Argument::MISSING, *, timeout = None), text_signature = "($self, n=1, *, timeout=None)")]
    fn acquire(slf: &Bound<'_, Self>, n: Argument<'_, '_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let this = slf.get();
        let n = this.amount("n", n.given())?;
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        if n > 0 {
            blocking::run(slf.as_any(), &mut Acquire::new(this.line(slf.as_any(), n)?), timeout)?;
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
                Target::Key { bucket, .. } => bucket.get().keyed.clock(),
            };
            return Ok(AsyncOperation::new(owner, AwaitMoment::new(0, clock.clone()), timeout));
        }
        Ok(AsyncOperation::new(owner, Acquire::new(this.line(slf.as_any(), n)?), timeout))
    }

    /// The arguments of a decorator, before anything is called.
    fn _check(slf: &Bound<'_, Self>, n: &Bound<'_, PyAny>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let this = slf.get();
        let n = this.amount("n", Some(n))?;
        Timeout::parse_strict("timeout", timeout)?;
        this.line(slf.as_any(), n).map(drop)
    }

    /// Book `n` tokens for the first moment possible, after everybody who waits.
    ///
    /// Returns a Reservation, which says when that is and can be waited for, settled and cancelled. Its moment is a
    /// promise: nothing that happens afterwards moves it.
    ///
    /// Raises RateLimited, having booked nothing, if it would be more than `max_wait` seconds away or no place in
    /// line is free; ValueError if `n` can never pass at once; ValueError, TypeError or OverflowError for a bad
    /// argument.
    #[pyo3(signature = (n = Argument::MISSING, *, max_wait = None), text_signature = "($self, n=1, *, max_wait=None)")]
    fn reserve(slf: &Bound<'_, Self>, n: Argument<'_, '_>, max_wait: Option<&Bound<'_, PyAny>>) -> PyResult<PyReservation> {
        let py = slf.py();
        let this = slf.get();
        let n = this.amount("n", n.given())?;
        let limit = Timeout::parse_strict("max_wait", max_wait)?.limit()?;
        let line = this.line(slf.as_any(), n)?;
        let Line::One(limiter, _) = &line else { unreachable!("one limiter's") };
        let booking = if n == 0 {
            Booking::nothing(limiter.clock().now())
        } else {
            let (wakes, booking) = limiter.reserve(py, n, limit);
            wakes.fire();
            booking.map_err(|refusal| refusal_error(slf.as_any(), refusal, &line))?
        };
        Ok(PyReservation::new(slf.clone().into_any().unbind(), Booked::One(Arc::clone(limiter), booking)))
    }

    /// Give `n` tokens back, at most until the bucket is full.
    ///
    /// Raises ValueError, TypeError or OverflowError for a bad `n`.
    fn refund(slf: &Bound<'_, Self>, n: &Bound<'_, PyAny>) -> PyResult<()> {
        let n = slf.get().amount("n", Some(n))?;
        if let Target::Key { bucket, hash, .. } = &slf.get().target {
            if !bucket.get().keyed.is_remembered(slf.py(), *hash) {
                return Ok(()); // it is full
            }
        }
        slf.get().limiter(slf.as_any())?.refund(slf.py(), n).fire();
        slf.get().changed(slf.py());
        Ok(())
    }

    /// Take `n` tokens without asking. That may leave a debt, which those who come later wait off.
    ///
    /// Raises ValueError, TypeError or OverflowError for a bad `n`.
    fn debit(slf: &Bound<'_, Self>, n: &Bound<'_, PyAny>) -> PyResult<()> {
        let n = slf.get().amount("n", Some(n))?;
        let (wakes, result) = slf.get().limiter(slf.as_any())?.debit(slf.py(), n);
        wakes.fire();
        slf.get().changed(slf.py());
        result.map_err(|_| too_far(slf.as_any()))
    }

    /// The tokens available now; negative in debt. A sliding window says what is left of its limit, a leaky bucket
    /// what a bucket for one token would say. What is booked for a later moment than its turn (by a set, behind a line or
    /// a pause) is in it only from then on.
    #[getter]
    fn tokens(slf: &Bound<'_, Self>) -> f64 {
        let (py, this) = (slf.py(), slf.get());
        let (wakes, level) = match &this.target {
            Target::Own(limiter) => limiter.level(py),
            Target::Key { bucket, hash, .. } => bucket.get().keyed.level(py, *hash),
        };
        wakes.fire();
        this.scale().tokens(level)
    }

    /// The seconds until `try_acquire(n)` can pass, those in line being served first; 0.0 if it can now.
    ///
    /// Whoever comes exactly then is admitted, if nobody has come in between. (For a key that is not remembered it does
    /// not say whether there is room for one more.)
    ///
    /// Raises ValueError if `n` can never pass at once; ValueError, TypeError or OverflowError for a bad `n`.
    #[pyo3(signature = (n = Argument::MISSING), text_signature = "($self, n=1)")]
    fn retry_after(slf: &Bound<'_, Self>, n: Argument<'_, '_>) -> PyResult<f64> {
        let (py, this) = (slf.py(), slf.get());
        let n = this.amount("n", n.given())?;
        if n == 0 {
            return Ok(0.0);
        }
        let (wakes, result) = match &this.target {
            Target::Own(limiter) => limiter.retry_after(py, n),
            Target::Key { bucket, hash, .. } => bucket.get().keyed.retry_after(py, *hash, n),
        };
        wakes.fire();
        result.map(seconds).map_err(|_| cannot_pass("n", this.scale().tokens(n.into()), slf.as_any()))
    }

    /// Admit nobody before `seconds` have passed (a server's Retry-After). Tokens go on coming in meanwhile.
    ///
    /// A shorter pause does not end a longer one. Reservations keep their moments.
    ///
    /// Raises ValueError, TypeError or OverflowError for bad `seconds`.
    fn pause_for(slf: &Bound<'_, Self>, seconds: &Bound<'_, PyAny>) -> PyResult<()> {
        let pause = sluicegate_core::clock::nanos(arguments::duration("seconds", seconds)?);
        slf.get().limiter(slf.as_any())?.pause(slf.py(), pause).fire();
        slf.get().changed(slf.py());
        Ok(())
    }

    /// A snapshot of what the limiter has seen, at this moment.
    fn statistics<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let py = slf.py();
        let seen = match &slf.get().target {
            // Nothing has been seen of it, and looking is no reason to remember it.
            Target::Key { bucket, hash, .. } if !bucket.get().keyed.is_remembered(py, *hash) => Statistics::default(),
            _ => {
                let (wakes, seen) = slf.get().limiter(slf.as_any())?.statistics(py);
                wakes.fire();
                seen
            }
        };
        statistics(py, &CLASS, "RateStatistics", slf.get().name(py), seen, &[])
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        shapes::describe(slf)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let py = attached_in_traverse();
        self.common.traverse(&visit)?;
        self.sets.with(py, |sets| sets.iter().try_for_each(|set| visit.call(set)))?;
        match &self.target {
            Target::Own(limiter) => visit_tasks(visit, |each| limiter.visit_wakers(py, each)),
            Target::Key { bucket, key, .. } => {
                visit.call(bucket)?; // it shows its keys' lines
                visit.call(key)
            }
        }
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.sets.with(py, std::mem::take));
    }
}

refuse_copies!(PyRateLimiter);

impl Drop for PyRateLimiter {
    /// A key is light again when nobody holds it.
    fn drop(&mut self) {
        if let Target::Key { bucket, hash, .. } = &self.target {
            // No interpreter any more: nothing is left to be tidied.
            Python::try_attach(|py| bucket.get().keyed.let_go(py, *hash).fire());
        }
    }
}
