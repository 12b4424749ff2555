//! Which limiters are plain: an attempt of a guard takes one of them, and holds nothing.

use pyo3::prelude::*;

use super::limiter::PyRateLimiter;

/// The limiter, if its class is one of the package's from which an amount is taken and nothing is held: a subclass may have methods of its own,
/// and a set may hold permits of semaphores.
pub(crate) fn exactly_ours<'a, 'py>(object: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PyRateLimiter>> {
    let is_ours = object.is_exact_instance_of::<super::shapes::PyTokenBucket>()
        || object.is_exact_instance_of::<super::shapes::PyLeakyBucket>()
        || object.is_exact_instance_of::<super::shapes::PySlidingWindow>()
        || object.is_exact_instance_of::<super::shapes::PyUnlimitedRate>()
        || object.is_exact_instance_of::<super::shapes::PyZeroRate>()
        || object.is_exact_instance_of::<super::handles::PyTokenBucketKey>()
        || object.is_exact_instance_of::<super::handles::PyLeakyBucketKey>()
        || object.is_exact_instance_of::<super::handles::PySlidingWindowKey>();
    object.cast().ok().filter(|_| is_ours)
}

/// For objects that are written in Python: see `exactly_ours`.
#[pyfunction]
pub(crate) fn _is_plain_rate(rate: &Bound<'_, PyAny>) -> bool {
    exactly_ours(rate).is_some()
}
