//! What every class of the binding has in common: the arguments `name` and `clock`, the head of its `repr`, its statistics, and its answer to
//! pickle and copy.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyDict;
use sluicegate_core::clock::{Clock as CoreClock, Nanos, seconds};

use super::arguments::{name_argument, text, type_name};
use super::clock::{self, PyClock};
use super::gc::Shown;
use super::waker::Waker;

/// The name and the clock of an object. They are checked when it is made and do not change.
#[derive(Debug, Default)]
pub(crate) struct Common {
    name: Option<Py<PyAny>>,
    clock: Option<Py<PyClock>>,
}

impl Common {
    pub(crate) fn new(py: Python<'_>, name: Option<&Bound<'_, PyAny>>, clock: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        Ok(Self { name: name_argument(name)?.map(Bound::unbind), clock: clock::choose(py, clock)?.map(Bound::unbind) })
    }

    /// The same name and clock, for an object that stands for this one.
    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self { name: self.name(py), clock: self.clock.as_ref().map(|clock| clock.clone_ref(py)) }
    }

    /// The clock as the core reads it.
    pub(crate) fn core_clock(&self) -> CoreClock<Waker> {
        self.clock.as_ref().map_or(CoreClock::Monotonic, |clock| clock.get().clock.clone())
    }

    pub(crate) fn name(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.name.as_ref().map(|name| name.clone_ref(py))
    }

    /// The name as it follows a noun in a message: a space and the quoted name, or nothing where there is none.
    pub(crate) fn label(&self, py: Python<'_>) -> String {
        self.name.as_ref().map_or_else(String::new, |name| format!(" {}", text(name.bind(py))))
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.name)?;
        visit.call(&self.clock)
    }

    /// As `traverse`, of one that lies in a section.
    pub(crate) fn show(&self, shown: &Shown<'_, '_>) {
        shown.object(&self.name);
        shown.object(&self.clock);
    }
}

/// How a `repr` begins: `<module.Class 'name' at 0x...`. `label` is what follows the class: see [`Common::label`].
pub(crate) fn repr_head(this: &Bound<'_, PyAny>, label: &str) -> PyResult<String> {
    let class = this.get_type();
    Ok(format!("<{}.{}{label} at {:#x}", class.module()?, class.qualname()?, this.as_ptr().addr()))
}

/// What `statistics()` returns: an instance of this class of `sluicegate._statistics`, with these fields beside the name.
pub(crate) fn snapshot<'py>(
    py: Python<'py>,
    class: &str,
    common: &Common,
    counts: &[(&str, u64)],
    times: &[(&str, Nanos)],
) -> PyResult<Bound<'py, PyAny>> {
    let fields = PyDict::new(py);
    fields.set_item("name", common.name(py))?;
    counts.iter().try_for_each(|(field, count)| fields.set_item(field, count))?;
    times.iter().try_for_each(|(field, time)| fields.set_item(field, seconds(*time)))?;
    py.import("sluicegate._statistics")?.getattr(class)?.call((), Some(&fields))
}

/// The error for an attempt to pickle or copy an object that others may be waiting on.
pub(crate) fn refuse(this: &Bound<'_, PyAny>, what: &str) -> PyErr {
    PyTypeError::new_err(format!(
        "cannot {what} '{}' object: it is shared by reference, and its waiters cannot be copied",
        type_name(this)
    ))
}

/// Gives a class the methods by which it refuses pickle and copy.
macro_rules! refuse_copies {
    ($class:ty) => {
        #[pyo3::pymethods]
        impl $class {
            fn __reduce__(slf: &pyo3::Bound<'_, Self>) -> pyo3::PyResult<()> {
                Err($crate::rt::class::refuse(slf.as_any(), "pickle"))
            }

            fn __copy__(slf: &pyo3::Bound<'_, Self>) -> pyo3::PyResult<()> {
                Err($crate::rt::class::refuse(slf.as_any(), "copy"))
            }

            fn __deepcopy__(slf: &pyo3::Bound<'_, Self>, _memo: &pyo3::Bound<'_, pyo3::PyAny>) -> pyo3::PyResult<()> {
                Err($crate::rt::class::refuse(slf.as_any(), "copy"))
            }
        }
    };
}
pub(crate) use refuse_copies;
