//! The hot methods for batches. Their fast forms do one thing: they refuse a call that does not wait, where there is nothing or no room,
//! without the operation that the general forms make.

use pyo3::prelude::*;
use sluicegate_core::clock::nanos;
use sluicegate_core::queue::Admission;

use crate::queue::classes::{PyLifoQueue, PyPriorityQueue, PyQueue, PySimpleQueue};
use crate::queue::hot::{is_refused_unasked, is_trivial, is_true, refuse};
use crate::queue::inner::{QueueClass, QueueInner, Refused};
use crate::queue::ops::QueueOperation;
use crate::rt::arguments::{self, Timeout};
use crate::rt::blocking;
use crate::rt::hot::{Fast, is_filled, is_positive};
use crate::rt::hot_methods::hot_methods;

type Argument<'a, 'py> = Option<Borrowed<'a, 'py, PyAny>>;

/// Raises Full or Empty if these arguments are valid, the call does not wait, and nothing of the batch is possible.
#[inline]
fn refuse_batch(
    py: Python<'_>,
    inner: &QueueInner,
    refused: Refused,
    asks_for_something: bool,
    (block, timeout): (Argument<'_, '_>, Argument<'_, '_>),
) -> Fast {
    let at_once = asks_for_something && is_trivial(block, timeout) == Some(Admission::Immediate);
    if at_once && is_refused_unasked(py, inner, refused.side()) { refuse(py, inner, refused) } else { Fast::Declined }
}

fn timeout_of(block: Argument<'_, '_>, timeout: Argument<'_, '_>) -> PyResult<Timeout> {
    if is_true(block)? { Timeout::parse_strict("timeout", timeout.as_deref()) } else { Ok(Timeout::Never) }
}

/// The general form of `get_many`.
fn get_batch<C: QueueClass>(
    this: &Bound<'_, C>,
    (max, max_weight): (&Bound<'_, PyAny>, Argument<'_, '_>),
    (block, timeout): (Argument<'_, '_>, Argument<'_, '_>),
    linger: Argument<'_, '_>,
) -> PyResult<Py<PyAny>> {
    let bounds = this.get().inner().batch_bounds(max, max_weight.as_deref())?;
    let linger = linger.map_or(Ok(0.0), |linger| arguments::duration("linger", &linger))?;
    let timeout = timeout_of(block, timeout)?;
    let mut operation = QueueOperation::get_many(this, bounds, nanos(linger));
    blocking::run(this.py(), &mut operation, timeout)?.into_object(this.py())
}

/// `put_many`, which is the same in both kinds of queue, and the `get_many` that follows.
macro_rules! batch_methods {
    (fn $install:ident() for $class:ident as $class_name:literal; $($get_many:tt)*) => {
        hot_methods! {
            fn $install() for $class as $class_name;

            /// Put all of `items`, in order, and return the number of items.
            ///
            /// If a list or tuple fits, it is put in one step. Otherwise items are put in chunks as room appears, with no other
            /// putter's items between them, waiting for room as `put` does. An item is taken from an iterator only when there
            /// is room for it, so afterwards the iterator is at the first item that was not put.
            ///
            /// Raises Full, ShutDown, or the exception of a signal handler or of the iterable, each with an attribute
            /// `accepted`: the number of items that were put.
            fn put_many(this, items, block = True, timeout = None) {
                fast: refuse_batch(this.py(), this.get().inner(), Refused::PutMany, is_filled(items), (block, timeout)),
                general: {
                    let timeout = timeout_of(block, timeout)?;
                    blocking::run(this.py(), &mut QueueOperation::put_many(this, &items)?, timeout)?.into_object(this.py())
                },
            }

            $($get_many)*
        }
    };
}

batch_methods! {
    fn install_queue() for PyQueue as "Queue";

    /// Remove and return 1 to `max` items, as a list.
    ///
    /// Waits for the first item as `get` does. With `linger` it then waits up to that many seconds for more items:
    /// until `max` are there, the queue is full, a putter is waiting, or the queue is shut down. Meanwhile it keeps its
    /// position in the wait queue and has taken nothing.
    ///
    /// With `max_weight` the list ends before the item that would make it heavier than that, as `weigh` of the queue has
    /// weighed it; an item that is heavier than that alone comes in a list of its own. `linger` then also ends when the
    /// items in the queue weigh `max_weight` together.
    ///
    /// Raises Empty if there was no item (in time), ShutDown if the queue has been shut down and is empty, ValueError,
    /// TypeError or OverflowError for an invalid `max`, `max_weight`, `timeout` or `linger`, and ValueError for
    /// `max_weight` if the queue was made without `weigh`.
    fn get_many(this, max, block = True, timeout = None, *, linger = 0.0, max_weight = None) {
        fast: {
            let asks = linger.is_none() && max_weight.is_none() && is_positive(max);
            refuse_batch(this.py(), this.get().inner(), Refused::GetMany, asks, (block, timeout))
        },
        general: get_batch(this, (&max, max_weight), (block, timeout), linger),
    }
}

batch_methods! {
    fn install_simple() for PySimpleQueue as "SimpleQueue";

    /// Remove and return 1 to `max` items, as a list.
    ///
    /// Waits for the first item as `get` does. With `linger` it then waits up to that many seconds for more items, until
    /// `max` are there. Meanwhile it keeps its position in the wait queue and has taken nothing.
    ///
    /// Raises Empty if there was no item (in time), ValueError, TypeError or OverflowError for an invalid `max`, `timeout`
    /// or `linger`.
    fn get_many(this, max, block = True, timeout = None, *, linger = 0.0) {
        fast: {
            let asks = linger.is_none() && is_positive(max);
            refuse_batch(this.py(), this.get().inner(), Refused::GetMany, asks, (block, timeout))
        },
        general: get_batch(this, (&max, None), (block, timeout), linger),
    }
}

pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    for class in [py.get_type::<PyQueue>(), py.get_type::<PyLifoQueue>(), py.get_type::<PyPriorityQueue>()] {
        install_queue(&class)?;
    }
    install_simple(&py.get_type::<PySimpleQueue>())
}
