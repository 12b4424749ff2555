//! `Body`: what every queue class has inside, whatever its interface.
//!
//! The core's queue, and in its section what only Python knows of: the name, the object given as `maxsize`, the error by which a
//! producer left. So `maxsize` and the bound change in one step, and a snapshot shows both as they were at one moment.

use pyo3::PyClass;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyInt;
use sluicegate_core::buffer::Buffer;
use sluicegate_core::clock::Clock as CoreClock;
use sluicegate_core::queue::{Queue as CoreQueue, Side, Spot, UNBOUNDED};
use sluicegate_core::wait::Ticket;

use crate::queue::items::Store;
use crate::rt::arguments;
use crate::rt::clock;
use crate::rt::domain::Attached;
use crate::rt::exceptions;
use crate::rt::gc::{Shown, attached_in_traverse};
use crate::rt::operation::Place;
use crate::rt::waker::Waker;

pub(crate) type Core = CoreQueue<Store, Waker, Attached, Extras>;

/// What the class of a queue, a user's subclass perhaps, overrides. Settled when the queue is made.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Overrides {
    /// `_init`, `_qsize`, `_put` or `_get`: the subclass keeps the items.
    pub(crate) hooks: bool,
    pub(crate) put: bool,
    pub(crate) get: bool,
}

/// Python's side of the state, inside the core's section: nothing here may be dropped there, so what is displaced is carried out.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    pub(crate) maxsize: Option<Py<PyAny>>,
    /// `maxsize` cannot be compared with a number; the error comes when it has to be, as in the standard library.
    pub(crate) maxsize_is_odd: bool,
    pub(crate) name: Option<Py<PyAny>>,
    pub(crate) clock: Option<Py<PyAny>>,
    /// The exception by which a producer (or the last consumer) left.
    pub(crate) failure: Option<Py<PyAny>>,
    /// The `queue` attribute of a subclass that keeps the items itself.
    pub(crate) storage: Option<Py<PyAny>>,
}

#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) core: Core,
    pub(crate) overrides: Overrides,
    pub(crate) slow: bool,
    /// How objects of its class are asked for it.
    pub(crate) of: BodyOf,
}

/// A bound as the core counts it: `size >= maxsize` is `size >= limit`, and `maxsize <= 0` is no bound.
pub(crate) fn limit_of(maxsize: &Bound<'_, PyAny>) -> PyResult<usize> {
    if let Ok(exact) = maxsize.cast_exact::<PyInt>() {
        return Ok(match exact.extract::<i64>() {
            Ok(n) if n <= 0 => UNBOUNDED,
            Ok(n) => usize::try_from(n).unwrap_or(UNBOUNDED - 1),
            Err(_) if maxsize.lt(0)? => UNBOUNDED,
            Err(_) => UNBOUNDED - 1,
        });
    }
    if !maxsize.gt(0)? {
        return Ok(UNBOUNDED); // NaN too: no comparison with it is true
    }
    // The least whole number that reaches it.
    let float: f64 = maxsize.extract()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and saturating is what is meant")]
    Ok((float.ceil() as usize).clamp(1, UNBOUNDED - 1))
}

impl Body {
    pub(crate) fn new(store: Store, overrides: Overrides, of: BodyOf) -> Self {
        let slow = store.needs_baton();
        let core = Core::with_extras(store, Extras::default(), UNBOUNDED, CoreClock::Monotonic);
        Self { core, overrides, slow, of }
    }

    pub(crate) fn extra(&self, py: Python<'_>, place: impl FnOnce(&Extras) -> &Option<Py<PyAny>>) -> Option<Py<PyAny>> {
        self.core.look(py, |_, _, extras| place(extras).as_ref().map(|value| value.clone_ref(py)))
    }

    /// The queue is made, or made anew: empty, with these settings. Those who wait go on waiting.
    pub(crate) fn init(
        &self,
        py: Python<'_>,
        maxsize: Option<&Bound<'_, PyAny>>,
        name: Option<&Bound<'_, PyAny>>,
        clock: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let name = arguments::name_argument(name)?;
        let clock = clock::choose(py, clock)?;
        let core_clock = clock.as_ref().map_or(CoreClock::Monotonic, |clock| clock.get().clock.clone());
        let limit = maxsize.map_or(Ok(UNBOUNDED), limit_of);
        let fresh = Extras {
            maxsize: maxsize.map(|maxsize| maxsize.clone().unbind()),
            maxsize_is_odd: limit.is_err(),
            name: name.map(Bound::unbind),
            clock: clock.map(|clock| clock.into_any().unbind()),
            ..Extras::default()
        };
        // The store is emptied, not replaced: its kind was settled when the object was made.
        let empty = |store: &mut Store, extras: &mut Extras| {
            let storage = extras.storage.take();
            (store.take_all(), std::mem::replace(extras, Extras { storage, ..fresh }))
        };
        let (wakes, old) = self.core.reset(py, empty, limit.unwrap_or(0), core_clock);
        wakes.fire();
        drop(old);
        Ok(())
    }

    /// `maxsize` has been assigned.
    pub(crate) fn set_maxsize(&self, py: Python<'_>, maxsize: &Bound<'_, PyAny>) {
        let limit = limit_of(maxsize);
        let odd = limit.is_err();
        let maxsize = maxsize.clone().unbind();
        // With a bound of nothing every put is refused, and then the error is reported.
        let (wakes, old) = self.core.set_limit_with(py, limit.unwrap_or(0), |extras| {
            extras.maxsize_is_odd = odd;
            extras.maxsize.replace(maxsize)
        });
        wakes.fire();
        drop(old);
    }

    /// Is there a bound? Raises what comparing an odd `maxsize` raises.
    pub(crate) fn is_bounded(&self, py: Python<'_>) -> PyResult<bool> {
        let (limit, odd) = self.core.look(py, |_, limit, extras| {
            (limit, extras.maxsize.as_ref().filter(|_| extras.maxsize_is_odd).map(|maxsize| maxsize.clone_ref(py)))
        });
        odd.map_or(Ok(limit != UNBOUNDED), |maxsize| maxsize.bind(py).gt(0))
    }

    pub(crate) fn shut_down_error(&self, py: Python<'_>, operation: &str) -> PyErr {
        let error = exceptions::shut_down(py, format!("{operation}: the queue has been shut down"));
        if let Some(cause) = self.extra(py, |extras| &extras.failure) {
            error.set_cause(py, Some(PyErr::from_value(cause.into_bound(py))));
        }
        error
    }

    /// "3 of 10 items" for messages.
    pub(crate) fn holds(&self, py: Python<'_>) -> String {
        let (size, limit, name) =
            self.core.look(py, |store, limit, extras| (store.len(), limit, extras.name.as_ref().map(|name| name.clone_ref(py))));
        let name = name.map_or_else(String::new, |name| format!(" {}", arguments::text(name.bind(py))));
        match limit {
            UNBOUNDED => format!("the queue{name} holds {size} items and has no bound"),
            limit => format!("the queue{name} holds {size} of {limit} items"),
        }
    }

    pub(crate) fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let py = attached_in_traverse();
        let shown = Shown::to(&visit);
        self.core.look(py, |store, _, extras| {
            let Extras { maxsize, name, clock, failure, storage, maxsize_is_odd: _ } = extras;
            for object in [maxsize, name, clock, failure, storage] {
                shown.object(object);
            }
            store.items().for_each(|item| shown.object(item));
        });
        self.core.visit_wakers(py, |waker| shown.waker(waker));
        shown.outcome()
    }

    /// Breaks cycles: everything that can be emptied is moved out and dropped here, outside the section.
    pub(crate) fn clear(&self, py: Python<'_>) {
        let items = self.core.with_buffer(py, Store::take_all);
        let extras = self.core.change_extras(py, std::mem::take);
        drop((items, extras));
    }
}

/// A class with a [`Body`], and the rules in which the two kinds of queue differ.
pub(crate) trait HasBody: PyClass<Frozen = pyo3::pyclass::boolean_struct::True> + Sync {
    /// For messages.
    const CLASS: &'static str;
    /// `get` refuses a timeout that is too long even when it need not wait.
    const TIMEOUT_FIRST: bool;

    fn body(&self) -> &Body;
}

/// How an object of one of the classes is asked for its body.
pub(crate) type BodyOf = for<'a, 'py> fn(&'a Bound<'py, PyAny>) -> &'a Body;

pub(crate) fn body_of<'a, C: HasBody>(this: &'a Bound<'_, PyAny>) -> &'a Body {
    this.cast::<C>().expect("an object of this class").get().body()
}

/// A Python object of one of our classes, with its body at hand.
pub(crate) struct Object<'a, 'py> {
    pub(crate) this: &'a Bound<'py, PyAny>,
    pub(crate) body: &'a Body,
}

impl<'py> Object<'_, 'py> {
    pub(crate) fn py(&self) -> Python<'py> {
        self.this.py()
    }
}

/// The place of an operation on a queue.
pub(crate) struct QueuePlace {
    queue: Py<PyAny>,
    of: BodyOf,
    place: (Side, Ticket),
}

impl QueuePlace {
    pub(crate) fn of(queue: &Bound<'_, PyAny>, of: BodyOf, spot: &Spot) -> Option<Box<dyn Place>> {
        let place = spot.place()?;
        Some(Box::new(Self { queue: queue.clone().unbind(), of, place }))
    }
}

impl Place for QueuePlace {
    fn step_aside(&self, py: Python<'_>) {
        (self.of)(self.queue.bind(py)).core.step_aside(py, self.place).fire();
    }

    fn step_back(&self, py: Python<'_>) {
        (self.of)(self.queue.bind(py)).core.step_back(py, self.place).fire();
    }
}
