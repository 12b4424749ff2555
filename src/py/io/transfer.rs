//! `Transfer`: the Python object of a transfer, which can be stopped, resumed, and awaited by threads and coroutines.
//!
//! Its stages, the items that have been read but not sent, and the counters are in the core (`transfer`). This file has the task that runs
//! the job, and the waiting: coroutines use `future_into_py`, threads wait as for everything else (`blocking`).

use std::ffi::CString;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::rt::kept::Kept;
use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyType;
use pyo3_async_runtimes::TaskLocals;
use pyo3_async_runtimes::generic::future_into_py_with_locals;
use sluicegate_core::clock::{Clock, Nanos};
use sluicegate_core::fork;
use sluicegate_core::transfer::{self, Counts, Stage, Transfer};
use sluicegate_core::wait::{Ticket, Wakes};
use tokio::sync::{Notify, watch};

use super::runtime::{Io, User, attached, is_closing};
use crate::credits::{Core, Extras, PyChannelBody};
use crate::rt::Item;
use crate::rt::arguments::Timeout;
use crate::rt::blocking;
use crate::rt::domain::Attached;
use crate::rt::gc::attached_in_traverse;
use crate::rt::imported::imported;
use crate::rt::operation::{Done, Mode, Operation};
use crate::rt::registration::Registered;
use crate::rt::waker::Waker;

/// The work of a transfer, and its progress.
pub(in crate::io) trait Job: Debug + Send {
    fn run<'a>(&'a mut self, shared: &'a Shared) -> Pin<Box<dyn Future<Output = TaskOutcome> + Send + 'a>>;

    /// Called when this error has ended the job.
    fn fail(&mut self, py: Python<'_>, error: &PyErr);

    /// Leaves the wait queues, and deregisters from the reactor.
    fn park(&mut self, py: Python<'_>, shared: &Shared);

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError>;
}

/// The outcome of a task.
pub(in crate::io) enum TaskOutcome {
    Done,
    Failed(PyErr),
    /// Stopped by `cancel`, and can be resumed.
    Stopped,
    /// There is no interpreter any more.
    Nowhere,
}

/// The unit in which the result of a transfer is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::io) enum Counted {
    /// Items read.
    Items,
    /// Bytes read.
    Bytes,
    /// Bytes written.
    Written,
}

/// The type parameters of the core's transfer.
#[derive(Debug)]
pub(in crate::io) struct Parts;

impl transfer::Parts for Parts {
    type Item = Item;
    type Waker = Waker;
    type Domain = Attached;
    type Extras = Extras;
    type Channel = ChannelRef;
    type Job = Box<dyn Job>;
    type Error = Py<PyAny>;
}

/// The channel in whose wait queue an offer is.
#[derive(Debug)]
pub(in crate::io) struct ChannelRef(pub(in crate::io) Py<PyChannelBody>);

impl AsRef<Core> for ChannelRef {
    fn as_ref(&self) -> &Core {
        &self.0.get().core
    }
}

/// The state that a task and its Python object share.
#[derive(Debug)]
pub(in crate::io) struct Shared {
    /// Wakes the task: there is credit, an item, or an end, or the task has to stop.
    pub(in crate::io) signal: Arc<Notify>,
    over: watch::Sender<bool>,
    pub(in crate::io) transfer: Transfer<Parts>,
    generation: u64,
    name: String,
    /// True if the result is `items`, false if it is `bytes`.
    counts_items: bool,
    warns_at_exit: bool,
}

impl Shared {
    /// The number of the next item, from 1.
    pub(in crate::io) fn line(&self, py: Python<'_>) -> u64 {
        self.counts(py).items + 1
    }

    /// Notifies coroutines of the current stage: a late notification finds a resumed transfer running.
    fn tell(&self, py: Python<'_>) {
        // It wakes tokio tasks, and runs no Python code.
        self.transfer.look(py, |stage| self.over.send_replace(matches!(stage, Stage::Stopped | Stage::Ended)));
    }

    /// Called when the transfer has stopped or ended: notifies coroutines, then threads.
    fn announce(&self, py: Python<'_>, wakes: Wakes<Waker>) {
        self.tell(py);
        wakes.fire();
    }

    fn end(&self, py: Python<'_>, error: Option<&PyErr>) {
        let error = error.map(|error| error.clone_ref(py).into_value(py).into_any());
        let (wakes, displaced) = self.transfer.end(py, error);
        drop(displaced);
        self.announce(py, wakes);
    }

    /// Called when the task has ended.
    fn conclude(self: &Arc<Self>, py: Python<'_>, mut job: Box<dyn Job>, outcome: TaskOutcome) {
        job.park(py, self);
        match outcome {
            TaskOutcome::Done => self.end(py, None),
            TaskOutcome::Failed(error) => {
                self.warn_at_exit(py);
                job.fail(py, &error);
                self.end(py, Some(&error));
            }
            TaskOutcome::Stopped => match self.transfer.stopped(py, job) {
                Ok(wakes) => self.announce(py, wakes),
                // The transfer has been resumed meanwhile.
                Err(job) => {
                    if let Err(error) = self.start(py, job) {
                        self.end(py, Some(&error));
                    }
                }
            },
            TaskOutcome::Nowhere => {}
        }
    }

    fn start(self: &Arc<Self>, py: Python<'_>, job: Box<dyn Job>) -> PyResult<()> {
        let user = User::new(py)?;
        let (handle, pool) = user.runs_on();
        let task = Task { shared: Arc::clone(self), job: Some(job), user: Some(user) };
        drop(handle.spawn(pool.of_task(task.run())));
        Ok(())
    }

    /// Warns that the program ends before the transfer, whose unwritten data are lost.
    fn warn_at_exit(&self, py: Python<'_>) {
        if !self.warns_at_exit || !is_closing() || self.transfer.stage(py) != Stage::Running {
            return;
        }
        let Counts { items, .. } = self.counts(py);
        let text = format!(
            "{} was still running when the program ended, after {items} items: wait for it with result() or await",
            self.name
        );
        let warned = CString::new(text.replace('\0', "\\0"))
            .map_err(PyErr::from)
            .and_then(|text| PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &text, 1));
        if let Err(error) = warned {
            error.write_unraisable(py, None);
        }
    }

    fn counts(&self, py: Python<'_>) -> Counts {
        let (_, counts, _) = self.transfer.progress(py, |_| ());
        counts
    }

    fn is_foreign(&self) -> bool {
        self.generation != fork::generation()
    }
}

/// One run of a job. If it is dropped before its end (by the end of the runtime, or a panic), it reports that.
struct Task {
    shared: Arc<Shared>,
    job: Option<Box<dyn Job>>,
    user: Option<User>,
}

impl Task {
    async fn run(mut self) {
        let outcome = match &mut self.job {
            Some(job) => job.run(&self.shared).await,
            None => TaskOutcome::Nowhere,
        };
        self.conclude(outcome);
    }

    fn conclude(&mut self, outcome: TaskOutcome) {
        let Some(job) = self.job.take() else { return };
        let mut job = Some(job);
        attached(|py| {
            if let Some(job) = job.take() {
                self.shared.conclude(py, job, outcome);
            }
            drop(self.user.take());
        });
        // Without an interpreter, its Python objects must not be touched.
        std::mem::forget(job);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if self.job.is_some() {
            let outcome = attached(|_| {
                TaskOutcome::Failed(PyRuntimeError::new_err(
                    "sluicegate.io: the interpreter was exiting, or the transfer panicked",
                ))
            });
            self.conclude(outcome.unwrap_or(TaskOutcome::Nowhere));
        }
    }
}

/// A transfer between a file or socket and a channel, as returned by `read_lines`, `read_chunks` and `write_from`.
///
/// It runs from the moment it is created. `await` it, or call `result`, to wait for its completion; cancelling the
/// `await` stops the transfer.
#[pyclass(frozen, weakref, name = "Transfer", module = "sluicegate.io")]
#[derive(Debug)]
pub(crate) struct PyTransfer {
    shared: Arc<Shared>,
}

impl PyTransfer {
    pub(in crate::io) fn start(
        py: Python<'_>,
        name: String,
        counts: Counted,
        job: impl FnOnce(&Arc<Notify>) -> Box<dyn Job>,
    ) -> PyResult<Self> {
        let signal = Arc::new(Notify::new());
        let job = job(&signal);
        let shared = Arc::new(Shared {
            signal,
            over: watch::Sender::new(false),
            transfer: Transfer::default(),
            generation: fork::generation(),
            name,
            counts_items: counts == Counted::Items,
            warns_at_exit: counts == Counted::Written,
        });
        shared.start(py, job)?;
        Ok(Self { shared })
    }

    fn counts(&self, py: Python<'_>) -> Counts {
        self.shared.counts(py)
    }

    fn stage(&self, py: Python<'_>) -> Stage {
        self.shared.transfer.stage(py)
    }

    fn check_process(&self) -> PyResult<()> {
        if self.shared.is_foreign() {
            return Err(PyRuntimeError::new_err("this transfer was started before a fork: it runs in the parent process"));
        }
        Ok(())
    }

    fn cancelled_error(py: Python<'_>, module: &'static str, cell: &'static Kept<PyType>) -> PyErr {
        match imported(py, cell, module, "CancelledError") {
            Ok(class) => PyErr::from_type(class.clone(), ("the transfer was cancelled; resume() continues it",)),
            Err(error) => error,
        }
    }

    /// The result of a transfer that has stopped or ended; `None` while it is running.
    fn outcome(&self, py: Python<'_>, cancelled: impl FnOnce() -> PyErr) -> PyResult<Option<u64>> {
        let (stage, counts, error) = self.shared.transfer.progress(py, |error| error.clone_ref(py));
        let count = if self.shared.counts_items { counts.items } else { counts.bytes };
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
    /// Wait until the transfer has ended, and return the number of items (lines) or bytes.
    ///
    /// Raises the error that ended it, TimeoutError if it did not end within `timeout` seconds, and
    /// concurrent.futures.CancelledError after `cancel`.
    #[pyo3(signature = (timeout = None))]
    fn result(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        slf.get().check_process()?;
        let mut operation = Completion { transfer: slf.clone().unbind(), place: None };
        blocking::run(slf.py(), &mut operation, timeout)?.into_object(slf.py())
    }

    /// Wait until the transfer has ended, and return the exception that ended it, or None if it was successful.
    ///
    /// Raises TimeoutError if it did not end within `timeout` seconds, and concurrent.futures.CancelledError after
    /// `cancel`.
    #[pyo3(signature = (timeout = None))]
    fn exception(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Py<PyAny>>> {
        Self::result(slf, timeout).map(|_| None).or_else(|raised| {
            let error = slf.get().shared.transfer.progress(slf.py(), |error| error.clone_ref(slf.py())).2;
            error.filter(|error| error.is(raised.value(slf.py()))).map(Some).ok_or(raised)
        })
    }

    /// Stop at the end of an item: after this call no further item is delivered (by `write_from`: received). The
    /// channel and the source stay open, and `resume` continues where the transfer stopped.
    ///
    /// It can be called from anywhere, any number of times, and never raises.
    fn cancel(&self, py: Python<'_>) {
        if self.shared.is_foreign() {
            return;
        }
        self.shared.transfer.cancel(py).settle();
        self.shared.signal.notify_one();
    }

    /// Continue after `cancel` with exactly the rest. Returns the transfer, so that `await transfer.resume()` works.
    fn resume<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let (py, this) = (slf.py(), slf.get());
        this.check_process()?;
        if let Some(job) = this.shared.transfer.resume(py) {
            this.shared.tell(py);
            if let Err(error) = this.shared.start(py, job) {
                this.shared.end(py, Some(&error));
                return Err(error);
            }
        }
        Ok(slf.clone())
    }

    /// Return True if the transfer is not running: it has ended, or it has stopped after `cancel`.
    fn done(&self, py: Python<'_>) -> bool {
        matches!(self.stage(py), Stage::Ended | Stage::Stopped)
    }

    /// Return True if the transfer has stopped, or is about to stop, after `cancel`.
    fn cancelled(&self, py: Python<'_>) -> bool {
        matches!(self.stage(py), Stage::Stopping | Stage::Stopped)
    }

    /// The number of items delivered or written.
    #[getter]
    fn items(&self, py: Python<'_>) -> u64 {
        self.counts(py).items
    }

    /// The number of bytes of the source that were delivered, line ends included, or the number of bytes written.
    #[getter]
    fn bytes(&self, py: Python<'_>) -> u64 {
        self.counts(py).bytes
    }

    /// A future of the running event loop, which completes when the transfer has stopped or ended. It has no result.
    fn _completion<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.check_process()?;
        let mut over = self.shared.over.subscribe();
        let locals = TaskLocals::with_running_loop(py)?;
        User::new(py)?; // an error here is raised to the caller
        future_into_py_with_locals::<Io, _, _>(py, locals, async move {
            // If the sender of the watch is gone, the transfer has ended, and its object cannot be waited for.
            let _ = over.wait_for(|over| *over).await;
            Ok(())
        })
    }

    /// The result of an `await`.
    fn _outcome(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        static CLASS: Kept<PyType> = Kept::new();
        self.outcome(py, || Self::cancelled_error(py, "asyncio", &CLASS))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let (stage, Counts { items, bytes }, failed) = self.shared.transfer.progress(py, |_| ());
        let stage = match stage {
            Stage::Running => "running",
            Stage::Stopping | Stage::Stopped => "cancelled",
            Stage::Ended if failed.is_some() => "failed",
            Stage::Ended => "done",
        };
        format!("<sluicegate.io.Transfer {} {stage} items={items} bytes={bytes}>", self.shared.name)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.shared.transfer.with_kept(attached_in_traverse(), |job, error| {
            error.map_or(Ok(()), |error| visit.call(error))?;
            job.map_or(Ok(()), |job| job.traverse(&visit))
        })
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.shared.transfer.clear(py));
    }
}

/// The operation of a thread that waits for the end of a transfer.
#[derive(Debug)]
struct Completion {
    transfer: Py<PyTransfer>,
    place: Option<Ticket>,
}

impl Registered for Completion {
    fn clock(&self, _py: Python<'_>) -> Clock<Waker> {
        Clock::Monotonic
    }

    fn set_deadline(&mut self, _deadline: Option<Nanos>) {}

    fn look_again_at(&self) -> Option<Nanos> {
        None
    }

    fn withdraw(&mut self, py: Python<'_>) -> Wakes<Waker> {
        let transfer = self.transfer.get();
        if let Some(place) = self.place.take().filter(|_| !transfer.shared.is_foreign()) {
            drop(transfer.shared.transfer.leave_line(py, place));
        }
        Wakes::none()
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.transfer)
    }
}

impl Operation for Completion {
    fn names(&self) -> (&'static str, &'static str) {
        ("Transfer.result", "await")
    }

    fn registration(&self) -> &dyn Registered {
        self
    }

    fn registration_mut(&mut self) -> &mut dyn Registered {
        self
    }

    fn attempt(&mut self, py: Python<'_>, mode: Mode<'_>, _now: Nanos) -> PyResult<Option<Done>> {
        static CLASS: Kept<PyType> = Kept::new();
        let transfer = self.transfer.get();
        transfer.check_process()?; // a signal handler may have forked
        if let Mode::Park(waker) = mode {
            // It joins the wait queue before it reads the stage, so that an end in between wakes it.
            self.place = Some(transfer.shared.transfer.enter_line(py, self.place, waker));
        }
        let cancelled = || PyTransfer::cancelled_error(py, "concurrent.futures", &CLASS);
        let Some(count) = transfer.outcome(py, cancelled)? else { return Ok(None) };
        Ok(Some(Done::Item(count.into_pyobject(py)?.into_any().unbind())))
    }

    fn out_of_time(&self, py: Python<'_>, timeout: Timeout) -> PyResult<Done> {
        let shown = self.transfer.get().__repr__(py);
        Err(PyTimeoutError::new_err(match timeout {
            Timeout::Within(seconds) => format!("the transfer has not ended within {seconds} seconds: {shown}"),
            Timeout::Never | Timeout::Forever => format!("the transfer has not ended yet: {shown}"),
        }))
    }
}
