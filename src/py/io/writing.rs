//! Writing: from a channel to a target.
//!
//! Attached it takes what is there and copies the bytes; detached it writes them. What has been received is written before anything else
//! happens, so a cancellation is at an item's boundary at the target too. An error on the way cancels the receiver, and whoever sends
//! finds it as the cause.
//!
//! A delivery is acked once its item has been written, all of it. One that has not been when the transfer comes to its end goes back.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyBytes, PyString};
use sluicegate_core::credits::frames::FrameRange;
use sluicegate_core::credits::{Batch, End, Handed, NO_OWNER, Nack, Receipt, ReceiveError, Received, Removed, Spot};
use sluicegate_core::leaving::Leaving;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::alarm::Alarm;
use super::endpoint::{Endpoint, Name, Stream, Way, os_error};
use super::runtime::{attached, unless};
use super::transfer::{Job, Outcome, Shared};
use crate::credits::PyChannelBody;
use crate::credits::receiver::PyReceiver;
use crate::rt::Item;
use crate::rt::arguments::type_name;
use crate::rt::waker::Waker;

type News = Leaving<Waker, Removed<Item, FrameRange>>;

/// So many items are received in one step, at most.
const BATCH: usize = 1024;

#[derive(Debug)]
pub(in crate::io) struct Writing {
    receiver: Py<PyReceiver>,
    name: Name,
    endpoint: Option<Endpoint>,
    stream: Option<Stream>,
    way: Way,
    bytes: Vec<u8>,
    /// So much of it is written.
    written: usize,
    /// Where the items in it end.
    ends: Vec<usize>,
    /// Of the deliveries among them, and perhaps of one that could not be written.
    receipts: Vec<Receipt>,
    failure: Option<PyErr>,
    spot: Spot,
    waker: Waker,
    alarm: Alarm,
}

/// What there was.
enum Taken {
    Batch(Batch<Item, FrameRange>),
    Deliveries(Vec<Handed<Item>>),
}

enum Next {
    Write,
    /// No longer than that.
    Wait(Option<Duration>),
    Over(Outcome),
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
            spot: Spot::default(),
            waker: Waker::Future(Arc::clone(signal)),
            alarm: Alarm::default(),
        }
    }

    async fn work(&mut self, shared: &Shared) -> Outcome {
        loop {
            // First what is there: the target may not even open.
            if let Err(error) = self.write(shared).await {
                let name = self.name.clone();
                return attached(|py| Outcome::Failed(os_error(py, &error, Some(&name)))).unwrap_or(Outcome::Nowhere);
            }
            match attached(|py| self.receive(py, shared)) {
                None => return Outcome::Nowhere,
                Some(Next::Over(outcome)) => return outcome,
                Some(Next::Wait(None)) => shared.signal.notified().await,
                Some(Next::Wait(Some(limit))) => drop(timeout(limit, shared.signal.notified()).await),
                Some(Next::Write) => {}
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
                    let (leaving, _) = receiver.core.ack(py, receipt); // one that came too late is counted
                    receiver.finish(py, leaving);
                }
            });
        }
        outcome
    }

    /// Takes what there is in the channel.
    fn receive(&mut self, py: Python<'_>, shared: &Shared) -> Next {
        let receiver = self.receiver.clone_ref(py);
        let body = receiver.get().body.get();
        self.alarm.stop(py, &body.core);
        if let Some(error) = self.failure.take() {
            return Next::Over(Outcome::Failed(error));
        }
        loop {
            // Opening may have been given up for a signal that was about something else.
            let received = shared.transfer.step(py, |_| self.stream.is_some().then(|| self.take(py, body)));
            let (news, result) = match received {
                None => return Next::Over(Outcome::Stopped),
                Some(None) => return Next::Write,
                Some(Some(received)) => received,
            };
            for news in news {
                body.finish(py, news);
            }
            match result {
                Ok(Taken::Deliveries(deliveries)) => {
                    for Handed { item, receipt, .. } in deliveries {
                        self.receipts.push(receipt);
                        if self.failure.is_none() {
                            match self.copy(item.bind(py)) {
                                Ok(()) => self.ends.push(self.bytes.len()),
                                Err(error) => self.failure = Some(error),
                            }
                        }
                    }
                    return Next::Write;
                }
                Ok(Taken::Batch(batch)) => {
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
                            // What would be encoded is there.
                            Received::Bale(range) => {
                                let Ok(()) = range.try_each(|content| {
                                    self.bytes.extend_from_slice(content);
                                    self.ends.push(self.bytes.len());
                                    Ok::<_, Infallible>(())
                                });
                            }
                        }
                    }
                    body.dispose(py, Removed { dropped: parts.collect(), ..Removed::default() });
                    return Next::Write;
                }
                Err(ReceiveError::Empty | ReceiveError::SelfWait) => {
                    return Next::Wait(self.alarm.set(py, &body.core, &self.waker));
                }
                Err(ReceiveError::Control) => body.handle_controls(py),
                Err(ReceiveError::Ended(End::Completed)) => return Next::Over(Outcome::Done),
                Err(ReceiveError::Ended(end)) => {
                    return Next::Over(Outcome::Failed(body.receive_ended(py, "sluicegate.io", end)));
                }
            }
        }
    }

    /// What there is, and what is to be done outside every section.
    fn take(&mut self, py: Python<'_>, body: &PyChannelBody) -> (Vec<News>, Result<Taken, ReceiveError>) {
        let (core, spot, waker) = (&body.core, &mut self.spot, &self.waker);
        if !body.acks {
            let (wakes, result) = core.receive_batch_or_wait(py, BATCH, spot, waker);
            return (vec![wakes.without_items()], result.map(Taken::Batch));
        }
        let share = |item: &Item| item.clone_ref(py);
        let (leaving, first) = core.receive_delivery_or_wait(py, NO_OWNER, share, spot, waker);
        let mut news = vec![leaving];
        let result = first.map(|first| {
            let mut deliveries = vec![first];
            while deliveries.len() < BATCH {
                let (leaving, next) = core.try_receive_delivery(py, NO_OWNER, share);
                news.push(leaving);
                match next {
                    Ok(next) => deliveries.push(next),
                    Err(_) => break, // it is met again
                }
            }
            Taken::Deliveries(deliveries)
        });
        (news, result)
    }

    fn copy(&mut self, item: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Ok(bytes) = item.cast::<PyBytes>() {
            self.bytes.extend_from_slice(bytes.as_bytes());
            return Ok(());
        }
        if let Ok(text) = item.cast::<PyString>() {
            let bytes = text.encode_utf8()?;
            self.bytes.extend_from_slice(bytes.as_bytes());
            return Ok(());
        }
        let py = item.py();
        let view = py.import("builtins")?.getattr("memoryview")?.call1((item,)).map_err(|_| {
            PyTypeError::new_err(format!("write_from: an item must be bytes-like or a str, not {}", type_name(item)))
        })?;
        let bytes = view.call_method0("tobytes")?.cast_into::<PyBytes>()?;
        self.bytes.extend_from_slice(bytes.as_bytes());
        Ok(())
    }
}

impl Job for Writing {
    fn run<'a>(&'a mut self, shared: &'a Shared) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(self.work(shared))
    }

    fn fail(&mut self, py: Python<'_>, error: &PyErr) {
        self.receiver.get().body.get().cancel_because(py, error.clone_ref(py).into_value(py).into_any());
    }

    fn park(&mut self, py: Python<'_>, _shared: &Shared) {
        let body = self.receiver.get().body.get();
        self.alarm.stop(py, &body.core);
        body.core.leave(py, &mut self.spot).fire();
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
