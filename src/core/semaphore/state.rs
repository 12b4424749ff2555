//! The state of a semaphore, and how each step changes it. Only ever touched inside a section; the operations are in `ops`.

use crate::clock::{Clock, Nanos};
use crate::monitor::{Lobby, Waits};
use crate::wait::{Wake, Wakes};

/// The place of one operation in the line; [`Monitor::leave`](crate::monitor::Monitor::leave) gives it up.
pub type Spot = crate::wait::Spot<()>;

/// The largest size, and the largest weight of one request.
pub const MAX_PERMITS: u64 = i64::MAX as u64;

/// Why permits were not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcquireError {
    /// Not enough are free, or others are before it.
    Busy,
    /// The request is larger than the semaphore, of this size.
    TooLarge { size: u64 },
}

/// More was released than is held, which is this much. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overreleased {
    pub held: u64,
}

/// What happens when more is released than is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The semaphore grows by the difference.
    Growing,
    /// It is refused.
    Bounded,
}

/// What a semaphore has seen so far.
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
    /// Summed over all waits, those still going on too.
    pub waited: Nanos,
}

/// Everything a semaphore knows.
#[derive(Debug)]
pub struct State<W> {
    kind: Kind,
    size: u64,
    held: u64,
    peak_held: u64,
    acquired: u64,
    lobby: Lobby<W, 1>,
}

impl<W: Wake> State<W> {
    pub(super) fn new(size: u64, kind: Kind, clock: Clock<W>) -> Self {
        Self { kind, size, held: 0, peak_held: 0, acquired: 0, lobby: Lobby::new(clock) }
    }

    fn free(&self) -> u64 {
        self.size.saturating_sub(self.held)
    }

    pub(super) fn is_held(&self) -> bool {
        self.held > 0
    }

    pub(super) fn has_waiters(&self) -> bool {
        !self.lobby.line(()).is_empty()
    }

    /// Somebody waits who has not stepped aside.
    pub(super) fn is_waited_for(&self) -> bool {
        self.has_waiters() && !self.lobby.line(()).is_aside()
    }

    /// Lets nobody in: all permits are held, by nobody, and not counted in what has been seen. Their release opens it again.
    pub(super) fn close(&mut self) {
        self.held = self.size;
    }

    fn is_too_large(&self, n: u64) -> bool {
        n > 1 && n > self.size
    }

    fn take(&mut self, n: u64) {
        self.held += n;
        self.peak_held = self.peak_held.max(self.held);
        self.acquired += 1;
    }

    /// Nobody is before an arrival: nobody waits, and nobody has been woken. (Waiters that have stepped aside keep nobody waiting.)
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        let line = self.lobby.line(());
        line.nobody_waits() && line.claimed() == 0
    }

    /// May the waiter in this place go, or, if it has none, the arrival?
    fn may_go(&mut self, n: u64, spot: &mut Spot) -> bool {
        let has_turn = self.lobby.has_turn((), spot);
        let Some(((), ticket)) = spot.place() else { return self.is_open() && n <= self.free() };
        let line = self.lobby.line(());
        // After a `resize` to fewer there may be less than the waiters that were woken had been promised: then by their order.
        has_turn
            && line.head().is_none_or(|(first, _)| ticket < first)
            && line.claimed_before(ticket).saturating_add(n) <= self.free()
    }

    #[inline]
    pub(super) fn try_acquire(&mut self, n: u64) -> Result<(), AcquireError> {
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
        spot: &mut Spot,
        waker: &W,
        wakes: &mut Wakes<W>,
    ) -> Result<(), AcquireError> {
        self.forget_after_fork();
        let result = if self.is_too_large(n) {
            Err(AcquireError::TooLarge { size: self.size })
        } else if self.may_go(n, spot) {
            self.take(n);
            Ok(())
        } else {
            self.lobby.stay((), n, spot, waker, wakes);
            Err(AcquireError::Busy)
        };
        if result != Err(AcquireError::Busy) {
            self.lobby.vacate(spot, wakes);
        }
        self.settle_all(wakes);
        result
    }

    #[inline]
    pub(super) fn release(&mut self, n: u64, wakes: &mut Wakes<W>) -> Result<(), Overreleased> {
        if n > self.held {
            if self.kind == Kind::Bounded {
                return Err(Overreleased { held: self.held });
            }
            self.size = self.size.saturating_add(n - self.held);
        }
        self.held = self.held.saturating_sub(n);
        if !self.lobby.line(()).nobody_waits() {
            self.settle_all(wakes);
        }
        Ok(())
    }

    pub(super) fn resize(&mut self, size: u64, wakes: &mut Wakes<W>) {
        self.forget_after_fork();
        self.size = size;
        let line = self.lobby.line(());
        for (ticket, _) in line.waiting().filter(|&(_, n)| self.is_too_large(n)) {
            line.nudge(ticket, wakes); // it comes to be told
        }
        self.settle_all(wakes);
    }

    /// The operation waits no longer; its turn, if it had one, goes to the next.
    pub(super) fn leave(&mut self, spot: &mut Spot, wakes: &mut Wakes<W>) {
        self.lobby.vacate(spot, wakes);
        self.settle_all(wakes);
    }

    pub(super) fn statistics(&mut self) -> Statistics {
        self.forget_after_fork();
        let (line, now) = (self.lobby.line(()), self.lobby.clock.now());
        Statistics {
            size: self.size,
            held: self.held,
            peak_held: self.peak_held,
            value: self.free().saturating_sub(line.claimed()),
            acquired: self.acquired,
            waiters: line.len(),
            waited: self.lobby.blocked((), now),
        }
    }
}

impl<W: Wake> Waits<W, 1> for State<W> {
    type Side = ();

    fn lobby(&self) -> &Lobby<W, 1> {
        &self.lobby
    }

    fn lobby_mut(&mut self) -> &mut Lobby<W, 1> {
        &mut self.lobby
    }

    fn settle_all(&mut self, wakes: &mut Wakes<W>) {
        self.forget_after_fork();
        let free = self.free();
        self.lobby.line_mut(()).wake_while(wakes, |want, claimed| claimed.saturating_add(want) <= free);
        let line = self.lobby.line(());
        if let Some((ticket, _)) = line.head().filter(|&(_, n)| self.is_too_large(n)) {
            line.nudge(ticket, wakes); // a `resize` could not tell it, because it had stepped aside
        }
    }
}
