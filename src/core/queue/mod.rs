//! A bounded queue: items in a [`Buffer`](crate::buffer::Buffer), putters and getters in two lines, unfinished work and shutdown, in one section.
//!
//! # Algorithm
//! A monitor without a held lock. Every operation is one visit to the section, which either happens wholly or leaves a place in a
//! line. After every change [`State::settle`] wakes as many waiters as the new state has room or items for, less what those already
//! woken may claim (see [`wait`](crate::wait)). An operation that has waited comes back with its [`Spot`] and tries again.
//!
//! # Fairness
//! Items leave in the buffer's order. Waiters are woken in the order they came; an arrival may pass a woken one until that has missed
//! twice, then arrivals that can wait go to the end of the line. [`Admission::Immediate`] never waits and so never stands in line: it answers
//! truthfully from what is there.
//!
//! # Cancellation
//! Whoever stops waiting calls [`Queue::leave`] with its spot; a wake-up it may have been given goes to the next.
//!
//! # What it does not do
//! It knows no deadlines and parks nobody: the caller does, with the waker it passed in.
//!
//! Files: `state` is what a queue knows; `ops` are the operations on single items; `batch` moves many at once; `baton` is the slow way,
//! for buffers whose order needs foreign code; `ends` counts the producers or consumers of a stream; `work` is for those who put into the queue that they take from.

mod batch;
mod baton;
mod ends;
mod ops;
mod state;
mod work;

pub use batch::{BatchError, Linger};
pub use baton::{Admitted, Taken};
pub use ends::Ends;
pub use ops::Queue;
pub use state::{Admission, Baton, GetError, PutError, Side, Spot, State, Statistics, UNBOUNDED};
