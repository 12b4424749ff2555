//! A bounded queue: items in a [`Buffer`], putters and getters in two lines, unfinished work and shutdown, in one section.
//!
//! # Algorithm
//! A monitor without a held lock. Every operation is one visit to the section, which either happens wholly or leaves a place in a
//! line. After every change [`State::settle`] wakes as many waiters as the new state has room or items for, less what those already
//! woken may claim (see [`wait`](crate::wait)). An operation that has waited comes back with its [`Spot`] and tries again.
//!
//! # Fairness
//! Items leave in the buffer's order. Waiters are woken in the order they came; an arrival may pass a woken one until that has missed
//! twice, then arrivals that can wait go to the end of the line. [`Turn::Now`] never waits and so never stands in line: it answers
//! truthfully from what is there.
//!
//! # Cancellation
//! Whoever stops waiting calls [`Queue::leave`] with its spot; a wake-up it may have been given goes to the next.
//!
//! # What it does not do
//! It knows no deadlines and parks nobody: the caller does, with the waker it passed in.
//!
//! Files: this one is the state and the operations on single items; `batch` moves many at once; `baton` is the slow way, for buffers
//! whose order needs foreign code.

mod batch;
mod baton;

pub use batch::{BatchError, Linger};
pub use baton::{Admitted, Baton, Taken};

use std::fmt;

use crate::buffer::Buffer;
use crate::clock::{Clock, Nanos};
use crate::fork;
use crate::section::{Domain, Section};
use crate::wait::spot::Held;
use crate::wait::{Blocked, Line, Ticket, Wake, Wakes};

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

/// How an operation that holds no place comes to the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It cannot wait: what is there is there for it, whoever waits.
    Now,
    /// It can wait: if the door is shut it has to.
    Arrival,
}

/// The lines of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Put,
    Get,
    Join,
    Baton,
}

/// The place of one operation in one of the lines; [`Queue::leave`] gives it up.
pub type Spot = crate::wait::Spot<Side>;

/// What a queue has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub size: usize,
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

impl<B: Buffer, W: Wake> fmt::Debug for State<B, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

/// Everything a queue knows. Only ever touched inside its section.
pub struct State<B: Buffer, W: Wake> {
    buffer: B,
    /// [`UNBOUNDED`] for none.
    limit: usize,
    /// Places promised to items that are on their way out of an iterator.
    reserved: usize,
    shut: bool,
    unfinished: i64,
    puts: u64,
    gets: u64,
    peak: usize,
    full_since: Option<Nanos>,
    getters: Line<W>,
    putters: Line<W>,
    joiners: Line<W>,
    baton: Baton<W>,
    put_blocked: Blocked,
    get_blocked: Blocked,
    clock: Clock<W>,
    generation: u64,
}

impl<B: Buffer, W: Wake> State<B, W> {
    fn new(buffer: B, limit: usize, clock: Clock<W>) -> Self {
        Self {
            buffer,
            limit,
            reserved: 0,
            shut: false,
            unfinished: 0,
            puts: 0,
            gets: 0,
            peak: 0,
            full_since: None,
            getters: Line::default(),
            putters: Line::default(),
            joiners: Line::default(),
            baton: Baton::default(),
            put_blocked: Blocked::default(),
            get_blocked: Blocked::default(),
            clock,
            generation: fork::generation(),
        }
    }

    fn line(&mut self, side: Side) -> &mut Line<W> {
        match side {
            Side::Put => &mut self.putters,
            Side::Get => &mut self.getters,
            Side::Join => &mut self.joiners,
            Side::Baton => &mut self.baton.line,
        }
    }

    fn blocked(&mut self, side: Side) -> Option<&mut Blocked> {
        match side {
            Side::Put => Some(&mut self.put_blocked),
            Side::Get => Some(&mut self.get_blocked),
            Side::Join | Side::Baton => None,
        }
    }

    #[inline]
    fn has_room(&self) -> bool {
        self.buffer.len() + self.reserved < self.limit
    }

    fn room(&self) -> usize {
        if self.limit == UNBOUNDED { UNBOUNDED } else { self.limit.saturating_sub(self.buffer.len() + self.reserved) }
    }

    /// Shut, and nothing left that could still come out.
    fn is_drained(&self) -> bool {
        self.shut && self.buffer.is_empty() && self.reserved == 0
    }

    #[inline]
    fn store(&mut self, item: B::Item) {
        self.buffer.push(item);
        self.stored(1);
    }

    #[inline]
    #[expect(clippy::cast_possible_wrap, reason = "a count of items in memory")]
    fn stored(&mut self, n: usize) {
        self.puts += n as u64;
        self.unfinished += n as i64;
        self.peak = self.peak.max(self.buffer.len());
    }

    #[inline]
    fn taken(&mut self, n: usize) {
        self.gets += n as u64;
        self.full_since = None;
    }

    /// Wakes whom the state now allows to go. Call it after every change.
    #[inline(never)]
    fn settle(&mut self, wakes: &mut Wakes<W>) {
        self.forget_after_fork();
        let shut = self.shut;
        if !self.putters.nobody_waits() {
            let room = self.room() as u64;
            self.putters.wake_while(wakes, |want, claimed| shut || claimed.saturating_add(want) <= room);
        }
        if !self.getters.nobody_waits() {
            let size = self.buffer.len() as u64;
            let ended = shut && self.reserved == 0;
            // A batch that lingers takes less than it hoped for rather than keep producers waiting.
            let pressed = shut || !self.has_room() || !self.putters.is_empty();
            self.getters
                .wake_while(wakes, |want, claimed| ended || claimed.saturating_add(if pressed { 1 } else { want }) <= size);
        }
        if self.unfinished <= 0 && !self.joiners.is_empty() {
            self.joiners.release_all(wakes);
        }
    }

    /// As `settle`, and the line for the baton too.
    fn settle_all(&mut self, wakes: &mut Wakes<W>) {
        self.settle(wakes);
        self.baton.settle(wakes);
    }

    /// Every wait in the lines is the parent's; nothing of them is ours to touch. True if there was something to forget.
    #[inline]
    fn forget_after_fork(&mut self) -> bool {
        let generation = fork::generation();
        if self.generation == generation {
            return false;
        }
        self.forget(generation);
        true
    }

    #[cold]
    #[inline(never)]
    fn forget(&mut self, generation: u64) {
        self.generation = generation;
        self.putters.forget();
        self.getters.forget();
        self.joiners.forget();
        self.baton.forget();
        self.reserved = 0;
        self.put_blocked.forget();
        self.get_blocked.forget();
    }

    /// May the operation with this spot go, if there is something to go for?
    fn has_turn(&mut self, side: Side, spot: &mut Spot) -> bool {
        match &spot.0 {
            Some(held) if held.side == side => {
                let ticket = held.ticket;
                let line = self.line(side);
                if line.contains(ticket) {
                    return line.may_try(ticket);
                }
                spot.0 = None; // forgotten after a fork: it comes again
                !self.line(side).door_is_shut()
            }
            _ => !self.line(side).door_is_shut(),
        }
    }

    /// The operation has to wait: it takes a place, or goes back to waiting in the one it has.
    fn stay(&mut self, side: Side, spot: &mut Spot, waker: &W, wakes: &mut Wakes<W>) {
        match spot.place() {
            Some((held, ticket)) if held == side && self.line(side).contains(ticket) => self.line(side).miss(ticket),
            _ => {
                self.vacate(spot, wakes);
                let now = self.clock.now();
                let ticket = self.line(side).join(waker.share(), 1);
                if let Some(blocked) = self.blocked(side) {
                    blocked.begin(now);
                }
                spot.0 = Some(Held { side, ticket, since: now });
            }
        }
    }

    /// The operation waits no longer.
    fn vacate(&mut self, spot: &mut Spot, wakes: &mut Wakes<W>) {
        let Some(held) = spot.0.take() else { return };
        if let Some(waker) = self.line(held.side).leave(held.ticket) {
            wakes.discard(waker);
            let now = self.clock.now();
            if let Some(blocked) = self.blocked(held.side) {
                blocked.end(held.since, now);
            }
        }
    }

    /// The operation waits no longer and takes nothing: its turn, if it had one, goes to the next.
    fn give_up(&mut self, spot: &mut Spot, wakes: &mut Wakes<W>) {
        self.vacate(spot, wakes);
        self.settle_all(wakes);
    }

    fn note_full(&mut self) {
        if self.full_since.is_none() && self.buffer.len() + self.reserved >= self.limit {
            self.full_since = Some(self.clock.now());
        }
    }

    #[inline]
    fn put(&mut self, item: B::Item, turn: Turn, wakes: &mut Wakes<W>) -> Result<(), PutError<B::Item>> {
        if self.shut {
            return Err(PutError::ShutDown(item));
        }
        if !self.has_room() || (turn == Turn::Arrival && self.putters.door_is_shut()) {
            return self.put_refused(item, turn, wakes);
        }
        self.store(item);
        if !self.getters.nobody_waits() {
            self.settle(wakes);
        }
        Ok(())
    }

    #[cold]
    fn put_refused(&mut self, item: B::Item, turn: Turn, wakes: &mut Wakes<W>) -> Result<(), PutError<B::Item>> {
        if self.forget_after_fork() {
            return self.put(item, turn, wakes);
        }
        if turn == Turn::Now {
            self.note_full();
        }
        Err(PutError::Full(item))
    }

    #[inline]
    fn get(&mut self, turn: Turn, wakes: &mut Wakes<W>) -> Result<B::Item, GetError> {
        if turn == Turn::Arrival && self.getters.door_is_shut() && !self.forget_after_fork() {
            return Err(GetError::Empty);
        }
        let Some(item) = self.buffer.pop() else {
            return Err(if self.is_drained() { GetError::ShutDown } else { GetError::Empty });
        };
        self.taken(1);
        if !self.putters.nobody_waits() {
            self.settle(wakes);
        }
        Ok(item)
    }

    fn shut_down(&mut self, wakes: &mut Wakes<W>) {
        self.shut = true;
        self.settle(wakes);
    }

    /// The unfinished count falls by what was thrown away, never below zero (people set it by hand).
    #[expect(clippy::cast_possible_wrap, reason = "a count of items in memory")]
    fn discarded(&mut self, n: usize) {
        self.unfinished = (self.unfinished - n as i64).max(self.unfinished.min(0));
        self.full_since = None;
    }
}

/// A bounded queue, see the head of this file. `W` is how its waiters are told, `D` what guards its section.
pub struct Queue<B: Buffer, W: Wake, D: Domain> {
    section: Section<State<B, W>, D>,
}

impl<B: Buffer, W: Wake, D: Domain> Queue<B, W, D> {
    pub fn new(buffer: B, limit: usize, clock: Clock<W>) -> Self {
        Self { section: Section::new(State::new(buffer, limit, clock)) }
    }

    /// One visit to the section that may wake others.
    #[inline]
    fn visit<R>(&self, proof: D::Proof<'_>, critical: impl FnOnce(&mut State<B, W>, &mut Wakes<W>) -> R) -> (Wakes<W>, R) {
        let mut wakes = Wakes::none();
        let result = self.section.with(proof, |state| critical(state, &mut wakes));
        (wakes, result)
    }

    /// Is this thread inside the section already? Every other operation would then panic.
    #[inline]
    pub fn is_entered(&self, proof: D::Proof<'_>) -> bool {
        self.section.is_entered(proof)
    }

    /// Puts without waiting.
    #[inline]
    pub fn try_put(&self, proof: D::Proof<'_>, item: B::Item, turn: Turn) -> (Wakes<W>, Result<(), PutError<B::Item>>) {
        self.visit(proof, |state, wakes| state.put(item, turn, wakes))
    }

    /// Gets without waiting.
    #[inline]
    pub fn try_get(&self, proof: D::Proof<'_>, turn: Turn) -> (Wakes<W>, Result<B::Item, GetError>) {
        self.visit(proof, |state, wakes| state.get(turn, wakes))
    }

    /// Puts, or takes (or keeps) a place in line: after `Full` the spot is held, and `waker` will be woken.
    pub fn put_or_wait(
        &self,
        proof: D::Proof<'_>,
        item: B::Item,
        spot: &mut Spot,
        waker: &W,
    ) -> (Wakes<W>, Result<(), PutError<B::Item>>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            if state.shut {
                state.give_up(spot, wakes);
                return Err(PutError::ShutDown(item));
            }
            if state.has_turn(Side::Put, spot) && state.has_room() {
                state.vacate(spot, wakes);
                state.store(item);
                state.settle(wakes);
                return Ok(());
            }
            state.stay(Side::Put, spot, waker, wakes);
            state.note_full();
            state.settle(wakes);
            Err(PutError::Full(item))
        })
    }

    /// Gets, or takes (or keeps) a place in line: after `Empty` the spot is held, and `waker` will be woken.
    pub fn get_or_wait(&self, proof: D::Proof<'_>, spot: &mut Spot, waker: &W) -> (Wakes<W>, Result<B::Item, GetError>) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            if state.has_turn(Side::Get, spot) {
                if let Some(item) = state.buffer.pop() {
                    state.vacate(spot, wakes);
                    state.taken(1);
                    state.settle(wakes);
                    return Ok(item);
                }
            }
            if state.is_drained() {
                state.give_up(spot, wakes);
                return Err(GetError::ShutDown);
            }
            state.stay(Side::Get, spot, waker, wakes);
            state.settle(wakes);
            Err(GetError::Empty)
        })
    }

    /// True when nothing is unfinished, or was so at some moment since the spot was taken; else the spot is held.
    pub fn join_or_wait(&self, proof: D::Proof<'_>, spot: &mut Spot, waker: &W) -> (Wakes<W>, bool) {
        self.visit(proof, |state, wakes| {
            let forgotten = state.forget_after_fork();
            // Released joiners are out of the line: the count reached zero while they waited, whatever it is now.
            let released = !forgotten && spot.0.as_ref().is_some_and(|held| !state.joiners.contains(held.ticket));
            if released || state.unfinished <= 0 {
                state.vacate(spot, wakes);
                return true;
            }
            if forgotten {
                spot.0 = None;
            }
            state.stay(Side::Join, spot, waker, wakes);
            false
        })
    }

    /// Takes (or keeps) a place in line without wanting to take anything: true once there is room (`Side::Put`) or an item
    /// (`Side::Get`), or the queue is shut down.
    pub fn ready_or_wait(&self, proof: D::Proof<'_>, side: Side, spot: &mut Spot, waker: &W) -> (Wakes<W>, bool) {
        self.visit(proof, |state, wakes| {
            state.forget_after_fork();
            let ready = state.shut || if side == Side::Put { state.has_room() } else { !state.buffer.is_empty() };
            if ready {
                state.vacate(spot, wakes);
            } else {
                state.stay(side, spot, waker, wakes);
            }
            state.settle(wakes); // its turn, if it had one, goes to the next: it takes nothing
            ready
        })
    }

    /// Stops waiting. A wake-up that had been given goes to the next in line. Safe to call at any time, any number of times.
    pub fn leave(&self, proof: D::Proof<'_>, spot: &mut Spot) -> Wakes<W> {
        if !spot.is_held() {
            return Wakes::none();
        }
        self.visit(proof, |state, wakes| state.give_up(spot, wakes)).0
    }

    /// Whoever holds this place is kept from coming (by a signal handler that waits in the middle of the wait): a turn it has been
    /// given goes to the next. It keeps its place until [`Queue::step_back`].
    pub fn step_aside(&self, proof: D::Proof<'_>, (side, ticket): (Side, Ticket)) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.line(side).step_aside(ticket);
            state.settle_all(wakes);
        })
        .0
    }

    /// Back in line after [`Queue::step_aside`]; no effect without it.
    pub fn step_back(&self, proof: D::Proof<'_>, (side, ticket): (Side, Ticket)) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.line(side).step_back(ticket);
            state.settle_all(wakes);
        })
        .0
    }

    /// One piece of work done. False if there was none.
    pub fn task_done(&self, proof: D::Proof<'_>) -> (Wakes<W>, bool) {
        self.visit(proof, |state, wakes| {
            if state.unfinished <= 0 {
                return false;
            }
            state.unfinished -= 1;
            if state.unfinished == 0 {
                state.settle(wakes);
            }
            true
        })
    }

    /// No more puts; gets drain what is there. Idempotent.
    pub fn shut_down(&self, proof: D::Proof<'_>) -> Wakes<W> {
        self.visit(proof, State::shut_down).0
    }

    /// Takes items out through `drain`, which says how many, and counts them off the unfinished work; if `shut`, shuts down. All in
    /// one step.
    pub fn clear<R>(&self, proof: D::Proof<'_>, shut: bool, drain: impl FnOnce(&mut B) -> (R, usize)) -> (Wakes<W>, R) {
        self.visit(proof, |state, wakes| {
            let (drained, count) = drain(&mut state.buffer);
            state.discarded(count);
            if shut {
                state.reserved = 0; // what is still on its way is thrown away too, see `fulfil`
                state.shut = true;
            }
            state.settle(wakes);
            drained
        })
    }

    /// Back to the beginning, with the buffer that `empty` leaves; those who wait go on waiting.
    pub fn reset<R>(&self, proof: D::Proof<'_>, empty: impl FnOnce(&mut B) -> R, limit: usize, clock: Clock<W>) -> (Wakes<W>, R) {
        self.visit(proof, |state, wakes| {
            let old = empty(&mut state.buffer);
            state.limit = limit;
            state.clock = clock;
            state.reserved = 0;
            state.shut = false;
            state.unfinished = 0;
            state.full_since = None;
            state.settle(wakes);
            old
        })
    }

    pub fn set_limit(&self, proof: D::Proof<'_>, limit: usize) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.limit = limit;
            if state.has_room() {
                state.full_since = None;
            }
            state.settle(wakes);
        })
        .0
    }

    pub fn limit(&self, proof: D::Proof<'_>) -> usize {
        self.section.with(proof, |state| state.limit)
    }

    pub fn set_unfinished(&self, proof: D::Proof<'_>, unfinished: i64) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.unfinished = unfinished;
            state.settle(wakes);
        })
        .0
    }

    #[inline]
    pub fn size(&self, proof: D::Proof<'_>) -> usize {
        self.section.with(proof, |state| state.buffer.len())
    }

    /// The size has reached the limit (places that are promised do not count: nothing is there yet).
    pub fn is_full(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| state.buffer.len() >= state.limit)
    }

    pub fn unfinished(&self, proof: D::Proof<'_>) -> i64 {
        self.section.with(proof, |state| state.unfinished)
    }

    pub fn is_shut(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| state.shut)
    }

    /// Nothing left, and nothing will come.
    pub fn is_drained(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| state.is_drained())
    }

    pub fn clock(&self, proof: D::Proof<'_>) -> Clock<W> {
        self.section.with(proof, |state| state.clock.clone())
    }

    pub fn statistics(&self, proof: D::Proof<'_>) -> Statistics {
        self.section.with(proof, |state| {
            state.forget_after_fork();
            let now = state.clock.now();
            Statistics {
                size: state.buffer.len(),
                puts: state.puts,
                gets: state.gets,
                unfinished: state.unfinished,
                peak_size: state.peak,
                waiting_putters: state.putters.len(),
                waiting_getters: state.getters.len(),
                waiting_joiners: state.joiners.len(),
                put_blocked: state.put_blocked.total(now),
                get_blocked: state.get_blocked.total(now),
                full_for: state.full_since.map_or(0, |since| now.saturating_sub(since)),
                shut: state.shut,
            }
        })
    }

    /// Looks at the buffer, or works on it in ways that change neither its size nor what it counts.
    pub fn with_buffer<R>(&self, proof: D::Proof<'_>, look: impl FnOnce(&mut B) -> R) -> R {
        self.section.with(proof, |state| look(&mut state.buffer))
    }

    /// The buffer, and every waker in every line, each once.
    pub fn visit_contents(&self, proof: D::Proof<'_>, buffer: impl FnOnce(&B), mut waker: impl FnMut(&W)) {
        self.section.with(proof, |state| {
            if state.generation == fork::generation() {
                for line in [&state.putters, &state.getters, &state.joiners, &state.baton.line] {
                    line.wakers().for_each(&mut waker);
                }
            }
            buffer(&state.buffer);
        });
    }
}

impl<B: Buffer, W: Wake, D: Domain> fmt::Debug for Queue<B, W, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}
