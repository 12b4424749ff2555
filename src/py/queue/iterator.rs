//! `for item in queue`.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};

use crate::queue::inner::{InnerOf, QueueClass};
use crate::queue::ops::QueueOperation;
use crate::rt::arguments::Timeout;
use crate::rt::blocking;
use crate::rt::exceptions;

/// StreamEnd at shutdown, once the queue is drained.
#[pyclass(frozen, module = "sluicegate._core")]
#[derive(Debug)]
pub(crate) struct QueueIterator {
    queue: Py<PyAny>,
    of: InnerOf,
    /// The next item of an object of its class.
    next: fn(&Bound<'_, PyAny>) -> PyResult<Py<PyAny>>,
    /// The bound `get` of a subclass that has its own.
    get: Option<Py<PyAny>>,
    /// Relaxed: it guards nothing, and an iterator that two threads share may ask once more.
    ended: AtomicBool,
}

impl QueueIterator {
    pub(in crate::queue) fn new<C: QueueClass>(queue: &Bound<'_, C>) -> PyResult<Self> {
        let inner = queue.get().inner();
        let get = if inner.overrides.get { Some(queue.as_any().getattr("get")?.unbind()) } else { None };
        let next = |queue: &Bound<'_, PyAny>| {
            let operation = &mut QueueOperation::get(queue.cast::<C>().expect("an object of this class"));
            blocking::run(queue.py(), operation, Timeout::Forever)?.into_object(queue.py())
        };
        Ok(Self { queue: queue.as_any().clone().unbind(), of: inner.of, next, get, ended: AtomicBool::new(false) })
    }
}

#[pymethods]
impl QueueIterator {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        if self.ended.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let got = if let Some(get) = &self.get { get.call0(py) } else { (self.next)(self.queue.bind(py)) };
        match got {
            Ok(item) => Ok(Some(item)),
            Err(error) if exceptions::is_shut_down(py, &error) => {
                self.ended.store(true, Ordering::Relaxed);
                (self.of)(self.queue.bind(py)).end_of_iteration(py).map(|()| None)
            }
            Err(error) => Err(error),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.queue)?;
        visit.call(&self.get)
    }
}
