//! `Schedule`: when an amount may go. It knows amounts and moments, and nobody.

use super::bucket::Bucket;
use super::gcra::Rule;
use super::units::Units;
use super::window::Window;
use crate::clock::Nanos;

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
            Self::Window(_) => true,
        }
    }

    /// The first moment, not before `from`, at which `n` may go.
    pub(super) fn ready_at(&self, n: Units, from: Nanos) -> Nanos {
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
            Self::Bucket(bucket) => bucket.gcra.take(n, at),
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

    /// Whoever comes next comes no earlier.
    pub(super) fn take(&mut self, n: Units, at: Nanos) {
        self.from = self.from.max(at);
        match &mut self.schedule {
            Schedule::Bucket(bucket) => bucket.take_later(n, at),
            Schedule::Window(window) => window.take(n, at),
        }
    }
}
