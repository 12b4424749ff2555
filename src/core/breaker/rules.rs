//! The settings of a breaker, and the types of its arguments and results.

use std::fmt::{self, Display, Formatter};

use crate::clock::{Nanos, seconds};

/// When a breaker opens, for how long, and how it closes again.
#[derive(Clone, Debug)]
pub struct Rules {
    /// It opens when at least this share of the results in the window are failures...
    pub failure_rate: f64,
    pub window: Nanos,
    /// ... and there are at least this many results.
    pub min_calls: u64,
    /// It also opens after this many failures in a row, if they have come over at least the length of the window.
    pub run: Option<u64>,
    /// A call that took at least this long is slow, whatever its result.
    pub slow_after: Option<Nanos>,
    /// It opens when at least this share of the results belong to slow calls.
    pub slow_rate: f64,
    /// The first open time. It doubles each time the breaker opens again.
    pub open_for: Nanos,
    pub open_for_max: Nanos,
    /// The number of calls that are admitted to find out whether the breaker may close.
    pub probes: u64,
    /// A probe that has not ended within this time no longer counts, and another call takes its place.
    pub probe_timeout: Nanos,
    /// The window is this number of results, instead of a time.
    pub calls: Option<usize>,
    /// It reports what it would do, and refuses nothing.
    pub metrics_only: bool,
}

/// The state of a breaker, as it is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Closed,
    Open,
    HalfOpen,
    ForcedOpen,
    Disabled,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::ForcedOpen => "forced_open",
            Self::Disabled => "disabled",
        }
    }
}

/// A call that was admitted. Its result is reported at most once, by [`Breaker::finish`](super::Breaker::finish).
#[derive(Debug, PartialEq, Eq)]
pub struct Grant {
    /// The generation of the state that admitted it, or one of the two constants below.
    pub(crate) generation: u64,
    /// The number of the probe; zero for a call that is not a probe.
    pub(crate) probe: u64,
    /// When it began; zero if the time is not needed.
    pub(crate) began: Nanos,
}

/// The generation of a call that was admitted although it would have been refused: its result is counted, and changes nothing.
pub(crate) const UNCOUNTED: u64 = 0;

/// The generation of a call for a key that is not remembered.
pub(crate) const UNTRACKED: u64 = u64::MAX;

/// Why a call was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `Open`, `HalfOpen` (all probes are in flight) or `ForcedOpen`.
    pub state: Kind,
    pub retry_after: Nanos,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    Failure {
        /// The time for which the server asked.
        retry_after: Option<Nanos>,
    },
    /// It says nothing about the service: it was cancelled, interrupted, or refused on our side.
    Ignored,
}

/// Why a breaker has changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Failures { failures: u64, calls: u64 },
    Slow { slow: u64, calls: u64 },
    Run { failures: u64, over: Nanos },
    TimeOver { open_for: Nanos },
    ProbesSucceeded { probes: u64 },
    ProbeFailed,
    ProbeSlow,
    Forced,
    Disabled,
    Reset,
}

impl Display for Why {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Failures { failures, calls } => write!(f, "{failures} of the last {calls} calls failed"),
            Self::Slow { slow, calls } => write!(f, "{slow} of the last {calls} calls were slow"),
            Self::Run { failures, over } => {
                write!(f, "the last {failures} calls failed, over {:.1} seconds", seconds(over))
            }
            Self::TimeOver { open_for } => write!(f, "it was open for {:.1} seconds", seconds(open_for)),
            Self::ProbesSucceeded { probes: 1 } => f.write_str("the probe succeeded"),
            Self::ProbesSucceeded { probes } => write!(f, "{probes} probes succeeded"),
            Self::ProbeFailed => f.write_str("a probe failed"),
            Self::ProbeSlow => f.write_str("a probe was slow"),
            Self::Forced => f.write_str("force_open() was called"),
            Self::Disabled => f.write_str("disable() was called"),
            Self::Reset => f.write_str("reset() was called"),
        }
    }
}

/// A change of state, which is reported to listeners after the section has been left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    pub from: Kind,
    pub to: Kind,
    pub why: Why,
    /// The open time, if it is open.
    pub open_for: Option<Nanos>,
}

/// The totals since the breaker was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Calls that were admitted.
    pub calls: u64,
    pub successes: u64,
    pub failures: u64,
    /// The number of slow calls among the successes and failures.
    pub slow: u64,
    pub ignored: u64,
    /// Results that came after the state had changed, or after the probe had timed out.
    pub stale: u64,
    pub refused: u64,
    /// The number of times it has opened.
    pub opened: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.successes += other.successes;
        self.failures += other.failures;
        self.slow += other.slow;
        self.ignored += other.ignored;
        self.stale += other.stale;
        self.refused += other.refused;
        self.opened += other.opened;
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    pub state: Kind,
    /// The time since the last change of state.
    pub state_for: Nanos,
    pub totals: Totals,
    /// The number of results that count for the rates, and the rates.
    pub window_calls: u64,
    pub failure_rate: f64,
    pub slow_rate: f64,
}
