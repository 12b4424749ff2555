//! Names from Python's modules, looked up on first use and kept.

use crate::rt::guarded;
use crate::rt::kept::Kept;
use pyo3::prelude::*;
use pyo3::type_object::PyTypeCheck;
use pyo3::types::{PyDict, PyType};

pub(crate) fn imported<'py, T: PyTypeCheck>(
    py: Python<'py>,
    cell: &'static Kept<T>,
    module: &str,
    name: &str,
) -> PyResult<&'py Bound<'py, T>> {
    if let Some(found) = cell.get(py) {
        return Ok(found);
    }
    Ok(cell.keep(guarded::import(py, module)?.getattr(name)?.cast_into::<T>()?))
}

/// `sys.modules`.
pub(crate) fn modules(py: Python<'_>) -> PyResult<&Bound<'_, PyDict>> {
    static MODULES: Kept<PyDict> = Kept::new();
    imported(py, &MODULES, "sys", "modules")
}

/// A class of a module, if that module has been imported.
pub(crate) fn class_of<'py>(
    py: Python<'py>,
    cell: &'static Kept<PyType>,
    module: &str,
    name: &str,
) -> PyResult<Option<&'py Bound<'py, PyType>>> {
    if cell.get(py).is_none() {
        let module = modules(py)?.get_item(module)?;
        if module.is_none_or(|module| !module.hasattr(name).unwrap_or(false)) {
            return Ok(None); // the module is just being imported
        }
    }
    imported(py, cell, module, name).map(Some)
}
