//! What the limiters' classes share, beside what every class does: statistics, and what the collector is shown.

use crate::rt::kept::interned;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyDict;
use sluicegate_core::rate::Statistics;

use crate::rt::gc::Shown;
use crate::rt::waker::Waker;

/// A snapshot, as the dataclass of that name.
pub(super) fn statistics<'py>(
    py: Python<'py>,
    class: &str,
    name: Option<Py<PyAny>>,
    seen: Statistics,
    more: &[(&str, u64)],
) -> PyResult<Bound<'py, PyAny>> {
    let fields = PyDict::new(py);
    fields.set_item("name", name)?;
    fields.set_item("admitted", seen.admitted)?;
    fields.set_item("refused", seen.refused)?;
    fields.set_item("waited", seen.waited)?;
    fields.set_item("waited_seconds", sluicegate_core::clock::seconds(seen.waited_for))?;
    fields.set_item("waiters", seen.waiters)?;
    for (key, value) in more {
        fields.set_item(key, value)?;
    }
    // Imported each time: a cell that imports once would run Python while others wait for it.
    py.import(interned!(py, "sluicegate._statistics"))?.getattr(class)?.call((), Some(&fields))
}

/// Shows the garbage collector the tasks in a line.
pub(super) fn visit_tasks(visit: PyVisit<'_>, wakers: impl FnOnce(&mut dyn FnMut(&Waker))) -> Result<(), PyTraverseError> {
    let shown = Shown::to(&visit);
    wakers(&mut |waker| shown.waker(waker));
    shown.outcome()
}
