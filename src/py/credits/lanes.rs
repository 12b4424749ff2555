//! Lanes: parts of a channel's stream that are settled and stopped separately.
//!
//! The result of `lane(item)` is the lane's name, any hashable object. The core numbers the lanes; two dicts map names to numbers and back.
//! While an item is in the channel it is wrapped together with the number, so that the number can be read inside the section.

use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use sluicegate_core::credits::{Handle, Lane};

use crate::rt::Item;
use crate::rt::arguments::{text, type_name};
use crate::rt::guarded;
use crate::rt::memory;

/// The error for a lack of memory for a list of lanes.
#[cold]
pub(super) fn no_memory_for_lanes(py: Python<'_>) -> PyErr {
    memory::none(py, c"there is no memory for the lanes")
}

/// An item in a channel with lanes, wrapped together with the number of its lane.
#[pyclass(frozen, module = "sluicegate._core", name = "_InLane")]
#[derive(Debug)]
struct InLane {
    item: Item,
    lane: Lane,
}

#[pymethods]
impl InLane {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.item)
    }
}

/// The item itself, unwrapped if necessary.
pub(crate) fn unwrapped(py: Python<'_>, item: &Item) -> Item {
    match item.bind(py).cast_exact::<InLane>() {
        Ok(envelope) => envelope.get().item.clone_ref(py),
        Err(_) => item.clone_ref(py),
    }
}

/// Gives the core access to Python's items.
#[derive(Clone, Copy)]
pub(crate) struct Items<'py>(pub(crate) Python<'py>);

impl Handle<Item> for Items<'_> {
    fn share(&self, item: &Item) -> Item {
        unwrapped(self.0, item)
    }

    fn lane(&self, item: &Item) -> Lane {
        item.bind(self.0).cast_exact::<InLane>().map_or(0, |envelope| envelope.get().lane)
    }
}

/// The lanes of a channel.
#[derive(Debug)]
pub(crate) struct Lanes {
    function: Py<PyAny>,
    numbers: Py<PyDict>,
    names: Py<PyDict>,
    /// The number of the next lane. Relaxed: each number is given out once; their order does not matter.
    next: AtomicU32,
}

impl Lanes {
    pub(super) fn new(function: Bound<'_, PyAny>) -> Self {
        let py = function.py();
        Self {
            function: function.unbind(),
            numbers: PyDict::new(py).unbind(),
            names: PyDict::new(py).unbind(),
            next: AtomicU32::new(0),
        }
    }

    /// Wraps the item. Runs the user's function, and the name's `__hash__`, outside every section.
    pub(super) fn wrap(&self, item: &Bound<'_, PyAny>) -> PyResult<Item> {
        let py = item.py();
        let name = guarded::call(self.function.bind(py), &PyTuple::new(py, [item])?)?;
        let lane = match self.number(&name)? {
            Some(lane) => lane,
            None => self.add(&name)?,
        };
        Ok(Py::new(py, InLane { item: item.clone().unbind(), lane })?.into_any())
    }

    /// The number of a lane, if anything has been sent in it.
    fn number(&self, name: &Bound<'_, PyAny>) -> PyResult<Option<Lane>> {
        self.numbers.bind(name.py()).get_item(name)?.map(|number| number.extract()).transpose()
    }

    /// The number of a new lane. If another thread has added the lane first, that thread's number is returned, and ours stays unused.
    fn add(&self, name: &Bound<'_, PyAny>) -> PyResult<Lane> {
        let py = name.py();
        let new = self.next.fetch_add(1, Ordering::Relaxed);
        if new == Lane::MAX {
            self.next.store(new, Ordering::Relaxed);
            return Err(PyOverflowError::new_err("the channel has as many lanes as there can be"));
        }
        self.names.bind(py).set_item(new, name)?;
        let lane: Lane = self.numbers.bind(py).call_method1("setdefault", (name, new))?.extract()?;
        if lane != new {
            self.names.bind(py).del_item(new)?;
        }
        Ok(lane)
    }

    pub(super) fn name<'py>(&self, py: Python<'py>, lane: Lane) -> PyResult<Bound<'py, PyAny>> {
        self.names.bind(py).get_item(lane)?.ok_or_else(|| PyOverflowError::new_err("a lane without a name"))
    }

    /// All lanes in which anything has been sent, with their numbers.
    pub(super) fn all<'py>(&self, py: Python<'py>) -> PyResult<Vec<(Bound<'py, PyAny>, Lane)>> {
        let numbers = self.numbers.bind(py).copy()?;
        numbers.iter().map(|(name, number)| Ok((name, number.extract()?))).collect()
    }

    /// Parses the argument `lanes`. A lane in which nothing has been sent has no number.
    pub(super) fn parse<'py>(&self, lanes: &Bound<'py, PyAny>) -> PyResult<Vec<(Bound<'py, PyAny>, Option<Lane>)>> {
        if lanes.is_instance_of::<PyString>() || lanes.is_instance_of::<PyBytes>() {
            return Err(PyTypeError::new_err(format!(
                "'lanes' must be an iterable of lanes, not {} ({}); for a single lane: lanes=[{0}]",
                text(lanes),
                type_name(lanes)
            )));
        }
        let each = lanes.try_iter().map_err(|_| {
            PyTypeError::new_err(format!("'lanes' must be an iterable of lanes, not {} ({})", text(lanes), type_name(lanes)))
        })?;
        let mut parsed = Vec::new();
        for name in each {
            let name = name?;
            let number = self.number(&name)?;
            parsed.try_reserve(1).map_err(|_| no_memory_for_lanes(lanes.py()))?;
            parsed.push((name, number));
        }
        Ok(parsed)
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.function)?;
        visit.call(&self.numbers)?;
        visit.call(&self.names)
    }
}
