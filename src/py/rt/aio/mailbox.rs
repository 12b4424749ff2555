//! The mailbox of an event loop: the core's protocol (`sluicegate_core::mailbox`, where it is written down who answers for the mail), with a
//! channel of operations as the bag and `call_soon_threadsafe` as the bell.
//!
//! # A loop that cannot be told from here
//! Telling a loop runs its Python code, which can fail although the loop lives: a signal handler raises in the middle, the recursion limit
//! is near, memory is short. The wake-up is owed all the same. So the loop is told again, a few times at once, and then by a *courier*: a
//! thread of its own, with a fresh stack, that tries until the loop knows or is closed. What a signal handler has raised is for the
//! caller of the operation, once that has returned; what is only about the telling is nobody's.
//!
//! # Who keeps whom alive
//! A mailbox is an attribute of its loop (or stands in a weak dictionary, if the loop takes no attributes) and knows the loop weakly. It
//! shows its mail to the garbage collector, so that a loop which is dropped with wake-ups on their way is collected with them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::rt::kept::Kept;
use crate::rt::kept::interned;
use crossbeam_channel::{Receiver, Sender, unbounded};
use pyo3::exceptions::{PyAttributeError, PyMemoryError, PyRecursionError, PyTypeError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};
use sluicegate_core::mailbox::{Bag, Mailbox as CoreMailbox, Presence};
use sluicegate_core::wait::Wakes;

use super::event_loop::presence;
use crate::rt::guarded;
use crate::rt::waker::Waker;

/// How often a loop is told at once, before a courier is sent.
const ATTEMPTS: u32 = 8;

/// How long a courier pauses between two attempts, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(128));

/// What is done with whoever is woken. It knows its own kind; the mailbox need not.
#[derive(Debug)]
pub(super) struct Addressee {
    /// In a callback of the loop: goes on with it.
    pub(super) resume: fn(&Bound<'_, PyAny>) -> PyResult<()>,
    /// The loop will not run it, or not soon: out of the line, the turn to the next.
    pub(super) retire: fn(&Bound<'_, PyAny>) -> Wakes<Waker>,
}

/// A wake-up on its way.
#[derive(Debug)]
pub(super) struct Letter(pub(super) Py<PyAny>, pub(super) &'static Addressee);

impl Letter {
    fn resume(&self, py: Python<'_>) -> PyResult<()> {
        (self.1.resume)(self.0.bind(py))
    }

    fn retire(&self, py: Python<'_>) -> Wakes<Waker> {
        (self.1.retire)(self.0.bind(py))
    }
}

#[derive(Debug)]
struct Channel {
    sender: Sender<Letter>,
    receiver: Receiver<Letter>,
}

impl Bag for Channel {
    type Mail = Letter;

    fn put(&self, mail: Self::Mail) {
        // An unbounded channel whose receiver lives beside it takes everything.
        let _ = self.sender.send(mail);
    }

    fn take(&self) -> Option<Self::Mail> {
        self.receiver.try_recv().ok()
    }
}

impl Channel {
    fn new() -> Self {
        let (sender, receiver) = unbounded();
        Self { sender, receiver }
    }

    /// Everything in it, which stays there. Only for where nobody else puts or takes: under the garbage collector.
    fn each<E>(&self, mut see: impl FnMut(&Letter) -> Result<(), E>) -> Result<(), E> {
        let mut outcome = Ok(());
        for _ in 0..self.receiver.len() {
            let Some(mail) = self.take() else { break };
            if outcome.is_ok() {
                outcome = see(&mail);
            }
            self.put(mail);
        }
        outcome
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

    /// The first one counts. That there was no stack or no memory to tell the loop is not the caller's concern: a courier has both.
    fn keep(&mut self, error: PyErr) {
        if !is_of_the_telling(self.py, &error) {
            self.error.get_or_insert(error);
        }
    }
}

impl Drop for Late<'_> {
    fn drop(&mut self) {
        if let Some(error) = self.error.take() {
            guarded::raise_later(self.py, error);
        }
    }
}

fn is_of_the_telling(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyRecursionError>(py) || error.is_instance_of::<PyMemoryError>(py)
}

/// The wake-ups on their way to one loop.
#[pyclass(frozen, module = "sluicegate._core")]
#[derive(Debug)]
pub(super) struct Mailbox {
    event_loop: Py<PyWeakrefReference>,
    mail: CoreMailbox<Channel>,
    /// A courier has yet to knock. Acquire and release: what was posted before the mark was found set is told by that courier.
    has_courier: AtomicBool,
}

impl Mailbox {
    /// The mailbox of this loop, which is made when it is first asked for.
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
        let mail = CoreMailbox::new(Channel::new());
        let mailbox = Bound::new(py, Self { event_loop: event_loop_ref, mail, has_courier: AtomicBool::new(false) })?;
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

    /// Sends a wake-up to the loop. What comes back are the turns of those whom the loop will not wake, or not soon.
    pub(super) fn post(slf: &Bound<'_, Self>, letter: Letter) -> Wakes<Waker> {
        let py = slf.py();
        slf.get().mail.post(letter);
        let mut late = Late::new(py);
        for _ in 0..ATTEMPTS {
            match Self::knock(slf) {
                Ok(wakes) => return wakes,
                Err(error) if is_of_the_telling(py, &error) => break,
                Err(error) => late.keep(error),
            }
        }
        Self::send_courier(slf);
        Wakes::none()
    }

    /// The loop is told by another thread. If there can be none, the next who posts tells it.
    fn send_courier(slf: &Bound<'_, Self>) {
        if slf.get().has_courier.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut mailbox = Some(slf.clone().unbind());
        let work = move || {
            let (mut pause, most) = PAUSES;
            while mailbox.is_some() {
                std::thread::sleep(pause);
                pause = most.min(pause * 2);
                let attached = guarded::attached(|py| {
                    if mailbox.as_ref().is_none_or(|mailbox| Self::is_told_by_courier(mailbox.bind(py))) {
                        drop(mailbox.take());
                    }
                });
                if attached.is_none() {
                    std::mem::forget(mailbox.take()); // no interpreter any more
                }
            }
        };
        if std::thread::Builder::new().name("sluicegate-courier".to_owned()).spawn(work).is_err() {
            slf.get().has_courier.store(false, Ordering::Release);
        }
    }

    fn is_told_by_courier(slf: &Bound<'_, Self>) -> bool {
        let this = slf.get();
        // First the mark, then the knock, as with the mail.
        this.has_courier.swap(false, Ordering::AcqRel);
        match Self::knock(slf) {
            Ok(wakes) => {
                wakes.fire();
                true
            }
            // Unless there is a newer one.
            Err(_) => this.has_courier.swap(true, Ordering::AcqRel),
        }
    }

    fn knock(slf: &Bound<'_, Self>) -> PyResult<Wakes<Waker>> {
        let (py, this) = (slf.py(), slf.get());
        let Some(event_loop) = this.event_loop(py) else { return Ok(this.return_to_sender(py)) };
        let ring = || {
            let ticket = Bound::new(py, MailTicket { mailbox: slf.clone().unbind(), used: AtomicBool::new(false) })?;
            guarded::call_method(&event_loop, interned!(py, "call_soon_threadsafe"), (ticket,)).map(drop)
        };
        let mut wakes = Wakes::none();
        let delayed = |letter: &Letter| wakes.append(letter.retire(py));
        let returned = this.mail.knock(ring, || presence(&event_loop), delayed)?;
        wakes.append(retire_all(py, returned));
        Ok(wakes)
    }

    /// Gives every wake-up that has not been delivered to the next in line.
    fn return_to_sender(&self, py: Python<'_>) -> Wakes<Waker> {
        retire_all(py, self.mail.collect())
    }

    /// What a ticket does that has not been called: its loop is closed, or could not be told.
    fn take_ticket_back(slf: &Bound<'_, Self>) {
        let py = slf.py();
        match slf.get().event_loop(py).map(|event_loop| presence(&event_loop)) {
            None | Some(Ok(Presence::Closed)) => slf.get().return_to_sender(py).fire(),
            // A loop that lives has not taken the ticket; whoever rang rings again.
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                Late::new(py).keep(error);
                Self::send_courier(slf);
            }
        }
    }
}

#[pymethods]
impl Mailbox {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.mail.bag().each(|letter| visit.call(&letter.0))
    }
}

fn retire_all(py: Python<'_>, letters: Vec<Letter>) -> Wakes<Waker> {
    let mut wakes = Wakes::none();
    for letter in letters {
        wakes.append(letter.retire(py));
    }
    wakes
}

/// The callback with which a loop is rung: it collects the mail. A closed loop drops its callbacks, and this one then returns the mail.
#[pyclass(frozen, module = "sluicegate._core")]
#[derive(Debug)]
pub(super) struct MailTicket {
    mailbox: Py<Mailbox>,
    /// Set by the loop's thread. Relaxed: the thread that drops a ticket has it from the one that called it.
    used: AtomicBool,
}

#[pymethods]
impl MailTicket {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        self.used.store(true, Ordering::Relaxed);
        let mailbox = self.mailbox.bind(py);
        let mut mail = mailbox.get().mail.collect().into_iter();
        while let Some(letter) = mail.next() {
            if let Err(error) = letter.resume(py) {
                // KeyboardInterrupt, SystemExit: the loop ends. The others have their turn when, and if, it runs again.
                mail.for_each(|letter| Mailbox::post(mailbox, letter).fire());
                return Err(error);
            }
        }
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.mailbox)
    }
}

impl Drop for MailTicket {
    fn drop(&mut self) {
        if !self.used.load(Ordering::Relaxed) {
            // No interpreter any more: nobody is left to be woken.
            Python::try_attach(|py| Mailbox::take_ticket_back(self.mailbox.bind(py)));
        }
    }
}
