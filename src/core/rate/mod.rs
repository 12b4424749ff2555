//! Rate limits: who may go when.
//!
//! | file      | what it is for                                                                          |
//! |-----------|-----------------------------------------------------------------------------------------|
//! | `units`   | amounts and rates in whole numbers, without drift                                        |
//! | `gcra`    | the token bucket and the shaper: one number                                              |
//! | `bucket`  | that, and bookings apart from it                                                        |
//! | `window`  | the sliding window: a log                                                                |
//! | `gate`    | the atomic word through which most calls pass                                            |
//! | `room`    | the line of those who wait, and who keeps time for them                                  |
//! | `schedule`| one of these two                                                                        |
//! | `lowwater`| how much of what was taken earlier can still be given back                               |
//! | `state`   | schedule, line, grants and bookings: what happens inside the section                    |
//! | `limiter` | one limiter: gate and section                                                           |
//! | `several` | several limiters, taken together                                                        |
//! | `keyed`   | a bucket for each of very many keys                                                     |
//!
//! # Promises
//! - The law holds in every window, whatever the order of calls, waits, cancellations, changes of the rate, and readings of the clock;
//!   it is a law on the *moments* of grants, which the schedule decides, not on when somebody came to fetch them.
//! - Strictly first come, first served, by weight.
//! - Whoever comes exactly when it was told to is admitted, if nobody came in between.

mod bucket;
mod gate;
mod gcra;
mod keyed;
mod limiter;
mod lowwater;
mod room;
mod schedule;
mod set;
mod state;
mod units;
mod window;

pub use keyed::{Keyed, KeyedStatistics};
pub use limiter::{Law, Limiter};
pub use set::{Bookings, Several};
pub use state::{Booking, Place, Refusal, Standing, Statistics, Terms};
pub use units::{MAX_UNITS, Pace, PaceError, Scale, Units};
