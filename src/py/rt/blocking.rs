//! The one way in which a thread waits: detached, politely, and never deaf to signals.
//!
//! Every blocking call tries first, attached, and comes here only to wait. Then, over and over: detach, wait on the parker (spin, yield,
//! sleep: `wait::patience` in the core); attach; run signal handlers; only then look again and commit, and return at once. If a handler
//! raises, the place in line is given up and nothing has been taken.
//!
//! The main thread sleeps in slices, because a signal can land just before it falls asleep and is sometimes taken by another thread; a
//! signal that lands while it sleeps ends the sleep early (Linux). Other threads never slice: Python runs no handlers on them.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::rt::kept::Kept;
use pyo3::prelude::*;
use sluicegate_core::clock::{Clock, Enrolled, Nanos};
use sluicegate_core::fork;
use sluicegate_core::wait::{Parker, patience};

use crate::rt::arguments::Timeout;
use crate::rt::guarded;
use crate::rt::imported::imported;
use crate::rt::operation::{Chance, Done, Operation, Place, annotated};
use crate::rt::process::{running_loop, this_is_the_main_thread};
use crate::rt::waker::Waker;

/// The longest that the main thread is deaf.
const SLICE: Duration = Duration::from_millis(50);

/// Waits spin only without the GIL: with it a wake-up costs the way back to the GIL as well, and a spin saves little of that.
const SPINS: bool = cfg!(Py_GIL_DISABLED);

thread_local! {
    /// The waits on this thread in the middle of which signal handlers are running, outermost first.
    static INTERRUPTED: RefCell<Vec<Option<Rc<dyn Place>>>> = const { RefCell::new(Vec::new()) };
}

/// Runs signal handlers in the middle of a wait that holds this place.
///
/// A handler may itself wait, on the same object too. The waits around it cannot come meanwhile, so they step aside ([`step_aside`]):
/// else an item might lie there for one that cannot take it, beside one that could.
pub(crate) fn run_handlers(py: Python<'_>, place: Option<Box<dyn Place>>) -> PyResult<()> {
    let place: Option<Rc<dyn Place>> = place.map(Rc::from);
    if let Some(place) = &place {
        place.interrupted(py);
    }
    INTERRUPTED.with_borrow_mut(|waits| waits.push(place.clone()));
    let outcome = py.check_signals();
    let interrupted = INTERRUPTED.with_borrow_mut(Vec::pop);
    drop(interrupted);
    if let Some(place) = place {
        place.step_back(py);
    }
    outcome
}

/// A wait begins. Those that it is nested in cannot come until it has ended.
pub(crate) fn step_aside(py: Python<'_>) {
    let waits: Vec<_> = INTERRUPTED.with_borrow(|waits| waits.iter().flatten().cloned().collect());
    for place in waits {
        place.step_aside(py);
    }
}

/// The gate: detaches for one sleep of at most `limit`, and on the main thread of at most a slice. `asleep` is told how long that is.
pub(crate) fn detached_for(py: Python<'_>, limit: Option<Duration>, main: bool, asleep: impl FnOnce(Option<Duration>)) {
    let slice = main.then_some(SLICE);
    let limit = limit.into_iter().chain(slice).min();
    guarded::detached(py, || asleep(limit));
}

/// One sleep, detached: until notified, a signal, the end of the slice or of `limit`.
pub(crate) fn sleep(py: Python<'_>, parker: &Parker, limit: Option<Duration>, main: bool) {
    detached_for(py, limit, main, |limit| patience::wait(parker, limit, SPINS));
}

/// A blocking call: tries, and waits for at most `timeout` if it must.
pub(crate) fn run(this: &Bound<'_, PyAny>, operation: &mut dyn Operation, timeout: Timeout) -> PyResult<Done> {
    let py = this.py();
    let chance = if matches!(timeout, Timeout::Never) { Chance::Now } else { Chance::Arrival };
    let outcome = match operation.attempt(this, chance, 0) {
        Ok(Some(done)) => return Ok(done),
        Ok(None) if matches!(timeout, Timeout::Never) => operation.out_of_time(this, timeout),
        Ok(None) => wait(this, operation, timeout),
        Err(error) => Err(error),
    };
    outcome.map_err(|error| annotated(operation, py, error))
}

#[cold]
fn wait(this: &Bound<'_, PyAny>, operation: &mut dyn Operation, timeout: Timeout) -> PyResult<Done> {
    let py = this.py();
    let limit = timeout.limit()?;
    step_aside(py);
    let clock = operation.clock(this);
    let deadline = limit.map(|limit| clock.now().saturating_add(limit));
    operation.set_deadline(deadline);
    let parker = Arc::new(Parker::default());
    let waker = Waker::Thread(Arc::clone(&parker));
    let mut timer = Timer { clock: &clock, parker: &parker, set: None };
    let outcome = wait_in_line(this, operation, &clock, deadline, &parker, &waker, &mut timer);
    timer.stop();
    operation.leave(this);
    match outcome {
        Ok(None) => operation.out_of_time(this, timeout),
        Ok(Some(done)) => Ok(done),
        Err(error) => Err(error),
    }
}

/// `None` when the deadline passed.
fn wait_in_line(
    this: &Bound<'_, PyAny>,
    operation: &mut dyn Operation,
    clock: &Clock<Waker>,
    deadline: Option<Nanos>,
    parker: &Arc<Parker>,
    waker: &Waker,
    timer: &mut Timer<'_>,
) -> PyResult<Option<Done>> {
    let py = this.py();
    let main = this_is_the_main_thread();
    let mut warned = false;
    loop {
        parker.reset();
        if let Some(done) = operation.attempt(this, Chance::Wait(waker), clock.now())? {
            return Ok(Some(done));
        }
        if !std::mem::replace(&mut warned, true) {
            warn_on_a_loop(py, operation)?;
        }
        loop {
            let look_again_at = operation.look_again_at();
            let next = look_again_at.into_iter().chain(deadline).min();
            // Before the clock is read: what it passes from here on wakes us. After the attempt: who is seen to wait stands in line.
            timer.set(next);
            let now = clock.now();
            if look_again_at.is_some_and(|at| at <= now) {
                break;
            }
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(None);
            }
            // On a manual clock the timer wakes us; real time has no say.
            let limit = match clock {
                Clock::Monotonic => next.map(|next| Duration::from_nanos(next - now)),
                Clock::Manual(_) => None,
            };
            sleep(py, parker, limit, main);
            if main {
                let generation = fork::generation();
                run_handlers(py, operation.place(this))?;
                if fork::generation() != generation {
                    break; // this is the child of a handler that forked: its place in line was the parent's
                }
            }
            if parker.is_notified() {
                break;
            }
        }
    }
}

/// This wait, as far as a manual clock has to know of it.
struct Timer<'a> {
    clock: &'a Clock<Waker>,
    parker: &'a Arc<Parker>,
    set: Option<(Option<Nanos>, Enrolled)>,
}

impl Timer<'_> {
    /// To be woken at `at`, or never, but seen to wait.
    fn set(&mut self, at: Option<Nanos>) {
        let Clock::Manual(manual) = self.clock else { return };
        if self.set.is_none_or(|(set, _)| set != at) {
            self.stop();
            self.set = Some((at, manual.enroll(at, Waker::Thread(Arc::clone(self.parker)))));
        }
    }

    fn stop(&mut self) {
        if let (Clock::Manual(manual), Some((_, enrolled))) = (self.clock, self.set.take()) {
            drop(manual.withdraw(enrolled));
        }
    }
}

/// A thread that is about to sleep while an event loop runs on it stops that loop.
fn warn_on_a_loop(py: Python<'_>, operation: &dyn Operation) -> PyResult<()> {
    static WARN: Kept<PyAny> = Kept::new();
    if running_loop(py)?.is_none() {
        return Ok(());
    }
    let (blocking, awaitable) = operation.names();
    imported(py, &WARN, "sluicegate._exceptions", "warn_blocking")?.call1((blocking, awaitable)).map(drop)
}
