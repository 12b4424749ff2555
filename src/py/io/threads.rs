//! `Pool`: threads for calls whose readiness the kernel does not report: opening a path, reading and writing a file.
//!
//! | a call     | event                                         | next    | also                                                    |
//! |------------|-----------------------------------------------|---------|---------------------------------------------------------|
//! | -          | `start`                                       | queued  | a thread is started if all are busy and there are few   |
//! | queued     | a thread takes it                             | running |                                                         |
//! | queued     | no thread has taken it for [`GROW_AFTER`]     | queued  | another thread is started: the others may be stuck      |
//! | queued     | the same, and there is no thread at all       | -       | the waiting task gets an error: no thread could be started |
//! | queued     | nobody waits for it any more                  | -       |                                                         |
//! | running    | it returns                                    | -       | its thread takes the next one, or ends after [`IDLE`]    |
//!
//! So files share a few threads, and a file that does not answer (a dead network mount) occupies one thread and delays the other files by
//! [`GROW_AFTER`].
//!
//! tokio's own threads for blocking calls are not used: if no thread can be started, such a call panics or waits for ever, and calls beyond
//! the 512th wait for the others.

use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use tokio::sync::oneshot;
use tokio::task_local;
use tokio::time::timeout;

/// The number of threads that are started without asking whether one is needed.
const FEW: usize = 4;
/// The time for which a call waits before another thread is started.
const GROW_AFTER: Duration = Duration::from_millis(20);
/// The time for which an idle thread waits for a call.
const IDLE: Duration = Duration::from_millis(200);

type BlockingCall = Box<dyn FnOnce() + Send>;

task_local! {
    static POOL: Arc<Pool>;
}

#[derive(Debug)]
pub(in crate::io) struct Pool {
    calls: Sender<BlockingCall>,
    queue: Receiver<BlockingCall>,
    counts: Arc<PoolCounts>,
}

/// Relaxed: the consequences of an inexact number are corrected after [`GROW_AFTER`].
#[derive(Debug, Default)]
struct PoolCounts {
    threads: AtomicUsize,
    busy: AtomicUsize,
}

impl Pool {
    pub(in crate::io) fn new() -> Arc<Self> {
        let (calls, queue) = unbounded();
        Arc::new(Self { calls, queue, counts: Arc::default() })
    }

    /// Runs the blocking calls of a task in this pool.
    pub(in crate::io) fn of_task<F: Future>(self: Arc<Self>, task: F) -> impl Future<Output = F::Output> {
        POOL.scope(self, task)
    }

    fn submit(&self, call: BlockingCall) {
        // The channel is closed only when the pool is dropped.
        let _ = self.calls.send(call);
        let (threads, busy) = (self.counts.threads.load(Ordering::Relaxed), self.counts.busy.load(Ordering::Relaxed));
        if threads < FEW && threads.saturating_sub(busy) < self.queue.len() {
            // If that fails, the waiting task notices.
            let _ = self.grow();
        }
    }

    fn grow(&self) -> io::Result<()> {
        let (queue, counts) = (self.queue.clone(), Arc::clone(&self.counts));
        self.counts.threads.fetch_add(1, Ordering::Relaxed);
        let started = Builder::new().name("sluicegate-file".to_owned()).spawn(move || serve(&queue, &counts));
        started.map(drop).inspect_err(|_| {
            self.counts.threads.fetch_sub(1, Ordering::Relaxed);
        })
    }

    /// Waits until no call is running, at most for `limit`.
    pub(in crate::io) fn settle(&self, limit: Duration) {
        let begun = Instant::now();
        while self.counts.busy.load(Ordering::Relaxed) > 0 && begun.elapsed() < limit {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn serve(queue: &Receiver<BlockingCall>, counts: &PoolCounts) {
    while let Ok(call) = queue.recv_timeout(IDLE) {
        counts.busy.fetch_add(1, Ordering::Relaxed);
        // If the call panics, the waiting task finds that there is no answer.
        let _ = catch_unwind(AssertUnwindSafe(call));
        counts.busy.fetch_sub(1, Ordering::Relaxed);
    }
    counts.threads.fetch_sub(1, Ordering::Relaxed);
}

/// A call that has been submitted. If it is dropped, the call is not made unless it is already running.
pub(in crate::io) struct Started<R> {
    answer: oneshot::Receiver<R>,
    /// True if the call is running, or will never run. Relaxed: the swap alone decides who sets it; the answer comes through a channel.
    taken: Arc<AtomicBool>,
    pool: Arc<Pool>,
}

impl<R> fmt::Debug for Started<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").field("taken", &self.taken).finish_non_exhaustive()
    }
}

impl<R> Drop for Started<R> {
    fn drop(&mut self) {
        self.taken.store(true, Ordering::Relaxed);
    }
}

/// Submits a call to the threads of this task's runtime.
pub(in crate::io) fn start<R: Send + 'static>(call: impl FnOnce() -> R + Send + 'static) -> Started<R> {
    let pool = POOL.with(Arc::clone);
    let (tell, answer) = oneshot::channel();
    let taken = Arc::new(AtomicBool::new(false));
    let begins = Arc::clone(&taken);
    pool.submit(Box::new(move || {
        if !begins.swap(true, Ordering::Relaxed) {
            // Nobody may be waiting any more.
            let _ = tell.send(call());
        }
    }));
    Started { answer, taken, pool }
}

impl<R> Started<R> {
    pub(in crate::io) async fn answer(mut self) -> io::Result<R> {
        while !self.taken.load(Ordering::Relaxed) {
            match timeout(GROW_AFTER, &mut self.answer).await {
                Ok(answer) => return answer.map_err(|_| no_answer()),
                Err(_) if self.taken.load(Ordering::Relaxed) => {}
                Err(_) => {
                    if let Err(error) = self.pool.grow() {
                        let nobody = self.pool.counts.threads.load(Ordering::Relaxed) == 0;
                        if nobody && !self.taken.swap(true, Ordering::Relaxed) {
                            return Err(no_thread(&error));
                        }
                    }
                }
            }
        }
        (&mut self.answer).await.map_err(|_| no_answer())
    }
}

fn no_answer() -> io::Error {
    io::Error::other("the call has panicked")
}

pub(in crate::io) fn no_thread(error: &io::Error) -> io::Error {
    io::Error::other(format!("no thread could be started: {error}"))
}

/// Tests whether this many threads can be started. (Starting a thread can panic.)
pub(in crate::io) fn probe(count: usize) -> io::Result<()> {
    let (end, wait) = crossbeam_channel::bounded::<()>(0);
    let outcome = (0..count).try_for_each(|_| {
        let wait = wait.clone();
        Builder::new().spawn(move || wait.recv().is_ok()).map(drop)
    });
    drop(end);
    outcome.map_err(|error| no_thread(&error))
}
