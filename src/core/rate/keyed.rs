//! `Keyed`: a limiter for each of very many keys, in bounded memory.
//!
//! # Algorithm
//! The state of a key that has only been tried is small, and contains no information when the key owes nothing: a full bucket, or a window
//! in which nothing was taken, equals an absent one. So the states of keys (see `law`) are kept in a table, and a key that owes nothing
//! may be evicted. The table is cut into shards, each with a section of its own.
//!
//! Nearly every call on a key is a try that does not wait. For any other operation (waiting, bookings, a limit of its own) the key is made
//! *heavy*: it gets a [`Limiter`], which all callers use for this key from then on. When no caller holds the limiter any more and its
//! schedule is its whole state, the key is made light again.
//!
//! # Memory
//! At most `max_keys` are remembered. For a new key beyond that, a key that owes nothing is evicted, which `forgetting` finds. If there is
//! none, the new key is refused until some key owes nothing: evicting a debt would admit more than the limit, and callers that can make up
//! keys could use that. Each shard says before which moment none of its keys can owe nothing, so a refusal looks at no key. While a key is
//! heavy, its users decide when it can be evicted: then a refusal looks at some of the heavy keys, and tells when one will owe nothing if its
//! users leave it as it is; or a second, if it owes nothing already.

use std::fmt;

use super::law::Law;
use super::limiter::{Changed, Limiter};
use super::shard::{Earliest, Found, Guarded, Heavy, Shard};
use super::types::{Refusal, Statistics, Terms, Told};
use super::units::{Scale, Units};
use crate::clock::{Clock, Nanos};
use crate::keys::{KeyCapacity, KeyHash};
use crate::room::PlaceForArc;
use crate::section::{Domain, Section};
use crate::sync::{Arc, Count};
use crate::wait::{Wake, Wakes};

/// The limiter of one key.
type Shared<W, D> = Arc<Limiter<W, D>>;

/// The statistics of all keys together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyedStatistics {
    pub total: Statistics,
    pub keys: usize,
    pub forgotten: u64,
}

/// A limiter for each of very many keys, see the head of this file.
pub struct Keyed<W: Wake, D: Domain, L: Law> {
    pub(super) shards: Box<[Guarded<W, D, L>]>,
    /// What the last newcomer without a place has found, so that the next one need not ask every shard.
    pub(super) earliest: Section<Earliest, D>,
    /// How often the bound of a shard has moved earlier.
    pub(super) moved_up: Arc<Count>,
    /// The terms that apply to all keys. Entered before any shard by a thread that changes the limit of all keys, so that two such threads
    /// leave the same limit in every shard.
    terms: Section<Terms, D>,
    pub(super) capacity: KeyCapacity,
    scale: Scale,
    pub(super) clock: Clock<W>,
}

impl<W: Wake, D: Domain, L: Law> Keyed<W, D, L> {
    /// `shards` is a power of two.
    pub fn new(law: &L, terms: Terms, scale: Scale, max_keys: usize, shards: usize, clock: Clock<W>) -> Self {
        debug_assert!(shards.is_power_of_two());
        let moved_up = Arc::new(Count::new(0));
        let shards = (0..shards).map(|_| Guarded::new(law, terms, Arc::clone(&moved_up))).collect();
        Self {
            shards,
            earliest: Section::new(Earliest::default()),
            moved_up,
            terms: Section::new(terms),
            capacity: KeyCapacity::new(max_keys),
            scale,
            clock,
        }
    }

    pub fn scale(&self) -> Scale {
        self.scale
    }

    pub fn clock(&self) -> &Clock<W> {
        &self.clock
    }

    /// The number of keys that are remembered.
    pub fn len(&self) -> usize {
        self.capacity.keys()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True if this thread is inside the key's section already. Every other operation on the key would then panic.
    #[inline]
    pub fn is_entered(&self, proof: D::Proof<'_>, key: KeyHash) -> bool {
        self.shard(key).section.is_entered(proof)
    }

    #[inline]
    pub(super) fn shard(&self, key: KeyHash) -> &Guarded<W, D, L> {
        &self.shards[key.shard(self.shards.len())]
    }

    /// Runs `critical` in a shard's section, after the shard has been updated.
    pub(super) fn visit<R>(
        &self,
        proof: D::Proof<'_>,
        shard: &Guarded<W, D, L>,
        wakes: &mut Wakes<W>,
        critical: impl FnOnce(&mut Shard<W, D, L>, Nanos, &mut Wakes<W>) -> R,
    ) -> R {
        shard.section.with(proof, |inside| {
            let now = self.clock.now();
            if inside.law.rebase(&mut inside.table, now) {
                shard.set_none_before(0);
            }
            critical(inside, now, wakes)
        })
    }

    /// The number of keys that are in the tables.
    pub(super) fn count(&self, proof: D::Proof<'_>) -> u64 {
        self.shards.iter().map(|shard| shard.section.with(proof, |shard| shard.table.len() as u64)).sum()
    }

    /// Takes `n` of the key if it can be admitted now and no request is waiting.
    pub fn try_acquire(&self, proof: D::Proof<'_>, key: KeyHash, n: Units) -> (Wakes<W>, Result<bool, Refusal>) {
        let (mut wakes, guarded) = (Wakes::none(), self.shard(key));
        let mut claimed = false;
        loop {
            let attempt = self.visit(proof, guarded, &mut wakes, |shard, now, wakes| {
                if let Some(goes) = shard.try_light(key, n, now) {
                    return Ok(Ok(goes));
                }
                match shard.find(proof, key, now, wakes) {
                    Found::Heavy(limiter) => return Ok(Err(limiter)),
                    Found::Light => return Ok(Ok(shard.try_light(key, n, now).expect("found this moment"))),
                    Found::Nothing if n > shard.law.largest() => return Ok(Ok(Err(Refusal::NeverFits))),
                    Found::Nothing => {}
                }
                if !claimed && !self.capacity.claim() {
                    // Err: it is not known that there is no room, and `make_room` goes on with the same reading of the clock.
                    let after = self.room_after(guarded, shard, now).ok_or(now)?;
                    shard.refused += 1;
                    return Ok(Ok(Err(Refusal::AllKeysInUse(after))));
                }
                claimed = true;
                let mut light = L::Light::default();
                if let Err(refusal) = shard.law.try_take(key, &mut light, n, now) {
                    return Ok(Ok(Err(refusal)));
                }
                if shard.table.insert(key, light, L::position).is_err() {
                    return Ok(Ok(Err(Refusal::NoMemory)));
                }
                claimed = false; // the slot belongs to the key from now on
                guarded.set_none_before(0);
                shard.admitted += 1;
                Ok(Ok(Ok(true)))
            });
            match attempt {
                Err(now) => match self.make_room(proof, key, now, &mut wakes) {
                    Ok(()) => claimed = true,
                    Err(None) => std::thread::yield_now(),
                    Err(Some(after)) => {
                        guarded.section.with(proof, |shard| shard.refused += 1);
                        return (wakes, Err(Refusal::AllKeysInUse(after)));
                    }
                },
                Ok(answer) => {
                    if claimed {
                        self.capacity.release(); // another thread has added the key, or there is no memory for it
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

    /// Takes `n` of the key, or, if it cannot be admitted within `limit`, refuses it and returns the time until it could be. `None`:
    /// nothing has happened, and the key's limiter has to be asked.
    pub fn try_or_tell(
        &self,
        proof: D::Proof<'_>,
        key: KeyHash,
        n: Units,
        limit: Option<Nanos>,
    ) -> (Wakes<W>, Result<Option<Told>, Refusal>) {
        let (mut wakes, guarded) = (Wakes::none(), self.shard(key));
        let found = self.visit(proof, guarded, &mut wakes, |shard, now, wakes| {
            let light = match shard.find(proof, key, now, wakes) {
                Found::Light => shard.table.get_mut(key).expect("found this moment"),
                Found::Nothing if self.capacity.is_full() && n <= shard.law.largest() => {
                    let Some(after) = self.room_after(guarded, shard, now) else { return Err(Found::Nothing) };
                    shard.refused += 1;
                    return Ok(Err(Refusal::AllKeysInUse(after)));
                }
                found => return Err(found),
            };
            if n > shard.law.largest() {
                return Ok(Ok(None));
            }
            match shard.law.try_take(key, light, n, now) {
                Ok(false) => {}
                Ok(true) => {
                    shard.admitted += 1;
                    return Ok(Ok(Some(Told::Admitted)));
                }
                Err(_) => return Ok(Ok(None)),
            }
            let after = shard.law.ready_at(key, light, n, now) - now;
            let refused = limit.is_some_and(|limit| after > limit);
            shard.refused += u64::from(refused);
            Ok(Ok(refused.then_some(Told::RefusedFor(after))))
        });
        let told = match found {
            Ok(told) => told,
            Err(Found::Heavy(limiter)) => {
                let (fired, after) = limit.map_or_else(|| (Wakes::none(), None), |limit| limiter.refuse_beyond(proof, n, limit));
                wakes.append(fired);
                Ok(after.map(Told::RefusedFor))
            }
            // A new key owes nothing.
            Err(_) => {
                let (fired, goes) = self.try_acquire(proof, key, n);
                wakes.append(fired);
                goes.map(|goes| goes.then_some(Told::Admitted))
            }
        };
        (wakes, told)
    }

    /// Refuses `n` of the key if it cannot be admitted within `limit`, and returns the time until it could be; see
    /// [`Limiter::refuse_beyond`]. `Ok(None)`: it can be admitted, or there is another reason not to refuse it here; nothing has happened.
    pub fn refuse_beyond(
        &self,
        proof: D::Proof<'_>,
        key: KeyHash,
        n: Units,
        limit: Nanos,
    ) -> (Wakes<W>, Result<Option<Nanos>, Refusal>) {
        let (mut wakes, guarded) = (Wakes::none(), self.shard(key));
        let found = self.visit(proof, guarded, &mut wakes, |shard, now, wakes| {
            let refused = match shard.find(proof, key, now, wakes) {
                found @ Found::Heavy(_) => return Err(found),
                _ if n > shard.law.largest() => None,
                Found::Light => {
                    let light = shard.table.get_mut(key).expect("found this moment");
                    Some(shard.law.ready_at(key, light, n, now) - now).filter(|&after| after > limit).map(Ok)
                }
                Found::Nothing if !self.capacity.is_full() => None,
                Found::Nothing => match self.room_after(guarded, shard, now) {
                    Some(after) => Some(Err(Refusal::AllKeysInUse(after))),
                    None => return Err(Found::Nothing),
                },
            };
            shard.refused += u64::from(refused.is_some());
            Ok(refused.transpose())
        });
        let refused = match found {
            Ok(refused) => refused,
            Err(Found::Heavy(limiter)) => {
                let (fired, after) = limiter.refuse_beyond(proof, n, limit);
                wakes.append(fired);
                Ok(after)
            }
            Err(_) => match self.make_room(proof, key, self.clock.now(), &mut wakes) {
                Ok(()) => {
                    self.capacity.release(); // there is room for the key now
                    Ok(None)
                }
                Err(None) => Ok(None),
                Err(Some(after)) => {
                    guarded.section.with(proof, |shard| shard.refused += 1);
                    Err(Refusal::AllKeysInUse(after))
                }
            },
        };
        (wakes, refused)
    }

    /// The key's limiter, for every operation but a try. The key is heavy as long as the limiter is held. That there is no room for the key
    /// counts as a refusal, as it does for a try.
    pub fn limiter(&self, proof: D::Proof<'_>, key: KeyHash) -> (Wakes<W>, Result<Shared<W, D>, Refusal>) {
        let (mut wakes, limiter) = self.heavy(proof, key, |heavy| Arc::clone(&heavy.limiter));
        if let Err(Refusal::AllKeysInUse(_)) = limiter {
            self.visit(proof, self.shard(key), &mut wakes, |shard, _, _| shard.refused += 1);
        }
        (wakes, limiter)
    }

    /// Called when a holder of the key's limiter has let go of it: the key is made light if nobody else holds it and its schedule is its
    /// whole state.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn let_go(&self, proof: D::Proof<'_>, key: KeyHash) -> Wakes<W> {
        let mut wakes = Wakes::none();
        self.visit(proof, self.shard(key), &mut wakes, |shard, now, wakes| {
            if !matches!(shard.find(proof, key, now, wakes), Found::Light) {
                return;
            }
            let light = shard.table.get_mut(key).expect("found above");
            if L::position(light) <= shard.law.reached(now) {
                shard.table.remove(key); // a key that owes nothing equals an absent one
                self.capacity.release();
            }
        });
        wakes
    }

    /// Sets a limit for this key alone. It is remembered until [`Keyed::forget`].
    pub fn change_of(
        &self,
        proof: D::Proof<'_>,
        key: KeyHash,
        change: L::Change,
        terms: impl FnOnce(&mut Terms),
    ) -> (Wakes<W>, Result<(), Refusal>) {
        let (mut wakes, limiter) = self.heavy(proof, key, |heavy| {
            heavy.own = true;
            Arc::clone(&heavy.limiter)
        });
        let done = limiter.map(|limiter| {
            let changed = L::change_inside(&limiter, proof, change, terms, &mut wakes);
            changed.tell(proof, &mut wakes);
        });
        (wakes, done)
    }

    /// Drops the key's own limit, so that the common one applies. Returns false if it had none.
    pub fn forget(&self, proof: D::Proof<'_>, key: KeyHash) -> (Wakes<W>, bool) {
        let mut wakes = Wakes::none();
        let guarded = self.shard(key);
        let changed = self.visit(proof, guarded, &mut wakes, |shard, _, wakes| {
            let (whole, all) = (shard.law.whole(), shard.terms);
            let heavy = shard.heavy.get_mut(&key).filter(|heavy| heavy.own)?;
            heavy.own = false;
            guarded.set_none_before(0);
            Some(L::change_inside(&heavy.limiter, proof, whole, |terms| *terms = all, wakes))
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
        let (mut wakes, guarded) = (Wakes::none(), self.shard(key));
        let mut claimed = false;
        loop {
            let attempt = self.visit(proof, guarded, &mut wakes, |shard, now, wakes| {
                shard.find(proof, key, now, wakes); // makes it light if it no longer needs its limiter
                if let Some(heavy) = shard.heavy.get_mut(&key) {
                    guarded.set_none_before(0); // a holder of the limiter may give something back
                    return Some(Ok(with(heavy)));
                }
                let reserved = shard.heavy.try_reserve().and_then(|()| PlaceForArc::<Limiter<W, D>>::try_new());
                let Ok(place) = reserved else { return Some(Err(Refusal::NoMemory)) };
                let light = match shard.table.get_mut(key) {
                    Some(light) => std::mem::replace(light, L::heavy()),
                    None if claimed || self.capacity.claim() => {
                        claimed = true;
                        if shard.table.insert(key, L::heavy(), L::position).is_err() {
                            return Some(Err(Refusal::NoMemory));
                        }
                        claimed = false;
                        guarded.set_none_before(0);
                        L::Light::default()
                    }
                    None => return None,
                };
                guarded.set_none_before(0);
                let limiter = shard.law.limiter(key, &light, now, shard.terms, self.scale, self.clock.clone());
                drop(place);
                let mut heavy = Heavy { limiter: Arc::new(limiter), own: false };
                let result = with(&mut heavy);
                shard.heavy.insert(key, heavy);
                Some(Ok(result))
            });
            match attempt {
                Some(result) => {
                    if claimed {
                        self.capacity.release();
                    }
                    return (wakes, result);
                }
                None => match self.make_room(proof, key, self.clock.now(), &mut wakes) {
                    Ok(()) => claimed = true,
                    Err(None) => std::thread::yield_now(),
                    Err(Some(after)) => return (wakes, Err(Refusal::AllKeysInUse(after))),
                },
            }
        }
    }

    /// True if the key is remembered. A key that is not remembered owes nothing.
    pub fn is_remembered(&self, proof: D::Proof<'_>, key: KeyHash) -> bool {
        self.shard(key).section.with(proof, |shard| shard.table.get_mut(key).is_some())
    }

    /// Asks the light state of the key, or its limiter.
    fn ask<R>(
        &self,
        proof: D::Proof<'_>,
        key: KeyHash,
        light: impl FnOnce(&L, &L::Light, Nanos) -> R,
        heavy: impl FnOnce(&Limiter<W, D>) -> (Wakes<W>, R),
    ) -> (Wakes<W>, R) {
        let mut wakes = Wakes::none();
        let found =
            self.visit(proof, self.shard(key), &mut wakes, |shard, now, wakes| match shard.find(proof, key, now, wakes) {
                Found::Heavy(limiter) => Err(limiter),
                Found::Light => Ok(light(&shard.law, shard.table.get_mut(key).expect("found above"), now)),
                Found::Nothing => Ok(light(&shard.law, &L::Light::default(), now)),
            });
        let answer = found.unwrap_or_else(|limiter| {
            let (fired, answer) = heavy(&limiter);
            wakes.append(fired);
            answer
        });
        (wakes, answer)
    }

    /// The amount that can be taken of the key now, in units; negative in debt.
    pub fn level(&self, proof: D::Proof<'_>, key: KeyHash) -> (Wakes<W>, i128) {
        self.ask(proof, key, |law, light, now| law.level(key, light, now, self.scale), |limiter| limiter.level(proof))
    }

    /// True if `n` is more than can ever be admitted of the key at once.
    pub fn never_fits(&self, proof: D::Proof<'_>, key: KeyHash, n: Units) -> bool {
        self.shard(key).section.with(proof, |shard| {
            shard.heavy.get(&key).map_or_else(|| n > shard.law.largest(), |heavy| heavy.limiter.never_fits(n))
        })
    }

    /// The time until `n` of the key can be admitted, after all current waiters.
    pub fn retry_after(&self, proof: D::Proof<'_>, key: KeyHash, n: Units) -> (Wakes<W>, Result<Nanos, Refusal>) {
        let light = |law: &L, light: &L::Light, now| {
            if n > law.largest() { Err(Refusal::NeverFits) } else { Ok(law.ready_at(key, light, n, now) - now) }
        };
        self.ask(proof, key, light, |limiter| limiter.retry_after(proof, n))
    }

    /// Sets the limit of every key without one of its own. Tokens are kept as far as they fit; debts are kept.
    #[must_use = "wake-ups are delivered by `fire`"]
    pub fn change(&self, proof: D::Proof<'_>, change: L::Change, tell: impl FnOnce(&mut Terms)) -> Wakes<W> {
        let (mut wakes, mut changed) = (Wakes::none(), Changed::nobody());
        self.terms.with(proof, |terms| {
            tell(terms);
            for guarded in &self.shards {
                self.visit(proof, guarded, &mut wakes, |shard, now, wakes| {
                    shard.law.change(change, &mut shard.table, now);
                    shard.terms = *terms;
                    guarded.set_none_before(0);
                    for Heavy { limiter, .. } in shard.heavy.values().filter(|heavy| !heavy.own) {
                        changed.and(L::change_inside(limiter, proof, shard.law.whole(), |each| *each = *terms, wakes));
                    }
                });
            }
        });
        changed.tell(proof, &mut wakes);
        wakes
    }

    /// The terms of the keys without a limit of their own, as the user gave them.
    pub fn terms(&self, proof: D::Proof<'_>) -> Terms {
        self.terms.with(proof, |terms| *terms)
    }

    /// The terms that apply to this key.
    pub fn terms_of(&self, proof: D::Proof<'_>, key: KeyHash) -> Terms {
        self.shard(key).section.with(proof, |shard| shard.heavy.get(&key).map_or(shard.terms, |heavy| heavy.limiter.terms(proof)))
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

    /// Calls `waker` with every waker in every wait queue, once each.
    pub fn visit_wakers(&self, proof: D::Proof<'_>, mut waker: impl FnMut(&W)) {
        for shard in &self.shards {
            shard.section.with(proof, |shard| {
                for heavy in shard.heavy.values() {
                    heavy.limiter.visit_wakers(proof, &mut waker);
                }
            });
        }
    }
}

impl<W: Wake, D: Domain, L: Law> fmt::Debug for Keyed<W, D, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").finish_non_exhaustive()
    }
}
