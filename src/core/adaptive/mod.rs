//! Adaptive limits: find the number of concurrent calls that a service can handle.
//!
//! # Algorithm
//! A [`Limiter`] is a semaphore whose size follows a control law. When an admitted call ends, the caller reports how long it took, and
//! whether it was dropped (timed out, was reset, was refused by the server). About once for every half of the limit, the law evaluates
//! these results, and makes the semaphore larger or smaller ([`aimdf`]).
//!
//! # States of a call (changed only inside the section)
//!
//! | state    | event                                                   | next     | also                                                    |
//! |----------|---------------------------------------------------------|----------|---------------------------------------------------------|
//! | -        | it comes, fewer than the limit are in flight, nobody waits | in flight | its start, and how many are in flight, are remembered |
//! | -        | it comes otherwise, may wait, there is a place in the wait queue | waiting  |                                                       |
//! | -        | it comes otherwise                                       | refused  |                                                         |
//! | waiting  | its turn comes                                           | in flight |                                                        |
//! | waiting  | its turn comes, but CoDel says that it has waited too long | refused | it is woken to be refused                             |
//! | waiting  | it leaves (timeout, cancel, signal)                      | -        | the next waiter is woken                                |
//! | in flight | `finish`                                                | -        | its result goes to the law, unless it says nothing      |
//! | waiting  | the limit grows, or `set_limits`                         | waiting  | as many are woken as there is room for                  |
//! | in flight | the limit falls                                         | in flight | nobody is admitted until enough have ended             |
//! | in flight | the process forks                                       | -        | in the child, where its end would never be reported     |
//!
//! # Fairness
//! Strictly first come, first served. Urgency decides which request is refused, and never lets one overtake: see `admission`.
//!
//! # Cancellation
//! A waiter that stops waiting calls [`Monitor::leave`](crate::monitor::Monitor::leave). A cancelled call is reported as
//! [`Outcome::Ignored`]: it gives its slot back and says nothing about the service.
//!
//! # What it does not do
//! It has no timer and no thread. It bounds the median of the durations, not a high percentile, and does not detect a small share of
//! failing calls: that is the task of a circuit breaker.
//!
//! | file        | what it is for                                                     |
//! |-------------|--------------------------------------------------------------------|
//! | `aimdf`     | the law for a number of calls: pure                                 |
//! | `cubic`     | the law for a rate: pure                                            |
//! | `admission` | which calls are refused first: pure                                 |
//! | `state`     | what a limiter knows, and how each step changes it                  |
//! | `ops`       | the operations                                                      |

mod admission;
pub mod aimdf;
pub mod cubic;
mod ops;
mod state;

pub use admission::LEAST_URGENT;
pub use ops::Limiter;
pub use state::{Grant, NotAdmitted, Outcome, Reason, Refusal, Settings, State, Statistics, Totals, Unmet, Waiter};
