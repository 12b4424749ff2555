//! The errors of queues for a lack of memory.

use pyo3::prelude::*;

use crate::rt::memory;

/// The error for a lack of memory for another item.
#[cold]
pub(in crate::queue) fn no_memory(py: Python<'_>) -> PyErr {
    memory::none(py, c"there is no memory for another item in the queue")
}

/// The error for a lack of memory for what has been set for one more key.
#[cold]
pub(in crate::queue) fn no_memory_for_key(py: Python<'_>) -> PyErr {
    memory::none(py, c"there is no memory for one more key")
}

/// The error for a lack of memory to report items that have expired.
#[cold]
pub(in crate::queue) fn no_memory_for_losses(py: Python<'_>) -> PyErr {
    memory::none(py, c"there is no memory to report the items that have expired")
}
