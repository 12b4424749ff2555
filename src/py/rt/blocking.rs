//! How a thread waits: detached from the interpreter, and responsive to signals.
//!
//! Every blocking call first tries while it is attached, and waits here only if it has to. The wait is a loop: detach; wait on the parker
//! (spin, yield, sleep: see `wait::spinning` in the core); attach; run signal handlers; then try again, and return if that succeeds. If a
//! signal handler raises, the operation leaves the wait queue, and nothing has been taken.
//!
//! The main thread sleeps in slices, because a signal can arrive just before it falls asleep, or be delivered to another thread. A signal
//! that arrives while the main thread sleeps ends the sleep early (on Linux). Other threads do not sleep in slices, because Python runs no
//! signal handlers on them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::rt::kept::{Kept, interned};
use pyo3::prelude::*;
use sluicegate_core::clock::{Clock, Enrolled, Nanos};
use sluicegate_core::fork;
use sluicegate_core::wait::{Parker, spinning};

use crate::rt::arguments::Timeout;
use crate::rt::guarded;
use crate::rt::imported::{imported, modules};
use crate::rt::memory;
use crate::rt::operation::{Done, Mode, Operation, annotated};
use crate::rt::process::{running_loop, this_is_the_main_thread};
use crate::rt::registration::Interruptible;
use crate::rt::waker::Waker;

/// The longest time for which the main thread does not respond to a signal.
const SLICE: Duration = Duration::from_millis(50);

/// Waits spin only on the build without the GIL. With the GIL a woken thread also has to acquire the GIL, of which a spin saves little.
const SPINS: bool = cfg!(Py_GIL_DISABLED);

thread_local! {
    /// The waits of this thread that are interrupted by a running signal handler, outermost first.
    static INTERRUPTED: RefCell<Vec<Option<Rc<dyn Interruptible>>>> = const { RefCell::new(Vec::new()) };
}

/// Runs signal handlers in the middle of a wait with this place in a wait queue.
///
/// A handler may itself wait, possibly on the same object. The interrupted waits cannot try meanwhile, so they step aside ([`step_aside`]):
/// otherwise an item could be reserved for an interrupted waiter while another waiter could take it.
pub(crate) fn run_handlers(py: Python<'_>, wait: Option<Box<dyn Interruptible>>) -> PyResult<()> {
    let wait: Option<Rc<dyn Interruptible>> = wait.map(Rc::from);
    if let Some(wait) = &wait {
        wait.interrupted(py);
    }
    INTERRUPTED.with_borrow_mut(|waits| waits.push(wait.clone()));
    let outcome = py.check_signals();
    let interrupted = INTERRUPTED.with_borrow_mut(Vec::pop);
    drop(interrupted);
    if let Some(wait) = wait {
        wait.step_back(py);
    }
    outcome
}

/// Called when a wait begins: the waits in which it is nested step aside, because they cannot try until it has ended.
pub(crate) fn step_aside(py: Python<'_>) {
    let waits: Vec<_> = INTERRUPTED.with_borrow(|waits| waits.iter().flatten().cloned().collect());
    for wait in waits {
        wait.step_aside(py);
    }
}

/// Detaches for one sleep of at most `limit`, and on the main thread of at most a slice. `asleep` is called with the length.
pub(crate) fn detached_for(py: Python<'_>, limit: Option<Duration>, main: bool, asleep: impl FnOnce(Option<Duration>)) {
    let slice = main.then_some(SLICE);
    let limit = limit.into_iter().chain(slice).min();
    guarded::detached(py, || asleep(limit));
}

/// One sleep, detached, that ends with a notification, a signal, the end of the slice, or `limit`.
pub(crate) fn sleep(py: Python<'_>, parker: &Parker, limit: Option<Duration>, main: bool) {
    detached_for(py, limit, main, |limit| spinning::wait(parker, limit, SPINS));
}

/// Runs a blocking call: tries the operation, and waits for at most `timeout` if it has to.
pub(crate) fn run(py: Python<'_>, operation: &mut dyn Operation, timeout: Timeout) -> PyResult<Done> {
    let mode = if matches!(timeout, Timeout::Never) { Mode::Try } else { Mode::TryFair };
    let outcome = match operation.attempt(py, mode, 0) {
        Ok(Some(done)) => return Ok(done),
        Ok(None) if matches!(timeout, Timeout::Never) => operation.out_of_time(py, timeout),
        Ok(None) => wait(py, operation, timeout),
        Err(error) => Err(error),
    };
    outcome.map_err(|error| annotated(operation, py, error))
}

#[cold]
fn wait(py: Python<'_>, operation: &mut dyn Operation, timeout: Timeout) -> PyResult<Done> {
    let limit = timeout.limit()?;
    memory::for_a_wait(py)?;
    step_aside(py);
    let clock = operation.clock(py);
    let deadline = limit.map(|limit| clock.now().saturating_add(limit));
    operation.set_deadline(deadline);
    let parker = Arc::new(Parker::default());
    let waker = Waker::Thread(Arc::clone(&parker));
    let mut timer = Timer { clock: &clock, parker: &parker, set: None };
    let outcome = wait_in_queue(py, operation, &clock, deadline, &parker, &waker, &mut timer);
    timer.stop();
    operation.leave(py);
    match outcome {
        Ok(None) => operation.out_of_time(py, timeout),
        Ok(Some(done)) => Ok(done),
        Err(error) => Err(error),
    }
}

/// Returns `None` if the deadline has passed.
fn wait_in_queue(
    py: Python<'_>,
    operation: &mut dyn Operation,
    clock: &Clock<Waker>,
    deadline: Option<Nanos>,
    parker: &Arc<Parker>,
    waker: &Waker,
    timer: &mut Timer<'_>,
) -> PyResult<Option<Done>> {
    let main = this_is_the_main_thread();
    let mut warned = false;
    loop {
        parker.reset();
        if let Some(done) = operation.attempt(py, Mode::Park(waker), clock.now())? {
            return Ok(Some(done));
        }
        if !std::mem::replace(&mut warned, true) {
            warn_on_a_loop(py, operation)?;
        }
        loop {
            let look_again_at = operation.look_again_at();
            let next = look_again_at.into_iter().chain(deadline).min();
            // Registered before the clock is read, so that a deadline that passes in between still wakes this thread; and after the attempt,
            // so that a wait that is counted is in the wait queue.
            timer.set(next);
            let now = clock.now();
            if look_again_at.is_some_and(|at| at <= now) {
                break;
            }
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(None);
            }
            // With a manual clock only the clock's timer ends the wait, and not real time.
            let limit = match clock {
                Clock::Monotonic => next.map(|next| Duration::from_nanos(next - now)),
                Clock::Manual(_) => None,
            };
            sleep(py, parker, limit, main);
            if main {
                let generation = fork::generation();
                run_handlers(py, operation.interruptible(py))?;
                if fork::generation() != generation {
                    break; // a signal handler has forked, and this is the child: the place in the wait queue was the parent's
                }
            }
            if parker.is_notified() {
                break;
            }
        }
    }
}

/// The registration of this wait with a manual clock.
struct Timer<'a> {
    clock: &'a Clock<Waker>,
    parker: &'a Arc<Parker>,
    set: Option<(Option<Nanos>, Enrolled)>,
}

impl Timer<'_> {
    /// Sets the time at which the clock wakes this wait; without a time the wait is only counted.
    fn set(&mut self, at: Option<Nanos>) {
        let Clock::Manual(manual) = self.clock else { return };
        let enrolled = match self.set {
            Some((set, _)) if set == at => return,
            Some((_, enrolled)) => manual.reschedule(enrolled, at),
            None => manual.enroll(at, Waker::Thread(Arc::clone(self.parker))),
        };
        self.set = Some((at, enrolled));
    }

    fn stop(&mut self) {
        if let (Clock::Manual(manual), Some((_, enrolled))) = (self.clock, self.set.take()) {
            drop(manual.withdraw(enrolled));
        }
    }
}

/// Warns that a thread is about to block while an event loop is running on it, which stops that loop.
fn warn_on_a_loop(py: Python<'_>, operation: &dyn Operation) -> PyResult<()> {
    static WARN: Kept<PyAny> = Kept::new();
    warn_on_a_hub(py, operation)?;
    if running_loop(py)?.is_none() {
        return Ok(());
    }
    let (blocking, awaitable) = operation.names();
    imported(py, &WARN, "sluicegate._exceptions", "warn_blocking")?.call1((blocking, awaitable)).map(drop)
}

/// Gives the same warning for the hub of gevent or eventlet, once in a process: their patches of `threading` do not affect the waits here.
fn warn_on_a_hub(py: Python<'_>, operation: &dyn Operation) -> PyResult<()> {
    static WARN: Kept<PyAny> = Kept::new();
    // Relaxed: if two threads race, both may warn.
    static WARNED: AtomicBool = AtomicBool::new(false);
    let modules = modules(py)?;
    let patched = modules.contains(interned!(py, "gevent.monkey"))? || modules.contains(interned!(py, "eventlet.patcher"))?;
    if !patched || WARNED.load(Ordering::Relaxed) {
        return Ok(());
    }
    let warn = imported(py, &WARN, "sluicegate._exceptions", "warn_of_hub")?;
    let mut outcome = Ok(());
    // Set before the warning, because a warning may be turned into an error, which is to be raised only once too.
    WARNED.store(true, Ordering::Relaxed);
    match warn.call1((operation.names().0,)) {
        Ok(warned) => WARNED.store(warned.is_truthy()?, Ordering::Relaxed),
        Err(error) => outcome = Err(error),
    }
    outcome
}
