//! The wrapped items of a `FairQueue`, and its settings of keys. The protocol is at the head of `fair`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyBool, PyDict};
use sluicegate_core::keys::KeyHash;

use crate::rt::Item;
use crate::rt::arguments::text;
use crate::rt::domain::inside_a_section;
use crate::rt::gc::attached_in_traverse;
use crate::rt::keys::KeyHasher;

/// A wrapped item inside the queue, never seen by users.
///
/// It is not tracked by the garbage collector: the owner of the wrapper visits its contents ([`shown_of`]).
#[pyclass(frozen, module = "sluicegate._core")]
#[derive(Debug)]
pub(crate) struct FairItem {
    pub(in crate::queue) key: KeyHash,
    /// The rank, with priorities; the lowest comes first.
    pub(in crate::queue) rank: f64,
    pub(in crate::queue) item: Item,
}

impl FairItem {
    #[inline]
    pub(in crate::queue) fn made(self, py: Python<'_>) -> PyResult<Item> {
        Ok(Bound::new(py, self)?.into_any().unbind())
    }
}

/// The key and rank of an item, for the buffer. Called inside a section.
#[inline]
pub(in crate::queue) fn key_and_rank(item: &Item) -> (KeyHash, f64) {
    let fair = item.bind(inside_a_section()).cast::<FairItem>().ok().map(Bound::get);
    fair.map_or((KeyHash::new([0; 2]), 0.0), |fair| (fair.key, fair.rank))
}

/// The key of an item that has come out of the buffer, unless it is not wrapped.
pub(in crate::queue) fn key_if_wrapped(item: &Item) -> Option<KeyHash> {
    item.bind(inside_a_section()).cast_exact::<FairItem>().ok().map(|fair| fair.get().key)
}

/// The object to be visited by the garbage collector for an item.
pub(in crate::queue) fn shown_of(item: &Item) -> &Item {
    item.bind(attached_in_traverse()).cast::<FairItem>().map_or(item, |fair| &fair.get().item)
}

/// With a smaller weight, 1 / weight, which is added to virtual time, would come near the limit of a float.
const LEAST_WEIGHT: f64 = 1e-100;

/// Parses a weight.
pub(in crate::queue) fn weight_of(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    let refused = || PyTypeError::new_err(format!("{name} must be a number, not {}", text(value)));
    if value.is_instance_of::<PyBool>() {
        return Err(refused());
    }
    let weight: f64 = value.extract().map_err(|_| refused())?;
    if weight.is_finite() && weight >= LEAST_WEIGHT {
        return Ok(weight);
    }
    if weight > 0.0 && weight.is_finite() {
        return Err(PyValueError::new_err(format!("{name} is too small: {}; the minimum is {LEAST_WEIGHT:?}", text(value))));
    }
    Err(PyValueError::new_err(format!("{name} must be finite and greater than 0, not {}", text(value))))
}

/// The user's settings of keys. Set when the queue is made for the first time.
#[derive(Debug)]
pub(in crate::queue) struct Settings {
    pub(in crate::queue) key: Option<Item>,
    /// The weights that are not 1, by key.
    pub(in crate::queue) weights: Py<PyDict>,
    /// The seconds of waiting that a step of priority is worth; `None` without priorities.
    pub(in crate::queue) aging: Option<f64>,
    pub(in crate::queue) is_per_key: bool,
}

#[derive(Debug)]
pub(in crate::queue) struct FairKeys {
    pub(in crate::queue) hasher: KeyHasher,
    pub(in crate::queue) settings: OnceLock<Settings>,
    /// True if the last put that did not wait was refused. Relaxed: it only decides what is asked first.
    refuses: AtomicBool,
}

impl FairKeys {
    pub(in crate::queue) fn new() -> Self {
        Self { hasher: KeyHasher::new(), settings: OnceLock::new(), refuses: AtomicBool::new(false) }
    }

    pub(in crate::queue) fn settings(&self) -> PyResult<&Settings> {
        self.settings.get().ok_or_else(|| PyRuntimeError::new_err("__init__ of this FairQueue has not been called"))
    }

    /// Asks before an item is wrapped, which is most of what a refusal costs, but only if the last put that did not wait was refused.
    #[inline]
    pub(in crate::queue) fn refuses_again(&self, ask: impl FnOnce() -> bool) -> bool {
        if !self.refuses.load(Ordering::Relaxed) {
            return false;
        }
        let refuses = ask();
        if !refuses {
            self.refuses.store(false, Ordering::Relaxed);
        }
        refuses
    }

    pub(in crate::queue) fn has_refused(&self) {
        self.refuses.store(true, Ordering::Relaxed);
    }

    /// True if the items have priorities.
    pub(in crate::queue) fn is_ranked(&self) -> bool {
        self.settings.get().is_some_and(|settings| settings.aging.is_some())
    }

    /// True if the number of items of each key is bounded.
    pub(in crate::queue) fn is_per_key(&self) -> bool {
        self.settings.get().is_some_and(|settings| settings.is_per_key)
    }

    pub(in crate::queue) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(settings) = self.settings.get() else { return Ok(()) };
        visit.call(&settings.key)?;
        visit.call(&settings.weights)
    }
}
