//! `Unfetched`: grants whose owners have not come for them, and how much of each could still be given back.
//!
//! To give a grant back is to ask what the schedule would be had it never been made. Everything taken after it moved `tat` to
//! `max(tat, at) + n`; without the grant `tat` would have been lower by so much as was still to be worked off at every such moment, and no
//! more: what has drained away in between is gone. So for each grant the *backlog* just before its own taking is kept, and the least one
//! before any taking between it and the next grant. A taking costs one comparison; giving back replays the few that follow.

use super::units::Units;
use crate::clock::Nanos;

#[derive(Clone, Copy, Debug)]
struct Entry<K> {
    who: K,
    n: Units,
    at: Nanos,
    /// The backlog just before it was taken.
    own: Units,
    /// The least backlog before what was taken since, up to the next grant.
    after: Units,
}

/// In the order in which they were granted.
#[derive(Debug)]
pub(super) struct Unfetched<K>(Vec<Entry<K>>);

impl<K: PartialEq> Unfetched<K> {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Something is about to be taken, for good.
    pub(super) fn taken(&mut self, backlog: Units) {
        if let Some(last) = self.0.last_mut() {
            last.after = last.after.min(backlog);
        }
    }

    /// Something is about to be taken for somebody who has not come yet.
    pub(super) fn granted(&mut self, who: K, n: Units, at: Nanos, backlog: Units) {
        self.0.push(Entry { who, n, at, own: backlog, after: Units::MAX });
    }

    fn position(&self, who: &K) -> Option<usize> {
        self.0.iter().position(|entry| entry.who == *who)
    }

    /// It has come: what was granted to it is taken for good. False if nothing was.
    pub(super) fn fetch(&mut self, who: &K) -> bool {
        let Some(index) = self.position(who) else { return false };
        let gone = self.0.remove(index);
        if let Some(before) = index.checked_sub(1) {
            self.0[before].after = self.0[before].after.min(gone.own).min(gone.after);
        }
        true
    }

    /// It will not come. What it was granted, when, and how much of that can be given back.
    pub(super) fn give_back(&mut self, who: &K) -> Option<(Units, Nanos, Units)> {
        let index = self.position(who)?;
        let gone = self.0.remove(index);
        let mut returned = gone.n;
        let mut pass = |backlog: &mut Units| {
            let least = returned.min(*backlog);
            *backlog = backlog.saturating_sub(returned);
            returned = least;
        };
        let mut after = gone.after;
        if after != Units::MAX {
            pass(&mut after);
        }
        for later in &mut self.0[index..] {
            pass(&mut later.own);
            if later.after != Units::MAX {
                pass(&mut later.after);
            }
        }
        if let Some(before) = index.checked_sub(1) {
            self.0[before].after = self.0[before].after.min(after);
        }
        Some((gone.n, gone.at, returned))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// The schedule itself, one unit a moment: takes in order, `tat = max(tat, at) + n`.
    fn replay(takes: &[(u64, u64)]) -> u64 {
        takes.iter().fold(0, |tat: u64, (at, n)| tat.max(*at) + n)
    }

    /// Three grants among plain takes, given back in every order: the schedule is as if they had never been made.
    #[test]
    fn as_if_it_had_never_been() {
        let mut random = 7_u64;
        let mut dice = |sides: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % sides
        };
        for _ in 0..5_000 {
            let mut takes: Vec<(u64, u64)> = Vec::new();
            let mut unfetched = Unfetched::new();
            let (mut at, mut granted) = (0, Vec::new());
            for index in 0..8 {
                at += dice(6);
                let n = 1 + dice(5);
                let backlog = replay(&takes).saturating_sub(at);
                if dice(2) == 0 {
                    unfetched.granted(index, n, at, backlog);
                    granted.push(index);
                } else {
                    unfetched.taken(backlog);
                }
                takes.push((at, n));
            }
            let mut tat = replay(&takes);
            while !granted.is_empty() {
                #[expect(clippy::cast_possible_truncation, reason = "small")]
                let who = granted.remove(dice(granted.len() as u64) as usize);
                if dice(4) == 0 {
                    assert!(unfetched.fetch(&who));
                    continue;
                }
                let (_, _, returned) = unfetched.give_back(&who).unwrap();
                takes[who].1 = 0;
                takes[who].0 = 0;
                // A tat in the past is a full bucket, wherever it lies.
                tat -= returned;
                assert_eq!(tat.max(at), replay(&takes).max(at));
            }
        }
    }
}
