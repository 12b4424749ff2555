//! The tokio runtime under `io`: created for the first transfer and shut down soon after the last one, so that no thread is left behind.
//!
//! A forked child must not use its parent's runtime, whose threads do not exist there. It leaks that runtime and creates its own. Before
//! the interpreter exits, [`close`] ends all tasks while they can still attach; afterwards no task attaches.

use std::future::{Future, poll_fn};
use std::io;
use std::panic::catch_unwind;
use std::pin::{Pin, pin};
use std::sync::Arc;
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

use super::threads::{Pool, probe};
use crate::rt::domain::Attached;
use crate::rt::guarded;

/// Two, so that one can work while the other waits for the GIL.
const WORKERS: usize = 2;

/// The time for which the runtime is kept after its last use: creating one costs a millisecond.
const LINGER: Duration = Duration::from_millis(200);

/// The time for which the interpreter's exit waits for running tasks, for example a user's `weigh`.
const PATIENCE: Duration = Duration::from_secs(1);

struct Running {
    runtime: Runtime,
    pool: Arc<Pool>,
    users: usize,
    /// The number of users so far.
    visits: u64,
    generation: u64,
}

static RUNNING: Lazy<Section<Option<Running>, Attached>> = Lazy::new(|| Section::new(None));
/// True once the interpreter is about to exit: nothing new is started. Release and acquire: who sees it set sees what was done before.
static CLOSING: AtomicBool = AtomicBool::new(false);
/// True once no task may attach any more. Release and acquire: as above.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// True once the interpreter is about to exit.
pub(in crate::io) fn is_closing() -> bool {
    CLOSING.load(Ordering::Acquire)
}

/// Runs `work` attached. `None` if there is no interpreter any more.
pub(in crate::io) fn attached<R>(work: impl FnOnce(Python<'_>) -> R) -> Option<R> {
    if CLOSED.load(Ordering::Acquire) { None } else { guarded::attached(work) }
}

/// Awaits `work`, unless the signal comes first: then `work` is dropped.
pub(in crate::io) async fn unless<T>(signal: &Notify, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut told = pin!(signal.notified());
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => told.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// A user of the runtime. Soon after the last user is dropped, the runtime is shut down.
#[derive(Debug)]
pub(in crate::io) struct User {
    handle: Handle,
    pool: Arc<Pool>,
    generation: u64,
}

impl User {
    pub(in crate::io) fn new(py: Python<'_>) -> PyResult<Self> {
        if let Some(user) = Self::of_current(py, None)? {
            return Ok(user);
        }
        let runtime =
            build().map_err(|error| PyOSError::new_err(format!("sluicegate.io: the runtime could not be started: {error}")))?;
        Ok(Self::of_current(py, Some(runtime))?.expect("there is one now"))
    }

    /// A user of the current runtime, or of `fresh` if there is none.
    fn of_current(py: Python<'_>, fresh: Option<Runtime>) -> PyResult<Option<Self>> {
        let generation = fork::generation();
        let (user, not_needed) = RUNNING.with(py, |running| {
            // Read inside the section that `close` enters next, so `close` finds every task that is started here.
            if CLOSING.load(Ordering::Acquire) {
                return (Err(()), fresh);
            }
            if running.as_ref().is_some_and(|running| running.generation != generation) {
                std::mem::forget(running.take());
            }
            let mut not_needed = None;
            match (running.is_some(), fresh) {
                (false, Some(runtime)) => {
                    *running = Some(Running { runtime, pool: Pool::new(), users: 0, visits: 0, generation });
                }
                (_, fresh) => not_needed = fresh,
            }
            let user = running.as_mut().map(|running| {
                running.users += 1;
                running.visits += 1;
                Self { handle: running.runtime.handle().clone(), pool: Arc::clone(&running.pool), generation }
            });
            (Ok(user), not_needed)
        });
        if let Some(runtime) = not_needed {
            runtime.shutdown_background();
        }
        user.map_err(|()| PyRuntimeError::new_err("sluicegate.io: the interpreter is exiting"))
    }

    pub(in crate::io) fn runs_on(&self) -> (Handle, Arc<Pool>) {
        (self.handle.clone(), Arc::clone(&self.pool))
    }
}

/// Makes a runtime. tokio panics if a thread cannot be started, so that is tried first.
fn build() -> io::Result<Runtime> {
    probe(WORKERS)?;
    let build = || Builder::new_multi_thread().worker_threads(WORKERS).thread_name("sluicegate-io").enable_all().build();
    // Even so, another process may take the last thread in between.
    catch_unwind(build).unwrap_or_else(|_| Err(io::Error::other("no thread could be started")))
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

/// Shuts the runtime down if it has not been used since.
fn retire(visits: u64) {
    let unused =
        attached(|py| RUNNING.with(py, |running| running.take_if(|running| running.users == 0 && running.visits == visits)));
    if let Some(Some(unused)) = unused {
        unused.runtime.shutdown_background();
    }
}

/// Ends all tasks before the interpreter exits.
pub(in crate::io) fn close(py: Python<'_>) {
    CLOSING.store(true, Ordering::Release);
    let running = RUNNING.with(py, Option::take);
    match running {
        Some(running) if running.generation == fork::generation() => {
            guarded::detached(py, || {
                running.runtime.shutdown_timeout(PATIENCE);
                running.pool.settle(PATIENCE);
            });
        }
        running => std::mem::forget(running),
    }
    CLOSED.store(true, Ordering::Release);
}

/// The runtime on which pyo3-async-runtimes runs its futures.
pub(in crate::io) struct Io;

/// The error with which a task ended.
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
        // Inside a task, the new future belongs to the same `await`, which has a user of the runtime already.
        if let Ok(handle) = Handle::try_current() {
            return joined(handle.spawn(future));
        }
        let Some(Ok(user)) = attached(User::new) else { return Box::pin(std::future::pending()) };
        let handle = user.handle.clone();
        joined(handle.spawn(async move {
            let _user = user;
            future.await;
        }))
    }

    /// pyo3-async-runtimes uses it only to attach and complete a future. That needs no thread, and here it is safe at the interpreter's
    /// exit.
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
