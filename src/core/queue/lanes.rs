//! The data that determine which wait queue of a key is next; the operations are in `keyed`.

use std::collections::{BTreeSet, HashMap};

use crate::keys::{ByHash, KeyHash};

/// A tag: the bits of a float that is not negative, which have the same order.
pub(super) type Tag = u64;

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) key: KeyHash,
    pub(super) tag: f64,
    /// The part of the tag that no waiter has been woken for: if it is less than the item of the next waiter costs, the tag has to grow.
    pub(super) credit: f64,
    /// The part of the wait queue's claim that is included in the sum.
    pub(super) claimed: u64,
    pub(super) is_ready: bool,
    /// True if places are reserved for the key.
    pub(super) is_privileged: bool,
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    pub(super) slots: HashMap<KeyHash, u32, ByHash>,
    /// Indexed by the numbers of the wait queues.
    pub(super) all: Vec<Lane>,
    pub(super) free: Vec<u32>,
    pub(super) turns: BTreeSet<(Tag, u32)>,
    /// The wait queues in `turns` whose keys have reserved places.
    pub(super) privileged: BTreeSet<u32>,
    pub(super) virtual_time: f64,
    /// The claims of all these wait queues together.
    pub(super) claimed: u64,
}

impl Lanes {
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}
