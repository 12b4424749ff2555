//! `Schedule`: when an amount can be admitted. It works with amounts and moments only, and has no callers.

use super::bucket::{Bucket, FutureBooking};
use super::gcra::Rule;
use super::types::Refusal;
use super::units::Units;
use super::wait_queue::NEVER;
use super::window::Window;
use crate::clock::Nanos;
use crate::wait::Ticket;

#[derive(Debug)]
pub(super) enum Schedule {
    Bucket(Bucket),
    Window(Window),
    /// Admits everything at once.
    Always,
    /// Admits nothing.
    Never,
}

impl Schedule {
    /// The largest amount that can be admitted at once.
    pub(super) fn largest(&self) -> Units {
        match self {
            Self::Bucket(bucket) if bucket.gcra.rate_state.rule == Rule::Burst => bucket.gcra.rate_state.burst,
            Self::Bucket(_) | Self::Always | Self::Never => Units::MAX,
            Self::Window(window) => window.limit,
        }
    }

    /// True if nothing is booked for a future moment.
    pub(super) fn is_plain(&self) -> bool {
        match self {
            Self::Bucket(bucket) => bucket.is_plain(),
            Self::Window(window) => window.is_plain(),
            Self::Always | Self::Never => true,
        }
    }

    /// The last moment for which something is booked.
    pub(super) fn last_booked(&self) -> Option<Nanos> {
        match self {
            Self::Bucket(bucket) => bucket.last_booked(),
            Self::Window(window) => window.last_booked(),
            Self::Always | Self::Never => None,
        }
    }

    /// A copy, with memory for `more` takings.
    pub(super) fn try_clone(&self, more: usize) -> Result<Self, Refusal> {
        let copy = match self {
            Self::Bucket(bucket) => bucket.try_clone().map(Self::Bucket),
            Self::Window(window) => window.try_clone(more).map(Self::Window),
            Self::Always => Ok(Self::Always),
            Self::Never => Ok(Self::Never),
        };
        copy.map_err(|_| Refusal::NoMemory)
    }

    /// Reserves memory for `more` takings and one booking, before any of them is made.
    pub(super) fn try_reserve(&mut self, more: usize) -> Result<(), Refusal> {
        let memory = match self {
            Self::Bucket(bucket) => bucket.try_reserve(),
            Self::Window(window) => window.try_reserve(more),
            Self::Always | Self::Never => Ok(()),
        };
        memory.map_err(|_| Refusal::NoMemory)
    }

    /// True if it never admits anything.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Never)
    }

    pub(super) fn can_book(&self, n: Units) -> bool {
        match self {
            Self::Bucket(bucket) => bucket.gcra.can_book(n.saturating_add(bucket.booked())),
            Self::Window(window) => window.can_book(n),
            Self::Always | Self::Never => true,
        }
    }

    /// The first moment, not before `from`, at which `n` can be admitted.
    pub(super) fn ready_at(&self, n: Units, from: Nanos) -> Nanos {
        #[cfg(all(test, not(loom)))]
        super::costs::step();
        match self {
            Self::Bucket(bucket) => bucket.ready_at(n, from),
            Self::Window(window) => window.ready_at(n, from),
            Self::Always => from,
            Self::Never if n == 0 => from,
            Self::Never => NEVER,
        }
    }

    /// The amount that can still be taken at `at`. Bookings for later moments leave nothing.
    pub(super) fn spare(&self, at: Nanos) -> i128 {
        match self {
            Self::Bucket(bucket) => i128::from(bucket.gcra.rate_state.burst.saturating_sub(bucket.gcra.backlog(at))),
            Self::Window(_) | Self::Always | Self::Never => 0,
        }
    }

    pub(super) fn take(&mut self, n: Units, at: Nanos) {
        match self {
            Self::Bucket(bucket) => bucket.gcra.take(n, at),
            Self::Window(window) => window.take(n, at),
            Self::Always | Self::Never => {}
        }
    }

    /// Moves the origin of positions if they are out of range.
    pub(super) fn rebase(&mut self, now: Nanos) {
        if let Self::Bucket(bucket) = self {
            bucket.rebase(now);
        }
    }
}

/// A copy of a schedule, projected into the future.
#[derive(Debug)]
pub(super) struct Projection {
    pub(super) schedule: Schedule,
    pub(super) from: Nanos,
}

impl Projection {
    pub(super) fn ready_at(&self, n: Units, from: Nanos) -> Nanos {
        self.schedule.ready_at(n, from.max(self.from))
    }

    /// Takes the amounts of the waiters, in order. They are `count` or fewer.
    pub(super) fn grant(
        &mut self,
        waiting: impl Iterator<Item = (Ticket, Units)>,
        count: usize,
        now: Nanos,
    ) -> Result<(), Refusal> {
        self.schedule.try_reserve(count)?;
        self.from = self.from.max(now);
        for (_, n) in waiting {
            let at = self.ready_at(n, self.from);
            self.take(n, at);
        }
        Ok(())
    }

    /// Books `n` for a moment that was foreseen, behind all waiters. Memory has been reserved.
    pub(super) fn book(&mut self, n: Units, at: Nanos, number: u64) {
        match &mut self.schedule {
            Schedule::Bucket(bucket) => bucket.book(FutureBooking { at, number, n }),
            Schedule::Window(window) => window.take(n, at),
            Schedule::Always | Schedule::Never => {}
        }
    }

    /// Takes `n` at `at`. The next request is admitted no earlier. Memory has been reserved.
    pub(super) fn take(&mut self, n: Units, at: Nanos) {
        self.from = self.from.max(at);
        match &mut self.schedule {
            Schedule::Bucket(bucket) => bucket.take_later(n, at),
            Schedule::Window(window) => {
                window.expire(at); // moments before `at` are not asked for any more
                window.take(n, at);
            }
            Schedule::Always | Schedule::Never => {}
        }
    }
}
