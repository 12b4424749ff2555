//! `queue.mutex`: the core's mutex of a queue (see `sluicegate_core::queue`, file `mutex`) as Python's programs take it, for an operation
//! that must have it. The conditions that share it are in `conditions`.
//!
//! Its owner is the task that runs on the thread, else the thread: two tasks of one loop are not both the owner. A call that
//! would wait on a thread for an owner on that same thread would wait for ever, so it raises.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use sluicegate_core::clock::MAX_SECONDS;
use sluicegate_core::fork;
use sluicegate_core::queue::{MutexOwner, MutexTaken, State, Waiter};
use sluicegate_core::wait::{Parker, Wakes};

use crate::queue::inner::{BoundQueue, Extras, InnerOf, QueueInner, QueueRef};
use crate::queue::items::Items;
use crate::rt::aio::caller_number;
use crate::rt::arguments::{Argument, in_seconds, text};
use crate::rt::blocking;
use crate::rt::kept::interned;
use crate::rt::process::this_is_the_main_thread;
use crate::rt::registration::interruptible;
use crate::rt::waker::Waker;
use crate::rt::{guarded, interrupts};

/// Waits, detached, until `attempt` gives something. It is asked first, and again whenever the waker that it is shown has been woken.
/// `None` when the time is over.
pub(in crate::queue) fn wait_for_turn<R>(
    object: &BoundQueue<'_, '_>,
    limit: Option<Duration>,
    mut attempt: impl FnMut(&mut Waiter, &Waker) -> Option<R>,
) -> PyResult<Option<R>> {
    let py = object.py();
    let parker = Arc::new(Parker::default());
    let waker = Waker::Thread(Arc::clone(&parker));
    let mut waiter = Waiter::default();
    let mut result = attempt(&mut waiter, &waker);
    if result.is_some() {
        return Ok(result);
    }
    blocking::step_aside(py);
    let deadline = limit.map(|limit| Instant::now() + limit);
    let main = this_is_the_main_thread();
    let mut outcome = Ok(());
    while result.is_none() && outcome.is_ok() {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            break;
        }
        blocking::sleep(py, &parker, left, main);
        let generation = fork::generation();
        if main {
            outcome = blocking::run_handlers(py, interruptible(&QueueRef::new(object), &waiter, py));
        }
        if outcome.is_ok() && (parker.is_notified() || fork::generation() != generation) {
            parker.reset();
            result = attempt(&mut waiter, &waker);
        }
    }
    object.inner.core.leave(py, &mut waiter).fire();
    outcome.map(|()| result)
}

/// Takes the mutex for this owner, once more if it is the owner's already. False when the time is over.
pub(in crate::queue) fn lock_mutex(
    object: &BoundQueue<'_, '_>,
    owner: MutexOwner,
    limit: Option<Duration>,
    operation: &str,
) -> PyResult<bool> {
    let (py, inner) = (object.py(), object.inner);
    let taken = wait_for_turn(object, limit, |waiter, waker| {
        let (wakes, taken) = inner.core.lock_mutex(py, owner, inner.stand_in(), Some((waiter, waker)));
        wakes.fire();
        Some(taken).filter(|taken| *taken != MutexTaken::Busy)
    })?;
    match taken {
        Some(MutexTaken::Deadlock) => Err(PyRuntimeError::new_err(format!(
            "{operation} would wait forever: another task of this thread, or code outside its event loop, holds the queue's mutex"
        ))),
        taken => Ok(taken.is_some()),
    }
}

fn unlock_mutex(object: &BoundQueue<'_, '_>, owner: MutexOwner) -> PyResult<()> {
    measure(object, owner);
    let (wakes, late) = object.inner.core.unlock_mutex(object.py(), owner);
    wakes.fire();
    if object.inner.keys.is_some() {
        object.inner.core.prod_putters(object.py()).fire(); // keys may have come meanwhile that they wait with
    }
    let late = late.map(|late| object.inner.report_late(object.py(), late));
    late.map_err(|_| PyRuntimeError::new_err("cannot release the mutex of a queue: the caller does not hold it"))
}

/// The owner may have changed by hand what a subclass keeps: nobody is woken for items that are not there.
pub(in crate::queue) fn measure(object: &BoundQueue<'_, '_>, owner: MutexOwner) {
    let (py, inner) = (object.py(), object.inner);
    if inner.overrides.hooks && inner.core.has_mutex(py, owner) {
        let size = guarded::call_method(object.this, interned!(py, "_qsize"), ()).and_then(|size| size.extract());
        match size {
            Ok(size) => inner.core.with_buffer(py, |items| items.size = size),
            // The estimate holds until the next operation asks again.
            Err(error) => interrupts::raise_interrupt_later(py, error),
        }
    }
}

/// Something was asked for that the owner of the mutex would have to wait for.
pub(in crate::queue) fn would_wait(operation: &str) -> PyErr {
    PyRuntimeError::new_err(format!(
        "{operation} would have to wait, and nobody else can use the queue while its mutex is held: use put_nowait or get_nowait, or wait \
         with not_empty.wait() or not_full.wait()"
    ))
}

/// The mutex, for one operation. Dropping it gives it back.
pub(in crate::queue) struct MutexGuard<'a, 'b, 'py> {
    object: &'a BoundQueue<'b, 'py>,
    owner: MutexOwner,
}

impl<'a, 'b, 'py> MutexGuard<'a, 'b, 'py> {
    /// Takes it, and waits for it if it is another's.
    pub(in crate::queue) fn take(object: &'a BoundQueue<'b, 'py>, operation: &str) -> PyResult<Self> {
        let owner = caller_number(object.py())?;
        lock_mutex(object, owner, None, operation)?;
        Ok(Self { object, owner })
    }

    /// Takes it once more, if the caller has it.
    pub(in crate::queue) fn take_again(object: &'a BoundQueue<'b, 'py>) -> PyResult<Option<Self>> {
        let owner = caller_number(object.py())?;
        if !object.inner.core.has_mutex(object.py(), owner) {
            return Ok(None);
        }
        lock_mutex(object, owner, None, "")?;
        Ok(Some(Self { object, owner }))
    }

    pub(in crate::queue) fn object(&self) -> &'a BoundQueue<'b, 'py> {
        self.object
    }

    pub(in crate::queue) fn owner(&self) -> MutexOwner {
        self.owner
    }
}

impl Drop for MutexGuard<'_, '_, '_> {
    fn drop(&mut self) {
        // It is ours, so this does not fail.
        let _ = unlock_mutex(self.object, self.owner);
    }
}

impl QueueInner {
    /// What lies in the place of the items while they are locked. Where they need the baton, they stay.
    fn stand_in(&self) -> Option<Items> {
        (!self.slow).then(|| Items::new(self.order))
    }

    /// Changes the state in one step. While another has the mutex it waits for that.
    pub(in crate::queue) fn step<R>(
        &self,
        this: &Bound<'_, PyAny>,
        operation: &str,
        mut step: impl FnMut(&mut State<Items, Waker, Extras>, &mut Wakes<Waker>) -> R,
    ) -> PyResult<R> {
        let py = this.py();
        let (wakes, done) = self.core.step(py, None, &mut step);
        wakes.fire();
        if let Ok(done) = done {
            return Ok(done);
        }
        let object = BoundQueue { this, inner: self };
        let guard = MutexGuard::take(&object, operation)?;
        let (wakes, done) = self.core.step(py, Some(guard.owner()), &mut step);
        wakes.fire();
        done.map_err(|locked| PyRuntimeError::new_err(locked.to_string()))
    }
}

/// The lock of a queue, as `queue.Queue` has one: `with q.mutex:` makes what is done in the block one step for everybody else.
///
/// Its owner may take it again (it is a reentrant lock), and use `q.queue`, `_put`, `_get`, `_qsize`, `qsize`, `put_nowait`, `get_nowait`
/// and the conditions; what would have to wait raises RuntimeError. Other threads and tasks wait for their turn, also in `put_nowait` and
/// `get_nowait`; the awaitable methods wait without blocking their event loop.
#[pyclass(frozen, weakref, module = "sluicegate._core")]
#[derive(Debug)]
pub(crate) struct QueueMutex {
    queue: Py<PyAny>,
    of: InnerOf,
}

impl QueueMutex {
    pub(in crate::queue) fn new(queue: &Bound<'_, PyAny>, inner: &QueueInner) -> Self {
        Self { queue: queue.clone().unbind(), of: inner.of }
    }

    fn take(&self, py: Python<'_>, limit: Option<Duration>) -> PyResult<bool> {
        let this = self.queue.bind(py);
        lock_mutex(&BoundQueue { this, inner: (self.of)(this) }, caller_number(py)?, limit, "acquire")
    }

    fn is_the_callers(&self, py: Python<'_>) -> PyResult<bool> {
        let owner = caller_number(py)?;
        Ok((self.of)(self.queue.bind(py)).core.has_mutex(py, owner))
    }

    fn give_back(&self, py: Python<'_>) -> PyResult<()> {
        let this = self.queue.bind(py);
        unlock_mutex(&BoundQueue { this, inner: (self.of)(this) }, caller_number(py)?)
    }
}

/// How long `acquire` waits.
enum LockTimeout {
    None,
    Some(Duration),
    Endless,
}

impl LockTimeout {
    /// The rules of `threading.Lock.acquire`.
    fn of(blocking: bool, timeout: f64) -> PyResult<Self> {
        #[expect(clippy::float_cmp, reason = "the very number is meant")]
        let endless = timeout == -1.0;
        match (blocking, endless) {
            (false, true) => Ok(Self::None),
            (false, false) => Err(PyValueError::new_err("can't specify a timeout for a non-blocking call")),
            (true, true) => Ok(Self::Endless),
            (true, false) if timeout.is_nan() || timeout < 0.0 => {
                Err(PyValueError::new_err(format!("'timeout' must be a non-negative number, not {timeout}")))
            }
            (true, false) if timeout > MAX_SECONDS => {
                Err(PyOverflowError::new_err(format!("'timeout' is {timeout} seconds, and the maximum is {MAX_SECONDS}")))
            }
            (true, false) if timeout == 0.0 => Ok(Self::None),
            (true, false) => Ok(Self::Some(Duration::from_secs_f64(timeout))),
        }
    }
}

#[pymethods]
impl QueueMutex {
    /// Acquire the lock, waiting for it at most `timeout` seconds, or without a limit if that is -1. Return False if that took
    /// too long.
    ///
    /// The owner may acquire it again, and then has to release it as often. Raises RuntimeError instead of waiting for another task of the
    /// same thread, ValueError for a negative `timeout` other than -1 or for one with `blocking=False`, OverflowError for one that is
    /// too large.
    /// Fairness: threads and tasks get it in order of arrival.
    #[pyo3(signature = (blocking = true, timeout = Argument::MISSING), text_signature = "($self, blocking=True, timeout=-1)")]
    fn acquire(&self, py: Python<'_>, blocking: bool, timeout: Argument<'_, '_>) -> PyResult<bool> {
        let timeout = timeout.given().map_or(Ok(-1.0), |timeout| in_seconds(timeout)?.extract())?;
        match LockTimeout::of(blocking, timeout)? {
            LockTimeout::Endless => self.take(py, None),
            LockTimeout::Some(limit) => self.take(py, Some(limit)),
            LockTimeout::None => {
                let inner = (self.of)(self.queue.bind(py));
                let (wakes, taken) = inner.core.lock_mutex(py, caller_number(py)?, inner.stand_in(), None);
                wakes.fire();
                Ok(taken == MutexTaken::Yes)
            }
        }
    }

    /// Release the lock. Raises RuntimeError if the caller has not acquired it.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        self.give_back(py)
    }

    /// Return True if the lock is held at this moment.
    fn locked(&self, py: Python<'_>) -> bool {
        let core = &(self.of)(self.queue.bind(py)).core;
        core.is_locked(py) || core.baton_is_mine(py) // a hook of the queue runs as its owner
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.take(py, None)
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _kind: &Bound<'_, PyAny>,
        _error: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.give_back(py)
    }

    /// For `threading.Condition`.
    fn _is_owned(&self, py: Python<'_>) -> PyResult<bool> {
        self.is_the_callers(py)
    }

    /// For `threading.Condition`: releases it altogether, and says how often it had been acquired.
    fn _release_save(&self, py: Python<'_>) -> PyResult<usize> {
        self.give_back(py)?;
        let mut depth = 1;
        while self.is_the_callers(py)? {
            self.give_back(py)?;
            depth += 1;
        }
        Ok(depth)
    }

    /// For `threading.Condition`.
    fn _acquire_restore(&self, py: Python<'_>, depth: usize) -> PyResult<()> {
        self.take(py, None)?;
        (self.of)(self.queue.bind(py)).core.set_mutex_depth(py, caller_number(py)?, depth);
        Ok(())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| other.get().queue.is(&self.queue))
    }

    fn __hash__(&self) -> usize {
        self.queue.as_ptr().addr() >> 4
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let held = if self.locked(py) { "locked" } else { "unlocked" };
        format!("<{held} mutex of {}>", text(self.queue.bind(py)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.queue)
    }
}
