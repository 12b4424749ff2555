//! What guards the core's sections here: being attached to the interpreter.
//!
//! On the build with a global interpreter lock that is enough, because sections are entered only while attached, never left attached
//! to another thread, and run no Python. On the free-threaded build a section is a lock; it is held by attached threads only and for
//! no longer than a few instructions without a detach point, so a stop of the world (the garbage collector's, or `os.fork`'s) never
//! finds one taken.
#![allow(unsafe_code)] // one promise

use pyo3::Python;
use sluicegate_core::section::Domain;

#[derive(Debug)]
pub(crate) struct Attached;

// SAFETY: with a global interpreter lock only one thread at a time holds a `Python` token that it may use, and the token is not
// `Send`. Without one the gate is a lock.
unsafe impl Domain for Attached {
    type Proof<'a> = Python<'a>;
    #[cfg(not(Py_GIL_DISABLED))]
    type Gate = sluicegate_core::section::Flag;
    #[cfg(Py_GIL_DISABLED)]
    type Gate = sluicegate_core::sync::Mutex;
}
