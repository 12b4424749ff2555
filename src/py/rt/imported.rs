//! Names from Python's modules, looked up on first use and kept.

use crate::rt::kept::Kept;
use pyo3::prelude::*;
use pyo3::type_object::PyTypeCheck;
use pyo3::types::PyDict;

pub(crate) fn imported<'py, T: PyTypeCheck>(
    py: Python<'py>,
    cell: &'static Kept<T>,
    module: &str,
    name: &str,
) -> PyResult<&'py Bound<'py, T>> {
    if let Some(found) = cell.get(py) {
        return Ok(found);
    }
    Ok(cell.keep(py.import(module)?.getattr(name)?.cast_into::<T>()?))
}

/// `sys.modules`.
pub(crate) fn modules(py: Python<'_>) -> PyResult<&Bound<'_, PyDict>> {
    static MODULES: Kept<PyDict> = Kept::new();
    imported(py, &MODULES, "sys", "modules")
}
