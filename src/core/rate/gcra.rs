//! The token bucket and the shaper, as the *generic cell rate algorithm* (ITU-T I.371, annex A; ATM Forum TM 4.0), counted in units.
//!
//! Time is a position that grows with the rate. One number is the whole state: `tat`, the "theoretical arrival time", here a position too.
//! What is admitted moves it ahead: `tat = max(tat, position(now)) + n`. A bucket admits as long as `tat` stays within `burst` of now;
//! so its tokens are `burst - (tat - now)`, and a `tat` in the past means full. The maximum is what makes it safe: a clock reading that
//! is late, or goes back, can only move `tat` further ahead; no time is credited twice.
//!
//! A shaper admits when `tat` has been reached, whatever the amount: then what was let go before has been paid for.
//!
//! The law: in no window of length `t` is more admitted than `burst + rate * t`. Proof: let `a_1 .. a_k` be admitted at `t_1 .. t_k`. After
//! the first, `tat >= ceil(t_1) + a_1`; each adds its amount; before the last, `tat + a_k <= floor(t_k) + burst`. So the sum is at most
//! `burst + floor(t_k) - ceil(t_1)`, which is at most `burst + rate * (t_k - t_1)`.
//!
//! Positions are whole units, so a start from a full bucket in the middle of a unit is rounded up, to `busy_from`. For the rest of that unit
//! `floor(now)` is one less, and a bucket from which nothing is missing would be short of one unit. So `busy_from` counts as reached from the
//! start on. The bound above then is `burst` where `t_1` and `t_k` lie in one unit, and earlier takings have been worked off at `t_1`.

use super::units::{Rate, Units};
use crate::clock::Nanos;

/// When may something go?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// While it fits into the burst: a token bucket.
    Burst,
    /// When what went before is paid for: a shaper.
    Spaced,
}

/// How positions belong to times, and how far ahead one may get.
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
    /// What has come in until `now`, rounded down.
    #[inline]
    pub(super) fn floor(&self, now: Nanos) -> u64 {
        self.base + clipped(self.rate.floor(now.saturating_sub(self.anchor)))
    }

    /// As `floor`, rounded up.
    #[inline]
    pub(super) fn ceil(&self, now: Nanos) -> u64 {
        self.base + clipped(self.rate.ceil(now.saturating_sub(self.anchor)))
    }

    /// The position that counts as reached when it is `floor`, after a start from a full bucket at `busy_from`. (Never more than `ceil`, so
    /// that a `busy_from` of another range can do no harm.)
    pub(super) fn reached(&self, now: Nanos, floor: u64, busy_from: u64) -> u64 {
        if busy_from > floor { busy_from.min(self.ceil(now)) } else { floor }
    }

    /// Are positions counted well here, or is it time to begin anew?
    #[inline]
    pub(super) fn reaches(&self, now: Nanos, floor: u64) -> bool {
        floor <= Gcra::REBASE && now.saturating_sub(self.anchor) <= self.rate.horizon
    }

    /// The first moment by which `floor` has reached the position.
    fn moment(&self, position: u64) -> Nanos {
        self.anchor.saturating_add(self.rate.time(u128::from(position.saturating_sub(self.base))))
    }

    /// May `n` go, with `tat` so far, when the position is `floor`? (For a bucket `n` is no more than the burst.)
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
    /// Where the takings since the last full bucket began, rounded up.
    pub(super) busy_from: u64,
    /// No position beyond this has ever been used.
    highest: u64,
}

impl Gcra {
    /// Positions stay below this, bookings ahead of them below twice of it.
    pub(super) const FAR: u64 = 1 << 62;

    /// No state lies beyond this, so a clock that comes later than it has seen everything paid for; positions are cut off here.
    const TOP: u64 = 1 << 63;

    /// Beyond this position the count begins anew.
    pub(super) const REBASE: u64 = 1 << 61;

    /// `debt` is what is missing from a full bucket.
    pub(super) fn new(rule: Rule, rate: Rate, burst: Units, debt: Units, now: Nanos) -> Self {
        Self::resume(RateState { rule, rate, burst, anchor: now, base: 0 }, debt, 0)
    }

    pub(super) fn resume(rate_state: RateState, tat: u64, busy_from: u64) -> Self {
        Self { rate_state, tat, busy_from, highest: tat }
    }

    fn reached(&self, now: Nanos) -> u64 {
        self.rate_state.reached(now, self.rate_state.floor(now), self.busy_from)
    }

    /// What is missing from a full bucket, rounded up.
    pub(super) fn debt(&self, now: Nanos) -> u64 {
        self.tat.saturating_sub(self.reached(now))
    }

    /// The first moment, not before `from`, at which `n` may go.
    pub(super) fn ready_at(&self, n: Units, from: Nanos) -> Nanos {
        let position = match self.rate_state.rule {
            Rule::Burst => (self.tat + n).saturating_sub(self.rate_state.burst),
            Rule::Spaced => self.tat,
        };
        // `busy_from` counts as reached in the unit in which it was rounded up.
        let position = if position == self.busy_from { position.saturating_sub(1) } else { position };
        from.max(self.rate_state.moment(position))
    }

    /// Is there room ahead for `n` more?
    pub(super) fn can_book(&self, n: Units) -> bool {
        self.tat.saturating_add(n) <= Gcra::FAR + Self::REBASE
    }

    /// Where the fast path has moved it.
    pub(super) fn moved(&mut self, tat: u64, busy_from: u64) {
        self.tat = tat;
        self.busy_from = busy_from;
        self.highest = self.highest.max(tat);
    }

    /// Returns by how much nothing was owed any more at `at`.
    pub(super) fn take(&mut self, n: Units, at: Nanos) -> Units {
        let start = self.rate_state.ceil(at);
        let idle = start.saturating_sub(self.tat);
        if self.tat < start {
            self.busy_from = start;
            self.tat = start;
        }
        self.tat += n;
        self.highest = self.highest.max(self.tat);
        idle
    }

    /// By how much further ahead `tat` could be with `n` still fitting at `at`.
    pub(super) fn spare(&self, n: Units, at: Nanos) -> Units {
        let reached = self.rate_state.floor(at);
        match self.rate_state.rule {
            Rule::Burst => (reached + self.rate_state.burst).saturating_sub(self.tat + n),
            Rule::Spaced => reached.saturating_sub(self.tat),
        }
    }

    /// By how much `n` taken at `at` moves `tat`.
    pub(super) fn moves_by(&self, n: Units, at: Nanos) -> u64 {
        self.rate_state.ceil(at).saturating_sub(self.tat) + n
    }

    /// How much of what was taken before `at` is then still to be worked off: so much could go without `at` coming any nearer.
    pub(super) fn backlog(&self, at: Nanos) -> Units {
        self.tat.saturating_sub(self.rate_state.ceil(at))
    }

    /// Gives `n` back, or so much of it that what is promised at these moments, in their order, stays taken.
    /// Returns how much that was.
    pub(super) fn give_back(&mut self, n: Units, promised: impl Iterator<Item = (Nanos, Units)>) -> Units {
        let least = promised.fold(0, |tat: u64, (at, n)| tat.max(self.rate_state.ceil(at)) + n);
        // Before the base lies what belonged to other rates (see `fast_path`), and there a bucket is full anyway. And a change of the law
        // can leave promises that it would not have made: they need no more than is taken.
        let before = self.tat;
        self.tat = before.saturating_sub(n).max(self.rate_state.base).max(least.min(before));
        before.saturating_sub(self.tat)
    }

    /// What could be taken now, in units; negative in debt.
    pub(super) fn level(&self, now: Nanos, burst: Units) -> i128 {
        i128::from(burst) - i128::from(self.debt(now))
    }

    /// Another rate, another burst, from now on. What is there stays there, as far as it fits; so do debts.
    pub(super) fn set(&mut self, rate: Rate, burst: Units, now: Nanos) {
        let debt = i128::from(burst) - self.level(now, self.rate_state.burst).min(i128::from(burst));
        let debt = if self.rate_state.rule == Rule::Burst { debt } else { i128::from(self.debt(now)) };
        self.begin_anew(now, u64::try_from(debt).unwrap_or(Self::TOP));
        self.rate_state.rate = rate;
        self.rate_state.burst = burst;
    }

    /// Brings positions back into range, if need be. Whoever compares positions may rely on this: after it, or `set`, they are of a range
    /// that has not been used before (in a long time: it wraps).
    pub(super) fn rebase(&mut self, now: Nanos) {
        let floor = self.rate_state.floor(now);
        if !self.rate_state.reaches(now, floor) {
            self.begin_anew(now, self.debt(now));
        }
    }

    /// A debt beyond `FAR` has been a position beyond `REBASE`: then the base is 0, and the sum fits.
    fn begin_anew(&mut self, now: Nanos, debt: u64) {
        let used = self.highest.max(self.rate_state.ceil(now));
        self.rate_state.base = if used < Self::REBASE { used + 1 } else { 0 };
        self.rate_state.anchor = now;
        self.tat = self.rate_state.base + debt;
        self.busy_from = 0;
        self.highest = self.tat;
    }
}
