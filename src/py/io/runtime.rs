//! The tokio runtime under `io`: made with the first transfer, gone soon after the last, so that no thread is left behind.
//!
//! A process that has forked must not use its parent's: the child's threads are not there. It is left where it lies, and the child makes
//! one of its own. At the interpreter's exit [`close`] ends what runs, while it can still attach; afterwards nothing here does.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3_async_runtimes::TaskLocals;
use pyo3_async_runtimes::generic;
use sluicegate_core::fork;
use sluicegate_core::lazy::Lazy;
use sluicegate_core::section::Section;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;

use crate::rt::domain::Attached;
use crate::rt::guarded;

/// One may wait for the GIL while the other serves.
const WORKERS: usize = 2;

/// So long the runtime outlives its last user: making one costs a millisecond.
const LINGER: Duration = Duration::from_millis(200);

/// So long the exit of the interpreter waits for what runs here, a user's `weigh` for one.
const PATIENCE: Duration = Duration::from_secs(1);

struct Running {
    runtime: Runtime,
    users: usize,
    /// How many users there have been.
    visits: u64,
    generation: u64,
}

static RUNNING: Lazy<Section<Option<Running>, Attached>> = Lazy::new(|| Section::new(None));
/// The interpreter is about to end: nothing new is begun.
static CLOSING: AtomicBool = AtomicBool::new(false);
/// Nothing attaches any more.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Is the interpreter about to end?
pub(in crate::io) fn is_closing() -> bool {
    CLOSING.load(Ordering::Acquire)
}

/// Runs `work` attached. `None`: there is no interpreter any more.
pub(in crate::io) fn attached<R>(work: impl FnOnce(Python<'_>) -> R) -> Option<R> {
    if CLOSED.load(Ordering::Acquire) { None } else { guarded::attached(work) }
}

/// Does `work` unless there is a signal first: then it is given up.
pub(in crate::io) async fn unless<T>(signal: &Notify, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut told = pin!(signal.notified());
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => told.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// Somebody who needs the runtime. Soon after the last of them it goes.
#[derive(Debug)]
pub(in crate::io) struct User {
    handle: Handle,
    generation: u64,
}

impl User {
    pub(in crate::io) fn new(py: Python<'_>) -> PyResult<Self> {
        if let Some(user) = Self::of_current(py, None)? {
            return Ok(user);
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("sluicegate-io")
            .enable_all()
            .build()
            .map_err(|error| PyOSError::new_err(format!("sluicegate.io: the runtime could not be started: {error}")))?;
        Ok(Self::of_current(py, Some(runtime))?.expect("there is one now"))
    }

    /// A user of the runtime that runs, or of this one if there is none.
    fn of_current(py: Python<'_>, fresh: Option<Runtime>) -> PyResult<Option<Self>> {
        let generation = fork::generation();
        let (user, not_needed) = RUNNING.with(py, |running| {
            // Looked at inside the section that `close` enters next: what begins here it finds.
            if CLOSING.load(Ordering::Acquire) {
                return (Err(()), fresh);
            }
            if running.as_ref().is_some_and(|running| running.generation != generation) {
                std::mem::forget(running.take());
            }
            let mut not_needed = None;
            match (running.is_some(), fresh) {
                (false, Some(runtime)) => *running = Some(Running { runtime, users: 0, visits: 0, generation }),
                (_, fresh) => not_needed = fresh,
            }
            let user = running.as_mut().map(|running| {
                running.users += 1;
                running.visits += 1;
                Self { handle: running.runtime.handle().clone(), generation }
            });
            (Ok(user), not_needed)
        });
        if let Some(runtime) = not_needed {
            runtime.shutdown_background();
        }
        user.map_err(|()| PyRuntimeError::new_err("sluicegate.io: the interpreter is exiting"))
    }

    pub(in crate::io) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            return;
        }
        let last = attached(|py| {
            RUNNING.with(py, |running| {
                let running = running.as_mut()?;
                running.users -= 1;
                (running.users == 0).then_some(running.visits)
            })
        });
        if let Some(Some(visits)) = last {
            drop(self.handle.spawn(async move {
                tokio::time::sleep(LINGER).await;
                retire(visits);
            }));
        }
    }
}

/// Nobody has come since: the runtime goes.
fn retire(visits: u64) {
    let unused =
        attached(|py| RUNNING.with(py, |running| running.take_if(|running| running.users == 0 && running.visits == visits)));
    if let Some(Some(unused)) = unused {
        unused.runtime.shutdown_background();
    }
}

/// Ends whatever runs: at the interpreter's exit.
pub(in crate::io) fn close(py: Python<'_>) {
    CLOSING.store(true, Ordering::Release);
    let running = RUNNING.with(py, Option::take);
    match running {
        Some(running) if running.generation == fork::generation() => {
            guarded::detached(py, || running.runtime.shutdown_timeout(PATIENCE));
        }
        running => std::mem::forget(running),
    }
    CLOSED.store(true, Ordering::Release);
}

/// What pyo3-async-runtimes runs its futures on.
pub(in crate::io) struct Io;

/// How a task of it ended.
pub(in crate::io) struct TaskError(tokio::task::JoinError);

impl generic::JoinError for TaskError {
    fn is_panic(&self) -> bool {
        self.0.is_panic()
    }

    fn into_panic(self) -> Box<dyn std::any::Any + Send + 'static> {
        self.0.into_panic()
    }
}

type Joined = Pin<Box<dyn Future<Output = Result<(), TaskError>> + Send>>;

fn joined(handle: tokio::task::JoinHandle<()>) -> Joined {
    Box::pin(async move { handle.await.map_err(TaskError) })
}

impl generic::Runtime for Io {
    type JoinError = TaskError;
    type JoinHandle = Joined;

    fn spawn<F: Future<Output = ()> + Send + 'static>(future: F) -> Joined {
        // From a task of its own it is another part of the same await, whose first part is a user.
        if let Ok(handle) = Handle::try_current() {
            return joined(handle.spawn(future));
        }
        let Some(Ok(user)) = attached(User::new) else { return Box::pin(std::future::pending()) };
        let handle = user.handle().clone();
        joined(handle.spawn(async move {
            let _user = user;
            future.await;
        }))
    }

    /// What it is given to do is to attach and complete a future: that needs no thread of its own, and here it is safe when the
    /// interpreter ends.
    fn spawn_blocking<F: FnOnce() + Send + 'static>(work: F) -> Joined {
        attached(|_| work());
        Box::pin(std::future::ready(Ok(())))
    }
}

impl generic::ContextExt for Io {
    fn scope<F, R>(_locals: TaskLocals, future: F) -> Pin<Box<dyn Future<Output = R> + Send>>
    where
        F: Future<Output = R> + Send + 'static,
    {
        Box::pin(future)
    }

    fn get_task_locals() -> Option<TaskLocals> {
        None
    }
}
