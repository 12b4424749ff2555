//! The arguments of `CircuitBreaker` and `KeyedBreaker`: the same ones, all of them keyword-only, each checked when the object is made.

use pyo3::exceptions::{PyException, PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyTuple};
use sluicegate_core::breaker::Rules;
use sluicegate_core::clock::{Nanos, nanos};

use super::judge::Judge;
use crate::rt::arguments::{positive, positive_time, refuse_coroutine_function, share, surplus, text};
use crate::rt::class::Common;
use crate::rt::failures::Filter;

const NAMES: [&str; 17] = [
    "failure_rate",
    "window",
    "min_calls",
    "run",
    "slow_after",
    "slow_rate",
    "open_for",
    "open_for_max",
    "probes",
    "probe_timeout",
    "failure",
    "ignore",
    "on_change",
    "calls",
    "metrics_only",
    "clock",
    "name",
];

/// More results than this are no window.
const MOST_CALLS: usize = 1_000_000;

/// What the arguments come to.
pub(super) struct Options {
    pub(super) rules: Rules,
    pub(super) judge: Judge,
    pub(super) common: Common,
}

/// The arguments that were given.
struct Given<'a, 'py>(&'a Bound<'py, PyDict>);

impl<'py> Given<'_, 'py> {
    fn get(&self, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.0.get_item(name)
    }

    /// The same, with None as if nothing were given.
    fn some(&self, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.get(name)?.filter(|value| !value.is_none()))
    }

    fn time(&self, name: &str, otherwise: Nanos) -> PyResult<Nanos> {
        self.get(name)?.map_or(Ok(otherwise), |value| positive_time(name, &value))
    }

    fn count(&self, name: &str, otherwise: u64) -> PyResult<u64> {
        self.get(name)?.map_or(Ok(otherwise), |value| Ok(positive(name, &value)? as u64))
    }

    /// A share of calls: above zero, and at most all of them.
    fn share(&self, name: &str, otherwise: f64) -> PyResult<f64> {
        self.get(name)?.map_or(Ok(otherwise), |value| share(name, &value))
    }
}

impl Options {
    /// `class` is for messages; it has the arguments `more` too.
    pub(super) fn new(py: Python<'_>, class: &str, more: &[&str], given: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let none = PyDict::new(py);
        let given = given.unwrap_or(&none);
        for name in given.keys() {
            let name: String = name.extract()?;
            if !NAMES.contains(&name.as_str()) && !more.contains(&name.as_str()) {
                let hint = if name == "on" { "; did you mean 'failure'?" } else { "" };
                return Err(PyTypeError::new_err(format!("{class}() got an unexpected keyword argument '{name}'{hint}")));
            }
        }
        let given = Given(given);
        Ok(Self {
            rules: rules(&given)?,
            judge: judge(py, &given)?,
            common: Common::new(py, given.get("name")?.as_ref(), given.get("clock")?.as_ref())?,
        })
    }
}

fn rules(given: &Given<'_, '_>) -> PyResult<Rules> {
    let calls = match given.some("calls")? {
        None => None,
        Some(calls) => match positive("calls", &calls)? {
            size if size <= MOST_CALLS => Some(size),
            _ => return Err(PyOverflowError::new_err(format!("'calls' is {}, and the maximum is {MOST_CALLS}", text(&calls)))),
        },
    };
    let least = calls.map_or(20, |calls| 20.min(calls as u64));
    let min_calls = given.count("min_calls", least)?;
    if let Some(calls) = calls.filter(|&calls| min_calls > calls as u64) {
        return Err(PyValueError::new_err(format!(
            "'min_calls' must be at most 'calls', which is {calls}, not {min_calls}: the window would never have enough results"
        )));
    }
    let run = match given.get("run")? {
        None => Some(5),
        Some(run) if run.is_none() => None,
        Some(run) => Some(positive("run", &run)? as u64),
    };
    let open_for = given.time("open_for", nanos(5.0))?;
    let open_for_max = given.time("open_for_max", nanos(60.0).max(open_for))?;
    if open_for_max < open_for {
        let [most, least] = ["open_for_max", "open_for"].map(|name| given.get(name));
        let text_of = |value: Option<Bound<'_, PyAny>>| value.map_or_else(|| "5.0".to_owned(), |value| text(&value));
        let (most, least) = (text_of(most?), text_of(least?));
        return Err(PyValueError::new_err(format!("'open_for_max' must be at least 'open_for', which is {least}, not {most}")));
    }
    let slow_rate = given.share("slow_rate", 0.8)?;
    if given.get("slow_rate")?.is_some() && given.get("slow_after")?.is_none() {
        return Err(PyValueError::new_err("'slow_rate' needs 'slow_after': give the seconds from which a call is slow"));
    }
    Ok(Rules {
        failure_rate: given.share("failure_rate", 0.5)?,
        window: given.time("window", nanos(10.0))?,
        min_calls,
        run,
        slow_after: given.some("slow_after")?.map(|value| positive_time("slow_after", &value)).transpose()?,
        slow_rate,
        open_for,
        open_for_max,
        probes: given.count("probes", 3)?,
        probe_timeout: given.time("probe_timeout", nanos(30.0))?,
        calls,
        metrics_only: given.get("metrics_only")?.map_or(Ok(false), |value| flag("metrics_only", &value))?,
    })
}

/// True or False: a text such as "no" would count as true.
fn flag(name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let flag = value.cast::<PyBool>().map(PyBoolMethods::is_true);
    flag.map_err(|_| PyTypeError::new_err(format!("'{name}' must be True or False, got {}", text(value))))
}

fn judge(py: Python<'_>, given: &Given<'_, '_>) -> PyResult<Judge> {
    let failure = match given.get("failure")? {
        Some(failure) if failure.cast::<PyTuple>().is_ok_and(PyTupleMethods::is_empty) => {
            return Err(PyValueError::new_err("'failure' must name at least one exception, not ()"));
        }
        Some(failure) => Filter::new("failure", &failure)?,
        None => Filter::new("failure", py.get_type::<PyException>().as_any())?,
    };
    let ignore = match given.get("ignore")? {
        Some(ignore) => Filter::new("ignore", &ignore)?,
        None => Filter::new("ignore", PyTuple::empty(py).as_any())?,
    };
    let on_change = given.some("on_change")?;
    if let Some(on_change) = on_change.as_ref().filter(|on_change| !on_change.is_callable()) {
        return Err(PyTypeError::new_err(format!("'on_change' must be a function or None, not {}", text(on_change))));
    }
    on_change.as_ref().map_or(Ok(()), |on_change| refuse_coroutine_function("on_change", on_change))?;
    Ok(Judge { failure, ignore, on_change: on_change.map(Bound::unbind) })
}

/// The argument `for_`: a time, or None.
pub(super) fn lasting(for_: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Nanos>> {
    for_.filter(|for_| !for_.is_none()).map(|for_| positive_time("for_", for_)).transpose()
}

/// A constructor that takes keywords only, said as Python says it, and what to write instead.
pub(super) fn refuse_args(class: &str, args: &Bound<'_, PyTuple>) -> PyResult<()> {
    let Ok(first) = args.get_item(0) else { return Ok(()) };
    let hint = match class {
        "CircuitBreaker" if first.is_callable() => "; to decorate a function, write `@CircuitBreaker()`, with parentheses",
        _ if first.is_callable() => "; to decorate a function, write `@breakers.by(key=...)`, of a KeyedBreaker made before",
        _ => "; give all options by name, as in `failure_rate=0.5`",
    };
    Err(surplus(class, args, hint))
}
