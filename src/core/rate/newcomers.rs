//! Newcomers of a `Keyed`: new keys for which there is no place.
//!
//! # Algorithm
//! Each shard gives a lower bound for the moment at which one of its keys can be evicted (see `forgetting`). A shard whose bound has passed is
//! searched for such a key. If none is found, the newcomer is refused until the earliest bound, after the shard that it belongs to has made it
//! exact.
//!
//! To ask every shard costs more than the rest of a refusal. So the result is cached: which shard has the earliest bound, and the earliest bound
//! of the others. A bound that moves later keeps it valid. One that moves earlier is counted, and when the count has changed all are asked again.

use super::keyed::Keyed;
use super::law::Law;
use super::shard::{Earliest, Guarded, NoneFree, Shard};
use crate::clock::Nanos;
use crate::keys::KeyHash;
use crate::section::Domain;
use crate::sync::Ordering;
use crate::wait::{Wake, Wakes};

/// The time until a moment, which may be never.
fn time_until(moment: Nanos, now: Nanos) -> Nanos {
    if moment == Nanos::MAX { moment } else { moment.saturating_sub(now) }
}

impl<W: Wake, D: Domain, L: Law> Guarded<W, D, L> {
    /// When a key of the shard may be free: `known`, unless its keys have been used meanwhile.
    fn look_again(&self, inside: &mut Shard<W, D, L>, known: Nanos, now: Nanos) -> NoneFree {
        let meanwhile = self.none_before();
        if known <= now || known != meanwhile {
            return NoneFree { known: meanwhile, told: known };
        }
        let next = inside.next_free(known, now);
        self.set_none_before(next.known);
        next
    }
}

impl<W: Wake, D: Domain, L: Law> Keyed<W, D, L> {
    /// The time until there may be room for another key, if this is the only shard, and it is known that there is none now.
    pub(super) fn room_after(&self, guarded: &Guarded<W, D, L>, inside: &mut Shard<W, D, L>, now: Nanos) -> Option<Nanos> {
        let known = guarded.none_before();
        if self.shards.len() > 1 || known <= now {
            return None;
        }
        let next = inside.next_free(known, now);
        guarded.set_none_before(next.known);
        (next.told != Nanos::MAX).then(|| next.told - now)
    }

    /// Evicts a key, so that the caller may add another. Err: the time until there may be room; `None` if another thread is just putting a
    /// key into the last place.
    pub(super) fn make_room(
        &self,
        proof: D::Proof<'_>,
        key: KeyHash,
        now: Nanos,
        wakes: &mut Wakes<W>,
    ) -> Result<(), Option<Nanos>> {
        if let Some(after) = self.ask_first(proof, now, wakes) {
            return Err(Some(after));
        }
        self.ask_all(proof, key, now, wakes)
    }

    /// The time until there may be room, if the shard that was first the last time still is.
    fn ask_first(&self, proof: D::Proof<'_>, now: Nanos, wakes: &mut Wakes<W>) -> Option<Nanos> {
        let first = self.earliest.with(proof, |earliest| *earliest);
        if first.others <= now || first.as_of != self.moved_up.load(Ordering::Acquire) {
            return None; // Acquire: whoever sees the count sees the bounds that were counted
        }
        let shard = &self.shards[first.shard];
        let known = shard.none_before();
        if known <= now {
            return None;
        }
        let next = self.visit(proof, shard, wakes, |inside, now, _| shard.look_again(inside, known, now));
        (next.known <= first.others && next.told != Nanos::MAX).then(|| next.told.saturating_sub(now))
    }

    /// See [`Keyed::make_room`].
    #[cold]
    fn ask_all(&self, proof: D::Proof<'_>, key: KeyHash, now: Nanos, wakes: &mut Wakes<W>) -> Result<(), Option<Nanos>> {
        // The key's own shard first, so that the keys spread evenly over the shards.
        let own = self.shard(key);
        let others = self.shards.iter().filter(|shard| !std::ptr::eq(*shard, own));
        let mut told = Nanos::MAX;
        for shard in std::iter::once(own).chain(others).filter(|shard| shard.none_before() <= now) {
            let found = self.visit(proof, shard, wakes, |inside, now, wakes| {
                if shard.none_before() > now {
                    return false; // by another thread, a moment ago
                }
                let Err(none_free) = inside.forget_one(proof, now, wakes) else { return true };
                shard.set_none_before(none_free.known);
                told = told.min(none_free.told);
                false
            });
            if found {
                return Ok(());
            }
        }
        // The other shards say when a key may be free at the earliest, and the first of them then says it exactly: until that is the first.
        for _ in 0..=self.shards.len() {
            let as_of = self.moved_up.load(Ordering::Acquire);
            let Some((at, known, others)) = self.find_first(now) else { break };
            if known >= told {
                break;
            }
            let shard = &self.shards[at];
            let next = self.visit(proof, shard, wakes, |inside, now, _| shard.look_again(inside, known, now));
            told = told.min(next.told);
            if next.known <= others {
                self.earliest.with(proof, |earliest| *earliest = Earliest { shard: at, others, as_of });
            }
            if next.known <= known.max(others) {
                break; // `others` is 0 if it is not known: then only a bound that has not moved ends the search
            }
        }
        // A place that has just been taken for a key may belong to none yet.
        let nobody_leaves = || self.shards.iter().all(|shard| shard.none_before() == Nanos::MAX);
        let is_known = told != Nanos::MAX || (self.count(proof) >= self.capacity.most() && nobody_leaves());
        Err(is_known.then(|| time_until(told, now)))
    }

    /// The shard that says the earliest moment after `now`, this moment, and the earliest that another shard says: 0 if one of them says that
    /// it has to be asked.
    fn find_first(&self, now: Nanos) -> Option<(usize, Nanos, Nanos)> {
        let (mut first, mut others, mut unknown) = ((0, Nanos::MAX), Nanos::MAX, false);
        for (at, shard) in self.shards.iter().enumerate() {
            let moment = shard.none_before();
            if moment <= now {
                unknown = true;
            } else if moment < first.1 {
                others = first.1;
                first = (at, moment);
            } else {
                others = others.min(moment);
            }
        }
        (first.1 != Nanos::MAX).then_some((first.0, first.1, if unknown { 0 } else { others }))
    }
}
