//! `Subscriber`: the items that one subscriber has not taken yet, the number it has missed, and its waiters.

use std::collections::VecDeque;

use super::ring::{Displaced, Ring};
use crate::clock::{Clock, Nanos};
use crate::monitor::{MonitorState, WaitQueues, wait_queues};
use crate::wait::{Wake, Wakes};

/// The policy for an item that is published to a full subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Its oldest item is dropped.
    DropOldest,
    /// The new item is dropped for this subscriber.
    DropNewest,
    /// The publisher waits.
    Block,
    /// The subscriber is disconnected.
    Disconnect,
}

/// Why a subscriber gets no further items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    ShutDown,
    Disconnected,
    Closed,
}

/// Why there is no item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GetError {
    Empty,
    Ended(Ended),
    /// None for a batch. Nothing has been taken.
    NoMemory,
}

/// The statistics of one subscriber.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriberStatistics {
    /// Items that have not been taken yet.
    pub size: usize,
    pub peak_size: usize,
    pub gets: u64,
    /// Items that were published while it was full, and dropped for it.
    pub dropped: u64,
    /// The part of them that was published before the item that was taken last.
    pub missed: u64,
    pub waiting_getters: usize,
    /// The sum over all waits, including those that have not ended.
    pub get_blocked: Nanos,
    pub disconnected: bool,
    pub closed: bool,
}

/// A subscriber's remaining items leave the section in batches of this size, so that removing them needs little memory.
const GIVEN_UP_AT_ONCE: usize = 64;

/// Consecutive items of the ring, without a gap, that all go to this subscriber.
#[derive(Debug)]
struct Run {
    start: u64,
    end: u64,
    /// The number of items that were dropped before the run.
    missed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Disconnected,
    Closed,
}

#[derive(Debug)]
pub(super) struct Subscriber<W> {
    limit: usize,
    pub(super) overflow: Overflow,
    phase: Phase,
    runs: VecDeque<Run>,
    len: usize,
    /// The number of items that were dropped after the last run.
    dropped_since: u64,
    peak: usize,
    gets: u64,
    dropped: u64,
    missed: u64,
    pub(super) wait_queues: WaitQueues<W, 1>,
    /// The broadcast has been shut down.
    shut: bool,
}

impl<W: Wake> Subscriber<W> {
    pub(super) fn new(limit: usize, overflow: Overflow, clock: Clock<W>) -> Self {
        Self {
            limit,
            overflow,
            phase: Phase::Open,
            runs: VecDeque::new(),
            len: 0,
            dropped_since: 0,
            peak: 0,
            gets: 0,
            dropped: 0,
            missed: 0,
            wait_queues: WaitQueues::new(clock),
            shut: false,
        }
    }

    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        if self.phase == Phase::Closed { 0 } else { self.len }
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.len >= self.limit
    }

    /// True if publishers wait for room in it.
    #[inline]
    pub(super) fn blocks(&self) -> bool {
        self.overflow == Overflow::Block && self.is_open() && self.is_full()
    }

    /// The number of items that can be published before publishers have to wait for it.
    pub(super) fn room(&self) -> usize {
        if self.overflow == Overflow::Block && self.is_open() { self.limit.saturating_sub(self.len) } else { usize::MAX }
    }

    /// Reserves memory for one more run. False if there is none.
    #[inline]
    pub(super) fn reserve(&mut self) -> bool {
        self.runs.len() < self.runs.capacity() || self.runs.try_reserve(1).is_ok()
    }

    /// An item is about to be published at this position, and there is memory for a run. True if it is for this subscriber.
    #[inline]
    pub(super) fn accept<T>(
        &mut self,
        position: u64,
        ring: &mut Ring<T>,
        displaced: &mut Displaced<T>,
        wakes: &mut Wakes<W>,
    ) -> bool {
        if !self.is_open() {
            return false;
        }
        if self.is_full() && !self.overflows(ring, displaced, wakes) {
            return false;
        }
        match self.runs.back_mut() {
            Some(last) if last.end == position && self.dropped_since == 0 => last.end += 1,
            _ => {
                let missed = std::mem::take(&mut self.dropped_since);
                self.runs.push_back(Run { start: position, end: position + 1, missed });
            }
        }
        self.len += 1;
        self.peak = self.peak.max(self.len);
        if !self.wait_queues.queue(()).none_waiting() {
            self.wake_eligible(wakes);
        }
        true
    }

    /// Applies the policy of a full subscriber. True if there is room now.
    #[cold]
    fn overflows<T>(&mut self, ring: &mut Ring<T>, displaced: &mut Displaced<T>, wakes: &mut Wakes<W>) -> bool {
        self.dropped += 1;
        match self.overflow {
            Overflow::DropOldest => {
                if let Some(oldest) = self.advance() {
                    displaced.add(ring.release(oldest));
                    match self.runs.front_mut() {
                        Some(first) => first.missed += 1,
                        None => self.dropped_since += 1,
                    }
                }
                true
            }
            // (`Block` does not come here: nothing is published.)
            Overflow::DropNewest | Overflow::Block => {
                self.dropped_since += 1;
                false
            }
            Overflow::Disconnect => {
                self.dropped_since += 1;
                self.phase = Phase::Disconnected;
                self.wake_eligible(wakes);
                false
            }
        }
    }

    /// Removes its first item and returns the position. Items missed before it are added to those missed before the next.
    fn advance(&mut self) -> Option<u64> {
        let first = self.runs.front_mut()?;
        let position = first.start;
        first.start += 1;
        self.len -= 1;
        if first.start == first.end {
            let missed = first.missed;
            self.runs.pop_front();
            match self.runs.front_mut() {
                Some(next) => next.missed += missed,
                None => self.dropped_since += missed,
            }
        }
        Some(position)
    }

    /// Takes its first item.
    #[inline]
    pub(super) fn take<T>(&mut self, ring: &mut Ring<T>, share: impl FnOnce(&T) -> T) -> Result<T, GetError> {
        let Some(first) = self.runs.front_mut().filter(|_| self.phase != Phase::Closed) else { return Err(self.nothing()) };
        self.missed += std::mem::take(&mut first.missed);
        let position = first.start;
        first.start += 1;
        if first.start == first.end {
            self.runs.pop_front();
        }
        self.len -= 1;
        self.gets += 1;
        Ok(ring.take(position, share))
    }

    /// Its first item, which stays.
    pub(super) fn peek<'a, T>(&self, ring: &'a Ring<T>) -> Result<&'a T, GetError> {
        match self.runs.front().filter(|_| self.phase != Phase::Closed) {
            Some(first) => Ok(ring.get(first.start)),
            None => Err(self.nothing()),
        }
    }

    /// Why it has no item.
    fn nothing(&self) -> GetError {
        match self.phase {
            Phase::Closed => GetError::Ended(Ended::Closed),
            Phase::Disconnected => GetError::Ended(Ended::Disconnected),
            Phase::Open if self.shut => GetError::Ended(Ended::ShutDown),
            Phase::Open => GetError::Empty,
        }
    }

    /// True if it gets no further items.
    pub(super) fn has_ended(&self) -> bool {
        self.shut || !self.is_open()
    }

    pub(super) fn wake_eligible(&mut self, wakes: &mut Wakes<W>) {
        self.forget_after_fork();
        let (size, ended) = (self.len as u64, self.has_ended());
        self.wait_queues.queue_mut(()).wake_while(wakes, |want, claimed| ended || claimed.saturating_add(want) <= size);
    }

    pub(super) fn shut_down(&mut self, wakes: &mut Wakes<W>) {
        self.shut = true;
        self.wake_eligible(wakes);
    }

    /// Removes a batch of the items that have not been taken. False if there are more.
    pub(super) fn give_up<T>(&mut self, ring: &mut Ring<T>, displaced: &mut Displaced<T>) -> bool {
        for _ in 0..GIVEN_UP_AT_ONCE {
            let Some(position) = self.advance() else { return true };
            displaced.add(ring.release(position));
        }
        self.len == 0
    }

    /// Called when all items have been removed.
    pub(super) fn forget_items(&mut self) {
        self.runs.clear();
        self.len = 0;
    }

    pub(super) fn close(&mut self, wakes: &mut Wakes<W>) {
        self.phase = Phase::Closed;
        self.wake_eligible(wakes);
    }

    /// Called when the ring has been compacted.
    pub(super) fn move_to(&mut self, moved: &impl Fn(u64) -> u64) {
        for run in &mut self.runs {
            let len = run.end - run.start;
            run.start = moved(run.start);
            run.end = run.start + len;
        }
    }

    pub(super) fn missed(&self) -> u64 {
        self.missed
    }

    pub(super) fn statistics(&self) -> SubscriberStatistics {
        let now = self.wait_queues.clock.now();
        SubscriberStatistics {
            size: self.len(),
            peak_size: self.peak,
            gets: self.gets,
            dropped: self.dropped,
            missed: self.missed,
            waiting_getters: self.wait_queues.queue(()).len(),
            get_blocked: self.wait_queues.blocked((), now),
            disconnected: self.phase == Phase::Disconnected,
            closed: self.phase == Phase::Closed,
        }
    }
}

impl<W: Wake> MonitorState<W, 1> for Subscriber<W> {
    type Side = ();

    wait_queues!(wait_queues, 1);

    fn wake_all_eligible(&mut self, wakes: &mut Wakes<W>) {
        self.wake_eligible(wakes);
    }
}
