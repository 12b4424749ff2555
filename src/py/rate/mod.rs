//! The limiters: argument checks, and nothing else. Coroutines and decorators are Python (`sluicegate._rates`).
//!
//! | file          | what it is for                                                       |
//! |---------------|----------------------------------------------------------------------|
//! | `amounts`     | checks of numbers                                                      |
//! | `names`       | the members of a set by name, and amounts of them                      |
//! | `keywords`    | keyword-only parameters, and what to write instead of a wrong one       |
//! | `refusal`     | the exceptions for what is refused                                     |
//! | `class`       | what the classes share: statistics, what the collector is shown         |
//! | `ops`         | the operations that wait                                               |
//! | `reservation` | `Reservation`                                                          |
//! | `permit`      | `RatePermit`                                                           |
//! | `keys`        | the keys of a keyed limiter                                            |
//! | `limiter`     | `RateLimiter`: what all limiters have in common, the handles of keys too |
//! | `shapes`      | `TokenBucket`, `LeakyBucket`, `SlidingWindow` and the like              |
//! | `handles`     | the handles of keys                                                    |
//! | `keyed`       | `KeyedTokenBucket` and the other keyed limiters                         |
//! | `set`         | `RateLimits`                                                           |
//! | `hot`         | the hot methods                                                        |
//! | `hot_bookings` | those that book                                                       |
//!
//! Each uses only those above it.

mod amounts;
mod class;
pub(crate) mod handles;
pub(crate) mod hot;
pub(crate) mod hot_bookings;
pub(crate) mod keyed;
mod keys;
mod keywords;
mod limiter;
mod names;
mod ops;
pub(crate) mod permit;
mod refusal;
pub(crate) mod reservation;
pub(crate) mod set;
pub(crate) mod shapes;

use pyo3::prelude::*;
use sluicegate_core::rate;

pub(crate) use self::limiter::PyRateLimiter;
use crate::rt::domain::Attached;
use crate::rt::waker::Waker;

type Limiter = rate::Limiter<Waker, Attached>;
type LimitSet = rate::LimitSet<Waker, Attached>;
type Keyed<L> = rate::Keyed<Waker, Attached, L>;

/// The limiter, if its class is one of the package's from which an amount is taken and nothing is held: a subclass may have methods of its own,
/// and a set may hold permits of semaphores.
pub(crate) fn exactly_ours<'a, 'py>(object: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PyRateLimiter>> {
    let is_ours = object.is_exact_instance_of::<shapes::PyTokenBucket>()
        || object.is_exact_instance_of::<shapes::PyLeakyBucket>()
        || object.is_exact_instance_of::<shapes::PySlidingWindow>()
        || object.is_exact_instance_of::<shapes::PyUnlimitedRate>()
        || object.is_exact_instance_of::<shapes::PyZeroRate>()
        || object.is_exact_instance_of::<handles::PyTokenBucketKey>()
        || object.is_exact_instance_of::<handles::PyLeakyBucketKey>()
        || object.is_exact_instance_of::<handles::PySlidingWindowKey>();
    object.cast().ok().filter(|_| is_ours)
}

/// For objects that are written in Python: see `exactly_ours`.
#[pyfunction]
pub(crate) fn _is_plain_rate(rate: &Bound<'_, PyAny>) -> bool {
    exactly_ours(rate).is_some()
}
