//! A fork is the whole process's: a test that plays one has the process alone, while the others hold a share of it.

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static FORKS: RwLock<()> = RwLock::new(());

/// Held by an object under test: no test plays a fork meanwhile.
pub(crate) struct Unforked(#[expect(dead_code, reason = "held, not read")] Option<RwLockReadGuard<'static, ()>>);

impl Unforked {
    pub(crate) fn new() -> Self {
        Self(Some(FORKS.read_recursive()))
    }

    /// For the objects of the test that plays the fork.
    pub(crate) fn forked(_alone: &Alone) -> Self {
        Self(None)
    }
}

/// Held by a test that plays a fork.
pub(crate) struct Alone(#[expect(dead_code, reason = "held, not read")] RwLockWriteGuard<'static, ()>);

pub(crate) fn alone() -> Alone {
    Alone(FORKS.write())
}
