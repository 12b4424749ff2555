//! What a `fork` leaves behind.
//!
//! The child has one thread. Whoever else stood in a line is the parent's; waking them would reach nobody, and counting on them would
//! lose wake-ups. So each object remembers the generation in which its lines were made, and on its slow path, when the process has
//! since forked, forgets them without touching them. The hot path pays nothing.

use crate::sync::Count;
use std::sync::atomic::Ordering;

/// Relaxed: it is changed by a process that has one thread, and every thread that reads the new value is started by that one.
static GENERATION: Count = Count::new(0);

/// How many forks lie between the first process and this one.
pub fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Call it in the child, before any object is used.
pub fn after_fork_in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}
