//! `Body`: what every queue class has inside, whatever its interface.
//!
//! The core's queue, and beside it what only Python knows of: names, the object given as `maxsize`, the error a producer left by.

use std::cell::RefCell;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyInt;
use sluicegate_core::clock::Clock as CoreClock;
use sluicegate_core::queue::{Queue as CoreQueue, UNBOUNDED};
use sluicegate_core::section::Section;

use crate::domain::Attached;
use crate::errors;
use crate::store::Store;
use crate::waker::Waker;

pub(crate) type Core = CoreQueue<Store, Waker, Attached>;

/// What the class of a queue, a user's subclass perhaps, overrides. Settled when the queue is made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Overrides {
    /// `_init`, `_qsize`, `_put` or `_get`: the subclass keeps the items.
    pub(crate) hooks: bool,
    pub(crate) put: bool,
    pub(crate) get: bool,
}

/// Python's side of the state.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    pub(crate) maxsize: Option<Py<PyAny>>,
    /// `maxsize` cannot be compared with a number; the error comes when it has to be, as in the standard library.
    pub(crate) maxsize_is_odd: bool,
    pub(crate) name: Option<Py<PyAny>>,
    pub(crate) clock: Option<Py<PyAny>>,
    /// The exception by which a producer (or the last consumer) left.
    pub(crate) failure: Option<Py<PyAny>>,
    /// The `queue` attribute of a subclass that keeps the items itself.
    pub(crate) storage: Option<Py<PyAny>>,
}

#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) core: Core,
    pub(crate) extras: Section<Extras, Attached>,
    pub(crate) overrides: Overrides,
    pub(crate) slow: bool,
}

/// A bound as the core counts it: `size >= maxsize` is `size >= limit`, and `maxsize <= 0` is no bound.
pub(crate) fn limit_of(maxsize: &Bound<'_, PyAny>) -> PyResult<usize> {
    if let Ok(exact) = maxsize.cast_exact::<PyInt>() {
        return Ok(match exact.extract::<i64>() {
            Ok(n) if n <= 0 => UNBOUNDED,
            Ok(n) => usize::try_from(n).unwrap_or(UNBOUNDED - 1),
            Err(_) if maxsize.lt(0)? => UNBOUNDED,
            Err(_) => UNBOUNDED - 1,
        });
    }
    if !maxsize.gt(0)? {
        return Ok(UNBOUNDED); // NaN too: no comparison with it is true
    }
    // The least whole number that reaches it.
    let float: f64 = maxsize.extract()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and saturating is what is meant")]
    Ok((float.ceil() as usize).clamp(1, UNBOUNDED - 1))
}

impl Body {
    pub(crate) fn new(store: Store, overrides: Overrides) -> Self {
        let slow = store.needs_baton();
        Self { core: Core::new(store, UNBOUNDED, CoreClock::Monotonic), extras: Section::new(Extras::default()), overrides, slow }
    }

    /// Replaces something in the extras; what was there is dropped outside the section.
    pub(crate) fn swap<T>(&self, py: Python<'_>, place: impl FnOnce(&mut Extras) -> &mut T, value: T) -> T {
        self.extras.with(py, |extras| std::mem::replace(place(extras), value))
    }

    pub(crate) fn extra(&self, py: Python<'_>, place: impl FnOnce(&Extras) -> &Option<Py<PyAny>>) -> Option<Py<PyAny>> {
        self.extras.with(py, |extras| place(extras).as_ref().map(|value| value.clone_ref(py)))
    }

    /// `maxsize` has been assigned.
    pub(crate) fn set_maxsize(&self, py: Python<'_>, maxsize: &Bound<'_, PyAny>) {
        let limit = limit_of(maxsize);
        let odd = limit.is_err();
        drop(self.swap(py, |extras| &mut extras.maxsize, Some(maxsize.clone().unbind())));
        self.swap(py, |extras| &mut extras.maxsize_is_odd, odd);
        // With a bound of nothing every put comes to the slow path, which reports the error.
        self.core.set_limit(py, limit.unwrap_or(0)).fire();
    }

    /// Is there a bound? Raises what comparing an odd `maxsize` raises.
    pub(crate) fn is_bounded(&self, py: Python<'_>) -> PyResult<bool> {
        if self.extras.with(py, |extras| extras.maxsize_is_odd) {
            let maxsize = self.extra(py, |extras| &extras.maxsize);
            return maxsize.map_or(Ok(false), |maxsize| maxsize.bind(py).gt(0));
        }
        Ok(self.core.limit(py) != UNBOUNDED)
    }

    pub(crate) fn shut_down_error(&self, py: Python<'_>, operation: &str) -> PyErr {
        let error = errors::shut_down(py, format!("{operation}: the queue has been shut down"));
        if let Some(cause) = self.extra(py, |extras| &extras.failure) {
            error.set_cause(py, Some(PyErr::from_value(cause.into_bound(py))));
        }
        error
    }

    /// "3 of 10 items" for messages.
    pub(crate) fn holds(&self, py: Python<'_>) -> String {
        let size = self.core.size(py);
        let name =
            self.extra(py, |extras| &extras.name).map_or_else(String::new, |name| format!(" {}", errors::text(name.bind(py))));
        match self.core.limit(py) {
            UNBOUNDED => format!("the queue{name} holds {size} items and has no bound"),
            limit => format!("the queue{name} holds {size} of {limit} items"),
        }
    }

    pub(crate) fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let py = attached_in_traverse();
        let outcome = RefCell::new(Ok(()));
        let tell = |result: Result<(), PyTraverseError>| {
            let mut outcome = outcome.borrow_mut();
            if outcome.is_ok() {
                *outcome = result;
            }
        };
        self.extras.with(py, |extras| {
            let Extras { maxsize, name, clock, failure, storage, maxsize_is_odd: _ } = extras;
            for object in [maxsize, name, clock, failure, storage] {
                tell(visit.call(&*object));
            }
        });
        self.core.visit_contents(
            py,
            |store| store.items().for_each(|item| tell(visit.call(item))),
            |waker| {
                if let Waker::Task(operation) = waker {
                    tell(visit.call(operation));
                }
            },
        );
        outcome.into_inner()
    }

    /// Breaks cycles: everything that can be emptied is moved out and dropped here, outside the sections.
    pub(crate) fn clear(&self, py: Python<'_>) {
        let items = self.core.with_buffer(py, Store::take_all);
        let extras = self.extras.with(py, std::mem::take);
        drop((items, extras));
    }
}

/// A get and the like from a comparison or a hook of the same queue, on the thread that is inside it.
pub(crate) fn reentered(operation: &str) -> PyErr {
    PyRuntimeError::new_err(format!(
        "{operation} was called from inside the same queue: from a comparison of its items or an overridden hook, on the thread that is \
         running it; only put is possible there"
    ))
}

/// The token inside `__traverse__`, where none can be had the ordinary way.
#[allow(unsafe_code)]
pub(crate) fn attached_in_traverse<'py>() -> Python<'py> {
    // SAFETY: the garbage collector runs attached, with the world stopped where there is no global lock. The token is used for
    // entering sections only, and those run no Python.
    unsafe { Python::assume_attached() }
}
