//! The limit that a keyed limiter enforces for each key, and the state that it keeps for a key that is only tried.
//!
//! - [`BucketLaw`]: token buckets and shapers. The state of a key is one number, its `tat` (see `gcra`).
//! - [`WindowLaw`]: sliding windows. The state of a key is the moments of the last period, at most [`MOMENTS`] of them (see `window`).

use std::fmt;

use super::forgetting::Ageing;
use super::gcra::{Gcra, RateState, Rule};
use super::limiter::{Changed, Limiter};
use super::schedule::Schedule;
use super::types::{Refusal, Terms};
use super::units::{Rate, Scale, Units};
use super::window::{MOMENTS, Window, part_of};
use crate::clock::{Clock, Nanos};
use crate::keys::KeyHash;
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

/// One limit for all keys. A key whose state can be forgotten is equal to a key that has never been seen.
#[expect(private_interfaces, reason = "users of the core choose a law, and call none of these")]
pub trait Law: Clone + fmt::Debug + Send {
    /// The state of a light key, one that is only tried.
    type Light: Default + fmt::Debug + Send;
    /// The new values of a change: a rate, or a limit.
    type Change: Copy + fmt::Debug;

    /// The marker that is stored in place of a state when the key has a limiter.
    fn heavy() -> Self::Light;

    fn is_heavy(light: &Self::Light) -> bool;

    /// Moves the origin of positions if they are out of range. Returns whether it did.
    fn rebase(&mut self, _table: &mut Ageing<Self::Light>, _now: Nanos) -> bool {
        false
    }

    /// The largest amount that can be admitted at once.
    fn largest(&self) -> Units;

    /// Takes `n` of a key if it can be admitted.
    fn try_take(&mut self, key: KeyHash, light: &mut Self::Light, n: Units, now: Nanos) -> Result<bool, Refusal>;

    /// The amount that can be taken now; negative in debt.
    fn level(&self, key: KeyHash, light: &Self::Light, now: Nanos, scale: Scale) -> i128;

    /// The first moment, not before `now`, at which `n` can be admitted.
    fn ready_at(&self, key: KeyHash, light: &Self::Light, n: Units, now: Nanos) -> Nanos;

    /// A number that the key's state alone determines, on a scale that moves with time: the key may be forgotten once [`Law::reached`] is as
    /// large. Whatever is taken of the key makes it larger. `u64::MAX` for a heavy key.
    fn position(light: &Self::Light) -> u64;

    /// The largest position that has been reached at `now`.
    fn reached(&self, now: Nanos) -> u64;

    /// The moment, not before `now`, at which this position is reached.
    fn when(&self, position: u64, now: Nanos) -> Nanos;

    /// A limiter that continues from the key's state.
    fn limiter<W: Wake, D: Domain>(
        &self,
        key: KeyHash,
        light: &Self::Light,
        now: Nanos,
        terms: Terms,
        scale: Scale,
        clock: Clock<W>,
    ) -> Limiter<W, D>;

    /// The light state that corresponds to the schedule of a key's limiter, when that is the limiter's whole state. `None`: there is none, or no
    /// memory for it.
    fn lighten(&mut self, key: KeyHash, schedule: Schedule, now: Nanos) -> Option<Self::Light>;

    /// Sets the limit from now on.
    fn change(&mut self, change: Self::Change, table: &mut Ageing<Self::Light>, now: Nanos);

    /// The change that sets all values of this limit.
    fn whole(&self) -> Self::Change;

    /// The same change for a key's limiter, made inside a section. The caller notifies the sets outside of it.
    fn change_inside<W: Wake, D: Domain>(
        limiter: &Limiter<W, D>,
        proof: D::Proof<'_>,
        change: Self::Change,
        terms: impl FnOnce(&mut Terms),
        wakes: &mut Wakes<W>,
    ) -> Changed<W, D>;
}

/// The limit of token buckets or shapers.
#[derive(Clone, Debug)]
pub struct BucketLaw {
    rate_state: RateState,
    capacity: usize,
    fresh: Fresh,
}

/// The keys whose full buckets were last taken from at this position (see `gcra`). This matters only for the rest of that unit of time.
#[derive(Clone, Debug, Default)]
struct Fresh {
    at: u64,
    keys: Vec<KeyHash>,
}

impl Fresh {
    /// The number of keys that are remembered. The bucket of any further key may seem one unit short for the rest of the unit.
    const MOST: usize = 4096;

    #[inline]
    fn put(&mut self, key: KeyHash, at: u64) {
        if at > self.at {
            self.at = at;
            self.keys.clear();
        }
        if at == self.at && self.keys.len() < Self::MOST && self.keys.try_reserve(1).is_ok() {
            self.keys.push(key);
        }
    }
}

/// A new rate and, if given, the burst of a bucket or the capacity of a shaper.
#[derive(Clone, Copy, Debug)]
pub struct NewRate {
    pub rate: Rate,
    pub burst: Option<Units>,
    pub capacity: Option<usize>,
}

impl BucketLaw {
    /// Buckets with this burst.
    pub fn new(rate: Rate, burst: Units, now: Nanos) -> Self {
        Self::with(Rule::Burst, rate, burst, usize::MAX, now)
    }

    /// Shapers with at most `capacity` waiters for each key.
    pub fn spaced(rate: Rate, capacity: usize, now: Nanos) -> Self {
        Self::with(Rule::Spaced, rate, 0, capacity, now)
    }

    fn with(rule: Rule, rate: Rate, burst: Units, capacity: usize, now: Nanos) -> Self {
        Self { rate_state: RateState { rule, rate, burst, anchor: now, base: 0 }, capacity, fresh: Fresh::default() }
    }

    /// Counts positions from a new origin. `debt` maps the old debt of each key to the new one.
    #[cold]
    #[inline(never)] // so that the check whether it is needed is inlined
    fn shift(&mut self, table: &mut Ageing<u64>, now: Nanos, debt: impl Fn(Units) -> Units) {
        let floor = self.rate_state.floor(now);
        let shift = |tat: &mut u64| {
            if *tat != Self::HEAVY {
                *tat = debt(tat.saturating_sub(floor));
            }
        };
        table.change_all(shift, Self::position);
        self.rate_state.anchor = now;
        self.rate_state.base = 0;
        self.fresh = Fresh::default();
    }

    /// The position at which taking from the key's full bucket began, if it can still matter.
    fn busy_from(&self, key: KeyHash) -> u64 {
        if self.fresh.keys.contains(&key) { self.fresh.at } else { 0 }
    }

    fn gcra(&self, key: KeyHash, tat: u64) -> Gcra {
        Gcra::resume(self.rate_state, tat, self.busy_from(key))
    }

    const HEAVY: u64 = u64::MAX;
}

#[expect(private_interfaces, reason = "see the trait")]
impl Law for BucketLaw {
    type Light = u64;
    type Change = NewRate;

    fn heavy() -> u64 {
        Self::HEAVY
    }

    #[inline]
    fn is_heavy(tat: &u64) -> bool {
        *tat == Self::HEAVY
    }

    #[inline]
    fn rebase(&mut self, table: &mut Ageing<u64>, now: Nanos) -> bool {
        let floor = self.rate_state.floor(now);
        let rebases = !self.rate_state.reaches(now, floor);
        if rebases {
            self.shift(table, now, |debt| debt);
        }
        rebases
    }

    #[inline]
    fn largest(&self) -> Units {
        if self.rate_state.rule == Rule::Burst { self.rate_state.burst } else { Units::MAX }
    }

    #[inline]
    fn try_take(&mut self, key: KeyHash, tat: &mut u64, n: Units, now: Nanos) -> Result<bool, Refusal> {
        let (floor, ceil) = (self.rate_state.floor(now), self.rate_state.ceil(now));
        let goes = self.rate_state.fits(*tat, n, floor)
            || (self.fresh.at > floor && self.rate_state.fits(*tat, n, self.rate_state.reached(now, floor, self.busy_from(key))));
        if goes {
            if *tat < ceil {
                self.fresh.put(key, ceil);
            }
            *tat = (*tat).max(ceil) + n;
        }
        Ok(goes)
    }

    fn level(&self, key: KeyHash, tat: &u64, now: Nanos, scale: Scale) -> i128 {
        let full = if self.rate_state.rule == Rule::Burst { self.rate_state.burst } else { scale.per_token() };
        self.gcra(key, *tat).level(now, full)
    }

    fn ready_at(&self, key: KeyHash, tat: &u64, n: Units, now: Nanos) -> Nanos {
        self.gcra(key, *tat).ready_at(n, now)
    }

    #[inline]
    fn position(tat: &u64) -> u64 {
        *tat
    }

    #[inline]
    fn reached(&self, now: Nanos) -> u64 {
        self.rate_state.floor(now)
    }

    fn when(&self, position: u64, now: Nanos) -> Nanos {
        if position == Self::HEAVY {
            return Nanos::MAX;
        }
        let left = position.saturating_sub(self.rate_state.floor(now));
        now.saturating_add(self.rate_state.rate.time(u128::from(left)))
    }

    fn limiter<W: Wake, D: Domain>(
        &self,
        key: KeyHash,
        tat: &u64,
        _now: Nanos,
        terms: Terms,
        scale: Scale,
        clock: Clock<W>,
    ) -> Limiter<W, D> {
        Limiter::resume(self.gcra(key, *tat), self.capacity, terms, scale, clock)
    }

    fn lighten(&mut self, key: KeyHash, schedule: Schedule, now: Nanos) -> Option<u64> {
        let Schedule::Bucket(bucket) = schedule else { return None };
        let gcra = bucket.gcra;
        // The positions of the limiter have another origin: convert the debt, rounded up.
        let debt = gcra.debt(now);
        Some(if gcra.rate_state == self.rate_state {
            self.fresh.put(key, gcra.busy_from);
            gcra.tat
        } else if debt == 0 {
            0
        } else {
            let start = self.rate_state.ceil(now);
            self.fresh.put(key, start);
            start + debt
        })
    }

    fn change(&mut self, NewRate { rate, burst, capacity }: NewRate, table: &mut Ageing<u64>, now: Nanos) {
        let old = self.rate_state.burst;
        let burst = burst.unwrap_or(old);
        self.shift(table, now, |debt| (debt + burst).saturating_sub(old));
        (self.rate_state.rate, self.rate_state.burst) = (rate, burst);
        self.capacity = capacity.unwrap_or(self.capacity);
    }

    fn whole(&self) -> NewRate {
        NewRate { rate: self.rate_state.rate, burst: Some(self.rate_state.burst), capacity: Some(self.capacity) }
    }

    fn change_inside<W: Wake, D: Domain>(
        limiter: &Limiter<W, D>,
        proof: D::Proof<'_>,
        NewRate { rate, burst, capacity }: NewRate,
        terms: impl FnOnce(&mut Terms),
        wakes: &mut Wakes<W>,
    ) -> Changed<W, D> {
        limiter.set_rate_inside(proof, (rate, burst, capacity), terms, wakes)
    }
}

/// The limit of sliding windows.
#[derive(Clone, Debug)]
pub struct WindowLaw {
    limit: Units,
    period: Nanos,
}

/// A new limit and, if given, a new period.
#[derive(Clone, Copy, Debug)]
pub struct NewLimit {
    pub limit: Units,
    pub period: Option<Nanos>,
}

/// The amounts taken of a key with their moments, in order; or a marker that the key has a limiter.
#[derive(Debug)]
pub enum Log {
    Moments(Vec<(Nanos, Units)>),
    Heavy,
}

impl Default for Log {
    fn default() -> Self {
        Self::Moments(Vec::new())
    }
}

impl Log {
    /// The amounts taken in the window that ends at `now`, in order.
    fn counted(&self, period: Nanos, now: Nanos) -> impl DoubleEndedIterator<Item = &(Nanos, Units)> {
        let moments = if let Self::Moments(moments) = self { moments.as_slice() } else { &[] };
        moments.iter().filter(move |(at, _)| at.saturating_add(period) > now)
    }
}

impl WindowLaw {
    pub fn new(limit: Units, period: Nanos) -> Self {
        Self { limit, period }
    }

    fn used(&self, log: &Log, now: Nanos) -> Units {
        log.counted(self.period, now).fold(0, |used: Units, (_, n)| used.saturating_add(*n))
    }
}

#[expect(private_interfaces, reason = "see the trait")]
impl Law for WindowLaw {
    type Light = Log;
    type Change = NewLimit;

    fn heavy() -> Log {
        Log::Heavy
    }

    #[inline]
    fn is_heavy(log: &Log) -> bool {
        matches!(log, Log::Heavy)
    }

    #[inline]
    fn largest(&self) -> Units {
        self.limit
    }

    fn try_take(&mut self, _key: KeyHash, log: &mut Log, n: Units, now: Nanos) -> Result<bool, Refusal> {
        if self.used(log, now).saturating_add(n) > self.limit {
            return Ok(false);
        }
        let Log::Moments(moments) = log else { return Ok(false) };
        moments.retain(|(at, _)| at.saturating_add(self.period) > now);
        let now = moments.last().map_or(now, |(last, _)| now.max(*last));
        if let Some((_, taken)) = moments.last_mut().filter(|(last, _)| *last == now) {
            *taken += n;
            return Ok(true);
        }
        moments.try_reserve(1).map_err(|_| Refusal::NoMemory)?;
        moments.push((now, n));
        if moments.len() > MOMENTS {
            let part = |index: usize| part_of(moments[index].0, self.period);
            let first =
                (1..moments.len()).find(|&next| part(next - 1) == part(next)).expect("there are fewer parts than moments");
            moments[first].1 += moments[first - 1].1;
            moments.remove(first - 1);
        }
        Ok(true)
    }

    fn level(&self, _key: KeyHash, log: &Log, now: Nanos, _scale: Scale) -> i128 {
        i128::from(self.limit) - i128::from(self.used(log, now))
    }

    fn ready_at(&self, _key: KeyHash, log: &Log, n: Units, now: Nanos) -> Nanos {
        let mut left = self.used(log, now);
        let mut leaving = log.counted(self.period, now);
        let mut at = now;
        while left.saturating_add(n) > self.limit {
            let Some((taken, amount)) = leaving.next() else { break };
            (at, left) = (taken.saturating_add(self.period), left - amount);
        }
        at
    }

    /// The moment after the last one at which something was taken, or 0.
    fn position(log: &Log) -> u64 {
        match log {
            Log::Moments(moments) => moments.last().map_or(0, |(at, _)| at.saturating_add(1)),
            Log::Heavy => u64::MAX,
        }
    }

    fn reached(&self, now: Nanos) -> u64 {
        now.saturating_add(1).saturating_sub(self.period)
    }

    fn when(&self, position: u64, now: Nanos) -> Nanos {
        position.checked_sub(1).map_or(now, |last| now.max(last.saturating_add(self.period)))
    }

    fn limiter<W: Wake, D: Domain>(
        &self,
        _key: KeyHash,
        log: &Log,
        now: Nanos,
        terms: Terms,
        scale: Scale,
        clock: Clock<W>,
    ) -> Limiter<W, D> {
        let window = Window::bounded(self.limit, self.period, log.counted(self.period, now).copied(), now);
        Limiter::resume_window(window, terms, scale, clock)
    }

    fn lighten(&mut self, _key: KeyHash, schedule: Schedule, now: Nanos) -> Option<Log> {
        let Schedule::Window(mut window) = schedule else { return None };
        let log = window.log(now)?;
        let mut moments = Vec::new();
        moments.try_reserve_exact(MOMENTS).ok()?;
        moments.extend(log);
        Some(Log::Moments(moments))
    }

    fn change(&mut self, NewLimit { limit, period }: NewLimit, table: &mut Ageing<Log>, now: Nanos) {
        // A longer period does not bring back what a shorter one has forgotten.
        let forget = |log: &mut Log| {
            if let Log::Moments(moments) = log {
                moments.retain(|(at, _)| at.saturating_add(self.period) > now);
            }
        };
        table.change_all(forget, Self::position);
        self.limit = limit;
        self.period = period.unwrap_or(self.period);
    }

    fn whole(&self) -> NewLimit {
        NewLimit { limit: self.limit, period: Some(self.period) }
    }

    fn change_inside<W: Wake, D: Domain>(
        limiter: &Limiter<W, D>,
        proof: D::Proof<'_>,
        NewLimit { limit, period }: NewLimit,
        terms: impl FnOnce(&mut Terms),
        wakes: &mut Wakes<W>,
    ) -> Changed<W, D> {
        limiter.set_window_inside(proof, (limit, period), terms, wakes)
    }
}
