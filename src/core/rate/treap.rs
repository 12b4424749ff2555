//! `Treap`: an ordered tree whose subtrees have summaries, and to whose subtrees an addition is made in one step.
//!
//! # Algorithm
//! Seidel and Aragon, *Randomized search trees*, 1996. A node has a random priority, which is less than that of its children, so the tree is
//! balanced whatever is inserted. It is changed by two operations: `split` at a place in the order, and `merge`. An addition to a subtree is
//! made to its root, and is propagated to the children only when they are visited. Every operation takes logarithmic time.

use std::collections::TryReserveError;
use std::ops::{Deref, DerefMut};

/// No node.
pub(super) const NONE: u32 = u32::MAX;

/// What a node stores: an entry, and a summary of its subtree.
pub(super) trait Value: Copy {
    type Addition;

    /// Adds to the entry and to all in its subtree.
    fn add(&mut self, more: &Self::Addition);

    /// Takes out what is still to be added to both subtrees.
    fn take_pending(&mut self) -> Option<Self::Addition>;

    /// Recomputes the summary after the subtrees have changed.
    fn summarize(&mut self, left: Option<&Self>, right: Option<&Self>);
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Node<V> {
    value: V,
    priority: u64,
    pub(super) left: u32,
    pub(super) right: u32,
}

impl<V> Deref for Node<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.value
    }
}

impl<V> DerefMut for Node<V> {
    fn deref_mut(&mut self) -> &mut V {
        &mut self.value
    }
}

/// See the head of this file. A subtree is given by its root, which is [`NONE`] if it is empty.
#[derive(Debug)]
pub(super) struct Treap<V> {
    nodes: Vec<Node<V>>,
    free: Vec<u32>,
    pub(super) root: u32,
    random: u64,
}

impl<V: Value> Treap<V> {
    pub(super) fn new() -> Self {
        Self { nodes: Vec::new(), free: Vec::new(), root: NONE, random: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    pub(super) fn try_clone(&self) -> Result<Self, TryReserveError> {
        let (mut nodes, mut free) = (Vec::new(), Vec::new());
        if self.is_empty() {
            return Ok(Self { nodes, free, ..*self });
        }
        nodes.try_reserve_exact(self.nodes.len())?;
        free.try_reserve_exact(self.nodes.len())?; // each of them may be freed
        nodes.extend_from_slice(&self.nodes);
        free.extend_from_slice(&self.free);
        Ok(Self { nodes, free, root: self.root, random: self.random })
    }

    /// Reserves memory for one more node.
    pub(super) fn try_reserve(&mut self) -> Result<(), TryReserveError> {
        if self.free.is_empty() {
            self.nodes.try_reserve(1)?;
            self.free.try_reserve(self.nodes.len() + 1)?; // each of them may be freed
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.root == NONE
    }

    /// Leaves an empty tree. The nodes of the old one are its caller's, who gives them up by [`Treap::take_first`].
    pub(super) fn detach(&mut self) -> u32 {
        std::mem::replace(&mut self.root, NONE)
    }

    pub(super) fn node(&self, at: u32) -> &Node<V> {
        #[cfg(all(test, not(loom)))]
        super::costs::step();
        &self.nodes[at as usize]
    }

    pub(super) fn node_mut(&mut self, at: u32) -> &mut Node<V> {
        &mut self.nodes[at as usize]
    }

    /// The root of a subtree.
    pub(super) fn top(&self, tree: u32) -> Option<&Node<V>> {
        (tree != NONE).then(|| self.node(tree))
    }

    pub(super) fn add(&mut self, tree: u32, more: &V::Addition) {
        if tree != NONE {
            self.node_mut(tree).value.add(more);
        }
    }

    fn push_down(&mut self, tree: u32) {
        let node = self.node_mut(tree);
        let (left, right) = (node.left, node.right);
        if let Some(pending) = node.value.take_pending() {
            self.add(left, &pending);
            self.add(right, &pending);
        }
    }

    /// Recomputes the summary of the subtree. What was pending has been pushed down.
    pub(super) fn pull_up(&mut self, tree: u32) {
        let Node { mut value, left, right, .. } = *self.node(tree);
        value.summarize(self.top(left).map(|node| &node.value), self.top(right).map(|node| &node.value));
        self.node_mut(tree).value = value;
    }

    /// Splits the tree into the nodes for which `is_before` holds, and the others.
    pub(super) fn split(&mut self, tree: u32, is_before: &impl Fn(&V) -> bool) -> (u32, u32) {
        if tree == NONE {
            return (NONE, NONE);
        }
        self.push_down(tree);
        let parts = if is_before(self.node(tree)) {
            let (before, after) = self.split(self.node(tree).right, is_before);
            self.node_mut(tree).right = before;
            (tree, after)
        } else {
            let (before, after) = self.split(self.node(tree).left, is_before);
            self.node_mut(tree).left = after;
            (before, tree)
        };
        self.pull_up(tree);
        parts
    }

    pub(super) fn merge(&mut self, before: u32, after: u32) -> u32 {
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

    /// A tree of one node.
    pub(super) fn make(&mut self, value: V) -> u32 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let priority = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let node = Node { value, priority, left: NONE, right: NONE };
        if let Some(free) = self.free.pop() {
            *self.node_mut(free) = node;
            return free;
        }
        self.nodes.push(node);
        u32::try_from(self.nodes.len() - 1).expect("fewer than 2^32 bookings fit in memory")
    }

    /// Gives up a tree of one node.
    pub(super) fn free(&mut self, node: u32) {
        self.free.push(node);
    }

    pub(super) fn first(&self) -> Option<&V> {
        let mut first = self.top(self.root)?;
        while let Some(left) = self.top(first.left) {
            first = left;
        }
        Some(&first.value)
    }

    /// The last node for which `is_before` holds, and the first one for which it does not.
    pub(super) fn around(&self, is_before: impl Fn(&V) -> bool) -> (Option<&V>, Option<&V>) {
        let (mut before, mut after, mut tree) = (None, None, self.root);
        while let Some(node) = self.top(tree) {
            if is_before(node) {
                (before, tree) = (Some(&node.value), node.right);
            } else {
                (after, tree) = (Some(&node.value), node.left);
            }
        }
        (before, after)
    }

    /// Gives up the first node of a tree. Returns its value and the tree that is left. It needs no memory.
    pub(super) fn take_first(&mut self, tree: u32) -> Option<(V, u32)> {
        self.top(tree)?;
        self.push_down(tree);
        let Node { value, left, right, .. } = *self.node(tree);
        let Some((first, rest)) = self.take_first(left) else {
            self.free(tree);
            return Some((value, right));
        };
        self.node_mut(tree).left = rest;
        self.pull_up(tree);
        Some((first, tree))
    }
}
