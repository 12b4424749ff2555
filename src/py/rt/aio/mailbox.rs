//! The mailbox of an event loop: the core's protocol (`sluicegate_core::mailbox`, where it is written down who answers for the mail), with a
//! channel of operations as the bag and `call_soon_threadsafe` as the bell.
//!
//! Mailboxes are kept in a weak dictionary by loop and know their loop weakly; what passes through a mailbox stays in its line meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};
use sluicegate_core::mailbox::{Bag, Mailbox as CoreMailbox, Presence};
use sluicegate_core::wait::Wakes;

use super::AsyncOperation;
use crate::rt::guarded;
use crate::rt::waker::Waker;

/// How often a loop is told again after a signal handler's exception has cut the telling short.
const ATTEMPTS: u32 = 8;

#[derive(Debug)]
struct Channel {
    sender: Sender<Py<AsyncOperation>>,
    receiver: Receiver<Py<AsyncOperation>>,
}

impl Bag for Channel {
    type Mail = Py<AsyncOperation>;

    fn put(&self, mail: Self::Mail) {
        // An unbounded channel whose receiver lives beside it takes everything.
        let _ = self.sender.send(mail);
    }

    fn take(&self) -> Option<Self::Mail> {
        self.receiver.try_recv().ok()
    }
}

/// What signal handlers have raised in the middle of telling a loop something. It is for the caller of the operation, right after that
/// has returned, and must not come up again in what is still to be done here.
struct Late<'py> {
    py: Python<'py>,
    error: Option<PyErr>,
}

impl<'py> Late<'py> {
    fn new(py: Python<'py>) -> Self {
        Self { py, error: None }
    }

    /// The first one counts.
    fn keep(&mut self, error: PyErr) {
        self.error.get_or_insert(error);
    }
}

impl Drop for Late<'_> {
    fn drop(&mut self) {
        if let Some(error) = self.error.take() {
            guarded::raise_later(self.py, error);
        }
    }
}

/// The wake-ups on their way to one loop.
#[pyclass(frozen, module = "sluicegate._core")]
#[derive(Debug)]
pub(crate) struct Mailbox {
    event_loop: Py<PyWeakrefReference>,
    mail: CoreMailbox<Channel>,
}

impl Mailbox {
    /// The mailboxes, weakly by loop.
    fn all(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
        static MAILBOXES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        if let Some(mailboxes) = MAILBOXES.get(py) {
            return Ok(mailboxes.bind(py));
        }
        let made = py.import("weakref")?.getattr("WeakKeyDictionary")?.call0()?;
        Ok(MAILBOXES.get_or_init(py, || made.unbind()).bind(py))
    }

    pub(super) fn of(event_loop: &Bound<'_, PyAny>) -> PyResult<Py<Self>> {
        let py = event_loop.py();
        let mailboxes = Self::all(py)?;
        let found = mailboxes.call_method1(intern!(py, "get"), (event_loop,))?;
        if let Ok(mailbox) = found.cast::<Self>() {
            return Ok(mailbox.clone().unbind());
        }
        let (sender, receiver) = unbounded();
        let event_loop_ref = PyWeakrefReference::new(event_loop)?.unbind();
        let mailbox = Py::new(py, Self { event_loop: event_loop_ref, mail: CoreMailbox::new(Channel { sender, receiver }) })?;
        mailboxes.set_item(event_loop, &mailbox)?;
        Ok(mailbox)
    }

    fn event_loop<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.event_loop.bind(py).upgrade()
    }

    pub(super) fn is_of(&self, event_loop: &Bound<'_, PyAny>) -> bool {
        self.event_loop(event_loop.py()).is_some_and(|ours| ours.is(event_loop))
    }

    /// Sends a wake-up to the loop. What comes back are the turns of those whom the loop will not wake, or not soon.
    pub(super) fn post(slf: &Bound<'_, Self>, operation: Py<AsyncOperation>) -> Wakes<Waker> {
        let this = slf.get();
        this.mail.post(operation);
        let mut late = Late::new(slf.py());
        for _ in 0..ATTEMPTS {
            match Self::knock(slf) {
                Ok(wakes) => return wakes,
                // A signal handler has raised in the middle of the loop's Python code, perhaps before the loop was told.
                Err(error) => late.keep(error),
            }
        }
        this.return_to_sender(slf.py())
    }

    fn knock(slf: &Bound<'_, Self>) -> PyResult<Wakes<Waker>> {
        let (py, this) = (slf.py(), slf.get());
        let Some(event_loop) = this.event_loop(py) else { return Ok(this.return_to_sender(py)) };
        let ring = || {
            let ticket = Bound::new(py, MailTicket { mailbox: slf.clone().unbind(), used: AtomicBool::new(false) })?;
            guarded::call_method(&event_loop, intern!(py, "call_soon_threadsafe"), (ticket,)).map(drop)
        };
        let mut wakes = Wakes::none();
        let delayed = |operation: &Py<AsyncOperation>| wakes.append(operation.get().retire(py));
        let returned = this.mail.knock(ring, || presence(&event_loop), delayed)?;
        wakes.append(retire_all(py, returned));
        Ok(wakes)
    }

    /// Gives every wake-up that has not been delivered to the next in line.
    fn return_to_sender(&self, py: Python<'_>) -> Wakes<Waker> {
        retire_all(py, self.mail.collect())
    }

    /// Will the loop never run a callback again?
    fn is_dead(&self, py: Python<'_>) -> bool {
        let Some(event_loop) = self.event_loop(py) else { return true };
        let mut late = Late::new(py);
        loop {
            match presence(&event_loop) {
                Ok(presence) => return presence == Presence::Closed,
                Err(error) => late.keep(error),
            }
        }
    }
}

fn retire_all(py: Python<'_>, operations: Vec<Py<AsyncOperation>>) -> Wakes<Waker> {
    let mut wakes = Wakes::none();
    for operation in operations {
        wakes.append(operation.get().retire(py));
    }
    wakes
}

fn presence(event_loop: &Bound<'_, PyAny>) -> PyResult<Presence> {
    let py = event_loop.py();
    if event_loop.call_method0(intern!(py, "is_running"))?.is_truthy()? {
        return Ok(Presence::Running);
    }
    let closed = event_loop.call_method0(intern!(py, "is_closed"))?.is_truthy()?;
    Ok(if closed { Presence::Closed } else { Presence::Stopped })
}

/// The callback with which a loop is rung: it collects the mail. A closed loop drops its callbacks, and this one then returns the mail.
#[pyclass(frozen, module = "sluicegate._core")]
#[derive(Debug)]
struct MailTicket {
    mailbox: Py<Mailbox>,
    /// Set by the loop's thread. Relaxed: the thread that drops a ticket has it from the one that called it.
    used: AtomicBool,
}

#[pymethods]
impl MailTicket {
    fn __call__(&self, py: Python<'_>) {
        self.used.store(true, Ordering::Relaxed);
        for operation in self.mailbox.get().mail.collect() {
            operation.get().complete(py);
        }
    }
}

impl Drop for MailTicket {
    fn drop(&mut self) {
        if !self.used.load(Ordering::Relaxed) {
            // No interpreter any more: nobody is left to be woken.
            Python::try_attach(|py| {
                let mailbox = self.mailbox.get();
                // A loop that lives has not taken the ticket (a signal handler raised); whoever rang rings again.
                if mailbox.is_dead(py) {
                    mailbox.return_to_sender(py).fire();
                }
            });
        }
    }
}
