//! The parts that all classes of the binding share: the arguments `name` and `clock`, the beginning of the `repr`, statistics, and the refusal
//! of pickle and copy.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyDict;
use sluicegate_core::clock::{Clock as CoreClock, Nanos, seconds};

use super::arguments::{name_argument, text, type_name};
use super::clock::{self, PyClock};
use super::gc::Shown;
use super::guarded;
use super::kept::interned;
use super::waker::Waker;

/// The name and the clock of an object. They are checked when the object is created, and do not change.
#[derive(Debug, Default)]
pub(crate) struct Common {
    name: Option<Py<PyAny>>,
    clock: Option<Py<PyClock>>,
}

impl Common {
    pub(crate) fn new(py: Python<'_>, name: Option<&Bound<'_, PyAny>>, clock: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        Ok(Self { name: name_argument(name)?.map(Bound::unbind), clock: clock::choose(py, clock)?.map(Bound::unbind) })
    }

    /// The same name and clock, for a handle of this object.
    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self { name: self.name(py), clock: self.clock.as_ref().map(|clock| clock.clone_ref(py)) }
    }

    /// The clock as the core uses it.
    pub(crate) fn core_clock(&self) -> CoreClock<Waker> {
        self.clock.as_ref().map_or(CoreClock::Monotonic, |clock| clock.get().clock.clone())
    }

    pub(crate) fn name(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.name.as_ref().map(|name| name.clone_ref(py))
    }

    /// The name as it follows a noun in a message: a space and the quoted name, or nothing if there is no name.
    pub(crate) fn label(&self, py: Python<'_>) -> String {
        self.name.as_ref().map_or_else(String::new, |name| format!(" {}", text(name.bind(py))))
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.name)?;
        visit.call(&self.clock)
    }

    /// As `traverse`, for a value inside a section.
    pub(crate) fn show(&self, shown: &Shown<'_, '_>) {
        shown.object(&self.name);
        shown.object(&self.clock);
    }
}

/// How a `repr` begins: `<module.Class 'name' at 0x...`. `label` is what follows the class: see [`Common::label`].
pub(crate) fn repr_head(this: &Bound<'_, PyAny>, label: &str) -> PyResult<String> {
    let (py, class) = (this.py(), this.get_type());
    let module = class.getattr(interned!(py, "__module__"))?;
    let name = class.getattr(interned!(py, "__qualname__"))?;
    Ok(format!("<{module}.{name}{label} at {:#x}", this.as_ptr().addr()))
}

/// What `statistics()` returns: an instance of this class of `sluicegate._statistics`, with these fields. Times are given in seconds.
pub(crate) fn snapshot<'py>(
    py: Python<'py>,
    class: &str,
    name: Option<Py<PyAny>>,
    counts: &[(&str, u64)],
    times: &[(&str, Nanos)],
) -> PyResult<Bound<'py, PyAny>> {
    let fields = PyDict::new(py);
    fields.set_item("name", name)?;
    counts.iter().try_for_each(|(field, count)| fields.set_item(field, count))?;
    times.iter().try_for_each(|(field, time)| fields.set_item(field, seconds(*time)))?;
    // Imported each time: a once-cell would run Python code while other threads wait for it.
    guarded::call_by_name(&guarded::import(py, "sluicegate._statistics")?.getattr(class)?, &fields)
}

/// The counts of a snapshot, from fields of the same names.
macro_rules! counts {
    ($seen:ident: $($field:ident),*) => {
        [$((stringify!($field), $seen.$field as u64)),*]
    };
}
pub(crate) use counts;

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

/// Gives a class the methods that every class has which threads and tasks share: `name`, and the refusal to be copied. `$common` is the field
/// with its name.
macro_rules! common_methods {
    ($class:ty, $common:ident) => {
        #[pyo3::pymethods]
        impl $class {
            /// The name given at creation, for `repr`, messages and statistics.
            #[getter]
            fn name(&self, py: pyo3::Python<'_>) -> Option<pyo3::Py<pyo3::PyAny>> {
                self.$common.name(py)
            }
        }

        $crate::rt::class::refuse_copies!($class);
    };
}
pub(crate) use common_methods;
