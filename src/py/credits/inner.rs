//! Credit channels: what both kinds have inside, and how their parts hang together.
//!
//! Sender, receiver, deliveries and the channel itself share one [`PyChannelBody`], which owns the core's channel and everything of Python's
//! in it, and shows that to the garbage collector. None of them owns another, so each can be handed to whom it belongs, and each notices
//! when it is let go.

use std::fmt::Write;

use crate::rt::kept::Kept;
use crate::rt::kept::interned;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyTuple, PyType};
use sluicegate_core::credits::frames::FrameRange;
use sluicegate_core::credits::{self, End, Phase, SenderEnd, UNBOUNDED};
use sluicegate_core::leaving::Leaving;

use super::amounts::{amount_object, amount_text, whole};
use super::objects::object;
use crate::rt::Item;
use crate::rt::class::{Common, repr_head};
use crate::rt::domain::Attached;
use crate::rt::drops::drop_flat;
use crate::rt::exceptions;
use crate::rt::gc::{Shown, attached_in_traverse};
use crate::rt::guarded;
use crate::rt::imported::imported;
use crate::rt::waker::{Callee, Waker};

pub(crate) type Core = credits::Channel<Item, Waker, Attached, FrameRange, Extras>;
pub(crate) type Removed = credits::Removed<Item, FrameRange>;

/// What Python's side keeps with the channel, in its section. What is not in it never changes.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// The error by which a sender failed.
    failure: Option<Py<PyAny>>,
    /// Its traceback then: it is raised again and again, and each time adds to it.
    traceback: Option<Py<PyAny>>,
    on_control: Option<Py<PyAny>>,
}

/// The inside of a channel.
#[pyclass(frozen, module = "sluicegate._core", name = "_ChannelBody")]
#[derive(Debug)]
pub(crate) struct PyChannelBody {
    pub(crate) core: Core,
    /// Deliveries have to be settled.
    pub(crate) acks: bool,
    pub(crate) window: u64,
    /// Nothing but credit decides over a send: items weigh one each, and none is given up by itself.
    pub(crate) sends_plainly: bool,
    pub(super) weigh: Option<Py<PyAny>>,
    pub(super) on_discard: Option<Py<PyAny>>,
    pub(super) common: Common,
}

impl PyChannelBody {
    /// The core's channel, once what is due by itself has been done, and reported. (What hands items out sees to that by itself, and the end
    /// of a lease the core always does.)
    pub(crate) fn up_to_date(&self, py: Python<'_>) -> &Core {
        if self.acks {
            self.finish(py, self.core.catch_up(py));
        }
        &self.core
    }

    /// What an item weighs. Runs the user's function: outside every section, before anything else.
    pub(crate) fn weight(&self, item: &Bound<'_, PyAny>) -> PyResult<u64> {
        let Some(weigh) = &self.weigh else { return Ok(1) };
        let py = item.py();
        let weight = guarded::call(weigh.bind(py), &PyTuple::new(py, [item])?)?;
        whole("the weight of an item", &weight, 0)
    }

    pub(crate) fn has_ended(&self, py: Python<'_>) -> bool {
        self.up_to_date(py).end(py).is_some()
    }

    pub(crate) fn is_weighted(&self) -> bool {
        self.weigh.is_some()
    }

    /// Are items weighed by the builtin `len`?
    #[cfg(feature = "tokio")]
    pub(crate) fn weighs_length(&self, py: Python<'_>) -> bool {
        let len = py.import("builtins").and_then(|builtins| builtins.getattr("len"));
        self.weigh.as_ref().is_some_and(|weigh| len.is_ok_and(|len| weigh.bind(py).is(&len)))
    }

    /// The receiver has gone because of this error: who sends is told so.
    #[cfg(feature = "tokio")]
    pub(crate) fn cancel_because(&self, py: Python<'_>, error: Py<PyAny>) {
        let mut error = Some(error);
        // The note of an end replaces nothing: a channel ends once.
        let outcome = self.core.cancel(py, |extras| extras.failure = error.take());
        self.finish(py, outcome);
    }

    /// Reports what has been given up, and drops the rest.
    pub(crate) fn dispose(&self, py: Python<'_>, removed: Removed) {
        let Removed { dropped, settled } = removed;
        if !settled.is_empty() {
            drop_flat(settled);
        }
        if dropped.is_empty() {
            return;
        }
        let Some(on_discard) = &self.on_discard else { return drop_flat(dropped) };
        for item in dropped.into_items() {
            let item = object(py, item);
            let called =
                item.and_then(|item| PyTuple::new(py, [item])).and_then(|args| guarded::call(on_discard.bind(py), &args));
            if let Err(error) = called {
                error.write_unraisable(py, Some(on_discard.bind(py)));
            }
        }
    }

    /// As `dispose`, after the wake-ups: who waits must not wait for a callback.
    pub(crate) fn finish(&self, py: Python<'_>, leaving: Leaving<Waker, Removed>) {
        if !leaving.is_empty() {
            self.dispose(py, leaving.fire_and_keep());
        }
    }

    /// Gives the control messages that are there to their handler.
    pub(crate) fn handle_controls(&self, py: Python<'_>) {
        let (messages, handler) =
            self.core.take_controls(py, |extras| extras.on_control.as_ref().map(|handler| handler.clone_ref(py)));
        let Some(handler) = handler else { return };
        for message in messages {
            let called = PyTuple::new(py, [message]).and_then(|args| guarded::call(handler.bind(py), &args));
            if let Err(error) = called {
                error.write_unraisable(py, Some(handler.bind(py)));
            }
        }
    }

    fn extra(&self, py: Python<'_>, place: impl FnOnce(&Extras) -> &Option<Py<PyAny>>) -> Option<Py<PyAny>> {
        self.core.with_extras(py, |extras| place(extras).as_ref().map(|value| value.clone_ref(py)))
    }

    fn failure<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.extra(py, |extras| &extras.failure).map(|failure| failure.into_bound(py))
    }

    pub(crate) fn name(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.common.name(py)
    }

    pub(crate) fn on_control(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.extra(py, |extras| &extras.on_control)
    }

    /// The handler that was there before is the caller's to drop.
    pub(crate) fn set_on_control(&self, py: Python<'_>, handler: Option<Py<PyAny>>) -> Option<Py<PyAny>> {
        let (wakes, before) =
            self.core.listen(py, handler.is_some(), |extras| std::mem::replace(&mut extras.on_control, handler));
        wakes.fire();
        before
    }

    fn label(&self, py: Python<'_>) -> String {
        self.common.label(py)
    }

    /// Why a sender cannot go on.
    pub(crate) fn send_ended(&self, py: Python<'_>, operation: &str, end: End) -> PyErr {
        let label = self.label(py);
        match end {
            End::Completed => exceptions::channel_closed(py, (format!("{operation}: the channel{label} has been completed"),)),
            End::Cancelled => {
                let error = exceptions::channel_cancelled(
                    py,
                    (format!("{operation}: the receiver of the channel{label} has cancelled or is gone"),),
                );
                if let Some(failure) = self.failure(py) {
                    error.set_cause(py, Some(PyErr::from_value(failure)));
                }
                error
            }
            End::Failed => {
                let error = exceptions::channel_failed(py, (format!("{operation}: a sender of the channel{label} has failed"),));
                if let Some(failure) = self.failure(py) {
                    error.set_cause(py, Some(PyErr::from_value(failure)));
                }
                error
            }
        }
    }

    /// Why a receiver cannot go on: the sender's own error, if it was one.
    pub(crate) fn receive_ended(&self, py: Python<'_>, operation: &str, end: End) -> PyErr {
        let label = self.label(py);
        match end {
            End::Completed => exceptions::channel_closed(
                py,
                (format!("{operation}: the channel{label} is complete, and everything has been received"),),
            ),
            End::Cancelled => exceptions::channel_cancelled(py, (format!("{operation}: the channel{label} has been cancelled"),)),
            End::Failed => match self.failure(py) {
                Some(failure) => {
                    let traceback = self.extra(py, |extras| &extras.traceback);
                    let _ = failure.setattr(interned!(py, "__traceback__"), traceback);
                    PyErr::from_value(failure)
                }
                None => exceptions::channel_failed(py, (format!("{operation}: a sender of the channel{label} has failed"),)),
            },
        }
    }

    /// A sender fails. The error is the one that receivers get, if it ends the channel.
    pub(crate) fn fail(&self, py: Python<'_>, sender: &SenderEnd, error: Py<PyAny>) {
        let mut traceback = error.bind(py).getattr(interned!(py, "__traceback__")).ok().map(Bound::unbind);
        let mut error = Some(error);
        let (wakes, _) = self.up_to_date(py).fail(py, sender, |extras| {
            // A channel ends once: this replaces nothing.
            (extras.failure, extras.traceback) = (error.take(), traceback.take());
        });
        wakes.fire();
    }

    /// The arguments of the exception for a call that could not be done: what was asked, and what the channel has.
    pub(crate) fn refusal<'py>(&self, py: Python<'py>, asked: &str) -> Bound<'py, PyTuple> {
        let (leaving, seen) = self.core.statistics(py);
        self.finish(py, leaving);
        let bound = match self.core.bound(py) {
            UNBOUNDED => "no bound".to_owned(),
            bound => format!("a bound of {bound}"),
        };
        let template = interned!(py, "{1}: the channel{0} has {2} credit left, {3} items buffered, {4} unacknowledged, and {5}");
        let seen = (asked, amount_text(seen.credit), seen.items_buffered, seen.items_unacked, bound);
        let (asked, credit, buffered, unacked, bound) = seen;
        (template, self.name(py), asked, credit, buffered, unacked, bound).into_pyobject(py).expect("memory for a tuple")
    }

    pub(crate) fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: Kept<PyType> = Kept::new();
        let (leaving, seen) = self.core.statistics(py);
        self.finish(py, leaving);
        let fields = PyDict::new(py);
        let state = match (seen.ended, seen.phase) {
            (_, Phase::Cancelled) => "cancelled",
            (false, Phase::Open) => "open",
            (false, _) => "completing",
            (true, Phase::Failed) => "failed",
            (true, _) => "completed",
        };
        let seconds = sluicegate_core::clock::seconds;
        fields.set_item("name", self.name(py))?;
        fields.set_item("state", state)?;
        fields.set_item("window", seen.window)?;
        fields.set_item("credit", amount_object(py, seen.credit)?)?;
        fields.set_item("granted", amount_object(py, seen.granted)?)?;
        for (key, value) in [
            ("owed", seen.owed),
            ("sent_weight", seen.sent),
            ("voided", seen.voided),
            ("permits", seen.permits),
            ("outstanding", seen.occupied),
            ("peak_outstanding", seen.peak),
            ("sent", seen.items_sent),
            ("received", seen.items_received),
            ("discarded", seen.items_discarded),
            ("redelivered", seen.redelivered),
            ("stale", seen.stale),
        ] {
            fields.set_item(key, value)?;
        }
        for (key, value) in [
            ("buffered", seen.items_buffered),
            ("unacked", seen.items_unacked),
            ("waiting_senders", seen.waiting_senders),
            ("waiting_receivers", seen.waiting_receivers),
        ] {
            fields.set_item(key, value)?;
        }
        fields.set_item("send_blocked_seconds", seconds(seen.send_blocked))?;
        fields.set_item("receive_blocked_seconds", seconds(seen.receive_blocked))?;
        fields.set_item("starved_for", seconds(seen.starved_for))?;
        fields.set_item("grants_held", seen.held)?;
        imported(py, &CLASS, "sluicegate._statistics", "ChannelStatistics")?.call((), Some(&fields))
    }

    pub(crate) fn describe(&self, this: &Bound<'_, PyAny>) -> PyResult<String> {
        let py = this.py();
        let (leaving, seen) = self.core.statistics(py);
        self.finish(py, leaving);
        let mut text = repr_head(this, &self.label(py))?;
        let _ = write!(text, " buffered={}", seen.items_buffered);
        if self.acks {
            let _ = write!(text, " unacked={}", seen.items_unacked);
        }
        if seen.window > 0 {
            let _ = write!(text, " window={}", seen.window);
        }
        let _ = write!(text, " credit={}", amount_text(seen.credit));
        text.push_str(match (seen.phase, seen.ended) {
            (Phase::Open, _) => "",
            (Phase::Cancelled, _) => " cancelled",
            (Phase::Failed, _) => " failed",
            (Phase::Completing, false) => " completing",
            (Phase::Completing, true) => " completed",
        });
        text.push('>');
        Ok(text)
    }
}

#[pymethods]
impl PyChannelBody {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let py = attached_in_traverse();
        for object in [&self.weigh, &self.on_discard] {
            visit.call(object)?;
        }
        self.common.traverse(&visit)?;
        self.core.with_extras(py, |extras| {
            visit.call(&extras.failure)?;
            visit.call(&extras.traceback)?;
            visit.call(&extras.on_control)
        })?;
        let shown = Shown::to(&visit);
        self.core.visit_contents(py, |item| shown.object(item), |waker| shown.waker(waker));
        shown.outcome()
    }

    fn __clear__(&self, py: Python<'_>) {
        let left = self.core.take_contents(py);
        let extras = self.core.with_extras(py, std::mem::take);
        drop_flat((left, extras));
    }
}

/// How a channel that holds its grants back is told that the other one's sender has credit.
pub(crate) fn upstream(body: &Bound<'_, PyChannelBody>) -> Waker {
    static CALLEE: Callee = Callee {
        wake: |body| body.cast::<PyChannelBody>().expect("a channel's own").get().core.release(body.py()),
        group: |_| 0,
    };
    Waker::Object(body.clone().into_any().unbind(), &CALLEE)
}
