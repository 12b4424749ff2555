//! `AsyncOperation`: one operation awaited on an event loop, from the moment it has to wait; also the future that its task waits for.
//!
//! The coroutine calls [`step`](AsyncOperation::step), which returns the result or the operation itself. In the second case the coroutine
//! awaits the operation and calls `step` again. When awaited, the operation yields once: `None` if the loop only has to run other tasks,
//! otherwise itself. Towards the task it behaves as asyncio requires of a future (`_asyncio_future_blocking`, `get_loop`,
//! `add_done_callback`, `cancel`, `result`).
//!
//! A future of asyncio would be a second object to create and complete for each wait, and it is not reliable: if it cannot schedule its
//! callbacks (the recursion limit is near, memory is short), it raises, counts as done, and has forgotten the callbacks, so its task sleeps
//! for ever. Here the callback that resumes the task is kept until it is called, so a wake-up that fails can be repeated.
//!
//! # States
//!
//! | state      | event                                             | next       | also                                              |
//! |------------|---------------------------------------------------|------------|---------------------------------------------------|
//! | attempting | the attempt has a result, or fails                | ended      | leaves the wait queue, cancels the timer          |
//! | attempting | the attempt has no result                         | offered    | the coroutine awaits the operation                |
//! | attempting | woken, perhaps by its own attempt                 | attempting | remembered: it attempts again before it sleeps    |
//! | offered    | the task registers its callback                   | asleep     | if woken meanwhile: resumed in the loop's next iteration |
//! | asleep     | woken by a task of its loop, or cancelled         | resuming   | the loop resumes it in its next iteration         |
//! | asleep     | woken from elsewhere                              | asleep     | a wake-up is in the mailbox of the loop           |
//! | asleep     | the loop collects the wake-up; its timer fires    | attempting |                                                   |
//! | resuming   | the loop calls the resumption                     | attempting | a wake-up before that has no further effect       |
//! | resuming   | the loop closes and drops the resumption          | ended      | the task is dropped too; its coroutine calls `abandon` |
//! | any        | `abandon`: cancelled, closed                      | ended      | leaves the wait queue, cancels the timer          |
//!
//! Only its task may resume a coroutine that sleeps here. If other code resumes the coroutine, `step` raises. If other code closes it, the
//! task is resumed, at the latest when it is cancelled, and finds its coroutine closed.

use std::sync::OnceLock;

use crate::rt::kept::interned;
use pyo3::exceptions::{PyGeneratorExit, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use sluicegate_core::clock::{Clock as CoreClock, Enrolled, Nanos, seconds};
use sluicegate_core::section::Section;
use sluicegate_core::wait::Wakes;

use super::budget;
use super::event_loop;
use super::mailbox::{Handler, Mailbox, WakeUp};
use crate::rt::arguments::Timeout;
use crate::rt::domain::Attached;
use crate::rt::gc::attached_in_traverse;
use crate::rt::memory;
use crate::rt::operation::{Done, Mode, Operation, annotated};
use crate::rt::waker::{Callee, Waker};
use crate::rt::{guarded, interrupts};

/// The resolution of the loops' timers. They may fire early by less than this (uvloop's do; asyncio's are exact).
const TICK: Nanos = 1_000_000;

#[derive(Debug, Default)]
struct State {
    /// `None` while it is being attempted, because an attempt may run Python.
    operation: Option<Box<dyn Operation>>,
    deadline: Option<Nanos>,
    /// True if it has been woken since the last attempt began.
    signalled: bool,
    yields: Yields,
    /// asyncio's flag on a future that has just been yielded.
    blocking: bool,
    sleeper: Option<Sleeper>,
    /// The latest time for which one of its timers has fired (loops fire their timers a little early).
    fired: Nanos,
    timer: Option<(Nanos, LoopTimer)>,
}

/// What awaiting the operation yields, once.
#[derive(Clone, Copy, Debug, Default)]
enum Yields {
    #[default]
    Nothing,
    Pass,
    Itself,
}

/// The callback that resumes the sleeping task, and its context.
#[derive(Debug)]
struct Sleeper {
    resume: Py<PyAny>,
    context: Py<PyAny>,
}

impl Sleeper {
    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.resume)?;
        visit.call(&self.context)
    }
}

/// A callback of the loop that resumes a sleeping task, in whose context it is called. The sleeper is moved here from the operation, so that a
/// loop that is dropped before it calls this also drops the task: its coroutine then ends, and the next waiter is woken.
#[pyclass(frozen, module = "sluicegate._core")]
#[derive(Debug)]
pub(super) struct Resumption {
    operation: Py<AsyncOperation>,
    sleeper: Section<Option<Sleeper>, Attached>,
}

#[pymethods]
impl Resumption {
    /// The sleeper stays here until the loop drops this callback: a task that ends when it is resumed must not be dropped while its own
    /// context is entered, because the loop reports errors of the task in that context too.
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let resume = self.sleeper.with(py, |sleeper| sleeper.as_ref().map(|sleeper| sleeper.resume.clone_ref(py)));
        resume.map_or(Ok(()), |resume| guarded::call_one(resume.bind(py), self.operation.bind(py)).map(drop))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.operation)?;
        self.sleeper.with(attached_in_traverse(), |sleeper| sleeper.as_ref().map_or(Ok(()), |sleeper| sleeper.traverse(&visit)))
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.sleeper.with(py, Option::take));
    }
}

/// A timer that wakes the operation: one of its loop, or of a manual clock.
#[derive(Debug)]
enum LoopTimer {
    Loop(Py<PyAny>),
    Manual(Enrolled),
}

/// An operation that has to wait, awaited on an event loop.
#[pyclass(frozen, module = "sluicegate._core", weakref)]
#[derive(Debug)]
pub(crate) struct AsyncOperation {
    timeout: Timeout,
    /// The mailbox of its loop, from the first step on.
    mailbox: OnceLock<Py<Mailbox>>,
    state: Section<State, Attached>,
}

impl AsyncOperation {
    pub(crate) fn new(operation: impl Into<Box<dyn Operation>>, timeout: Timeout) -> Self {
        let state = State { operation: Some(operation.into()), ..State::default() };
        Self { timeout, mailbox: OnceLock::new(), state: Section::new(state) }
    }

    fn with<R>(&self, py: Python<'_>, critical: impl FnOnce(&mut State) -> R) -> R {
        self.state.with(py, critical)
    }

    fn waker(slf: &Bound<'_, Self>) -> Waker {
        static CALLEE: Callee = Callee {
            wake: |this| AsyncOperation::wake(this.cast().expect("an operation's own")),
            // A number for the loop, to distinguish its tasks from those of other loops; never 0.
            group: |this| {
                let mailbox = this.cast::<AsyncOperation>().expect("an operation's own").get().mailbox.get();
                mailbox.map_or(usize::MAX, |mailbox| mailbox.as_ptr().addr())
            },
        };
        Waker::Object(slf.clone().into_any().unbind(), &CALLEE)
    }

    /// Called when the wait queue wakes this operation: outside every section, attached, from any thread.
    fn wake(slf: &Bound<'_, Self>) -> Wakes<Waker> {
        static HANDLER: Handler = Handler {
            resume: |this| AsyncOperation::resume(this.cast().expect("an operation's own")),
            retire: |this| this.cast::<AsyncOperation>().expect("an operation's own").get().retire(this.py()),
        };
        let (py, this) = (slf.py(), slf.get());
        let is_attempting = this.with(py, |state| {
            state.signalled = true;
            state.operation.is_none()
        });
        let Some(mailbox) = this.mailbox.get().filter(|_| !is_attempting) else {
            return Wakes::none(); // it tries again before it sleeps
        };
        let mailbox = mailbox.bind(py);
        match mailbox.get().event_loop(py).map(|event_loop| Self::resume_soon_if_here(slf, &event_loop)) {
            Some(Ok(true)) => Wakes::none(),
            // If that is unknown, or failed: the mailbox can be used from anywhere.
            _ => Mailbox::post(mailbox, WakeUp(slf.clone().into_any().unbind(), &HANDLER)),
        }
    }

    /// If called by a task of its loop, has the loop resume the sleeping task. Otherwise returns false.
    fn resume_soon_if_here(slf: &Bound<'_, Self>, event_loop: &Bound<'_, PyAny>) -> PyResult<bool> {
        let here = event_loop::runs_a_task_here(event_loop)?;
        if here {
            Self::resume_soon(slf, event_loop)?;
        }
        Ok(here)
    }

    /// On its loop's thread: has the loop resume the sleeping task in its next iteration. On an error the task continues to sleep.
    fn resume_soon(slf: &Bound<'_, Self>, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        if this.with(py, |state| state.sleeper.is_none()) {
            return Ok(());
        }
        let resumption = Bound::new(py, Resumption { operation: slf.clone().unbind(), sleeper: Section::new(None) })?;
        // Also if the operation has ended: then other code has closed the coroutine, and the task has to find that out.
        let Some(sleeper) = this.with(py, |state| {
            state.signalled = true;
            state.sleeper.take()
        }) else {
            return Ok(());
        };
        let context = sleeper.context.clone_ref(py);
        resumption.get().sleeper.with(py, |place| *place = Some(sleeper));
        let outcome = guarded::call_soon(event_loop, resumption.as_any(), context.bind(py));
        if outcome.is_err() {
            // The loop may have accepted the callback all the same; without the sleeper that has no effect.
            let sleeper = resumption.get().sleeper.with(py, Option::take);
            this.with(py, |state| state.sleeper = sleeper);
        }
        outcome
    }

    /// Takes the sleeper; on its loop's thread. `None` if no task sleeps here, or the operation has ended.
    fn take_sleeper(&self, py: Python<'_>) -> Option<Sleeper> {
        self.with(py, |state| {
            state.signalled = true;
            state.sleeper.take_if(|_| state.operation.is_some())
        })
    }

    /// In a callback of its loop: resumes the sleeping task, in the task's context.
    fn resume(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let Some(sleeper) = this.take_sleeper(py) else { return Ok(()) };
        if let Some(outcome) = guarded::call_in_context(sleeper.context.bind(py), sleeper.resume.bind(py), slf.as_any()) {
            return outcome;
        }
        // The task's context is entered already, because the loop itself runs inside it: let the loop call the callback in its own way.
        this.with(py, |state| state.sleeper = Some(sleeper));
        Self::resume_soon(slf, &this.event_loop(py)?)
    }

    /// Called if its loop will not run it, or not soon: it leaves the wait queue, and the next waiter is woken. If it runs after all, it is
    /// a new arrival.
    fn retire(&self, py: Python<'_>) -> Wakes<Waker> {
        // Inside the section, because a step that begins meanwhile (the loop may run again) must find the operation here.
        self.with(py, |state| state.operation.as_mut().map_or_else(Wakes::none, |operation| operation.withdraw(py)))
    }

    fn stop_timer(&self, py: Python<'_>, clock: &CoreClock<Waker>) {
        match (self.with(py, |state| state.timer.take()), clock) {
            (Some((_, LoopTimer::Loop(handle))), _) => {
                let handle = handle.bind(py);
                if let Err(error) = handle.call_method0(interned!(py, "cancel")) {
                    interrupts::raise_later(py, error);
                }
            }
            (Some((_, LoopTimer::Manual(enrolled))), CoreClock::Manual(manual)) => drop(manual.withdraw(enrolled)),
            _ => {}
        }
    }

    /// Ensures that the operation is attempted again at `at`.
    fn set_timer(slf: &Bound<'_, Self>, clock: &CoreClock<Waker>, at: Option<Nanos>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let at_or_never = at.unwrap_or(Nanos::MAX);
        let (unchanged, fired) = this.with(py, |state| {
            (
                state
                    .timer
                    .as_ref()
                    .map_or(at.is_none() && matches!(clock, CoreClock::Monotonic), |(set, _)| *set == at_or_never),
                state.fired,
            )
        });
        if unchanged {
            return Ok(());
        }
        let timer = match (clock, at) {
            (CoreClock::Manual(manual), at) => LoopTimer::Manual(match this.with(py, |state| state.timer.take()) {
                Some((_, LoopTimer::Manual(enrolled))) => manual.reschedule(enrolled, at),
                _ => manual.enroll(at, Self::waker(slf)),
            }),
            (CoreClock::Monotonic, None) => {
                this.stop_timer(py, clock);
                return Ok(());
            }
            (CoreClock::Monotonic, Some(at)) => {
                this.stop_timer(py, clock);
                // A timer that fired too early is set again, for at least the resolution of the coarsest loop.
                let delay = seconds(at.saturating_sub(clock.now()).max(if fired >= at { TICK } else { 0 }));
                let fire = slf.getattr(interned!(py, "_fire"))?;
                let handle = this.event_loop(py)?.call_method1(interned!(py, "call_later"), (delay, fire, at))?;
                LoopTimer::Loop(handle.unbind())
            }
        };
        this.with(py, |state| state.timer = Some((at_or_never, timer)));
        Ok(())
    }

    fn event_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let event_loop = self.mailbox.get().and_then(|mailbox| mailbox.get().event_loop(py));
        event_loop.ok_or_else(|| PyRuntimeError::new_err("the event loop of this operation no longer exists"))
    }

    /// Called once when the operation ends: leaves the wait queue and cancels the timer. The sleeper is not dropped here but with this object:
    /// the garbage collector may be closing the coroutine right now, and must not reach its task in the middle of that.
    fn close(&self, py: Python<'_>, mut operation: Box<dyn Operation>) {
        operation.leave(py);
        self.stop_timer(py, &operation.clock(py));
    }

    /// The first step: finds the loop. Returns false if the loop has to run first, see `budget`.
    fn start(&self, py: Python<'_>) -> PyResult<bool> {
        memory::for_a_wait(py)?;
        let mailbox = Mailbox::of(&event_loop::running_loop(py)?)?;
        let _ = self.mailbox.set(mailbox);
        Ok(budget::spend_on_a_loop())
    }

    /// The deadline: the timeout counts from the first attempt.
    fn deadline(&self, py: Python<'_>, now: Nanos) -> PyResult<Option<Nanos>> {
        let limit = self.timeout.limit()?;
        Ok(limit.map(|limit| self.with(py, |state| *state.deadline.get_or_insert(now.saturating_add(limit)))))
    }

    /// One attempt. `None`: there is no result yet.
    fn attempt(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        let (py, this) = (slf.py(), slf.get());
        let (operation, awaited) = this.with(py, |state| {
            state.signalled = false;
            (state.operation.take_if(|_| state.sleeper.is_none()), state.sleeper.is_some())
        });
        let Some(mut operation) = operation else {
            let what = if awaited {
                "is being awaited by a task, which alone may resume it"
            } else {
                "has ended and cannot be awaited again"
            };
            return Err(PyRuntimeError::new_err(format!("this operation {what}")));
        };
        let clock = operation.clock(py);
        match Self::attempt_once(slf, &mut *operation, &clock) {
            Ok(None) => {
                this.with(py, |state| state.operation = Some(operation));
                Ok(None)
            }
            Ok(Some(done)) => {
                this.close(py, operation);
                done.into_object(py).map(Some)
            }
            Err(error) => {
                let error = annotated(&*operation, py, error);
                this.close(py, operation);
                Err(error)
            }
        }
    }

    /// One attempt. `None`: it is in the wait queue, and its timer is set.
    fn attempt_once(slf: &Bound<'_, Self>, operation: &mut dyn Operation, clock: &CoreClock<Waker>) -> PyResult<Option<Done>> {
        let (py, this) = (slf.py(), slf.get());
        let now = clock.now();
        let waker = Self::waker(slf);
        let never = matches!(this.timeout, Timeout::Never);
        let deadline = this.deadline(py, now)?;
        operation.set_deadline(deadline);
        if let Some(done) = operation.attempt(py, if never { Mode::Try } else { Mode::Park(&waker) }, now)? {
            return Ok(Some(done));
        }
        // If it has been woken while it tried, there may be something for it: it tries once more.
        let is_late = deadline.is_some_and(|deadline| deadline <= now) && !this.with(py, |state| state.signalled);
        if never || is_late {
            return operation.out_of_time(py, this.timeout).map(Some);
        }
        Self::set_timer(slf, clock, operation.look_again_at().into_iter().chain(deadline).min())?;
        Ok(None)
    }
}

#[pymethods]
impl AsyncOperation {
    /// Try the operation: return its result, or this object, which has to be awaited before the next step.
    fn step(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        if this.mailbox.get().is_none() && !this.start(py)? {
            this.with(py, |state| state.yields = Yields::Pass);
            return Ok(slf.clone().into_any().unbind());
        }
        if let Some(result) = Self::attempt(slf)? {
            return Ok(result);
        }
        budget::refill(); // it suspends
        // If it was woken while it tried, it need not sleep, but tasks of this loop that were woken before it run first.
        this.with(py, |state| state.yields = if state.signalled { Yields::Pass } else { Yields::Itself });
        Ok(slf.clone().into_any().unbind())
    }

    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> Option<Py<PyAny>> {
        let py = slf.py();
        let yields = slf.get().with(py, |state| {
            let yields = std::mem::take(&mut state.yields);
            state.blocking = matches!(yields, Yields::Itself);
            yields
        });
        match yields {
            Yields::Nothing => None,
            Yields::Pass => Some(py.None()),
            Yields::Itself => Some(slf.clone().into_any().unbind()),
        }
    }

    #[getter(_asyncio_future_blocking)]
    fn blocking(&self, py: Python<'_>) -> bool {
        self.with(py, |state| state.blocking)
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, py: Python<'_>, blocking: bool) {
        self.with(py, |state| state.blocking = blocking);
    }

    fn get_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.event_loop(py)
    }

    /// Called by the task before it suspends; `resume` is the callback that resumes it.
    #[pyo3(signature = (resume, *, context))]
    fn add_done_callback(slf: &Bound<'_, Self>, resume: Py<PyAny>, context: Py<PyAny>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        let (previous, signalled) = this.with(py, |state| (state.sleeper.replace(Sleeper { resume, context }), state.signalled));
        drop(previous);
        if signalled {
            Self::resume_soon(slf, &this.event_loop(py)?)?;
        }
        Ok(())
    }

    /// Called when the task is cancelled. Resumes the task and returns False, so that the task throws CancelledError
    /// into the coroutine itself.
    #[pyo3(signature = (msg = None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Bound<'_, PyAny>>) -> PyResult<bool> {
        drop(msg);
        Self::resume_soon(slf, &slf.get().event_loop(slf.py())?)?;
        Ok(false)
    }

    /// Called by the task when it is resumed. Returns None; the next `step` tries the operation again.
    #[allow(clippy::unused_self)]
    fn result(&self) {}

    /// End the operation without a result because the coroutine ended with `error`.
    fn abandon(slf: &Bound<'_, Self>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        if let Some(operation) = this.with(py, |state| state.operation.take()) {
            operation.annotate(error);
            this.close(py, operation);
        }
        // If a task still sleeps here, other code has closed its coroutine. With GeneratorExit that may be the garbage collector, which
        // collects the task too.
        if error.is_instance_of::<PyGeneratorExit>() || this.with(py, |state| state.sleeper.is_none()) {
            return Ok(());
        }
        Self::resume_soon(slf, &this.event_loop(py)?)
    }

    /// Called by a timer of this operation.
    fn _fire(slf: &Bound<'_, Self>, at: Nanos) -> PyResult<()> {
        let spent = slf.get().with(slf.py(), |state| {
            state.fired = state.fired.max(at);
            state.timer.take_if(|(set, _)| *set == at)
        });
        drop(spent);
        Self::resume(slf)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(self.mailbox.get())?;
        self.with(attached_in_traverse(), |state| {
            state.sleeper.as_ref().map_or(Ok(()), |sleeper| sleeper.traverse(&visit))?;
            if let Some((_, LoopTimer::Loop(handle))) = &state.timer {
                visit.call(handle)?;
            }
            state.operation.as_ref().map_or(Ok(()), |operation| operation.traverse(&visit))
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        // The place in the wait queue is not given up here: the wait queue's owner is cleared too, and an operation in a wait queue is not dropped.
        drop(self.with(py, |state| state.sleeper.take()));
    }
}
