//! Reading: from a source into a channel.
//!
//! Detached it reads and finds the ends of items; attached it makes as many Python objects as there is credit for and sends them in one
//! step. While there is no credit it stands in the channel's line, as any other sender, and reads nothing: so a slow receiver stops the
//! writer at the other end of a socket. What fails does so after everything before it has been sent.

use std::sync::Arc;

use penstock_core::credits::{SendError, Spot};
use penstock_core::wait::Ticket;
use pyo3::exceptions::{PyMemoryError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyBytes, PyString};
use tokio::sync::Notify;

use super::endpoint::{Endpoint, Name, Stream, Way, os_error};
use super::framing::{Framer, Kind};
use super::runtime::{attached, unless};
use super::transfer::{Outcome, Shared};
use crate::credits::PyChannelBody;
use crate::credits::sender::PySender;
use crate::store::Item;
use crate::waker::Waker;

/// So much of a file is read at once.
const FILE_BLOCK: usize = 256 * 1024;
/// And so much of what others write to meanwhile.
const STREAM_BLOCK: usize = 64 * 1024;
/// So many items are made in one step, at most.
const BATCH: usize = 2048;
/// So many batches are delivered before other threads get the GIL.
const BATCHES: usize = 4;

/// What bytes become.
#[derive(Debug)]
pub(crate) enum Decoding {
    Bytes,
    Utf8 { errors: String },
    Other { encoding: String, errors: String },
}

/// What an item weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weighing {
    One,
    Length,
    Call,
}

#[derive(Debug)]
pub(crate) struct Reading {
    sender: Py<PySender>,
    weighing: Weighing,
    name: Name,
    endpoint: Option<Endpoint>,
    stream: Option<Stream>,
    framer: Framer,
    decoding: Decoding,
    /// The largest item, in bytes.
    limit: usize,
    block: usize,
    completes: bool,
    at_end: bool,
    batch: Batch,
    /// To be told once everything before it has been sent.
    failure: Option<PyErr>,
    spot: Spot,
    waker: Waker,
    watch: Option<Ticket>,
}

/// Items that have been made and not sent.
#[derive(Debug)]
struct Batch {
    items: std::vec::IntoIter<Item>,
    weights: Vec<u64>,
    /// How many bytes of the source each is; as `weights` it ends with those of the items that are left.
    sizes: Vec<usize>,
}

/// What is to be done next.
enum Next {
    Read,
    Wait,
    /// Let others have the GIL.
    Again,
    Over(Outcome),
}

pub(crate) struct Options {
    pub(crate) name: Name,
    pub(crate) endpoint: Endpoint,
    pub(crate) kind: Kind,
    pub(crate) decoding: Decoding,
    pub(crate) limit: usize,
    pub(crate) completes: bool,
}

impl Reading {
    pub(crate) fn new(py: Python<'_>, sender: &Bound<'_, PySender>, options: Options, signal: &Arc<Notify>) -> Self {
        let Options { name, endpoint, kind, decoding, limit, completes } = options;
        let body = sender.get().body.get();
        let weighing = match (body.is_weighted(), body.weighs_length(py)) {
            (false, _) => Weighing::One,
            (true, false) => Weighing::Call,
            (true, true) => Weighing::Length,
        };
        let bound = usize::try_from(body.core.bound(py)).unwrap_or(usize::MAX);
        // A chunk is cut to what can be sent at all.
        let (kind, block) = match kind {
            Kind::Chunks { size } => {
                let size = if weighing == Weighing::Length { size.min(bound).max(1) } else { size };
                (Kind::Chunks { size }, size * (FILE_BLOCK / size).max(1))
            }
            lines @ Kind::Lines { .. } => (lines, FILE_BLOCK),
        };
        Self {
            sender: sender.clone().unbind(),
            weighing,
            name,
            endpoint: Some(endpoint),
            stream: None,
            framer: Framer::new(kind),
            decoding,
            limit,
            block,
            completes,
            at_end: false,
            batch: Batch { items: Vec::new().into_iter(), weights: Vec::new(), sizes: Vec::new() },
            failure: None,
            spot: Spot::default(),
            waker: Waker::Future(Arc::clone(signal)),
            watch: None,
        }
    }

    pub(crate) async fn run(&mut self, shared: &Shared) -> Outcome {
        loop {
            match attached(|py| self.deliver(py, shared)) {
                None => return Outcome::Nowhere,
                Some(Next::Over(outcome)) => return outcome,
                Some(Next::Wait) => shared.signal.notified().await,
                Some(Next::Again) => tokio::task::yield_now().await,
                Some(Next::Read) => self.read(shared).await,
            }
        }
    }

    /// One read. What goes wrong is told after what was read before.
    async fn read(&mut self, shared: &Shared) {
        let outcome = async {
            if self.stream.is_none() {
                if let Some(endpoint) = &mut self.endpoint {
                    match unless(&shared.signal, endpoint.open(Way::Read)).await {
                        Some(opened) => opened?,
                        None => return Ok(None),
                    }
                }
                if let Some(Endpoint::Opened(handle)) = self.endpoint.take() {
                    self.stream = Some(handle.start(Way::Read)?);
                }
            }
            let Some(stream) = &mut self.stream else { return Err(std::io::ErrorKind::NotConnected.into()) };
            if stream.waits() {
                let wanted = self.block.min(STREAM_BLOCK);
                let room = self.framer.room(wanted);
                // There may be a reason not to go on: whoever sends next will know.
                unless(&shared.signal, stream.read(room, wanted)).await.transpose()
            } else {
                let room = self.framer.room(self.block);
                stream.read(room, self.block).await.map(Some)
            }
        };
        match outcome.await {
            Ok(None) => {}
            Ok(Some(n)) => {
                self.at_end = n == 0;
                self.framer.feed(self.at_end);
            }
            Err(error) => {
                let name = self.name.clone();
                self.failure = attached(|py| os_error(py, &error, Some(&name)));
            }
        }
    }

    /// Sends what has been framed.
    fn deliver(&mut self, py: Python<'_>, shared: &Shared) -> Next {
        let sender = self.sender.clone_ref(py);
        let body = sender.get().body.get();
        if self.watch.is_none() {
            let (wakes, ticket) = body.core.watch_end(py, penstock_core::wait::Wake::share(&self.waker));
            self.watch = Some(ticket);
            wakes.fire();
        }
        for _ in 0..BATCHES {
            if self.batch.items.as_slice().is_empty() && self.failure.is_none() {
                let line = shared.state.with(py, |state| state.items) + 1;
                self.fill(py, body, line);
            }
            let nothing_left = self.batch.items.as_slice().is_empty();
            // With nothing to send it still asks: whether it goes on, and whether anybody is left to send to.
            let sent = shared.state.with(py, |state| {
                if !state.goes_on() {
                    return None;
                }
                let before = self.batch.items.len();
                if before == 0 {
                    return Some(None);
                }
                let (items, weights) = (&mut self.batch.items, &self.batch.weights);
                let (wakes, result) = body.core.send_batch_or_wait(py, items, weights, &mut self.spot, &self.waker);
                let sent = before - self.batch.items.len();
                let first = self.batch.sizes.len() - before;
                state.items += sent as u64;
                state.bytes += self.batch.sizes[first..first + sent].iter().map(|&size| size as u64).sum::<u64>();
                Some(Some((wakes, result)))
            });
            match sent {
                None => return Next::Over(Outcome::Stopped),
                Some(None) => {}
                Some(Some((wakes, result))) => {
                    wakes.fire();
                    match result {
                        Ok(()) => continue,
                        Err(SendError::Full(())) => return Next::Wait,
                        Err(SendError::Ended((), end)) => {
                            return Next::Over(Outcome::Failed(body.send_ended(py, "penstock.io", end)));
                        }
                        Err(SendError::TooHeavy(())) => {
                            let weight = self.batch.weights[self.batch.weights.len() - self.batch.items.len()];
                            let item = shared.state.with(py, |state| state.items) + 1;
                            return Next::Over(Outcome::Failed(self.too_large(py, item, &format!("weighs {weight}"), body)));
                        }
                    }
                }
            }
            debug_assert!(nothing_left, "what was there has been sent, or it waits");
            if let Some(error) = self.failure.take() {
                return Next::Over(Outcome::Failed(error));
            }
            if self.at_end {
                if self.completes {
                    self.sender.get().complete(py);
                }
                return Next::Over(Outcome::Done);
            }
            return match body.core.phase(py) {
                penstock_core::credits::Phase::Open => Next::Read,
                phase => {
                    use penstock_core::credits::{End, Phase};
                    let end = match phase {
                        Phase::Cancelled => End::Cancelled,
                        Phase::Failed => End::Failed,
                        Phase::Completing | Phase::Open => End::Completed,
                    };
                    Next::Over(Outcome::Failed(body.send_ended(py, "penstock.io", end)))
                }
            };
        }
        Next::Again
    }

    /// Makes items, as many as there is credit for, and one at least if there is something to make it of.
    fn fill(&mut self, py: Python<'_>, body: &PyChannelBody, first_line: u64) {
        let (wakes, credit) = body.core.credit(py);
        wakes.fire();
        let expected = BATCH.min(self.framer.len()).min(usize::try_from(credit).unwrap_or(BATCH)).max(1);
        let (mut items, mut sizes) = (Vec::with_capacity(expected), Vec::with_capacity(expected));
        let mut weights = Vec::new();
        let mut weight_so_far = 0u64;
        while items.len() < BATCH && (items.is_empty() || weight_so_far < credit) {
            let Some((content, size)) = self.framer.next() else { break };
            let made = if size > self.limit {
                Err(PyValueError::new_err(format!(
                    "item {} of {} is {size} bytes, at most {} are possible",
                    first_line + items.len() as u64,
                    self.name.shown(),
                    self.limit
                )))
            } else {
                self.make(py, content, first_line + items.len() as u64).and_then(|item| {
                    let weight = match self.weighing {
                        Weighing::One => 1,
                        Weighing::Length => item.len()? as u64,
                        Weighing::Call => body.weight(&item)?,
                    };
                    Ok((item, weight))
                })
            };
            match made {
                Ok((item, weight)) => {
                    weight_so_far = weight_so_far.saturating_add(weight);
                    if self.weighing != Weighing::One {
                        weights.push(weight);
                    }
                    items.push(item.unbind());
                    sizes.push(size);
                }
                Err(error) => {
                    self.failure = Some(error);
                    break;
                }
            }
        }
        if items.is_empty() && self.failure.is_none() && self.framer.unfinished() > self.longest(body, py) {
            let so_far = self.framer.unfinished();
            self.failure = Some(self.too_large(py, first_line, &format!("is more than {so_far} bytes"), body));
        }
        self.batch = Batch { items: items.into_iter(), weights, sizes };
    }

    /// How many bytes an item can have at most, line end and all.
    fn longest(&self, body: &PyChannelBody, py: Python<'_>) -> usize {
        let bound = match (self.weighing, &self.decoding) {
            (Weighing::Length, Decoding::Bytes) => usize::try_from(body.core.bound(py)).unwrap_or(usize::MAX).saturating_add(2),
            // A character is four bytes at most.
            (Weighing::Length, Decoding::Utf8 { .. }) => {
                usize::try_from(body.core.bound(py)).unwrap_or(usize::MAX).saturating_mul(4).saturating_add(2)
            }
            _ => usize::MAX,
        };
        bound.min(self.limit)
    }

    fn too_large(&self, py: Python<'_>, item: u64, what: &str, body: &PyChannelBody) -> PyErr {
        let most = if self.weighing == Weighing::One { self.limit as u64 } else { body.core.bound(py).min(self.limit as u64) };
        PyValueError::new_err(format!(
            "item {item} of {} {what}: more than may ever be on its way at once, which is {most}",
            self.name.shown()
        ))
    }

    #[inline]
    fn make<'py>(&self, py: Python<'py>, content: std::ops::Range<usize>, line: u64) -> PyResult<Bound<'py, PyAny>> {
        let content = self.framer.content(content);
        let (encoding, errors) = match &self.decoding {
            Decoding::Bytes => return Ok(PyBytes::new(py, content).into_any()),
            Decoding::Utf8 { .. } if self.framer.is_ascii() => return ascii(py, content),
            Decoding::Utf8 { errors } => match std::str::from_utf8(content) {
                Ok(text) => return Ok(PyString::new(py, text).into_any()),
                Err(_) => ("utf-8", errors.as_str()),
            },
            Decoding::Other { encoding, errors } => (encoding.as_str(), errors.as_str()),
        };
        PyBytes::new(py, content).call_method1("decode", (encoding, errors)).inspect_err(|error| {
            // Where it was: the exception itself knows only of this line.
            let value = error.value(py);
            if let Ok(reason) = value.getattr("reason") {
                let _ = value.setattr("reason", format!("{reason}, in line {line} of {}", self.name.shown()));
            }
        })
    }

    pub(crate) fn fail(&mut self, py: Python<'_>, error: &PyErr) {
        // It is an exception.
        let _ = self.sender.get().fail(py, error.value(py));
    }

    pub(crate) fn park(&mut self, py: Python<'_>) {
        let core = &self.sender.get().body.get().core;
        core.leave(py, &mut self.spot).fire();
        if let Some(ticket) = self.watch.take() {
            drop(core.unwatch_end(py, ticket));
        }
        if let Some(stream) = self.stream.take() {
            match stream.stop() {
                Ok(handle) => self.endpoint = Some(Endpoint::Opened(handle)),
                Err(error) => self.failure = Some(os_error(py, &error, Some(&self.name))),
            }
        }
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.sender)?;
        self.batch.items.as_slice().iter().try_for_each(|item| visit.call(item))
    }
}

/// A str of bytes that are ASCII: the interpreter need not look at each of them again.
#[allow(unsafe_code)]
#[inline]
fn ascii<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let Ok(length) = ffi::Py_ssize_t::try_from(bytes.len()) else { return Err(PyMemoryError::new_err(())) };
    // SAFETY: attached. A new str of so many ASCII characters, whose data are as many bytes; it is nobody else's until it is returned.
    unsafe {
        let text = Bound::from_owned_ptr_or_err(py, ffi::PyUnicode_New(length, 127))?;
        if length > 0 {
            // The empty str is shared, and complete.
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), ffi::PyUnicode_DATA(text.as_ptr()).cast(), bytes.len());
        }
        Ok(text)
    }
}
