//! The law of `AdaptiveRate`, which is written in Python around a token bucket.

use pyo3::prelude::*;
use sluicegate_core::adaptive::cubic::{Cubic, Rules};
use sluicegate_core::clock::{Nanos, nanos, seconds};
use sluicegate_core::section::Section;

use crate::rt::domain::Attached;

/// The rate that a service can sustain, found by its refusals. Times are those of a monotonic clock, in seconds.
#[pyclass(frozen, name = "CubicRate", module = "sluicegate._core")]
#[derive(Debug)]
pub(crate) struct PyCubicRate(Section<Cubic, Attached>);

fn at(time: f64) -> Nanos {
    nanos(time.max(0.0))
}

#[pymethods]
impl PyCubicRate {
    #[new]
    fn new(min: f64, max: f64, decrease: f64, scale: f64, now: f64) -> Self {
        Self(Section::new(Cubic::new(Rules { min, max, decrease, scale }, at(now))))
    }

    fn succeeded(&self, py: Python<'_>, now: f64) {
        self.0.with(py, |law| law.succeeded(at(now)));
    }

    fn throttled(&self, py: Python<'_>, began: f64, now: f64) {
        self.0.with(py, |law| law.throttled(at(began), at(now)));
    }

    fn configure(&self, py: Python<'_>, max: f64) {
        self.0.with(py, |law| law.configure(max));
    }

    /// The rate now, the configured rate, the number of cuts, and in how many seconds after a cut at this rate it is reached again.
    fn seen(&self, py: Python<'_>) -> (f64, f64, u64, f64) {
        let law = self.0.with(py, |law| *law);
        let recovery = sluicegate_core::adaptive::cubic::recovery(law.rules(), law.rate());
        (law.rate(), law.rules().max, law.cuts(), seconds(recovery))
    }
}
