//! `RateLimiter`: the common base of all limiters and of the handles of keys.

use std::sync::{Arc, OnceLock, Weak};

use pyo3::PyClass;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyTuple, PyType};
use sluicegate_core::keys::KeyHash;
use sluicegate_core::rate::{Booking, NewLimit, NewRate, Refusal, Scale, Statistics, Terms, Units};
use sluicegate_core::section::Section;

use super::Limiter;
use super::amounts::{amount, positive_amount, positive_number, seconds};
use super::class::statistics;
use super::keys::{Change, Keys};
use super::ops::{Acquire, AwaitMoment, Request};
use super::permit::PyRatePermit;
use super::refusal::{cannot_count, cannot_pass, no_memory};
use super::reservation::{Booked, PyReservation};
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{self, Argument, Timeout, text};
use crate::rt::blocking;
use crate::rt::class::{Common, refuse_copies, repr_head};
use crate::rt::domain::Attached;
use crate::rt::gc::show_wakers;
use crate::rt::late::{self, is_made_later, unmade};
use crate::rt::operation::Operation;
use crate::rt::select::PySelectable;

/// What a limiter object stands for.
#[derive(Debug)]
pub(super) enum Target {
    Own(Arc<Limiter>),
    /// The base of a set, whose class defines all methods itself.
    Set,
    /// An instance of a subclass with an `__init__` of its own, until that has called ours.
    Unmade,
    Key {
        keys: Arc<dyn Keys>,
        /// The `KeyedLimiter`, which visits the wakers of its keys for the garbage collector.
        owner: Py<PyAny>,
        hash: KeyHash,
        key: Py<PyAny>,
        /// Set at the first use. The keyed limiter may remove the key's limiter when its schedule is its whole state.
        limiter: Section<Weak<Limiter>, Attached>,
    },
}

/// The class, for `repr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Bucket,
    Leaky,
    Window,
    Unlimited,
    Zero,
    Set,
}

/// The common base of `TokenBucket`, `LeakyBucket`, `SlidingWindow`, `RateLimits`, `UnlimitedRate`, `ZeroRate` and of the
/// handles that `key` of a keyed limiter returns. A limiter admits amounts at a limited rate. The class cannot be
/// instantiated.
#[pyclass(frozen, subclass, weakref, name = "RateLimiter", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyRateLimiter {
    /// The hot methods read this first.
    pub(super) target: Target,
    shape: Shape,
    common: Common,
    /// The parts that `__init__` has set if the target was [`Target::Unmade`].
    made: OnceLock<Box<Made>>,
}

/// The target, shape and other parts of a limiter.
#[derive(Debug)]
struct Made {
    target: Target,
    shape: Shape,
    common: Common,
}

impl PyRateLimiter {
    pub(super) fn new(target: Target, shape: Shape, common: Common) -> Self {
        Self { target, shape, common, made: OnceLock::new() }
    }

    /// An instance of `class`, which is a limiter's class or a subclass of it. A subclass with an `__init__` of its own sets the parts when
    /// it calls ours; otherwise `make` creates them from the arguments.
    pub(super) fn of_class<C: PyClass<BaseType = Self>>(
        class: &Bound<'_, PyType>,
        make: impl FnOnce() -> PyResult<Self>,
    ) -> PyResult<Self> {
        if is_made_later::<C>(class)? { Ok(Self::new(Target::Unmade, Shape::Set, Common::default())) } else { make() }
    }

    fn make(&self, py: Python<'_>, target: Target, like: &Self) {
        drop(self.made.set(Box::new(Made { target, shape: like.shape(), common: like.common().clone_ref(py) })));
    }

    /// Gives this base of a set the parts of `like`.
    pub(super) fn make_set_like(&self, py: Python<'_>, like: &Self) {
        self.make(py, Target::Set, like);
    }

    pub(super) fn target(&self) -> &Target {
        match (&self.target, self.made.get()) {
            (Target::Unmade, Some(made)) => &made.target,
            (target, _) => target,
        }
    }

    fn shape(&self) -> Shape {
        self.made.get().map_or(self.shape, |made| made.shape)
    }

    /// The error for a call that the target does not support.
    pub(super) fn not_here(&self) -> PyErr {
        match self.target() {
            Target::Unmade => unmade(),
            _ => PyTypeError::new_err("a RateLimits has methods of its own: call those"),
        }
    }

    pub(super) fn common(&self) -> &Common {
        self.made.get().map_or(&self.common, |made| &made.common)
    }

    /// The name, formatted to follow a noun.
    pub(super) fn label(&self, py: Python<'_>) -> String {
        self.common().label(py)
    }

    /// Raises RuntimeError if it has not been made.
    pub(super) fn ready(&self) -> PyResult<()> {
        if matches!(self.target(), Target::Unmade) { Err(unmade()) } else { Ok(()) }
    }

    /// The current rate, size and period, all of the same moment; without a period if it has not been made.
    pub(super) fn terms(&self, py: Python<'_>) -> Terms {
        match self.target() {
            Target::Own(limiter) => limiter.terms(py),
            Target::Set | Target::Unmade => Terms::default(),
            Target::Key { keys, hash, .. } => keys.terms_of(py, *hash),
        }
    }

    /// The limiter in the core. For a key, it is made if necessary.
    pub(super) fn limiter(&self, this: &Bound<'_, PyAny>) -> PyResult<Arc<Limiter>> {
        match self.target() {
            Target::Own(limiter) => Ok(Arc::clone(limiter)),
            Target::Set | Target::Unmade => Err(self.not_here()),
            Target::Key { keys, owner, hash, limiter, .. } => {
                if let Some(limiter) = limiter.with(this.py(), |limiter| limiter.upgrade()) {
                    return Ok(limiter);
                }
                let found = keys.limiter_of(owner.bind(this.py()), *hash)?;
                drop(limiter.with(this.py(), |limiter| std::mem::replace(limiter, Arc::downgrade(&found))));
                Ok(found)
            }
        }
    }

    pub(super) fn scale(&self) -> Scale {
        match self.target() {
            Target::Own(limiter) => limiter.scale(),
            Target::Set | Target::Unmade => Scale::default(),
            Target::Key { keys, .. } => keys.scale(),
        }
    }

    pub(super) fn amount(&self, name: &str, n: Option<&Bound<'_, PyAny>>) -> PyResult<Units> {
        n.map_or_else(|| Ok(self.scale().per_token()), |n| amount(name, n, self.scale()))
    }

    /// The limiter of which `n` are requested. For a key, an amount that can never be admitted is refused before a limiter is made;
    /// otherwise the operation refuses it.
    fn limiter_for(&self, this: &Bound<'_, PyAny>, n: Units) -> PyResult<Arc<Limiter>> {
        match self.target() {
            Target::Key { keys, hash, .. } if keys.never_fits(this.py(), *hash, n) => Err(self.cannot_pass(this, n)),
            _ => self.limiter(this),
        }
    }

    /// A request for `n`.
    pub(super) fn request(&self, this: &Bound<'_, PyAny>, n: Units) -> PyResult<Request> {
        Ok(Request::One(self.limiter_for(this, n)?, n))
    }

    fn cannot_pass(&self, this: &Bound<'_, PyAny>, n: Units) -> PyErr {
        cannot_pass("n", self.scale().tokens(n.into()), this)
    }

    /// Raises if `n` can never be admitted at once.
    fn check_amount(&self, this: &Bound<'_, PyAny>, n: Units) -> PyResult<()> {
        let never_fits = match self.target() {
            Target::Own(limiter) => limiter.never_fits(n),
            Target::Set | Target::Unmade => false,
            Target::Key { keys, hash, .. } => keys.never_fits(this.py(), *hash, n),
        };
        if never_fits { Err(self.cannot_pass(this, n)) } else { Ok(()) }
    }

    /// Takes `n` if it can be admitted now. With `or_wait` the caller waits otherwise, so that it does not count as refused.
    pub(super) fn try_acquire(&self, this: &Bound<'_, PyAny>, n: Units, or_wait: bool) -> PyResult<bool> {
        if n == 0 {
            return Ok(true);
        }
        let request = self.request(this, n)?;
        request.try_acquire(this.py(), or_wait).map_err(|refusal| request.error(this, refusal))
    }

    /// Takes one if it can be admitted now. The caller waits otherwise, so that it does not count as refused.
    #[inline]
    pub(crate) fn take_or_wait(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let this = slf.get();
        if matches!(&this.target, Target::Own(own) if own.pass_or_wait(slf.py(), own.scale().per_token())) {
            return Ok(true);
        }
        this.try_acquire(slf.as_any(), this.scale().per_token(), true)
    }

    /// `acquire` in the general form.
    pub(super) fn acquire(
        slf: &Bound<'_, Self>,
        n: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let this = slf.get();
        let n = this.amount("n", n)?;
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        let at_once = n == 0 || matches!(this.target(), Target::Own(limiter) if limiter.pass_or_wait(slf.py(), n));
        if !at_once {
            let request = this.request(slf.as_any(), n)?;
            blocking::run(slf.py(), &mut Acquire::new(slf.clone().into_any().unbind(), request), timeout)?;
        }
        Ok(())
    }

    /// `reserve` in the general form.
    pub(super) fn reserve(
        slf: &Bound<'_, Self>,
        n: Option<&Bound<'_, PyAny>>,
        max_wait: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyReservation> {
        let py = slf.py();
        let this = slf.get();
        let n = this.amount("n", n)?;
        let limit = Timeout::parse_strict("max_wait", max_wait)?.limit()?;
        let limiter = this.limiter_for(slf.as_any(), n)?;
        let booking = if n == 0 {
            Booking::nothing(limiter.clock().now())
        } else {
            let (wakes, booking) = limiter.reserve(py, n, limit);
            wakes.fire();
            booking.map_err(|refusal| Request::One(Arc::clone(&limiter), n).error(slf.as_any(), refusal))?
        };
        Ok(PyReservation::new(slf.clone().into_any().unbind(), Booked::One(limiter, booking)))
    }

    /// `permit` in the general form.
    pub(super) fn permit(
        slf: &Bound<'_, Self>,
        n: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyRatePermit> {
        let n = slf.get().amount("n", n)?;
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        Ok(PyRatePermit::new(slf.clone().into_any().unbind(), slf.get().request(slf.as_any(), n)?, timeout))
    }

    /// The operation that waits for `n`.
    fn acquisition(slf: &Bound<'_, Self>, n: Units) -> PyResult<Box<dyn Operation>> {
        let (this, owner) = (slf.get(), slf.clone().into_any().unbind());
        if n == 0 {
            let clock = match this.target() {
                Target::Own(limiter) => limiter.clock(),
                Target::Set | Target::Unmade => return Err(this.not_here()),
                Target::Key { keys, .. } => keys.clock(),
            };
            return Ok(Box::new(AwaitMoment::new(owner, |_| Ok(()), 0, clock.clone())));
        }
        let request = this.request(slf.as_any(), n)?;
        request.check(slf.as_any())?;
        Ok(Box::new(Acquire::new(owner, request)))
    }

    /// Applies a new rate or limit, from now on; that of a key, to this key alone.
    pub(super) fn change(this: &Bound<'_, Self>, (change, told): (Change, impl Fn(&mut Terms))) -> PyResult<()> {
        let wakes = match (this.get().target(), change) {
            (Target::Key { keys, owner, hash, .. }, change) => {
                return keys.change_key(owner.bind(this.py()), *hash, change, &told);
            }
            (Target::Own(own), Change::Rate(NewRate { rate, burst, capacity })) => {
                own.set_rate(this.py(), rate, burst, capacity, told)
            }
            (Target::Own(own), Change::Limit(NewLimit { limit, period })) => own.set_window(this.py(), limit, period, told),
            (Target::Set | Target::Unmade, _) => return Err(this.get().not_here()),
        };
        wakes.fire();
        Ok(())
    }
}

/// A burst, in units and as it was given.
pub(super) fn burst_of(burst: &Bound<'_, PyAny>, scale: Scale) -> PyResult<(Units, f64)> {
    Ok((positive_amount("burst", burst, scale)?, positive_number("burst", burst)?))
}

#[pymethods]
impl PyRateLimiter {
    /// Called by a subclass with an `__init__` of its own: the arguments mean what they mean to the class.
    #[pyo3(signature = (*args, **kwargs))]
    fn __init__(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        late::init(slf, args, kwargs, !matches!(this.target(), Target::Unmade), |like| {
            let Target::Own(limiter) = like.get().target() else { return Err(this.not_here()) };
            this.make(py, Target::Own(Arc::clone(limiter)), like.get());
            Ok(())
        })
    }

    /// The name given at creation, for `repr`, messages and statistics.
    #[getter]
    fn name(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.common().name(py)
    }

    /// The operation behind `acquire_async`.
    #[pyo3(signature = (n, timeout))]
    fn _async_acquire(
        slf: &Bound<'_, Self>,
        n: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<AsyncOperation> {
        let n = slf.get().amount("n", Some(n))?;
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        Ok(AsyncOperation::new(Self::acquisition(slf, n)?, timeout))
    }

    /// Return the operation `acquire(n)` for `select`, which then takes `n` tokens and returns True.
    ///
    /// A selection waits for the tokens for as long as it lasts, whatever its `timeout` is: it is refused with RateLimited
    /// only where a leaky bucket has no free place for a waiter.
    ///
    /// Raises ValueError if `n` is larger than can ever be admitted at once; ValueError, TypeError or OverflowError for an
    /// invalid `n`.
    #[pyo3(signature = (n = Argument::MISSING), text_signature = "($self, n=1)")]
    fn acquiring(slf: &Bound<'_, Self>, n: Argument<'_, '_>) -> PyResult<PySelectable> {
        slf.get().check_amount(slf.as_any(), slf.get().amount("n", n.given())?)?;
        Ok(PySelectable::new("acquiring", slf.as_any(), n.given(), |this, n| {
            let this = this.cast::<Self>()?;
            Self::acquisition(this, this.get().amount("n", n)?)
        }))
    }

    /// Checks the arguments of a decorator before the function is called.
    fn _check(slf: &Bound<'_, Self>, n: &Bound<'_, PyAny>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let n = slf.get().amount("n", Some(n))?;
        Timeout::parse_strict("timeout", timeout)?;
        slf.get().check_amount(slf.as_any(), n)
    }

    /// Give `n` tokens back, at most until the limiter is full.
    ///
    /// Raises ValueError, TypeError or OverflowError for an invalid `n`.
    fn refund(slf: &Bound<'_, Self>, n: &Bound<'_, PyAny>) -> PyResult<()> {
        let n = slf.get().amount("n", Some(n))?;
        if let Target::Key { keys, hash, .. } = slf.get().target() {
            if !keys.is_remembered(slf.py(), *hash) {
                return Ok(()); // the limiter is full already
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
        result.map_err(|refusal| cannot_count(slf.as_any(), refusal))
    }

    /// The number of tokens available now; negative in debt. For a sliding window it is the unused part of the limit;
    /// for a leaky bucket it is the level of a token bucket with a burst of one. A booking for the next free moment is
    /// deducted at once, a later booking (by a set, or behind waiters or a pause) only when it is due.
    #[getter]
    fn tokens(slf: &Bound<'_, Self>) -> f64 {
        let (py, this) = (slf.py(), slf.get());
        if this.shape() == Shape::Unlimited {
            return f64::INFINITY;
        }
        let (wakes, level) = match this.target() {
            Target::Own(limiter) => limiter.level(py),
            Target::Set | Target::Unmade => return f64::NAN,
            Target::Key { keys, hash, .. } => keys.level(py, *hash),
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
        let (wakes, result) = match this.target() {
            Target::Own(limiter) => limiter.retry_after(py, n),
            Target::Set | Target::Unmade => return Err(this.not_here()),
            Target::Key { keys, hash, .. } => keys.retry_after(py, *hash, n),
        };
        wakes.fire();
        result.map(seconds).map_err(|refusal| match refusal {
            Refusal::NoMemory => no_memory(slf.as_any()),
            _ => this.cannot_pass(slf.as_any(), n),
        })
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
        let seen = match slf.get().target() {
            // Nothing has been recorded for the key, and a snapshot must not make it a remembered key.
            Target::Key { keys, hash, .. } if !keys.is_remembered(py, *hash) => Statistics::default(),
            _ => {
                let (wakes, seen) = slf.get().limiter(slf.as_any())?.statistics(py);
                wakes.fire();
                seen
            }
        };
        statistics(py, "RateStatistics", slf.get().common().name(py), seen, &[])
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        describe(slf)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.common().traverse(&visit)?;
        match self.target() {
            Target::Own(limiter) => show_wakers(&visit, |py, each| limiter.visit_wakers(py, each)),
            Target::Set | Target::Unmade => Ok(()),
            Target::Key { owner, key, .. } => {
                visit.call(owner)?;
                visit.call(key)
            }
        }
    }
}

refuse_copies!(PyRateLimiter);

impl Drop for PyRateLimiter {
    /// A key becomes light when no object holds its limiter.
    fn drop(&mut self) {
        if let Target::Key { keys, hash, .. } = self.target() {
            // Without an interpreter there is nothing to tidy up.
            Python::try_attach(|py| keys.let_go(py, *hash).fire());
        }
    }
}

/// The `repr` of a limiter.
fn describe(this: &Bound<'_, PyRateLimiter>) -> PyResult<String> {
    use std::fmt::Write;
    let py = this.py();
    let limiter = this.get();
    let mut label = limiter.common().label(py);
    if let Target::Key { key, .. } = limiter.target() {
        let _ = write!(label, " key={}", text(key.bind(py)));
    }
    let mut described = repr_head(this, &label)?;
    let Terms { rate, size, period } = limiter.terms(py);
    let _ = match limiter.shape() {
        Shape::Window => write!(described, " limit={size:?} period={period:?}"),
        Shape::Leaky => write!(described, " rate={rate:?} capacity={size:.0}"),
        Shape::Bucket => write!(described, " rate={rate:?} burst={size:?}"),
        Shape::Unlimited | Shape::Zero | Shape::Set => Ok(()),
    };
    if matches!(limiter.shape(), Shape::Leaky | Shape::Bucket) && (period - 1.0).abs() > 0.0 {
        let _ = write!(described, " period={period:?}");
    }
    let tokens: f64 = this.getattr("tokens")?.extract()?;
    let _ = write!(described, " tokens={tokens:?}>");
    Ok(described)
}
