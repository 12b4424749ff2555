//! The mailbox of an event loop: carries wake-ups from other threads to the loop.
//!
//! The protocol is that of `sluicegate_core::mailbox`, which also says which thread is responsible for undelivered wake-ups. Here the
//! messages are wake-ups, the store is a channel, and a loop is rung by `call_soon_threadsafe`.
//!
//! # Errors while a loop is rung
//! Ringing a loop runs its Python code, which can fail although the loop is alive: a signal handler raises in the middle, the recursion
//! limit is near, or memory is short. The wake-up must not be lost. So the ring is repeated, a few times at once, and then by a *retry
//! thread*, which has a fresh stack and tries until the loop has been rung or is closed. An exception of a signal handler is raised in the
//! caller of the operation after the operation has returned; a RecursionError or MemoryError of the ring itself is dropped.
//!
//! # References
//! A mailbox is an attribute of its loop (or an entry of a weak dictionary, if the loop accepts no attributes) and has a weak reference to
//! the loop. It shows its messages to the garbage collector, so that a dropped loop with undelivered wake-ups is collected with them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::rt::kept::Kept;
use crate::rt::kept::interned;
use crossbeam_channel::{Receiver, Sender, unbounded};
use pyo3::exceptions::{PyAttributeError, PyMemoryError, PyRecursionError, PyTypeError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};
use sluicegate_core::mailbox::{Mailbox as CoreMailbox, MessageStore, Presence};
use sluicegate_core::wait::Wakes;

use super::event_loop::presence;
use crate::rt::waker::Waker;
use crate::rt::{guarded, interrupts};

/// The number of attempts to ring a loop at once, before the retry thread is started.
const ATTEMPTS: u32 = 8;

/// The first and the longest pause of the retry thread between two attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(128));

/// What a wake-up does with the woken object, so that the mailbox need not know its type.
#[derive(Debug)]
pub(super) struct Handler {
    /// Called in a callback of the loop: resumes the waiting task.
    pub(super) resume: fn(&Bound<'_, PyAny>) -> PyResult<()>,
    /// Called if the loop will not run the task, or not soon: the object leaves its wait queue, and the next waiter is woken instead.
    pub(super) retire: fn(&Bound<'_, PyAny>) -> Wakes<Waker>,
}

/// A wake-up for an object.
#[derive(Debug)]
pub(super) struct WakeUp(pub(super) Py<PyAny>, pub(super) &'static Handler);

impl WakeUp {
    fn resume(&self, py: Python<'_>) -> PyResult<()> {
        (self.1.resume)(self.0.bind(py))
    }

    fn retire(&self, py: Python<'_>) -> Wakes<Waker> {
        (self.1.retire)(self.0.bind(py))
    }
}

#[derive(Debug)]
struct Channel {
    sender: Sender<WakeUp>,
    receiver: Receiver<WakeUp>,
}

impl MessageStore for Channel {
    type Message = WakeUp;

    fn put(&self, message: Self::Message) {
        // An unbounded channel whose receiver exists accepts every message.
        let _ = self.sender.send(message);
    }

    fn take(&self) -> Option<Self::Message> {
        self.receiver.try_recv().ok()
    }
}

impl Channel {
    fn new() -> Self {
        let (sender, receiver) = unbounded();
        Self { sender, receiver }
    }

    /// Calls `see` with every message, and keeps the messages. Only for the garbage collector, during which no thread puts or takes any.
    fn each<E>(&self, mut see: impl FnMut(&WakeUp) -> Result<(), E>) -> Result<(), E> {
        let mut outcome = Ok(());
        for _ in 0..self.receiver.len() {
            let Some(message) = self.take() else { break };
            if outcome.is_ok() {
                outcome = see(&message);
            }
            self.put(message);
        }
        outcome
    }
}

/// An exception that a signal handler has raised while a loop was rung. It is raised in the caller of the operation right after the operation
/// has returned, and must not disturb what is still to be done here.
struct DeferredError<'py> {
    py: Python<'py>,
    error: Option<PyErr>,
}

impl<'py> DeferredError<'py> {
    fn new(py: Python<'py>) -> Self {
        Self { py, error: None }
    }

    /// Keeps the first exception. A lack of stack or memory for the ring is not the caller's concern: the retry thread has both.
    fn keep(&mut self, error: PyErr) {
        if !is_shortage(self.py, &error) {
            self.error.get_or_insert(error);
        }
    }
}

impl Drop for DeferredError<'_> {
    fn drop(&mut self) {
        if let Some(error) = self.error.take() {
            interrupts::raise_later(self.py, error);
        }
    }
}

fn is_shortage(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyRecursionError>(py) || error.is_instance_of::<PyMemoryError>(py)
}

/// The undelivered wake-ups of one loop.
#[pyclass(frozen, module = "sluicegate._core")]
#[derive(Debug)]
pub(super) struct Mailbox {
    event_loop: Py<PyWeakrefReference>,
    core: CoreMailbox<Channel>,
    /// True if a retry thread is about to ring. Acquire and release: a wake-up posted before this flag was found set is covered by that ring.
    has_retry_thread: AtomicBool,
}

impl Mailbox {
    /// Returns the mailbox of this loop, which is made on first use.
    pub(super) fn of(event_loop: &Bound<'_, PyAny>) -> PyResult<Py<Self>> {
        let py = event_loop.py();
        let name = interned!(py, "_sluicegate_mailbox");
        if let Some(found) = event_loop.getattr_opt(name)? {
            if let Ok(mailbox) = found.cast_into::<Self>() {
                return Ok(mailbox.unbind());
            }
        }
        let mailboxes = Self::of_loops_without_attributes(py)?;
        if let Ok(mailbox) = mailboxes.call_method1(interned!(py, "get"), (event_loop,))?.cast_into::<Self>() {
            return Ok(mailbox.unbind());
        }
        let event_loop_ref = PyWeakrefReference::new(event_loop)?.unbind();
        let core = CoreMailbox::new(Channel::new());
        let mailbox = Bound::new(py, Self { event_loop: event_loop_ref, core, has_retry_thread: AtomicBool::new(false) })?;
        match event_loop.setattr(name, &mailbox) {
            Err(error) if error.is_instance_of::<PyAttributeError>(py) || error.is_instance_of::<PyTypeError>(py) => {
                mailboxes.set_item(event_loop, &mailbox)?;
            }
            outcome => outcome?,
        }
        Ok(mailbox.unbind())
    }

    fn of_loops_without_attributes(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
        static MAILBOXES: Kept<PyAny> = Kept::new();
        if let Some(mailboxes) = MAILBOXES.get(py) {
            return Ok(mailboxes);
        }
        let made = py.import("weakref")?.getattr("WeakKeyDictionary")?.call0()?;
        Ok(MAILBOXES.keep(made))
    }

    pub(super) fn event_loop<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.event_loop.bind(py).upgrade()
    }

    /// Sends a wake-up to the loop. Returns wake-ups for the next waiters, in place of tasks that the loop will not resume, or not soon.
    pub(super) fn post(slf: &Bound<'_, Self>, wake_up: WakeUp) -> Wakes<Waker> {
        let py = slf.py();
        slf.get().core.post(wake_up);
        let mut late = DeferredError::new(py);
        for _ in 0..ATTEMPTS {
            match Self::notify(slf) {
                Ok(wakes) => return wakes,
                Err(error) if is_shortage(py, &error) => break,
                Err(error) => late.keep(error),
            }
        }
        Self::start_retry_thread(slf);
        Wakes::none()
    }

    /// Starts the retry thread. If it cannot be started, the next thread that posts rings the loop.
    fn start_retry_thread(slf: &Bound<'_, Self>) {
        if slf.get().has_retry_thread.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut mailbox = Some(slf.clone().unbind());
        let work = move || {
            let (mut pause, most) = PAUSES;
            while mailbox.is_some() {
                std::thread::sleep(pause);
                pause = most.min(pause * 2);
                let attached = guarded::attached(|py| {
                    if mailbox.as_ref().is_none_or(|mailbox| Self::retry(mailbox.bind(py))) {
                        drop(mailbox.take());
                    }
                });
                if attached.is_none() {
                    std::mem::forget(mailbox.take()); // the interpreter is gone
                }
            }
        };
        if std::thread::Builder::new().name("sluicegate-retry".to_owned()).spawn(work).is_err() {
            slf.get().has_retry_thread.store(false, Ordering::Release);
        }
    }

    /// One attempt of the retry thread. Returns true if it is done.
    fn retry(slf: &Bound<'_, Self>) -> bool {
        let this = slf.get();
        // First the flag, then the ring, as in `collect`.
        this.has_retry_thread.swap(false, Ordering::AcqRel);
        match Self::notify(slf) {
            Ok(wakes) => {
                wakes.fire();
                true
            }
            // Done if a newer retry thread has been started meanwhile.
            Err(_) => this.has_retry_thread.swap(true, Ordering::AcqRel),
        }
    }

    fn notify(slf: &Bound<'_, Self>) -> PyResult<Wakes<Waker>> {
        let (py, this) = (slf.py(), slf.get());
        let Some(event_loop) = this.event_loop(py) else { return Ok(this.return_all(py)) };
        let ring = || {
            let ticket = Bound::new(py, CollectTicket { mailbox: slf.clone().unbind(), used: AtomicBool::new(false) })?;
            guarded::call_method(&event_loop, interned!(py, "call_soon_threadsafe"), (ticket,)).map(drop)
        };
        let mut wakes = Wakes::none();
        let delayed = |wake_up: &WakeUp| wakes.append(wake_up.retire(py));
        let returned = this.core.notify(ring, || presence(&event_loop), delayed)?;
        wakes.append(retire_all(py, returned));
        Ok(wakes)
    }

    /// Retires every undelivered wake-up: the next waiters are woken instead.
    fn return_all(&self, py: Python<'_>) -> Wakes<Waker> {
        retire_all(py, self.core.collect())
    }

    /// Called when a ticket is dropped that the loop has not called: the loop is closed, or could not be rung.
    fn ticket_dropped(slf: &Bound<'_, Self>) {
        let py = slf.py();
        match slf.get().event_loop(py).map(|event_loop| presence(&event_loop)) {
            None | Some(Ok(Presence::Closed)) => slf.get().return_all(py).fire(),
            // The loop is alive and did not accept the ticket; the thread that rang rings again.
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                DeferredError::new(py).keep(error);
                Self::start_retry_thread(slf);
            }
        }
    }
}

#[pymethods]
impl Mailbox {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.core.store().each(|wake_up| visit.call(&wake_up.0))
    }
}

fn retire_all(py: Python<'_>, wake_ups: impl IntoIterator<Item = WakeUp>) -> Wakes<Waker> {
    let mut wakes = Wakes::none();
    for wake_up in wake_ups {
        wakes.append(wake_up.retire(py));
    }
    wakes
}

/// The callback with which a loop is rung: it collects the wake-ups. A closed loop drops its callbacks, and this one then retires the wake-ups.
#[pyclass(frozen, module = "sluicegate._core")]
#[derive(Debug)]
pub(super) struct CollectTicket {
    mailbox: Py<Mailbox>,
    /// Set by the loop's thread. Relaxed: the thread that drops a ticket has got it from the thread that called it.
    used: AtomicBool,
}

#[pymethods]
impl CollectTicket {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        self.used.store(true, Ordering::Relaxed);
        let mailbox = self.mailbox.bind(py);
        let mut wake_ups = mailbox.get().core.collect().into_iter();
        while let Some(wake_up) = wake_ups.next() {
            if let Err(error) = wake_up.resume(py) {
                // KeyboardInterrupt or SystemExit ends the loop. The other wake-ups are delivered if the loop runs again.
                wake_ups.for_each(|wake_up| Mailbox::post(mailbox, wake_up).fire());
                return Err(error);
            }
        }
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.mailbox)
    }
}

impl Drop for CollectTicket {
    fn drop(&mut self) {
        if !self.used.load(Ordering::Relaxed) {
            // Without an interpreter no waiter is left to be woken.
            Python::try_attach(|py| Mailbox::ticket_dropped(self.mailbox.bind(py)));
        }
    }
}
