//! `Schedule`: when an amount may go. It knows amounts and moments, and nobody.

use super::bucket::{Bucket, FutureBooking};
use super::gcra::Rule;
use super::units::Units;
use super::window::Window;
use crate::clock::Nanos;
use crate::wait::Ticket;

#[derive(Clone, Debug)]
pub(super) enum Schedule {
    Bucket(Bucket),
    Window(Window),
}

impl Schedule {
    /// The most that may ever go at once.
    pub(super) fn largest(&self) -> Units {
        match self {
            Self::Bucket(bucket) if bucket.gcra.rate_state.rule == Rule::Burst => bucket.gcra.rate_state.burst,
            Self::Bucket(_) => Units::MAX,
            Self::Window(window) => window.limit,
        }
    }

    pub(super) fn can_book(&self, n: Units) -> bool {
        match self {
            Self::Bucket(bucket) => bucket.gcra.can_book(n.saturating_add(bucket.booked())),
            Self::Window(window) => window.can_book(n),
        }
    }

    /// The first moment, not before `from`, at which `n` may go.
    pub(super) fn ready_at(&self, n: Units, from: Nanos) -> Nanos {
        #[cfg(all(test, not(loom)))]
        super::costs::step();
        match self {
            Self::Bucket(bucket) => bucket.ready_at(n, from),
            Self::Window(window) => window.ready_at(n, from),
        }
    }

    /// What could still be taken at `at`: nothing that is booked at a moment to come leaves any.
    pub(super) fn spare(&self, at: Nanos) -> i128 {
        match self {
            Self::Bucket(bucket) => i128::from(bucket.gcra.rate_state.burst.saturating_sub(bucket.gcra.backlog(at))),
            Self::Window(_) => 0,
        }
    }

    pub(super) fn take(&mut self, n: Units, at: Nanos) {
        match self {
            Self::Bucket(bucket) => drop(bucket.gcra.take(n, at)),
            Self::Window(window) => window.take(n, at),
        }
    }

    /// Brings positions back into range, if need be.
    pub(super) fn rebase(&mut self, now: Nanos) {
        if let Self::Bucket(bucket) = self {
            bucket.gcra.rebase(now);
        }
    }
}

/// A schedule as it will be.
#[derive(Debug)]
pub(super) struct Projection {
    pub(super) schedule: Schedule,
    pub(super) from: Nanos,
}

impl Projection {
    pub(super) fn ready_at(&self, n: Units, from: Nanos) -> Nanos {
        self.schedule.ready_at(n, from.max(self.from))
    }

    /// Takes for those who wait, in their order.
    pub(super) fn grant(&mut self, waiting: impl Iterator<Item = (Ticket, Units)>, now: Nanos) {
        self.from = self.from.max(now);
        for (_, n) in waiting {
            let at = self.ready_at(n, self.from);
            self.take(n, at);
        }
    }

    /// Books for a moment that was foreseen, behind all waiters.
    pub(super) fn book(&mut self, n: Units, at: Nanos, number: u64) {
        match &mut self.schedule {
            Schedule::Bucket(bucket) => bucket.book(FutureBooking { at, number, n }),
            Schedule::Window(window) => window.take(n, at),
        }
    }

    /// Whoever comes next comes no earlier.
    pub(super) fn take(&mut self, n: Units, at: Nanos) {
        self.from = self.from.max(at);
        match &mut self.schedule {
            Schedule::Bucket(bucket) => bucket.take_later(n, at),
            Schedule::Window(window) => {
                window.expire(at); // nobody is foreseen for an earlier moment any more
                window.take(n, at);
            }
        }
    }
}
