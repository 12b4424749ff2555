//! The state of a semaphore and its transitions. Used inside a section only; the operations are in `ops`.

use crate::clock::{Clock, Nanos};
use crate::monitor::{MonitorState, WaitQueues, wait_queues};
use crate::wait::{Wake, Wakes};

/// The place of one operation in the wait queue; [`Monitor::leave`](crate::monitor::Monitor::leave) gives it up.
pub type Waiter = crate::wait::Waiter<()>;

/// The largest size, and the largest weight of one request.
pub const MAX_PERMITS: u64 = i64::MAX as u64;

/// Why permits were not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcquireError {
    /// Not enough permits are free, or waiters are before the request.
    Busy,
    /// The request is larger than the semaphore, of this size.
    TooLarge { size: u64 },
    /// There is no memory for one more key.
    NoMemory,
}

/// More permits were released than are held, whose number this is. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overreleased {
    pub held: u64,
}

/// What happens when more permits are released than are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overrelease {
    /// The semaphore grows by the difference.
    Growing,
    /// The release is refused.
    Bounded,
}

/// The statistics of a semaphore.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// All permits, held or free.
    pub size: u64,
    pub held: u64,
    pub peak_held: u64,
    /// Free permits that no waiter has been woken for.
    pub value: u64,
    /// Requests that were granted.
    pub acquired: u64,
    pub waiters: usize,
    /// The sum over all waits, including those that have not ended.
    pub waited: Nanos,
}

/// Everything a semaphore knows.
#[derive(Debug)]
pub struct State<W> {
    kind: Overrelease,
    size: u64,
    held: u64,
    peak_held: u64,
    acquired: u64,
    wait_queues: WaitQueues<W, 1>,
}

impl<W: Wake> State<W> {
    pub(crate) fn new(size: u64, kind: Overrelease, clock: Clock<W>) -> Self {
        Self { kind, size, held: 0, peak_held: 0, acquired: 0, wait_queues: WaitQueues::new(clock) }
    }

    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    pub(crate) fn free(&self) -> u64 {
        self.size.saturating_sub(self.held)
    }

    pub(super) fn is_held(&self) -> bool {
        self.held > 0
    }

    pub(super) fn has_waiters(&self) -> bool {
        !self.wait_queues.queue(()).is_empty()
    }

    /// True if a waiter that has not stepped aside waits.
    pub(super) fn is_waited_for(&self) -> bool {
        self.has_waiters() && !self.wait_queues.queue(()).all_are_aside()
    }

    /// Closes the state: all permits are taken, without an owner and without being counted in the statistics. Releasing them opens it
    /// again.
    pub(super) fn close(&mut self) {
        self.held = self.size;
    }

    fn is_too_large(&self, n: u64) -> bool {
        n > 1 && n > self.size
    }

    /// In the child of a fork, forgets the permits that are held, if their holders are in the parent and will not release them here.
    pub(crate) fn forget_held(&mut self) {
        self.held = 0;
    }

    fn take(&mut self, n: u64) {
        self.held += n;
        self.peak_held = self.peak_held.max(self.held);
        self.acquired += 1;
    }

    /// True if no waiter is before an arrival: none waits and none has been woken. (Waiters that have stepped aside do not count.)
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        let queue = self.wait_queues.queue(());
        queue.none_waiting() && queue.claimed() == 0
    }

    /// True if the waiter, or, without a place, the arrival may take `n` permits.
    fn may_go(&mut self, n: u64, waiter: &mut Waiter) -> bool {
        let has_turn = self.wait_queues.has_turn((), waiter);
        let Some(((), ticket)) = waiter.position() else { return self.is_open() && n <= self.free() };
        let queue = self.wait_queues.queue(());
        // After a `resize` to fewer, there may be fewer permits than the woken waiters were promised; then they take them in order.
        has_turn
            && queue.head().is_none_or(|(first, _)| ticket < first)
            && queue.claimed_before(ticket).saturating_add(n) <= self.free()
    }

    #[inline]
    pub(crate) fn try_acquire(&mut self, n: u64) -> Result<(), AcquireError> {
        if n <= self.free() && self.is_open() {
            self.take(n);
            return Ok(());
        }
        self.refuse(n)
    }

    #[cold]
    fn refuse(&mut self, n: u64) -> Result<(), AcquireError> {
        if self.is_too_large(n) {
            Err(AcquireError::TooLarge { size: self.size })
        } else if self.forget_after_fork() {
            self.try_acquire(n)
        } else {
            Err(AcquireError::Busy)
        }
    }

    pub(super) fn acquire_or_wait(
        &mut self,
        n: u64,
        waiter: &mut Waiter,
        waker: &W,
        wakes: &mut Wakes<W>,
    ) -> Result<(), AcquireError> {
        self.forget_after_fork();
        let result = self.take_or_wait(n, waiter, waker, wakes);
        self.wake_all_eligible(wakes);
        result
    }

    /// As `acquire_or_wait`, but wakes nobody: the caller wakes the waiters that can go on.
    pub(crate) fn take_or_wait(
        &mut self,
        n: u64,
        waiter: &mut Waiter,
        waker: &W,
        wakes: &mut Wakes<W>,
    ) -> Result<(), AcquireError> {
        let result = if self.is_too_large(n) {
            Err(AcquireError::TooLarge { size: self.size })
        } else if self.may_go(n, waiter) {
            self.take(n);
            Ok(())
        } else {
            self.wait_queues.enqueue_or_requeue((), n, waiter, waker, wakes);
            Err(AcquireError::Busy)
        };
        if result != Err(AcquireError::Busy) {
            self.wait_queues.remove_waiter(waiter, wakes);
        }
        result
    }

    #[inline]
    pub(super) fn release(&mut self, n: u64, wakes: &mut Wakes<W>) -> Result<(), Overreleased> {
        self.give_back(n)?;
        if !self.wait_queues.queue(()).none_waiting() {
            self.wake_all_eligible(wakes);
        }
        Ok(())
    }

    /// As `release`, but wakes nobody.
    #[inline]
    pub(crate) fn give_back(&mut self, n: u64) -> Result<(), Overreleased> {
        if n > self.held {
            if self.kind == Overrelease::Bounded {
                return Err(Overreleased { held: self.held });
            }
            self.size = self.size.saturating_add(n - self.held);
        }
        self.held = self.held.saturating_sub(n);
        Ok(())
    }

    /// Sets the total number of permits. Wakes nobody, not even waiters whose request is too large now.
    pub(crate) fn set_size(&mut self, size: u64) {
        self.size = size;
    }

    pub(super) fn resize(&mut self, size: u64, wakes: &mut Wakes<W>) {
        self.forget_after_fork();
        self.size = size;
        let queue = self.wait_queues.queue(());
        for (ticket, _) in queue.waiting().filter(|&(_, n)| self.is_too_large(n)) {
            queue.prod(ticket, wakes); // it comes to get its error
        }
        self.wake_all_eligible(wakes);
    }

    pub(crate) fn statistics(&mut self) -> Statistics {
        self.forget_after_fork();
        let (queue, now) = (self.wait_queues.queue(()), self.wait_queues.clock.now());
        Statistics {
            size: self.size,
            held: self.held,
            peak_held: self.peak_held,
            value: self.free().saturating_sub(queue.claimed()),
            acquired: self.acquired,
            waiters: queue.len(),
            waited: self.wait_queues.blocked((), now),
        }
    }
}

impl<W: Wake> MonitorState<W, 1> for State<W> {
    type Side = ();

    wait_queues!(wait_queues, 1);

    fn wake_all_eligible(&mut self, wakes: &mut Wakes<W>) {
        self.forget_after_fork();
        let free = self.free();
        self.wait_queues.queue_mut(()).wake_while(wakes, |want, claimed| claimed.saturating_add(want) <= free);
        let queue = self.wait_queues.queue(());
        if let Some((ticket, _)) = queue.head().filter(|&(_, n)| self.is_too_large(n)) {
            queue.prod(ticket, wakes); // its request may have become too large while it had stepped aside
        }
    }
}
