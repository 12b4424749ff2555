//! A semaphore: a number of permits, acquired and released by weight, in order of request.
//!
//! # Algorithm
//! A [`Monitor`](crate::monitor) with one wait queue. After every change the state wakes as many waiters at the head of the queue as there
//! are free permits for, less the permits that already woken waiters may claim (see [`wait`](crate::wait)).
//!
//! # States of a permit (changed only inside the section)
//!
//! | state   | event                                       | next    | also                                                        |
//! |---------|---------------------------------------------|---------|-------------------------------------------------------------|
//! | free    | acquired by an arrival, the queue is empty   | held    |                                                             |
//! | free    | a waiter is woken for it                     | claimed | still counted as free; no arrival gets it                   |
//! | claimed | the waiter comes                             | held    | the waiter's place ends                                     |
//! | claimed | the waiter leaves (timeout, cancel, signal)  | free    | the next waiter is woken                                    |
//! | held    | `release`                                    | free    | more than are held: the semaphore grows, or refuses         |
//! | held    | `resize` to fewer                            | held    | the holder finishes; what is released above the size is gone |
//! | claimed | `resize` to fewer                            | -       | the waiter comes, finds too little and waits in its old place |
//!
//! # Weights
//! A request for more than one permit that is larger than the semaphore is refused at once, and a waiter whose request a `resize` has made
//! too large gets the same error. A request for one permit always waits: a semaphore of size 0 signals that another thread is going to
//! release.
//!
//! # Fairness
//! Strictly first come, first served, by weight: a large request at the head holds up small ones behind it. An arrival joins the queue
//! whenever it is not empty; a waiter that has been woken but has not come yet is still in it.
//!
//! # Cancellation
//! A waiter that stops waiting calls [`Monitor::leave`](crate::monitor::Monitor::leave); the permits for which it was woken go to the next
//! waiter.
//!
//! # What it does not do
//! It does not know who holds a permit, and it cannot be closed. The caller handles deadlines.
//!
//! Files: `state` is the state of a semaphore and its transitions; `ops` are the operations; `keyed` has a state for each key in use.

mod keyed;
mod ops;
mod state;

pub use keyed::{Keyed, KeyedStatistics};
pub use ops::Semaphore;
pub use state::{AcquireError, MAX_PERMITS, Overrelease, Overreleased, State, Statistics, Waiter};
