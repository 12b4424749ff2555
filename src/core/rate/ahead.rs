//! `Ahead`: the bookings of a window for future moments, and how full the window will be at each of them.
//!
//! With thousands of future bookings, the question "when can `n` more be admitted?" must not look at each of them. Let `W(s)` be the sum of
//! all amounts in the window that ends at `s`. An amount `n` can be admitted at `at` if `W(s) <= limit - n` for all `s` in
//! `[at, at + period)`. `W` rises only at the entries, so two numbers for each entry are enough: how full the window is *at* its moment
//! (`full`), where `W` is highest, and how full it is just *before* (`low`), where `W` is lowest.
//!
//! # Algorithm
//! A [`Treap`], ordered by moment. Each subtree stores the sum of its amounts, its largest `full` and its smallest `low`. A new amount is
//! added to all entries of the next `period` in one step. Every operation takes logarithmic time.

use std::collections::TryReserveError;

use super::treap::{NONE, Treap, Value};
use super::units::Units;
use crate::clock::Nanos;

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Nanos,
    n: Units,
    full: Units,
    low: Units,
    /// The sum of the amounts in the subtree.
    sum: Units,
    fullest: Units,
    lowest: Units,
    /// To be added to `full` and `low` in both subtrees. Both wrap, because they can be negative.
    add_full: Units,
    add_low: Units,
}

impl Value for Entry {
    /// For `full` and for `low`.
    type Addition = (Units, Units);

    fn add(&mut self, &(full, low): &(Units, Units)) {
        self.full = self.full.wrapping_add(full);
        self.fullest = self.fullest.wrapping_add(full);
        self.add_full = self.add_full.wrapping_add(full);
        self.low = self.low.wrapping_add(low);
        self.lowest = self.lowest.wrapping_add(low);
        self.add_low = self.add_low.wrapping_add(low);
    }

    fn take_pending(&mut self) -> Option<(Units, Units)> {
        let pending = (self.add_full, self.add_low);
        (self.add_full, self.add_low) = (0, 0);
        Some(pending).filter(|&pending| pending != (0, 0))
    }

    fn summarize(&mut self, left: Option<&Self>, right: Option<&Self>) {
        (self.sum, self.fullest, self.lowest) = (self.n, self.full, self.low);
        for child in left.into_iter().chain(right) {
            self.sum += child.sum;
            self.fullest = self.fullest.max(child.fullest);
            self.lowest = self.lowest.min(child.lowest);
        }
    }
}

#[derive(Debug)]
pub(super) struct Ahead(Treap<Entry>);

/// Entries that have been removed together; see [`Ahead::remove_all`].
pub(super) struct Removed(u32);

impl Ahead {
    pub(super) fn new() -> Self {
        Self(Treap::new())
    }

    /// The number of entries.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn try_clone(&self) -> Result<Self, TryReserveError> {
        self.0.try_clone().map(Self)
    }

    /// Reserves memory for one more entry.
    pub(super) fn try_reserve(&mut self) -> Result<(), TryReserveError> {
        self.0.try_reserve()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sum of all amounts.
    pub(super) fn sum(&self) -> Units {
        self.sum_of(self.0.root)
    }

    fn sum_of(&self, tree: u32) -> Units {
        self.0.top(tree).map_or(0, |node| node.sum)
    }

    /// Splits a tree into the entries before `at` and the others.
    fn split(&mut self, tree: u32, at: Nanos) -> (u32, u32) {
        self.0.split(tree, &|entry: &Entry| entry.at < at)
    }

    /// Adds `full` and `low` to the entries in `[from, to)`.
    fn add_in(&mut self, from: Nanos, to: Nanos, full: Units, low: Units) {
        let (rest, after) = self.split(self.0.root, to);
        let (before, within) = self.split(rest, from);
        self.0.add(within, &(full, low));
        let rest = self.0.merge(before, within);
        self.0.root = self.0.merge(rest, after);
    }

    /// Updates the entries after `at` for an amount `n` taken at `at`, which counts until just before `leaves`. `n` wraps: it may be
    /// negative.
    pub(super) fn count(&mut self, n: Units, at: Nanos, leaves: Nanos) {
        if self.last_before(Nanos::MAX).is_some_and(|last| last > at) {
            let after = at.saturating_add(1);
            // Just before the moment at which it leaves, the amount still counts.
            self.add_in(after, leaves, n, 0);
            self.add_in(after, leaves.saturating_add(1), 0, n);
        }
    }

    /// Inserts an entry. `full` and `low` are the values without it. The caller updates later entries by `count`.
    pub(super) fn insert(&mut self, at: Nanos, n: Units, full: Units, low: Units) {
        let (rest, after) = self.split(self.0.root, at.saturating_add(1));
        let (before, mut same) = self.split(rest, at);
        if self.0.top(same).is_some() {
            let node = self.0.node_mut(same);
            (node.n, node.full) = (node.n + n, node.full + n);
            self.0.pull_up(same);
        } else {
            let full = full + n;
            let (sum, fullest, lowest) = (n, full, low);
            same = self.0.make(Entry { at, n, full, low, sum, fullest, lowest, add_full: 0, add_low: 0 });
        }
        let rest = self.0.merge(before, same);
        self.0.root = self.0.merge(rest, after);
    }

    /// Takes up to `n` out of the entry at `at`. The caller updates later entries by `count`. Returns the amount taken out.
    pub(super) fn take_out(&mut self, n: Units, at: Nanos) -> Units {
        let (rest, after) = self.split(self.0.root, at.saturating_add(1));
        let (before, mut same) = self.split(rest, at);
        let mut taken = 0;
        if let Some(node) = self.0.top(same) {
            taken = n.min(node.n);
            let node = self.0.node_mut(same);
            (node.n, node.full) = (node.n - taken, node.full - taken);
            if node.n == 0 {
                self.0.free(same);
                same = NONE;
            } else {
                self.0.pull_up(same);
            }
        }
        let rest = self.0.merge(before, same);
        self.0.root = self.0.merge(rest, after);
        taken
    }

    /// Removes the first entry if its moment is not after `now`.
    pub(super) fn pop_due(&mut self, now: Nanos) -> Option<(Nanos, Units)> {
        let (at, n) = self.first().filter(|(at, _)| *at <= now)?;
        self.take_out(n, at);
        Some((at, n))
    }

    pub(super) fn first(&self) -> Option<(Nanos, Units)> {
        self.0.first().map(|entry| (entry.at, entry.n))
    }

    /// Removes all entries. They are still [`Removed`], and as many can be inserted again in their memory.
    pub(super) fn remove_all(&mut self) -> Removed {
        Removed(self.0.detach())
    }

    /// The next of the removed entries, in order.
    pub(super) fn next_of(&mut self, removed: &mut Removed) -> Option<(Nanos, Units)> {
        let (entry, rest) = self.0.take_first(removed.0)?;
        removed.0 = rest;
        Some((entry.at, entry.n))
    }

    /// The sum of the amounts up to and including `at`.
    pub(super) fn sum_until(&self, at: Nanos) -> Units {
        let (mut sum, mut tree) = (0, self.0.root);
        while let Some(node) = self.0.top(tree) {
            if node.at <= at {
                sum += self.sum_of(node.left) + node.n;
                tree = node.right;
            } else {
                tree = node.left;
            }
        }
        sum
    }

    /// The moment of the entry at which the running sum reaches `sum`.
    pub(super) fn reaches(&self, mut sum: Units) -> Option<Nanos> {
        let mut tree = self.0.root;
        while let Some(node) = self.0.top(tree) {
            let left = self.sum_of(node.left);
            if sum <= left {
                tree = node.left;
            } else if sum <= left + node.n {
                return Some(node.at);
            } else {
                sum -= left + node.n;
                tree = node.right;
            }
        }
        None
    }

    /// The moment of the first entry after `at` just before which the window holds at most `most`, and the moment of the entry before that,
    /// if it is after `at` too.
    pub(super) fn first_low(&self, at: Nanos, most: Units) -> Option<Nanos> {
        self.find_low(self.0.root, at, most, 0)
    }

    fn find_low(&self, tree: u32, at: Nanos, most: Units, add: Units) -> Option<Nanos> {
        let node = self.0.top(tree).filter(|node| node.lowest.wrapping_add(add) <= most)?;
        let below = add.wrapping_add(node.add_low);
        if node.at <= at {
            return self.find_low(node.right, at, most, below);
        }
        if let Some(found) = self.find_low(node.left, at, most, below) {
            return Some(found);
        }
        if node.low.wrapping_add(add) <= most {
            return Some(node.at);
        }
        self.find_low(node.right, at, most, below)
    }

    /// The last entry in `(after, before)` at which the window holds more than `most`.
    pub(super) fn last_full(&self, after: Nanos, before: Nanos, most: Units) -> Option<Nanos> {
        self.find_full(self.0.root, after, before, most, 0)
    }

    fn find_full(&self, tree: u32, after: Nanos, before: Nanos, most: Units, add: Units) -> Option<Nanos> {
        let node = self.0.top(tree).filter(|node| node.fullest.wrapping_add(add) > most)?;
        let below = add.wrapping_add(node.add_full);
        if node.at >= before {
            return self.find_full(node.left, after, before, most, below);
        }
        if let Some(found) = self.find_full(node.right, after, before, most, below) {
            return Some(found);
        }
        if node.at <= after {
            return None;
        }
        if node.full.wrapping_add(add) > most {
            return Some(node.at);
        }
        self.find_full(node.left, after, before, most, below)
    }

    /// The last entry before `at`.
    pub(super) fn last_before(&self, at: Nanos) -> Option<Nanos> {
        self.0.around(|entry| entry.at < at).0.map(|entry| entry.at)
    }
}
