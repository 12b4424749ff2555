//! `select`: several operations of which exactly one happens, and the objects that describe these operations.
//!
//! It is an [`Operation`] that consists of operations, and does not depend on any primitive. A class makes an operation selectable by returning
//! a [`PySelectable`]: the object, an argument, and a function that creates the operation, anew for each selection. `sluicegate_core::select`
//! says how one is chosen, and why no wake-up is lost.
//!
//! Members have no deadline of their own, because a member with a deadline might be refused although another member could still happen. The
//! code that waits (`blocking`, `aio`) enforces the deadline of the selection.

use std::fmt::{self, Debug};
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::{PyTimeoutError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyEllipsis, PyFloat, PyInt, PyList, PyTuple, PyType};
use sluicegate_core::clock::{Clock, Nanos};
use sluicegate_core::select::Draw;
use sluicegate_core::wait::Wakes;

use crate::rt::Item;
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{Argument, Timeout, text, type_name};
use crate::rt::blocking;
use crate::rt::class::refuse_copies;
use crate::rt::exceptions::made_at_once;
use crate::rt::guarded;
use crate::rt::imported::imported;
use crate::rt::kept::{Kept, interned};
use crate::rt::memory;
use crate::rt::operation::{Done, Mode, Operation};
use crate::rt::registration::{Interruptible, Registered};
use crate::rt::waker::Waker;

/// Creates the operation on this object, with the argument that was given.
pub(crate) type Make = fn(&Bound<'_, PyAny>, Option<&Bound<'_, PyAny>>) -> PyResult<Box<dyn Operation>>;

/// An operation that `select` can choose: what `getting`, `putting`, `receiving`, `sending`, `acquiring` and `changing` of
/// the objects return.
///
/// It describes an operation and performs nothing until it is selected, so it can be used in any number of selections, also by several
/// threads and tasks at the same time. It cannot be instantiated.
#[pyclass(frozen, weakref, generic, name = "Selectable", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PySelectable {
    name: &'static str,
    object: Py<PyAny>,
    argument: Option<Item>,
    make: Make,
}

impl PySelectable {
    /// `name` is that of the method that returns it.
    pub(crate) fn new(name: &'static str, object: &Bound<'_, PyAny>, argument: Option<&Bound<'_, PyAny>>, make: Make) -> Self {
        let argument = argument.map(|argument| argument.clone().unbind());
        Self { name, object: object.clone().unbind(), argument, make }
    }

    fn operation(&self, py: Python<'_>) -> PyResult<Box<dyn Operation>> {
        (self.make)(self.object.bind(py), self.argument.as_ref().map(|argument| argument.bind(py)))
    }
}

#[pymethods]
impl PySelectable {
    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<{} of {}>", self.name, text(self.object.bind(py)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.object)?;
        visit.call(&self.argument)
    }
}

refuse_copies!(PySelectable);

/// `Ready(index, value)`; the index of the default is -1. Made without running Python: what has been taken must not be lost to a signal handler that raises.
fn ready(py: Python<'_>, index: Option<usize>, value: Item) -> PyResult<Item> {
    static CLASS: Kept<PyType> = Kept::new();
    static NEW: Kept<PyAny> = Kept::new();
    let class = imported(py, &CLASS, "sluicegate._select", "Ready")?;
    let index = match index {
        Some(index) => index.into_pyobject(py)?,
        None => (-1).into_pyobject(py)?,
    };
    let new = match NEW.get(py) {
        Some(new) => new,
        None => NEW.keep(py.get_type::<PyTuple>().getattr(interned!(py, "__new__"))?),
    };
    guarded::call(new, &(class, (index, value)).into_pyobject(py)?).map(Bound::unbind)
}

/// The number of selections so far.
static SEED: AtomicU64 = AtomicU64::new(0);

/// The operation, see the head of this file.
struct Select {
    members: Vec<Box<dyn Operation>>,
    draw: Draw,
    /// The result if no operation is ready, instead of an error.
    default: Option<Item>,
    /// There has been an attempt: what is left is to wait.
    has_arrived: bool,
}

impl Debug for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select").field("members", &self.members).finish_non_exhaustive()
    }
}

impl Select {
    /// Creates the operation from the arguments; also returns the timeout.
    fn parse(
        members: &Bound<'_, PyTuple>,
        timeout: Option<&Bound<'_, PyAny>>,
        default: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<(Self, Timeout)> {
        let py = members.py();
        let default = default.filter(|default| !default.is(PyEllipsis::get(py)));
        let mut limit = Timeout::parse_strict("timeout", timeout)?;
        if default.is_some() {
            if !matches!(limit, Timeout::Forever) {
                return Err(PyTypeError::new_err(
                    "'timeout' and 'default' cannot be given together: with 'default' select never waits",
                ));
            }
            limit = Timeout::Never;
        }
        if members.is_empty() {
            return Err(PyValueError::new_err("select needs at least one operation to choose from"));
        }
        let no_memory = |_| memory::none(py, c"there is no memory for so many operations");
        let mut operations: Vec<Box<dyn Operation>> = Vec::new();
        operations.try_reserve_exact(members.len()).map_err(no_memory)?;
        for member in members.iter_borrowed() {
            let Ok(member) = member.cast::<PySelectable>() else {
                let hint = if member.is_instance_of::<PyList>() || member.is_instance_of::<PyTuple>() {
                    "; write `*` before the sequence"
                } else if member.is_instance_of::<PyFloat>() || member.is_instance_of::<PyInt>() {
                    "; give the timeout by name, `timeout=`"
                } else {
                    ""
                };
                return Err(PyTypeError::new_err(format!(
                    "select takes what getting(), putting(), receiving(), sending(), acquiring(), changing() or publishing() returns, not {} ({}){}",
                    text(&member),
                    type_name(&member),
                    hint
                )));
            };
            operations.push(member.get().operation(py)?);
        }
        let clock = operations[0].clock(py);
        if let Some(other) = operations.iter().position(|operation| !operation.clock(py).is(&clock)) {
            return Err(PyValueError::new_err(format!(
                "the objects of a selection must have the same clock: that of {} is not that of {}",
                text(&members.get_item(other)?),
                text(&members.get_item(0)?)
            )));
        }
        // Relaxed: each selection gets a different seed; their order does not matter.
        let draw = Draw::new(operations.len(), SEED.fetch_add(1, Ordering::Relaxed)).map_err(no_memory)?;
        let default = default.map(|default| default.clone().unbind());
        Ok((Self { members: operations, draw, default, has_arrived: false }, limit))
    }

    /// Attempts each operation until one has happened. If one of them fails, returns its error, with its position recorded on it.
    fn round(&mut self, py: Python<'_>, mode: Mode<'_>, now: Nanos) -> PyResult<Option<Done>> {
        let Self { members, draw, .. } = self;
        let Some((index, outcome)) = draw.first_ready(|index| members[index].attempt(py, mode, now).transpose()) else {
            return Ok(None);
        };
        match outcome {
            Ok(done) => ready(py, Some(index), done.into_object(py)?).map(|ready| Some(Done::Item(ready))),
            Err(error) => {
                let error = made_at_once(py, error);
                // An exception that accepts no attribute is raised without it.
                let _ = error.value(py).setattr(interned!(py, "select_index"), index);
                Err(error)
            }
        }
    }
}

/// The places of all members, for use while signal handlers run.
struct Places(Vec<Box<dyn Interruptible>>);

impl Interruptible for Places {
    fn interrupted(&self, py: Python<'_>) {
        self.0.iter().for_each(|place| place.interrupted(py));
    }

    fn step_aside(&self, py: Python<'_>) {
        self.0.iter().for_each(|place| place.step_aside(py));
    }

    fn step_back(&self, py: Python<'_>) {
        self.0.iter().for_each(|place| place.step_back(py));
    }
}

impl Registered for Select {
    fn clock(&self, py: Python<'_>) -> Clock<Waker> {
        self.members[0].clock(py)
    }

    fn set_deadline(&mut self, _deadline: Option<Nanos>) {}

    fn look_again_at(&self) -> Option<Nanos> {
        self.members.iter().filter_map(|member| member.look_again_at()).min()
    }

    fn interruptible(&self, py: Python<'_>) -> Option<Box<dyn Interruptible>> {
        let places: Vec<_> = self.members.iter().filter_map(|member| member.interruptible(py)).collect();
        (!places.is_empty()).then(|| Box::new(Places(places)) as Box<dyn Interruptible>)
    }

    fn withdraw(&mut self, py: Python<'_>) -> Wakes<Waker> {
        let mut wakes = Wakes::none();
        self.members.iter_mut().for_each(|member| wakes.append(member.withdraw(py)));
        wakes
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.default)?;
        self.members.iter().try_for_each(|member| member.traverse(visit))
    }
}

impl Operation for Select {
    fn names(&self) -> (&'static str, &'static str) {
        ("select", "select_async")
    }

    fn registration(&self) -> &dyn Registered {
        self
    }

    fn registration_mut(&mut self) -> &mut dyn Registered {
        self
    }

    fn attempt(&mut self, py: Python<'_>, mode: Mode<'_>, now: Nanos) -> PyResult<Option<Done>> {
        // On an event loop the first attempt may have to wait: first try all members without joining any wait queue.
        if !std::mem::replace(&mut self.has_arrived, true) && matches!(mode, Mode::Park(_)) {
            if let Some(done) = self.round(py, Mode::TryFair, now)? {
                return Ok(Some(done));
            }
        }
        self.round(py, mode, now)
    }

    fn leave(&mut self, py: Python<'_>) {
        self.members.iter_mut().for_each(|member| member.leave(py));
    }

    fn out_of_time(&self, py: Python<'_>, timeout: Timeout) -> PyResult<Done> {
        if let Some(default) = &self.default {
            return ready(py, None, default.clone_ref(py)).map(Done::Item);
        }
        let (asked, count) = (timeout.asked("select"), self.members.len());
        Err(PyTimeoutError::new_err(if count == 1 {
            format!("{asked}: its one operation was not ready")
        } else {
            format!("{asked}: none of its {count} operations was ready")
        }))
    }
}

/// Wait until one of several operations can happen, do exactly that one, and return `Ready(index, value)`: its position
/// among the arguments, and what its own method would have returned.
///
/// The operations are what `getting()` and `putting(item)` of queues, `receiving()` and `sending(item)` of channels,
/// `acquiring(n)` of semaphores and limiters and `changing(since)` of a `Latest` return. The other operations have no effect.
///
/// Waits indefinitely if `timeout` is None, otherwise for at most `timeout` seconds. With `default` it does not wait: if no
/// operation can happen at once, it returns `Ready(-1, default)`.
///
/// Raises TimeoutError if none could happen in time. If an operation can only fail, because its object has been shut down or
/// closed or refuses it, its own exception is raised, with its position in an attribute `select_index`. Raises ValueError if
/// there is no operation or if the objects have different clocks; ValueError, TypeError or OverflowError for an invalid
/// argument.
///
/// Fairness: if several operations can happen at once, each is equally likely to be chosen. While it waits, the call is in the
/// wait queue of each object, behind the waiters that came before it. If an exception from a signal handler interrupts the
/// call, nothing has happened.
#[pyfunction]
#[pyo3(signature = (*members, timeout = None, default = Argument::MISSING), text_signature = "(*members, timeout=None, default=...)")]
pub(crate) fn select(
    members: &Bound<'_, PyTuple>,
    timeout: Option<&Bound<'_, PyAny>>,
    default: Argument<'_, '_>,
) -> PyResult<Py<PyAny>> {
    let (mut operation, timeout) = Select::parse(members, timeout, default.given())?;
    blocking::run(members.py(), &mut operation, timeout)?.into_object(members.py())
}

/// The operation behind `select_async`.
#[pyfunction]
#[pyo3(signature = (*members, timeout = None, default = Argument::MISSING))]
pub(crate) fn _async_select(
    members: &Bound<'_, PyTuple>,
    timeout: Option<&Bound<'_, PyAny>>,
    default: Argument<'_, '_>,
) -> PyResult<AsyncOperation> {
    let (operation, timeout) = Select::parse(members, timeout, default.given())?;
    Ok(AsyncOperation::new(operation, timeout))
}
