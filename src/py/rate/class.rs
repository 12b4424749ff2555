//! The statistics of limiters and sets.

use pyo3::prelude::*;
use sluicegate_core::rate::Statistics;

use crate::rt::class::{counts, snapshot};

/// Makes the dataclass of a snapshot.
pub(super) fn statistics<'py>(
    py: Python<'py>,
    class: &str,
    name: Option<Py<PyAny>>,
    seen: Statistics,
    more: &[(&str, u64)],
) -> PyResult<Bound<'py, PyAny>> {
    let counts = [&counts!(seen: admitted, refused, waited, waiters), more].concat();
    snapshot(py, class, name, &counts, &[("waited_seconds", seen.waited_for)])
}
