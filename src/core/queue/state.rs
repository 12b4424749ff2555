//! The state of a queue, and what it becomes by one step. Only ever touched inside its section; the operations are in `ops`.

use std::fmt;

use crate::buffer::Buffer;
use crate::clock::{Clock, Nanos};
use crate::monitor::{self, Lobby, Waits};
use crate::sync::{ThreadMark, this_thread};
use crate::wait::{Wake, Wakes};

/// No bound.
pub const UNBOUNDED: usize = usize::MAX;

/// Why an item was not taken in. It comes back.
#[derive(Debug, PartialEq, Eq)]
pub enum PutError<T> {
    /// No room, or others are entitled to it.
    Full(T),
    ShutDown(T),
}

/// Why there is no item.
#[derive(Debug, PartialEq, Eq)]
pub enum GetError {
    /// Nothing there, or others are entitled to it.
    Empty,
    /// Nothing there, and nothing will come.
    ShutDown,
}

/// How an operation that holds no place in line is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It cannot wait: it takes what is there, whoever waits.
    Immediate,
    /// It can wait, in the queue's line: if the door is shut it has to.
    Queued,
}

/// The lines of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Put,
    Get,
    Join,
    Baton,
}

/// The place of one operation in one of the lines; [`Queue::leave`](super::Queue::leave) gives it up.
pub type Spot = crate::wait::Spot<Side>;

/// What a queue has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub size: usize,
    /// [`UNBOUNDED`] for none.
    pub limit: usize,
    pub puts: u64,
    pub gets: u64,
    pub unfinished: i64,
    pub peak_size: usize,
    pub waiting_putters: usize,
    pub waiting_getters: usize,
    pub waiting_joiners: usize,
    /// Summed over all waits, those still going on too.
    pub put_blocked: Nanos,
    pub get_blocked: Nanos,
    /// Since a putter first found it full, while it still is.
    pub full_for: Nanos,
    pub shut: bool,
}

impl<B: Buffer, W: Wake, X> fmt::Debug for State<B, W, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

/// Who works outside the section, and who waits for it.
#[derive(Debug, Default)]
pub struct Baton {
    pub(super) holder: Option<ThreadMark>,
}

impl Baton {
    fn forget(&mut self) {
        // The thread that forked goes on, in the child too, with what it holds.
        if self.holder != Some(this_thread()) {
            self.holder = None;
        }
    }
}

/// Who works on a queue, and whose stream it is.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) workers: usize,
    pub(super) open_ends: usize,
    /// The last end has left it to the workers to shut the queue down.
    pub(super) left_to_workers: bool,
}

/// Everything a queue knows. Only ever touched inside its section.
///
/// `X` is what the owner of the queue keeps beside it and wants changed in one step with it: whoever sees the one sees the other.
pub struct State<B: Buffer, W: Wake, X = ()> {
    pub(super) buffer: B,
    pub(super) extras: X,
    /// [`UNBOUNDED`] for none.
    pub(super) limit: usize,
    /// Places promised to items that are on their way out of an iterator.
    pub(super) reserved: usize,
    pub(super) shut: bool,
    pub(super) unfinished: i64,
    pub(super) puts: u64,
    pub(super) gets: u64,
    pub(super) peak: usize,
    pub(super) full_since: Option<Nanos>,
    pub(super) work: Work,
    pub(super) baton: Baton,
    pub(super) lobby: Lobby<W, 4>,
}

impl<B: Buffer, W: Wake, X> State<B, W, X> {
    pub(super) fn new(buffer: B, extras: X, limit: usize, clock: Clock<W>) -> Self {
        Self {
            buffer,
            extras,
            limit,
            reserved: 0,
            shut: false,
            unfinished: 0,
            puts: 0,
            gets: 0,
            peak: 0,
            full_since: None,
            work: Work::default(),
            baton: Baton::default(),
            lobby: Lobby::new(clock),
        }
    }

    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.buffer.len() + self.reserved < self.limit
    }

    pub(super) fn room(&self) -> usize {
        if self.limit == UNBOUNDED { UNBOUNDED } else { self.limit.saturating_sub(self.buffer.len() + self.reserved) }
    }

    /// Shut, and nothing left that could still come out.
    pub(super) fn is_drained(&self) -> bool {
        self.shut && self.buffer.is_empty() && self.reserved == 0
    }

    /// Must whoever comes to this line in this way go to its end, whatever there is?
    #[inline]
    pub(super) fn is_barred(&self, side: Side, admission: Admission) -> bool {
        admission == Admission::Queued && self.lobby.line(side).door_is_shut()
    }

    /// Why a get finds no item.
    pub(super) fn nothing(&self) -> GetError {
        if self.is_drained() { GetError::ShutDown } else { GetError::Empty }
    }

    /// Everything that was put has been processed. Not while another thread works outside the section: a put of its own may replace an item,
    /// and what it calls done meanwhile does not count before what it puts.
    pub(super) fn is_finished(&self) -> bool {
        self.unfinished <= 0 && self.baton.holder.is_none_or(|holder| holder == this_thread())
    }

    pub(super) fn is_ready(&self, side: Side) -> bool {
        self.shut || if side == Side::Put { self.has_room() } else { !self.buffer.is_empty() }
    }

    #[inline]
    pub(super) fn store(&mut self, item: B::Item) {
        self.buffer.push(item);
        self.stored(1);
    }

    #[inline]
    #[expect(clippy::cast_possible_wrap, reason = "a count of items in memory")]
    pub(super) fn stored(&mut self, n: usize) {
        self.puts += n as u64;
        self.unfinished += n as i64;
        self.peak = self.peak.max(self.buffer.len());
    }

    #[inline]
    pub(super) fn taken(&mut self, n: usize) {
        self.gets += n as u64;
        self.full_since = None;
    }

    /// Wakes whom the state now allows to go. Call it after every change.
    #[inline(never)]
    pub(super) fn settle(&mut self, wakes: &mut Wakes<W>) {
        self.forget_after_fork();
        self.finish_work();
        let shut = self.shut;
        if !self.lobby.line(Side::Put).nobody_waits() {
            let room = self.room() as u64;
            self.lobby.line_mut(Side::Put).wake_while(wakes, |want, claimed| shut || claimed.saturating_add(want) <= room);
        }
        if !self.lobby.line(Side::Get).nobody_waits() {
            let size = self.buffer.len() as u64;
            let ended = shut && self.reserved == 0;
            // A batch that lingers takes less than it hoped for rather than keep producers waiting.
            let pressed = shut || !self.has_room() || !self.lobby.line(Side::Put).is_empty();
            self.lobby
                .line_mut(Side::Get)
                .wake_while(wakes, |want, claimed| ended || claimed.saturating_add(if pressed { 1 } else { want }) <= size);
        }
        if self.unfinished <= 0 && self.baton.holder.is_none() && !self.lobby.line(Side::Join).is_empty() {
            self.lobby.line_mut(Side::Join).release_all(wakes);
        }
    }

    /// The operation waits no longer and takes nothing: its turn, if it had one, goes to the next.
    pub(super) fn give_up(&mut self, spot: &mut Spot, wakes: &mut Wakes<W>) {
        self.lobby.vacate(spot, wakes);
        self.settle_all(wakes);
    }

    pub(super) fn note_full(&mut self) {
        if self.full_since.is_none() && self.buffer.len() + self.reserved >= self.limit {
            self.full_since = Some(self.lobby.clock.now());
        }
    }

    #[inline]
    pub(super) fn put(&mut self, item: B::Item, admission: Admission, wakes: &mut Wakes<W>) -> Result<(), PutError<B::Item>> {
        if self.shut {
            return Err(PutError::ShutDown(item));
        }
        if !self.has_room() || self.is_barred(Side::Put, admission) {
            return self.put_refused(item, admission, wakes);
        }
        self.store(item);
        if !self.lobby.line(Side::Get).nobody_waits() {
            self.settle(wakes);
        }
        Ok(())
    }

    #[cold]
    pub(super) fn put_refused(
        &mut self,
        item: B::Item,
        admission: Admission,
        wakes: &mut Wakes<W>,
    ) -> Result<(), PutError<B::Item>> {
        if self.forget_after_fork() {
            return self.put(item, admission, wakes);
        }
        if admission == Admission::Immediate {
            self.note_full();
        }
        Err(PutError::Full(item))
    }

    #[inline]
    pub(super) fn get(&mut self, admission: Admission, wakes: &mut Wakes<W>) -> Result<B::Item, GetError> {
        if self.is_barred(Side::Get, admission) && !self.forget_after_fork() {
            return Err(GetError::Empty);
        }
        let Some(item) = self.buffer.pop() else {
            return Err(self.nothing());
        };
        self.taken(1);
        if !self.lobby.line(Side::Put).nobody_waits() {
            self.settle(wakes);
        }
        Ok(item)
    }

    pub(super) fn shut_down(&mut self, wakes: &mut Wakes<W>) {
        self.shut = true;
        self.settle(wakes);
    }

    /// The unfinished count falls by what was thrown away, never below zero (people set it by hand).
    #[expect(clippy::cast_possible_wrap, reason = "a count of items in memory")]
    pub(super) fn discarded(&mut self, n: usize) {
        self.unfinished = (self.unfinished - n as i64).max(self.unfinished.min(0));
        self.full_since = None;
    }
}

impl Side {
    const fn line(self) -> usize {
        self as usize
    }
}

impl monitor::Side for Side {
    #[inline]
    fn index(self) -> usize {
        self.line()
    }
}

impl<B: Buffer, W: Wake, X> Waits<W, 4> for State<B, W, X> {
    type Side = Side;

    #[inline]
    fn lobby(&self) -> &Lobby<W, 4> {
        &self.lobby
    }

    #[inline]
    fn lobby_mut(&mut self) -> &mut Lobby<W, 4> {
        &mut self.lobby
    }

    /// As `settle`, and the line for the baton too.
    fn settle_all(&mut self, wakes: &mut Wakes<W>) {
        self.settle(wakes);
        self.settle_baton(wakes);
    }

    fn forget_more(&mut self) {
        self.baton.forget();
        self.reserved = 0;
    }
}
