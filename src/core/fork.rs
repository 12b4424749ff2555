//! What happens to waiters in the child of a `fork`.
//!
//! The child has one thread. All other waiters exist only in the parent: waking one of them in the child would have no effect, so a
//! wake-up given to it would be lost. So each object remembers the fork generation in which its wait queues were made. On its slow
//! path, if the process has forked since, it forgets their waiters without touching them. The hot path costs nothing.

use crate::sync::{Count, Ordering};

/// Relaxed: it is changed by a process that has one thread, and every thread that reads the new value is started by that one.
static GENERATION: Count = Count::new(0);

/// The number of forks between the first process and this one.
pub fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Call it in the child, before any object is used.
pub fn after_fork_in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}
