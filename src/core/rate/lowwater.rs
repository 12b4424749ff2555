//! `LowWater`: how much of an amount that was taken earlier can still be given back.
//!
//! Giving an amount back means computing the schedule as if the amount had never been taken. Each later taking moved `tat` to
//! `max(tat, at) + n`. Without the amount, `tat` would have been lower by what had not drained at each later taking (the *backlog*), and no
//! lower: the rest had been refilled by then, and another caller may have relied on it. So the part of a taking that can be given back is
//! bounded by the smallest backlog found just before any later one: a low-water mark.
//!
//! # Algorithm
//! A stack of the marks that no later mark has undercut, in the order of the takings, which is the order of the backlogs too (a *monotonic
//! stack*). A new mark removes the marks that are not lower. Giving an amount back lowers the marks of all later takings. Nothing is stored
//! for each taking, so a taking that is never given back costs nothing.
//!
//! At most [`MOST`] marks are kept. Beyond that the two oldest are merged, with the lower backlog: then less of the oldest takings can be
//! given back than the limit would allow, never more.

use super::units::Units;
use crate::clock::Nanos;

/// The largest number of marks. More would be needed only if each taking found a larger backlog than the one before it.
const MOST: usize = 64;

/// Identifies a taking: its moment, but no earlier than that of the taking before it, and its number among all of the limiter's takings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Taking {
    pub(super) at: Nanos,
    pub(super) number: u64,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    taking: Taking,
    /// The backlog just before the taking.
    backlog: Units,
}

#[derive(Debug)]
pub(super) struct LowWater {
    /// Sorted by taking and by backlog.
    marks: Vec<Mark>,
    last: Nanos,
}

impl LowWater {
    pub(super) fn new() -> Self {
        Self { marks: Vec::new(), last: 0 }
    }

    /// Called when an amount is about to be taken. Returns the identity of the taking.
    pub(super) fn taking(&mut self, taking: Taking, backlog: Units) -> Taking {
        self.last = self.last.max(taking.at);
        let taking = Taking { at: self.last, ..taking };
        while self.marks.last().is_some_and(|mark| mark.backlog >= backlog) {
            self.marks.pop();
        }
        self.marks.push(Mark { taking, backlog });
        if self.marks.len() > MOST {
            let oldest = self.marks.remove(0);
            self.marks[0].backlog = oldest.backlog;
        }
        taking
    }

    /// The index of the first mark after this taking.
    fn after(&self, taking: Taking) -> usize {
        self.marks.partition_point(|mark| mark.taking <= taking)
    }

    /// The part of this taking that can be given back, as far as later takings allow.
    pub(super) fn since(&self, taking: Taking) -> Units {
        self.marks.get(self.after(taking)).map_or(Units::MAX, |mark| mark.backlog)
    }

    /// Called when `n` of this taking has been given back, which is no more than [`LowWater::since`] allows.
    pub(super) fn given_back(&mut self, taking: Taking, n: Units) {
        let first = self.after(taking);
        for mark in &mut self.marks[first..] {
            mark.backlog -= n.min(mark.backlog);
        }
        let Some(lowest) = self.marks.get(first).map(|mark| mark.backlog) else { return };
        let covered = self.marks[..first].partition_point(|mark| mark.backlog < lowest);
        self.marks.drain(covered..first);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// The schedule itself, at one unit per nanosecond: takes the amounts in order, `tat = max(tat, at) + n`.
    fn replay(takes: &[(u64, u64)]) -> u64 {
        takes.iter().fold(0, |tat: u64, (at, n)| tat.max(*at) + n)
    }

    fn dice() -> impl FnMut(u64) -> u64 {
        let mut random = 7_u64;
        move |sides| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % sides
        }
    }

    /// After amounts have been given back, in full or in part, in any order, the schedule is as if they had never been taken.
    #[test]
    fn as_if_it_had_never_been() {
        let mut dice = dice();
        for _ in 0..5_000 {
            let mut takes: Vec<(u64, u64)> = Vec::new();
            let (mut low, mut at, mut left) = (LowWater::new(), 0, Vec::new());
            for number in 0..12 {
                at += dice(6);
                let n = 1 + dice(5);
                let taking = low.taking(Taking { at, number }, replay(&takes).saturating_sub(at));
                left.push((takes.len(), taking));
                takes.push((at, n));
            }
            let mut tat = replay(&takes);
            for _ in 0..8 {
                #[expect(clippy::cast_possible_truncation, reason = "small")]
                let (index, taking) = left.remove(dice(left.len() as u64) as usize);
                let n = 1 + dice(takes[index].1);
                let returned = n.min(low.since(taking));
                low.given_back(taking, returned);
                takes[index].1 -= n;
                // A tat in the past is a full bucket, wherever it lies.
                tat -= returned;
                assert_eq!(tat.max(at), replay(&takes).max(at));
            }
        }
    }

    /// With more takings than marks are kept, the number of marks stays bounded and the latest takings stay exact.
    #[test]
    fn what_is_forgotten_gives_back_less() {
        let mut low = LowWater::new();
        let takings: Vec<_> = (0..200).map(|number| low.taking(Taking { at: 0, number }, number)).collect();
        assert_eq!(low.marks.len(), MOST);
        for (number, taking) in (0..199).zip(takings) {
            let exact = number + 1;
            assert!(low.since(taking) <= exact);
            assert!(number < 140 || low.since(taking) == exact);
        }
    }
}
