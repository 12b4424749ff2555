//! Reading: from a source into a channel.
//!
//! Detached it reads and finds the ends of items. Attached it offers them as a bale, of which the channel sends what there is credit for, and
//! those who receive make the objects; or it makes the objects itself and sends as many as there is credit for, where making them may go
//! wrong or a bale does not pay. While there is no credit it stands in the channel's line, as any other sender, and reads nothing: so a slow
//! receiver stops the writer at the other end of a socket. What fails does so after everything before it has been sent.
//!
//! Of a file the next block is read and framed while this one is delivered, by another thread (`Ahead`). When a transfer stops that block
//! stays for when it goes on.

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyBytes, PyString};
use sluicegate_core::credits::frames::{Block, Form, Frames, Kind};
use sluicegate_core::credits::{End, Phase, SendError, Spot};
use sluicegate_core::transfer::Offered;
use sluicegate_core::wait::{Ticket, Wake, Wakes};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::alarm::Alarm;
use super::endpoint::{Endpoint, Name, Stream, Way, os_error, read_full};
use super::runtime::{attached, unless};
use super::transfer::{ChannelRef, Job, Outcome, Shared};
use crate::credits::PyChannelBody;
use crate::credits::objects::ascii;
use crate::credits::sender::PySender;
use crate::rt::Item;
use crate::rt::waker::Waker;

/// So much of a file is read at once, when it turns out to be long.
const FILE_BLOCK: usize = 1024 * 1024;
/// So many frames are remembered that may be read to again.
const LENT: usize = 2;
/// And so much at first: most files are short.
const FIRST_BLOCK: usize = 16 * 1024;
/// And so much of what others write to meanwhile.
const STREAM_BLOCK: usize = 64 * 1024;
/// So many items are made in one step, at most.
const BATCH: usize = 2048;
/// From so many on, items are made by those who receive them. (A few do not pay for the block they would keep.)
const WORTH_A_BALE: usize = 32;
/// So many batches are delivered before other threads get the GIL.
const BATCHES: usize = 4;

/// What bytes become.
#[derive(Debug)]
pub(in crate::io) enum Decoding {
    Bytes,
    Utf8 { errors: String },
    Other { encoding: String, errors: String },
}

impl Decoding {
    fn is_utf8(&self) -> bool {
        matches!(self, Self::Utf8 { .. })
    }
}

/// What an item weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weighing {
    One,
    Length,
    Call,
}

#[derive(Debug)]
pub(in crate::io) struct Reading {
    sender: Py<PySender>,
    weighing: Weighing,
    name: Name,
    endpoint: Option<Endpoint>,
    stream: Option<Stream>,
    kind: Kind,
    decoding: Decoding,
    /// The largest item, in bytes.
    limit: usize,
    /// So much is read next of a file, and so much at most.
    length: usize,
    longest: usize,
    completes: bool,
    at_end: bool,
    /// What is being delivered, and one to read to, whose items have been.
    block: Block,
    spent: Block,
    ahead: Ahead,
    /// The last frames that were handed on: once everything in one has been received there is something to read to again, which saves the
    /// kernel giving out fresh pages.
    lent: VecDeque<Arc<Frames>>,
    /// How much has been read of an item whose end has not.
    unfinished: usize,
    /// The first of the block's items, made here and not sent. (Items that others make are the transfer's.)
    batch: Batch,
    /// To be told once everything before it has been sent.
    failure: Option<PyErr>,
    spot: Spot,
    waker: Waker,
    watch: Option<Ticket>,
    alarm: Alarm,
}

#[derive(Debug)]
struct Batch {
    items: std::vec::IntoIter<Item>,
    /// As in `Channel::send_batch_or_wait`.
    weights: Vec<u64>,
}

impl Batch {
    fn len(&self) -> usize {
        self.items.as_slice().len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a step has come to.
enum Sent {
    /// All there was.
    Some,
    /// There was nothing.
    Nothing,
    /// Not all: the rest stands in the channel's line.
    Full,
    /// The next item weighs so much, more than there may ever be credit for.
    TooHeavy(u64),
    Ended(End),
}

/// A block, framed, and whether it is the last.
type Framed = (Block, io::Result<bool>);

/// What is read of a file while the block before it is delivered.
#[derive(Debug)]
enum Ahead {
    Nothing,
    Running(JoinHandle<(File, Framed)>),
    Ready(Framed),
}

/// What is to be done next.
enum Next {
    Read,
    /// For credit; no longer than that, if something becomes due by itself then, and gives credit back.
    Wait(Option<Duration>),
    /// Let others have the GIL.
    Again,
    Over(Outcome),
}

pub(in crate::io) struct Options {
    pub(in crate::io) name: Name,
    pub(in crate::io) endpoint: Endpoint,
    pub(in crate::io) kind: Kind,
    pub(in crate::io) decoding: Decoding,
    pub(in crate::io) limit: usize,
    pub(in crate::io) completes: bool,
}

impl Reading {
    pub(in crate::io) fn new(py: Python<'_>, sender: &Bound<'_, PySender>, options: Options, signal: &Arc<Notify>) -> Self {
        let Options { name, endpoint, kind, decoding, limit, completes } = options;
        let body = sender.get().body.get();
        let weighing = match (body.is_weighted(), body.weighs_length(py)) {
            (false, _) => Weighing::One,
            (true, false) => Weighing::Call,
            (true, true) => Weighing::Length,
        };
        let bound = usize::try_from(body.core.bound(py)).unwrap_or(usize::MAX);
        // A chunk is cut to what can be sent at all.
        let (kind, longest) = match kind {
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
            kind,
            decoding,
            limit,
            // Of chunks always as many as there is room for: none is cut where a block ends.
            length: if matches!(kind, Kind::Lines { .. }) { FIRST_BLOCK } else { longest },
            longest,
            completes,
            at_end: false,
            block: Block::default(),
            spent: Block::default(),
            ahead: Ahead::Nothing,
            lent: VecDeque::new(),
            unfinished: 0,
            batch: Batch { items: Vec::new().into_iter(), weights: Vec::new() },
            failure: None,
            spot: Spot::default(),
            waker: Waker::Future(Arc::clone(signal)),
            watch: None,
            alarm: Alarm::default(),
        }
    }

    async fn work(&mut self, shared: &Shared) -> Outcome {
        let outcome = loop {
            match attached(|py| self.deliver(py, shared)) {
                None => break Outcome::Nowhere,
                Some(Next::Over(outcome)) => break outcome,
                Some(Next::Wait(None)) => shared.signal.notified().await,
                // Whether it was told or the time is over, it looks.
                Some(Next::Wait(Some(limit))) => drop(timeout(limit, shared.signal.notified()).await),
                Some(Next::Again) => tokio::task::yield_now().await,
                Some(Next::Read) => self.read(shared).await,
            }
        };
        // The file is needed to go on, and no thread is left behind.
        if let Ahead::Running(_) = self.ahead {
            self.ahead = self.read_ahead().await.map_or(Ahead::Nothing, Ahead::Ready);
        }
        outcome
    }

    /// One more block. What goes wrong is told after what was read before.
    async fn read(&mut self, shared: &Shared) {
        let read = match self.open(shared).await {
            Ok(true) if self.stream.as_ref().is_some_and(Stream::waits) => self.read_now(shared).await,
            Ok(true) => self.read_ahead().await.map(Some),
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        };
        let outcome = match read {
            Ok(None) => return,
            Ok(Some((block, outcome))) => {
                self.unfinished = block.unfinished();
                self.spent = std::mem::replace(&mut self.block, block);
                outcome
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(at_end) => {
                self.at_end = at_end;
                if !at_end {
                    self.start_reading_ahead();
                }
            }
            Err(error) => {
                let name = self.name.clone();
                self.failure = attached(|py| os_error(py, &error, Some(&name)));
            }
        }
    }

    /// False if it was given up for a signal.
    async fn open(&mut self, shared: &Shared) -> io::Result<bool> {
        if self.stream.is_none() {
            if let Some(endpoint) = &mut self.endpoint {
                match unless(&shared.signal, endpoint.open(Way::Read)).await {
                    Some(opened) => opened?,
                    None => return Ok(false),
                }
            }
            if let Some(Endpoint::Opened(handle)) = self.endpoint.take() {
                self.stream = Some(handle.start(Way::Read)?);
            }
        }
        Ok(true)
    }

    /// From what may have nothing for a long time. `None`: given up for a signal, and nothing has been read. There may be a reason not to
    /// go on: whoever sends next will know.
    async fn read_now(&mut self, shared: &Shared) -> io::Result<Option<Framed>> {
        let wanted = self.longest.min(STREAM_BLOCK);
        let spare = self.spare();
        let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::NotConnected.into()) };
        let mut next = self.block.follow(spare);
        match unless(&shared.signal, stream.read(next.bytes(), wanted)).await {
            None => {
                // What it began with is all there is in it.
                self.block = next;
                Ok(None)
            }
            Some(outcome) => {
                let outcome = outcome.map(|n| n == 0);
                next.frame(self.kind, self.decoding.is_utf8(), matches!(outcome, Ok(true)));
                Ok(Some((next, outcome)))
            }
        }
    }

    /// The block that was read while the last one was delivered, or the first.
    async fn read_ahead(&mut self) -> io::Result<Framed> {
        if let Ahead::Nothing = self.ahead {
            self.start_reading_ahead();
        }
        match std::mem::replace(&mut self.ahead, Ahead::Nothing) {
            Ahead::Ready(framed) => Ok(framed),
            Ahead::Running(reading) => {
                let (file, framed) = reading.await.map_err(io::Error::other)?;
                self.stream = Some(Stream::File(Some(file)));
                Ok(framed)
            }
            Ahead::Nothing => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn start_reading_ahead(&mut self) {
        let Some(Stream::File(slot)) = &mut self.stream else { return };
        let Some(file) = slot.take() else { return };
        let spare = self.spare();
        let mut next = self.block.follow(spare);
        let (kind, is_text, length) = (self.kind, self.decoding.is_utf8(), self.length);
        self.length = length.saturating_mul(4).min(self.longest).max(length);
        self.ahead = Ahead::Running(spawn_blocking(move || {
            let outcome = read_full(&file, next.bytes(), length);
            next.frame(kind, is_text, matches!(outcome, Ok(true)));
            (file, (next, outcome))
        }));
    }

    /// Sends what has been framed.
    fn deliver(&mut self, py: Python<'_>, shared: &Shared) -> Next {
        let sender = self.sender.clone_ref(py);
        let body = sender.get().body.get();
        self.alarm.stop(py, &body.core);
        body.up_to_date(py);
        if self.watch.is_none() {
            let (wakes, ticket) = body.core.watch_end(py, self.waker.share());
            self.watch = Some(ticket);
            wakes.fire();
        }
        for _ in 0..BATCHES {
            let unsent = shared.transfer.has_unsent(py);
            if !unsent && self.batch.is_empty() && self.failure.is_none() {
                self.fill(py, body, shared);
            }
            let sent = if shared.transfer.has_unsent(py) {
                self.offer(py, shared, &sender.get().body)
            } else {
                self.send_batch(py, shared, body)
            };
            match sent {
                Some(Sent::Some) => {}
                Some(Sent::Nothing) => return self.when_all_is_sent(py, body),
                Some(Sent::Full) => return Next::Wait(self.alarm.set(py, &body.core, &self.waker)),
                Some(Sent::TooHeavy(weight)) => {
                    let item = shared.line(py);
                    return Next::Over(Outcome::Failed(self.too_large(py, item, &format!("weighs {weight}"), body)));
                }
                Some(Sent::Ended(end)) => return Next::Over(Outcome::Failed(body.send_ended(py, "sluicegate.io", end))),
                None => return Next::Over(Outcome::Stopped),
            }
        }
        Next::Again
    }

    /// Offers what others make. `None`: it is to stop.
    fn offer(&self, py: Python<'_>, shared: &Shared, body: &Py<PyChannelBody>) -> Option<Sent> {
        let (left, outcome) = shared.transfer.offer(py, || ChannelRef(body.clone_ref(py)), &self.waker)?;
        left.settle();
        Some(match outcome {
            Offered::Sent => Sent::Some,
            Offered::Standing => Sent::Full,
            Offered::TooHeavy(weight) => Sent::TooHeavy(weight),
            Offered::Ended(end) => Sent::Ended(end),
        })
    }

    /// Sends what has been made here. `None`: it is to stop, which is asked even if there is nothing to send.
    fn send_batch(&mut self, py: Python<'_>, shared: &Shared, body: &PyChannelBody) -> Option<Sent> {
        let (wakes, result) = shared.transfer.step(py, |counts| {
            let before = self.batch.len();
            if before == 0 {
                return (Wakes::none(), None);
            }
            let (items, weights) = (&mut self.batch.items, &self.batch.weights);
            let (wakes, result) = body.core.send_batch_or_wait(py, items, weights, &mut self.spot, &self.waker);
            let sent = before - self.batch.len();
            counts.add(sent, self.block.advance(sent));
            (wakes, Some(result))
        })?;
        wakes.fire();
        Some(match result {
            None => Sent::Nothing,
            Some(Ok(())) => Sent::Some,
            Some(Err(SendError::Full(()))) => Sent::Full,
            Some(Err(SendError::Ended((), end))) => Sent::Ended(end),
            Some(Err(SendError::TooHeavy(()))) => Sent::TooHeavy(self.batch.weights[self.batch.weights.len() - self.batch.len()]),
        })
    }

    /// What comes next once everything that was read has been sent. Also: is anybody left to send to?
    fn when_all_is_sent(&mut self, py: Python<'_>, body: &PyChannelBody) -> Next {
        if let Some(error) = self.failure.take() {
            return Next::Over(Outcome::Failed(error));
        }
        if self.at_end {
            if self.completes {
                self.sender.get().complete(py);
            }
            return Next::Over(Outcome::Done);
        }
        let end = match body.core.phase(py) {
            Phase::Open => return Next::Read,
            Phase::Cancelled => End::Cancelled,
            Phase::Failed => End::Failed,
            Phase::Completing => End::Completed,
        };
        Next::Over(Outcome::Failed(body.send_ended(py, "sluicegate.io", end)))
    }

    fn lend(&mut self, frames: &Arc<Frames>) {
        if self.lent.len() == LENT {
            self.lent.pop_front();
        }
        self.lent.push_back(Arc::clone(frames));
    }

    /// Something to read to.
    fn spare(&mut self) -> Block {
        let spare = std::mem::take(&mut self.spent);
        if spare.capacity() > 0 {
            return spare;
        }
        let free = self.lent.iter().position(|frames| Arc::strong_count(frames) == 1);
        let frames = free.and_then(|index| self.lent.remove(index)).and_then(Arc::into_inner);
        frames.map_or(spare, Block::reuse)
    }

    /// What the items become, if that may be left to those who receive them: it cannot go wrong, and nobody needs an object before.
    fn form_to_send(&self, body: &PyChannelBody) -> Option<Form> {
        let may_wait = self.block.len() >= WORTH_A_BALE && self.block.longest() <= self.limit;
        let is_decoded_here = matches!(self.decoding, Decoding::Other { .. });
        if may_wait && !is_decoded_here && self.weighing != Weighing::Call && !body.acks { self.block.form() } else { None }
    }

    /// Takes from the block: all that it has left as a range of frames, or else items, as many as there is credit for, and one at least if
    /// there is something to make it of.
    fn fill(&mut self, py: Python<'_>, body: &PyChannelBody, shared: &Shared) {
        if let Some(form) = self.form_to_send(body) {
            let range = self.block.freeze(self.kind, form, self.weighing == Weighing::Length);
            self.lend(range.frames());
            shared.transfer.load(py, range);
        } else {
            self.make_batch(py, body, shared.line(py));
        }
    }

    fn make_batch(&mut self, py: Python<'_>, body: &PyChannelBody, first_line: u64) {
        let (wakes, credit) = body.core.credit(py);
        wakes.fire();
        let most = BATCH.min(self.block.len()).min(usize::try_from(credit).unwrap_or(BATCH).max(1));
        let (mut items, mut weights) = (Vec::with_capacity(most), Vec::new());
        let mut weight_so_far = 0u64;
        for item in self.block.items().take(most) {
            let made = if item.len() > self.limit {
                Err(PyValueError::new_err(format!(
                    "item {} of {} is {} bytes, and the maximum is {}",
                    first_line + items.len() as u64,
                    self.name.shown(),
                    item.len(),
                    self.limit
                )))
            } else {
                self.make(py, self.block.content(self.kind, item), first_line + items.len() as u64)
            };
            let weighed = made.and_then(|item| {
                if self.weighing != Weighing::One {
                    let weight = if self.weighing == Weighing::Length { item.len()? as u64 } else { body.weight(&item)? };
                    weights.push(weight);
                    weight_so_far = weight_so_far.saturating_add(weight);
                }
                Ok(item)
            });
            match weighed {
                Ok(item) => items.push(item.unbind()),
                Err(error) => {
                    self.failure = Some(error);
                    break;
                }
            }
            if weight_so_far >= credit && self.weighing != Weighing::One {
                break;
            }
        }
        if items.is_empty() && self.failure.is_none() && self.unfinished > self.longest_item(body, py) {
            let so_far = self.unfinished;
            self.failure = Some(self.too_large(py, first_line, &format!("is more than {so_far} bytes"), body));
        }
        self.batch = Batch { items: items.into_iter(), weights };
    }

    /// How many bytes an item can have at most, line end and all.
    fn longest_item(&self, body: &PyChannelBody, py: Python<'_>) -> usize {
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
            "item {item} of {} {what}: more than can ever be outstanding at once, which is {most}",
            self.name.shown()
        ))
    }

    #[inline]
    fn make<'py>(&self, py: Python<'py>, content: &[u8], line: u64) -> PyResult<Bound<'py, PyAny>> {
        let (encoding, errors) = match &self.decoding {
            Decoding::Bytes => return Ok(PyBytes::new(py, content).into_any()),
            Decoding::Utf8 { .. } if self.block.form() == Some(Form::Ascii) => return ascii(py, content),
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
}

impl Job for Reading {
    fn run<'a>(&'a mut self, shared: &'a Shared) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(self.work(shared))
    }

    fn fail(&mut self, py: Python<'_>, error: &PyErr) {
        // It is an exception.
        let _ = self.sender.get().fail(py, error.value(py));
    }

    fn park(&mut self, py: Python<'_>, shared: &Shared) {
        shared.transfer.take_back(py).settle();
        let sender = self.sender.clone_ref(py);
        let core = &sender.get().body.get().core;
        self.alarm.stop(py, core);
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

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.sender)?;
        self.batch.items.as_slice().iter().try_for_each(|item| visit.call(item))
    }
}
