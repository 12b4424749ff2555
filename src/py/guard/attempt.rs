//! `_LayerAttempts`: an attempt through the layers of a `Guard`, from the breaker to the call.
//!
//! Most attempts find a closed breaker, a token and a free slot. Such an attempt is made here from its beginning to its end, with permits that
//! are no Python objects. Whatever waits, or is written in Python, is left to Python's `Attempts`, whose methods these are:
//!
//! | the attempt                                        | what happens                                                        |
//! |----------------------------------------------------|---------------------------------------------------------------------|
//! | has a breaker or a limit of a subclass             | `_make_in_steps`, which calls the methods of the subclass             |
//! | is refused by the breaker, which is asked first    | CircuitOpen; nothing was taken                                       |
//! | finds no token, or a limiter that is not plain      | `_waiting`, which enters its permit: a set, a subclass                |
//! | finds no slot, and may wait                        | `_inside`, with the token                                            |
//! | is refused by the limit, or by the breaker's permit | `_ended`: the token is given back, the slot is free                  |
//! | returns                                            | the breaker and the limit record a success                           |
//! | returns what has run nothing                       | `_checked` returns that, or raises                                   |
//! | raises                                             | `_ended`: its permits judge the exception while it is being handled  |
//!
//! Fairness is that of the layers, cancellation too: nothing waits here. Before the call Python code runs only if the breaker changes its state:
//! its line in the log and its `on_change`, whose exceptions are not raised here (that of a signal handler is raised later, see
//! `rt::interrupts`). So nothing is raised between two steps but what a step raises itself.

use std::sync::OnceLock;

use pyo3::PyClass;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyTuple};

use crate::adaptive::class::PyAdaptiveConcurrency;
use crate::adaptive::permit::PyConcurrencyPermit;
use crate::breaker::class::PyCircuitBreaker;
use crate::breaker::permit::PyCircuitPermit;
use crate::rate::PyRateLimiter;
use crate::rt::arguments::Timeout;
use crate::rt::entries::{CallPermit, HotPermit, end_if_held, enter_new};
use crate::rt::exceptions::CIRCUIT_OPEN;
use crate::rt::guarded;
use crate::rt::hot::attached_form;
use crate::rt::hot_methods::hot_methods;
use crate::rt::kept::interned;
use crate::rt::late::unmade;
use crate::rt::not_run::has_not_run;
use crate::semaphore::PySemaphore;
use crate::semaphore::permit::PyPermit;
use crate::{adaptive, breaker, rate, semaphore};

/// The attempts of the calls of a `Guard`.
#[pyclass(frozen, subclass, name = "_LayerAttempts", module = "sluicegate._core")]
#[derive(Debug)]
pub(crate) struct PyLayerAttempts {
    /// `None` inside if Python makes them all.
    layers: OnceLock<Option<Layers>>,
}

#[derive(Debug)]
struct Layers {
    breaker: Option<Py<PyCircuitBreaker>>,
    rate: Rate,
    slots: Slots,
}

#[derive(Debug)]
enum Rate {
    Absent,
    /// A limiter of a class of ours, of which an attempt takes one, and holds nothing.
    Plain(Py<PyRateLimiter>),
    /// Another one, a set of limiters or one of a subclass: Python enters its permit.
    Held,
}

#[derive(Debug)]
enum Slots {
    Absent,
    Adaptive(Py<PyAdaptiveConcurrency>),
    Semaphore(Py<PySemaphore>),
}

impl Layers {
    /// `None` if the breaker or the limit on concurrency is of a subclass, which may have methods of its own. An absent layer is None.
    fn new(breaker: &Bound<'_, PyAny>, rate: &Bound<'_, PyAny>, slots: &Bound<'_, PyAny>) -> Option<Self> {
        let breaker = if breaker.is_none() { None } else { Some(breaker::exactly_ours(breaker)?.clone().unbind()) };
        let slots = if slots.is_none() {
            Slots::Absent
        } else if let Some(limit) = adaptive::exactly_ours(slots) {
            Slots::Adaptive(limit.clone().unbind())
        } else {
            Slots::Semaphore(semaphore::exactly_ours(slots)?.clone().unbind())
        };
        let rate = match rate::plain::exactly_ours(rate) {
            _ if rate.is_none() => Rate::Absent,
            Some(limiter) => Rate::Plain(limiter.clone().unbind()),
            None => Rate::Held,
        };
        Some(Self { breaker, rate, slots })
    }
}

#[pymethods]
impl PyLayerAttempts {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { layers: OnceLock::new() }
    }

    /// Called once, by `__init__`.
    fn _prepare(&self, breaker: &Bound<'_, PyAny>, rate: &Bound<'_, PyAny>, concurrency: &Bound<'_, PyAny>) {
        let _ = self.layers.set(Layers::new(breaker, rate, concurrency));
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(Some(layers)) = self.layers.get() else { return Ok(()) };
        visit.call(&layers.breaker)?;
        if let Rate::Plain(rate) = &layers.rate {
            visit.call(rate)?;
        }
        match &layers.slots {
            Slots::Absent => Ok(()),
            Slots::Adaptive(limit) => visit.call(limit),
            Slots::Semaphore(semaphore) => visit.call(semaphore),
        }
    }
}

/// What an attempt is to call.
#[derive(Clone, Copy)]
struct Call<'a, 'py> {
    this: &'a Bound<'py, PyLayerAttempts>,
    function: &'a Bound<'py, PyAny>,
    args: &'a Bound<'py, PyTuple>,
    kwargs: &'a Bound<'py, PyDict>,
}

impl<'py> Call<'_, 'py> {
    fn attempt(self) -> PyResult<Bound<'py, PyAny>> {
        let py = self.this.py();
        let Some(layers) = self.this.get().layers.get().ok_or_else(unmade)? else { return self.in_steps() };
        if let Some(breaker) = &layers.breaker {
            let breaker = breaker.get();
            if breaker.is_entered(py) {
                return self.in_steps();
            }
            if let Some(refusal) = breaker.refuse(py) {
                return Err(CIRCUIT_OPEN.with(py, breaker.refusal(py, refusal)?));
            }
        }
        let is_admitted = match &layers.rate {
            Rate::Absent => true,
            Rate::Plain(limiter) => PyRateLimiter::take_or_wait(limiter.bind(py))?,
            Rate::Held => false,
        };
        if !is_admitted {
            return guarded::call_method(self.this, interned!(py, "_waiting"), (self.function, self.args, self.kwargs));
        }
        match &layers.slots {
            Slots::Absent => self.make(layers, None::<PyConcurrencyPermit>),
            Slots::Adaptive(limit) => self.enter(layers, PyConcurrencyPermit::new(limit.clone_ref(py), 0, Timeout::Forever)),
            Slots::Semaphore(semaphore) => self.enter(layers, PyPermit::one_of(semaphore.clone_ref(py))),
        }
    }

    fn in_steps(self) -> PyResult<Bound<'py, PyAny>> {
        let name = interned!(self.this.py(), "_make_in_steps");
        guarded::call_method(self.this, name, (self.function, self.args, self.kwargs))
    }

    /// Makes the attempt in a slot, once it has a token.
    fn enter<S: Slot>(self, layers: &Layers, slot: S) -> PyResult<Bound<'py, PyAny>> {
        let py = self.this.py();
        let is_held = if slot.is_entered(py) { Ok(false) } else { enter_new(&slot, py) };
        match is_held {
            Ok(true) => self.make(layers, Some(slot)),
            Ok(false) => guarded::call_method(self.this, interned!(py, "_inside"), (self.function, self.args, self.kwargs)),
            Err(error) => Err(self.ended(error, false, None::<S>, None)),
        }
    }

    /// Makes the call, which holds a slot.
    fn make<S: Slot>(self, layers: &Layers, slot: Option<S>) -> PyResult<Bound<'py, PyAny>> {
        let py = self.this.py();
        let through = layers.breaker.as_ref().map(|breaker| PyCircuitPermit::new(breaker.clone_ref(py)));
        let mut called = false;
        let mut make = || {
            if let Some(permit) = &through {
                let is_held = enter_new(permit, py)?;
                debug_assert!(is_held, "nothing waits for a breaker");
            }
            called = true;
            let result = guarded::call_with(self.function, self.args, self.kwargs)?;
            if has_not_run(&result)? {
                return guarded::call_method(self.this, interned!(py, "_checked"), (self.function, result));
            }
            Ok(result)
        };
        match make() {
            Ok(result) => {
                if let Some(permit) = &through {
                    end_if_held(permit, py, PyCircuitPermit::SERVED);
                }
                if let Some(permit) = &slot {
                    end_if_held(permit, py, S::SERVED);
                }
                Ok(result)
            }
            Err(error) => Err(self.ended(error, called, slot, through)),
        }
    }

    /// Ends an attempt that has raised; returns what it raises. Its permits, which are held, judge the exception while it is being handled,
    /// as at the end of a `with` block. That is in Python, where a signal handler may raise before they are asked: then they judge nothing.
    #[cold]
    #[inline(never)]
    fn ended<S: Slot>(self, error: PyErr, called: bool, slot: Option<S>, through: Option<PyCircuitPermit>) -> PyErr {
        let py = self.this.py();
        let tell = || {
            let slot = slot.map(|slot| Py::new(py, slot)).transpose()?;
            let through = through.map(|through| Py::new(py, through)).transpose()?;
            let (name, arguments) = (interned!(py, "_ended"), (error.into_value(py), called, slot.as_ref(), through.as_ref()));
            let answer = guarded::call_method(self.this, name, arguments);
            if let Some(through) = &through {
                end_if_held(through.get(), py, PyCircuitPermit::IGNORED);
            }
            if let Some(slot) = &slot {
                end_if_held(slot.get(), py, S::IGNORED);
            }
            answer
        };
        match tell() {
            Err(error) => error,
            Ok(_) => PyRuntimeError::new_err("the error of an attempt was lost"),
        }
    }
}

/// A permit of the limit on concurrency.
trait Slot: CallPermit + PyClass<Frozen = True> + Into<pyo3::PyClassInitializer<Self>> {}

impl<P: CallPermit + PyClass<Frozen = True> + Into<pyo3::PyClassInitializer<P>>> Slot for P {}

hot_methods! {
    pub(crate) fn install() for PyLayerAttempts as "Attempts";

    /// Return `function(*args, **kwargs)`, called through the layers.
    fn _make(this, function, args, kwargs) {
        guarded true,
        fast: match (args.cast_exact::<PyTuple>(), kwargs.cast_exact::<PyDict>()) {
            (Ok(args), Ok(kwargs)) => attached_form(|py| {
                let call = Call { this: &this, function: &function, args: &args, kwargs: &kwargs };
                match call.attempt() {
                    Ok(result) => Fast::Done(result.unbind()),
                    Err(error) => {
                        error.restore(py);
                        Fast::Raised
                    }
                }
            }),
            _ => Fast::Declined,
        },
        general: {
            let (args, kwargs) = (args.cast::<PyTuple>()?, kwargs.cast::<PyDict>()?);
            Call { this, function: &function, args: &args, kwargs: &kwargs }.attempt().map(Bound::unbind)
        },
    }
}
