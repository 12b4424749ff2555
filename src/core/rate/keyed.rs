//! `Keyed`: a token bucket for each of very many keys, in bounded memory.
//!
//! # Algorithm
//! A full bucket is the same as none. So a key's whole state is one number (its `tat`, see `gcra`) in a [`Table`], and a key whose bucket is
//! full may be forgotten. The table is cut into shards, each with a section of its own.
//!
//! Nearly every call on a key tries and goes away. For anything more (waiting, bookings, a rate of its own) the key is made *heavy*: it
//! gets a [`Limiter`], which everybody who asks for this key uses from then on. When nobody holds it any more, and there is nothing to it
//! but a number, it is made light again.
//!
//! # Memory
//! At most `max_keys` are remembered. For a new one beyond that a full bucket is forgotten; a hand walks over the slots to find one. If there
//! is none the new key is refused until one fills up: to forget a debt instead would let more through than the limit, and would let anybody
//! who can make up keys do so.

use std::collections::BTreeMap;
use std::fmt;

use super::gcra::{Gcra, RateState, Rule};
use super::limiter::{Changed, Limiter};
use super::types::{Refusal, Statistics, Terms};
use super::units::{Rate, Scale, Units};
use crate::clock::{Clock, Nanos};
use crate::keys::{KeyHash, Room, Table};
use crate::section::{Domain, Section};
use crate::sync::Arc;
use crate::wait::{Wake, Wakes};

/// In a slot: the key is heavy.
const HEAVY: u64 = u64::MAX;

/// Up to so many keys of a shard are looked at again each time a new one has to be refused; with more, not before the time at which one
/// could be full at the earliest.
const EXACT: usize = 1024;

/// The limiter of one key.
type Shared<W, D> = Arc<Limiter<W, D>>;

/// A key that is more than a number.
struct Heavy<W: Wake, D: Domain> {
    limiter: Arc<Limiter<W, D>>,
    /// It has a rate of its own.
    own: bool,
}

struct Shard<W: Wake, D: Domain> {
    rate_state: RateState,
    terms: Terms,
    table: Table<u64>,
    heavy: BTreeMap<KeyHash, Heavy<W, D>>,
    /// The key whose bucket was the last to be taken from when full, and where that began (see `gcra`). One is enough: it matters for a
    /// fraction of a unit of time.
    fresh: (KeyHash, u64),
    /// No bucket fills up before this, as far as is known.
    none_full_before: Nanos,
    admitted: u64,
    refused: u64,
    /// Of keys that were heavy.
    waited: u64,
    waited_for: Nanos,
    forgotten: u64,
}

/// What one shard says of one key.
enum Found<W: Wake, D: Domain> {
    /// Its `tat`.
    Light(u64),
    Heavy(Arc<Limiter<W, D>>),
}

impl<W: Wake, D: Domain> Shard<W, D> {
    /// Positions are brought back into range, if need be.
    fn rebase(&mut self, now: Nanos) {
        let floor = self.rate_state.floor(now);
        if !self.rate_state.reaches(now, floor) {
            self.shift(now, |debt| debt);
        }
    }

    /// Positions begin anew, each debt becoming what `debt` makes of it.
    fn shift(&mut self, now: Nanos, debt: impl Fn(Units) -> Units) {
        let floor = self.rate_state.floor(now);
        for tat in self.table.values_mut().filter(|tat| **tat != HEAVY) {
            *tat = debt(tat.saturating_sub(floor));
        }
        self.rate_state.anchor = now;
        self.rate_state.base = 0;
        self.fresh.1 = 0;
        self.none_full_before = 0;
    }

    /// Where the takings from the key's bucket began, if that is known.
    fn busy_from(&self, key: KeyHash) -> u64 {
        if self.fresh.0 == key { self.fresh.1 } else { 0 }
    }

    fn gcra(&self, key: KeyHash, tat: u64) -> Gcra {
        Gcra::resume(self.rate_state, tat, self.busy_from(key))
    }

    /// The key, if it is remembered. One that needs no longer be heavy is made light.
    fn find(&mut self, proof: D::Proof<'_>, key: KeyHash, now: Nanos, wakes: &mut Wakes<W>) -> Option<Found<W, D>> {
        let mut tat = *self.table.get_mut(key)?;
        if tat == HEAVY {
            match self.lighten(proof, key, now, wakes) {
                Some(light) => {
                    tat = light;
                    *self.table.get_mut(key).expect("found above") = tat;
                }
                None => return Some(Found::Heavy(Arc::clone(&self.heavy[&key].limiter))),
            }
        }
        Some(Found::Light(tat))
    }

    /// Takes a key's limiter away if nobody needs it, and returns its `tat`.
    fn lighten(&mut self, proof: D::Proof<'_>, key: KeyHash, now: Nanos, wakes: &mut Wakes<W>) -> Option<u64> {
        let heavy = self.heavy.get(&key).filter(|heavy| !heavy.own && Arc::strong_count(&heavy.limiter) == 1)?;
        let (fired, quiet) = heavy.limiter.if_quiet(proof);
        wakes.append(fired);
        quiet?;
        let Heavy { limiter, own } = self.heavy.remove(&key)?;
        // Handles hold it weakly, and may take hold of it at any time; from here on no more. What they did until now counts.
        let limiter = match Arc::try_unwrap(limiter) {
            Ok(limiter) => limiter,
            Err(limiter) => {
                self.heavy.insert(key, Heavy { limiter, own });
                return None;
            }
        };
        let (fired, quiet) = limiter.if_quiet(proof);
        wakes.append(fired);
        let Some(gcra) = quiet else {
            self.heavy.insert(key, Heavy { limiter: Arc::new(limiter), own });
            return None;
        };
        let (fired, seen) = limiter.statistics(proof);
        wakes.append(fired);
        self.admitted += seen.admitted;
        self.refused += seen.refused;
        self.waited += seen.waited;
        self.waited_for += seen.waited_for;
        // With positions of its own: what is owed, rounded up.
        let debt = gcra.debt(now);
        Some(if gcra.rate_state == self.rate_state {
            self.fresh = (key, gcra.busy_from);
            gcra.tat
        } else if debt == 0 {
            0
        } else {
            self.fresh = (key, self.rate_state.ceil(now));
            self.fresh.1 + debt
        })
    }

    /// Forgets one full bucket. False if there is none.
    fn forget_one(&mut self, proof: D::Proof<'_>, now: Nanos, wakes: &mut Wakes<W>) -> bool {
        if now < self.none_full_before && self.table.len() > EXACT {
            return false;
        }
        let floor = self.rate_state.floor(now);
        let mut table = std::mem::take(&mut self.table);
        let mut next = Nanos::MAX;
        let found = table.remove_one(|key, tat| {
            if *tat == HEAVY {
                let Some(light) = self.lighten(proof, key, now, wakes) else {
                    // Whoever holds it may let go at any time; a rate of its own stays.
                    let own = self.heavy.get(&key).is_some_and(|heavy| heavy.own);
                    next = if own { next } else { next.min(now + 1) };
                    return false;
                };
                *tat = light;
            }
            let debt = tat.saturating_sub(floor);
            next = next.min(now.saturating_add(self.rate_state.rate.time(u128::from(debt))));
            debt == 0
        });
        self.table = table;
        self.forgotten += u64::from(found);
        if !found {
            self.none_full_before = next;
        }
        found
    }
}

/// What has been seen of all keys together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyedStatistics {
    pub total: Statistics,
    pub keys: usize,
    pub forgotten: u64,
}

/// A bucket for each of very many keys, see the head of this file.
pub struct Keyed<W: Wake, D: Domain> {
    shards: Box<[Section<Shard<W, D>, D>]>,
    /// Entered before any shard by whoever changes the rate of all, so that two who do leave the same in each. Holds what they were told last.
    terms: Section<Terms, D>,
    room: Room,
    scale: Scale,
    clock: Clock<W>,
}

impl<W: Wake, D: Domain> Keyed<W, D> {
    /// `shards` is a power of two.
    pub fn new(
        (rate, burst, terms): (Rate, Units, Terms),
        scale: Scale,
        max_keys: usize,
        shards: usize,
        clock: Clock<W>,
    ) -> Self {
        let anchor = clock.now();
        let shard = |_| {
            Section::new(Shard {
                rate_state: RateState { rule: Rule::Burst, rate, burst, anchor, base: 0 },
                terms,
                table: Table::default(),
                heavy: BTreeMap::new(),
                fresh: (KeyHash::new([0, 0]), 0),
                none_full_before: 0,
                admitted: 0,
                refused: 0,
                waited: 0,
                waited_for: 0,
                forgotten: 0,
            })
        };
        debug_assert!(shards.is_power_of_two());
        let shards = (0..shards).map(shard).collect();
        Self { shards, terms: Section::new(terms), room: Room::new(max_keys), scale, clock }
    }

    pub fn scale(&self) -> Scale {
        self.scale
    }

    pub fn clock(&self) -> &Clock<W> {
        &self.clock
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.room.keys()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Is this thread inside the key's section already? Every other operation on the key would then panic.
    #[inline]
    pub fn is_entered(&self, proof: D::Proof<'_>, key: KeyHash) -> bool {
        self.shard(key).is_entered(proof)
    }

    #[inline]
    fn shard(&self, key: KeyHash) -> &Section<Shard<W, D>, D> {
        &self.shards[key.shard(self.shards.len())]
    }

    /// Runs `critical` in a section, brought up to date.
    fn visit<R>(
        &self,
        proof: D::Proof<'_>,
        shard: &Section<Shard<W, D>, D>,
        wakes: &mut Wakes<W>,
        critical: impl FnOnce(&mut Shard<W, D>, Nanos, &mut Wakes<W>) -> R,
    ) -> R {
        shard.with(proof, |shard| {
            let now = self.clock.now();
            shard.rebase(now);
            critical(shard, now, wakes)
        })
    }

    /// Forgets a full bucket for one more key: its place is then the caller's. Err: when there may be one; `None` if a place is on its way
    /// from one key to another.
    fn make_room(&self, proof: D::Proof<'_>, key: KeyHash, wakes: &mut Wakes<W>) -> Result<(), Option<Nanos>> {
        // Its own shard first, so that what is in use spreads evenly.
        let own = self.shard(key);
        let others = self.shards.iter().filter(|shard| !std::ptr::eq(*shard, own));
        let (mut next, mut seen) = (Nanos::MAX, 0);
        for shard in std::iter::once(own).chain(others) {
            let found = self.visit(proof, shard, wakes, |shard, now, wakes| {
                let found = shard.forget_one(proof, now, wakes);
                next = next.min(shard.none_full_before);
                seen += shard.table.len() as u64;
                found
            });
            if found {
                return Ok(());
            }
        }
        Err((seen >= self.room.most()).then_some(next))
    }

    /// Takes `n` of the key's bucket if it may go now and nobody is before it.
    pub fn try_acquire(&self, proof: D::Proof<'_>, key: KeyHash, n: Units) -> (Wakes<W>, Result<bool, Refusal>) {
        let mut wakes = Wakes::none();
        let mut claimed = false;
        loop {
            let attempt = self.visit(proof, self.shard(key), &mut wakes, |shard, now, wakes| {
                let tat = match shard.find(proof, key, now, wakes) {
                    Some(Found::Heavy(limiter)) => return Ok(Err(limiter)),
                    Some(Found::Light(tat)) => Some(tat),
                    None => None,
                };
                if n > shard.rate_state.burst {
                    return Ok(Ok(Err(Refusal::NeverFits)));
                }
                let (floor, ceil) = (shard.rate_state.floor(now), shard.rate_state.ceil(now));
                match tat {
                    None if !claimed && !self.room.claim() => Err(()),
                    None => {
                        shard.table.insert(key, ceil + n);
                        shard.fresh = (key, ceil);
                        shard.none_full_before = 0;
                        claimed = false;
                        shard.admitted += 1;
                        Ok(Ok(Ok(true)))
                    }
                    Some(tat) => {
                        let goes = shard.rate_state.fits(tat, n, floor)
                            || shard.rate_state.fits(tat, n, shard.rate_state.reached(now, floor, shard.busy_from(key)));
                        if goes {
                            if tat < ceil {
                                shard.fresh = (key, ceil);
                            }
                            *shard.table.get_mut(key).expect("found above") = tat.max(ceil) + n;
                        }
                        *if goes { &mut shard.admitted } else { &mut shard.refused } += 1;
                        Ok(Ok(Ok(goes)))
                    }
                }
            });
            match attempt {
                Err(()) => match self.make_room(proof, key, &mut wakes) {
                    Ok(()) => claimed = true,
                    Err(None) => std::thread::yield_now(),
                    Err(Some(next)) => {
                        self.visit(proof, self.shard(key), &mut wakes, |shard, _, _| shard.refused += 1);
                        return (wakes, Err(Refusal::LineFull(next)));
                    }
                },
                Ok(answer) => {
                    if claimed {
                        self.room.give_up(); // somebody else has put the key in meanwhile
                    }
                    return match answer {
                        Ok(answer) => (wakes, answer),
                        Err(limiter) => {
                            let (fired, answer) = limiter.try_acquire(proof, n);
                            wakes.append(fired);
                            (wakes, answer)
                        }
                    };
                }
            }
        }
    }

    /// The key's limiter: for everything but trying. The key is heavy as long as it is held.
    pub fn limiter(&self, proof: D::Proof<'_>, key: KeyHash) -> (Wakes<W>, Result<Shared<W, D>, Refusal>) {
        self.heavy(proof, key, |heavy| Arc::clone(&heavy.limiter))
    }

    /// Whoever held the key's limiter has let go of it: if nobody else does, and there is nothing to it but a number, it is light again.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn let_go(&self, proof: D::Proof<'_>, key: KeyHash) -> Wakes<W> {
        let mut wakes = Wakes::none();
        self.visit(proof, self.shard(key), &mut wakes, |shard, now, wakes| {
            let floor = shard.rate_state.floor(now);
            if matches!(shard.find(proof, key, now, wakes), Some(Found::Light(tat)) if tat <= floor) {
                shard.table.remove(key); // full is the same as none
                self.room.give_up();
            }
        });
        wakes
    }

    /// A rate for this key alone. It is remembered until [`Keyed::forget`].
    pub fn set_rate_of(
        &self,
        proof: D::Proof<'_>,
        key: KeyHash,
        (rate, burst): (Rate, Option<Units>),
        terms: impl FnOnce(&mut Terms),
    ) -> (Wakes<W>, Result<(), Refusal>) {
        let (mut wakes, limiter) = self.heavy(proof, key, |heavy| {
            heavy.own = true;
            Arc::clone(&heavy.limiter)
        });
        let done = limiter.map(|limiter| wakes.append(limiter.set_rate(proof, rate, burst, None, terms)));
        (wakes, done)
    }

    /// The key's own rate is dropped: that of all others holds for it. False if it had none.
    pub fn forget(&self, proof: D::Proof<'_>, key: KeyHash) -> (Wakes<W>, bool) {
        let mut wakes = Wakes::none();
        let changed = self.visit(proof, self.shard(key), &mut wakes, |shard, _, wakes| {
            let (rate_state, all) = (shard.rate_state, shard.terms);
            let heavy = shard.heavy.get_mut(&key).filter(|heavy| heavy.own)?;
            heavy.own = false;
            shard.none_full_before = 0;
            Some(heavy.limiter.set_rate_inside(proof, (rate_state.rate, Some(rate_state.burst)), |terms| *terms = all, wakes))
        });
        let found = changed.is_some();
        if let Some(changed) = changed {
            changed.tell(proof, &mut wakes);
        }
        (wakes, found)
    }

    fn heavy<R>(
        &self,
        proof: D::Proof<'_>,
        key: KeyHash,
        with: impl Fn(&mut Heavy<W, D>) -> R,
    ) -> (Wakes<W>, Result<R, Refusal>) {
        let mut wakes = Wakes::none();
        let mut claimed = false;
        loop {
            let attempt = self.visit(proof, self.shard(key), &mut wakes, |shard, now, wakes| {
                let tat = match shard.find(proof, key, now, wakes) {
                    Some(Found::Heavy(_)) => {
                        shard.none_full_before = 0; // who holds it may give back
                        return Some(with(shard.heavy.get_mut(&key).expect("found above")));
                    }
                    Some(Found::Light(tat)) => tat,
                    None if claimed || self.room.claim() => {
                        shard.table.insert(key, HEAVY);
                        shard.none_full_before = 0;
                        claimed = false;
                        0
                    }
                    None => return None,
                };
                let limiter = Arc::new(Limiter::resume(
                    shard.rate_state,
                    (tat, shard.busy_from(key)),
                    shard.terms,
                    self.scale,
                    self.clock.clone(),
                ));
                *shard.table.get_mut(key).expect("it is there by now") = HEAVY;
                shard.heavy.insert(key, Heavy { limiter, own: false });
                shard.heavy.get_mut(&key).map(&with)
            });
            match attempt {
                Some(result) => {
                    if claimed {
                        self.room.give_up();
                    }
                    return (wakes, Ok(result));
                }
                None => match self.make_room(proof, key, &mut wakes) {
                    Ok(()) => claimed = true,
                    Err(None) => std::thread::yield_now(),
                    Err(Some(next)) => return (wakes, Err(Refusal::LineFull(next))),
                },
            }
        }
    }

    /// A key that is not has a full bucket.
    pub fn is_remembered(&self, proof: D::Proof<'_>, key: KeyHash) -> bool {
        self.shard(key).with(proof, |shard| shard.table.get_mut(key).is_some())
    }

    /// What could be taken of the key's bucket now, in units; negative in debt.
    pub fn level(&self, proof: D::Proof<'_>, key: KeyHash) -> (Wakes<W>, i128) {
        let mut wakes = Wakes::none();
        let found =
            self.visit(proof, self.shard(key), &mut wakes, |shard, now, wakes| match shard.find(proof, key, now, wakes) {
                None => Ok(i128::from(shard.rate_state.burst)),
                Some(Found::Light(tat)) => Ok(shard.gcra(key, tat).level(now, shard.rate_state.burst)),
                Some(Found::Heavy(limiter)) => Err(limiter),
            });
        let level = found.unwrap_or_else(|limiter| {
            let (fired, level) = limiter.level(proof);
            wakes.append(fired);
            level
        });
        (wakes, level)
    }

    /// True if `n` is more than the key's bucket can ever hold.
    pub fn never_fits(&self, proof: D::Proof<'_>, key: KeyHash, n: Units) -> bool {
        self.shard(key)
            .with(proof, |shard| shard.heavy.get(&key).map_or(n > shard.rate_state.burst, |heavy| heavy.limiter.never_fits(n)))
    }

    /// How long until `n` of the key's bucket could go, those in its line being served first.
    pub fn retry_after(&self, proof: D::Proof<'_>, key: KeyHash, n: Units) -> (Wakes<W>, Result<Nanos, Refusal>) {
        let mut wakes = Wakes::none();
        let found =
            self.visit(proof, self.shard(key), &mut wakes, |shard, now, wakes| match shard.find(proof, key, now, wakes) {
                Some(Found::Heavy(limiter)) => Err(limiter),
                _ if n > shard.rate_state.burst => Ok(Err(Refusal::NeverFits)),
                None => Ok(Ok(0)),
                Some(Found::Light(tat)) => Ok(Ok(shard.gcra(key, tat).ready_at(n, now) - now)),
            });
        match found {
            Ok(answer) => (wakes, answer),
            Err(limiter) => {
                let (fired, answer) = limiter.retry_after(proof, n);
                wakes.append(fired);
                (wakes, answer)
            }
        }
    }

    /// Another rate and burst, from now on, for every key without its own. What is there stays there, as far as it fits; so do debts.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn set_rate(
        &self,
        proof: D::Proof<'_>,
        (rate, burst): (Rate, Option<Units>),
        change: impl FnOnce(&mut Terms),
    ) -> Wakes<W> {
        let (mut wakes, mut changed) = (Wakes::none(), Changed::nobody());
        self.terms.with(proof, |terms| {
            change(terms);
            for shard in &self.shards {
                self.visit(proof, shard, &mut wakes, |shard, now, wakes| {
                    let old = shard.rate_state.burst;
                    let burst = burst.unwrap_or(old);
                    shard.shift(now, |debt| (debt + burst).saturating_sub(old));
                    (shard.rate_state.rate, shard.rate_state.burst, shard.terms) = (rate, burst, *terms);
                    for Heavy { limiter, .. } in shard.heavy.values().filter(|heavy| !heavy.own) {
                        changed.and(limiter.set_rate_inside(proof, (rate, Some(burst)), |each| *each = *terms, wakes));
                    }
                });
            }
        });
        changed.tell(proof, &mut wakes);
        wakes
    }

    /// What it was told, last, for the keys without a rate of their own.
    pub fn terms(&self, proof: D::Proof<'_>) -> Terms {
        self.terms.with(proof, |terms| *terms)
    }

    /// What holds for this key.
    pub fn terms_of(&self, proof: D::Proof<'_>, key: KeyHash) -> Terms {
        self.shard(key).with(proof, |shard| shard.heavy.get(&key).map_or(shard.terms, |heavy| heavy.limiter.terms(proof)))
    }

    pub fn statistics(&self, proof: D::Proof<'_>) -> (Wakes<W>, KeyedStatistics) {
        let mut wakes = Wakes::none();
        let mut seen = KeyedStatistics { keys: self.len(), ..KeyedStatistics::default() };
        for shard in &self.shards {
            self.visit(proof, shard, &mut wakes, |shard, _, wakes| {
                let total = &mut seen.total;
                total.admitted += shard.admitted;
                total.refused += shard.refused;
                total.waited += shard.waited;
                total.waited_for += shard.waited_for;
                seen.forgotten += shard.forgotten;
                for heavy in shard.heavy.values() {
                    let (fired, one) = heavy.limiter.statistics(proof);
                    wakes.append(fired);
                    total.admitted += one.admitted;
                    total.refused += one.refused;
                    total.waited += one.waited;
                    total.waited_for += one.waited_for;
                    total.waiters += one.waiters;
                }
            });
        }
        (wakes, seen)
    }

    /// Every waker in every line, each once.
    pub fn visit_wakers(&self, proof: D::Proof<'_>, mut waker: impl FnMut(&W)) {
        for shard in &self.shards {
            shard.with(proof, |shard| {
                for heavy in shard.heavy.values() {
                    heavy.limiter.visit_wakers(proof, &mut waker);
                }
            });
        }
    }
}

impl<W: Wake, D: Domain> fmt::Debug for Keyed<W, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").finish_non_exhaustive()
    }
}
