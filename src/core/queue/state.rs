//! The state of a queue and its transitions. Used inside the section only; the operations are in `ops`.

use std::fmt;

use super::gauge::{Gauge, Pressure};
use super::lanes::Lanes;
use super::parts::{Composition, Parts, Terms};
use super::policy::{DropReason, Dropped, Lost, Overflow, OverflowState};
use crate::buffer::Buffer;
use crate::clock::{Clock, Nanos};
use crate::histogram::Summary;
use crate::monitor::{self, MonitorState, WaitQueues, wait_queues};
use crate::sync::{ThreadMark, this_thread};
use crate::wait::{Wake, Wakes};

/// No bound.
pub const UNBOUNDED: usize = usize::MAX;

/// Why an item was not accepted. The item is returned.
#[derive(Debug, PartialEq, Eq)]
pub enum PutError<T> {
    /// There is no room, or waiters are before the caller.
    Full(T),
    ShutDown(T),
    /// The mutex is locked, by another owner or by the caller itself (see `mutex`).
    Locked(T),
    /// There is no room, and the policy does not wait for room (see `overflow`).
    Rejected(T),
    /// There is no room: [`Queue::put_or_drop`](super::Queue::put_or_drop) decides what happens to the item.
    Overflows(T),
    /// The queue keeps notes of its items: the caller has to use [`Queue::put_composed`](super::Queue::put_composed).
    Composed(T),
    /// There is no memory for the item. A waiter has left the wait queue.
    NoMemory(T),
}

/// The result of a put when the policy decides: the item is in the queue, perhaps in place of another, or it has been dropped; or it is
/// returned.
pub type PutOutcome<T> = Result<Option<Dropped<T>>, PutError<T>>;

/// Why a get found no item.
#[derive(Debug, PartialEq, Eq)]
pub enum GetError {
    /// The queue is empty, or waiters are before the caller.
    Empty,
    /// The queue is empty, and no more items will come.
    ShutDown,
    /// The mutex is locked, by another owner or by the caller itself (see `mutex`).
    Locked,
    /// The queue keeps notes of its items: the caller has to use [`Queue::get_composed`](super::Queue::get_composed).
    Composed,
    /// There is no memory to return so many items. A waiter has left the wait queue.
    NoMemory,
}

/// How an operation without a place in a wait queue is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It cannot wait: it takes what is available, even while others wait.
    Immediate,
    /// It can wait. If arrivals have to queue, it joins the wait queue.
    Queued,
}

/// The wait queues of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Put,
    Get,
    Join,
    Baton,
    /// The putters of one key, by the number of their wait queue (see `lanes`).
    Key(u32),
}

/// The place of one operation in one of the wait queues; [`Queue::leave`](super::Queue::leave) gives it up.
pub type Waiter = crate::wait::Waiter<Side>;

/// The statistics of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    pub size: usize,
    /// [`UNBOUNDED`] if there is no bound.
    pub limit: usize,
    pub puts: u64,
    pub gets: u64,
    pub unfinished: i64,
    /// Items that were merged into a waiting item.
    pub merged: u64,
    pub peak_size: usize,
    pub waiting_putters: usize,
    pub waiting_getters: usize,
    pub waiting_joiners: usize,
    /// The sum over all waits, including those that have not ended.
    pub put_blocked: Nanos,
    pub get_blocked: Nanos,
    /// The time since a putter first found the queue full, if it still is.
    pub full_for: Nanos,
    pub shut: bool,
    /// Puts that were refused because the policy is [`Overflow::Reject`].
    pub rejected: u64,
    /// Items that were dropped, by [`DropReason`].
    pub dropped: [u64; DropReason::COUNT],
    /// The total weight of the items, and its bound; `None` if the weight is not bounded.
    pub weight: Option<(u64, u64)>,
    /// How long the oldest item has waited; `None` if arrival times are not recorded, or the queue is empty.
    pub oldest: Option<Nanos>,
    /// The waiting times of items, if they are recorded.
    pub latency: Option<Summary>,
    /// The fill level, and the crossings of the marks.
    pub pressure: Pressure,
}

impl<B: Buffer, W: Wake, X> fmt::Debug for State<B, W, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

/// The holder of the baton.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum BatonHolder {
    #[default]
    Nobody,
    Thread(ThreadMark),
    /// None at the moment, and only the owner of the mutex may take it.
    Locked,
}

/// The right to work outside the section, see the file `baton`.
#[derive(Debug, Default)]
pub struct Baton {
    holder: BatonHolder,
}

impl Baton {
    #[inline]
    pub(super) fn is_free(&self) -> bool {
        self.holder == BatonHolder::Nobody
    }

    #[inline]
    pub(super) fn is_mine(&self) -> bool {
        self.holder == BatonHolder::Thread(this_thread())
    }

    pub(super) fn is_locked(&self) -> bool {
        self.holder == BatonHolder::Locked
    }

    #[inline]
    pub(super) fn take(&mut self) {
        self.holder = BatonHolder::Thread(this_thread());
    }

    /// Takes the baton from its holder.
    #[inline]
    pub(super) fn release(&mut self, locked: bool) {
        self.holder = if locked { BatonHolder::Locked } else { BatonHolder::Nobody };
    }

    /// Called when the mutex has been locked: the baton is withheld from all others, unless the caller holds it.
    pub(super) fn lock(&mut self) {
        if self.is_free() {
            self.holder = BatonHolder::Locked;
        }
    }

    fn forget(&mut self) {
        // The thread that forked continues in the child with what it holds.
        if !self.is_mine() {
            self.holder = BatonHolder::Nobody;
        }
    }
}

/// Identifies the owner of the mutex. The caller chooses a unique number.
pub type MutexOwner = u64;

/// Identifies a worker of the queue, by a unique number.
pub type Worker = u64;

/// The state of the locked mutex.
pub(super) struct HeldMutex<B: Buffer> {
    pub(super) owner: MutexOwner,
    pub(super) thread: ThreadMark,
    pub(super) depth: usize,
    /// The buffer and the bound, which are kept here so that operations find an empty buffer.
    pub(super) stashed: Option<(B, usize)>,
    /// Items that came meanwhile for places reserved before.
    pub(super) late: Vec<(B::Item, Terms)>,
    /// What the owner's steps have dropped, and is reported when the mutex is unlocked.
    pub(super) dropped: Lost<B::Item>,
}

/// The workers of a queue, and the open ends of its stream.
#[derive(Debug, Default)]
pub(super) struct WorkerSet {
    /// All workers, by their numbers.
    pub(super) workers: Vec<Worker>,
    /// The workers that wait for room without a time limit.
    pub(super) stuck: Vec<Worker>,
    pub(super) open_ends: usize,
    /// True if the last end has left it to the workers to shut the queue down.
    pub(super) left_to_workers: bool,
}

/// The state of a queue, used inside its section only.
///
/// `X` is data of the queue's owner that are changed in one step with the queue, so that nobody sees one change without the other.
#[expect(clippy::struct_excessive_bools, reason = "each is the condition of a fast path, so that it is one load")]
pub struct State<B: Buffer, W: Wake, X = ()> {
    pub(super) buffer: B,
    pub(super) extras: X,
    /// [`UNBOUNDED`] if there is no bound.
    pub(super) limit: usize,
    /// Places promised to items that are about to come out of an iterator.
    pub(super) reserved: usize,
    pub(super) shut: bool,
    /// True if the queue is neither shut down nor composed.
    pub(super) is_plain: bool,
    /// True if the queue is plain and has no marks: the condition of the fast path of put.
    pub(super) is_everyday: bool,
    /// True if the queue is not shut down, has no marks, and is composed of times to live alone, of which the oldest item's is considered
    /// first: the condition of the fast paths of a queue with times to live.
    pub(super) is_timed: bool,
    /// The parts of a composed queue, see `composed`.
    pub(super) parts: Option<Box<Parts>>,
    /// The marks, see `pressure`.
    pub(super) gauge: Option<Box<Gauge<W>>>,
    /// `puts` less the number of unfinished tasks, so that a put counts once.
    pub(super) finished: i64,
    pub(super) puts: u64,
    pub(super) gets: u64,
    pub(super) merged: u64,
    pub(super) peak: usize,
    pub(super) full_since: Option<Nanos>,
    pub(super) work: WorkerSet,
    pub(super) baton: Baton,
    pub(super) held_mutex: Option<Box<HeldMutex<B>>>,
    pub(super) overflow: OverflowState,
    /// The wait queues of putters with keys.
    pub(super) lanes: Lanes,
    /// The numbers of puts and gets for which waits at conditions have been notified.
    pub(super) notified: [u64; 2],
    pub(super) wait_queues: WaitQueues<W, 4>,
}

impl<B: Buffer, W: Wake, X> State<B, W, X> {
    pub(super) fn new(buffer: B, extras: X, limit: usize, clock: Clock<W>) -> Self {
        Self {
            buffer,
            extras,
            limit,
            reserved: 0,
            shut: false,
            is_plain: true,
            is_everyday: true,
            is_timed: false,
            parts: None,
            gauge: None,
            finished: 0,
            puts: 0,
            gets: 0,
            merged: 0,
            peak: 0,
            full_since: None,
            work: WorkerSet::default(),
            baton: Baton::default(),
            held_mutex: None,
            overflow: OverflowState::default(),
            lanes: Lanes::default(),
            notified: [0; 2],
            wait_queues: WaitQueues::new(clock),
        }
    }

    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.buffer.len() + self.reserved < self.limit
    }

    pub(super) fn room(&self) -> usize {
        if self.limit == UNBOUNDED { UNBOUNDED } else { self.limit.saturating_sub(self.buffer.len() + self.reserved) }
    }

    /// True if the queue is shut down and no item can come out any more.
    pub(super) fn is_drained(&self) -> bool {
        self.shut && self.buffer.is_empty() && self.reserved == 0 && !self.buffer_is_stashed()
    }

    /// True if an arrival must queue even though it could be served.
    #[inline]
    pub(super) fn is_barred(&self, side: Side, admission: Admission) -> bool {
        admission == Admission::Queued && self.wait_queues.queue(side).arrivals_must_queue()
    }

    /// The error of a get that finds no item.
    pub(super) fn empty_error(&self) -> GetError {
        if self.buffer_is_stashed() {
            GetError::Locked
        } else if self.is_drained() {
            GetError::ShutDown
        } else {
            GetError::Empty
        }
    }

    /// True if all items have been processed. False while another thread works outside the section: it may yet put an item, and a task that
    /// it reports as done does not count before that item.
    pub(super) fn is_finished(&self) -> bool {
        self.unfinished() <= 0 && (self.baton.is_free() || self.baton.is_mine())
    }

    /// Stores the item. If there is no memory, the item is returned.
    #[inline]
    pub(super) fn store(&mut self, item: B::Item) -> Result<(), PutError<B::Item>> {
        if self.buffer.try_reserve(1).is_err() {
            return Err(PutError::NoMemory(item));
        }
        self.store_in_place(item);
        Ok(())
    }

    /// Stores the item when memory has been reserved.
    #[inline]
    pub(super) fn store_in_place(&mut self, item: B::Item) {
        self.buffer.push(item);
        self.count_stored(1);
    }

    #[inline]
    pub(super) fn count_stored(&mut self, n: usize) {
        self.puts += n as u64;
        self.note_peak(self.buffer.len());
    }

    /// A branch that is predicted well, and not a maximum: that would have to be stored each time.
    #[inline]
    pub(super) fn note_peak(&mut self, size: usize) {
        if size > self.peak {
            self.peak = size;
        }
    }

    /// The number of unfinished tasks; users can set it to anything.
    #[inline]
    #[expect(clippy::cast_possible_wrap, reason = "wrapping, as `finished` was computed")]
    pub(super) fn unfinished(&self) -> i64 {
        (self.puts as i64).wrapping_sub(self.finished)
    }

    #[inline]
    #[expect(clippy::cast_possible_wrap, reason = "wrapping, as `unfinished` computes it")]
    pub(super) fn set_unfinished(&mut self, unfinished: i64) {
        self.finished = (self.puts as i64).wrapping_sub(unfinished);
    }

    #[inline]
    pub(super) fn count_taken(&mut self, n: usize) {
        self.gets += n as u64;
        self.full_since = None;
    }

    /// True if a putter waits for room, woken or not.
    pub(super) fn has_waiting_putters(&self) -> bool {
        !self.wait_queues.queue(Side::Put).is_empty() || self.has_waiting_putters_with_key()
    }

    /// Wakes the waiters that can proceed in the current state. Call it after every change. Does nothing while the mutex is locked.
    #[inline(never)]
    pub(super) fn wake_eligible(&mut self, wakes: &mut Wakes<W>) {
        self.forget_after_fork();
        if self.is_locked() {
            return;
        }
        self.finish_work();
        let shut = self.shut;
        if !self.wait_queues.queue(Side::Put).none_waiting() {
            let (room, anyway) = (self.room() as u64, shut || self.overflows());
            match self.room_by_weight() {
                None => self
                    .wait_queues
                    .queue_mut(Side::Put)
                    .wake_while(wakes, |want, claimed| anyway || claimed.saturating_add(want) <= room),
                Some(weight) => self.wait_queues.queue_mut(Side::Put).wake_while(wakes, |want, claimed| {
                    // Claims are weights here, not numbers of items. If the number of items is bounded too, one waiter is woken at a time.
                    let goes = room == u64::MAX || room > 0 && claimed == 0;
                    anyway || goes && claimed.saturating_add(want) <= weight
                }),
            }
        }
        if !self.lanes.is_empty() {
            self.settle_lanes(wakes);
        }
        self.wake_to_look_again(wakes);
        if !self.wait_queues.queue(Side::Get).none_waiting() {
            let size = self.buffer.len() as u64;
            let ended = shut && self.reserved == 0;
            // A lingering batch takes fewer items than requested rather than keep producers waiting.
            let pressed = shut || !self.has_room() || self.has_waiting_putters();
            self.wait_queues
                .queue_mut(Side::Get)
                .wake_while(wakes, |want, claimed| ended || claimed.saturating_add(if pressed { 1 } else { want }) <= size);
        }
        let joiners = self.wait_queues.queue(Side::Join);
        if self.unfinished() <= 0 && self.baton.is_free() && !(joiners.is_empty() && joiners.none_waiting()) {
            self.wait_queues.queue_mut(Side::Join).release_all(wakes);
        }
        self.notify_conditions(wakes);
    }

    /// Removes a waiter that takes nothing. A wake-up that it was given goes to the next one.
    pub(super) fn abandon(&mut self, waiter: &mut Waiter, wakes: &mut Wakes<W>) {
        self.remove_waiter(waiter, wakes);
        self.wake_all_eligible(wakes);
    }

    pub(super) fn note_full(&mut self) {
        let (buffer, limit) = self.contents();
        if self.full_since.is_none() && buffer.len() + self.reserved >= limit {
            self.full_since = Some(self.wait_queues.clock.now());
        }
    }

    #[inline]
    pub fn put(&mut self, item: B::Item, admission: Admission, wakes: &mut Wakes<W>) -> Result<(), PutError<B::Item>> {
        if !self.is_plain {
            return Err(self.not_plain(item));
        }
        if !self.has_room() || self.buffer.is_keyed() || self.is_barred(Side::Put, admission) {
            return self.put_refused(item, admission, wakes);
        }
        self.store(item)?;
        if !self.wait_queues.queue(Side::Get).none_waiting() {
            self.wake_eligible(wakes);
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
        if self.buffer.is_keyed() {
            return self.put_keyed(item, admission, wakes);
        }
        if self.has_room() {
            return Err(PutError::Full(item)); // waiters come first
        }
        if admission == Admission::Immediate && !self.buffer_is_stashed() {
            self.note_full();
        }
        Err(self.full_error(item))
    }

    /// The reason why the fast path of put is not possible.
    #[cold]
    pub(super) fn not_plain<T>(&self, item: T) -> PutError<T> {
        if self.shut { PutError::ShutDown(item) } else { PutError::Composed(item) }
    }

    #[inline]
    pub fn get(&mut self, admission: Admission, wakes: &mut Wakes<W>) -> Result<B::Item, GetError> {
        if self.parts.is_some() {
            return Err(GetError::Composed);
        }
        if self.is_barred(Side::Get, admission) && !self.forget_after_fork() {
            return Err(GetError::Empty);
        }
        let Some(item) = self.pop() else {
            return Err(self.empty_error());
        };
        self.count_taken(1);
        if !self.wait_queues.queue(Side::Put).none_waiting() || !self.lanes.is_empty() {
            self.wake_eligible(wakes);
        }
        Ok(item)
    }

    /// Shuts the queue down: nothing more can be put, and items in it can still be taken. Calling it again has no effect. In the same step
    /// `end` records in the owner's extras how the queue ended; its argument says whether the queue had been shut down before. `end` must
    /// not drop anything: what it displaces is returned.
    pub fn shut_down_with<R>(&mut self, end: impl FnOnce(&mut X, bool) -> R, wakes: &mut Wakes<W>) -> R {
        let ended = end(&mut self.extras, self.shut);
        self.shut_down(wakes);
        ended
    }

    /// [`State::clear`] and [`State::shut_down_with`] in one step. Items that are still on their way in are dropped too.
    pub fn shut_down_at_once<R, S>(
        &mut self,
        drain: impl FnOnce(&mut B) -> (R, usize),
        end: impl FnOnce(&mut X, bool) -> S,
        wakes: &mut Wakes<W>,
    ) -> (R, S) {
        let (drained, count) = drain(&mut self.buffer);
        self.notes_follow();
        self.count_discarded(count);
        self.reserved = 0; // see `fulfil`
        (drained, self.shut_down_with(end, wakes))
    }

    /// Takes items out by `drain`, which returns their number, and subtracts it from the unfinished tasks, in one step.
    pub fn clear<R>(&mut self, drain: impl FnOnce(&mut B) -> (R, usize), wakes: &mut Wakes<W>) -> R {
        let (drained, count) = drain(&mut self.buffer);
        self.notes_follow();
        self.count_discarded(count);
        self.notify_of_room(count as u64, wakes);
        self.wake_eligible(wakes);
        drained
    }

    /// Changes the buffer directly, in one step, without checking bounds or counting tasks. Wakes the waiters that can proceed afterwards.
    pub fn edit<R>(&mut self, edit: impl FnOnce(&mut B) -> R, wakes: &mut Wakes<W>) -> R {
        let edited = edit(&mut self.buffer);
        self.notes_follow();
        self.count_discarded(0);
        self.wake_eligible(wakes);
        edited
    }

    /// Records that one task is done. Returns false if there was none.
    pub fn task_done(&mut self, wakes: &mut Wakes<W>) -> bool {
        self.tasks_done(1, wakes)
    }

    /// Records that `count` tasks are done, at least one. Returns false, and nothing has changed, if there were not so many.
    pub fn tasks_done(&mut self, count: i64, wakes: &mut Wakes<W>) -> bool {
        if self.unfinished() < count {
            return false;
        }
        self.finished = self.finished.wrapping_add(count);
        if self.unfinished() == 0 {
            self.wake_eligible(wakes);
        }
        true
    }

    /// Resets the queue, with the buffer and the extras that `empty` leaves. Waiters continue to wait.
    pub fn reset<R>(
        &mut self,
        empty: impl FnOnce(&mut B, &mut X) -> R,
        limit: usize,
        policy: Overflow,
        composition: &Composition,
        clock: Clock<W>,
        wakes: &mut Wakes<W>,
    ) -> R {
        let old = empty(&mut self.buffer, &mut self.extras);
        self.compose(composition, clock.now()).expect("an empty queue has no notes");
        self.limit = limit;
        self.overflow.policy = policy;
        self.wait_queues.clock = clock;
        self.reserved = 0;
        self.set_shut(false);
        self.set_unfinished(0);
        self.full_since = None;
        self.wake_eligible(wakes);
        old
    }

    pub(super) fn shut_down(&mut self, wakes: &mut Wakes<W>) {
        self.set_shut(true);
        self.wake_eligible(wakes);
    }

    pub(super) fn set_shut(&mut self, shut: bool) {
        self.shut = shut;
        self.is_plain = !shut && self.parts.is_none();
        self.is_everyday = self.is_plain && self.gauge.is_none();
        if let Some(parts) = &mut self.parts {
            parts.is_everyday = !shut && parts.only_notes();
        }
        let is_in_order = !self.buffer.keeps_notes() && !self.buffer.is_keyed() && !self.buffer.is_stack();
        let only_times = self.parts.as_ref().is_some_and(|parts| parts.is_everyday && parts.latency.is_none());
        self.is_timed = is_in_order && only_times && self.gauge.is_none();
    }

    /// Subtracts dropped items from the unfinished tasks, but not below zero (users can set that number).
    #[expect(clippy::cast_possible_wrap, reason = "a count of items in memory")]
    pub(super) fn discount(&mut self, n: usize) {
        let unfinished = self.unfinished();
        self.set_unfinished((unfinished - n as i64).max(unfinished.min(0)));
        self.full_since = None;
    }

    /// As `discount`, and wakes waiters that may have room now.
    pub(super) fn count_discarded(&mut self, n: usize) {
        self.discount(n);
        if !self.lanes.is_empty() {
            self.all_have_room();
        }
    }
}

impl monitor::Side for Side {
    #[inline]
    fn index(self) -> usize {
        match self {
            Self::Put | Self::Key(_) => 0,
            Self::Get => 1,
            Self::Join => 2,
            Self::Baton => 3,
        }
    }

    #[inline]
    fn further(self) -> Option<usize> {
        if let Self::Key(number) = self { Some(number as usize) } else { None }
    }
}

impl<B: Buffer, W: Wake, X> MonitorState<W, 4> for State<B, W, X> {
    type Side = Side;

    wait_queues!(wait_queues, 4);

    /// As `wake_eligible`, and also wakes the waiters for the baton.
    fn wake_all_eligible(&mut self, wakes: &mut Wakes<W>) {
        self.wake_eligible(wakes);
        self.wake_for_baton(wakes);
    }

    fn remove_waiter(&mut self, waiter: &mut Waiter, wakes: &mut Wakes<W>) {
        let place = waiter.position();
        self.wait_queues.remove_waiter(waiter, wakes);
        if let Some((side, _)) = place {
            self.stepped(side);
        }
    }

    #[inline]
    fn settle(&mut self, wakes: &mut Wakes<W>) {
        if self.gauge.is_some() {
            self.settle_pressure(wakes);
        }
    }

    fn stepped(&mut self, side: Side) {
        if let Side::Key(slot) = side {
            self.touch(slot);
        }
    }

    fn forget_more(&mut self) {
        self.forget_lanes();
        self.forget_mutex();
        self.baton.forget();
        self.reserved = 0;
    }
}
