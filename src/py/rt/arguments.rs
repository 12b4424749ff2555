//! Checks of arguments, and the representation of values in messages.

use pyo3::conversion::FromPyObjectOwned;
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyCode, PyDict, PyFloat, PyInt, PyTuple, PyType};
use sluicegate_core::clock::{MAX_SECONDS, Nanos, nanos};

use crate::rt::guarded;
use crate::rt::imported::{class_of, imported};
use crate::rt::kept::{Kept, interned};

/// An `int` with more digits than this is not written out in a message.
const MOST_DIGITS: usize = 40;
/// The number of its digits that are.
const SHOWN_DIGITS: usize = 20;

/// The flags of a code object, as the module `inspect` names them.
const CO_GENERATOR: u32 = 0x20;
const CO_COROUTINE: u32 = 0x80;
const CO_ITERABLE_COROUTINE: u32 = 0x100;
const CO_ASYNC_GENERATOR: u32 = 0x200;

/// How long an operation may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timeout {
    Never,
    Forever,
    Within(f64),
}

impl Timeout {
    /// So many seconds, a valid number of them; infinite for no limit.
    #[inline]
    pub(crate) fn of_valid(seconds: f64) -> Self {
        match seconds {
            0.0 => Self::Never,
            f64::INFINITY => Self::Forever,
            seconds => Self::Within(seconds),
        }
    }

    /// It allows no waiting.
    pub(crate) fn is_over_at_once(self) -> bool {
        match self {
            Self::Never => true,
            Self::Forever => false,
            Self::Within(seconds) => seconds <= 0.0,
        }
    }

    /// The request of an operation, for the message of a refusal.
    pub(crate) fn asked(self, operation: &str) -> String {
        match self {
            Self::Forever => operation.to_owned(),
            Self::Within(seconds) if seconds > 0.0 => format!("{operation} with timeout={seconds}"),
            Self::Never | Self::Within(_) => format!("{operation} without waiting"),
        }
    }

    /// The standard library's `timeout` argument, with its errors, and NaN refused (there it makes `get` spin for ever).
    pub(crate) fn parse(timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(timeout) = timeout.filter(|timeout| !timeout.is_none()) else { return Ok(Self::Forever) };
        let number = in_seconds(timeout)?;
        if number.lt(0)? {
            return Err(PyValueError::new_err(format!("'timeout' must be a non-negative number, not {}", text(timeout))));
        }
        let seconds: f64 = number.extract()?;
        if seconds.is_nan() {
            return Err(PyValueError::new_err("'timeout' must be a non-negative number, not nan"));
        }
        Ok(if seconds == 0.0 { Self::Never } else { Self::Within(seconds) })
    }

    /// The stricter check of methods that the standard library does not have: every invalid value is refused before anything is done.
    pub(crate) fn parse_strict(name: &str, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        match timeout.filter(|timeout| !timeout.is_none()) {
            None => Ok(Self::Forever),
            Some(timeout) => duration(name, timeout).map(Self::of_valid),
        }
    }

    /// The timeout in nanoseconds. Called only when the operation has to wait.
    pub(crate) fn limit(self) -> PyResult<Option<Nanos>> {
        match self {
            Self::Never => Ok(Some(0)),
            Self::Forever => Ok(None),
            Self::Within(seconds) if seconds <= MAX_SECONDS => Ok(Some(nanos(seconds))),
            Self::Within(seconds) => Err(PyOverflowError::new_err(format!(
                "timestamp out of range: 'timeout' is {seconds} seconds, and the maximum is {MAX_SECONDS}"
            ))),
        }
    }
}

/// Converts an integer of another type, for example NumPy's, to an `int`. Returns anything else unchanged.
pub(crate) fn as_int<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if value.is_instance_of::<PyInt>() || value.is_instance_of::<PyFloat>() {
        return Ok(value.clone());
    }
    match value.get_type().getattr_opt(interned!(value.py(), "__index__"))? {
        Some(index) => index.call1((value,)),
        None => Ok(value.clone()),
    }
}

/// Converts a `timedelta` to seconds. Handles anything else as [`as_int`] does.
pub(crate) fn in_seconds<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static TIMEDELTA: Kept<PyType> = Kept::new();
    let number = as_int(value)?;
    if number.is_instance_of::<PyInt>() || number.is_instance_of::<PyFloat>() {
        return Ok(number);
    }
    match class_of(value.py(), &TIMEDELTA, "datetime", "timedelta")? {
        Some(class) if value.is_instance(class)? => value.call_method0(interned!(value.py(), "total_seconds")),
        _ => Ok(number),
    }
}

/// Extracts a finite number of seconds, not negative and not too large. `name` is the argument, for messages.
pub(crate) fn duration(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    let number = in_seconds(value)?;
    if number.is_instance_of::<PyBool>() || !(number.is_instance_of::<PyFloat>() || number.is_instance_of::<PyInt>()) {
        return Err(PyTypeError::new_err(format!(
            "'{name}' must be a number of seconds (int, float or timedelta), not {} ({})",
            text(value),
            type_name(value)
        )));
    }
    let seconds: f64 = number.extract().map_err(|_| {
        PyOverflowError::new_err(format!("'{name}' is {} seconds, and the maximum is {MAX_SECONDS}", text(value)))
    })?;
    if !seconds.is_finite() || seconds < 0.0 {
        let value = text(value);
        return Err(PyValueError::new_err(format!("'{name}' must be a finite number of seconds and not negative, got {value}")));
    }
    if seconds > MAX_SECONDS {
        return Err(PyOverflowError::new_err(format!("'{name}' is {} seconds, and the maximum is {MAX_SECONDS}", text(value))));
    }
    Ok(seconds)
}

/// Keys and values.
type Pairs<'py, K> = Vec<(K, Bound<'py, PyAny>)>;

/// The keys and values of a mapping. `None` for any other object.
pub(crate) fn pairs<'py, K: FromPyObjectOwned<'py>>(value: &Bound<'py, PyAny>) -> PyResult<Option<Pairs<'py, K>>> {
    static MAPPING: Kept<PyType> = Kept::new();
    let py = value.py();
    if !value.is_instance_of::<PyDict>() && !value.is_instance(imported(py, &MAPPING, "collections.abc", "Mapping")?)? {
        return Ok(None);
    }
    let pairs = value.call_method0(interned!(py, "items"))?;
    pairs.try_iter()?.map(|pair| pair?.extract()).collect::<PyResult<_>>().map(Some)
}

/// A time to live, in nanoseconds, above zero.
pub(crate) fn ttl(value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Nanos>> {
    let Some(value) = value.filter(|value| !value.is_none()) else { return Ok(None) };
    match duration("ttl", value)? {
        seconds if seconds > 0.0 => Ok(Some(nanos(seconds).max(1))),
        _ => Err(PyValueError::new_err(format!("'ttl' must be greater than 0, got {}", text(value)))),
    }
}

/// As `duration`, for objects that are written in Python.
#[pyfunction]
pub(crate) fn _duration(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    duration(name, value)
}

/// Refuses a coroutine function where the function is called and not awaited: it would never run, and as an answer its coroutine is true.
/// Generator functions are refused for the same reason, and so are objects whose `__call__` only says what to write instead, as that of a
/// keyed limit does: its error would come when the function is called for the first time.
pub(crate) fn refuse_coroutine_function(name: &str, function: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = function.py();
    // (An object that makes up its attributes, as the proxy of a server, has no code.)
    let code = function.getattr_opt(interned!(py, "__code__"))?.filter(PyAnyMethods::is_instance_of::<PyCode>);
    let kind = if let Some(code) = code {
        match code.getattr(interned!(py, "co_flags"))?.extract::<u32>()? {
            flags if flags & (CO_COROUTINE | CO_ITERABLE_COROUTINE) != 0 => "coroutine",
            flags if flags & (CO_GENERATOR | CO_ASYNC_GENERATOR) != 0 => "generator",
            _ => return Ok(()),
        }
    } else {
        // A partial, an object with `__call__`, or something in C.
        let inspect = guarded::import(py, "inspect")?;
        let call = function.getattr(interned!(py, "__call__"))?;
        if call.getattr_opt(interned!(py, "_refuses"))?.is_some_and(|refuses| refuses.is(PyBool::new(py, true))) {
            return Err(PyTypeError::new_err(format!("'{name}' must be a function, not {}", text(function))));
        }
        let mut found = None;
        for each in [function, &call] {
            for (question, kind) in [
                (interned!(py, "iscoroutinefunction"), "coroutine"),
                (interned!(py, "isgeneratorfunction"), "generator"),
                (interned!(py, "isasyncgenfunction"), "generator"),
            ] {
                if found.is_none() && inspect.call_method1(question, (each,))?.is_truthy()? {
                    found = Some(kind);
                }
            }
        }
        let Some(kind) = found else { return Ok(()) };
        kind
    };
    let given = text(function);
    Err(PyTypeError::new_err(format!("'{name}' must be an ordinary function, not the {kind} function {given}")))
}

/// As `refuse_coroutine_function`, for objects that are written in Python.
#[pyfunction]
pub(crate) fn _refuse_coroutine_function(name: &str, function: &Bound<'_, PyAny>) -> PyResult<()> {
    refuse_coroutine_function(name, function)
}

/// A flag, as Python's own functions accept it: any object with a truth value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Truth(pub(crate) bool);

impl<'a, 'py> FromPyObject<'a, 'py> for Truth {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        value.is_truthy().map(Self)
    }
}

/// Refuses what is not an integer of at least `least`, by the name of its argument.
pub(crate) fn at_least(name: &str, value: &Bound<'_, PyAny>, least: u64) -> PyResult<()> {
    let value = &as_int(value)?;
    if value.is_instance_of::<PyBool>() || !value.is_instance_of::<PyInt>() {
        return Err(PyTypeError::new_err(format!(
            "'{name}' must be an int of at least {least}, not {} ({})",
            text(value),
            type_name(value)
        )));
    }
    if value.lt(least)? {
        return Err(PyValueError::new_err(format!("'{name}' must be at least {least}, not {}", text(value))));
    }
    Ok(())
}

/// Extracts a count of at least one. `name` is the argument, for messages.
pub(crate) fn positive(name: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    at_least(name, value, 1)?;
    // More than fits in memory is as good as no limit.
    Ok(value.extract().unwrap_or(usize::MAX))
}

/// Extracts a finite number that is not negative. `name` is the argument, for messages.
pub(crate) fn number(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    let value = &as_int(value)?;
    if value.is_instance_of::<PyBool>() || !(value.is_instance_of::<PyFloat>() || value.is_instance_of::<PyInt>()) {
        let (value, kind) = (text(value), type_name(value));
        return Err(PyTypeError::new_err(format!("'{name}' must be an int or float, not {value} ({kind})")));
    }
    let Ok(number) = value.extract::<f64>() else {
        return Err(PyOverflowError::new_err(format!("'{name}' is too large: {}", text(value))));
    };
    if !number.is_finite() || number < 0.0 {
        return Err(PyValueError::new_err(format!("'{name}' must be finite and not negative, got {}", text(value))));
    }
    Ok(number)
}

/// Extracts a finite number above zero. `name` is the argument, for messages.
pub(crate) fn positive_number(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    match number(name, value)? {
        number if number > 0.0 => Ok(number),
        _ => Err(PyValueError::new_err(format!("'{name}' must be greater than zero, got {}", text(value)))),
    }
}

/// Extracts a share of a whole: above zero, and at most all of it. `name` is the argument, for messages.
pub(crate) fn share(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    match number(name, value)? {
        share if share > 0.0 && share <= 1.0 => Ok(share),
        percent if (2.0..=100.0).contains(&percent) => Err(PyValueError::new_err(format!(
            "'{name}' must be greater than 0 and at most 1, got {}: for {percent} percent write {}",
            text(value),
            percent / 100.0
        ))),
        _ => Err(PyValueError::new_err(format!("'{name}' must be greater than 0 and at most 1, got {}", text(value)))),
    }
}

/// Extracts a time of at least a nanosecond. `name` is the argument, for messages.
pub(crate) fn positive_time(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Nanos> {
    match nanos(duration(name, value)?) {
        0 => Err(PyValueError::new_err(format!("'{name}' must be at least a nanosecond, got {}", text(value)))),
        time => Ok(time),
    }
}

/// A time in seconds, rounded up, so that a caller that waits for it does not come too early; infinite for never.
pub(crate) fn seconds_to_wait(time: Nanos) -> f64 {
    if time == Nanos::MAX {
        return f64::INFINITY;
    }
    let seconds = sluicegate_core::clock::seconds(time);
    if sluicegate_core::clock::nanos(seconds.min(MAX_SECONDS)) < time { f64::from_bits(seconds.to_bits() + 1) } else { seconds }
}

/// The representation of an argument, for a message. Of a long `int` only the beginning and the number of its digits.
pub(crate) fn text(value: &Bound<'_, PyAny>) -> String {
    let text = value.repr().map_or_else(|_| "<unprintable>".to_owned(), |text| text.to_string_lossy().into_owned());
    let digits = text.trim_start_matches('-');
    if digits.len() <= MOST_DIGITS || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return text;
    }
    let count = digits.len();
    format!("{}... ({count} digits)", &text[..text.len() - count + SHOWN_DIGITS])
}

pub(crate) fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string())
}

/// An argument that distinguishes an explicit None from a missing argument.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Argument<'a, 'py>(Option<Borrowed<'a, 'py, PyAny>>);

impl<'py> Argument<'_, 'py> {
    pub(crate) const MISSING: Self = Self(None);

    pub(crate) fn given(&self) -> Option<&Bound<'py, PyAny>> {
        self.0.as_deref()
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Argument<'a, 'py> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self(Some(object)))
    }
}

/// The argument `name`.
pub(crate) fn name_argument<'py>(name: Option<&Bound<'py, PyAny>>) -> PyResult<Option<Bound<'py, PyAny>>> {
    match name.filter(|name| !name.is_none()) {
        None => Ok(None),
        Some(name) if name.is_instance_of::<pyo3::types::PyString>() => Ok(Some(name.clone())),
        Some(name) => Err(PyTypeError::new_err(format!("'name' must be a str or None, not {}", text(name)))),
    }
}

/// What a constructor raises that takes keywords only, said as Python says it. `hint` says what to write instead.
pub(crate) fn surplus(class: &str, args: &Bound<'_, PyTuple>, hint: &str) -> PyErr {
    let given = match args.len() {
        1 => "1 was".to_owned(),
        given => format!("{given} were"),
    };
    PyTypeError::new_err(format!("{class}() takes 0 positional arguments but {given} given{hint}"))
}
