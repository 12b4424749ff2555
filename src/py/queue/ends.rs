//! The ends of a stream: context managers that shut a queue down when the last of its producers, or of its consumers, has left.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use sluicegate_core::queue;
use sluicegate_core::section::Section;

use crate::queue::classes::PyQueue;
use crate::queue::inner::QueueClass;
use crate::rt::arguments;
use crate::rt::domain::Attached;
use crate::rt::ending::End;
use crate::rt::gc::attached_in_traverse;
use crate::rt::guarded::last_act;

/// A context manager that `n` threads or tasks share (`with`, `async with`). When the last of them has left the
/// block, the queue is shut down. A ShutDown of that queue which leaves the block is not raised further.
#[pyclass(frozen, module = "sluicegate._core", subclass, generic)]
#[derive(Debug)]
pub(crate) struct StreamEnds {
    queue: Py<PyQueue>,
    /// Consumers' end: what is still in the queue has no taker.
    immediate: bool,
    count: queue::StreamEnd,
    /// The first exception by which one of them has left.
    error: Section<Option<Py<PyAny>>, Attached>,
}

#[pymethods]
impl StreamEnds {
    #[new]
    fn new(queue: &Bound<'_, PyQueue>, immediate: bool, n: &Bound<'_, PyAny>) -> PyResult<Self> {
        let expected = arguments::positive("n", n)?;
        if !immediate {
            queue.get().inner().core.open_end(queue.py());
        }
        Ok(Self {
            queue: queue.clone().unbind(),
            immediate,
            count: queue::StreamEnd::new(expected as u64),
            error: Section::new(None),
        })
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
    ) -> PyResult<bool> {
        let queue = self.queue.bind(py);
        let is_the_end = queue.get().inner().has_raised(error);
        if !error.is_none() && !is_the_end {
            let refused = self.error.with(py, |first| match first {
                Some(_) => Some(error.clone().unbind()),
                None => first.replace(error.clone().unbind()),
            });
            drop(refused);
        }
        if self.count.leave() {
            let error = self.error.with(py, Option::take);
            let is_over = self.immediate || queue.get().inner().core.close_end(py);
            if !is_over && error.is_none() {
                return Ok(is_the_end); // `working` goes on, and shuts the queue down when the work is done
            }
            if let Some(error) = error {
                queue.get().inner().blame(py, End::of(error.bind(py), self.immediate)?);
            }
            // A subclass's own need not know of `error=`.
            queue.call_method1("shutdown", (self.immediate,))?;
        }
        Ok(is_the_end)
    }

    /// How many of how many have left, if some have used it but not all, and the queue has not been shut down otherwise.
    fn _missing(&self, py: Python<'_>) -> Option<(u64, u64)> {
        let (entered, left) = self.count.counts();
        let is_over = left >= self.count.expected() || self.queue.get().inner().core.is_shut(py);
        (entered > 0 && !is_over).then(|| (left, self.count.expected()))
    }

    fn __repr__(&self) -> String {
        let side = if self.immediate { "consumers" } else { "producers" };
        let (entered, left) = self.count.counts();
        format!("<{side} of a sluicegate queue: {} expected, {entered} entered, {left} left>", self.count.expected())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.queue)?;
        self.error.with(attached_in_traverse(), |error| visit.call(error.as_ref()))
    }
}

impl Drop for StreamEnds {
    fn drop(&mut self) {
        let (_, left) = self.count.counts();
        if !self.immediate && left < self.count.expected() {
            // It can never complete: nobody has to wait for it.
            last_act(|py| {
                let _ = self.queue.get().inner().core.close_end(py);
            });
        }
    }
}
