//! The state of an operation while it waits: the object that it works on, and its place in one of the object's wait queues.
//!
//! A class defines how its wait queues are reached ([`WaitableClass`]). The rest is the same for every primitive, and is here: the clock,
//! stepping aside while signal handlers run, leaving the wait queue, and visiting for the garbage collector.

use std::fmt::{self, Debug};

use pyo3::PyClass;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use sluicegate_core::clock::{Clock, Nanos};
use sluicegate_core::monitor::Waitable;
use sluicegate_core::wait::Wakes;

use super::domain::Attached;
use super::waker::Waker;

/// A class whose objects have wait queues.
pub(crate) trait WaitableClass: PyClass<Frozen = True> + Debug + Sync {
    type Waitable: Waitable<Waker, Attached>;

    fn waitable(&self) -> &Self::Waitable;
}

/// How an operation refers to the object it works on: by an ordinary reference, unless a class needs more.
pub(crate) trait Anchor: Debug + Send + Sync + 'static {
    type Waitable: Waitable<Waker, Attached>;

    fn waitable<'a>(&'a self, py: Python<'a>) -> &'a Self::Waitable;
    fn clone_ref(&self, py: Python<'_>) -> Self;
    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError>;
}

impl<C: WaitableClass> Anchor for Py<C> {
    type Waitable = C::Waitable;

    #[inline]
    fn waitable<'a>(&'a self, _py: Python<'a>) -> &'a C::Waitable {
        self.get().waitable()
    }

    fn clone_ref(&self, py: Python<'_>) -> Self {
        self.clone_ref(py)
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(self)
    }
}

pub(crate) type WaiterOf<A> = <<A as Anchor>::Waitable as Waitable<Waker, Attached>>::Waiter;
type PositionOf<A> = <<A as Anchor>::Waitable as Waitable<Waker, Attached>>::Position;

/// See the head of this file.
pub(crate) struct Registration<A: Anchor> {
    pub(crate) object: A,
    pub(crate) waiter: WaiterOf<A>,
    /// The deadline of the operation, once it is known.
    pub(crate) deadline: Option<Nanos>,
    /// The time at which it needs another attempt even if it has not been woken.
    pub(crate) look_again_at: Option<Nanos>,
}

impl<A: Anchor> Registration<A> {
    #[inline]
    pub(crate) fn new(object: A) -> Self {
        Self { object, waiter: WaiterOf::<A>::default(), deadline: None, look_again_at: None }
    }
}

impl<A: Anchor> Debug for Registration<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("object", &self.object).field("waiter", &self.waiter).finish_non_exhaustive()
    }
}

/// The methods of a registration with an object of any class. The defaults are for an operation that is in no wait queue.
pub(crate) trait Registered {
    /// The clock of the object.
    fn clock(&self, py: Python<'_>) -> Clock<Waker>;

    fn set_deadline(&mut self, deadline: Option<Nanos>);

    fn look_again_at(&self) -> Option<Nanos>;

    /// Its place in the wait queue, for use while signal handlers run on the waiting thread.
    fn interruptible(&self, _py: Python<'_>) -> Option<Box<dyn Interruptible>> {
        None
    }

    /// Leaves the wait queue. The caller fires the wake-ups that follow.
    fn withdraw(&mut self, _py: Python<'_>) -> Wakes<Waker> {
        Wakes::none()
    }

    /// Visits the objects that it holds, for the garbage collector.
    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError>;
}

impl<A: Anchor> Registered for Registration<A> {
    fn clock(&self, py: Python<'_>) -> Clock<Waker> {
        self.object.waitable(py).clock(py)
    }

    #[inline]
    fn set_deadline(&mut self, deadline: Option<Nanos>) {
        self.deadline = deadline;
    }

    #[inline]
    fn look_again_at(&self) -> Option<Nanos> {
        self.look_again_at
    }

    fn interruptible(&self, py: Python<'_>) -> Option<Box<dyn Interruptible>> {
        interruptible(&self.object, &self.waiter, py)
    }

    #[inline]
    fn withdraw(&mut self, py: Python<'_>) -> Wakes<Waker> {
        self.object.waitable(py).leave(py, &mut self.waiter)
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.object.traverse(visit)
    }
}

/// A place in a wait queue whose owner runs signal handlers.
pub(crate) trait Interruptible {
    /// Called before the signal handlers run.
    fn interrupted(&self, py: Python<'_>);

    /// Called when a handler begins a wait of its own: this waiter cannot try for a while, so it steps aside.
    fn step_aside(&self, py: Python<'_>);

    /// Called when that wait has ended: the waiter steps back into its place.
    fn step_back(&self, py: Python<'_>);
}

/// The place of an operation with this waiter, if it is in a wait queue.
pub(crate) fn interruptible<A: Anchor>(object: &A, waiter: &WaiterOf<A>, py: Python<'_>) -> Option<Box<dyn Interruptible>> {
    let position = A::Waitable::position(waiter)?;
    Some(Box::new(InterruptiblePosition { object: object.clone_ref(py), position }))
}

struct InterruptiblePosition<A: Anchor> {
    object: A,
    position: PositionOf<A>,
}

impl<A: Anchor> Interruptible for InterruptiblePosition<A> {
    fn interrupted(&self, py: Python<'_>) {
        if <A::Waitable as Waitable<_, _>>::FIRST_KEEPS_TIME {
            self.step_aside(py);
        }
    }

    fn step_aside(&self, py: Python<'_>) {
        self.object.waitable(py).step_aside(py, self.position).fire();
    }

    fn step_back(&self, py: Python<'_>) {
        self.object.waitable(py).step_back(py, self.position).fire();
    }
}

/// Implements the methods of an operation that return its registration, given the name of the field.
macro_rules! registration {
    ($field:tt) => {
        fn registration(&self) -> &dyn $crate::rt::registration::Registered {
            &self.$field
        }

        fn registration_mut(&mut self) -> &mut dyn $crate::rt::registration::Registered {
            &mut self.$field
        }
    };
}
pub(crate) use registration;
