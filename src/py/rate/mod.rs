//! The limiters: argument checks, and nothing else. Coroutines and decorators are Python (`sluicegate._rates`).
//!
//! | file          | what it is for                                                       |
//! |---------------|----------------------------------------------------------------------|
//! | `amounts`     | checks of numbers                                                      |
//! | `keywords`    | keyword-only parameters, and what to write instead of a wrong one       |
//! | `refusal`     | the exceptions for what is refused                                     |
//! | `class`       | what the classes share: statistics, what the collector is shown         |
//! | `ops`         | the operations that wait                                               |
//! | `reservation` | `Reservation`                                                          |
//! | `buckets`     | the buckets of all keys of a keyed bucket                              |
//! | `limiter`     | `RateLimiter`: what all limiters have in common, the handles of keys too |
//! | `shapes`      | `TokenBucket`, `LeakyBucket`, `SlidingWindow`                           |
//! | `keyed`       | `KeyedTokenBucket` and `KeyedBucket`                                   |
//! | `set`         | `RateLimits`                                                           |
//! | `hot`         | the hot methods                                                        |
//!
//! Each uses only those above it.

mod amounts;
mod buckets;
mod class;
pub(crate) mod hot;
pub(crate) mod keyed;
mod keywords;
mod limiter;
mod ops;
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
type Keyed = rate::Keyed<Waker, Attached>;
