//! What an exception says of a service: that it failed, or nothing. One rule for whatever holds a permit while a call runs.

use std::collections::HashSet;

use pyo3::exceptions::{PyBaseException, PyException, PyTypeError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyFloat, PyInt, PyTuple, PyType};
use sluicegate_core::clock::{MAX_SECONDS, Nanos, nanos};

use super::arguments::{duration, refuse_coroutine_function, text};
use super::exceptions;
use super::guarded;
use super::imported::class_of;
use super::kept::{Kept, interned};

/// Which exceptions are meant.
#[derive(Debug)]
pub(crate) enum Filter {
    Types(Py<PyTuple>),
    Predicate(Py<PyAny>),
}

impl Filter {
    /// An exception class, a tuple of them, or a function.
    pub(crate) fn new(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = value.py();
        let exception = py.get_type::<PyException>();
        let check = |class: &Bound<'_, PyAny>| match class.cast::<PyType>() {
            Ok(class) if class.is_subclass(&exception)? => Ok(()),
            Ok(class) if class.is_subclass_of::<PyBaseException>()? => Err(PyTypeError::new_err(format!(
                "'{name}' must be Exception or a subclass of it, not {}: cancellations and interrupts say nothing about a service",
                text(class)
            ))),
            _ => Err(PyTypeError::new_err(format!(
                "'{name}' must be an exception class, a tuple of them or a function of an exception, not {}",
                text(value)
            ))),
        };
        if let Ok(classes) = value.cast::<PyTuple>() {
            classes.iter().try_for_each(|class| check(&class))?;
            return Ok(Self::Types(classes.clone().unbind()));
        }
        if !value.is_instance_of::<PyType>() && value.is_callable() {
            refuse_coroutine_function(name, value)?;
            return Ok(Self::Predicate(value.clone().unbind()));
        }
        check(value)?;
        Ok(Self::Types(PyTuple::new(py, [value])?.unbind()))
    }

    fn names_class_of(&self, error: &Bound<'_, PyAny>) -> PyResult<bool> {
        match self {
            Self::Types(classes) => error.is_instance(classes.bind(error.py())),
            Self::Predicate(_) => Ok(false),
        }
    }

    fn matches(&self, error: &Bound<'_, PyAny>) -> PyResult<bool> {
        match self {
            Self::Types(_) => self.names_class_of(error),
            Self::Predicate(predicate) => guarded::call_one(predicate.bind(error.py()), error)?.is_truthy(),
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(match self {
            Self::Types(classes) => classes.as_any(),
            Self::Predicate(predicate) => predicate,
        })
    }
}

/// What the server asked for, if the exception says it: those of this package do, and those of some clients.
fn asked_for(error: &Bound<'_, PyAny>) -> Option<Nanos> {
    let asked = error.getattr_opt(interned!(error.py(), "retry_after")).ok().flatten();
    let is_number = |asked: &Bound<'_, PyAny>| asked.is_exact_instance_of::<PyFloat>() || asked.is_exact_instance_of::<PyInt>();
    let asked = match asked {
        Some(asked) if is_number(&asked) => asked,
        None if !has_headers(error) => return None,
        _ => read_by_the_rule(error)?,
    };
    // An int may be larger than any float.
    let seconds = if asked.ge(0).ok()? { asked.extract().unwrap_or(MAX_SECONDS) } else { return None };
    Some(nanos(seconds.min(MAX_SECONDS)))
}

/// True if the exception has a response, or headers, which may say it.
fn has_headers(error: &Bound<'_, PyAny>) -> bool {
    let has = |name| !matches!(error.getattr_opt(name), Ok(None));
    has(interned!(error.py(), "response")) || has(interned!(error.py(), "headers"))
}

/// The same by the rule of Python's objects, for what is no number: a date, a time, the header of a response.
#[cold]
#[inline(never)]
fn read_by_the_rule<'py>(error: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let py = error.py();
    let rule = guarded::import(py, "sluicegate._retry_after").and_then(|module| module.getattr(interned!(py, "retry_after_of")));
    guarded::call_one(&rule.ok()?, error).ok().filter(|asked| !asked.is_none())
}

/// What the server asked for, as a caller reports it: by `retry_after`, or by an exception that has it.
pub(crate) fn reported_retry_after(
    error: Option<&Bound<'_, PyAny>>,
    retry_after: Option<&Bound<'_, PyAny>>,
) -> PyResult<Option<Nanos>> {
    if let Some(error) = error.filter(|error| !error.is_none() && !error.is_instance_of::<PyBaseException>()) {
        let given = text(error);
        let hint = if error.is_instance_of::<PyFloat>() || error.is_instance_of::<PyInt>() {
            format!("; write failure(retry_after={given})")
        } else {
            String::new()
        };
        return Err(PyTypeError::new_err(format!("'error' must be an exception or None, not {given}{hint}")));
    }
    match retry_after.filter(|retry_after| !retry_after.is_none()) {
        Some(retry_after) => Ok(Some(nanos(duration("retry_after", retry_after)?))),
        None => Ok(error.and_then(asked_for)),
    }
}

/// The members, if it is a group of exceptions (Python 3.11, or the backport).
fn members_of<'py>(error: &Bound<'py, PyAny>) -> PyResult<Option<Vec<Bound<'py, PyAny>>>> {
    static GROUP: Kept<PyType> = Kept::new();
    static BACKPORT: Kept<PyType> = Kept::new();
    let py = error.py();
    for (cell, module) in [(&GROUP, "builtins"), (&BACKPORT, "exceptiongroup")] {
        if let Some(class) = class_of(py, cell, module, "BaseExceptionGroup")? {
            if error.is_instance(class)? {
                return error.getattr(interned!(py, "exceptions"))?.extract().map(Some);
            }
        }
    }
    Ok(None)
}

/// More groups than this are not looked into.
const MOST_GROUPS: usize = 10_000;

/// The groups that have been looked into. A subclass may say that it contains itself, or another one without end.
#[derive(Default)]
struct Groups<'py> {
    seen: HashSet<usize>,
    /// Kept, so that no other one gets the address of one of them.
    kept: Vec<Bound<'py, PyAny>>,
}

impl<'py> Groups<'py> {
    /// As the function of that name, without the members of a group that has been looked into.
    fn members_of(&mut self, error: &Bound<'py, PyAny>) -> PyResult<Option<Vec<Bound<'py, PyAny>>>> {
        let Some(members) = members_of(error)? else { return Ok(None) };
        let is_new = self.kept.len() < MOST_GROUPS && self.seen.insert(error.as_ptr().addr());
        if is_new {
            self.kept.push(error.clone());
        }
        Ok(Some(if is_new { members } else { Vec::new() }))
    }
}

/// A future's cancellation is an `Exception`, where asyncio's is none.
fn is_cancelled(error: &Bound<'_, PyAny>) -> PyResult<bool> {
    static CANCELLED: Kept<PyType> = Kept::new();
    let class = class_of(error.py(), &CANCELLED, "concurrent.futures", "CancelledError")?;
    class.map_or(Ok(false), |class| error.is_instance(class))
}

/// The exceptions that one exception stands for, for objects that are written in Python: the members of a group, as `verdict` looks at them, or
/// the exception itself. Cancellations, and whatever else is no `Exception`, are left out.
#[pyfunction]
pub(crate) fn _leaves<'py>(error: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let mut leaves = Vec::new();
    let (mut left, mut seen) = (vec![error.clone()], Groups::default());
    while let Some(error) = left.pop() {
        if let Some(members) = seen.members_of(&error)? {
            left.extend(members.into_iter().rev());
        } else if error.is_instance_of::<PyException>() && !is_cancelled(&error)? {
            leaves.push(error);
        }
    }
    Ok(leaves)
}

/// What an exception comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It says nothing about the service.
    Nothing,
    Failure {
        /// What the server asked for.
        retry_after: Option<Nanos>,
    },
    /// It is no failure.
    Other,
}

/// What the exception of a call comes to. A group of exceptions is what its members come to: one failure is enough, and if none of them says
/// anything about the service, neither does the group.
pub(crate) fn verdict(error: &Bound<'_, PyAny>, failure: &Filter, ignore: Option<&Filter>) -> PyResult<Verdict> {
    let (mut says_something, mut has_failed, mut retry_after) = (false, false, None);
    let (mut left, mut seen) = (vec![error.clone()], Groups::default());
    while let Some(error) = left.pop() {
        if let Some(members) = seen.members_of(&error)? {
            // The group's own class is looked at too; functions are called with its members alone.
            if !ignore.map_or(Ok(false), |ignore| ignore.names_class_of(&error))? {
                has_failed |= failure.names_class_of(&error)?;
                left.extend(members);
            }
        } else if !says_nothing(&error, ignore)? {
            says_something = true;
            if failure.matches(&error)? {
                has_failed = true;
                retry_after = retry_after.max(asked_for(&error));
            }
        }
    }
    Ok(match (says_something, has_failed) {
        (false, _) => Verdict::Nothing,
        (true, true) => Verdict::Failure { retry_after },
        (true, false) => Verdict::Other,
    })
}

fn says_nothing(error: &Bound<'_, PyAny>, ignore: Option<&Filter>) -> PyResult<bool> {
    Ok(!error.is_instance_of::<PyException>()
        || exceptions::is_refused(error.py(), error)
        || is_cancelled(error)?
        || ignore.map_or(Ok(false), |ignore| ignore.matches(error))?)
}
