//! `Watermarks`: a high and a low mark (hysteresis), so that a source is not stopped and started for every item.
//!
//! # States
//!
//! | state | how full the queue is            | next | counted    |
//! |-------|----------------------------------|------|------------|
//! | low   | at the high mark, or above       | high | a crossing |
//! | low   | below the high mark              | low  |            |
//! | high  | above the low mark               | high |            |
//! | high  | at the low mark, or below        | low  | a crossing |
//!
//! So the two kinds of crossing alternate, and their number tells the state: an odd number is high. The low mark is below the high one, hence
//! no filling is at both, and between two crossings the filling changes by the distance of the marks.
//!
//! A mark is a share of the bound, or a number of items or of units of weight. Of two bounds the fuller one counts: high when one
//! of them is at its mark, low when both are. A bound may be lowered below a mark that is a number: then high is as much as the bound, and
//! low at most one less.
//!
//! # What it does not do
//! It knows neither queue nor waiters: it maps a level to whether the level is a crossing.

use crate::clock::Nanos;

/// One of the marks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mark {
    /// A share of the bound, above 0 and at most 1. Without a bound it is never reached.
    Share(f64),
    /// A number of items, or of units of weight.
    Count(u64),
}

/// How full something is by one measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    pub used: u64,
    /// `u64::MAX` for none.
    pub bound: u64,
}

impl Fill {
    /// From 0 to 1. Without a bound it is 0.
    #[expect(clippy::cast_precision_loss, reason = "counts of items, and of what they weigh")]
    pub fn level(self) -> f64 {
        match self.bound {
            u64::MAX => 0.0,
            0 => 1.0,
            bound => (self.used as f64 / bound as f64).min(1.0),
        }
    }

    fn is_at_or_above(self, mark: Mark) -> bool {
        match mark {
            Mark::Share(share) => self.bound != u64::MAX && self.level() >= share,
            Mark::Count(count) => self.used >= count.min(self.bound.max(1)),
        }
    }

    fn is_at_or_below(self, mark: Mark) -> bool {
        match mark {
            Mark::Share(share) => self.bound == u64::MAX || self.level() <= share,
            Mark::Count(count) => self.used <= count.min(self.bound.max(1) - 1),
        }
    }
}

/// The statistics of the crossings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crossed {
    /// The number of crossings in both directions: odd in the high state.
    pub crossings: u64,
    /// The time spent in the high state, including the current period.
    pub high_for: Nanos,
}

impl Crossed {
    pub fn is_high(self) -> bool {
        self.crossings % 2 == 1
    }
}

/// See the head of this file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Watermarks {
    high: Mark,
    low: Mark,
    /// True if a count is in units of weight.
    counts_weight: bool,
    crossings: u64,
    high_since: Nanos,
    /// The time in the high state, without the current period.
    high_for: Nanos,
    /// With no fewer items than the first number and fewer than the second nothing is crossed.
    quiet: (u64, u64),
    /// The bound for which that holds, in this state.
    quiet_bound: Option<u64>,
}

/// The smallest number for which `is_it` returns true. It does for all larger numbers, too.
fn smallest(is_it: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, u64::MAX);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_it(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

impl Watermarks {
    /// `counts_weight`: a [`Mark::Count`] is one of units of weight, not of items.
    ///
    /// # Panics
    /// If the low mark is not below the high one, or the two are not of one kind.
    pub fn new(high: Mark, low: Mark, counts_weight: bool) -> Self {
        let in_order = match (high, low) {
            (Mark::Share(high), Mark::Share(low)) => low < high,
            (Mark::Count(high), Mark::Count(low)) => low < high,
            _ => false,
        };
        assert!(in_order, "the low mark is below the high one");
        Self { high, low, counts_weight, crossings: 0, high_since: 0, high_for: 0, quiet: (0, 0), quiet_bound: None }
    }

    /// Records the current level. Returns true at a crossing; only then is the clock read.
    pub fn observe(&mut self, number: Fill, weight: Option<Fill>, now: impl FnOnce() -> Nanos) -> bool {
        let is_count = matches!(self.high, Mark::Count(_));
        // A number counts one thing; a share is one of each bound that there is.
        let items = Some(number).filter(|_| !(is_count && self.counts_weight));
        let weight = weight.filter(|_| !is_count || self.counts_weight);
        let mut measures = items.into_iter().chain(weight);
        let crosses = if self.crossings % 2 == 1 {
            measures.all(|fill| fill.is_at_or_below(self.low))
        } else {
            measures.any(|fill| fill.is_at_or_above(self.high))
        };
        if crosses {
            self.cross(now());
        }
        self.be_quiet(number.bound);
        crosses
    }

    /// With this number of items nothing is crossed, if only the number counts and the bound is that of the last look.
    #[inline]
    pub fn is_quiet_at(&self, items: u64) -> bool {
        (self.quiet.0..self.quiet.1).contains(&items)
    }

    /// Nothing is known about the bound until the next look.
    pub(super) fn look_again(&mut self) {
        (self.quiet, self.quiet_bound) = ((0, 0), None);
    }

    fn be_quiet(&mut self, bound: u64) {
        if self.quiet_bound == Some(bound) || self.counts_weight {
            return;
        }
        self.quiet_bound = Some(bound);
        self.quiet = if self.crossings % 2 == 1 {
            (smallest(|used| !Fill { used, bound }.is_at_or_below(self.low)), u64::MAX)
        } else {
            (0, smallest(|used| Fill { used, bound }.is_at_or_above(self.high)))
        };
    }

    /// Ends the observation: the state is low from now on. Returns true if that is a crossing.
    pub fn give_up(&mut self, now: Nanos) -> bool {
        let is_high = self.crossings % 2 == 1;
        if is_high {
            self.cross(now);
        }
        is_high
    }

    fn cross(&mut self, now: Nanos) {
        if self.crossings % 2 == 1 {
            self.high_for = self.high_for.saturating_add(now.saturating_sub(self.high_since));
        } else {
            self.high_since = now;
        }
        self.crossings += 1;
        self.look_again();
    }

    pub fn crossed(&self, now: Nanos) -> Crossed {
        let present = if self.crossings % 2 == 1 { now.saturating_sub(self.high_since) } else { 0 };
        Crossed { crossings: self.crossings, high_for: self.high_for.saturating_add(present) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn filled(used: u64, bound: u64) -> Fill {
        Fill { used, bound }
    }

    /// The numbers of items at the two marks.
    fn crossings(marks: &mut Watermarks, bound: u64, filling: impl IntoIterator<Item = u64>) -> Vec<u64> {
        filling.into_iter().filter(|&used| marks.observe(filled(used, bound), None, || used)).collect()
    }

    #[test]
    fn a_share_of_every_small_bound_has_both_states() {
        for bound in 1..100 {
            let mut marks = Watermarks::new(Mark::Share(0.8), Mark::Share(0.5), false);
            let crossed = crossings(&mut marks, bound, (0..=bound).chain((0..bound).rev()));
            assert_eq!(crossed, [(bound * 8).div_ceil(10), bound / 2], "of {bound}");
        }
    }

    /// Where it is quiet an observation crosses nothing, and where it is not it does.
    #[test]
    fn it_knows_where_it_is_quiet() {
        let marks = [
            (Mark::Share(0.8), Mark::Share(0.5)),
            (Mark::Share(1.0), Mark::Share(0.1)),
            (Mark::Count(6), Mark::Count(0)),
            (Mark::Count(40), Mark::Count(3)),
        ];
        for (high, low) in marks {
            for bound in [1, 2, 3, 7, 10, 30, u64::MAX] {
                for before in 0..=bound.min(50) {
                    let mut marks = Watermarks::new(high, low, false);
                    assert!(!marks.is_quiet_at(0), "it has not looked yet");
                    marks.observe(filled(40, 40), None, || 0);
                    marks.observe(filled(before, bound), None, || 0);
                    for used in 0..60 {
                        assert_eq!(
                            marks.is_quiet_at(used),
                            !{ marks }.observe(filled(used, bound), None, || 0),
                            "{marks:?} {used}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn between_the_marks_nothing_happens() {
        let mut marks = Watermarks::new(Mark::Count(8), Mark::Count(5), false);
        let swinging = (0..1000).map(|n| if n % 2 == 0 { 6 } else { 7 });
        assert_eq!(crossings(&mut marks, u64::MAX, [0].into_iter().chain(swinging.clone())), []);
        assert_eq!(crossings(&mut marks, u64::MAX, [8].into_iter().chain(swinging)), [8]);
        assert_eq!(crossings(&mut marks, u64::MAX, [5, 6, 7, 8, 7, 6]), [5, 8]);
        assert_eq!(marks.crossed(0).crossings, 3);
    }

    #[test]
    fn the_time_above_the_low_mark_is_counted() {
        let mut marks = Watermarks::new(Mark::Count(2), Mark::Count(0), false);
        for (used, now) in [(2, 10), (1, 15), (0, 30), (1, 40), (2, 50)] {
            marks.observe(filled(used, 2), None, || now);
        }
        assert_eq!(marks.crossed(57), Crossed { crossings: 3, high_for: 27 });
        assert!(marks.crossed(57).is_high());
    }

    #[test]
    fn of_two_bounds_the_fuller_one_counts() {
        let mut marks = Watermarks::new(Mark::Share(0.8), Mark::Share(0.5), false);
        let mut see = |items, weight| marks.observe(filled(items, 10), Some(filled(weight, 1000)), || 0);
        assert!(!see(7, 799));
        assert!(see(1, 800));
        assert!(!see(6, 100), "the weight is low, the number is not");
        assert!(see(5, 500));
    }

    #[test]
    fn a_number_counts_one_of_the_two() {
        let mut items = Watermarks::new(Mark::Count(3), Mark::Count(1), false);
        assert!(!items.observe(filled(2, u64::MAX), Some(filled(1000, 1000)), || 0));
        let mut weight = Watermarks::new(Mark::Count(3), Mark::Count(1), true);
        assert!(weight.observe(filled(1, u64::MAX), Some(filled(3, 1000)), || 0));
    }

    #[test]
    fn without_a_bound_a_share_is_low() {
        let mut marks = Watermarks::new(Mark::Share(0.5), Mark::Share(0.1), false);
        assert!(!marks.observe(filled(1_000_000, u64::MAX), None, || 0));
        assert!(marks.observe(filled(5, 10), None, || 0));
        assert!(marks.observe(filled(5, u64::MAX), None, || 0), "the bound has gone");
        assert!(
            [filled(7, u64::MAX), filled(7, 5), filled(1, 0)].map(|fill| fill.level().to_bits())
                == [0.0_f64, 1.0, 1.0].map(f64::to_bits)
        );
    }

    #[test]
    fn a_number_above_the_bound_is_the_bound() {
        let mut marks = Watermarks::new(Mark::Count(80), Mark::Count(50), false);
        assert_eq!(crossings(&mut marks, 40, (0..=40).chain((0..40).rev())), [40, 39]);
        assert_eq!(crossings(&mut marks, 60, (0..=60).chain((0..60).rev())), [60, 50]);
        assert_eq!(crossings(&mut marks, 1, [0, 1, 0, 1]), [1, 0, 1]);
        assert_eq!(crossings(&mut marks, 0, [1, 0]), [0]);
        assert_eq!(crossings(&mut marks, 100, [79, 80, 51, 50]), [80, 50]);
    }

    #[test]
    fn given_up_it_is_low() {
        let mut marks = Watermarks::new(Mark::Count(1), Mark::Count(0), false);
        assert!(!marks.give_up(1));
        assert!(marks.observe(filled(1, 1), None, || 2));
        assert!(marks.give_up(5));
        assert_eq!(marks.crossed(9), Crossed { crossings: 2, high_for: 3 });
    }
}
