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
//! | `plain`       | which limiters a guard takes from by itself                             |
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
pub(crate) mod plain;
mod refusal;
pub(crate) mod reservation;
pub(crate) mod set;
pub(crate) mod shapes;

use sluicegate_core::rate;

pub(crate) use self::limiter::PyRateLimiter;
use crate::rt::domain::Attached;
use crate::rt::waker::Waker;

type Limiter = rate::Limiter<Waker, Attached>;
type LimitSet = rate::LimitSet<Waker, Attached>;
type Keyed<L> = rate::Keyed<Waker, Attached, L>;
