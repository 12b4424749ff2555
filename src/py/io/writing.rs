//! Writing: from a channel to a target.
//!
//! While attached, the task receives available items and copies their bytes; while detached, it writes them. Received items are written
//! before anything else happens, so a cancelled transfer stops at an item's boundary in the target too. An error cancels the receiver, and
//! is the cause of the exceptions that senders get.
//!
//! A delivery is acked once all bytes of its item have been written. A delivery that is not acked when the transfer ends is requeued.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::{PyMemoryError, PyTypeError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyBytes, PyString};
use sluicegate_core::credits::frames::FrameRange;
use sluicegate_core::credits::{
    Batch, DiscardReason, End, Handed, NO_OWNER, Nack, Receipt, ReceiveError, Received, Removed, Settlement, Waiter,
};
use sluicegate_core::leaving::Leaving;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::alarm::Alarm;
use super::endpoint::{Endpoint, Name, Stream, Way, os_error};
use super::runtime::{attached, unless};
use super::transfer::{Job, Shared, TaskOutcome};
use crate::credits::PyChannelBody;
use crate::credits::lanes::Items;
use crate::credits::receiver::PyReceiver;
use crate::rt::Item;
use crate::rt::arguments::type_name;
use crate::rt::drops::drop_flat;
use crate::rt::waker::Waker;

type News = Leaving<Waker, Removed<Item, FrameRange>>;

/// The largest number of items that are received in one step.
const BATCH: usize = 1024;

#[derive(Debug)]
pub(in crate::io) struct Writing {
    receiver: Py<PyReceiver>,
    name: Name,
    endpoint: Option<Endpoint>,
    stream: Option<Stream>,
    way: Way,
    bytes: Vec<u8>,
    /// The number of bytes of the buffer that have been written.
    written: usize,
    /// The positions in the buffer at which items end.
    ends: Vec<usize>,
    /// The receipts of the deliveries among the items; the last item may not have been encoded.
    receipts: Vec<Receipt>,
    failure: Option<PyErr>,
    waiter: Waiter,
    waker: Waker,
    alarm: Alarm,
}

/// The received items.
enum ReceivedItems {
    Batch(Batch<Item, FrameRange>),
    Deliveries(Vec<Handed<Item>>),
}

enum NextStep {
    Write,
    /// Wait for the signal, at most this long.
    Wait(Option<Duration>),
    Over(TaskOutcome),
}

impl Writing {
    pub(in crate::io) fn new(
        receiver: &Bound<'_, PyReceiver>,
        (name, endpoint): (Name, Endpoint),
        append: bool,
        signal: &Arc<Notify>,
    ) -> Self {
        Self {
            receiver: receiver.clone().unbind(),
            name,
            endpoint: Some(endpoint),
            stream: None,
            way: Way::Write { append },
            bytes: Vec::new(),
            written: 0,
            ends: Vec::new(),
            receipts: Vec::new(),
            failure: None,
            waiter: Waiter::default(),
            waker: Waker::Future(Arc::clone(signal)),
            alarm: Alarm::default(),
        }
    }

    async fn work(&mut self, shared: &Shared) -> TaskOutcome {
        loop {
            // Available items are written first, because even opening the target may fail.
            if let Err(error) = self.write(shared).await {
                let name = self.name.clone();
                return attached(|py| TaskOutcome::Failed(os_error(py, &error, Some(&name)))).unwrap_or(TaskOutcome::Nowhere);
            }
            match attached(|py| self.receive(py, shared)) {
                None => return TaskOutcome::Nowhere,
                Some(NextStep::Over(outcome)) => return outcome,
                Some(NextStep::Wait(None)) => shared.signal.notified().await,
                Some(NextStep::Wait(Some(limit))) => drop(timeout(limit, shared.signal.notified()).await),
                Some(NextStep::Write) => {}
            }
        }
    }

    async fn write(&mut self, shared: &Shared) -> std::io::Result<()> {
        if self.stream.is_none() {
            if let Some(endpoint) = &mut self.endpoint {
                match unless(&shared.signal, endpoint.open(self.way)).await {
                    Some(opened) => opened?,
                    None => return Ok(()),
                }
            }
            if let Some(Endpoint::Opened(handle)) = self.endpoint.take() {
                self.stream = Some(handle.start(self.way)?);
            }
        }
        let Some(stream) = &mut self.stream else { return Err(std::io::ErrorKind::NotConnected.into()) };
        let mut outcome = Ok(());
        while self.written < self.bytes.len() && outcome.is_ok() {
            match stream.write(&mut self.bytes, self.written).await {
                Ok(0) => outcome = Err(std::io::ErrorKind::WriteZero.into()),
                Ok(n) => self.written += n,
                Err(error) => outcome = Err(error),
            }
        }
        let items = self.ends.partition_point(|&end| end <= self.written);
        let bytes = self.written;
        self.bytes.clear();
        self.ends.clear();
        self.written = 0;
        if items > 0 || bytes > 0 {
            attached(|py| {
                shared.transfer.count(py, items, bytes);
                let written = self.receipts.len().min(items);
                let receiver = self.receiver.get().body.get();
                for receipt in self.receipts.drain(..written) {
                    // A stale delivery is only counted.
                    let (leaving, (_, acked)) = receiver.core.settle(py, &Settlement::default(), receipt, None);
                    receiver.finish(py, leaving);
                    drop_flat(acked);
                }
            });
        }
        outcome
    }

    /// Receives the available items.
    fn receive(&mut self, py: Python<'_>, shared: &Shared) -> NextStep {
        let receiver = self.receiver.clone_ref(py);
        let body = receiver.get().body.get();
        self.alarm.stop(py, &body.core);
        if let Some(error) = self.failure.take() {
            return NextStep::Over(TaskOutcome::Failed(error));
        }
        loop {
            // The target may not be open: opening was interrupted by a signal that had another meaning.
            let received = shared.transfer.step(py, |_| self.stream.is_some().then(|| self.take(py, body)));
            let (news, result) = match received {
                None => return NextStep::Over(TaskOutcome::Stopped),
                Some(None) => return NextStep::Write,
                Some(Some(received)) => received,
            };
            for news in news {
                body.finish(py, news);
            }
            match result {
                Ok(ReceivedItems::Deliveries(deliveries)) => {
                    for Handed { item, receipt, .. } in deliveries {
                        self.receipts.push(receipt);
                        if self.failure.is_none() {
                            match self.copy(item.bind(py)) {
                                Ok(()) => self.ends.push(self.bytes.len()),
                                Err(error) => self.failure = Some(error),
                            }
                        }
                    }
                    return NextStep::Write;
                }
                Ok(ReceivedItems::Batch(batch)) => {
                    let mut parts = batch.into_parts();
                    for received in parts.by_ref() {
                        match received {
                            Received::Item(item) => {
                                if let Err(error) = self.copy(item.bind(py)) {
                                    self.failure = Some(error);
                                    break;
                                }
                                self.ends.push(self.bytes.len());
                            }
                            // Items of a bale are encoded already.
                            Received::Bale(range) => {
                                let Ok(()) = range.try_each(|content| {
                                    self.bytes.extend_from_slice(content);
                                    self.ends.push(self.bytes.len());
                                    Ok::<_, Infallible>(())
                                });
                            }
                        }
                    }
                    let removed = Removed { dropped: parts.collect(), ..Removed::default() };
                    let error = self.failure.as_ref().map(|error| error.value(py).as_any());
                    body.dispose(py, removed, error.map(|error| (DiscardReason::Cancelled, error)));
                    return NextStep::Write;
                }
                Err(ReceiveError::Empty | ReceiveError::SelfWait) => {
                    return NextStep::Wait(self.alarm.set(py, &body.core, &self.waker));
                }
                Err(ReceiveError::NoMemory) => return NextStep::Over(TaskOutcome::Failed(PyMemoryError::new_err(()))),
                Err(ReceiveError::Control) => body.handle_controls(py),
                Err(ReceiveError::Ended(End::Completed)) => return NextStep::Over(TaskOutcome::Done),
                Err(ReceiveError::Ended(end)) => {
                    return NextStep::Over(TaskOutcome::Failed(body.receive_ended(py, "sluicegate.io", end)));
                }
            }
        }
    }

    /// Takes the available items, and what has to be done outside every section.
    fn take(&mut self, py: Python<'_>, body: &PyChannelBody) -> (Vec<News>, Result<ReceivedItems, ReceiveError>) {
        let (core, waiter, waker) = (&body.core, &mut self.waiter, &self.waker);
        if !body.acks {
            let (wakes, result) = core.receive_batch_or_wait(py, BATCH, waiter, waker);
            return (vec![wakes.without_items()], result.map(ReceivedItems::Batch));
        }
        let (leaving, first) = core.receive_delivery_or_wait(py, NO_OWNER, &Items(py), waiter, waker);
        let mut news = vec![leaving];
        let result = first.map(|first| {
            let mut deliveries = vec![first];
            while deliveries.len() < BATCH {
                let (leaving, next) = core.try_receive_delivery(py, NO_OWNER, &Items(py));
                news.push(leaving);
                match next {
                    Ok(next) => deliveries.push(next),
                    Err(_) => break, // the next call finds it again
                }
            }
            ReceivedItems::Deliveries(deliveries)
        });
        (news, result)
    }

    fn append(&mut self, bytes: &[u8]) -> PyResult<()> {
        self.bytes.try_reserve(bytes.len()).map_err(|_| PyMemoryError::new_err(()))?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn copy(&mut self, item: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Ok(bytes) = item.cast::<PyBytes>() {
            self.append(bytes.as_bytes())?;
            return Ok(());
        }
        if let Ok(text) = item.cast::<PyString>() {
            let bytes = text.encode_utf8()?;
            self.append(bytes.as_bytes())?;
            return Ok(());
        }
        let py = item.py();
        let view = py.import("builtins")?.getattr("memoryview")?.call1((item,)).map_err(|_| {
            PyTypeError::new_err(format!("write_from: an item must be bytes-like or a str, not {}", type_name(item)))
        })?;
        let bytes = view.call_method0("tobytes")?.cast_into::<PyBytes>()?;
        self.append(bytes.as_bytes())?;
        Ok(())
    }
}

impl Job for Writing {
    fn run<'a>(&'a mut self, shared: &'a Shared) -> Pin<Box<dyn Future<Output = TaskOutcome> + Send + 'a>> {
        Box::pin(self.work(shared))
    }

    fn fail(&mut self, py: Python<'_>, error: &PyErr) {
        self.receiver.get().body.get().cancel_because(error.value(py));
    }

    fn park(&mut self, py: Python<'_>, _shared: &Shared) {
        let body = self.receiver.get().body.get();
        self.alarm.stop(py, &body.core);
        body.core.leave(py, &mut self.waiter).fire();
        for receipt in self.receipts.drain(..) {
            let (leaving, _) = body.core.nack(py, receipt, Nack { requeue: true, delay: 0, counts: false });
            body.finish(py, leaving);
        }
        if let Some(stream) = self.stream.take() {
            match stream.stop() {
                Ok(handle) => self.endpoint = Some(Endpoint::Opened(handle)),
                Err(error) => self.failure = Some(os_error(py, &error, Some(&self.name))),
            }
        }
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.receiver)
    }
}
