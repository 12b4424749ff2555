//! What a queue is composed of beside its buffer, as Python says it: `weigh=`, `max_weight=`, `shed=`, `track_latency=`.

use std::sync::atomic::Ordering;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyInt;
use sluicegate_core::queue::{BatchBounds, Composition};
use sluicegate_core::shed;

use crate::queue::fair_item::FairItem;
use crate::queue::inner::QueueInner;
use crate::queue::items::{Item, Order};
use crate::queue::no_memory::no_memory;
use crate::rt::arguments::{self, text, type_name};
use crate::rt::guarded;
use crate::rt::shed::parse;

const NEEDS_WEIGH: &str = "'max_weight' needs a queue that is made with 'weigh'";

/// What the constructor is told.
pub(in crate::queue) struct Arguments<'a, 'py> {
    pub(in crate::queue) weigh: Option<&'a Bound<'py, PyAny>>,
    pub(in crate::queue) max_weight: Option<&'a Bound<'py, PyAny>>,
    pub(in crate::queue) shed: Option<&'a Bound<'py, PyAny>>,
    pub(in crate::queue) track_latency: bool,
}

/// What a queue is to be composed of, and how its items are weighed. `is_ranked`: the items of a key have priorities.
pub(in crate::queue) fn parsed(
    inner: &QueueInner,
    is_ranked: bool,
    arguments: &Arguments<'_, '_>,
) -> PyResult<(Composition, Option<Item>)> {
    let given = |value: Option<&Bound<'_, PyAny>>| value.is_some_and(|value| !value.is_none());
    for (name, given) in [
        ("track_latency", arguments.track_latency),
        ("weigh", given(arguments.weigh)),
        ("max_weight", given(arguments.max_weight)),
        ("shed", given(arguments.shed)),
    ] {
        if given {
            inner.can_note(name)?;
        }
    }
    let (weigh, max_weight) = weighing(arguments.weigh, arguments.max_weight)?;
    Ok((Composition { max_weight, shed: shedding(inner, is_ranked, arguments.shed)?, latency: arguments.track_latency }, weigh))
}

fn weighing(weigh: Option<&Bound<'_, PyAny>>, max_weight: Option<&Bound<'_, PyAny>>) -> PyResult<(Option<Item>, Option<u64>)> {
    let weigh = weigh.filter(|weigh| !weigh.is_none());
    let max_weight = max_weight.filter(|max_weight| !max_weight.is_none());
    match (weigh, max_weight) {
        (None, None) => Ok((None, None)),
        (Some(_), None) => Err(PyValueError::new_err("'weigh' needs a bound: give 'max_weight' too")),
        (None, Some(_)) => {
            Err(PyValueError::new_err("'max_weight' needs 'weigh', a function that returns the weight of an item"))
        }
        (Some(weigh), Some(_)) if !weigh.is_callable() => {
            Err(PyTypeError::new_err(format!("'weigh' must be callable, not {}", text(weigh))))
        }
        (Some(weigh), Some(max_weight)) => {
            arguments::refuse_coroutine_function("weigh", weigh)?;
            Ok((Some(weigh.clone().unbind()), Some(bound_on_weight(max_weight)?)))
        }
    }
}

/// `max_weight`. The largest number is no bound, to the core.
fn bound_on_weight(max_weight: &Bound<'_, PyAny>) -> PyResult<u64> {
    arguments::positive("max_weight", max_weight).map(|max_weight| (max_weight as u64).min(u64::MAX - 1))
}

fn shedding(inner: &QueueInner, is_ranked: bool, rule: Option<&Bound<'_, PyAny>>) -> PyResult<Option<shed::Shed>> {
    let Some(rule) = rule.filter(|rule| !rule.is_none()) else { return Ok(None) };
    let parsed = parse(rule)?;
    let unsuitable = match (inner.order, &parsed) {
        (Order::Fifo, _) => return Ok(Some(parsed)),
        (Order::Fair, shed::Shed::Codel(_)) if !is_ranked => return Ok(Some(parsed)),
        (Order::Fair, shed::Shed::AdaptiveLifo(_)) => {
            "in a FairQueue each key gets its share in the order in which its items came, and newest first would favour \
             the key that puts most; use CoDel or a ttl"
        }
        _ => "it is for queues whose items leave in order of arrival",
    };
    Err(PyValueError::new_err(format!("'shed' cannot be {} here: {unsuitable}", text(rule))))
}

fn too_heavy(weight: &str, max: u64) -> PyErr {
    PyValueError::new_err(format!("an item that weighs {weight} can never be put: 'max_weight' is {max}"))
}

impl QueueInner {
    /// Items are weighed by a user's function.
    #[inline]
    pub(in crate::queue) fn weighs(&self) -> bool {
        // Relaxed: it changes only where the queue is made.
        self.weighs.load(Ordering::Relaxed)
    }

    /// What the item weighs. It runs the user's function, so it is asked before anything else has happened; an item that is heavier than the
    /// bound is refused.
    pub(in crate::queue) fn weight_of(&self, item: &Bound<'_, PyAny>) -> PyResult<u64> {
        if !self.weighs() {
            return Ok(0);
        }
        let py = item.py();
        let fair = item.cast::<FairItem>().ok().map(|fair| fair.get().item.bind(py).clone());
        let item = fair.as_ref().unwrap_or(item);
        let Some(weigh) = self.extra(py, |extras| &extras.weigh) else { return Ok(0) };
        let weight = arguments::as_int(&guarded::call_one(weigh.bind(py), item)?)?;
        let wrong =
            || format!("the weight of an item must be an int of at least 0, not {} ({})", text(&weight), type_name(&weight));
        let exact = weight.cast_exact::<PyInt>().map_err(|_| PyTypeError::new_err(wrong()))?;
        if exact.lt(0)? {
            return Err(PyValueError::new_err(wrong()));
        }
        let max = self.core.max_weight(py).unwrap_or(u64::MAX);
        match exact.extract::<u64>() {
            Ok(number) if number <= max => Ok(number),
            _ => Err(too_heavy(&text(&weight), max)),
        }
    }

    /// Raises ValueError if an item that waits for room can never have any, because the bound has become smaller.
    pub(in crate::queue) fn may_fit(&self, py: Python<'_>, weight: Option<u64>) -> PyResult<()> {
        let Some(weight) = weight.filter(|weight| *weight > 0) else { return Ok(()) };
        match self.core.max_weight(py) {
            Some(max) if weight > max => Err(too_heavy(&weight.to_string(), max)),
            _ => Ok(()),
        }
    }

    /// `max_weight` has been assigned.
    pub(in crate::queue) fn set_max_weight(&self, max_weight: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = max_weight.py();
        if !self.weighs() {
            return Err(PyValueError::new_err(NEEDS_WEIGH));
        }
        self.core.set_max_weight(py, bound_on_weight(max_weight)?).fire();
        Ok(())
    }

    /// How much a batch of gets may hold.
    pub(in crate::queue) fn batch_bounds(
        &self,
        max: &Bound<'_, PyAny>,
        max_weight: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<BatchBounds> {
        let max = arguments::positive("max", max)?;
        let Some(max_weight) = max_weight.filter(|max_weight| !max_weight.is_none()) else { return Ok(max.into()) };
        if !self.weighs() {
            return Err(PyValueError::new_err(NEEDS_WEIGH));
        }
        Ok(BatchBounds { max, max_weight: bound_on_weight(max_weight)? })
    }

    /// The weight of each item of a batch; nothing where items are not weighed.
    pub(in crate::queue) fn weights_of(&self, py: Python<'_>, items: &[Item]) -> PyResult<Vec<u64>> {
        let mut weights = Vec::new();
        if self.weighs() {
            weights.try_reserve_exact(items.len()).map_err(|_| no_memory(py))?;
            for item in items {
                weights.push(self.weight_of(item.bind(py))?);
            }
        }
        Ok(weights)
    }
}
