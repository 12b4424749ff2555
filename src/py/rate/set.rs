//! `RateLimits`: several limiters, taken together.

use std::ops::Deref;
use std::sync::Arc;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyMappingProxy, PyString, PyTuple, PyType};
use sluicegate_core::clock::{Clock, nanos};
use sluicegate_core::rate::{Scale, Units};

use super::amounts::seconds;
use super::class::statistics;
use super::limiter::{PyRateLimiter, Shape, Target};
use super::names::{Asks, Member, Names};
use super::ops::{Acquire, Request};
use super::permit::{Amounts, OfSet, PyRatePermit};
use super::refusal::cannot_count;
use super::reservation::{Booked, PyReservation};
use super::{LimitSet, Limiter};
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{self, Timeout, surplus, text};
use crate::rt::blocking;
use crate::rt::class::{Common, repr_head};
use crate::rt::gc::show_wakers;
use crate::rt::late::{self, Late, is_made_later};
use crate::rt::memory;
use crate::rt::select::PySelectable;

/// The methods' own parameters, which cannot be names of members.
const RESERVED: [&str; 4] = ["name", "n", "timeout", "max_wait"];

/// Several limiters taken together: either all of them or none. A set is a limiter itself.
///
/// Example: `RateLimits(requests=TokenBucket(50, burst=10), tokens=TokenBucket(9000, burst=9000, period=60))`. A
/// positional amount is taken from every limiter. Amounts by name are taken from the limiters of those names, and
/// then every limiter has to be named. Waiters of the set are served strictly first come, first served. A limiter can belong
/// to several sets, and can also be used directly.
///
/// A member can be another set: then all its limiters are limiters of this set, and its amount is a number, for each of
/// them, or a mapping of amounts by name. A member can be a `Semaphore` too, to limit concurrency and rate together. Such a
/// set admits by `permit` only, which acquires the semaphore first and the tokens last.
///
/// Raises ValueError if no limiter is given, if a limiter is given twice, if the limiters have different clocks, or
/// if a name is `name`, `n`, `timeout` or `max_wait`; TypeError for an object that is no limiter and no semaphore.
#[pyclass(frozen, subclass, weakref, extends = PyRateLimiter, name = "RateLimits", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyRateLimits {
    parts: Late<Parts>,
}

/// The parts of a set.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(super) set: Arc<LimitSet>,
    pub(super) names: Arc<Names>,
    limits: Py<PyDict>,
    /// The limiters of this set and of nested sets, and their names in messages.
    leaves: Vec<Py<PyRateLimiter>>,
    /// Interned, as the names of keyword arguments are.
    pub(super) labels: Vec<Py<PyString>>,
    /// The scales of the limiters, if each of them is a direct member and there are no semaphores: then the labels are the names.
    pub(super) scales: Option<Box<[Scale]>>,
    /// One token of each.
    pub(super) ones: Arc<[Units]>,
    /// The semaphores of this set and of nested sets.
    pub(super) gates: Vec<Py<PyAny>>,
}

impl Deref for PyRateLimits {
    type Target = Parts;

    #[inline]
    fn deref(&self) -> &Parts {
        &self.parts
    }
}

fn is_semaphore(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    // Looked up by name, because no primitive uses another.
    object.is_instance(&object.py().import("sluicegate._core")?.getattr("Semaphore")?)
}

impl PyRateLimits {
    /// `reserve` in the general form.
    pub(super) fn reserve(
        slf: &Bound<'_, Self>,
        args: &Bound<'_, PyTuple>,
        amounts: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyReservation> {
        let this = slf.get();
        let limit = Timeout::parse_strict("max_wait", keyword(amounts, "max_wait")?.as_ref())?.limit()?;
        let amounts = this.amounts("reserve", args, amounts)?;
        let (wakes, bookings) = this.set.reserve(slf.py(), &amounts, limit);
        wakes.fire();
        match bookings {
            Ok(bookings) => {
                let booked = Booked::Set(Arc::clone(&this.set), Arc::clone(&this.names), bookings);
                Ok(PyReservation::new(slf.clone().into_any().unbind(), booked))
            }
            Err(refusal) => Err(this.request(amounts).error(slf.as_any(), refusal)),
        }
    }

    /// The amounts of the limiters. Raises for a set with semaphores, which admits by `permit` only.
    fn amounts(&self, function: &str, args: &Bound<'_, PyTuple>, given: Option<&Bound<'_, PyDict>>) -> PyResult<Vec<Units>> {
        self.parts.ready()?;
        if self.gates.is_empty() {
            return Ok(whole(self.names.amounts(function, args, given, Asks::All)?.units));
        }
        Err(PyTypeError::new_err(format!(
            "{function}() is not available for a set with a semaphore, which is held while a block runs: use `with limits.permit(...):`"
        )))
    }

    fn request(&self, amounts: Vec<Units>) -> Request {
        Request::Set(Arc::clone(&self.set), amounts.into(), Arc::clone(&self.names))
    }
}

/// The hot methods, in the general form.
impl PyRateLimits {
    pub(super) fn try_acquire(
        slf: &Bound<'_, Self>,
        args: &Bound<'_, PyTuple>,
        amounts: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<bool> {
        let request = slf.get().request(slf.get().amounts("try_acquire", args, amounts)?);
        request.try_acquire(slf.py(), false).map_err(|refusal| request.error(slf.as_any(), refusal))
    }

    pub(super) fn acquire(
        slf: &Bound<'_, Self>,
        args: &Bound<'_, PyTuple>,
        amounts: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<bool> {
        let timeout = Timeout::parse_strict("timeout", keyword(amounts, "timeout")?.as_ref())?;
        let request = slf.get().request(slf.get().amounts("acquire", args, amounts)?);
        blocking::run(slf.py(), &mut Acquire::new(slf.clone().into_any().unbind(), request), timeout)?;
        Ok(true)
    }
}

/// `permit` in the general form.
impl PyRateLimits {
    pub(super) fn permit(
        slf: &Bound<'_, Self>,
        args: &Bound<'_, PyTuple>,
        amounts: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyRatePermit> {
        let (py, this) = (slf.py(), slf.get());
        let timeout = Timeout::parse_strict("timeout", keyword(amounts, "timeout")?.as_ref())?;
        this.parts.ready()?;
        let asked = this.names.amounts("permit", args, amounts, Asks::All)?;
        let each = this.gates.iter().zip(&asked.gates).enumerate();
        let each = each.filter_map(|(index, (gate, n))| Some((gate.clone_ref(py), n.clone()?, index)));
        let gates = PyTuple::new(py, each.collect::<Vec<_>>())?;
        for gate in gates.iter() {
            let (semaphore, n, _): (Bound<'_, PyAny>, Bound<'_, PyAny>, usize) = gate.extract()?;
            semaphore.call_method1("permit", (n,))?; // raises if the amount is not a number of permits
        }
        let of_set = OfSet::new(Amounts::Any(whole(asked.units).into()), request_of_set);
        let gates = (!gates.is_empty()).then(|| gates.unbind());
        Ok(PyRatePermit::of_set(slf.clone().into_any().unbind(), of_set, timeout, gates))
    }
}

/// See [`OfSet::new`].
pub(super) fn request_of_set(set: &Bound<'_, PyAny>, amounts: &Amounts) -> Request {
    let set = set.cast::<PyRateLimits>().expect("the owner is a set").get();
    let amounts = match amounts {
        Amounts::Ones => Arc::clone(&set.ones),
        Amounts::Two(amounts) => amounts.as_slice().into(),
        Amounts::Any(amounts) => Arc::clone(amounts),
    };
    Request::Set(Arc::clone(&set.set), amounts, Arc::clone(&set.names))
}

/// The amounts, zero for a limiter that is not named.
fn whole(units: Vec<Option<Units>>) -> Vec<Units> {
    units.into_iter().map(Option::unwrap_or_default).collect()
}

/// Takes one of the method's own parameters out of the keyword arguments.
fn keyword<'py>(amounts: Option<&Bound<'py, PyDict>>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    let Some(amounts) = amounts else { return Ok(None) };
    let value = amounts.get_item(name)?;
    if value.is_some() {
        amounts.del_item(name)?;
    }
    Ok(value.filter(|value| !value.is_none()))
}

#[pymethods]
impl PyRateLimits {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*args, name = None, **limits), text_signature = "(*, name=None, **limits)")]
    fn new(
        class: &Bound<'_, PyType>,
        args: &Bound<'_, PyTuple>,
        name: Option<&Bound<'_, PyAny>>,
        limits: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let py = class.py();
        let made_of =
            |common, parts| PyClassInitializer::from(PyRateLimiter::new(Target::Set, Shape::Set, common)).add_subclass(parts);
        if is_made_later::<Self>(class)? {
            let parts = Parts {
                set: LimitSet::new(py, Vec::new(), Clock::Monotonic).expect("it is in the list of no member"),
                names: Arc::new(Names::new(Vec::new())),
                limits: PyDict::new(py).unbind(),
                leaves: Vec::new(),
                labels: Vec::new(),
                scales: None,
                ones: Arc::default(),
                gates: Vec::new(),
            };
            return Ok(made_of(Common::default(), Self { parts: Late::unmade(parts) }));
        }
        if !args.is_empty() {
            return Err(surplus(
                "RateLimits",
                args,
                "; give each limit by the name of its amount, as in `RateLimits(requests=limiter)`",
            ));
        }
        let common = Common::new(py, name, None)?;
        let limits = match limits {
            Some(limits) if !limits.is_empty() => limits.copy()?,
            _ => return Err(PyValueError::new_err("RateLimits needs at least one limit, by name")),
        };
        let (mut names, mut gates): (Vec<(String, Member)>, Vec<Py<PyAny>>) = Default::default();
        let mut leaves: Vec<(String, Py<PyRateLimiter>, Arc<Limiter>)> = Vec::new();
        for (label, limit) in &limits {
            let label: String = label.extract()?;
            if RESERVED.contains(&label.as_str()) {
                return Err(PyValueError::new_err(format!("a limit cannot be named '{label}': that is the name of a parameter")));
            }
            let mut more = Vec::new();
            if let Ok(inner) = limit.cast::<Self>() {
                let inner = inner.get();
                inner.parts.ready()?;
                for (index, leaf) in inner.leaves.iter().enumerate() {
                    let core = Arc::clone(&inner.set.members()[index]);
                    more.push((format!("{label}.{}", inner.names.path(index)), leaf.clone_ref(py), core));
                }
                if inner.gates.iter().any(|gate| gates.iter().any(|other| other.is(gate))) {
                    return Err(PyValueError::new_err(format!("'{label}' has a semaphore that the set has already")));
                }
                gates.extend(inner.gates.iter().map(|gate| gate.clone_ref(py)));
                names.push((label, Member::Set(Arc::clone(&inner.names))));
            } else if let Ok(limiter) = limit.cast::<PyRateLimiter>() {
                let core = limiter.get().limiter(&limit)?;
                names.push((label.clone(), Member::Leaf(core.scale())));
                more.push((label, limiter.clone().unbind(), core));
            } else if is_semaphore(&limit)? {
                if gates.iter().any(|gate: &Py<PyAny>| gate.is(&limit)) {
                    return Err(PyValueError::new_err(format!("'{label}' is a semaphore that the set has already")));
                }
                gates.push(limit.unbind());
                names.push((label, Member::Gate));
            } else {
                return Err(PyTypeError::new_err(format!(
                    "'{label}' must be a sluicegate limiter or Semaphore, not {}",
                    text(&limit)
                )));
            }
            for (label, leaf, core) in more {
                if let Some((same, ..)) = leaves.iter().find(|(.., other)| Arc::ptr_eq(other, &core)) {
                    return Err(PyValueError::new_err(format!("'{label}' is the same limiter as '{same}'")));
                }
                if let Some((first, ..)) = leaves.first().filter(|(.., first)| !first.clock().is(core.clock())) {
                    return Err(PyValueError::new_err(format!("'{label}' has another clock than '{first}'")));
                }
                leaves.push((label, leaf, core));
            }
        }
        let Some((.., first)) = leaves.first() else {
            return Err(PyValueError::new_err(
                "RateLimits needs at least one limiter; a Semaphore alone has a permit of its own",
            ));
        };
        let clock = first.clock().clone();
        let cores = leaves.iter().map(|(.., core)| Arc::clone(core)).collect();
        let scales: Box<[Scale]> = leaves.iter().map(|(.., core)| core.scale()).collect();
        let is_flat = gates.is_empty() && names.len() == leaves.len() && names.iter().all(|(_, member)| member.is_leaf());
        let parts = Parts {
            set: LimitSet::new(py, cores, clock)
                .map_err(|_| memory::none(py, c"there is no memory for one more set of a limit"))?,
            names: Arc::new(Names::new(names)),
            limits: limits.unbind(),
            labels: leaves.iter().map(|(label, ..)| PyString::intern(py, label).unbind()).collect(),
            ones: scales.iter().map(|scale| scale.per_token()).collect(),
            scales: is_flat.then_some(scales),
            leaves: leaves.into_iter().map(|(_, leaf, _)| leaf).collect(),
            gates,
        };
        Ok(made_of(common, Self { parts: Late::made(parts) }))
    }

    /// Called by a subclass with an `__init__` of its own.
    #[pyo3(signature = (*args, **kwargs))]
    fn __init__(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let parts = &slf.get().parts;
        late::init(slf, args, kwargs, parts.is_made(), |like| {
            slf.as_super().get().make_set_like(slf.py(), like.as_super().get());
            parts.make_like(&like.get().parts);
            Ok(())
        })
    }

    /// The name, for messages, and the object of a limiter of this set or of a nested set.
    fn _leaf(&self, py: Python<'_>, index: usize) -> (String, Py<PyRateLimiter>) {
        (self.names.path(index), self.leaves[index].clone_ref(py))
    }

    /// A read-only mapping of the limiters by name.
    #[getter]
    fn limits<'py>(&self, py: Python<'py>) -> Bound<'py, PyMappingProxy> {
        PyMappingProxy::new(py, self.limits.bind(py).as_mapping())
    }

    /// Return the operation `acquire` with these amounts for `select`, which then takes them and returns True.
    ///
    /// Raises what `acquire` raises for amounts that can never be admitted and for invalid arguments.
    #[pyo3(signature = (*args, **amounts), text_signature = "($self, n=1, **amounts)")]
    fn acquiring(
        slf: &Bound<'_, Self>,
        args: &Bound<'_, PyTuple>,
        amounts: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PySelectable> {
        slf.get().request(slf.get().amounts("acquiring", args, amounts)?).check(slf.as_any())?;
        let amounts = amounts.map(Bound::copy).transpose()?;
        let arguments = (args, amounts).into_pyobject(slf.py())?;
        Ok(PySelectable::new("acquiring", slf.as_any(), Some(&arguments), |this, arguments| {
            let this = this.cast::<Self>()?;
            let Some(arguments) = arguments else { unreachable!("they were given") };
            let (args, amounts): (Bound<'_, PyTuple>, Option<Bound<'_, PyDict>>) = arguments.extract()?;
            let request = this.get().request(this.get().amounts("acquiring", &args, amounts.as_ref())?);
            Ok(Box::new(Acquire::new(this.clone().into_any().unbind(), request)))
        }))
    }

    /// Checks the arguments of a decorator before the function is called.
    #[pyo3(signature = (timeout, *args, **amounts))]
    fn _check(
        slf: &Bound<'_, Self>,
        timeout: Option<&Bound<'_, PyAny>>,
        args: &Bound<'_, PyTuple>,
        amounts: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        Timeout::parse_strict("timeout", timeout)?;
        slf.get().request(slf.get().amounts("acquire", args, amounts)?).check(slf.as_any())
    }

    /// The operation behind `acquire_async`.
    #[pyo3(signature = (timeout, *args, **amounts))]
    fn _async_acquire(
        slf: &Bound<'_, Self>,
        timeout: Option<&Bound<'_, PyAny>>,
        args: &Bound<'_, PyTuple>,
        amounts: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<AsyncOperation> {
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        let request = slf.get().request(slf.get().amounts("acquire_async", args, amounts)?);
        request.check(slf.as_any())?;
        Ok(AsyncOperation::new(Acquire::new(slf.clone().into_any().unbind(), request), timeout))
    }

    /// Give tokens back: `n` to each limit, or amounts by name to the named limits.
    ///
    /// Raises TypeError for an unknown limit; ValueError, TypeError or OverflowError for an invalid amount.
    #[pyo3(signature = (*args, **amounts), text_signature = "($self, n=1, **amounts)")]
    fn refund(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, amounts: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let this = slf.get();
        slf.get().parts.ready()?;
        let amounts = whole(this.names.amounts("refund", args, amounts, Asks::Some)?.units);
        this.set.refund(slf.py(), &amounts).fire();
        Ok(())
    }

    /// Take tokens without waiting, even if that leaves debts: `n` from each limit, or amounts by name from the named
    /// limits.
    ///
    /// Later requests wait until the debts are paid. Raises what `refund` raises, with nothing taken.
    #[pyo3(signature = (*args, **amounts), text_signature = "($self, n=1, **amounts)")]
    fn debit(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, amounts: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let this = slf.get();
        slf.get().parts.ready()?;
        let amounts = whole(this.names.amounts("debit", args, amounts, Asks::Some)?.units);
        let (wakes, outcome) = this.set.debit(slf.py(), &amounts);
        wakes.fire();
        outcome.map_err(|refusal| cannot_count(slf.as_any(), refusal))
    }

    /// The number of tokens available now, by name.
    #[getter]
    fn tokens<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let tokens = PyDict::new(py);
        for (name, _) in self.names.iter().filter(|(_, member)| !matches!(member, Member::Gate)) {
            let limit = self.limits.bind(py).get_item(name)?;
            tokens.set_item(name, limit.map(|limit| limit.getattr("tokens")).transpose()?)?;
        }
        Ok(tokens)
    }

    /// Return the seconds until `try_acquire` with the same amounts can succeed, after all current waiters; 0.0 if it
    /// can now.
    ///
    /// Raises what `acquire` raises for amounts that can never be admitted and for invalid arguments.
    #[pyo3(signature = (*args, **amounts), text_signature = "($self, n=1, **amounts)")]
    fn retry_after(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, amounts: Option<&Bound<'_, PyDict>>) -> PyResult<f64> {
        slf.get().parts.ready()?;
        let amounts = slf.get().names.amounts("retry_after", args, amounts, Asks::Limiters)?;
        let request = slf.get().request(whole(amounts.units));
        match request.retry_after(slf.py(), true) {
            Ok(time) => Ok(seconds(time)),
            Err(refusal) => Err(request.error(slf.as_any(), refusal)),
        }
    }

    /// Admit no request to any of the limits for `seconds`, such as a server's Retry-After.
    ///
    /// Raises ValueError, TypeError or OverflowError for invalid `seconds`.
    fn pause_for(&self, py: Python<'_>, seconds: &Bound<'_, PyAny>) -> PyResult<()> {
        self.parts.ready()?;
        let pause = nanos(arguments::duration("seconds", seconds)?);
        self.set.pause(py, pause).fire();
        Ok(())
    }

    /// Return a snapshot of the set's counters and waiting times. Each member has its own statistics.
    fn statistics<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        slf.get().parts.ready()?;
        let (wakes, seen) = slf.get().set.statistics(py);
        wakes.fire();
        statistics(py, "RateStatistics", slf.as_super().get().common().name(py), seen, &[])
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let py = slf.py();
        let this = slf.get();
        let label = slf.as_super().get().label(py);
        let tokens = this.tokens(py)?;
        let each: Vec<_> = tokens.iter().map(|(name, tokens)| format!("{name}={}", text(&tokens))).collect();
        Ok(format!("{} tokens: {}>", repr_head(slf.as_any(), &label)?, each.join(" ")))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.limits)?;
        self.leaves.iter().try_for_each(|leaf| visit.call(leaf))?;
        self.gates.iter().try_for_each(|gate| visit.call(gate))?;
        show_wakers(&visit, |py, each| self.set.visit_wakers(py, each))
    }
}
