//! `Schedule`: when an amount may go. It knows amounts and moments, and nobody.

use super::gcra::{Gcra, Rule};
use super::units::Units;
use super::window::Window;
use crate::clock::Nanos;

#[derive(Clone, Debug)]
pub(super) enum Schedule {
    Gcra(Gcra),
    Window(Window),
}

impl Schedule {
    /// The most that may ever go at once.
    pub(super) fn largest(&self) -> Units {
        match self {
            Self::Gcra(gcra) if gcra.course.rule == Rule::Burst => gcra.course.burst,
            Self::Gcra(_) => Units::MAX,
            Self::Window(window) => window.limit,
        }
    }

    pub(super) fn can_book(&self, n: Units) -> bool {
        match self {
            Self::Gcra(gcra) => gcra.can_book(n),
            Self::Window(_) => true,
        }
    }

    pub(super) fn fits(&mut self, n: Units, now: Nanos) -> bool {
        match self {
            Self::Gcra(gcra) => gcra.fits(n, now),
            Self::Window(window) => window.fits(n, now),
        }
    }

    pub(super) fn ready_at(&self, n: Units, from: Nanos) -> Nanos {
        match self {
            Self::Gcra(gcra) => gcra.ready_at(n, from),
            Self::Window(window) => window.ready_at(n, from),
        }
    }

    /// How much of what was taken before `at` is then still to be worked off. (In a window everything can always be withdrawn.)
    pub(super) fn backlog(&self, at: Nanos) -> Units {
        match self {
            Self::Gcra(gcra) => gcra.backlog(at),
            Self::Window(_) => Units::MAX,
        }
    }

    pub(super) fn tat(&self) -> u64 {
        match self {
            Self::Gcra(gcra) => gcra.tat,
            Self::Window(_) => 0,
        }
    }

    pub(super) fn take(&mut self, n: Units, at: Nanos) {
        match self {
            Self::Gcra(gcra) => gcra.take(n, at),
            Self::Window(window) => window.take(n, at),
        }
    }

    /// Brings positions back into range, if need be.
    pub(super) fn rebase(&mut self, now: Nanos) {
        if let Self::Gcra(gcra) = self {
            gcra.rebase(now);
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

    pub(super) fn take(&mut self, n: Units, at: Nanos) {
        self.schedule.take(n, at);
        self.schedule.rebase(at); // a long line can lead beyond what can be counted from here
    }
}
