//! Rate limits: who may go when.
//!
//! | file      | what it is for                                                                          |
//! |-----------|-----------------------------------------------------------------------------------------|
//! | `units`   | amounts and rates in whole numbers, without drift                                        |
//! | `gcra`    | the token bucket and the shaper: one number                                              |
//! | `bucket`  | that, and bookings apart from it                                                        |
//! | `window`  | the sliding window: a log                                                               |
//! | `ahead`   | what a window has promised for later: a tree                                            |
//! | `fast_path` | the atomic word through which most calls pass                                            |
//! | `wait_queue` | the queue of waiters, and who watches the clock for them                                 |
//! | `schedule`| one of these two                                                                        |
//! | `lowwater`| how much of what was taken earlier can still be given back                               |
//! | `types`   | what callers are told and hold                                                          |
//! | `state`   | schedule, line, grants and bookings: what happens inside the section                    |
//! | `limiter` | one limiter: fast path and section                                                           |
//! | `members` | the members of a set while it is visited, and its forecast                               |
//! | `set`     | several limiters, taken together                                                        |
//! | `keyed`   | a bucket for each of very many keys                                                     |
//!
//! # Promises
//! - The law holds in every window, whatever the order of calls, waits, cancellations, changes of the rate, and readings of the clock;
//!   it is a law on the *moments* of grants, which the schedule decides, not on when somebody came to fetch them.
//! - Strictly first come, first served, by weight.
//! - Whoever comes exactly when it was told to is admitted, if nobody came in between.

mod ahead;
mod bucket;
#[cfg(all(test, not(loom)))]
mod costs;
mod fast_path;
mod gcra;
mod keyed;
mod limiter;
mod lowwater;
mod members;
mod schedule;
mod set;
mod state;
mod types;
mod units;
mod wait_queue;
mod window;

pub use keyed::{Keyed, KeyedStatistics};
pub use limiter::{Limiter, Policy};
pub use members::Bookings;
pub use set::LimitSet;
pub use types::{Booking, Place, Refusal, Standing, Statistics, Terms};
pub use units::{MAX_UNITS, Rate, RateError, Scale, Units};
