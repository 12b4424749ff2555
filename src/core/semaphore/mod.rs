//! A semaphore: a number of permits that are acquired and released by weight, in the order in which they are asked for.
//!
//! # Algorithm
//! A [`Monitor`](crate::monitor) with one line. After every change the state wakes as many waiters at the head of the line as there are
//! free permits for, less what the waiters already woken may claim (see [`wait`](crate::wait)).
//!
//! # States of a permit (changed only inside the section)
//!
//! | state   | event                                       | next    | also                                                        |
//! |---------|---------------------------------------------|---------|-------------------------------------------------------------|
//! | free    | acquired by an arrival, the line is empty    | held    |                                                             |
//! | free    | a waiter is woken for it                     | claimed | still counted as free; no arrival gets it                   |
//! | claimed | the waiter comes                             | held    | the waiter's place ends                                     |
//! | claimed | the waiter leaves (timeout, cancel, signal)  | free    | the next waiter is woken                                    |
//! | held    | `release`                                    | free    | more than are held: the semaphore grows, or refuses         |
//! | held    | `resize` to fewer                            | held    | the holder finishes; what is released above the size is gone |
//! | claimed | `resize` to fewer                            | -       | the waiter comes, finds too little and waits in its old place |
//!
//! # Weights
//! A request for more than one permit that is larger than the semaphore is refused at once, and a waiter that a `resize` has made too
//! large is told so. A request for one permit always waits: a semaphore of size 0 is a signal that somebody is going to release.
//!
//! # Fairness
//! Strictly first come, first served, by weight: a large request at the head holds up small ones behind it. An arrival joins the line
//! whenever somebody is in it, a waiter that has been woken and has not come yet included.
//!
//! # Cancellation
//! Whoever stops waiting calls [`Monitor::leave`](crate::monitor::Monitor::leave); the permits it had been woken for go to the next.
//!
//! # What it does not do
//! It does not know who holds a permit, and has no end: nothing closes it. Deadlines are the caller's.
//!
//! Files: `state` is what a semaphore knows and how each step changes it; `ops` are the operations; `keyed` has a state for each key in use.

mod keyed;
mod ops;
mod state;

pub use keyed::{Keyed, KeyedPlace, KeyedSpot, KeyedStatistics};
pub use ops::Semaphore;
pub use state::{AcquireError, Kind, MAX_PERMITS, Overreleased, Spot, State, Statistics};
