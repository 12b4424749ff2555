//! The state that the Python objects of a credit channel share.
//!
//! Sender, receiver, deliveries and the channel itself share one [`PyChannelBody`], which owns the core's channel and all Python objects in it,
//! and visits them for the garbage collector. None of them owns another, so each can be given to a different owner, and each notices when it
//! is garbage-collected.

use std::fmt::Write;

use crate::rt::kept::Kept;
use crate::rt::kept::interned;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use sluicegate_core::credits::frames::FrameRange;
use sluicegate_core::credits::{self, CreditView, DiscardReason, End, Lane, Phase, SenderEnd};
use sluicegate_core::leaving::Leaving;

use super::amounts::{amount_object, amount_text, whole};
use super::lanes::{Lanes, unwrapped};
use super::objects::object;
use super::retry::Retry;
use crate::rt::Item;
use crate::rt::class::{Common, repr_head};
use crate::rt::domain::Attached;
use crate::rt::drops::drop_flat;
use crate::rt::exceptions;
use crate::rt::gc::{Shown, attached_in_traverse};
use crate::rt::imported::imported;
use crate::rt::waker::{Callee, Waker};
use crate::rt::{guarded, interrupts};

pub(crate) type Core = credits::Channel<Item, Waker, Attached, FrameRange, Extras>;
pub(crate) type Removed = credits::Removed<Item, FrameRange>;

/// The binding's data in the section of the channel. Data outside of it never changes.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// The error with which a sender failed.
    failure: Option<Py<PyAny>>,
    /// Its traceback at that time: the error may be raised many times, and each time adds to its traceback.
    traceback: Option<Py<PyAny>>,
    on_control: Option<Py<PyAny>>,
    /// The arguments of the last refusals, by [`Direction`](super::refusal::Direction).
    pub(super) told: [Option<RefusalArgs>; 4],
}

/// The arguments of a refusal, and the state of the channel for which they were made.
#[derive(Debug)]
pub(super) struct RefusalArgs {
    pub(super) seen: CreditView,
    pub(super) args: Py<PyTuple>,
}

/// The inside of a channel.
#[pyclass(frozen, module = "sluicegate._core", name = "_ChannelBody")]
#[derive(Debug)]
pub(crate) struct PyChannelBody {
    pub(crate) core: Core,
    /// True if items are deliveries that have to be settled.
    pub(crate) acks: bool,
    pub(crate) window: u64,
    /// True if a send depends on credit alone: each item weighs one, and no timed event removes items.
    pub(crate) sends_plainly: bool,
    pub(super) weigh: Option<Py<PyAny>>,
    pub(super) lanes: Option<Lanes>,
    pub(super) max_deliver: u32,
    pub(super) retry: Retry,
    pub(super) on_discard: Option<Py<PyAny>>,
    pub(super) on_settled: Option<Py<PyAny>>,
    pub(super) common: Common,
}

impl PyChannelBody {
    /// The core's channel, after timed events that are due have been handled and reported. (Operations that hand out items do this themselves,
    /// and the core always handles the end of a lease.)
    pub(crate) fn up_to_date(&self, py: Python<'_>) -> &Core {
        if self.acks {
            self.finish(py, self.core.catch_up(py));
        }
        &self.core
    }

    /// The weight of an item. Runs the user's function, outside every section, before anything else.
    pub(crate) fn weight(&self, item: &Bound<'_, PyAny>) -> PyResult<u64> {
        let Some(weigh) = &self.weigh else { return Ok(1) };
        let py = item.py();
        let weight = guarded::call(weigh.bind(py), &PyTuple::new(py, [item])?)?;
        whole("the weight of an item", &weight, 0)
    }

    /// An item in the form in which it enters the channel, and its weight.
    pub(crate) fn to_be_sent(&self, item: &Bound<'_, PyAny>) -> PyResult<(Item, u64)> {
        let weight = self.weight(item)?;
        Ok((self.in_lane(item)?, weight))
    }

    pub(crate) fn in_lane(&self, item: &Bound<'_, PyAny>) -> PyResult<Item> {
        match &self.lanes {
            None => Ok(item.clone().unbind()),
            Some(lanes) => lanes.wrap(item),
        }
    }

    /// The name of a lane, if there are lanes.
    pub(crate) fn lane_name(&self, py: Python<'_>, lane: Lane) -> PyResult<Option<Py<PyAny>>> {
        self.lanes.as_ref().map(|lanes| lanes.name(py, lane).map(Bound::unbind)).transpose()
    }

    pub(crate) fn parse_lanes<'py>(&self, lanes: &Bound<'py, PyAny>) -> PyResult<Vec<(Bound<'py, PyAny>, Option<Lane>)>> {
        match &self.lanes {
            Some(known) => known.parse(lanes),
            None => Err(PyTypeError::new_err("'lanes' is for an AckChannel made with lane=: this channel has none")),
        }
    }

    /// The value of `settled_through`, summed over all lanes.
    pub(crate) fn settled_through(&self, py: Python<'_>) -> u64 {
        let (leaving, seen) = self.core.statistics(py);
        self.finish(py, leaving);
        seen.settled_through
    }

    /// The value of `settled_through` for each lane.
    pub(crate) fn settled_lanes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let through = PyDict::new(py);
        for (name, lane) in self.lanes.as_ref().map_or_else(|| Ok(Vec::new()), |lanes| lanes.all(py))? {
            let (leaving, settled) = self.core.settled_through(py, lane);
            self.finish(py, leaving);
            through.set_item(name, settled)?;
        }
        Ok(through)
    }

    pub(crate) fn has_lanes(&self) -> bool {
        self.lanes.is_some()
    }

    pub(crate) fn has_ended(&self, py: Python<'_>) -> bool {
        self.up_to_date(py).end(py).is_some()
    }

    pub(crate) fn is_weighted(&self) -> bool {
        self.weigh.is_some()
    }

    /// True if items are weighed by the builtin `len`.
    #[cfg(feature = "tokio")]
    pub(crate) fn weighs_length(&self, py: Python<'_>) -> bool {
        let len = py.import("builtins").and_then(|builtins| builtins.getattr("len"));
        self.weigh.as_ref().is_some_and(|weigh| len.is_ok_and(|len| weigh.bind(py).is(&len)))
    }

    /// Cancels the channel because of an error of the receiver, which becomes the cause of the senders' exceptions.
    #[cfg(feature = "tokio")]
    pub(crate) fn cancel_because(&self, error: &Bound<'_, PyAny>) {
        let py = error.py();
        let mut noted = Some(error.clone().unbind());
        // No earlier value is replaced, because a channel ends once.
        let leaving = self.core.cancel(py, |extras| extras.failure = noted.take());
        self.finish_because(py, leaving, Some((DiscardReason::Cancelled, error)));
    }

    /// Reports the items that have been given up, and drops the rest; then reports progress. If there is an error, it applies to the last item
    /// that was given up for the given reason, or after a cancel to all of them.
    pub(crate) fn dispose(&self, py: Python<'_>, removed: Removed, because: Option<(DiscardReason, &Bound<'_, PyAny>)>) {
        let credits::Removed { dropped, poison, rejected, settled, has_news } = removed;
        if !settled.is_empty() {
            drop_flat(settled);
        }
        if let Some(on_discard) = &self.on_discard {
            let error_of = |reason| because.filter(|because| because.0 == reason).map(|because| because.1);
            let last_only = |reason, left: usize| error_of(reason).filter(|_| left == 0);
            let report = |item: PyResult<Item>, reason: &Bound<'_, PyString>, error: Option<&Bound<'_, PyAny>>| {
                let error = error.map_or_else(|| py.None().into_bound(py), Clone::clone);
                let args = item.and_then(|item| (unwrapped(py, &item), reason, error).into_pyobject(py));
                interrupts::call_back(on_discard.bind(py), args);
            };
            for (items, reason, word) in [
                (poison, DiscardReason::Poison, interned!(py, "poison")),
                (rejected, DiscardReason::Rejected, interned!(py, "rejected")),
            ] {
                let mut items = items.into_iter();
                while let Some(item) = items.next() {
                    report(Ok(item), word, last_only(reason, items.len()));
                }
            }
            for item in dropped.into_items() {
                report(object(py, item), interned!(py, "cancelled"), error_of(DiscardReason::Cancelled));
            }
        } else {
            drop_flat((poison, rejected, dropped));
        }
        if has_news {
            self.report_progress(py);
        }
    }

    /// Calls `on_settled` with the progress: one call at a time, in order. A thread that finds another thread calling it returns at once.
    fn report_progress(&self, py: Python<'_>) {
        let Some(on_settled) = &self.on_settled else { return };
        let mut again = false;
        while let Some((lane, through)) = self.core.next_report(py, again) {
            again = true;
            let args = match &self.lanes {
                None => PyTuple::new(py, [through]),
                Some(lanes) => lanes.name(py, lane).and_then(|name| (name, through).into_pyobject(py)),
            };
            interrupts::call_back(on_settled.bind(py), args);
        }
    }

    /// As `dispose`, after the wake-ups, so that no waiter waits for a callback.
    pub(crate) fn finish(&self, py: Python<'_>, leaving: Leaving<Waker, Removed>) {
        self.finish_because(py, leaving, None);
    }

    pub(crate) fn finish_because(
        &self,
        py: Python<'_>,
        leaving: Leaving<Waker, Removed>,
        because: Option<(DiscardReason, &Bound<'_, PyAny>)>,
    ) {
        if !leaving.is_empty() {
            self.dispose(py, leaving.fire_and_keep(), because);
        }
    }

    /// Passes the waiting control messages to their handler.
    pub(crate) fn handle_controls(&self, py: Python<'_>) {
        let (messages, handler) =
            self.core.take_controls(py, |extras| extras.on_control.as_ref().map(|handler| handler.clone_ref(py)));
        let Some(handler) = handler else { return };
        for message in messages {
            interrupts::call_back(handler.bind(py), PyTuple::new(py, [message]));
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

    /// Returns the previous handler, to be dropped by the caller.
    pub(crate) fn set_on_control(&self, py: Python<'_>, handler: Option<Py<PyAny>>) -> Option<Py<PyAny>> {
        let (wakes, before) =
            self.core.listen(py, handler.is_some(), |extras| std::mem::replace(&mut extras.on_control, handler));
        wakes.fire();
        before
    }

    fn label(&self, py: Python<'_>) -> String {
        self.common.label(py)
    }

    /// The exception of a send after the end of the channel.
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

    /// The exception of a receive after the end of the channel: the sender's own error if it failed.
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

    /// Fails a sender. If this ends the channel, receivers get this error.
    pub(crate) fn fail(&self, py: Python<'_>, sender: &SenderEnd, error: Py<PyAny>) {
        let mut traceback = error.bind(py).getattr(interned!(py, "__traceback__")).ok().map(Bound::unbind);
        let mut error = Some(error);
        let (wakes, _) = self.up_to_date(py).fail(py, sender, |extras| {
            // No earlier value is replaced, because a channel ends once.
            (extras.failure, extras.traceback) = (error.take(), traceback.take());
        });
        wakes.fire();
    }

    pub(crate) fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: Kept<PyType> = Kept::new();
        let (leaving, seen) = self.core.statistics(py);
        self.finish(py, leaving);
        let fields = PyDict::new(py);
        let state = match (seen.ended, seen.phase) {
            (_, Phase::Cancelled) if seen.stopping => "stopping",
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
        guarded::call_by_name(imported(py, &CLASS, "sluicegate._statistics", "ChannelStatistics")?, &fields)
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
            (Phase::Cancelled, _) if seen.stopping => " stopping",
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
        for object in [&self.weigh, &self.on_discard, &self.on_settled] {
            visit.call(object)?;
        }
        self.retry.callable().map_or(Ok(()), |function| visit.call(function))?;
        self.lanes.as_ref().map_or(Ok(()), |lanes| lanes.traverse(&visit))?;
        self.common.traverse(&visit)?;
        self.core.with_extras(py, |extras| {
            visit.call(&extras.failure)?;
            visit.call(&extras.traceback)?;
            visit.call(&extras.on_control)?;
            extras.told.iter().flatten().try_for_each(|told| visit.call(&told.args))
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

/// Wakes a channel that holds back its grants when the other channel's sender has credit.
pub(crate) fn upstream(body: &Bound<'_, PyChannelBody>) -> Waker {
    static CALLEE: Callee = Callee {
        wake: |body| body.cast::<PyChannelBody>().expect("a channel's own").get().core.release(body.py()),
        group: |_| 0,
    };
    Waker::Object(body.clone().into_any().unbind(), &CALLEE)
}
