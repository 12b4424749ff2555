//! `Transfer`: what runs, from Python's side. It may be stopped, go on, and be waited for by threads and by coroutines.
//!
//! | stage    | event                        | next     | also                                                                 |
//! |----------|------------------------------|----------|----------------------------------------------------------------------|
//! | running  | `cancel`                     | stopping | no item is delivered, or received, from this moment on               |
//! | stopping | the task notices             | stopped  | what it needs to go on is kept here                                  |
//! | stopping | `resume`                     | running  |                                                                      |
//! | stopped  | `resume`                     | running  | a new task                                                           |
//! | running, stopping | the source ends, or an error | ended | whoever waits is told                                            |
//!
//! A delivery is one step inside this object's section, with a look at the stage: that is why a cancellation is at an item's boundary, and
//! why what `items` and `bytes` say is exact. Inside it the channel's section is entered, never the other way round.
//!
//! Coroutines wait for the completion with `future_into_py`, threads as they wait for everything else (`blocking`).

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use pyo3::exceptions::{PyRuntimeError, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use pyo3_async_runtimes::TaskLocals;
use pyo3_async_runtimes::generic::future_into_py_with_locals;
use sluicegate_core::clock::{Clock, Nanos};
use sluicegate_core::credits::frames::FrameRange;
use sluicegate_core::credits::{Bale, Spot};
use sluicegate_core::fork;
use sluicegate_core::section::Section;
use sluicegate_core::wait::{Line, Ticket, Wakes};
use tokio::sync::{Notify, watch};

use super::runtime::{Io, User, attached};
use crate::credits::PyChannelBody;
use crate::rt::arguments::Timeout;
use crate::rt::blocking;
use crate::rt::domain::Attached;
use crate::rt::gc::attached_in_traverse;
use crate::rt::imported::imported;
use crate::rt::operation::{Chance, Done, Operation, Place};
use crate::rt::waker::Waker;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    Stopping,
    Stopped,
    Ended,
}

/// What is to be done, and how far it has come.
pub(crate) trait Job: Debug + Send {
    fn run<'a>(&'a mut self, shared: &'a Shared) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

    /// It has ended by this error.
    fn fail(&mut self, py: Python<'_>, error: &PyErr);

    /// Gives up its places in line, and the reactor.
    fn park(&mut self, py: Python<'_>, shared: &Shared);

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError>;
}

/// How a task comes to its end.
pub(crate) enum Outcome {
    Done,
    Failed(PyErr),
    /// By `cancel`: it can go on.
    Stopped,
    /// There is no interpreter any more.
    Nowhere,
}

#[derive(Debug)]
pub(crate) struct State {
    stage: Stage,
    /// How many items, and how many bytes, have been delivered, or received and written.
    pub(crate) items: u64,
    pub(crate) bytes: u64,
    /// Of what is being read, the bale that stands in the channel's line, or what is left of one that has been taken back.
    pub(crate) standing: Option<Standing>,
    pub(crate) rest: Option<FrameRange>,
    error: Option<Py<PyAny>>,
    job: Option<Box<dyn Job>>,
    line: Line<Waker>,
}

impl State {
    /// May an item change hands?
    pub(crate) fn goes_on(&self) -> bool {
        self.stage == Stage::Running
    }

    /// Counts what the channel has sent by itself meanwhile.
    fn catch_up(&mut self, py: Python<'_>) {
        let Some(standing) = &mut self.standing else { return };
        let left = standing.body.get().core.with_offer(py, &standing.spot, |bale| (bale.count(), bale.position()));
        let progress = standing.progress(left);
        self.count(progress);
    }

    /// Takes the bale out of the channel's line. The wake-ups are for outside the section.
    pub(crate) fn take_back(&mut self, py: Python<'_>) -> Wakes<Waker> {
        let Some(mut standing) = self.standing.take() else { return Wakes::none() };
        let (wakes, rest) = standing.body.get().core.take_back(py, &mut standing.spot);
        // Counted from what has come back: the channel may have sent some of it until that very moment.
        self.count(standing.progress(rest.as_ref().map(|bale| (bale.count(), bale.position()))));
        self.rest = rest.filter(|bale| bale.count() > 0);
        wakes
    }

    fn count(&mut self, (items, bytes): (u64, u64)) {
        self.items += items;
        self.bytes += bytes;
    }
}

/// A bale in a channel's line, which goes as there is credit. Its reference to the channel may be dropped inside a section: it is never the
/// last, because the job has the sender.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) body: Py<PyChannelBody>,
    pub(crate) spot: Spot,
    /// As when it was last looked at: how many items were left, where the first began, and where the last ends.
    count: usize,
    position: usize,
    end: usize,
}

impl Standing {
    pub(crate) fn new(body: Py<PyChannelBody>, bale: &FrameRange) -> Self {
        let (count, position, end) = (bale.count(), bale.position(), bale.end_position());
        Self { body, spot: Spot::default(), count, position, end }
    }

    /// How many items, and bytes, have gone since it was last looked at. `left`: of how many items, and where they begin; None if of none.
    pub(crate) fn progress(&mut self, left: Option<(usize, usize)>) -> (u64, u64) {
        let (count, position) = left.unwrap_or((0, self.end));
        let gone = (self.count - count, position - self.position);
        (self.count, self.position) = (count, position);
        (gone.0 as u64, gone.1 as u64)
    }
}

/// What a task and its Python object share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Has the task look around: there is credit, or an item, or an end; or it is to stop.
    pub(crate) signal: Arc<Notify>,
    over: watch::Sender<bool>,
    pub(crate) state: Section<State, Attached>,
    generation: u64,
    name: String,
    /// The result is `items`, not `bytes`.
    counts_items: bool,
}

impl Shared {
    /// Tells those who wait that it stands still, unless it goes on already; the wake-ups are fired here, outside the section.
    fn announce(&self, py: Python<'_>) {
        let mut wakes = Wakes::none();
        self.state.with(py, |state| {
            if matches!(state.stage, Stage::Stopped | Stage::Ended) {
                state.line.release_all(&mut wakes);
                self.over.send_replace(true); // it wakes tasks of tokio's, and runs nothing of Python's
            }
        });
        wakes.fire();
    }

    fn end(&self, py: Python<'_>, error: Option<&PyErr>) {
        let mut error = error.map(|error| error.clone_ref(py).into_value(py).into_any());
        self.state.with(py, |state| {
            state.stage = Stage::Ended;
            std::mem::swap(&mut state.error, &mut error);
        });
        drop(error);
        self.announce(py);
    }

    /// The task has come to its end.
    fn conclude(self: &Arc<Self>, py: Python<'_>, mut job: Box<dyn Job>, outcome: Outcome) {
        job.park(py, self);
        match outcome {
            Outcome::Done => self.end(py, None),
            Outcome::Failed(error) => {
                job.fail(py, &error);
                self.end(py, Some(&error));
            }
            Outcome::Stopped => {
                let mut job = Some(job);
                let stopped = self.state.with(py, |state| {
                    let stopped = state.stage == Stage::Stopping;
                    if stopped {
                        state.stage = Stage::Stopped;
                        state.job = job.take();
                    }
                    stopped
                });
                if stopped {
                    self.announce(py);
                } else if let Some(job) = job {
                    // It was to go on after all.
                    if let Err(error) = self.start(py, job) {
                        self.end(py, Some(&error));
                    }
                }
            }
            Outcome::Nowhere => {}
        }
    }

    fn start(self: &Arc<Self>, py: Python<'_>, job: Box<dyn Job>) -> PyResult<()> {
        let user = User::new(py)?;
        let handle = user.handle().clone();
        let task = Task { shared: Arc::clone(self), job: Some(job), user: Some(user) };
        drop(handle.spawn(task.run()));
        Ok(())
    }

    fn is_foreign(&self) -> bool {
        self.generation != fork::generation()
    }
}

/// One run of a job. Dropped before its end, by the end of the runtime or by a panic, it says so.
struct Task {
    shared: Arc<Shared>,
    job: Option<Box<dyn Job>>,
    user: Option<User>,
}

impl Task {
    async fn run(mut self) {
        let outcome = match &mut self.job {
            Some(job) => job.run(&self.shared).await,
            None => Outcome::Nowhere,
        };
        self.conclude(outcome);
    }

    fn conclude(&mut self, outcome: Outcome) {
        let Some(job) = self.job.take() else { return };
        let mut job = Some(job);
        attached(|py| {
            if let Some(job) = job.take() {
                self.shared.conclude(py, job, outcome);
            }
            drop(self.user.take());
        });
        // Without an interpreter nothing of its may be touched.
        std::mem::forget(job);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if self.job.is_some() {
            let outcome = attached(|_| {
                Outcome::Failed(PyRuntimeError::new_err(
                    "sluicegate.io: the interpreter was about to end, or the transfer panicked",
                ))
            });
            self.conclude(outcome.unwrap_or(Outcome::Nowhere));
        }
    }
}

/// A transfer between a file or a socket and a channel: what `read_lines`, `read_chunks` and `write_from` return.
///
/// It runs from the moment it is made. `await` it, or call `result`, for its completion; cancelling the `await` stops it.
#[pyclass(frozen, weakref, name = "Transfer", module = "sluicegate.io")]
#[derive(Debug)]
pub(crate) struct PyTransfer {
    shared: Arc<Shared>,
}

impl PyTransfer {
    pub(crate) fn start(
        py: Python<'_>,
        name: String,
        counts_items: bool,
        job: impl FnOnce(&Arc<Notify>) -> Box<dyn Job>,
    ) -> PyResult<Self> {
        let signal = Arc::new(Notify::new());
        let job = job(&signal);
        let shared = Arc::new(Shared {
            signal,
            over: watch::Sender::new(false),
            state: Section::new(State {
                stage: Stage::Running,
                items: 0,
                bytes: 0,
                standing: None,
                rest: None,
                error: None,
                job: None,
                line: Line::default(),
            }),
            generation: fork::generation(),
            name,
            counts_items,
        });
        shared.start(py, job)?;
        Ok(Self { shared })
    }

    fn stage(&self, py: Python<'_>) -> Stage {
        self.shared.state.with(py, |state| state.stage)
    }

    fn check_process(&self) -> PyResult<()> {
        if self.shared.is_foreign() {
            return Err(PyRuntimeError::new_err("this transfer was started before a fork: it runs in the parent process"));
        }
        Ok(())
    }

    fn cancelled_error(py: Python<'_>, module: &'static str, cell: &'static PyOnceLock<Py<PyType>>) -> PyErr {
        match imported(py, cell, module, "CancelledError") {
            Ok(class) => PyErr::from_type(class.clone(), ("the transfer was cancelled; resume() goes on",)),
            Err(error) => error,
        }
    }

    /// What it came to, once it stands still.
    fn outcome(&self, py: Python<'_>, cancelled: impl FnOnce() -> PyErr) -> PyResult<Option<u64>> {
        let (stage, count, error) = self.shared.state.with(py, |state| {
            state.catch_up(py);
            let count = if self.shared.counts_items { state.items } else { state.bytes };
            (state.stage, count, state.error.as_ref().map(|error| error.clone_ref(py)))
        });
        match (stage, error) {
            (Stage::Running | Stage::Stopping, _) => Ok(None),
            (Stage::Stopped, _) => Err(cancelled()),
            (Stage::Ended, Some(error)) => Err(PyErr::from_value(error.into_bound(py))),
            (Stage::Ended, None) => Ok(Some(count)),
        }
    }
}

#[pymethods]
impl PyTransfer {
    /// Wait until it has ended, and return how many items (lines) or bytes that were.
    ///
    /// Raises the error that ended it, TimeoutError if it did not end within `timeout` seconds, and
    /// concurrent.futures.CancelledError after `cancel`.
    #[pyo3(signature = (timeout = None))]
    fn result(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        slf.get().check_process()?;
        let mut operation = Completion { transfer: slf.clone().unbind(), place: None };
        blocking::run(slf.as_any(), &mut operation, timeout)?.into_object(slf.py())
    }

    /// Stop, at the end of an item: none is delivered (by `write_from`: received) after this call. Channel and source
    /// stay open, and `resume` goes on where it stopped.
    ///
    /// May be called from anywhere, any number of times, and never raises.
    fn cancel(&self, py: Python<'_>) {
        if self.shared.is_foreign() {
            return;
        }
        let wakes = self.shared.state.with(py, |state| {
            if state.stage == Stage::Running {
                state.stage = Stage::Stopping;
            }
            state.take_back(py)
        });
        wakes.fire();
        self.shared.signal.notify_one();
    }

    /// Go on after `cancel`, with exactly the rest. Returns the transfer itself, so that `await transfer.resume()` works.
    fn resume<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let (py, this) = (slf.py(), slf.get());
        this.check_process()?;
        let job = this.shared.state.with(py, |state| match state.stage {
            Stage::Stopping | Stage::Stopped => {
                state.stage = Stage::Running;
                this.shared.over.send_replace(false); // in the same step: an announcement that is late finds it running
                state.job.take()
            }
            Stage::Running | Stage::Ended => None,
        });
        if let Some(job) = job {
            if let Err(error) = this.shared.start(py, job) {
                this.shared.end(py, Some(&error));
                return Err(error);
            }
        }
        Ok(slf.clone())
    }

    /// True once it stands still: it has ended, or it has stopped after `cancel`.
    fn done(&self, py: Python<'_>) -> bool {
        matches!(self.stage(py), Stage::Ended | Stage::Stopped)
    }

    /// True while it stands still, or is about to, after `cancel`.
    fn cancelled(&self, py: Python<'_>) -> bool {
        matches!(self.stage(py), Stage::Stopping | Stage::Stopped)
    }

    /// How many items have been delivered, or written.
    #[getter]
    fn items(&self, py: Python<'_>) -> u64 {
        self.shared.state.with(py, |state| {
            state.catch_up(py);
            state.items
        })
    }

    /// How many bytes of the source have been delivered, line ends and all; or how many have been written.
    #[getter]
    fn bytes(&self, py: Python<'_>) -> u64 {
        self.shared.state.with(py, |state| {
            state.catch_up(py);
            state.bytes
        })
    }

    /// A future of the running loop, for the moment at which it stands still. It carries nothing.
    fn _completion<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.check_process()?;
        let mut over = self.shared.over.subscribe();
        let locals = TaskLocals::with_running_loop(py)?;
        User::new(py)?; // an error here is the caller's
        future_into_py_with_locals::<Io, _, _>(py, locals, async move {
            // The sender is gone: the transfer has ended, and nobody else can ask.
            let _ = over.wait_for(|over| *over).await;
            Ok(())
        })
    }

    /// What an `await` comes to.
    fn _outcome(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        self.outcome(py, || Self::cancelled_error(py, "asyncio", &CLASS))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let (stage, items, bytes, failed) = self.shared.state.with(py, |state| {
            state.catch_up(py);
            (state.stage, state.items, state.bytes, state.error.is_some())
        });
        let stage = match stage {
            Stage::Running => "running",
            Stage::Stopping | Stage::Stopped => "cancelled",
            Stage::Ended if failed => "failed",
            Stage::Ended => "done",
        };
        format!("<sluicegate.io.Transfer {} {stage} items={items} bytes={bytes}>", self.shared.name)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.shared.state.with(attached_in_traverse(), |state| {
            visit.call(&state.error)?;
            state.job.as_ref().map_or(Ok(()), |job| job.traverse(&visit))
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        let left = self.shared.state.with(py, |state| (state.error.take(), state.job.take()));
        drop(left);
    }
}

/// A thread that waits for the end of a transfer.
#[derive(Debug)]
struct Completion {
    transfer: Py<PyTransfer>,
    place: Option<Ticket>,
}

impl Operation for Completion {
    fn names(&self) -> (&'static str, &'static str) {
        ("Transfer.result", "await")
    }

    fn clock(&self, _this: &Bound<'_, PyAny>) -> Clock<Waker> {
        Clock::Monotonic
    }

    fn set_deadline(&mut self, _deadline: Option<Nanos>) {}

    fn look_again_at(&self) -> Option<Nanos> {
        None
    }

    fn attempt(&mut self, this: &Bound<'_, PyAny>, chance: Chance<'_>, _now: Nanos) -> PyResult<Option<Done>> {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let py = this.py();
        let transfer = self.transfer.get();
        transfer.check_process()?; // a signal handler may have forked
        if let Chance::Wait(waker) = chance {
            // First the place, then the look: what ends in between releases the place.
            self.place = transfer.shared.state.with(py, |state| match self.place {
                Some(place) if state.line.contains(place) => Some(place),
                _ => Some(state.line.join(sluicegate_core::wait::Wake::share(waker), 0)),
            });
        }
        let cancelled = || PyTransfer::cancelled_error(py, "concurrent.futures", &CLASS);
        let Some(count) = transfer.outcome(py, cancelled)? else { return Ok(None) };
        Ok(Some(Done::Item(count.into_pyobject(py)?.into_any().unbind())))
    }

    fn place(&self, _this: &Bound<'_, PyAny>) -> Option<Box<dyn Place>> {
        None
    }

    fn withdraw(&mut self, this: &Bound<'_, PyAny>) -> Wakes<Waker> {
        let transfer = self.transfer.get();
        if let Some(place) = self.place.take().filter(|_| !transfer.shared.is_foreign()) {
            let waker = transfer.shared.state.with(this.py(), |state| state.line.leave(place));
            drop(waker);
        }
        Wakes::none()
    }

    fn refused(&self, this: &Bound<'_, PyAny>, timeout: Timeout) -> PyErr {
        let shown = self.transfer.get().__repr__(this.py());
        match timeout {
            Timeout::Within(seconds) => PyTimeoutError::new_err(format!("not within {seconds} seconds: {shown}")),
            Timeout::Never | Timeout::Forever => PyTimeoutError::new_err(format!("not yet: {shown}")),
        }
    }

    fn traverse(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.transfer)
    }
}
