//! The rules by which what has waited too long is given up, as Python says them: `CoDel` and `AdaptiveLifo`.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use sluicegate_core::clock::{Nanos, nanos, seconds};
use sluicegate_core::shed::{AdaptiveLifo, Codel, Shed};

use super::arguments::{self, text};

/// The two times of a rule that sheds items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Times {
    target: Nanos,
    interval: Nanos,
}

impl Times {
    fn new(target: Option<&Bound<'_, PyAny>>, interval: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let time = |name, value: Option<&Bound<'_, PyAny>>, otherwise: f64| match value {
            None => Ok(nanos(otherwise)),
            Some(value) => match arguments::duration(name, value)? {
                time if time > 0.0 => Ok(nanos(time).max(1)),
                _ => Err(PyValueError::new_err(format!("'{name}' must be greater than 0, got {}", text(value)))),
            },
        };
        let (target, interval) = (time("target", target, 0.005)?, time("interval", interval, 0.1)?);
        if target > interval {
            let (target, interval) = (seconds(target), seconds(interval));
            return Err(PyValueError::new_err(format!(
                "'target' must not be greater than 'interval': {target:?} is greater than {interval:?}"
            )));
        }
        Ok(Self { target, interval })
    }

    fn describe(self, name: &str) -> String {
        format!("{name}(target={:?}, interval={:?})", seconds(self.target), seconds(self.interval))
    }
}

macro_rules! rule {
    ($(#[doc = $doc:literal])* $class:ident as $name:literal) => {
        $(#[doc = $doc])*
        #[pyclass(frozen, eq, hash, name = $name, module = "sluicegate")]
        #[derive(Debug, PartialEq, Eq, Hash)]
        pub(crate) struct $class(Times);

        #[pymethods]
        impl $class {
            #[new]
            #[pyo3(signature = (target = None, interval = None), text_signature = "(target=0.005, interval=0.1)")]
            fn new(target: Option<&Bound<'_, PyAny>>, interval: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
                Times::new(target, interval).map(Self)
            }

            /// How long an item may wait, in seconds.
            #[getter]
            fn target(&self) -> f64 {
                seconds(self.0.target)
            }

            /// For how long that is looked at, in seconds.
            #[getter]
            fn interval(&self) -> f64 {
                seconds(self.0.interval)
            }

            fn __repr__(&self) -> String {
                self.0.describe($name)
            }

            fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyAny>, (f64, f64)) {
                (slf.get_type().into_any(), (slf.get().target(), slf.get().interval()))
            }
        }
    };
}

rule! {
    /// A rule by which a queue drops items that have waited too long: CoDel, Controlled Delay (RFC 8289).
    ///
    /// If every item taken in the course of `interval` seconds has waited for `target` seconds or longer, items are dropped instead of being
    /// delivered: one, the next after `interval`, then `interval / sqrt(2)` later, and so on, until an item has waited for less. The
    /// last item in a queue is never dropped. The constants are the RFC's. It is for senders that slow down when their items are
    /// dropped; senders that do not react need `AdaptiveLifo`, a `ttl` or a smaller queue. Raises ValueError for a time that is not
    /// positive, or a target above the interval.
    PyCodel as "CoDel"
}

rule! {
    /// A rule by which a queue drops items that have waited too long: adaptive LIFO with short timeouts, as in B. Maurer, "Fail at Scale",
    /// ACM Queue 13(8), 2015.
    ///
    /// While the queue has been empty within the last `interval` seconds, items leave in order and may wait for `interval`
    /// seconds. A queue that has not been empty for so long gives the newest item first, and an item that comes then may wait
    /// for `target` seconds only. The constants are the article's. Raises ValueError for a time that is not positive, or a target
    /// above the interval.
    PyAdaptiveLifo as "AdaptiveLifo"
}

/// The rule, for a new queue or line.
pub(crate) fn parse(rule: &Bound<'_, PyAny>) -> PyResult<Shed> {
    if let Ok(codel) = rule.cast::<PyCodel>() {
        Ok(Shed::Codel(codel.get().rule()))
    } else if let Ok(lifo) = rule.cast::<PyAdaptiveLifo>() {
        let Times { target, interval } = lifo.get().0;
        Ok(Shed::AdaptiveLifo(AdaptiveLifo::new(target, interval, 0)))
    } else {
        Err(PyTypeError::new_err(format!("'shed' must be a CoDel or an AdaptiveLifo, not {}", text(rule))))
    }
}

impl PyCodel {
    pub(crate) fn rule(&self) -> Codel {
        let Times { target, interval } = self.0;
        Codel::new(target, interval)
    }
}
