//! AIMDf: additive increase, multiplicative decrease, decided once per round by the *fraction* of bad calls. Pure: the time is an argument.
//!
//! # Algorithm
//! Additive increase and multiplicative decrease are those of D.-M. Chiu and R. Jain, "Analysis of the Increase and Decrease Algorithms for
//! Congestion Avoidance in Computer Networks", Computer Networks and ISDN Systems 17, 1989: limits of several clients of one server converge
//! to equal shares. The defaults for the start, the bounds and the decrease are those of Netflix's concurrency-limits; that only a limiter
//! which is nearly full may grow is from Palantir's dialogue. (Not as there by the calls in flight when the judged calls were admitted: of
//! calls that begin together the first to end were admitted first, when few were in flight, and the limit would stop at 4.)
//!
//! A call is *bad* if it was dropped or took longer than the target. A round is the calls that began since the last decision; when half as
//! many of them have ended as the limit says, a decision is made ([`next_limit`]):
//!
//! | of the round                                               | the limit                                    |
//! |------------------------------------------------------------|----------------------------------------------|
//! | more than `bad_fraction` were bad                          | times `decrease`                             |
//! | otherwise, and the limiter was full or nearly so            | plus one, or plus half of its square root    |
//! | otherwise                                                  | as it was: a limiter that is idle learns nothing |
//!
//! The first half of a round to end is its fast half. If a service has a slow tail by nature, the tail is left out of the decision; a queue
//! at the service is not, because every call waits in it. So the limit falls about when the *median* exceeds the target. One slow call of a
//! healthy service does not lower the limit, as it would if each bad call did.
//!
//! # What it does not do
//! It promises nothing about high percentiles, and it cannot work with a target below the service's own time: the limit then stays at its
//! minimum, which [`Aimdf::record`] reports ([`Unmet`]).

use std::collections::VecDeque;

use crate::clock::Nanos;

/// The amount by which the limit grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// By one.
    One,
    /// By half of its square root, and at least by one: faster at a large limit, and with larger oscillations.
    SquareRoot,
}

/// The constants of the law.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// A call that took longer is bad. `None`: only dropped calls are bad.
    pub target: Option<Nanos>,
    pub min: u64,
    pub max: u64,
    pub decrease: f64,
    pub bad_fraction: f64,
    pub min_samples: u64,
    pub step: Step,
    /// The limiter is nearly full if this share of the limit is in flight.
    pub near: f64,
}

/// The observations of a round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    pub samples: u64,
    pub bad: u64,
    /// The largest number in flight when a call was admitted, that call included.
    pub peak: u64,
}

/// The result of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    pub began: Nanos,
    pub took: Nanos,
    pub dropped: bool,
}

/// The target cannot be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmet {
    pub target: Nanos,
    /// The median duration at the lowest limit.
    pub median: Nanos,
    pub limit: u64,
}

/// The law: computes the limit after this round. To use another law, replace this function and [`round_is_over`].
#[must_use]
pub fn next_limit(rules: &Rules, limit: f64, round: &Round) -> f64 {
    if count(round.bad) > rules.bad_fraction * count(round.samples) {
        return (limit * rules.decrease).max(count(rules.min));
    }
    if round.peak >= nearly_full(rules, limit) {
        let step = match rules.step {
            Step::One => 1.0,
            Step::SquareRoot => (limit.sqrt() / 2.0).max(1.0),
        };
        return (limit + step).min(count(rules.max));
    }
    limit
}

/// True if so many samples make a round: half of those that began together.
#[must_use]
pub fn round_is_over(rules: &Rules, limit: f64, round: &Round) -> bool {
    count(round.samples) >= count(rules.min_samples).max(limit / 2.0)
}

/// The number in flight from which the limiter is nearly full.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a limit, rounded down")]
pub(super) fn nearly_full(rules: &Rules, limit: f64) -> u64 {
    (rules.near * limit).floor() as u64
}

#[expect(clippy::cast_precision_loss, reason = "numbers of calls")]
fn count(calls: u64) -> f64 {
    calls as f64
}

/// Decisions in a row at the lowest limit with a median above the target, after which that is reported...
const HOPELESS_DECISIONS: u32 = 20;
/// ... once in this time.
const BETWEEN_WARNINGS: Nanos = 60 * 1_000_000_000;
/// The durations that are remembered for the median.
const REMEMBERED: usize = 100;

/// The law at work: the limit, and the round that goes on.
#[derive(Clone, Debug)]
pub struct Aimdf {
    limit: f64,
    round: Round,
    decided_at: Nanos,
    /// The decisions that changed the limit, by their direction.
    increases: u64,
    decreases: u64,
    /// Decisions in a row that could not lower the limit any more.
    hopeless: u32,
    warned_at: Option<Nanos>,
    /// The durations of the last calls at the lowest limit, which alone matter for what is reported.
    lately: VecDeque<Nanos>,
}

impl Aimdf {
    pub fn new(initial: u64, now: Nanos) -> Self {
        Self {
            limit: count(initial),
            round: Round::default(),
            decided_at: now,
            increases: 0,
            decreases: 0,
            hopeless: 0,
            warned_at: None,
            lately: VecDeque::new(),
        }
    }

    /// How many calls may be in flight: the limit is kept with its fraction, and rounded down.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between the bounds, which are whole numbers")]
    pub fn limit(&self) -> u64 {
        self.limit.floor() as u64
    }

    pub(super) fn exact_limit(&self) -> f64 {
        self.limit
    }

    pub fn increases(&self) -> u64 {
        self.increases
    }

    pub fn decreases(&self) -> u64 {
        self.decreases
    }

    /// A call has been admitted, and with it so many are in flight.
    #[inline]
    pub fn admitted(&mut self, in_flight: u64) {
        self.round.peak = self.round.peak.max(in_flight);
    }

    /// A call has ended.
    #[inline]
    pub fn record(&mut self, rules: &Rules, sample: &Sample, now: Nanos) -> Option<Unmet> {
        if sample.began < self.decided_at {
            return None; // it says how the limit before the last decision did
        }
        let is_slow = rules.target.is_some_and(|target| sample.took > target);
        self.round.samples += 1;
        self.round.bad += u64::from(sample.dropped || is_slow);
        let is_lowest = self.limit <= count(rules.min);
        if is_lowest {
            if self.lately.len() == REMEMBERED {
                self.lately.pop_front();
            }
            self.lately.push_back(sample.took);
        }
        if !round_is_over(rules, self.limit, &self.round) {
            return None;
        }
        self.decide(rules, is_lowest, now)
    }

    fn decide(&mut self, rules: &Rules, was_lowest: bool, now: Nanos) -> Option<Unmet> {
        let round = std::mem::take(&mut self.round);
        let limit = next_limit(rules, self.limit, &round);
        self.increases += u64::from(limit > self.limit);
        self.decreases += u64::from(limit < self.limit);
        self.limit = limit;
        self.decided_at = now;
        let target = rules.target.filter(|_| was_lowest && count(round.bad) > rules.bad_fraction * count(round.samples));
        let (Some(target), Some(median)) = (target, self.median()) else {
            self.hopeless = 0;
            self.lately.clear();
            return None;
        };
        self.hopeless = self.hopeless.saturating_add(1);
        let is_due = self.warned_at.is_none_or(|warned_at| now.saturating_sub(warned_at) >= BETWEEN_WARNINGS);
        if self.hopeless < HOPELESS_DECISIONS || median <= target || !is_due {
            return None;
        }
        self.warned_at = Some(now);
        Some(Unmet { target, median, limit: self.limit() })
    }

    fn median(&mut self) -> Option<Nanos> {
        let durations = self.lately.make_contiguous();
        if durations.is_empty() {
            return None;
        }
        let mut sorted = durations.to_vec();
        let middle = sorted.len() / 2;
        Some(*sorted.select_nth_unstable(middle).1)
    }

    /// The bounds have changed.
    pub fn clamp(&mut self, rules: &Rules) {
        self.limit = self.limit.clamp(count(rules.min), count(rules.max));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            target: Some(100),
            min: 1,
            max: 200,
            decrease: 0.9,
            bad_fraction: 0.1,
            min_samples: 1,
            step: Step::One,
            near: 0.9,
        }
    }

    fn next(rules: &Rules, limit: f64, samples: u64, bad: u64, peak: u64) -> f64 {
        next_limit(rules, limit, &Round { samples, bad, peak })
    }

    #[test]
    fn the_fraction_decides() {
        let rules = rules();
        assert!((next(&rules, 20.0, 10, 1, 20) - 21.0).abs() < 1e-9);
        assert!((next(&rules, 20.0, 10, 2, 20) - 18.0).abs() < 1e-9);
        assert!((next(&rules, 20.0, 10, 0, 17) - 20.0).abs() < 1e-9, "17 of 20 is not nearly full");
        assert!((next(&rules, 20.0, 10, 0, 18) - 21.0).abs() < 1e-9);
    }

    #[test]
    fn the_bounds_hold() {
        let rules = rules();
        assert!((next(&rules, 1.0, 1, 1, 1) - 1.0).abs() < 1e-9);
        assert!((next(&rules, 200.0, 100, 0, 200) - 200.0).abs() < 1e-9);
        assert!((next(&Rules { step: Step::SquareRoot, ..rules }, 100.0, 50, 0, 100) - 105.0).abs() < 1e-9);
        assert!((next(&Rules { step: Step::SquareRoot, ..rules }, 2.0, 1, 0, 2) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_round_is_of_calls_that_began_in_it() {
        let (rules, mut law) = (rules(), Aimdf::new(4, 10));
        let sample = |began| Sample { began, took: 5, dropped: false };
        law.admitted(4);
        law.record(&rules, &sample(9), 14);
        law.record(&rules, &sample(10), 15);
        assert_eq!(law.limit(), 4, "the first began before");
        law.record(&rules, &sample(12), 17);
        assert_eq!(law.limit(), 5);
        law.admitted(5);
        law.record(&rules, &sample(16), 21);
        law.record(&rules, &sample(16), 21);
        law.record(&rules, &sample(16), 21);
        assert_eq!(law.limit(), 5, "all of them began before the decision at 17");
    }
}
