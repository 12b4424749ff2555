//! The ends of a stream: context managers that shut a queue down when the last of its producers, or of its consumers, has left.

use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};

use crate::queue::classes::PyQueue;
use crate::rt::arguments;

/// A context manager that `n` threads or tasks share (`with`, `async with`). When the last of them has left, the queue is shut down.
#[pyclass(frozen, module = "sluicegate._core", subclass)]
#[derive(Debug)]
pub(crate) struct StreamEnds {
    queue: Py<PyQueue>,
    /// Consumers' end: what is still in the queue has no taker.
    immediate: bool,
    expected: usize,
    entered: AtomicUsize,
    left: AtomicUsize,
}

#[pymethods]
impl StreamEnds {
    #[new]
    fn new(queue: Py<PyQueue>, immediate: bool, n: &Bound<'_, PyAny>) -> PyResult<Self> {
        let expected = arguments::positive("n", n)?;
        Ok(Self { queue, immediate, expected, entered: AtomicUsize::new(0), left: AtomicUsize::new(0) })
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<Py<PyQueue>> {
        let entered = self
            .entered
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |entered| (entered < self.expected).then_some(entered + 1));
        match entered {
            Ok(_) => Ok(self.queue.clone_ref(py)),
            Err(_) => Err(PyRuntimeError::new_err(format!(
                "all {} have entered already: pass the number of threads or tasks that share this context manager",
                self.expected
            ))),
        }
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
        if self.left.fetch_add(1, Ordering::AcqRel) + 1 == self.expected {
            queue.call_method1("shutdown", (self.immediate,))?;
        }
        Ok(())
    }

    fn __repr__(&self) -> String {
        let who = if self.immediate { "consumers" } else { "producers" };
        let (entered, left) = (self.entered.load(Ordering::Relaxed), self.left.load(Ordering::Relaxed));
        format!("<{who} of a sluicegate queue: {} expected, {entered} entered, {left} left>", self.expected)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.queue)
    }
}
