//! `AsyncOperation`: one operation awaited on an event loop, from the moment it has to wait; and the future that its task sleeps on.
//!
//! The coroutine calls [`step`](AsyncOperation::step), which gives the result, or the operation itself: then the coroutine awaits it and
//! steps again. Awaited, it yields once: `None` when the loop is to have a turn, else itself, and behaves towards the task as asyncio asks
//! of a future (`_asyncio_future_blocking`, `get_loop`, `add_done_callback`, `cancel`, `result`).
//!
//! A future of asyncio's own would be a second object to make and complete for each wait, and it cannot be relied on: when it cannot
//! schedule its callbacks (the recursion limit is near, memory is short) it raises, is done, and has forgotten them; its task sleeps for ever.
//! Here what resumes the task stays until it is called, so a wake-up that fails can be tried again.
//!
//! # States
//!
//! | state      | event                                             | next       | also                                              |
//! |------------|---------------------------------------------------|------------|---------------------------------------------------|
//! | attempting | the attempt gives something, or fails             | ended      | place and timer are given up                      |
//! | attempting | it gives nothing                                  | offered    | the coroutine awaits the operation                |
//! | attempting | woken, perhaps by its own attempt                 | attempting | remembered: it attempts again before it sleeps    |
//! | offered    | the task leaves what resumes it                   | asleep     | resumed in the loop's next turn if woken meanwhile |
//! | asleep     | woken by a task of its loop, or cancelled         | resuming   | the loop resumes it in its next turn              |
//! | asleep     | woken from elsewhere                              | asleep     | mail: the loop resumes it when it collects        |
//! | asleep     | the loop collects its mail; its timer fires        | attempting |                                                   |
//! | resuming   | the loop calls the resumption                     | attempting | whoever wakes it meanwhile finds nobody asleep    |
//! | resuming   | the loop closes and drops the resumption          | ended      | the task goes with it, and its coroutine abandons |
//! | any        | `abandon`: cancelled, closed                      | ended      | place and timer are given up                      |
//!
//! A coroutine that sleeps belongs to its task. If somebody else resumes it, the step raises; if somebody else ends it, its task is resumed,
//! at the latest when it is cancelled, and finds out.

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
use super::mailbox::{Addressee, Letter, Mailbox};
use crate::rt::arguments::Timeout;
use crate::rt::domain::Attached;
use crate::rt::gc::attached_in_traverse;
use crate::rt::guarded;
use crate::rt::operation::{Chance, Done, Operation, annotated};
use crate::rt::waker::{Callee, Waker};

/// Loops' timers are no finer than that, and fire early by less (uvloop's; asyncio's are exact).
const TICK: Nanos = 1_000_000;

#[derive(Debug, Default)]
struct State {
    /// Out while it is being attempted: that may run Python.
    operation: Option<Box<dyn Operation>>,
    deadline: Option<Nanos>,
    /// Woken since the last attempt began.
    signalled: bool,
    yields: Yields,
    /// asyncio's mark on a future that has just been yielded.
    blocking: bool,
    sleeper: Option<Sleeper>,
    /// The latest time that a timer of ours has stood for (loops fire their timers a little early).
    fired: Nanos,
    timer: Option<(Nanos, LoopTimer)>,
}

/// What awaiting the operation yields, once.
#[derive(Clone, Copy, Debug, Default)]
enum Yields {
    #[default]
    Nothing,
    Turn,
    Itself,
}

/// What resumes the task that sleeps here, and in which context.
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

/// A callback of the loop that resumes a sleeping task, in whose context it is called. It has the sleeper from the operation, because a
/// loop that dies before it calls must let go of the task: the coroutine then ends, and passes the turn on.
#[pyclass(frozen, module = "sluicegate._core")]
#[derive(Debug)]
pub(super) struct Resumption {
    operation: Py<AsyncOperation>,
    sleeper: Section<Option<Sleeper>, Attached>,
}

#[pymethods]
impl Resumption {
    /// The sleeper stays here until the loop drops this callback: a task that ends by being resumed must not go while its own context is
    /// entered, because what the loop has to say about it runs in that context too.
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

/// What will wake the operation at a time: a timer of its loop, or a manual clock.
#[derive(Debug)]
enum LoopTimer {
    Loop(Py<PyAny>),
    Manual(Enrolled),
}

/// An operation that has to wait, awaited on an event loop.
#[pyclass(frozen, module = "sluicegate._core", weakref)]
#[derive(Debug)]
pub(crate) struct AsyncOperation {
    /// What it is an operation on.
    owner: Py<PyAny>,
    timeout: Timeout,
    /// Its loop's mailbox, from the first step on.
    mailbox: OnceLock<Py<Mailbox>>,
    state: Section<State, Attached>,
}

impl AsyncOperation {
    pub(crate) fn new(owner: Py<PyAny>, operation: impl Operation + 'static, timeout: Timeout) -> Self {
        let state = State { operation: Some(Box::new(operation)), ..State::default() };
        Self { owner, timeout, mailbox: OnceLock::new(), state: Section::new(state) }
    }

    fn with<R>(&self, py: Python<'_>, critical: impl FnOnce(&mut State) -> R) -> R {
        self.state.with(py, critical)
    }

    fn waker(slf: &Bound<'_, Self>) -> Waker {
        static CALLEE: Callee = Callee {
            wake: |this| AsyncOperation::wake(this.cast().expect("an operation's own")),
            // Tells the tasks of one loop from those of others: never 0.
            group: |this| {
                let mailbox = this.cast::<AsyncOperation>().expect("an operation's own").get().mailbox.get();
                mailbox.map_or(usize::MAX, |mailbox| mailbox.as_ptr().addr())
            },
        };
        Waker::Object(slf.clone().into_any().unbind(), &CALLEE)
    }

    /// The line says: come and try. Called outside every section, attached, from any thread.
    fn wake(slf: &Bound<'_, Self>) -> Wakes<Waker> {
        static ADDRESSEE: Addressee = Addressee {
            resume: |this| AsyncOperation::resume(this.cast().expect("an operation's own")),
            retire: |this| this.cast::<AsyncOperation>().expect("an operation's own").get().retire(this.py()),
        };
        let (py, this) = (slf.py(), slf.get());
        let is_attempting = this.with(py, |state| {
            state.signalled = true;
            state.operation.is_none()
        });
        let Some(mailbox) = this.mailbox.get().filter(|_| !is_attempting) else {
            return Wakes::none(); // it looks again before it sleeps
        };
        let mailbox = mailbox.bind(py);
        match mailbox.get().event_loop(py).map(|event_loop| Self::resume_soon_if_here(slf, &event_loop)) {
            Some(Ok(true)) => Wakes::none(),
            // Not known, or not to be told from here: the mailbox is right from everywhere.
            _ => Mailbox::post(mailbox, Letter(slf.clone().into_any().unbind(), &ADDRESSEE)),
        }
    }

    /// From a task of its loop: has the loop resume the sleeping task. False from anywhere else.
    fn resume_soon_if_here(slf: &Bound<'_, Self>, event_loop: &Bound<'_, PyAny>) -> PyResult<bool> {
        let here = event_loop::runs_a_task_here(event_loop)?;
        if here {
            Self::resume_soon(slf, event_loop)?;
        }
        Ok(here)
    }

    /// On its loop's thread: has the loop resume the sleeping task in its next turn. On an error the task sleeps on.
    fn resume_soon(slf: &Bound<'_, Self>, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        if this.with(py, |state| state.sleeper.is_none()) {
            return Ok(());
        }
        let resumption = Bound::new(py, Resumption { operation: slf.clone().unbind(), sleeper: Section::new(None) })?;
        // If the operation has ended too: then somebody else has ended the coroutine, and the task is to find that out.
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
            // The loop may have it all the same: what it has is empty now.
            let sleeper = resumption.get().sleeper.with(py, Option::take);
            this.with(py, |state| state.sleeper = sleeper);
        }
        outcome
    }

    /// On its loop's thread. `None` if nobody sleeps here, or the operation has ended.
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
        // The loop itself runs inside the task's context: what that means is the loop's to say.
        this.with(py, |state| state.sleeper = Some(sleeper));
        Self::resume_soon(slf, &this.event_loop(py)?)
    }

    /// Its loop will not run it (for now): out of the line, the turn to the next. Should it run after all it comes as a new arrival.
    fn retire(&self, py: Python<'_>) -> Wakes<Waker> {
        let owner = self.owner.bind(py);
        // Inside: who steps meanwhile, because the loop runs again, must find the operation there.
        self.with(py, |state| state.operation.as_mut().map_or_else(Wakes::none, |operation| operation.withdraw(owner)))
    }

    fn stop_timer(&self, py: Python<'_>, clock: &CoreClock<Waker>) {
        match (self.with(py, |state| state.timer.take()), clock) {
            (Some((_, LoopTimer::Loop(handle))), _) => {
                let handle = handle.bind(py);
                if let Err(error) = handle.call_method0(interned!(py, "cancel")) {
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
        this.stop_timer(py, clock);
        let timer = match (clock, at) {
            (CoreClock::Manual(manual), at) => LoopTimer::Manual(manual.enroll(at, Self::waker(slf))),
            (CoreClock::Monotonic, None) => return Ok(()),
            (CoreClock::Monotonic, Some(at)) => {
                // One that fired too early is set again for as long as the coarsest of loops can tell.
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

    /// The end, one way or the other: no place in line, no timer. Whoever sleeps here is let go of with the operation itself, not here: the
    /// collector may be ending the coroutine right now, and would find it in the middle of that when it comes to its task.
    fn close(&self, py: Python<'_>, mut operation: Box<dyn Operation>) {
        let owner = self.owner.bind(py);
        operation.leave(owner);
        self.stop_timer(py, &operation.clock(owner));
    }

    /// The first step: finds the loop. False if it is the loop's turn.
    fn start(&self, py: Python<'_>) -> PyResult<bool> {
        let mailbox = Mailbox::of(&event_loop::running_loop(py)?)?;
        let _ = self.mailbox.set(mailbox);
        Ok(budget::spend_on_a_loop())
    }

    /// When it has to end: the timeout counts from the first attempt on.
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
        let clock = operation.clock(this.owner.bind(py));
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

    /// `None`: it stands in line, and its timer is set.
    fn attempt_once(slf: &Bound<'_, Self>, operation: &mut dyn Operation, clock: &CoreClock<Waker>) -> PyResult<Option<Done>> {
        let (py, this) = (slf.py(), slf.get());
        let owner = this.owner.bind(py);
        let now = clock.now();
        let waker = Self::waker(slf);
        let never = matches!(this.timeout, Timeout::Never);
        let deadline = this.deadline(py, now)?;
        operation.set_deadline(deadline);
        if let Some(done) = operation.attempt(owner, if never { Chance::Now } else { Chance::Wait(&waker) }, now)? {
            return Ok(Some(done));
        }
        if never || deadline.is_some_and(|deadline| deadline <= now) {
            return operation.out_of_time(owner, this.timeout).map(Some);
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
            this.with(py, |state| state.yields = Yields::Turn);
            return Ok(slf.clone().into_any().unbind());
        }
        if let Some(result) = Self::attempt(slf)? {
            return Ok(result);
        }
        budget::refill(); // it suspends
        // Woken while it tried it need not sleep, but tasks of this loop that were woken before it run first.
        this.with(py, |state| state.yields = if state.signalled { Yields::Turn } else { Yields::Itself });
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
            Yields::Turn => Some(py.None()),
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
        // If a task still sleeps here, somebody else has ended its coroutine. With GeneratorExit that may be the collector, which
        // collects the task too.
        if error.is_instance_of::<PyGeneratorExit>() || this.with(py, |state| state.sleeper.is_none()) {
            return Ok(());
        }
        Self::resume_soon(slf, &this.event_loop(py)?)
    }

    /// A timer of ours.
    fn _fire(slf: &Bound<'_, Self>, at: Nanos) -> PyResult<()> {
        let spent = slf.get().with(slf.py(), |state| {
            state.fired = state.fired.max(at);
            state.timer.take_if(|(set, _)| *set == at)
        });
        drop(spent);
        Self::resume(slf)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.owner)?;
        visit.call(self.mailbox.get())?;
        self.with(attached_in_traverse(), |state| {
            state.sleeper.as_ref().map_or(Ok(()), |sleeper| sleeper.traverse(&visit))?;
            if let Some((_, LoopTimer::Loop(handle))) = &state.timer {
                visit.call(handle)?;
            }
            state.operation.as_ref().map_or(Ok(()), |operation| operation.traverse(visit))
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        // The place in line is the queue's to give up: it is cleared beside this, and the operation is not dropped while it stands there.
        drop(self.with(py, |state| state.sleeper.take()));
    }
}
