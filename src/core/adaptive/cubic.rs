//! CUBIC for the rate that a service can sustain: a cut when it refuses, and a way back that slows down where it was cut.
//! Pure: the time is an argument.
//!
//! # Algorithm
//! The growth function is that of S. Ha, I. Rhee and L. Xu, "CUBIC: a new TCP-friendly high-speed TCP variant", ACM SIGOPS Operating Systems
//! Review 42(5), 2008 (RFC 9438), with the constants 0.4 and 0.7; it was carried over to rates of requests, with the measured rate as a bound
//! on both, by the AWS SDKs (botocore's adaptive mode).
//!
//! | event                                              | the rate                                                                    |
//! |----------------------------------------------------|-----------------------------------------------------------------------------|
//! | a refusal of a call that began since the last cut   | `w` = the lesser of rate and measured rate; then `decrease * w`              |
//! | a refusal of an older call                          | as it was: the cut has answered it                                           |
//! | a success, `t` seconds after the cut                | [`growth`]: `w + scale * (t - k)^3`, but never less than it was, nor more than twice the measured rate |
//! | a success long after, when nobody had called        | the configured rate: nothing is known any more                               |
//!
//! `k = cbrt(w * (1 - decrease) / scale)` is when the rate is `w` again. It stays between `min` and `max`, the configured rate.
//!
//! # Differences from botocore
//! A refusal of a call that began before the last cut does not cut again (there, many calls in flight cut many times), the bound by the
//! measured rate does not lower the rate, and time is monotonic.
//!
//! # What it does not do
//! It admits nothing: a token bucket does, at this rate.

use crate::clock::{Nanos, nanos, seconds};

/// How long calls are counted for the measured rate.
const SPAN: Nanos = 500_000_000;
/// The share of the last span in the measured rate.
const WEIGHT: f64 = 0.8;
/// With no call for so long nobody has called.
const SILENCE: Nanos = 2_000_000_000;

/// The constants of the law. Rates are in calls a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    pub min: f64,
    /// The configured rate.
    pub max: f64,
    pub decrease: f64,
    pub scale: f64,
}

/// The rate `since` seconds after a cut at the rate `w`.
#[must_use]
pub fn growth(rules: &Rules, w: f64, since: f64) -> f64 {
    let k = (w * (1.0 - rules.decrease) / rules.scale).cbrt();
    w + rules.scale * (since - k).powi(3)
}

/// The calls a second that end, smoothed.
#[derive(Clone, Copy, Debug)]
struct Measured {
    since: Nanos,
    ended: u32,
    /// None until a span is over.
    rate: Option<f64>,
    last: Nanos,
}

impl Measured {
    fn count(&mut self, now: Nanos) {
        self.ended = self.ended.saturating_add(1);
        self.last = now;
        let passed = now.saturating_sub(self.since);
        if passed >= SPAN {
            let rate = f64::from(self.ended) / seconds(passed);
            self.rate = Some(self.rate.map_or(rate, |old| WEIGHT * rate + (1.0 - WEIGHT) * old));
            self.since = now;
            self.ended = 0;
        }
    }
}

/// The last cut.
#[derive(Clone, Copy, Debug)]
struct Cut {
    at: Nanos,
    w: f64,
}

/// The law at work.
#[derive(Clone, Copy, Debug)]
pub struct Cubic {
    rules: Rules,
    rate: f64,
    measured: Measured,
    /// None when the rate is what was configured.
    cut: Option<Cut>,
    cut_at: Option<Nanos>,
    cuts: u64,
}

impl Cubic {
    pub fn new(rules: Rules, now: Nanos) -> Self {
        let measured = Measured { since: now, ended: 0, rate: None, last: now };
        Self { rules, rate: rules.max, measured, cut: None, cut_at: None, cuts: 0 }
    }

    pub fn rate(&self) -> f64 {
        self.rate
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    pub fn cuts(&self) -> u64 {
        self.cuts
    }

    /// A call that began then was refused because there were too many.
    pub fn throttled(&mut self, began: Nanos, now: Nanos) {
        self.measured.count(now);
        if self.cut_at.is_some_and(|cut_at| began < cut_at) {
            return;
        }
        let w = self.measured.rate.map_or(self.rate, |measured| self.rate.min(measured));
        self.rate = self.bounded(w * self.rules.decrease);
        self.cut = Some(Cut { at: now, w });
        self.cut_at = Some(now);
        self.cuts += 1;
    }

    /// A call was served.
    pub fn succeeded(&mut self, now: Nanos) {
        let silent = now.saturating_sub(self.measured.last) >= SILENCE;
        self.measured.count(now);
        let Some(Cut { at, w }) = self.cut else { return };
        let grown = growth(&self.rules, w, seconds(now.saturating_sub(at)));
        let bound = match self.measured.rate {
            Some(measured) if !(silent && grown >= self.rules.max) => 2.0 * measured,
            _ => self.rules.max,
        };
        self.rate = self.bounded(grown.min(bound).max(self.rate));
        if self.rate >= self.rules.max {
            self.cut = None;
        }
    }

    /// Another rate was configured.
    pub fn configure(&mut self, max: f64) {
        self.rules.max = max;
        self.rate = if self.cut.is_some() { self.bounded(self.rate) } else { max };
    }

    /// The rate between the bounds; the upper one holds if it has been configured to be below the lower one.
    fn bounded(&self, rate: f64) -> f64 {
        rate.max(self.rules.min).min(self.rules.max)
    }
}

/// How long it takes until the rate is again what it was before a cut.
#[must_use]
pub fn recovery(rules: &Rules, w: f64) -> Nanos {
    nanos((w * (1.0 - rules.decrease) / rules.scale).cbrt())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn law() -> Cubic {
        Cubic::new(Rules { min: 0.5, max: 100.0, decrease: 0.7, scale: 0.4 }, 0)
    }

    fn is_about(rate: f64, expected: f64) -> bool {
        (rate - expected).abs() < 1e-6
    }

    #[test]
    fn the_rate_is_what_was_configured_until_somebody_refuses() {
        let mut law = law();
        law.succeeded(SECOND);
        assert!(is_about(law.rate(), 100.0));
        law.throttled(SECOND, 2 * SECOND);
        assert!(law.rate() < 70.1 && law.cuts() == 1);
    }

    #[test]
    fn calls_that_began_before_a_cut_do_not_cut_again() {
        let mut law = law();
        law.throttled(0, SECOND / 10);
        let after = law.rate();
        assert!(is_about(after, 70.0));
        law.throttled(SECOND / 10 - 1, SECOND / 5);
        assert!(is_about(law.rate(), after));
        law.throttled(SECOND / 10, SECOND / 5);
        assert!(is_about(law.rate(), 49.0));
    }

    #[test]
    fn growth_is_slow_where_it_was_cut() {
        let rules = *law().rules();
        assert!(is_about(growth(&rules, 50.0, 0.0), 35.0));
        let k = seconds(recovery(&rules, 50.0));
        assert!(is_about(growth(&rules, 50.0, k), 50.0));
        let around = growth(&rules, 50.0, k + 0.5) - growth(&rules, 50.0, k - 0.5);
        assert!(around < 0.2 && growth(&rules, 50.0, k + 4.0) > 70.0, "{around}");
    }

    #[test]
    fn after_a_silence_nothing_is_known() {
        let mut law = law();
        law.throttled(0, SECOND / 10);
        law.succeeded(SECOND);
        assert!(law.rate() < 100.0);
        law.succeeded(100 * SECOND);
        assert!(is_about(law.rate(), 100.0));
        law.configure(50.0);
        assert!(is_about(law.rate(), 50.0));
    }

    #[test]
    fn a_lower_rate_for_a_while_does_not_lower_the_least_rate() {
        let mut law = law();
        law.configure(0.1);
        law.throttled(SECOND, SECOND);
        assert!(is_about(law.rate(), 0.1));
        law.configure(100.0);
        assert!(is_about(law.rate(), 0.5));
        for turn in 2..50 {
            law.throttled(turn * SECOND, turn * SECOND);
        }
        assert!(is_about(law.rate(), 0.5));
    }

    #[test]
    fn it_never_leaves_its_bounds() {
        let mut law = law();
        for turn in 0..200 {
            law.throttled(turn * SECOND, turn * SECOND);
            assert!((0.5..=100.0).contains(&law.rate()));
        }
        assert!(is_about(law.rate(), 0.5));
    }
}
