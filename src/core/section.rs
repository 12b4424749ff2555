//! `Section<T, D>`: the one short critical section that holds the state of an object.
//!
//! A [`Domain`] chooses what guards it. With [`Mutex`] a section is an ordinary lock. With [`Flag`] it is not a lock: the domain's
//! proof already shows that no other thread can be inside. (In Python's binding, on the build that has a global interpreter lock, the
//! proof is the token of a thread that is attached to the interpreter.) The flag only turns a re-entry by the same thread, which would
//! be a bug in this crate, into a panic instead of undefined behaviour.
//!
//! The rule that makes both sound, and that the whole crate relies on: **no foreign code runs inside a section**. No callback,
//! no comparison, no drop of a user's value. Work to be done afterwards leaves the section as a value
//! ([`Wakes`](crate::wait::Wakes), or the displaced item itself).
#![allow(unsafe_code)] // the cell behind the gate

use std::cell::Cell;
use std::fmt;

use crate::sync::{Mutex, UnsafeCell};

/// Mutual exclusion for the length of a closure.
pub trait Gate: Default {
    fn hold<R>(&self, critical: impl FnOnce() -> R) -> R;

    /// True if the gate itself excludes other threads. Otherwise the domain's proof excludes them, for as long as the proof exists.
    const IS_A_LOCK: bool;

    /// True if `hold` would panic because the calling thread is inside already.
    fn is_entered(&self) -> bool {
        false
    }
}

impl Gate for Mutex {
    const IS_A_LOCK: bool = true;

    #[inline]
    fn hold<R>(&self, critical: impl FnOnce() -> R) -> R {
        Mutex::hold(self, critical)
    }
}

/// Not a lock, but a flag that a thread is inside. Sound only with a proof that excludes other threads.
#[derive(Debug, Default)]
pub struct Flag(Cell<bool>);

/// Clears the flag when it is dropped, also during a panic.
struct Inside<'a>(&'a Cell<bool>);

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Gate for Flag {
    const IS_A_LOCK: bool = false;

    #[inline]
    fn is_entered(&self) -> bool {
        self.0.get()
    }

    #[expect(clippy::inline_always, reason = "two stores around what is inlined into few callers, or is a function itself")]
    #[inline(always)]
    fn hold<R>(&self, critical: impl FnOnce() -> R) -> R {
        if self.0.replace(true) {
            re_entered();
        }
        let _inside = Inside(&self.0);
        critical()
    }
}

#[cold]
#[inline(never)]
fn re_entered() -> ! {
    panic!("a sluicegate section was entered again from inside itself");
}

/// Determines which threads may enter a section, and what excludes all others meanwhile.
///
/// # Safety
/// Where `Gate` does not itself exclude other threads ([`Flag`]), two values of `Proof` must never be usable on two threads at
/// the same time.
pub unsafe trait Domain: 'static {
    /// What a thread has to present to enter; `()` where the gate is a real lock.
    type Proof<'a>: Copy;
    type Gate: Gate;
}

/// Ordinary threads and an ordinary lock, for the core's tests, models and benchmarks.
#[derive(Debug)]
pub struct Threads;

// SAFETY: the gate is a lock.
unsafe impl Domain for Threads {
    type Proof<'a> = ();
    type Gate = Mutex;
}

/// State that is only ever touched inside its own critical section.
///
/// ```
/// use sluicegate_core::section::{Section, Threads};
///
/// let items: Section<Vec<String>, Threads> = Section::new(Vec::new());
/// items.with((), |items| items.push("item".to_owned()));
///
/// // What is displaced leaves the section as a value, and is dropped outside.
/// let displaced = items.with((), std::mem::take);
/// assert_eq!(displaced, ["item"]);
/// ```
pub struct Section<T, D: Domain> {
    gate: D::Gate,
    state: UnsafeCell<T>,
}

// SAFETY: `state` is reached only in `with`, where the gate, or the proof of the domain (see `Domain`), excludes every other
// thread. `T: Send` because each thread that enters owns the state while it is inside.
unsafe impl<T: Send, D: Domain> Sync for Section<T, D> {}
// SAFETY: as above; a gate is not tied to a thread.
unsafe impl<T: Send, D: Domain> Send for Section<T, D> {}

impl<T, D: Domain> Section<T, D> {
    pub fn new(state: T) -> Self {
        Self { gate: D::Gate::default(), state: UnsafeCell::new(state) }
    }

    /// True if `with` would panic because this thread is inside already. For callers that must not panic.
    #[inline]
    pub fn is_entered(&self, _proof: D::Proof<'_>) -> bool {
        self.gate.is_entered()
    }

    /// The state, for a caller that has the section to itself.
    #[inline]
    pub fn get_mut(&mut self) -> &mut T {
        // SAFETY: `&mut self` says that nobody else has a reference to the section, let alone to the state.
        self.state.with_mut(|state| unsafe { &mut *state })
    }

    /// Runs `critical` alone with the state. `critical` must not run foreign code (see the head of this file).
    #[inline]
    pub fn with<R>(&self, _proof: D::Proof<'_>, critical: impl FnOnce(&mut T) -> R) -> R {
        self.gate.hold(|| {
            self.state.with_mut(|state| {
                // SAFETY: the gate or the proof keeps other threads out, and the gate refuses this thread a second entry, so
                // this is the only reference.
                critical(unsafe { &mut *state })
            })
        })
    }
}

impl<T, D: Domain> fmt::Debug for Section<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Section").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    struct Solo;
    // SAFETY: used by one test thread only; the proof is not `Send`.
    unsafe impl Domain for Solo {
        type Proof<'a> = &'a *const ();
        type Gate = Flag;
    }

    #[test]
    fn a_second_entry_panics_and_the_section_stays_usable() {
        let proof: *const () = std::ptr::null();
        let section: Section<u32, Solo> = Section::new(1);
        let again = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            section.with(&proof, |_| section.with(&proof, |_| ()));
        }));
        assert!(again.is_err());
        section.with(&proof, |state| *state += 1);
        assert_eq!(section.with(&proof, |state| *state), 2);
    }
}
