//! Reading: from a source into a channel.
//!
//! While detached, the task reads bytes and finds the ends of items. While attached, it offers the items as a bale, which the channel sends as
//! far as there is credit; the receivers then create the objects. If creating the objects may fail, or if there are too few items for a bale,
//! the task creates the objects itself and sends as many as there is credit for. Without credit it waits in the channel's wait queue, as any
//! other sender, and reads nothing, so a slow receiver stops the writer at the other end of a socket. An error is reported after everything
//! before it has been sent.
//!
//! For a file, another thread reads and frames the next block while the current one is delivered (`Ahead`). When a transfer is stopped, that
//! block is kept until it is resumed.

use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::{PyMemoryError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyString;
use sluicegate_core::credits::frames::{Block, Form, Frames, Framing};
use sluicegate_core::credits::{End, Phase, SendError, Waiter};
use sluicegate_core::transfer::Offered;
use sluicegate_core::wait::{Ticket, Wake, Wakes};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::alarm::Alarm;
use super::endpoint::{Endpoint, Name, Stream, Way, os_error, read_full};
use super::runtime::{attached, unless};
use super::threads::{Started, start};
use super::transfer::{ChannelRef, Job, Shared, TaskOutcome};
use crate::credits::PyChannelBody;
use crate::credits::objects::{ascii, bytes};
use crate::credits::sender::PySender;
use crate::rt::Item;
use crate::rt::waker::Waker;

/// The number of bytes read at once from a file that turns out to be long.
const FILE_BLOCK: usize = 1024 * 1024;
/// The number of frames that are remembered, to be read into again.
const LENT: usize = 2;
/// The number of bytes read at first: most files are short.
const FIRST_BLOCK: usize = 16 * 1024;
/// The number of bytes read at once from a pipe or socket, to which others write meanwhile.
const STREAM_BLOCK: usize = 64 * 1024;
/// The largest number of items that are made in one step.
const BATCH: usize = 2048;
/// The smallest batch whose items are created by the receivers. (With fewer, the memory of the block that they keep is not worth it.)
const WORTH_A_BALE: usize = 32;
/// The number of batches that are delivered before other threads get the GIL.
const BATCHES: usize = 4;

/// The type of the items.
#[derive(Debug)]
pub(in crate::io) enum Decoding {
    Bytes,
    /// Text that may begin with a byte order mark, which is not part of it.
    Utf8 {
        errors: String,
        skips_mark: bool,
    },
    Other {
        encoding: String,
        errors: String,
    },
}

impl Decoding {
    fn is_utf8(&self) -> bool {
        matches!(self, Self::Utf8 { .. })
    }
}

/// How an item is weighed.
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
    kind: Framing,
    decoding: Decoding,
    /// The largest item, in bytes.
    limit: usize,
    /// The number of bytes to read next from a file, and the largest such number.
    length: usize,
    longest: usize,
    completes: bool,
    at_end: bool,
    /// True while a byte order mark may still follow.
    expects_mark: bool,
    /// The block that is being delivered, and a block to read into, whose items have been delivered.
    block: Block,
    spent: Block,
    ahead: ReadAhead,
    /// The last frames that were passed on: once all items of one have been received, its memory is reused for reading, which saves page faults.
    lent: VecDeque<Arc<Frames>>,
    /// The number of bytes that have been read of an unfinished item.
    unfinished: usize,
    /// The first items of the block, created here and not sent. (Items that receivers create are kept in the transfer.)
    batch: Batch,
    /// The error to be reported once everything before it has been sent.
    failure: Option<PyErr>,
    waiter: Waiter,
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

/// The result of a step.
enum Sent {
    /// Everything was sent.
    Some,
    /// There was nothing to send.
    Nothing,
    /// Not everything was sent: the rest is in the channel's wait queue.
    Full,
    NoMemory,
    /// The weight of the next item, for which there can never be enough credit.
    TooHeavy(u64),
    Ended(End),
}

/// A framed block, and whether it is the last one.
type Framed = (Block, io::Result<bool>);

/// A block of a file that is read while the previous block is delivered.
#[derive(Debug)]
enum ReadAhead {
    Nothing,
    Running(Started<(File, Framed)>),
    Ready(Framed),
}

/// What the task has to do next.
enum NextStep {
    Read,
    /// Wait for credit; at most this long, if a timed event is due then that may grant credit.
    Wait(Option<Duration>),
    /// Let other threads have the GIL.
    Again,
    Over(TaskOutcome),
}

pub(in crate::io) struct Options {
    pub(in crate::io) name: Name,
    pub(in crate::io) endpoint: Endpoint,
    pub(in crate::io) kind: Framing,
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
        let expects_mark = matches!(decoding, Decoding::Utf8 { skips_mark: true, .. });
        let bound = usize::try_from(body.core.bound(py)).unwrap_or(usize::MAX);
        // A chunk is cut to what can be sent at all.
        let (kind, longest) = match kind {
            Framing::Chunks { size } => {
                let size = if weighing == Weighing::Length { size.min(bound).max(1) } else { size };
                (Framing::Chunks { size }, size * (FILE_BLOCK / size).max(1))
            }
            lines @ Framing::Lines { .. } => (lines, FILE_BLOCK),
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
            // A multiple of the chunk size, so that no chunk is cut at the end of a block.
            length: if matches!(kind, Framing::Lines { .. }) { FIRST_BLOCK } else { longest },
            longest,
            completes,
            at_end: false,
            expects_mark,
            block: Block::default(),
            spent: Block::default(),
            ahead: ReadAhead::Nothing,
            lent: VecDeque::new(),
            unfinished: 0,
            batch: Batch { items: Vec::new().into_iter(), weights: Vec::new() },
            failure: None,
            waiter: Waiter::default(),
            waker: Waker::Future(Arc::clone(signal)),
            watch: None,
            alarm: Alarm::default(),
        }
    }

    async fn work(&mut self, shared: &Shared) -> TaskOutcome {
        let outcome = loop {
            match attached(|py| self.deliver(py, shared)) {
                None => break TaskOutcome::Nowhere,
                Some(NextStep::Over(outcome)) => break outcome,
                Some(NextStep::Wait(None)) => shared.signal.notified().await,
                // After a notification and after the time limit alike, it tries again.
                Some(NextStep::Wait(Some(limit))) => drop(timeout(limit, shared.signal.notified()).await),
                Some(NextStep::Again) => tokio::task::yield_now().await,
                Some(NextStep::Read) => self.read(shared).await,
            }
        };
        // The file is needed for resuming, and no thread may be left behind.
        if let ReadAhead::Running(_) = self.ahead {
            self.ahead = self.read_ahead().await.map_or(ReadAhead::Nothing, ReadAhead::Ready);
        }
        outcome
    }

    /// Reads one more block. An error is reported after what was read before it.
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

    /// Returns false if it was interrupted by a signal.
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

    /// Reads from a source that may have nothing for a long time. `None`: interrupted by a signal, with nothing read. The channel may have ended
    /// meanwhile; the next step that sends finds that out.
    async fn read_now(&mut self, shared: &Shared) -> io::Result<Option<Framed>> {
        let wanted = self.longest.min(STREAM_BLOCK);
        let spare = self.spare();
        let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::NotConnected.into()) };
        let mut next = self.block.follow(spare);
        match unless(&shared.signal, stream.read(next.bytes(), wanted)).await {
            None => {
                // The unfinished item is all that the block contains.
                self.block = next;
                Ok(None)
            }
            Some(outcome) => {
                let outcome = outcome.map(|n| n == 0);
                self.expects_mark = self.expects_mark && !next.skip_mark(matches!(outcome, Ok(true)));
                next.frame(self.kind, self.decoding.is_utf8(), matches!(outcome, Ok(true)));
                Ok(Some((next, outcome)))
            }
        }
    }

    /// Takes the block that was read while the last one was delivered, or reads the first block.
    async fn read_ahead(&mut self) -> io::Result<Framed> {
        if let ReadAhead::Nothing = self.ahead {
            self.start_reading_ahead();
        }
        match std::mem::replace(&mut self.ahead, ReadAhead::Nothing) {
            ReadAhead::Ready(framed) => Ok(framed),
            ReadAhead::Running(reading) => {
                let (file, framed) = reading.answer().await?;
                self.stream = Some(Stream::File(Some(file)));
                Ok(framed)
            }
            ReadAhead::Nothing => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn start_reading_ahead(&mut self) {
        let Some(Stream::File(slot)) = &mut self.stream else { return };
        let Some(file) = slot.take() else { return };
        let spare = self.spare();
        let mut next = self.block.follow(spare);
        let (kind, is_text, length) = (self.kind, self.decoding.is_utf8(), self.length);
        self.length = length.saturating_mul(4).min(self.longest).max(length);
        // The first block contains the whole byte order mark, or is the last block.
        let expects_mark = std::mem::take(&mut self.expects_mark);
        self.ahead = ReadAhead::Running(start(move || {
            let outcome = read_full(&file, next.bytes(), length);
            if expects_mark {
                next.skip_mark(true);
            }
            next.frame(kind, is_text, matches!(outcome, Ok(true)));
            (file, (next, outcome))
        }));
    }

    /// Sends the framed items.
    fn deliver(&mut self, py: Python<'_>, shared: &Shared) -> NextStep {
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
                Some(Sent::Full) => return NextStep::Wait(self.alarm.set(py, &body.core, &self.waker)),
                Some(Sent::NoMemory) => return NextStep::Over(TaskOutcome::Failed(PyMemoryError::new_err(()))),
                Some(Sent::TooHeavy(weight)) => {
                    let item = shared.line(py);
                    return NextStep::Over(TaskOutcome::Failed(self.too_large(py, item, &format!("weighs {weight}"), body)));
                }
                Some(Sent::Ended(end)) => return NextStep::Over(TaskOutcome::Failed(body.send_ended(py, "sluicegate.io", end))),
                None => return NextStep::Over(TaskOutcome::Stopped),
            }
        }
        NextStep::Again
    }

    /// Offers the items that receivers create. `None` if the transfer is to stop.
    fn offer(&self, py: Python<'_>, shared: &Shared, body: &Py<PyChannelBody>) -> Option<Sent> {
        let (left, outcome) = shared.transfer.offer(py, || ChannelRef(body.clone_ref(py)), &self.waker)?;
        left.settle();
        Some(match outcome {
            Offered::Sent => Sent::Some,
            Offered::Waiting => Sent::Full,
            Offered::TooHeavy(weight) => Sent::TooHeavy(weight),
            Offered::Ended(end) => Sent::Ended(end),
        })
    }

    /// Sends the items that were created here. `None` if the transfer is to stop, which is checked even if there is nothing to send.
    fn send_batch(&mut self, py: Python<'_>, shared: &Shared, body: &PyChannelBody) -> Option<Sent> {
        let (wakes, result) = shared.transfer.step(py, |counts| {
            let before = self.batch.len();
            if before == 0 {
                return (Wakes::none(), None);
            }
            let (items, weights) = (&mut self.batch.items, &self.batch.weights);
            let (wakes, result) = body.core.send_batch_or_wait(py, items, weights, &mut self.waiter, &self.waker);
            let sent = before - self.batch.len();
            counts.add(sent, self.block.advance(sent));
            (wakes, Some(result))
        })?;
        wakes.fire();
        Some(match result {
            None => Sent::Nothing,
            Some(Ok(())) => Sent::Some,
            Some(Err(SendError::Full(()))) => Sent::Full,
            Some(Err(SendError::NoMemory(()))) => Sent::NoMemory,
            Some(Err(SendError::Ended((), end))) => Sent::Ended(end),
            Some(Err(SendError::TooHeavy(()))) => Sent::TooHeavy(self.batch.weights[self.batch.weights.len() - self.batch.len()]),
        })
    }

    /// The next step once everything that was read has been sent. Also checks whether the channel has ended.
    fn when_all_is_sent(&mut self, py: Python<'_>, body: &PyChannelBody) -> NextStep {
        if let Some(error) = self.failure.take() {
            return NextStep::Over(TaskOutcome::Failed(error));
        }
        if self.at_end {
            if self.completes {
                self.sender.get().complete(py);
            }
            return NextStep::Over(TaskOutcome::Done);
        }
        let end = match body.core.phase(py) {
            Phase::Open => return NextStep::Read,
            Phase::Cancelled => End::Cancelled,
            Phase::Failed => End::Failed,
            Phase::Completing => End::Completed,
        };
        NextStep::Over(TaskOutcome::Failed(body.send_ended(py, "sluicegate.io", end)))
    }

    fn lend(&mut self, frames: &Arc<Frames>) {
        if self.lent.len() == LENT {
            self.lent.pop_front();
        }
        self.lent.push_back(Arc::clone(frames));
    }

    /// A block to read into.
    fn spare(&mut self) -> Block {
        let spare = std::mem::take(&mut self.spent);
        if spare.capacity() > 0 {
            return spare;
        }
        let free = self.lent.iter().position(|frames| Arc::strong_count(frames) == 1);
        let frames = free.and_then(|index| self.lent.remove(index)).and_then(Arc::into_inner);
        frames.map_or(spare, Block::reuse)
    }

    /// The form of the items, if the receivers can create them: creating them cannot fail, and no object is needed before.
    fn form_to_send(&self, body: &PyChannelBody) -> Option<Form> {
        let may_wait = self.block.len() >= WORTH_A_BALE && self.block.longest() <= self.limit;
        let is_decoded_here = matches!(self.decoding, Decoding::Other { .. });
        if may_wait && !is_decoded_here && self.weighing != Weighing::Call && !body.acks { self.block.form() } else { None }
    }

    /// Takes from the block: either all items that are left, as a range of frames, or as many created items as there is credit for, at least one
    /// if there is any.
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
                body.in_lane(&item)
            });
            match weighed {
                Ok(item) => items.push(item),
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

    /// The largest number of bytes in an item, with its line end.
    fn longest_item(&self, body: &PyChannelBody, py: Python<'_>) -> usize {
        let bound = match (self.weighing, &self.decoding) {
            (Weighing::Length, Decoding::Bytes) => usize::try_from(body.core.bound(py)).unwrap_or(usize::MAX).saturating_add(2),
            // A character has at most four bytes.
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
            Decoding::Bytes => return bytes(py, content),
            Decoding::Utf8 { .. } if self.block.form() == Some(Form::Ascii) => return ascii(py, content),
            Decoding::Utf8 { errors, .. } => match std::str::from_utf8(content) {
                Ok(text) => return PyString::from_bytes(py, text.as_bytes()).map(Bound::into_any),
                Err(_) => ("utf-8", errors.as_str()),
            },
            Decoding::Other { encoding, errors } => (encoding.as_str(), errors.as_str()),
        };
        bytes(py, content)?.call_method1("decode", (encoding, errors)).inspect_err(|error| {
            // Adds the position in the file: the exception itself only has the position in the line.
            let value = error.value(py);
            if let Ok(reason) = value.getattr("reason") {
                let _ = value.setattr("reason", format!("{reason}, in line {line} of {}", self.name.shown()));
            }
        })
    }
}

impl Job for Reading {
    fn run<'a>(&'a mut self, shared: &'a Shared) -> Pin<Box<dyn Future<Output = TaskOutcome> + Send + 'a>> {
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
        core.leave(py, &mut self.waiter).fire();
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
