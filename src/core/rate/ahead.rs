//! `Ahead`: what a window has promised for moments to come, and how full it will be then.
//!
//! With thousands of bookings ahead the question "when can `n` more be admitted?" must not look at each of them. Let `W(s)` be the sum of all
//! amounts in the window that ends at `s`. An amount `n` at `at` is lawful if `W(s) <= limit - n` for all `s` in `[at, at + period)`. `W` rises
//! only at the entries, so two numbers for each entry say enough: how full the window is *at* its moment (`full`), where `W` is highest, and how
//! full it is just *before* (`low`), where `W` is lowest.
//!
//! # Algorithm
//! A treap (Seidel and Aragon, *Randomized search trees*, 1996), ordered by moment. Each subtree knows the sum of its amounts, its largest
//! `full` and its smallest `low`, and carries additions that its nodes have not seen yet: a new amount adds to all entries of the next `period`
//! in one step. Everything here takes logarithmic time.

use super::units::Units;
use crate::clock::Nanos;

/// No node.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Node {
    at: Nanos,
    n: Units,
    full: Units,
    low: Units,
    /// Of the subtree.
    sum: Units,
    fullest: Units,
    lowest: Units,
    /// To be added to `full` and `low` in both subtrees; they wrap, because they can be negative.
    add_full: Units,
    add_low: Units,
    priority: u64,
    left: u32,
    right: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Ahead {
    nodes: Vec<Node>,
    free: Vec<u32>,
    root: u32,
    random: u64,
}

impl Ahead {
    pub(super) fn new() -> Self {
        Self { nodes: Vec::new(), free: Vec::new(), root: NONE, random: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.root == NONE
    }

    /// The sum of all amounts.
    pub(super) fn sum(&self) -> Units {
        self.sum_of(self.root)
    }

    fn node(&self, at: u32) -> &Node {
        #[cfg(all(test, not(loom)))]
        super::costs::step();
        &self.nodes[at as usize]
    }

    fn node_mut(&mut self, at: u32) -> &mut Node {
        &mut self.nodes[at as usize]
    }

    fn sum_of(&self, tree: u32) -> Units {
        if tree == NONE { 0 } else { self.node(tree).sum }
    }

    fn add(&mut self, tree: u32, full: Units, low: Units) {
        if tree != NONE {
            let node = self.node_mut(tree);
            node.full = node.full.wrapping_add(full);
            node.fullest = node.fullest.wrapping_add(full);
            node.add_full = node.add_full.wrapping_add(full);
            node.low = node.low.wrapping_add(low);
            node.lowest = node.lowest.wrapping_add(low);
            node.add_low = node.add_low.wrapping_add(low);
        }
    }

    fn push_down(&mut self, tree: u32) {
        let Node { left, right, add_full, add_low, .. } = *self.node(tree);
        if add_full != 0 || add_low != 0 {
            self.add(left, add_full, add_low);
            self.add(right, add_full, add_low);
            let node = self.node_mut(tree);
            (node.add_full, node.add_low) = (0, 0);
        }
    }

    /// The subtrees have changed, and nothing is left to be pushed down.
    fn pull_up(&mut self, tree: u32) {
        let Node { n, full, low, left, right, .. } = *self.node(tree);
        let (mut sum, mut fullest, mut lowest) = (n, full, low);
        for child in [left, right].into_iter().filter(|&child| child != NONE) {
            let child = self.node(child);
            sum += child.sum;
            fullest = fullest.max(child.fullest);
            lowest = lowest.min(child.lowest);
        }
        let node = self.node_mut(tree);
        (node.sum, node.fullest, node.lowest) = (sum, fullest, lowest);
    }

    /// The entries before `at`, and the others.
    fn split(&mut self, tree: u32, at: Nanos) -> (u32, u32) {
        if tree == NONE {
            return (NONE, NONE);
        }
        self.push_down(tree);
        let parts = if self.node(tree).at < at {
            let (before, after) = self.split(self.node(tree).right, at);
            self.node_mut(tree).right = before;
            (tree, after)
        } else {
            let (before, after) = self.split(self.node(tree).left, at);
            self.node_mut(tree).left = after;
            (before, tree)
        };
        self.pull_up(tree);
        parts
    }

    fn merge(&mut self, before: u32, after: u32) -> u32 {
        if before == NONE || after == NONE {
            return if before == NONE { after } else { before };
        }
        let root = if self.node(before).priority < self.node(after).priority {
            self.push_down(before);
            let right = self.merge(self.node(before).right, after);
            self.node_mut(before).right = right;
            before
        } else {
            self.push_down(after);
            let left = self.merge(before, self.node(after).left);
            self.node_mut(after).left = left;
            after
        };
        self.pull_up(root);
        root
    }

    /// Adds to the entries in `[from, to)`.
    fn add_in(&mut self, from: Nanos, to: Nanos, full: Units, low: Units) {
        let (rest, after) = self.split(self.root, to);
        let (before, within) = self.split(rest, from);
        self.add(within, full, low);
        let rest = self.merge(before, within);
        self.root = self.merge(rest, after);
    }

    /// For the entries after `at`: an amount taken then counts until just before `leaves`. `n` wraps: it may be negative.
    pub(super) fn count(&mut self, n: Units, at: Nanos, leaves: Nanos) {
        if self.last_before(Nanos::MAX).is_some_and(|last| last > at) {
            let after = at.saturating_add(1);
            // Just before the moment at which it leaves it still counts.
            self.add_in(after, leaves, n, 0);
            self.add_in(after, leaves.saturating_add(1), 0, n);
        }
    }

    /// Puts an entry in. `full` and `low` are what they would be without it. Later entries are told by `count`.
    pub(super) fn insert(&mut self, at: Nanos, n: Units, full: Units, low: Units) {
        let (rest, after) = self.split(self.root, at.saturating_add(1));
        let (before, same) = self.split(rest, at);
        let same = if same == NONE {
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let priority = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let (add_full, add_low, left, right) = (0, 0, NONE, NONE);
            let full = full + n;
            let (sum, fullest, lowest) = (n, full, low);
            let node = Node { at, n, full, low, sum, fullest, lowest, add_full, add_low, priority, left, right };
            if let Some(free) = self.free.pop() {
                *self.node_mut(free) = node;
                free
            } else {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).expect("fewer than 2^32 bookings fit in memory")
            }
        } else {
            let node = self.node_mut(same);
            (node.n, node.full) = (node.n + n, node.full + n);
            self.pull_up(same);
            same
        };
        let rest = self.merge(before, same);
        self.root = self.merge(rest, after);
    }

    /// Takes up to `n` out of the entry at `at`. Later entries are told by `count`. Returns how much it took.
    pub(super) fn take_out(&mut self, n: Units, at: Nanos) -> Units {
        let (rest, after) = self.split(self.root, at.saturating_add(1));
        let (before, mut same) = self.split(rest, at);
        let mut taken = 0;
        if same != NONE {
            taken = n.min(self.node(same).n);
            let node = self.node_mut(same);
            (node.n, node.full) = (node.n - taken, node.full - taken);
            if self.node(same).n == 0 {
                self.free.push(same);
                same = NONE;
            } else {
                self.pull_up(same);
            }
        }
        let rest = self.merge(before, same);
        self.root = self.merge(rest, after);
        taken
    }

    /// Removes the first entry, if it is not later than `now`.
    pub(super) fn pop_due(&mut self, now: Nanos) -> Option<(Nanos, Units)> {
        let (at, n) = self.first().filter(|(at, _)| *at <= now)?;
        self.take_out(n, at);
        Some((at, n))
    }

    pub(super) fn first(&self) -> Option<(Nanos, Units)> {
        let mut tree = self.root;
        if tree == NONE {
            return None;
        }
        while self.node(tree).left != NONE {
            tree = self.node(tree).left;
        }
        Some((self.node(tree).at, self.node(tree).n))
    }

    /// All entries, in order.
    pub(super) fn entries(&self) -> Vec<(Nanos, Units)> {
        let (mut entries, mut above, mut tree) = (Vec::new(), Vec::new(), self.root);
        while tree != NONE || !above.is_empty() {
            while tree != NONE {
                above.push(tree);
                tree = self.node(tree).left;
            }
            let node = self.node(above.pop().expect("it is not empty"));
            entries.push((node.at, node.n));
            tree = node.right;
        }
        entries
    }

    /// The sum of the amounts up to `at`, included.
    pub(super) fn sum_until(&self, at: Nanos) -> Units {
        let (mut sum, mut tree) = (0, self.root);
        while tree != NONE {
            let node = self.node(tree);
            if node.at <= at {
                sum += self.sum_of(node.left) + node.n;
                tree = node.right;
            } else {
                tree = node.left;
            }
        }
        sum
    }

    /// The moment of the entry with which the sum from the beginning reaches `sum`.
    pub(super) fn reaches(&self, mut sum: Units) -> Option<Nanos> {
        let mut tree = self.root;
        while tree != NONE {
            let node = self.node(tree);
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

    /// The first entry after `at` just before which the window holds at most `most`: its moment, and the one of the entry before it, if that
    /// is after `at` too.
    pub(super) fn first_low(&self, at: Nanos, most: Units) -> Option<Nanos> {
        self.find_low(self.root, at, most, 0)
    }

    fn find_low(&self, tree: u32, at: Nanos, most: Units, add: Units) -> Option<Nanos> {
        if tree == NONE || self.node(tree).lowest.wrapping_add(add) > most {
            return None;
        }
        let node = self.node(tree);
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
        self.find_full(self.root, after, before, most, 0)
    }

    fn find_full(&self, tree: u32, after: Nanos, before: Nanos, most: Units, add: Units) -> Option<Nanos> {
        if tree == NONE || self.node(tree).fullest.wrapping_add(add) <= most {
            return None;
        }
        let node = self.node(tree);
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
        let (mut found, mut tree) = (None, self.root);
        while tree != NONE {
            let node = self.node(tree);
            if node.at < at {
                found = Some(node.at);
                tree = node.right;
            } else {
                tree = node.left;
            }
        }
        found
    }
}
