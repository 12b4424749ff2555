//! Rate limits: the moments at which requests are admitted.
//!
//! | file      | contents                                                                                |
//! |-----------|-----------------------------------------------------------------------------------------|
//! | `units`   | amounts and rates as integers, without drift                                             |
//! | `gcra`    | the token bucket and the shaper: one number                                              |
//! | `bucket`  | a bucket with future bookings, which are kept apart from that number                    |
//! | `apart`   | these bookings: a tree                                                                  |
//! | `window`  | the sliding window: a log                                                               |
//! | `ahead`   | the future bookings of a window: a tree                                                 |
//! | `treap`   | the tree of both                                                                        |
//! | `fast_path` | the atomic word that most calls use instead of the section                              |
//! | `wait_queue` | the queue of waiters, and the leaders among them that watch the clock                   |
//! | `schedule`| a bucket or a window                                                                    |
//! | `lowwater`| how much of an amount that was taken earlier can still be given back                     |
//! | `types`   | the results of operations, and the handles of waiters and bookings                      |
//! | `state`   | schedule, wait queue, grants and bookings: what happens inside the section              |
//! | `bookings`| a part of `state`: bookings, and the settlement of bookings and grants                   |
//! | `limiter` | one limiter: fast path and section                                                      |
//! | `members` | the members of a set during a visit, and the forecast of the set                         |
//! | `refusing`| refusals at once, mostly without a visit to the section                                 |
//! | `arrivals`| requests that arrive at a set: admitted at once, given a moment, or refused              |
//! | `set`     | several limiters, taken together                                                        |
//! | `forgetting` | a table of keys that finds the one that can be forgotten first                        |
//! | `law`     | the limit of each key, and the state that is kept for a key                             |
//! | `shard`   | a shard of such keys                                                                    |
//! | `newcomers` | new keys for which there is no place: which key is evicted for one, or when there is room |
//! | `keyed`   | a limiter for each of very many keys                                                    |
//!
//! # Promises
//! - The limit holds in every window, whatever the order of calls, waits, cancellations, changes of the rate, and readings of the clock.
//!   It applies to the *moments* of grants, which the schedule determines, not to the moments at which waiters fetch them.
//! - Strictly first come, first served, by weight.
//! - A caller that tries again exactly at the moment it was told is admitted, unless another request has come in between.

mod ahead;
mod apart;
mod arrivals;
mod bookings;
mod bucket;
#[cfg(all(test, not(loom)))]
mod costs;
mod fast_path;
mod forgetting;
mod gcra;
mod keyed;
mod law;
mod limiter;
mod lowwater;
mod members;
mod newcomers;
mod refusing;
mod schedule;
mod set;
mod shard;
mod state;
mod treap;
mod types;
mod units;
mod wait_queue;
mod window;

pub use keyed::{Keyed, KeyedStatistics};
pub use law::{BucketLaw, Law, NewLimit, NewRate, WindowLaw};
pub use limiter::{Limiter, Policy};
pub use set::LimitSet;
pub use types::{AcquireState, Booking, Bookings, Refusal, Statistics, Terms, Told, Waiter};
pub use units::{MAX_UNITS, Rate, RateError, Scale, Units};
