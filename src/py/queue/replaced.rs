//! `ReplacedWaits`: whether a program has assigned a `wait` to one of a queue's conditions. `conditions` says what follows from that.

use std::sync::atomic::{AtomicBool, Ordering};

use sluicegate_core::queue::Side;

/// Which conditions have another `wait` than their own. Relaxed: an operation that does not see the assignment waits as one that began
/// before it.
#[derive(Debug, Default)]
pub(in crate::queue) struct ReplacedWaits([AtomicBool; 3]);

impl ReplacedWaits {
    fn of(&self, side: Side) -> Option<&AtomicBool> {
        match side {
            Side::Put => Some(&self.0[0]),
            Side::Get => Some(&self.0[1]),
            Side::Join => Some(&self.0[2]),
            Side::Baton | Side::Key(_) => None,
        }
    }

    pub(in crate::queue) fn set(&self, side: Side, replaced: bool) {
        if let Some(flag) = self.of(side) {
            flag.store(replaced, Ordering::Relaxed);
        }
    }

    pub(in crate::queue) fn has(&self, side: Side) -> bool {
        self.of(side).is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}
