//! The ends of a stream: context managers that shut a queue down when the last of its producers, or of its consumers, has left.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use sluicegate_core::queue;

use crate::queue::classes::PyQueue;
use crate::rt::arguments;

/// A context manager that `n` threads or tasks share (`with`, `async with`). When the last of them has left the
/// block, the queue is shut down.
#[pyclass(frozen, module = "sluicegate._core", subclass)]
#[derive(Debug)]
pub(crate) struct StreamEnds {
    queue: Py<PyQueue>,
    /// Consumers' end: what is still in the queue has no taker.
    immediate: bool,
    count: queue::Ends,
}

#[pymethods]
impl StreamEnds {
    #[new]
    fn new(queue: Py<PyQueue>, immediate: bool, n: &Bound<'_, PyAny>) -> PyResult<Self> {
        let expected = arguments::positive("n", n)?;
        Ok(Self { queue, immediate, count: queue::Ends::new(expected as u64) })
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<Py<PyQueue>> {
        if !self.count.enter() {
            return Err(PyRuntimeError::new_err(format!(
                "entered more than {} times: pass the number of threads or tasks that share this context manager",
                self.count.expected()
            )));
        }
        Ok(self.queue.clone_ref(py))
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: &Bound<'_, PyAny>,
        error: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let queue = self.queue.bind(py);
        if !error.is_none() {
            queue.call_method1("_fail", (error,))?;
        }
        if self.count.leave() {
            queue.call_method1("shutdown", (self.immediate,))?;
        }
        Ok(())
    }

    fn __repr__(&self) -> String {
        let who = if self.immediate { "consumers" } else { "producers" };
        let (entered, left) = self.count.counts();
        format!("<{who} of a sluicegate queue: {} expected, {entered} entered, {left} left>", self.count.expected())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.queue)
    }
}
