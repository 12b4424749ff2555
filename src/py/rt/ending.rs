//! How an object was shut down: normally, immediately, or with an error; and what its methods raise then.
//!
//! | method             | normal end, drained        | end with an error, drained                     | immediate end          |
//! |--------------------|----------------------------|------------------------------------------------|------------------------|
//! | iteration          | stops                      | the error itself, with its original traceback  | `ShutDown`             |
//! | `get`, `put`, `set` | `ShutDown`                | `ShutDown`, with the error as `__cause__`      | `ShutDown`             |
//!
//! The first shutdown counts; an immediate shutdown may still follow.

use pyo3::exceptions::{PyBaseException, PyException, PyStopAsyncIteration, PyStopIteration, PyTypeError};
use pyo3::prelude::*;

use super::arguments;
use super::exceptions;
use super::gc::Shown;
use super::kept::interned;

/// An error, and its traceback.
pub(crate) type Failure = (Py<PyAny>, Option<Py<PyAny>>);

/// A request to shut an object down.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) error: Option<Failure>,
    pub(crate) immediate: bool,
}

impl End {
    /// A shutdown with this error, which has to be an exception or None.
    pub(crate) fn of(error: &Bound<'_, PyAny>, immediate: bool) -> PyResult<Self> {
        if error.is_none() {
            return Ok(Self { error: None, immediate });
        }
        if !error.is_instance_of::<PyBaseException>() {
            let given = arguments::text(error);
            return Err(PyTypeError::new_err(format!("'error' must be an exception or None, not {given}")));
        }
        let traceback = error.getattr(interned!(error.py(), "__traceback__"))?;
        Ok(Self { error: Some((error.clone().unbind(), Some(traceback.unbind()))), immediate })
    }

    /// The arguments of `shutdown`.
    pub(crate) fn by_shutdown(immediate: bool, error: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        error.map_or_else(|| Ok(Self { error: None, immediate }), |error| Self::of(error, immediate))
    }

    /// The argument of `fail`.
    pub(crate) fn by_fail(error: &Bound<'_, PyAny>) -> PyResult<Self> {
        if error.is_none() {
            return Err(PyTypeError::new_err("'error' must be an exception, not None"));
        }
        Self::of(error, false)
    }

    /// Records the shutdown, inside the section. `again`: the object had been shut down before. Returns what is not needed, to be dropped outside.
    pub(crate) fn note(self, ending: &mut Ending, again: bool) -> Option<Failure> {
        ending.killed |= self.immediate;
        if again {
            return self.error;
        }
        let (error, traceback) = self.error?;
        let old = ending.failure.replace(error);
        let old_traceback = std::mem::replace(&mut ending.traceback, traceback);
        old.map(|old| (old, old_traceback))
    }
}

/// The recorded end of an object, kept in its section. Nothing of it may be dropped there, so replaced values are returned.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// The error of the shutdown, and its traceback at that time.
    failure: Option<Py<PyAny>>,
    traceback: Option<Py<PyAny>>,
    /// True if values may have been removed.
    killed: bool,
}

impl Ending {
    /// For use outside the section.
    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        let copy = |object: &Option<Py<PyAny>>| object.as_ref().map(|object| object.clone_ref(py));
        Self { failure: copy(&self.failure), traceback: copy(&self.traceback), killed: self.killed }
    }

    /// `ShutDown`, with the error as its cause. `text` names the operation and the object.
    pub(crate) fn shut_down_error(&self, py: Python<'_>, text: &str) -> PyErr {
        let Some(cause) = &self.failure else { return exceptions::shut_down(py, (format!("{text} has been shut down"),)) };
        let cause = cause.bind(py);
        let told = arguments::text(cause);
        let error = exceptions::shut_down(py, (format!("{text} has been shut down with an error: {told}"),));
        error.set_cause(py, Some(PyErr::from_value(cause.clone())));
        error
    }

    /// The exception that ends an iteration when nothing is left: none after a normal end; otherwise the error; or the `ShutDown` that
    /// `shut_down` makes, if values may have been removed or if the error itself would look like a normal end of the iteration.
    pub(crate) fn of_iteration(&self, py: Python<'_>, shut_down: impl FnOnce() -> PyErr) -> PyResult<()> {
        match &self.failure {
            None if !self.killed => Ok(()),
            Some(failure) if !self.killed && may_be_raised(failure.bind(py)) => {
                let _ = failure.bind(py).setattr(interned!(py, "__traceback__"), &self.traceback);
                Err(PyErr::from_value(failure.bind(py).clone()))
            }
            _ => Err(shut_down()),
        }
    }

    pub(crate) fn show(&self, shown: &Shown<'_, '_>) {
        shown.object(&self.failure);
        shown.object(&self.traceback);
    }
}

/// True if iteration may raise this exception: it is not one that ends iterations, and not one that is meant for a single thread or task.
fn may_be_raised(failure: &Bound<'_, PyAny>) -> bool {
    let py = failure.py();
    let error = PyErr::from_value(failure.clone());
    error.is_instance_of::<PyException>(py)
        && !error.is_instance_of::<PyStopIteration>(py)
        && !error.is_instance_of::<PyStopAsyncIteration>(py)
        && !exceptions::ends_a_queue(py, &error)
}
