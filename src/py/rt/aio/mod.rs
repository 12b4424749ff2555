//! Everything that knows of asyncio.
//!
//! The `*_async` methods are native coroutine functions in Python. Their fast path is one call of `*_try` here; when that says `WAIT`,
//! the coroutine makes an [`AsyncOperation`] and awaits what its `step` gives: a future of the running loop, or one turn of the loop.
//!
//! # A wake-up's way to its loop
//! From a task of the same loop: the future is completed on the spot. From anywhere else, and from the loop's own thread when no task is
//! running (a signal handler while the loop sleeps in `select`): into the loop's mailbox, and one `call_soon_threadsafe` for all that is
//! in it (`mailbox`). A closed loop gives every wake-up in its mailbox to the next in line. A stopped loop keeps them, but the turns go to
//! the next in line at once.
//!
//! # Cancellation
//! A wake-up carries no item. Whatever is thrown into the coroutine while it waits, it calls `abandon`, which gives up the place in line
//! and with it the turn.
//!
//! # Who keeps whom alive
//! A line holds the operation; the operation holds its queue and its future, and shows both to the garbage collector. Mailboxes are kept
//! in a weak dictionary by loop and know their loop weakly; what passes through a mailbox stays in its line meanwhile.

mod mailbox;

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyWeakrefReference};
use sluicegate_core::clock::{Clock as CoreClock, Enrolled, Nanos, seconds};
use sluicegate_core::section::Section;
use sluicegate_core::wait::Wakes;

use self::mailbox::Mailbox;
use crate::rt::arguments::Timeout;
use crate::rt::domain::Attached;
use crate::rt::gc::attached_in_traverse;
use crate::rt::guarded;
use crate::rt::imported::imported;
use crate::rt::operation::{Chance, Operation, annotated};
use crate::rt::process;
use crate::rt::waker::{Callee, Waker};

/// So many operations in a row may go through on one loop without suspending; the next gives the loop a turn.
const BUDGET: u8 = 128;
/// No operation has been seen on this thread yet.
const UNSEEN: u8 = u8::MAX;

/// Loops' timers are no finer than that, and fire early by less (uvloop's; asyncio's are exact).
const TICK: Nanos = 1_000_000;

thread_local!(static LEFT: Cell<u8> = const { Cell::new(UNSEEN) });

/// Counts one awaited operation. False when it is the loop's turn, or when it is not yet known that there is a loop.
#[inline]
pub(crate) fn spend() -> bool {
    LEFT.with(|left| {
        let now = left.get();
        let go = now != 0 && now != UNSEEN;
        if go {
            left.set(now - 1);
        }
        go
    })
}

/// The object by which the fast path says "not here: wait".
pub(crate) fn wait_marker_object(py: Python<'_>) -> &Py<PyAny> {
    static MARKER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    MARKER.get_or_init(py, || Bound::new(py, Turn::default()).expect("memory for one object").into_any().unbind())
}

/// A new reference to it.
pub(crate) fn wait_marker(py: Python<'_>) -> Py<PyAny> {
    wait_marker_object(py).clone_ref(py)
}

fn refill() {
    LEFT.set(BUDGET);
}

fn asyncio<'py>(py: Python<'py>, cell: &'static PyOnceLock<Py<PyAny>>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    imported(py, cell, "asyncio", name).cloned()
}

fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let running = process::running_loop(py)?;
    if running.is_none() {
        return Err(PyRuntimeError::new_err(
            "sluicegate's *_async methods need a running asyncio event loop (asyncio's own or uvloop's); there is none on this thread, \
             and trio's is not one",
        ));
    }
    Ok(running)
}

fn a_task_is_running(event_loop: &Bound<'_, PyAny>) -> PyResult<bool> {
    static FUNCTION: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let task = asyncio(event_loop.py(), &FUNCTION, "current_task")?.call1((event_loop,))?;
    Ok(!task.is_none())
}

/// A thread's number: odd, as no task's is, and never given again, as its identifier soon is.
fn thread_number() -> u64 {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    thread_local!(static NUMBER: usize = NEXT.fetch_add(2, Ordering::Relaxed));
    NUMBER.with(|&number| number as u64)
}

/// A task's number: even, and never given again, as its address soon is.
fn task_number(task: &Bound<'_, PyAny>) -> PyResult<u64> {
    static NEXT: AtomicU64 = AtomicU64::new(2);
    // By weak reference, as in `weakref.WeakKeyDictionary`; an entry goes with its task.
    static NUMBERS: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let py = task.py();
    let numbers = NUMBERS.get_or_init(py, || PyDict::new(py).unbind()).bind(py);
    if let Some(number) = numbers.get_item(PyWeakrefReference::new(task)?)? {
        return number.extract();
    }
    let number = NEXT.fetch_add(2, Ordering::Relaxed);
    numbers.set_item(PyWeakrefReference::new_with(task, numbers.getattr(intern!(py, "pop"))?)?, number)?;
    Ok(number)
}

/// Who calls: the task that runs on this thread, else the thread. The number is never given again.
pub(crate) fn whose_turn(py: Python<'_>) -> PyResult<u64> {
    static FUNCTION: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let running = process::running_loop(py)?;
    if !running.is_none() {
        let task = asyncio(py, &FUNCTION, "current_task")?.call1((running,))?;
        if !task.is_none() {
            return task_number(&task);
        }
    }
    Ok(thread_number())
}

/// One turn of the loop, awaited: yields once.
#[pyclass(frozen, module = "sluicegate._core")]
#[derive(Debug, Default)]
struct Turn {
    taken: AtomicBool,
}

#[pymethods]
impl Turn {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        (!self.taken.swap(true, Ordering::Relaxed)).then(|| py.None())
    }
}

#[derive(Debug, Default)]
struct AsyncState {
    /// Out while it is being attempted: that may run Python.
    operation: Option<Box<dyn Operation>>,
    future: Option<Py<PyAny>>,
    /// Woken since the last attempt began, perhaps before there was a future to complete.
    signalled: bool,
    /// The latest time that a timer of ours has stood for (loops fire their timers a little early).
    fired: Nanos,
    timer: Option<(Nanos, LoopTimer)>,
    deadline: Option<Nanos>,
    started: bool,
    mailbox: Option<Py<Mailbox>>,
    result: Option<Py<PyAny>>,
}

/// What will wake the operation at a time: a timer of its loop, or a manual clock.
#[derive(Debug)]
enum LoopTimer {
    Loop(Py<PyAny>),
    Manual(Enrolled),
}

/// One operation awaited on an event loop, from the moment it has to wait.
#[pyclass(frozen, module = "sluicegate._core", weakref)]
#[derive(Debug)]
pub(crate) struct AsyncOperation {
    /// What it is an operation on.
    owner: Py<PyAny>,
    timeout: Timeout,
    /// The address of its loop's mailbox.
    mark: AtomicUsize,
    state: Section<AsyncState, Attached>,
}

impl AsyncOperation {
    pub(crate) fn new(owner: Py<PyAny>, operation: impl Operation + 'static, timeout: Timeout) -> Self {
        let state = AsyncState { operation: Some(Box::new(operation)), ..AsyncState::default() };
        Self { owner, timeout, mark: AtomicUsize::new(usize::MAX), state: Section::new(state) }
    }

    fn with<R>(&self, py: Python<'_>, critical: impl FnOnce(&mut AsyncState) -> R) -> R {
        self.state.with(py, critical)
    }

    fn waker(slf: &Bound<'_, Self>) -> Waker {
        static CALLEE: Callee = Callee {
            wake: |this| AsyncOperation::notify(this.cast().expect("an operation's own")),
            // Tells the tasks of one loop from those of others: never 0.
            group: |this| this.cast::<AsyncOperation>().expect("an operation's own").get().mark.load(Ordering::Relaxed),
        };
        Waker::Object(slf.clone().into_any().unbind(), &CALLEE)
    }

    /// The line says: come and try. Called outside every section, attached, from any thread.
    fn notify(slf: &Bound<'_, Self>) -> Wakes<Waker> {
        let py = slf.py();
        let this = slf.get();
        let Some(mailbox) = this.with(py, |state| state.mailbox.as_ref().map(|mailbox| mailbox.clone_ref(py))) else {
            this.complete(py);
            return Wakes::none();
        };
        let mailbox = mailbox.bind(py);
        match Self::is_called_by_its_loop(mailbox) {
            Ok(true) => {
                this.complete(py);
                Wakes::none()
            }
            // Not known: the mailbox is right from everywhere.
            Ok(false) | Err(_) => Mailbox::post(mailbox, slf.clone().unbind()),
        }
    }

    /// Does a task of that loop run on this thread?
    fn is_called_by_its_loop(mailbox: &Bound<'_, Mailbox>) -> PyResult<bool> {
        let running = process::running_loop(mailbox.py())?;
        Ok(!running.is_none() && mailbox.get().is_of(&running) && a_task_is_running(&running)?)
    }

    /// Completes the future, on its loop's thread.
    pub(super) fn complete(&self, py: Python<'_>) {
        let future = self.with(py, |state| {
            state.signalled = true;
            // Not kept: since Python 3.14 a future keeps the task that awaits it, and a loop that dies now must let go of both.
            state.future.take()
        });
        let Some(future) = future else { return };
        let future = future.bind(py);
        let complete = || -> PyResult<()> {
            if !future.call_method0(intern!(py, "done"))?.is_truthy()? {
                guarded::call_method(future, intern!(py, "set_result"), (py.None(),))?;
            }
            Ok(())
        };
        if let Err(error) = complete() {
            guarded::raise_later(py, error);
        }
    }

    /// Its loop will not run it (for now): out of the line, the turn to the next. Should it run after all it comes as a new arrival.
    pub(super) fn retire(&self, py: Python<'_>) -> Wakes<Waker> {
        let Some(mut operation) = self.with(py, |state| state.operation.take()) else { return Wakes::none() };
        let wakes = operation.withdraw(self.owner.bind(py));
        self.with(py, |state| state.operation = Some(operation));
        wakes
    }

    fn stop_timer(&self, py: Python<'_>, clock: &CoreClock<Waker>) {
        match (self.with(py, |state| state.timer.take()), clock) {
            (Some((_, LoopTimer::Loop(handle))), _) => {
                let handle = handle.bind(py);
                if let Err(error) = handle.call_method0(intern!(py, "cancel")) {
                    guarded::raise_later(py, error);
                }
            }
            (Some((_, LoopTimer::Manual(enrolled))), CoreClock::Manual(manual)) => drop(manual.withdraw(enrolled)),
            _ => {}
        }
    }

    /// Sees to it that the operation is looked at again at `at`, if that is not so already.
    fn set_timer(slf: &Bound<'_, Self>, clock: &CoreClock<Waker>, at: Option<Nanos>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let at_or_never = at.unwrap_or(Nanos::MAX);
        if this.with(py, |state| state.timer.as_ref().is_some_and(|(set, _)| *set == at_or_never)) {
            return Ok(());
        }
        this.stop_timer(py, clock);
        let timer = match (clock, at) {
            (CoreClock::Manual(manual), at) => LoopTimer::Manual(manual.enroll(at, Self::waker(slf))),
            (CoreClock::Monotonic, None) => return Ok(()),
            (CoreClock::Monotonic, Some(at)) => {
                // One that fired too early is set again for as long as the coarsest of loops can tell.
                let again = this.with(py, |state| state.fired >= at);
                let delay = seconds(at.saturating_sub(clock.now()).max(if again { TICK } else { 0 }));
                let fire = slf.getattr(intern!(py, "_fire"))?;
                let handle = running_loop(py)?.call_method1(intern!(py, "call_later"), (delay, fire, at))?;
                LoopTimer::Loop(handle.unbind())
            }
        };
        this.with(py, |state| state.timer = Some((at_or_never, timer)));
        Ok(())
    }

    /// The end, one way or the other: no place in line, no timer, no future.
    fn close(&self, py: Python<'_>) {
        let this = self.owner.bind(py);
        if let Some(mut operation) = self.with(py, |state| state.operation.take()) {
            let clock = operation.clock(this);
            operation.leave(this);
            self.stop_timer(py, &clock);
        }
        let future = self.with(py, |state| state.future.take());
        drop(future);
    }

    fn step_once(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        let py = slf.py();
        let this = slf.get();
        let owner = this.owner.bind(py);
        if !this.with(py, |state| std::mem::replace(&mut state.started, true)) {
            let event_loop = running_loop(py)?;
            let mailbox = Mailbox::of(&event_loop)?;
            this.mark.store(mailbox.as_ptr().addr(), Ordering::Relaxed);
            this.with(py, |state| state.mailbox = Some(mailbox));
            match LEFT.get() {
                UNSEEN => LEFT.set(BUDGET - 1),
                0 => {
                    // Before the queue is touched.
                    refill();
                    return Ok(Some(Bound::new(py, Turn::default())?.into_any().unbind()));
                }
                left => LEFT.set(left - 1),
            }
        }
        let event_loop = running_loop(py)?;
        loop {
            let (operation, previous) = this.with(py, |state| {
                state.signalled = false;
                (state.operation.take(), state.future.take())
            });
            drop(previous);
            let Some(mut operation) = operation else {
                return Err(PyRuntimeError::new_err("this operation has ended and cannot be awaited again"));
            };
            let clock = operation.clock(owner);
            let now = clock.now();
            let never = matches!(this.timeout, Timeout::Never);
            let waker = Self::waker(slf);
            let chance = if never { Chance::Now } else { Chance::Wait(&waker) };
            operation.set_deadline(this.deadline(py, now)?);
            let attempt = operation.attempt(owner, chance, now);
            let look_again_at = operation.look_again_at();
            let refused = |operation: &dyn Operation| annotated(operation, py, operation.refused(owner, this.timeout));
            let outcome = match attempt {
                Err(error) => Err(annotated(&*operation, py, error)),
                Ok(None) if never => Err(refused(&*operation)),
                Ok(None) => match this.deadline(py, now) {
                    Ok(Some(deadline)) if deadline <= now => Err(refused(&*operation)),
                    Ok(deadline) => Ok(Err(deadline)),
                    Err(error) => Err(error),
                },
                Ok(Some(done)) => done.into_object(py).map(Ok),
            };
            this.with(py, |state| state.operation = Some(operation));
            let deadline = match outcome {
                Err(error) => {
                    this.close(py);
                    return Err(error);
                }
                Ok(Ok(result)) => {
                    this.with(py, |state| state.result = Some(result));
                    this.close(py);
                    return Ok(None);
                }
                Ok(Err(deadline)) => deadline,
            };
            Self::set_timer(slf, &clock, look_again_at.into_iter().chain(deadline).min())?;
            let future = event_loop.call_method0(intern!(py, "create_future"))?.unbind();
            let handed_out = future.clone_ref(py);
            let woken_meanwhile = this.with(py, |state| {
                state.future = Some(future);
                state.signalled
            });
            if !woken_meanwhile {
                refill(); // it suspends: the loop has its turn
                return Ok(Some(handed_out));
            }
        }
    }

    fn deadline(&self, py: Python<'_>, now: Nanos) -> PyResult<Option<Nanos>> {
        if let Some(deadline) = self.with(py, |state| state.deadline) {
            return Ok(Some(deadline));
        }
        let deadline = self.timeout.limit()?.map(|limit| now.saturating_add(limit));
        self.with(py, |state| state.deadline = deadline);
        Ok(deadline)
    }
}

#[pymethods]
impl AsyncOperation {
    /// Tries. `None` when the operation is done, else something to await before the next step.
    fn step(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        Self::step_once(slf)
    }

    /// What the operation gave, once.
    fn result(&self, py: Python<'_>) -> Py<PyAny> {
        self.with(py, |state| state.result.take()).unwrap_or_else(|| py.None())
    }

    /// The coroutine ends without having got anything, by this exception.
    fn abandon(&self, py: Python<'_>, error: &Bound<'_, PyAny>) {
        if let Some(operation) = self.with(py, |state| state.operation.take()) {
            operation.annotate(error);
            self.with(py, |state| state.operation = Some(operation));
        }
        self.close(py);
    }

    /// A timer of ours.
    fn _fire(&self, py: Python<'_>, at: Nanos) {
        let spent = self.with(py, |state| {
            state.fired = state.fired.max(at);
            state.timer.take_if(|(set, _)| *set == at)
        });
        drop(spent);
        self.complete(py);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.owner)?;
        self.with(attached_in_traverse(), |state| {
            visit.call(&state.future)?;
            visit.call(&state.result)?;
            visit.call(&state.mailbox)?;
            if let Some((_, LoopTimer::Loop(handle))) = &state.timer {
                visit.call(handle)?;
            }
            state.operation.as_ref().map_or(Ok(()), |operation| operation.traverse(visit))
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        // The place in line is the queue's to give up: it is cleared beside this, and the operation is not dropped while it stands there.
        let future = self.with(py, |state| (state.future.take(), state.result.take()));
        drop(future);
    }
}
