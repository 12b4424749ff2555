//! What a function returns that has run nothing yet: a coroutine, or a generator of either kind.

use pyo3::prelude::*;
use pyo3::types::PyType;

use super::imported::imported;
use super::kept::Kept;

/// True for a coroutine and for generators of both kinds.
#[inline]
pub(crate) fn has_not_run(result: &Bound<'_, PyAny>) -> PyResult<bool> {
    static KINDS: [(Kept<PyType>, &str); 3] =
        [(Kept::new(), "CoroutineType"), (Kept::new(), "GeneratorType"), (Kept::new(), "AsyncGeneratorType")];
    let (py, class) = (result.py(), result.get_type_ptr());
    for (cell, name) in &KINDS {
        if imported(py, cell, "types", name)?.as_type_ptr() == class {
            return Ok(true);
        }
    }
    Ok(false)
}
