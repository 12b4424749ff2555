//! Names from Python's modules, looked up on first use and kept.
//!
//! The import runs Python, so it runs before the cell is entered: a cell that is being filled makes whoever comes to it wait, and that may be
//! a signal handler, a finaliser or a tracer in the middle of this very import (clippy.toml forbids the cells' own ways to do both at once).

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::type_object::PyTypeCheck;
use pyo3::types::PyDict;

pub(crate) fn imported<'py, T: PyTypeCheck>(
    py: Python<'py>,
    cell: &'static PyOnceLock<Py<T>>,
    module: &str,
    name: &str,
) -> PyResult<&'py Bound<'py, T>> {
    if let Some(found) = cell.get(py) {
        return Ok(found.bind(py));
    }
    let found = py.import(module)?.getattr(name)?.cast_into::<T>()?;
    Ok(cell.get_or_init(py, || found.unbind()).bind(py))
}

/// `sys.modules`.
pub(crate) fn modules(py: Python<'_>) -> PyResult<&Bound<'_, PyDict>> {
    static MODULES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    imported(py, &MODULES, "sys", "modules")
}
