//! A shard of the keys of a keyed limiter: their states, and the limiters of those that have one. See `keyed`.

use super::forgetting::{Ageing, Least};
use super::law::Law;
use super::limiter::Limiter;
use super::types::{Refusal, Terms};
use super::units::Units;
use crate::clock::Nanos;
use crate::keys::KeyHash;
use crate::ordered::Ordered;
use crate::section::{Domain, Section};
use crate::sync::{Arc, Count, Ordering};
use crate::wait::{Wake, Wakes};

/// The largest number of keys with limiters that one search for a key to evict looks at.
const MOST_HEAVY: usize = 64;

/// The time after which a newcomer may ask again when every key in use that is known of owes nothing: its user may leave it at any time.
const IN_USE: Nanos = 1_000_000_000;

/// There is no key that owes nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoneFree {
    /// There is none before this moment. 0 if that is not known, and has to be looked for the next time.
    pub(super) known: Nanos,
    /// As things stand there is one at this moment at the latest.
    pub(super) told: Nanos,
}

/// Which shard of a limiter has the earliest bound, and since when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Earliest {
    pub(super) shard: usize,
    /// The earliest bound of the other shards. 0: it is not known which shard is the first.
    pub(super) others: Nanos,
    /// The value of `moved_up` when this was found. It holds as long as that is the same.
    pub(super) as_of: u64,
}

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
    pub(super) heavy: Ordered<KeyHash, Heavy<W, D>>,
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
            None => Found::Heavy(Arc::clone(&self.heavy.get(&key).expect("a heavy key has a limiter").limiter)),
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
        self.heavy.try_reserve().ok()?; // it may have to go back
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
        let light = quiet.and_then(|schedule| self.law.lighten(key, schedule, now));
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

    /// Evicts one key that owes nothing.
    pub(super) fn forget_one(&mut self, proof: D::Proof<'_>, now: Nanos, wakes: &mut Wakes<W>) -> Result<(), NoneFree> {
        let reached = self.law.reached(now);
        let removed = self.table.remove_one(reached, L::position);
        let Err(seen) = removed else {
            self.forgotten += 1;
            return Ok(());
        };
        let heavy = match self.forget_heavy(proof, reached, now, wakes) {
            Ok(()) => {
                self.forgotten += 1;
                return Ok(());
            }
            Err(heavy) => heavy,
        };
        let light = if self.table.least() > reached {
            self.none_light_free(now)
        } else {
            NoneFree { known: 0, told: self.law.when(seen, now) }
        };
        Err(NoneFree { known: light.known.min(heavy.known), told: light.told.min(heavy.told) })
    }

    fn none_light_free(&mut self, now: Nanos) -> NoneFree {
        let Least { bound, seen } = self.table.find_least(L::position);
        let known = self.law.when(bound, now);
        NoneFree { known, told: if seen == bound { known } else { self.law.when(seen, now) } }
    }

    /// The same as [`Shard::forget_one`] has found, when `known` was that moment the last time and has not come yet.
    pub(super) fn next_free(&mut self, known: Nanos, now: Nanos) -> NoneFree {
        if !self.heavy.is_empty() {
            return NoneFree { known, told: known };
        }
        let next = self.none_light_free(now);
        NoneFree { known: next.known.max(known), told: next.told.max(known) }
    }

    /// The same among the keys with limiters: those that need their limiters no longer are made light. (A limit of its own keeps a key for
    /// good.)
    fn forget_heavy(&mut self, proof: D::Proof<'_>, reached: u64, now: Nanos, wakes: &mut Wakes<W>) -> Result<(), NoneFree> {
        let mut none_free = NoneFree { known: if self.heavy.len() <= MOST_HEAVY { Nanos::MAX } else { 0 }, told: Nanos::MAX };
        for _ in 0..self.heavy.len().min(MOST_HEAVY) {
            let next = self.heavy.starting_at(self.hand).find(|(key, _)| *key != self.hand).or_else(|| self.heavy.first());
            let Some(&(key, Heavy { own, .. })) = next else { break };
            self.hand = key;
            if own {
                continue;
            }
            let Some(light) = self.lighten(proof, key, now, wakes) else {
                // A holder of the limiter may let go of it at any time.
                let (fired, whole_at) = self.heavy.get(&key).map_or((Wakes::none(), now), |heavy| heavy.limiter.whole_at(proof));
                wakes.append(fired);
                let told = if whole_at > now { whole_at } else { now.saturating_add(IN_USE) };
                none_free = NoneFree { known: 0, told: none_free.told.min(told) };
                continue;
            };
            let position = L::position(&light);
            if position <= reached {
                self.table.remove(key);
                return Ok(());
            }
            self.table.replace(key, light, position);
        }
        Err(none_free)
    }
}

/// A shard in its section.
pub(super) struct Guarded<W: Wake, D: Domain, L: Law> {
    pub(super) section: Section<Shard<W, D, L>, D>,
    /// No key of the shard owes nothing before this moment, as far as is known. Written inside the section only. Relaxed: whoever reads it
    /// outside learns what was so a moment ago.
    none_before: Count,
    /// How often the moment of a shard of the limiter has become earlier. Counted after the moment has been stored, so that whoever sees the
    /// count sees the moment.
    moved_up: Arc<Count>,
}

impl<W: Wake, D: Domain, L: Law> Guarded<W, D, L> {
    pub(super) fn new(law: &L, terms: Terms, moved_up: Arc<Count>) -> Self {
        let shard = Shard {
            law: law.clone(),
            terms,
            table: Ageing::default(),
            heavy: Ordered::default(),
            hand: KeyHash::NONE,
            admitted: 0,
            refused: 0,
            waited: 0,
            waited_for: 0,
            forgotten: 0,
        };
        Self { section: Section::new(shard), none_before: Count::new(0), moved_up }
    }

    pub(super) fn none_before(&self) -> Nanos {
        self.none_before.load(Ordering::Relaxed)
    }

    pub(super) fn set_none_before(&self, moment: Nanos) {
        let before = self.none_before();
        self.none_before.store(moment, Ordering::Relaxed);
        if moment < before {
            self.moved_up.fetch_add(1, Ordering::Release); // after the moment, see `moved_up`
        }
    }
}
