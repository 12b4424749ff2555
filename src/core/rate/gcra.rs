//! The token bucket and the shaper, as the *generic cell rate algorithm* (ITU-T I.371, annex A; ATM Forum TM 4.0), counted in units.
//!
//! Time is expressed as a position that grows with the rate. One number is the whole state: `tat`, the "theoretical arrival time", here a
//! position too. An admitted amount moves it ahead: `tat = max(tat, position(now)) + n`. A bucket admits as long as `tat` stays within
//! `burst` of now; so it holds `burst - (tat - now)` tokens, and a `tat` in the past means a full bucket. The maximum makes this safe: a
//! clock reading that is late or goes back can only move `tat` further ahead, so no time is credited twice.
//!
//! A shaper admits an amount of any size once `tat` has been reached, because the amounts admitted before have then been paid for.
//!
//! Bound: in any window of length `t` at most `burst + rate * t` is admitted. Proof: let `a_1 .. a_k` be admitted at `t_1 .. t_k`. After
//! the first, `tat >= ceil(t_1) + a_1`; each of the others adds its amount; before the last, `tat + a_k <= floor(t_k) + burst`. So the sum
//! is at most `burst + floor(t_k) - ceil(t_1)`, which is at most `burst + rate * (t_k - t_1)`.
//!
//! Positions are whole units, so a start from a full bucket in the middle of a unit is rounded up, to `busy_from`. For the rest of that
//! unit `floor(now)` is one less, and a bucket from which nothing is missing would seem one unit short. So `busy_from` counts as reached
//! from the start on. If `t_1` and `t_k` lie in one unit and earlier amounts have drained at `t_1`, the bound is `burst`.

use super::units::{Rate, Units};
use crate::clock::Nanos;

/// The rule by which an amount is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// While it fits into the burst: a token bucket.
    Burst,
    /// When the amounts before it have been paid for: a shaper.
    Spaced,
}

/// The relation of positions to times, and how far ahead of the clock `tat` may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RateState {
    pub(super) rule: Rule,
    pub(super) rate: Rate,
    pub(super) burst: Units,
    /// The position at `anchor` is `base`.
    pub(super) anchor: Nanos,
    pub(super) base: u64,
}

#[expect(clippy::cast_possible_truncation, reason = "it is the lesser of two")]
fn clipped(units: u128) -> u64 {
    units.min(u128::from(Gcra::TOP)) as u64
}

impl RateState {
    /// The position at `now`, rounded down.
    #[inline]
    pub(super) fn floor(&self, now: Nanos) -> u64 {
        self.base + clipped(self.rate.floor(now.saturating_sub(self.anchor)))
    }

    /// The position at `now`, rounded up.
    #[inline]
    pub(super) fn ceil(&self, now: Nanos) -> u64 {
        self.base + clipped(self.rate.ceil(now.saturating_sub(self.anchor)))
    }

    /// The position that counts as reached when the current one is `floor`, after a start from a full bucket at `busy_from`. It is never
    /// more than `ceil`, so a `busy_from` of an earlier range does no harm.
    pub(super) fn reached(&self, now: Nanos, floor: u64, busy_from: u64) -> u64 {
        if busy_from > floor { busy_from.min(self.ceil(now)) } else { floor }
    }

    /// True if positions at `now` are within range; otherwise the origin has to be moved.
    #[inline]
    pub(super) fn reaches(&self, now: Nanos, floor: u64) -> bool {
        floor <= Gcra::REBASE && now.saturating_sub(self.anchor) <= self.rate.horizon
    }

    /// The first moment at which `floor` has reached the position.
    fn moment(&self, position: u64) -> Nanos {
        self.anchor.saturating_add(self.rate.time(u128::from(position.saturating_sub(self.base))))
    }

    /// True if `n` can be admitted with this `tat` when the position is `floor`. (For a bucket, `n` is no more than the burst.)
    #[inline]
    pub(super) fn fits(&self, tat: u64, n: Units, floor: u64) -> bool {
        match self.rule {
            Rule::Burst => tat + n <= floor + self.burst,
            Rule::Spaced => tat <= floor,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Gcra {
    pub(super) rate_state: RateState,
    pub(super) tat: u64,
    /// The position at which the amounts taken since the last full bucket began, rounded up.
    pub(super) busy_from: u64,
    /// The highest position that has ever been used.
    highest: u64,
}

impl Gcra {
    /// Positions stay below this, and bookings ahead of them below twice this.
    pub(super) const FAR: u64 = 1 << 62;

    /// No `tat` lies beyond this position, where positions are cut off: at a clock reading far in the future everything is paid for.
    const TOP: u64 = 1 << 63;

    /// Beyond this position, positions are counted from a new origin.
    pub(super) const REBASE: u64 = 1 << 61;

    /// Cuts off a position that was computed in a wider type.
    pub(super) fn position(position: i128) -> u64 {
        u64::try_from(position).map_or(Self::TOP, |position| position.min(Self::TOP))
    }

    /// `debt` is the amount missing from a full bucket.
    pub(super) fn new(rule: Rule, rate: Rate, burst: Units, debt: Units, now: Nanos) -> Self {
        Self::resume(RateState { rule, rate, burst, anchor: now, base: 0 }, debt, 0)
    }

    pub(super) fn resume(rate_state: RateState, tat: u64, busy_from: u64) -> Self {
        Self { rate_state, tat, busy_from, highest: tat }
    }

    fn reached(&self, now: Nanos) -> u64 {
        self.rate_state.reached(now, self.rate_state.floor(now), self.busy_from)
    }

    /// The amount missing from a full bucket, rounded up.
    pub(super) fn debt(&self, now: Nanos) -> u64 {
        self.tat.saturating_sub(self.reached(now))
    }

    /// The first moment, not before `from`, at which `n` can be admitted.
    pub(super) fn ready_at(&self, n: Units, from: Nanos) -> Nanos {
        let position = match self.rate_state.rule {
            Rule::Burst => (self.tat + n).saturating_sub(self.rate_state.burst),
            Rule::Spaced => self.tat,
        };
        // `busy_from` counts as reached in the unit in which it was rounded up.
        let position = if position == self.busy_from { position.saturating_sub(1) } else { position };
        from.max(self.rate_state.moment(position))
    }

    /// How much less than `tat` the position may be when `n` is admitted, now or after bookings: what `n` leaves of the burst, or one more.
    pub(super) fn left_by(&self, n: Units) -> i128 {
        let RateState { rule, rate, burst, .. } = &self.rate_state;
        let left = if *rule == Rule::Burst { i128::from(*burst) - i128::from(n) } else { 0 };
        // In the unit in which `busy_from` was rounded up, one less is enough (see `ready_at`). That can happen later if the bucket has not come
        // that far yet, or if a later booking moves `busy_from`; then there is a gap before that booking, unless next to nothing is left.
        let has_passed = i128::from(self.tat) - left > i128::from(self.busy_from);
        let is_exact = left <= 0 || has_passed && left.unsigned_abs() > rate.ceil(1) + 2;
        left + i128::from(!is_exact)
    }

    /// True if `n` more can be booked without leaving the range of positions.
    pub(super) fn can_book(&self, n: Units) -> bool {
        self.tat.saturating_add(n) <= Gcra::FAR + Self::REBASE
    }

    /// Takes over the state to which the fast path has moved.
    pub(super) fn moved(&mut self, tat: u64, busy_from: u64) {
        self.tat = tat;
        self.busy_from = busy_from;
        self.highest = self.highest.max(tat);
    }

    pub(super) fn take(&mut self, n: Units, at: Nanos) {
        let start = self.rate_state.ceil(at);
        if self.tat < start {
            self.busy_from = start;
            self.tat = start;
        }
        self.tat += n;
        self.highest = self.highest.max(self.tat);
    }

    /// The part of the amounts taken before `at` that has not drained at `at`.
    pub(super) fn backlog(&self, at: Nanos) -> Units {
        self.tat.saturating_sub(self.rate_state.ceil(at))
    }

    /// Gives back `n`, or the part of it that the promises at these moments, in order, do not need. Returns the amount given back.
    pub(super) fn give_back(&mut self, n: Units, promised: impl Iterator<Item = (Nanos, Units)>) -> Units {
        let least = promised.fold(0, |tat: u64, (at, n)| tat.max(self.rate_state.ceil(at)) + n);
        // Positions before the base belong to other rates (see `fast_path`), and a bucket is full there anyway. After a change of the rate
        // there can be promises that the new rate would not allow; they need no more than what is taken.
        let before = self.tat;
        self.tat = before.saturating_sub(n).max(self.rate_state.base).max(least.min(before));
        before.saturating_sub(self.tat)
    }

    /// The amount that can be taken now, in units; negative in debt.
    pub(super) fn level(&self, now: Nanos, burst: Units) -> i128 {
        i128::from(burst) - i128::from(self.debt(now))
    }

    /// Sets the rate and the burst from now on. Tokens are kept as far as they fit; debts are kept.
    pub(super) fn set(&mut self, rate: Rate, burst: Units, now: Nanos) {
        let debt = i128::from(burst) - self.level(now, self.rate_state.burst).min(i128::from(burst));
        let debt = if self.rate_state.rule == Rule::Burst { debt } else { i128::from(self.debt(now)) };
        self.begin_anew(now, u64::try_from(debt).unwrap_or(Self::TOP));
        self.rate_state.rate = rate;
        self.rate_state.burst = burst;
    }

    /// Moves the origin of positions if they are out of range. Afterwards, and after `set`, positions are from a range that has not been
    /// used before, so that equal positions mean an unchanged state. (The range wraps around after a very long time.)
    pub(super) fn rebase(&mut self, now: Nanos) {
        let floor = self.rate_state.floor(now);
        if !self.rate_state.reaches(now, floor) {
            self.begin_anew(now, self.debt(now));
        }
    }

    /// A debt beyond `FAR` was a position beyond `REBASE`; then the base is 0, and the sum fits.
    fn begin_anew(&mut self, now: Nanos, debt: u64) {
        let used = self.highest.max(self.rate_state.ceil(now));
        self.rate_state.base = if used < Self::REBASE { used + 1 } else { 0 };
        self.rate_state.anchor = now;
        self.tat = self.rate_state.base + debt;
        self.busy_from = 0;
        self.highest = self.tat;
    }
}
