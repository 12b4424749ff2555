//! A shard of the keys of a keyed limiter: their states, and the limiters of those that have one. See `keyed`.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::forgetting::Ageing;
use super::law::Law;
use super::limiter::Limiter;
use super::types::{Refusal, Terms};
use super::units::Units;
use crate::clock::Nanos;
use crate::keys::KeyHash;
use crate::section::{Domain, Section};
use crate::sync::{Arc, Count, Ordering};
use crate::wait::{Wake, Wakes};

/// The largest number of keys with limiters that one search for a key to evict looks at.
const MOST_HEAVY: usize = 64;

/// A key with a limiter.
pub(super) struct Heavy<W: Wake, D: Domain> {
    pub(super) limiter: Arc<Limiter<W, D>>,
    /// True if the key has a limit of its own.
    pub(super) own: bool,
}

/// See the head of this file.
pub(super) struct Shard<W: Wake, D: Domain, L: Law> {
    pub(super) law: L,
    pub(super) terms: Terms,
    pub(super) table: Ageing<L::Light>,
    pub(super) heavy: BTreeMap<KeyHash, Heavy<W, D>>,
    /// The last key with a limiter that a search has looked at.
    pub(super) hand: KeyHash,
    pub(super) admitted: u64,
    pub(super) refused: u64,
    /// The waits of keys that are no longer heavy.
    pub(super) waited: u64,
    pub(super) waited_for: Nanos,
    pub(super) forgotten: u64,
}

/// The result of looking a key up in its shard.
pub(super) enum Found<W: Wake, D: Domain> {
    Nothing,
    /// The state is in the table.
    Light,
    Heavy(Arc<Limiter<W, D>>),
}

impl<W: Wake, D: Domain, L: Law> Shard<W, D, L> {
    /// Takes `n` of a light key. `None`: the key is not light.
    #[inline]
    pub(super) fn try_light(&mut self, key: KeyHash, n: Units, now: Nanos) -> Option<Result<bool, Refusal>> {
        let light = self.table.get_mut(key).filter(|light| !L::is_heavy(light))?;
        if n > self.law.largest() {
            return Some(Err(Refusal::NeverFits));
        }
        let goes = self.law.try_take(key, light, n, now);
        *if goes == Ok(true) { &mut self.admitted } else { &mut self.refused } += 1;
        Some(goes)
    }

    /// Looks up the key. A heavy key that no longer needs its limiter is made light.
    pub(super) fn find(&mut self, proof: D::Proof<'_>, key: KeyHash, now: Nanos, wakes: &mut Wakes<W>) -> Found<W, D> {
        match self.table.get_mut(key) {
            None => return Found::Nothing,
            Some(light) if !L::is_heavy(light) => return Found::Light,
            Some(_) => {}
        }
        match self.lighten(proof, key, now, wakes) {
            Some(light) => {
                let position = L::position(&light);
                self.table.replace(key, light, position);
                Found::Light
            }
            None => Found::Heavy(Arc::clone(&self.heavy[&key].limiter)),
        }
    }

    /// Removes a key's limiter if nobody needs it, and returns the key's state.
    fn lighten(&mut self, proof: D::Proof<'_>, key: KeyHash, now: Nanos, wakes: &mut Wakes<W>) -> Option<L::Light> {
        let heavy = self.heavy.get(&key).filter(|heavy| !heavy.own && Arc::strong_count(&heavy.limiter) == 1)?;
        let (fired, quiet) = heavy.limiter.is_quiet(proof);
        wakes.append(fired);
        if !quiet {
            return None;
        }
        let Heavy { limiter, own } = self.heavy.remove(&key)?;
        // Handles refer to the limiter weakly and can upgrade the reference at any time until here. What they have done so far counts.
        let limiter = match Arc::try_unwrap(limiter) {
            Ok(limiter) => limiter,
            Err(limiter) => {
                self.heavy.insert(key, Heavy { limiter, own });
                return None;
            }
        };
        let (fired, quiet) = limiter.if_quiet(proof);
        wakes.append(fired);
        let light = quiet.and_then(|schedule| self.law.lighten(key, schedule, now).ok());
        if light.is_none() {
            self.heavy.insert(key, Heavy { limiter: Arc::new(limiter), own });
            return None;
        }
        let (fired, seen) = limiter.statistics(proof);
        wakes.append(fired);
        self.admitted += seen.admitted;
        self.refused += seen.refused;
        self.waited += seen.waited;
        self.waited_for += seen.waited_for;
        light
    }

    /// Evicts one key that owes nothing. Err: there is none, as far as is known, before this moment.
    pub(super) fn forget_one(&mut self, proof: D::Proof<'_>, now: Nanos, wakes: &mut Wakes<W>) -> Result<(), Nanos> {
        let reached = self.law.reached(now);
        let mut found = self.table.remove_one(reached, L::position);
        let mut all_seen = self.table.least() > reached;
        if !found {
            let none_free;
            (found, none_free) = self.forget_heavy(proof, reached, now, wakes);
            all_seen &= none_free;
        }
        self.forgotten += u64::from(found);
        if found {
            return Ok(());
        }
        Err(if all_seen { self.law.when(self.table.find_least(L::position).0, now) } else { now + 1 })
    }

    /// The moment before which no key owes nothing, when `known` was that moment the last time; exact as a rule.
    pub(super) fn next_free(&mut self, known: Nanos, now: Nanos) -> Nanos {
        if !self.heavy.is_empty() {
            return known;
        }
        match self.table.find_least(L::position) {
            (_, true) => known,
            (position, false) => self.law.when(position, now).max(known),
        }
    }

    /// The same among the keys with limiters: those that need their limiters no longer are made light. Returns whether one has been evicted,
    /// and whether no other can be while the limiters are used as they are. (A limit of its own keeps a key for good.)
    fn forget_heavy(&mut self, proof: D::Proof<'_>, reached: u64, now: Nanos, wakes: &mut Wakes<W>) -> (bool, bool) {
        let mut none_free = self.heavy.len() <= MOST_HEAVY;
        for _ in 0..self.heavy.len().min(MOST_HEAVY) {
            let after = (Bound::Excluded(self.hand), Bound::Unbounded);
            let next = self.heavy.range(after).next().or_else(|| self.heavy.first_key_value());
            let Some((&key, heavy)) = next else { break };
            self.hand = key;
            if heavy.own {
                continue;
            }
            let Some(light) = self.lighten(proof, key, now, wakes) else {
                none_free = false; // a holder of the limiter may let go of it at any time
                continue;
            };
            let position = L::position(&light);
            if position <= reached {
                self.table.remove(key);
                return (true, none_free);
            }
            self.table.replace(key, light, position);
        }
        (false, none_free)
    }
}

/// A shard in its section.
pub(super) struct Guarded<W: Wake, D: Domain, L: Law> {
    pub(super) section: Section<Shard<W, D, L>, D>,
    /// No key of the shard owes nothing before this moment, as far as is known. Written inside the section only. Relaxed: whoever reads it
    /// outside learns what was so a moment ago.
    pub(super) none_before: Count,
}

impl<W: Wake, D: Domain, L: Law> Guarded<W, D, L> {
    pub(super) fn new(law: &L, terms: Terms) -> Self {
        let shard = Shard {
            law: law.clone(),
            terms,
            table: Ageing::default(),
            heavy: BTreeMap::new(),
            hand: KeyHash::NONE,
            admitted: 0,
            refused: 0,
            waited: 0,
            waited_for: 0,
            forgotten: 0,
        };
        Self { section: Section::new(shard), none_before: Count::new(0) }
    }

    pub(super) fn none_before(&self) -> Nanos {
        self.none_before.load(Ordering::Relaxed)
    }

    pub(super) fn set_none_before(&self, moment: Nanos) {
        self.none_before.store(moment, Ordering::Relaxed);
    }
}
