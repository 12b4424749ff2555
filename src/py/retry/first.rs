//! `_FirstAttempts`: the first attempt of a call, which is the only one of most calls.
//!
//! It is what a `Retry` has below its Python: it makes the attempt, and if that succeeds, counts it. What becomes of a call whose attempt has
//! failed is decided by the methods of `Retry` that are called here.
//!
//! | the call                                | what happens                                                                 |
//! |-----------------------------------------|------------------------------------------------------------------------------|
//! | has a deadline, or is inside another    | `_run_in_state`                                                              |
//! | returns                                 | it is counted, and pays into the budget                                      |
//! | returns what has run nothing            | `_checked` returns that, or raises                                           |
//! | raises an `Exception`                   | `_after_first`, which raises it if that was the last; then `_attempts_of`    |
//! | raises anything else                    | that is raised                                                               |
//!
//! While the attempt runs, a context variable has a list with the `Retry`; afterwards, the same list with None. It is left there: to
//! take it out would cost as much as the rest, and a list with None says that there is no call.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyList, PyTuple};

use super::budget::PyRetryBudget;
use crate::rt::guarded;
use crate::rt::hot::attached_form;
use crate::rt::hot_methods::hot_methods;
use crate::rt::kept::interned;
use crate::rt::late::unmade;
use crate::rt::memory::ListRoom;
use crate::rt::not_run::has_not_run;

/// The first attempts of the calls of a `Retry`.
#[pyclass(frozen, subclass, name = "_FirstAttempts", module = "sluicegate._core")]
#[derive(Debug)]
pub(crate) struct PyFirstAttempts {
    parts: OnceLock<Parts>,
    successes: AtomicU64,
}

#[derive(Debug)]
struct Parts {
    /// The context variable with the call that a thread or task is in.
    current: Py<PyAny>,
    budget: Py<PyRetryBudget>,
    has_deadline: bool,
}

impl PyFirstAttempts {
    fn parts(&self) -> PyResult<&Parts> {
        self.parts.get().ok_or_else(unmade)
    }

    #[inline]
    fn count(&self) {
        // Relaxed: a count orders nothing.
        self.successes.fetch_add(1, Ordering::Relaxed);
    }
}

#[pymethods]
impl PyFirstAttempts {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { parts: OnceLock::new(), successes: AtomicU64::new(0) }
    }

    /// Called once, by `__init__`.
    fn _prepare(&self, current: Py<PyAny>, budget: Py<PyRetryBudget>, has_deadline: bool) {
        let _ = self.parts.set(Parts { current, budget, has_deadline });
    }

    /// Count a call that has succeeded at its first attempt.
    fn _count_first(&self) {
        self.count();
    }

    /// The number of calls that have succeeded at their first attempt.
    #[getter]
    fn _first_successes(&self) -> u64 {
        // Relaxed: as in `count`.
        self.successes.load(Ordering::Relaxed)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(parts) = self.parts.get() else { return Ok(()) };
        visit.call(&parts.current)?;
        visit.call(&parts.budget)
    }
}

/// Raise an exception that has been raised before. Its context stays: `raise` would replace it by what is being handled.
#[pyfunction]
pub(crate) fn _raise_again(error: Bound<'_, PyAny>) -> PyResult<()> {
    Err(PyErr::from_value(error))
}

/// True if a call is in progress here, of which this is the context variable's value.
#[inline]
fn is_call(current: &Bound<'_, PyAny>) -> PyResult<bool> {
    match current.cast_exact::<PyList>() {
        Ok(flag) => Ok(!flag.get_item(0)?.is_none()),
        Err(_) => Ok(!current.is_none()),
    }
}

/// The attempt is over: its list has None, and no errors.
#[inline]
fn end(flag: &Bound<'_, PyList>) -> PyResult<()> {
    flag.set_item(0, flag.py().None())?;
    if flag.len() > 1 { flag.del_slice(1, flag.len()) } else { Ok(()) }
}

fn run<'py>(
    this: &Bound<'py, PyFirstAttempts>,
    function: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    let (py, parts) = (this.py(), this.get().parts()?);
    let current = parts.current.bind(py);
    if parts.has_deadline || is_call(&guarded::value_of(current)?)? {
        return guarded::call_method(this, interned!(py, "_run_in_state"), (function, args, kwargs));
    }
    let mut room = ListRoom::new(py, 1)?;
    room.put(this.as_any().clone())?;
    let flag = room.into_list();
    guarded::set_value(current, &flag)?;
    let attempt = attempt(this, &flag, function, args, kwargs);
    end(&flag)?;
    match attempt? {
        Attempt::Done(result) => {
            this.get().count();
            deposit(parts.budget.bind(py))?;
            Ok(result)
        }
        Attempt::Another { call, wait } => {
            guarded::call_method(this, interned!(py, "_attempts_of"), (call, wait, function, args, kwargs))
        }
    }
}

enum Attempt<'py> {
    Done(Bound<'py, PyAny>),
    /// There is to be another one, after these seconds.
    Another {
        call: Bound<'py, PyAny>,
        wait: Bound<'py, PyAny>,
    },
}

#[inline]
fn attempt<'py>(
    this: &Bound<'py, PyFirstAttempts>,
    flag: &Bound<'py, PyList>,
    function: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: &Bound<'py, PyDict>,
) -> PyResult<Attempt<'py>> {
    let py = this.py();
    match guarded::call_with(function, args, kwargs) {
        Ok(result) if has_not_run(&result)? => {
            guarded::call_method(this, interned!(py, "_checked"), (function, result)).map(Attempt::Done)
        }
        Ok(result) => Ok(Attempt::Done(result)),
        Err(error) if error.is_instance_of::<PyException>(py) => {
            let after = guarded::call_method(this, interned!(py, "_after_first"), (flag, error.into_value(py), function))?;
            let (call, wait) = after.extract()?;
            Ok(Attempt::Another { call, wait })
        }
        Err(error) => Err(error),
    }
}

#[inline]
fn deposit(budget: &Bound<'_, PyRetryBudget>) -> PyResult<()> {
    let (py, core) = (budget.py(), budget.get().core());
    if budget.is_exact_instance_of::<PyRetryBudget>() {
        core.deposit(py);
        return Ok(());
    }
    guarded::call_method(budget, interned!(py, "deposit"), ()).map(drop)
}

hot_methods! {
    pub(crate) fn install() for PyFirstAttempts as "Retry";

    /// Return `function(*args, **kwargs)`, and make further attempts if the first one fails. `Retry.call` does this.
    fn _run(this, function, args, kwargs) {
        guarded true,
        fast: match (args.cast_exact::<PyTuple>(), kwargs.cast_exact::<PyDict>()) {
            (Ok(args), Ok(kwargs)) => attached_form(|py| match run(&this, &function, &args, &kwargs) {
                Ok(result) => Fast::Done(result.unbind()),
                Err(error) => {
                    error.restore(py);
                    Fast::Raised
                }
            }),
            _ => Fast::Declined,
        },
        general: {
            let (args, kwargs) = (args.cast::<PyTuple>()?, kwargs.cast::<PyDict>()?);
            run(this, &function, &args, &kwargs).map(Bound::unbind)
        },
    }
}
