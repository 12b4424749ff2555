//! `FairQueue`: the class, and how its items get their keys.
//!
//! # Protocol
//! The key of an item is determined first, outside every section: it is passed to `put`, or the user's `key` function is called once. Only
//! a hash of it is kept. An item that may have to wait is wrapped in a [`FairItem`], together with its key; one that goes into the queue at
//! once, without a rank or a note, is not: the lane that it is in has the key. Every operation that takes items out unwraps them with
//! [`QueueInner::bare`], if they are wrapped. The core does the rest (`sluicegate_core::buffer::Fair`, and `lanes` of its queue). No Python
//! code runs in the middle of an operation, so no baton is needed.
//!
//! With `within="priority"` the rank of an item is its arrival time plus `aging` seconds for each step of its priority. So an item whose
//! priority is larger by n can be overtaken only by items that arrive within n times `aging` seconds after it.

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyString, PyTuple, PyType};
use sluicegate_core::buffer::Fair;
use sluicegate_core::clock::{nanos, seconds};
use sluicegate_core::queue::{Admission, Due, PutError, Terms};

use crate::queue::classes::{PyQueue, awaitable, new_inner};
use crate::queue::composition;
use crate::queue::fair_item::{FairItem, FairKeys, Settings, shown_of, weight_of};
use crate::queue::hot::{install_queue, is_trivial, is_true, may_try, put_composed, put_general, refuse};
use crate::queue::inner::{QueueClass, QueueInner, Refused, limit_of, too_few_places, zero};
use crate::queue::items::{Item, Items, Order};
use crate::queue::keyed::callable;
use crate::queue::no_memory::{no_memory, no_memory_for_key};
use crate::queue::ops::QueueOperation;
use crate::queue::overflow::{self, Offered};
use crate::queue::pressure;
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{self, Argument, Timeout, Truth, text};
use crate::rt::blocking;
use crate::rt::guarded;
use crate::rt::hot::{Fast, attached, deliver, is_trivial_timeout, none, trivial_timeout};
use crate::rt::hot_methods::hot_methods;
use crate::rt::kept::interned;
use crate::rt::operation::Operation;
use crate::rt::select::PySelectable;

/// A bounded queue in which every key (a tenant, a user, a connection) gets its share: for threads and asyncio.
///
/// Each item has a key: the one that `put` is given, else `key(item)`. It is a str, bytes, int, UUID, IP address, or a
/// tuple of those; only a keyed 128-bit hash of it is kept, and nothing of a key that has no items and no waiters. Items
/// come out by self-clocked fair queueing (Golestani, 1994): of keys that always have items, each gives items in
/// proportion to its weight, give or take one, and a key that had none waits, in relation to its weight, for at most one
/// item of each other key. With `weigh` the shares are shares of what the items weigh, give or take the heaviest one, and
/// an item that weighs nothing counts as 1. `weights` maps keys to their weights; every other key's is 1.
///
/// `per_key` bounds the items of each key. `reserved` maps keys to numbers of places, out of `maxsize`, that nobody else
/// uses. A putter that finds no room waits in the wait queue of its key. Room goes to a key with free reserved places
/// first, and else to the keys in proportion to their weights.
///
/// Within a key items come out in the order in which they were put, or with `within="priority"` by the `priority` that
/// `put` is given, the lowest first. Each step of priority is worth `aging` seconds of waiting, so an item that is less
/// urgent is delayed, and not starved.
///
/// A policy that drops items takes them from the key that holds most for its weight, the new item's own included:
/// "drop_oldest" its oldest item, "drop_newest" its newest, "drop_lowest" (of `within="priority"`) its least urgent one.
///
/// `weigh`, `max_weight`, `track_latency` and `ttl` are those of a `Queue`. The bound on weight is common to all keys, and
/// with it the key that holds most is the one whose items weigh most. `shed=CoDel(...)` has a state for each key, as in
/// RFC 8290, which is forgotten with the key's last item.
///
/// Raises TypeError or ValueError for an invalid argument, TypeError if a subclass overrides `_init`, `_qsize`, `_put` or
/// `_get`.
#[pyclass(frozen, subclass, weakref, dict, generic, extends = PyQueue, name = "FairQueue", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyFairQueue;

/// The error for reserved places that no item could use.
fn beyond_per_key(places: usize, per_key: Option<usize>) -> PyErr {
    let bound = per_key.unwrap_or(usize::MAX);
    PyValueError::new_err(format!("'reserved' keeps {places} places for a key, and 'per_key' lets it have {bound} items only"))
}

/// The items of a mapping, if one is given.
fn pairs<'py>(name: &str, mapping: Option<&Bound<'py, PyAny>>) -> PyResult<Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
    let Some(mapping) = mapping.filter(|mapping| !mapping.is_none()) else { return Ok(Vec::new()) };
    arguments::pairs(mapping)?
        .ok_or_else(|| PyTypeError::new_err(format!("'{name}' must be a mapping of keys to numbers, not {}", text(mapping))))
}

impl QueueInner {
    pub(in crate::queue) fn fair_keys(&self) -> PyResult<&FairKeys> {
        self.fair.as_deref().ok_or_else(|| PyTypeError::new_err("this is not a FairQueue"))
    }

    /// Unwraps an item on its way out, if it is wrapped.
    #[expect(clippy::inline_always, reason = "a part of every get")]
    #[inline(always)]
    pub(in crate::queue) fn bare(&self, py: Python<'_>, item: Item) -> Item {
        if self.fair.is_none() || !item.bind(py).is_exact_instance_of::<FairItem>() {
            return item;
        }
        unwrapped(py, item)
    }

    /// Wraps an item with its key and rank.
    pub(in crate::queue) fn with_fair_key(
        &self,
        item: Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyAny>>,
        priority: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Item> {
        let py = item.py();
        let keys = self.fair_keys()?;
        let settings = keys.settings()?;
        let hash = match (key.filter(|key| !key.is_none()), &settings.key) {
            (Some(key), _) => keys.hasher.hash(key)?,
            (None, Some(function)) => keys.hasher.hash(&guarded::call_one(function.bind(py), &item)?)?,
            (None, None) => {
                return Err(PyTypeError::new_err(
                    "an item of this FairQueue needs a key: pass 'key' (in an executor, to submitting()), or make the \
                     queue with key=",
                ));
            }
        };
        let rank = match (settings.aging, priority) {
            (None, None) => 0.0,
            (aging, priority) => self.rank(py, aging, priority)?,
        };
        FairItem { key: hash, rank, item: item.unbind() }.made(py)
    }

    fn rank(&self, py: Python<'_>, aging: Option<f64>, priority: Option<&Bound<'_, PyAny>>) -> PyResult<f64> {
        let step = match priority {
            None => 0.0,
            Some(given) => {
                let refused = || PyTypeError::new_err(format!("'priority' must be a number, not {}", text(given)));
                let step: f64 = given.extract().map_err(|_| refused())?;
                if given.is_instance_of::<PyBool>() {
                    return Err(refused());
                }
                if !step.is_finite() {
                    return Err(PyValueError::new_err(format!("'priority' must be finite, not {}", text(given))));
                }
                step
            }
        };
        let Some(aging) = aging else {
            if step == 0.0 {
                return Ok(0.0);
            }
            return Err(PyValueError::new_err("'priority' needs a FairQueue that is made with within='priority'"));
        };
        Ok(seconds(self.core.clock(py).now()) + step * aging)
    }

    /// Wraps many items with their keys. They are taken out of `items` first, because the key of an item determines the wait queue.
    fn all_with_fair_keys(
        &self,
        items: &Bound<'_, PyAny>,
        key: Option<&Bound<'_, PyAny>>,
        priority: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<Item>> {
        let mut keyed = Vec::new();
        for item in items.try_iter()? {
            keyed.try_reserve(1).map_err(|_| no_memory(items.py()))?;
            keyed.push(self.with_fair_key(item?, key, priority)?);
        }
        Ok(keyed)
    }
}

#[inline(never)]
fn unwrapped(py: Python<'_>, item: Item) -> Item {
    let item = item.into_bound(py);
    let bare = item.cast_exact::<FairItem>().ok().map(|fair| fair.get().item.clone_ref(py));
    bare.unwrap_or_else(|| item.unbind())
}

type Given<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// `put` and similar methods. With an `admission` it may be tried at once, without a `ttl`. An item that cannot be put at once waits, or is
/// refused, in the general form.
fn put(
    this: &Bound<'_, PyFairQueue>,
    item: Bound<'_, PyAny>,
    admission: Option<Admission>,
    (key, priority): (Given<'_, '_>, Given<'_, '_>),
    general: impl FnOnce(&Bound<'_, PyQueue>, Item) -> PyResult<Py<PyAny>>,
) -> PyResult<Py<PyAny>> {
    let (py, queue) = (this.py(), this.as_super());
    let inner = queue.get().inner();
    let mut item = inner.with_fair_key(item, key, priority)?;
    if let Some(admission) = admission.filter(|_| !inner.core.is_entered(py)) {
        let (wakes, result) = inner.core.try_put(py, item, admission);
        wakes.fire();
        item = match result {
            Ok(()) => return Ok(py.None()),
            Err(PutError::Rejected(_)) => return Err(inner.rejected(py)),
            Err(
                PutError::Full(item)
                | PutError::ShutDown(item)
                | PutError::Locked(item)
                | PutError::Overflows(item)
                | PutError::NoMemory(item)
                | PutError::Composed(item),
            ) => item,
        };
    }
    general(queue, item)
}

/// The common case: the key is given, hashing it runs no Python code, and nobody has to wait. The references that it drops are also held by
/// the caller.
#[inline(never)]
fn put_fast(
    this: Borrowed<'_, '_, PyFairQueue>,
    item: Borrowed<'_, '_, PyAny>,
    key: Option<Borrowed<'_, '_, PyAny>>,
    ttl: Option<Borrowed<'_, '_, PyAny>>,
    admission: Admission,
) -> Fast {
    let py = this.py();
    let inner = this.as_super().get().inner();
    let (Some(key), Some(keys)) = (key, &inner.fair) else { return Fast::Declined };
    let Some(hash) = keys.hasher.plain_hash(&key) else { return Fast::Declined };
    let Some(terms) = trivial_terms(ttl).filter(|_| !keys.is_ranked() && !inner.core.is_entered(py)) else {
        return Fast::Declined;
    };
    let is_plain = admission == Admission::Immediate && terms == Terms::NONE;
    if is_plain && keys.refuses_again(|| inner.core.refuses_key(py, hash)) {
        return refuse(py, inner, Refused::Put);
    }
    if terms == Terms::NONE && inner.core.put_keyed_uncontended(py, hash, || item.to_owned().unbind()) {
        return Fast::Done(none(py));
    }
    let Ok(fair) = Bound::new(py, FairItem { key: hash, rank: 0.0, item: item.to_owned().unbind() }) else {
        return Fast::Declined;
    };
    if terms != Terms::NONE {
        return put_composed(inner, fair.into_any(), terms, admission);
    }
    let (wakes, result) = inner.core.try_put(py, fair.into_any().unbind(), admission);
    deliver(wakes);
    match result {
        Ok(()) => Fast::Done(py.None()),
        Err(PutError::Composed(fair)) => put_composed(inner, fair.into_bound(py), Terms::NONE, admission),
        Err(PutError::Rejected(fair)) => attached(|py| {
            drop(fair);
            Err(inner.rejected(py))
        }),
        Err(PutError::Full(fair)) if admission == Admission::Immediate => {
            drop(fair.into_bound(py)); // as below
            keys.has_refused();
            refuse(py, inner, Refused::Put)
        }
        Err(
            PutError::Full(fair)
            | PutError::ShutDown(fair)
            | PutError::Locked(fair)
            | PutError::Overflows(fair)
            | PutError::NoMemory(fair),
        ) => {
            drop(fair.into_bound(py)); // the wrapper is referenced only here, and the caller holds its contents too
            Fast::Declined
        }
    }
}

hot_methods! {
    fn install_puts() for PyFairQueue as "FairQueue";

    /// Put an item into the queue, with the key that is given or that the queue's `key` function says.
    ///
    /// If there is no room for it, because the queue is full or holds `per_key` items of this key, wait for room in the wait
    /// queue of this key: indefinitely if `timeout` is None, otherwise for at most `timeout` seconds. With `block=False` the
    /// call does not wait, and `timeout` is ignored.
    ///
    /// With `ttl` the item expires after that many seconds, the wait for room included: it is then dropped instead of being
    /// delivered, with the reason "expired". If that time passes before there is room, the call raises Full.
    ///
    /// Raises TypeError if there is no key, or one of another kind, ValueError for a `priority` that is not finite, for one
    /// in a queue without priorities or for a `ttl` that is not positive, Full if there was no room (in time), ShutDown if the
    /// queue has been shut down.
    ///
    /// Fairness: the waiters of one key are woken in order of arrival, and the keys in proportion to their weights;
    /// threads and tasks share one wait queue. An arrival that can wait does not overtake a waiter of any key. If an
    /// exception from a signal handler interrupts the wait, nothing has been put.
    fn put(this, item, block = True, timeout = None, *, key = None, priority = 0, ttl = None) {
        often: key => put_fast(this, item, key, None, Admission::Queued),
        fast: match is_trivial(block, timeout) {
            Some(admission) if priority.is_none() => put_fast(this, item, key, ttl, admission),
            _ => Fast::Declined,
        },
        general: {
            let admission = is_trivial(block, timeout).filter(|_| ttl.is_none());
            put(this, item.to_owned(), admission, (key.as_deref(), priority.as_deref()), |queue, item| {
                put_general(queue, item, || is_true(block), timeout.as_deref(), ttl)
            })
        },
    }

    /// Put an item without waiting. Raises Full if there is no room for an item with its key, ShutDown if the queue has been
    /// shut down.
    ///
    /// It does not use the wait queues: if there is room, it takes the room even while other putters are waiting. `ttl` is that
    /// of `put`.
    fn put_nowait(this, item, *, key = None, priority = 0, ttl = None) {
        fast: match priority {
            None if !this.as_super().get().inner().overrides.put => put_fast(this, item, key, ttl, Admission::Immediate),
            _ => Fast::Declined,
        },
        general: {
            let py = this.py();
            if this.as_super().get().inner().overrides.put {
                let named = PyDict::new(py);
                named.set_item(interned!(py, "block"), false)?;
                key.map_or(Ok(()), |key| named.set_item(interned!(py, "key"), key))?;
                priority.map_or(Ok(()), |priority| named.set_item(interned!(py, "priority"), priority))?;
                ttl.map_or(Ok(()), |ttl| named.set_item(interned!(py, "ttl"), ttl))?;
                return this.call_method(interned!(py, "put"), (item,), Some(&named)).map(Bound::unbind);
            }
            let admission = ttl.is_none().then_some(Admission::Immediate);
            put(this, item.to_owned(), admission, (key.as_deref(), priority.as_deref()), |queue, item| {
                put_general(queue, item, || Ok(false), None, ttl)
            })
        },
    }

    /// Always takes the long way, because the item has no key yet.
    fn _try_put(this, item, timeout, ttl) {
        fast: {
            let _ = (item, timeout, ttl);
            Fast::Declined
        },
    }

    /// The fast path of put_async. An item that has to wait is returned in an operation, because its key has been determined already.
    fn _start_put(this, item, timeout = None, *, key = None, priority = 0, ttl = None) {
        fast: attached(|py| {
            let may_try = is_trivial_timeout(timeout) && may_try(py, this.as_super().get().inner());
            let admission = may_try.then_some(Admission::Queued).filter(|_| ttl.is_none());
            let ttl = arguments::ttl(ttl.as_deref())?;
            put(&this, item.to_owned(), admission, (key.as_deref(), priority.as_deref()), |queue, item| {
                let operation = awaitable(QueueOperation::put(queue, item, ttl)?, timeout.as_deref())?;
                Ok(Bound::new(py, operation)?.into_any().unbind())
            })
        }),
        general: never_declined(),
    }
}

/// The terms for a valid `ttl`.
fn trivial_terms(ttl: Option<Borrowed<'_, '_, PyAny>>) -> Option<Terms> {
    match trivial_timeout(ttl)? {
        f64::INFINITY => Some(Terms::NONE),
        seconds if seconds > 0.0 => Some(Terms { weight: 0, due: Due::In(nanos(seconds)) }),
        _ => None,
    }
}

/// The fast forms of these methods run attached, and decline nothing.
fn never_declined() -> PyResult<Py<PyAny>> {
    unreachable!("nothing was declined")
}

pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<PyFairQueue>();
    install_queue(&class)?;
    install_puts(&class)
}

#[pymethods]
impl PyFairQueue {
    #[new]
    #[classmethod]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(maxsize=0, *, key=None, weights=None, per_key=None, reserved=None, within='fifo', aging=1.0, overflow='block', on_drop=None, weigh=None, max_weight=None, shed=None, track_latency=False, high=None, low=None, name=None, clock=None)")]
    fn new(
        cls: &Bound<'_, PyType>,
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyClassInitializer<Self>> {
        let py = cls.py();
        let inner = new_inner::<PyQueue>(cls, &py.get_type::<Self>(), Order::Fair)?;
        if inner.overrides.hooks {
            return Err(PyTypeError::new_err(
                "a subclass of FairQueue cannot override _init, _qsize, _put or _get, because the keys decide about the order",
            ));
        }
        Ok(PyClassInitializer::from(PyQueue::made(inner)).add_subclass(Self))
    }

    #[pyo3(signature = (
        maxsize = Argument::MISSING, *, key = None, weights = None, per_key = None, reserved = None, within = None, aging = None,
        overflow = None, on_drop = None, weigh = None, max_weight = None, shed = None, track_latency = Truth(false), high = None, low = None, name = None, clock = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "one for each of Python's")]
    fn __init__(
        slf: &Bound<'_, Self>,
        maxsize: Argument<'_, '_>,
        key: Given<'_, '_>,
        weights: Given<'_, '_>,
        per_key: Given<'_, '_>,
        reserved: Given<'_, '_>,
        within: Given<'_, '_>,
        aging: Given<'_, '_>,
        overflow: Given<'_, '_>,
        on_drop: Given<'_, '_>,
        weigh: Given<'_, '_>,
        max_weight: Given<'_, '_>,
        shed: Given<'_, '_>,
        track_latency: Truth,
        high: Given<'_, '_>,
        low: Given<'_, '_>,
        name: Given<'_, '_>,
        clock: Given<'_, '_>,
    ) -> PyResult<()> {
        let (py, queue) = (slf.py(), slf.as_super());
        let inner = queue.get().inner();
        let maxsize = maxsize.given().cloned().unwrap_or_else(|| zero(py));
        let keys = inner.fair_keys()?;
        let key = key.filter(|key| !key.is_none()).map(|key| callable("key", key)).transpose()?;
        let is_ranked = is_ranked(within)?;
        let aging = match aging {
            Some(given) if is_ranked => Some(arguments::duration("aging", given)?),
            Some(_) => return Err(PyValueError::new_err("'aging' needs within='priority'")),
            None => is_ranked.then_some(1.0),
        };
        let bound =
            per_key.filter(|per_key| !per_key.is_none()).map(|per_key| arguments::positive("per_key", per_key)).transpose()?;
        let mut fair = Fair::new(bound.unwrap_or(usize::MAX), is_ranked);
        let kept = PyDict::new(py);
        for (key, weight) in pairs("weights", weights)? {
            let weight_number = weight_of(&format!("the weight of {}", text(&key)), &weight)?;
            fair.try_set_weight(keys.hasher.hash(&key)?, weight_number).map_err(|_| no_memory_for_key(py))?;
            kept.set_item(key, weight)?;
        }
        let mut sum: usize = 0;
        let mut places_given = PyInt::new(py, 0).into_any();
        for (key, places) in pairs("reserved", reserved)? {
            let count = arguments::positive(&format!("reserved[{}]", text(&key)), &places)?;
            sum = sum.saturating_add(count);
            places_given = places_given.add(&places)?;
            fair.try_set_reserved(keys.hasher.hash(&key)?, count).map_err(|_| no_memory_for_key(py))?;
        }
        if sum > 0 && limit_of(&maxsize).is_ok_and(|limit| sum >= limit) {
            return Err(too_few_places(text(&places_given), &maxsize));
        }
        if let Some(most) = bound.and_then(|bound| fair.reserved_beyond(bound)) {
            return Err(beyond_per_key(most, bound));
        }
        let settings = Settings { key, weights: kept.unbind(), aging, is_per_key: bound.is_some() };
        let given = composition::Arguments { weigh, max_weight, shed, track_latency: track_latency.0 };
        let composed = composition::parsed(inner, is_ranked, &given)?;
        let about_keys = (is_ranked, bound.is_some());
        let policy = overflow::settings(inner, (&maxsize, composed.1.is_some()), overflow, on_drop, about_keys)?;
        let marks = pressure::watermarks((high, low), &maxsize, composed.0.max_weight)?;
        keys.settings
            .set(settings)
            .map_err(|_| PyRuntimeError::new_err("__init__ was called again: the keys of a FairQueue cannot be changed"))?;
        inner.init(slf.as_any(), Some(&maxsize), policy, (composed.0, composed.1, marks), name, clock)?;
        let mut fair = Some(Box::new(fair));
        let mut replace = |items: &mut Items| {
            let mut fair = fair.take()?;
            items.fair.iter().for_each(|old| fair.keep_notes_as(old));
            items.fair.replace(fair)
        };
        let old = inner.step(slf.as_any(), "__init__", |state, wakes| state.edit(&mut replace, wakes))?;
        drop(old);
        Ok(())
    }

    /// The weights of keys that have been given one, as a dict. To change one, call `set_weight`.
    #[getter]
    fn weights<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        slf.as_super().get().inner().fair_keys()?.settings()?.weights.bind(slf.py()).copy()
    }

    /// Change the weight of a key: at once for room, and with its next round for items.
    ///
    /// Raises ValueError for a weight that is not greater than 0 or not finite, TypeError for one that is not a number or
    /// for a key of another kind.
    fn set_weight(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>, weight: &Bound<'_, PyAny>) -> PyResult<()> {
        let inner = slf.as_super().get().inner();
        let (number, keys) = (weight_of("'weight'", weight)?, inner.fair_keys()?);
        let hash = keys.hasher.hash(key)?;
        let set = |number| {
            inner.step(slf.as_any(), "set_weight", |state, wakes| {
                state.edit(|items| items.fair.as_mut().map(|fair| fair.try_set_weight(hash, number)).transpose(), wakes)
            })
        };
        let before = set(number)?.map_err(|_| no_memory_for_key(slf.py()))?;
        // The way back needs no memory.
        keys.settings()?.weights.bind(slf.py()).set_item(key, weight).inspect_err(|_| drop(before.map(set)))
    }

    /// The largest number of items of one key, or None. It can be assigned: a larger bound wakes waiting putters. It cannot be less
    /// than the places that are reserved for a key.
    #[getter]
    fn per_key(slf: &Bound<'_, Self>) -> Option<usize> {
        let inner = slf.as_super().get().inner();
        let bound = inner.core.look(slf.py(), |items, _, _| items.fair.as_ref().map_or(usize::MAX, |fair| fair.per_key()));
        (bound != usize::MAX).then_some(bound)
    }

    #[setter]
    fn set_per_key(slf: &Bound<'_, Self>, per_key: &Bound<'_, PyAny>) -> PyResult<()> {
        let inner = slf.as_super().get().inner();
        let bound = if per_key.is_none() { usize::MAX } else { arguments::positive("per_key", per_key)? };
        let most = inner.core.look(slf.py(), |items, _, _| items.fair.as_ref().and_then(|fair| fair.reserved_beyond(bound)));
        if let Some(most) = most {
            return Err(beyond_per_key(most, Some(bound)));
        }
        inner.step(slf.as_any(), "per_key", |state, wakes| {
            state.edit(|items| items.fair.as_mut().map(|fair| fair.set_per_key(bound)), wakes)
        })?;
        Ok(())
    }

    /// Return the number of items of this key in the queue at this moment.
    fn key_size(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<usize> {
        let inner = slf.as_super().get().inner();
        let hash = inner.fair_keys()?.hasher.hash(key)?;
        Ok(inner.core.look(slf.py(), |items, _, _| items.fair.as_ref().map_or(0, |fair| fair.len_of(hash))))
    }

    /// Remove the item that is this very object, wherever it is in the queue; it counts as a finished task. Takes time
    /// in proportion to the number of items.
    ///
    /// Raises ValueError if it is not in the queue.
    fn remove(slf: &Bound<'_, Self>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        let inner = slf.as_super().get().inner();
        let removed = inner.step(slf.as_any(), "remove", |state, wakes| {
            let remove = |items: &mut Items| {
                let removed = items.remove_fair(|fair| shown_of(fair).is(item));
                let count = usize::from(removed.is_some());
                (removed, count)
            };
            state.clear(remove, wakes)
        })?;
        let removed = removed.ok_or_else(|| PyValueError::new_err(format!("remove: {} is not in the queue", text(item))))?;
        drop(removed);
        Ok(())
    }

    /// Put an item if there is room for it, or if the overflow policy makes room, without waiting and in one step, as
    /// `Queue.offer` does. Return an `Offered`, which is true if the item is in the queue. `ttl` is that of `put`.
    #[pyo3(signature = (item, *, key = None, priority = None, ttl = None), text_signature = "($self, item, *, key=None, priority=0, ttl=None)")]
    fn offer(
        slf: &Bound<'_, Self>,
        item: &Bound<'_, PyAny>,
        key: Given<'_, '_>,
        priority: Given<'_, '_>,
        ttl: Given<'_, '_>,
    ) -> PyResult<Offered> {
        let (queue, ttl) = (slf.as_super(), arguments::ttl(ttl)?);
        let item = queue.get().inner().with_fair_key(item.clone(), key, priority)?;
        QueueOperation::offer(queue, item, ttl)
    }

    /// Return the operation `put(item, key=key, priority=priority)` for `select`, which then puts the item and returns None.
    #[pyo3(signature = (item, *, key = None, priority = None), text_signature = "($self, item, *, key=None, priority=0)")]
    fn putting(
        slf: &Bound<'_, Self>,
        item: &Bound<'_, PyAny>,
        key: Given<'_, '_>,
        priority: Given<'_, '_>,
    ) -> PyResult<PySelectable> {
        let argument = (item, key, priority).into_pyobject(slf.py())?;
        Ok(PySelectable::new("putting", slf.as_any(), Some(argument.as_any()), make_put))
    }

    /// Put all of `items`, in order, and return the number of items. With `key` all of them have that key.
    ///
    /// `items` is read to its end first, because the key of an item determines its wait queue. The items that fit are put in
    /// one step; after that each item waits in the wait queue of its key, and the items behind it wait for it.
    ///
    /// Raises Full, ShutDown, or the exception of a signal handler, each with an attribute `accepted`: the number of
    /// items that were put.
    #[pyo3(signature = (items, block = true, timeout = None, *, key = None, priority = None), text_signature = "($self, items, block=True, timeout=None, *, key=None, priority=0)")]
    fn put_many(
        slf: &Bound<'_, Self>,
        items: &Bound<'_, PyAny>,
        block: bool,
        timeout: Given<'_, '_>,
        key: Given<'_, '_>,
        priority: Given<'_, '_>,
    ) -> PyResult<Py<PyAny>> {
        let (py, queue) = (slf.py(), slf.as_super());
        let timeout = if block { Timeout::parse_strict("timeout", timeout)? } else { Timeout::Never };
        let items = queue.get().inner().all_with_fair_keys(items, key, priority)?;
        blocking::run(py, &mut QueueOperation::put_all(queue, items)?, timeout)?.into_object(py)
    }

    #[pyo3(signature = (item, timeout, ttl = None))]
    fn _async_put(
        slf: &Bound<'_, Self>,
        item: &Bound<'_, PyAny>,
        timeout: Given<'_, '_>,
        ttl: Given<'_, '_>,
    ) -> PyResult<AsyncOperation> {
        let (queue, ttl) = (slf.as_super(), arguments::ttl(ttl)?);
        let item = queue.get().inner().with_fair_key(item.clone(), None, None)?;
        awaitable(QueueOperation::put(queue, item, ttl)?, timeout)
    }

    #[pyo3(signature = (items, timeout, key = None, priority = None))]
    fn _async_put_many(
        slf: &Bound<'_, Self>,
        items: &Bound<'_, PyAny>,
        timeout: Given<'_, '_>,
        key: Given<'_, '_>,
        priority: Given<'_, '_>,
    ) -> PyResult<AsyncOperation> {
        let queue = slf.as_super();
        let items = queue.get().inner().all_with_fair_keys(items, key, priority)?;
        awaitable(QueueOperation::put_all(queue, items)?, timeout)
    }
}

/// Makes the operation of `putting`. The item gets a new wrapper each time.
fn make_put(queue: &Bound<'_, PyAny>, argument: Given<'_, '_>) -> PyResult<Box<dyn Operation>> {
    let argument = argument.ok_or_else(|| PyTypeError::new_err("putting() without an item"))?;
    let (item, key, priority): (Bound<'_, PyAny>, Option<Bound<'_, PyAny>>, Option<Bound<'_, PyAny>>) = argument.extract()?;
    let queue = queue.cast::<PyFairQueue>()?.as_super();
    let item = queue.get().inner().with_fair_key(item, key.as_ref(), priority.as_ref())?;
    Ok(QueueOperation::put(queue, item, None)?.selected())
}

/// Parses `within`.
fn is_ranked(within: Given<'_, '_>) -> PyResult<bool> {
    let Some(within) = within else { return Ok(false) };
    let name = within.cast::<PyString>().ok().and_then(|name| name.to_str().ok().map(str::to_owned));
    match name.as_deref() {
        Some("fifo") => Ok(false),
        Some("priority") => Ok(true),
        Some(_) => Err(PyValueError::new_err(format!("'within' must be 'fifo' or 'priority', not {}", text(within)))),
        None => Err(PyTypeError::new_err(format!("'within' must be 'fifo' or 'priority', not {}", text(within)))),
    }
}
