//! Keyword-only parameters, and errors that suggest what to write instead of a wrong argument.
//!
//! A function that uses this has `*more` and `**unknown` beside its parameters, and checks them here first.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::rt::arguments::{Argument, text};

/// Names that other libraries use for a parameter, with our name.
type Synonyms = &'static [(&'static [&'static str], &'static str)];

/// A callable whose second parameter is keyword-only.
pub(super) struct Keywords {
    /// The name in messages: `TokenBucket` or `set_rate`.
    pub(super) function: &'static str,
    /// The positional parameters, in order.
    pub(super) positional: &'static [&'static str],
    /// The keywords that a surplus positional argument may have been meant for, the likeliest first.
    pub(super) meant: &'static [(&'static str, &'static str)],
    pub(super) synonyms: Synonyms,
}

impl Keywords {
    /// Raises for surplus positional arguments and unknown keywords.
    pub(super) fn refuse(
        &self,
        first: Option<&Bound<'_, PyAny>>,
        more: &Bound<'_, PyTuple>,
        unknown: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let function = self.function;
        if let Ok(second) = more.get_item(0) {
            let (takes, given) = (self.positional.len(), self.positional.len() + more.len());
            let (first, second) = (first.map_or_else(|| "...".to_owned(), text), text(&second));
            let plural = if takes == 1 { "" } else { "s" };
            let mut meant = self.meant.iter();
            let hint = meant.next().map_or_else(String::new, |(keyword, _)| {
                format!("; if {second} is the {keyword}, write {function}({first}, {keyword}={second})")
            });
            let rest: Vec<_> = meant.map(|(keyword, what)| format!("; if it is {what}, write {keyword}={second}")).collect();
            let rest = rest.concat();
            return Err(PyTypeError::new_err(format!(
                "{function}() takes {takes} positional argument{plural} but {given} were given{hint}{rest}"
            )));
        }
        let Some(name) = unknown.and_then(|unknown| unknown.keys().get_item(0).ok()) else { return Ok(()) };
        let name: String = name.extract()?;
        let synonym = self.synonyms.iter().find(|(others, _)| others.contains(&name.as_str()));
        let hint = synonym.map_or_else(String::new, |(_, ours)| format!("; it is called {ours} here"));
        Err(PyTypeError::new_err(format!("{function}() got an unexpected keyword argument '{name}'{hint}")))
    }

    /// A required parameter.
    pub(super) fn required<'a, 'py>(&self, name: &str, value: &'a Argument<'_, 'py>) -> PyResult<&'a Bound<'py, PyAny>> {
        value.given().ok_or_else(|| {
            let kind = if self.positional.contains(&name) { "" } else { "keyword-only " };
            PyTypeError::new_err(format!("{}() missing 1 required {kind}argument: '{name}'", self.function))
        })
    }
}

const PERIOD: (&[&str], &str) = (&["time_period", "per", "interval", "window", "duration", "seconds"], "'period'");
const RATE: (&[&str], &str) = (&["max_rate", "refill_rate", "fill_rate", "limit", "calls", "rate_limit"], "'rate'");
const BURST: (&[&str], &str) =
    (&["capacity", "size", "max_tokens", "max_burst", "bucket_size", "max_size", "maximum"], "'burst'");
const CAPACITY: (&[&str], &str) = (&["burst", "max_waiters", "max_queue", "queue_size", "size", "maxsize"], "'capacity'");
const PERIOD_MEANT: (&str, &str) = ("period", "the length of time that the rate refers to");

pub(super) const TOKEN_BUCKET: Keywords = Keywords {
    function: "TokenBucket",
    positional: &["rate"],
    meant: &[("burst", ""), PERIOD_MEANT],
    synonyms: &[BURST, RATE, PERIOD, (&["tokens", "start", "initial_tokens"], "'initial'")],
};

pub(super) const LEAKY_BUCKET: Keywords = Keywords {
    function: "LeakyBucket",
    positional: &["rate"],
    meant: &[("capacity", ""), PERIOD_MEANT],
    synonyms: &[CAPACITY, RATE, PERIOD],
};

pub(super) const SLIDING_WINDOW: Keywords = Keywords {
    function: "SlidingWindow",
    positional: &["limit", "period"],
    meant: &[],
    synonyms: &[(&["rate", "max_rate", "burst", "capacity", "calls", "n"], "'limit'"), PERIOD],
};

pub(super) const KEYED_TOKEN_BUCKET: Keywords = Keywords {
    function: "KeyedTokenBucket",
    positional: &["rate"],
    meant: &[("burst", ""), PERIOD_MEANT],
    synonyms: &[BURST, RATE, PERIOD, MAX_KEYS],
};

const MAX_KEYS: (&[&str], &str) = (&["max_size", "maxsize", "keys", "max_entries"], "'max_keys'");

pub(super) const KEYED_LEAKY_BUCKET: Keywords = Keywords {
    function: "KeyedLeakyBucket",
    positional: &["rate"],
    meant: &[("capacity", ""), PERIOD_MEANT],
    synonyms: &[CAPACITY, RATE, PERIOD, MAX_KEYS],
};

pub(super) const KEYED_SLIDING_WINDOW: Keywords = Keywords {
    function: "KeyedSlidingWindow",
    positional: &["limit", "period"],
    meant: &[],
    synonyms: &[(&["rate", "max_rate", "burst", "capacity", "calls", "n"], "'limit'"), PERIOD, MAX_KEYS],
};

pub(super) const UNLIMITED_RATE: Keywords = Keywords { function: "UnlimitedRate", positional: &[], meant: &[], synonyms: &[] };

pub(super) const ZERO_RATE: Keywords = Keywords { function: "ZeroRate", positional: &[], meant: &[], synonyms: &[] };

/// `set_rate` of a bucket and of a key.
pub(super) const SET_RATE: Keywords =
    Keywords { function: "set_rate", positional: &["rate"], meant: &[("burst", "")], synonyms: &[BURST, RATE] };

pub(super) const SET_LEAKY_RATE: Keywords =
    Keywords { function: "set_rate", positional: &["rate"], meant: &[("capacity", "")], synonyms: &[CAPACITY, RATE] };
