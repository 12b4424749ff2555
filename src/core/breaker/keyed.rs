//! `Keyed`: a breaker for each of very many keys, in bounded memory.
//!
//! # Algorithm
//! The keys are in a table (see [`keys`](crate::keys)) that is cut into shards, each with a section of its own. The first call for a key
//! creates its entry, which is the state of the key's breaker.
//!
//! # Memory
//! At most `max_keys` are remembered. For a new key beyond that, a key is evicted whose breaker is equivalent to a new one: it is closed,
//! its last failures have left the window, and it has not opened lately. (An open breaker that has not been called for long after its open
//! time is evicted too.) A clock hand walks over the slots to find one, over at most a few hundred of them in each shard for each new key, so
//! that no call waits for a walk over all.
//!
//! If there is none, a call for the new key is admitted *untracked*: a breaker protects a failing service, so it should not refuse calls to
//! a service about which nothing is known. When such a call fails, the breaker tries once more to find room for its key. So the keys that
//! are remembered are those that fail, and callers that make up keys can evict none of them.
//!
//! If no key could be evicted in a whole round, the search is not repeated before a tenth of the window has passed, so that new keys do not
//! cost a scan each when the table is full.

use std::fmt;

use super::rules::{Change, Grant, Kind, Outcome, Refusal, Rules, Statistics, Totals, UNTRACKED};
use super::state::State;
use crate::clock::{Clock, Nanos};
use crate::keys::{KeyCapacity, KeyHash, Table};
use crate::room::Boxed;
use crate::section::{Domain, Section};
use crate::wait::Wake;

/// The largest number of slots of one shard that the search for a key to evict looks at for one new key.
const MOST: usize = 256;

/// There is no room for another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

/// The statistics of all keys together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyedStatistics {
    pub keys: usize,
    /// The keys whose next call is refused, or is a probe.
    pub open: u64,
    pub totals: Totals,
    /// Calls for keys for which there was no room.
    pub untracked: u64,
    pub forgotten: u64,
}

struct Shard {
    /// An entry is never `None`.
    table: Table<Option<Boxed<State>>>,
    /// A lower bound for the generations of new entries: greater than those of all removed entries, so that a grant of a removed entry does
    /// not fit the next one.
    fresh: u64,
    /// The totals of removed keys.
    totals: Totals,
    untracked: u64,
    forgotten: u64,
    /// No key is searched for eviction before this time.
    not_before: Nanos,
    /// The number of keys that have been looked at since one was evicted or could have become fit for that.
    looked_at: usize,
}

impl Shard {
    fn get(&mut self, key: KeyHash) -> Option<&mut State> {
        self.table.get_mut(key)?.as_deref_mut()
    }

    /// Adds a key, which must not be present. Returns false if there is no memory.
    fn insert(&mut self, key: KeyHash, rules: &Rules, now: Nanos) -> bool {
        self.look_again(); // the new key can be evicted
        let state = Boxed::try_new(State::new(rules, self.fresh, now));
        state.is_ok_and(|state| self.table.insert(key, Some(state)).is_ok())
    }

    /// A key may have become fit for eviction.
    fn look_again(&mut self) {
        (self.not_before, self.looked_at) = (0, 0);
    }

    /// Evicts a key whose breaker is equivalent to a new one. Returns false if the next [`MOST`] slots have none, or if a recent round found
    /// none.
    fn forget_one(&mut self, rules: &Rules, now: Nanos) -> bool {
        if now < self.not_before {
            return false;
        }
        let (totals, fresh, looked_at) = (&mut self.totals, &mut self.fresh, &mut self.looked_at);
        let found = self.table.remove_one(MOST, |_, entry| {
            *looked_at += 1;
            let Some(state) = entry.as_deref_mut() else { return true };
            let goes = state.is_forgettable(rules, now);
            if goes {
                totals.add(state.totals());
                *fresh = (*fresh).max(state.generation() + 1);
            }
            goes
        });
        if found {
            self.forgotten += 1;
            self.looked_at = 0;
        } else if self.looked_at >= self.table.len() {
            self.not_before = now.saturating_add(rules.window / 10);
            self.looked_at = 0;
        }
        found
    }
}

/// A breaker for each of many keys, see the head of this file.
pub struct Keyed<W: Wake, D: Domain> {
    rules: Rules,
    clock: Clock<W>,
    capacity: KeyCapacity,
    shards: Box<[Section<Shard, D>]>,
}

impl<W: Wake, D: Domain> Keyed<W, D> {
    /// `shards` is a power of two.
    pub fn new(rules: Rules, max_keys: usize, shards: usize, clock: Clock<W>) -> Self {
        debug_assert!(shards.is_power_of_two());
        let shard = |_| {
            let (table, totals) = (Table::default(), Totals::default());
            Section::new(Shard { table, fresh: 1, totals, untracked: 0, forgotten: 0, not_before: 0, looked_at: 0 })
        };
        Self { rules, clock, capacity: KeyCapacity::new(max_keys), shards: (0..shards).map(shard).collect() }
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    #[expect(clippy::cast_possible_truncation, reason = "it was made of a usize")]
    pub fn max_keys(&self) -> usize {
        self.capacity.most() as usize
    }

    /// The number of keys that are remembered.
    pub fn len(&self) -> usize {
        self.capacity.keys()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn shard(&self, key: KeyHash) -> &Section<Shard, D> {
        &self.shards[key.shard(self.shards.len())]
    }

    /// True if this thread is already inside the key's section. Every operation on the key would then panic.
    #[inline]
    pub fn is_entered(&self, proof: D::Proof<'_>, key: KeyHash) -> bool {
        self.shard(key).is_entered(proof)
    }

    /// Visits the state of the key's breaker, which is created if there is room.
    fn visit_or_create<R>(
        &self,
        proof: D::Proof<'_>,
        key: KeyHash,
        mut critical: impl FnMut(&mut State) -> R,
    ) -> Result<R, NoRoom> {
        let mut claimed = false;
        loop {
            let answer = self.shard(key).with(proof, |shard| {
                if let Some(state) = shard.get(key) {
                    return Some(Ok(critical(state)));
                }
                if !claimed && !self.capacity.claim() {
                    return None;
                }
                claimed = true;
                if !shard.insert(key, &self.rules, self.clock.now()) {
                    return Some(Err(NoRoom));
                }
                claimed = false; // the slot belongs to the key from now on
                shard.get(key).map(|state| Ok(critical(state)))
            });
            match answer {
                Some(answer) => {
                    if claimed {
                        self.capacity.release(); // another thread has added the key, or there is no memory for it
                    }
                    return answer;
                }
                None if self.make_room(proof, key) => claimed = true,
                None => return Err(NoRoom),
            }
        }
    }

    /// Evicts a key, so that the caller may add another.
    fn make_room(&self, proof: D::Proof<'_>, key: KeyHash) -> bool {
        // The key's own shard first, so that the keys spread evenly over the shards.
        let own = self.shard(key);
        let others = self.shards.iter().filter(|shard| !std::ptr::eq(*shard, own));
        std::iter::once(own).chain(others).any(|shard| shard.with(proof, |shard| shard.forget_one(&self.rules, self.clock.now())))
    }

    /// Begins a call for this key, if it is admitted.
    #[must_use = "listeners must hear of a change"]
    pub fn admit(&self, proof: D::Proof<'_>, key: KeyHash) -> (Result<Grant, Refusal>, Option<Change>) {
        let admitted = self.visit_or_create(proof, key, |state| state.admit(&self.rules, || self.clock.now()));
        admitted.unwrap_or_else(|NoRoom| {
            let began = self.shard(key).with(proof, |shard| {
                shard.untracked += 1;
                shard.totals.calls += 1;
                self.clock.now()
            });
            (Ok(Grant { generation: UNTRACKED, probe: 0, began }), None)
        })
    }

    /// See [`Breaker::refuse`](super::Breaker::refuse).
    pub fn refuse(&self, proof: D::Proof<'_>, key: KeyHash) -> Option<Refusal> {
        // A key that is not remembered works well.
        self.shard(key).with(proof, |shard| shard.get(key)?.refuse(&self.rules, || self.clock.now()))
    }

    /// Ends a call for this key.
    #[must_use = "listeners must hear of a change"]
    pub fn finish(&self, proof: D::Proof<'_>, key: KeyHash, grant: Grant, outcome: Outcome) -> Option<Change> {
        let mut grant = Some(grant);
        let found = self.shard(key).with(proof, |shard| {
            if let Some(state) = shard.get(key) {
                let grant = Self::adopted(state, grant.take()?);
                return Some(state.finish(&self.rules, grant, outcome, || self.clock.now()));
            }
            // A key that is not remembered works well. It is worth remembering once a call fails.
            match outcome {
                Outcome::Failure { .. } if grant.as_ref().is_some_and(|grant| grant.probe == 0) => return None,
                Outcome::Failure { .. } => shard.totals.failures += 1,
                Outcome::Success => shard.totals.successes += 1,
                Outcome::Ignored => shard.totals.ignored += 1,
            }
            Some(None)
        });
        let Some(grant) = grant.filter(|_| found.is_none()) else { return found.flatten() };
        let finished = self.visit_or_create(proof, key, |state| {
            let grant = Grant { generation: state.generation(), probe: 0, began: grant.began };
            state.finish(&self.rules, grant, outcome, || self.clock.now())
        });
        finished.unwrap_or_else(|NoRoom| {
            self.shard(key).with(proof, |shard| shard.totals.failures += 1);
            None
        })
    }

    /// A call that was admitted untracked counts for the breaker that its key has been given since, if that has been closed all the time.
    fn adopted(state: &State, grant: Grant) -> Grant {
        if grant.generation == UNTRACKED && state.is_in_its_first_generation() {
            return Grant { generation: state.generation(), ..grant };
        }
        grant
    }

    /// See [`Breaker::force_open`](super::Breaker::force_open). The key is remembered until it is reset, or until the time has passed.
    pub fn force_open(&self, proof: D::Proof<'_>, key: KeyHash, lasts: Option<Nanos>) -> Result<Option<Change>, NoRoom> {
        self.visit_or_create(proof, key, |state| state.force_open(lasts, self.clock.now()))
    }

    /// See [`Breaker::disable`](super::Breaker::disable). The key is remembered until it is reset.
    pub fn disable(&self, proof: D::Proof<'_>, key: KeyHash) -> Result<Option<Change>, NoRoom> {
        self.visit_or_create(proof, key, |state| state.disable(self.clock.now()))
    }

    /// See [`Breaker::reset`](super::Breaker::reset).
    #[must_use = "listeners must hear of a change"]
    pub fn reset(&self, proof: D::Proof<'_>, key: KeyHash) -> Option<Change> {
        self.shard(key).with(proof, |shard| {
            shard.look_again(); // the key can be evicted
            shard.get(key)?.reset(&self.rules, self.clock.now())
        })
    }

    /// Visits the state of the key's breaker. A key that is not remembered behaves like a new breaker.
    fn visit<R>(&self, proof: D::Proof<'_>, key: KeyHash, critical: impl FnOnce(&mut State, Nanos) -> R) -> R {
        self.shard(key).with(proof, |shard| {
            let now = self.clock.now();
            if let Some(state) = shard.get(key) {
                return critical(state, now);
            }
            critical(&mut State::new(&self.rules, 1, now), now)
        })
    }

    pub fn state(&self, proof: D::Proof<'_>, key: KeyHash) -> Kind {
        self.visit(proof, key, |state, now| state.kind(now))
    }

    pub fn retry_after(&self, proof: D::Proof<'_>, key: KeyHash) -> Nanos {
        self.visit(proof, key, |state, now| state.retry_after(&self.rules, now))
    }

    /// The statistics of this key since it was last evicted.
    pub fn statistics(&self, proof: D::Proof<'_>, key: KeyHash) -> Statistics {
        self.visit(proof, key, State::statistics)
    }

    /// The sum over the shards, which are visited one after the other.
    pub fn statistics_of_all(&self, proof: D::Proof<'_>) -> KeyedStatistics {
        let mut all = KeyedStatistics { keys: self.len(), ..KeyedStatistics::default() };
        for shard in &self.shards {
            shard.with(proof, |shard| {
                let now = self.clock.now();
                all.totals.add(&shard.totals);
                all.untracked += shard.untracked;
                all.forgotten += shard.forgotten;
                for state in shard.table.values_mut().flatten() {
                    all.totals.add(state.totals());
                    all.open += u64::from(!matches!(state.kind(now), Kind::Closed | Kind::Disabled));
                }
            });
        }
        all
    }
}

impl<W: Wake, D: Domain> fmt::Debug for Keyed<W, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::clock::Manual;
    use crate::section::Threads;
    use crate::sync::Arc;
    use crate::wait::Parker;

    fn key(number: u64) -> KeyHash {
        KeyHash::new([number, number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)])
    }

    /// A call for a key for which there is no room looks at some of the keys; several of them together find the one that can be forgotten.
    #[test]
    fn a_new_key_does_not_cost_as_much_as_there_are_keys() {
        const FULL: u64 = 5_000;
        let clock: Arc<Manual<Arc<Parker>>> = Arc::new(Manual::new(0));
        let rules = Rules {
            failure_rate: 0.5,
            window: 10_000_000_000,
            min_calls: 20,
            run: None,
            slow_after: None,
            slow_rate: 0.8,
            open_for: 5_000_000_000,
            open_for_max: 60_000_000_000,
            probes: 3,
            probe_timeout: 30_000_000_000,
            calls: None,
            metrics_only: false,
        };
        let keyed: Keyed<Arc<Parker>, Threads> =
            Keyed::new(rules, usize::try_from(FULL).unwrap(), 1, Clock::Manual(Arc::clone(&clock)));
        for number in 0..FULL {
            keyed.force_open((), key(number), None).unwrap();
        }
        assert!(keyed.reset((), key(77)).is_some());
        let looked_at = || keyed.shards[0].with((), |shard| shard.looked_at);
        let mut calls = 0;
        while keyed.shards[0].with((), |shard| shard.forgotten) == 0 {
            let before = looked_at();
            assert!(keyed.admit((), key(FULL + calls)).0.is_ok());
            assert!(looked_at() <= before + MOST);
            calls += 1;
            assert!(calls < 2 * 16_384 / 256, "a round takes no more calls");
        }
        assert!(calls > 1);
        assert_eq!(keyed.statistics_of_all(()).untracked, calls - 1);
    }
}
