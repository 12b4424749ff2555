//! The domain of the core's sections in this binding: a thread must be attached to the interpreter to enter one.
//!
//! On the build with a global interpreter lock that is sufficient, because sections are entered only by attached threads, which do not
//! detach inside, and run no Python code. On the free-threaded build a section is a lock. Only attached threads hold it, for a few
//! instructions without a point at which they could detach. So when the garbage collector or `os.fork` stops the world, no section is held.
#![allow(unsafe_code)] // `Domain` is an unsafe trait; and a token inside a section

use pyo3::Python;
use sluicegate_core::section::Domain;

/// The token inside a section, for what the core's code calls there: it has shown its own on the way in.
pub(crate) fn inside_a_section<'py>() -> Python<'py> {
    // SAFETY: sections of this domain are entered with a token only, and not left before what they call has returned.
    unsafe { Python::assume_attached() }
}

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
