//! A bounded queue: items in a [`Buffer`](crate::buffer::Buffer), wait queues of putters and getters, unfinished tasks and shutdown, in one
//! section.
//!
//! # Algorithm
//! A monitor without a lock that is held while waiting. Every operation is one visit to the section, which either takes effect as a whole
//! or leaves a waiter in a wait queue. After every change [`State::wake_eligible`] wakes as many waiters as the new state has room or items
//! for, less those that already woken waiters may claim (see [`wait`](crate::wait)). A woken operation comes back with its [`Waiter`] and
//! tries again.
//!
//! # States
//!
//! | state                                       | put, `reserve`                     | get              | `fulfil`                  | `shut_down`              | `shut_down_at_once`        |
//! |---------------------------------------------|------------------------------------|------------------|---------------------------|--------------------------|----------------------------|
//! | open                                        | goes; without room see `overflow`  | goes, or waits   | goes in; see `overflow`   | shut, or drained         | drained                    |
//! | shut: items or reserved places are left     | `ShutDown`                         | goes, or waits   | goes in; see `overflow`   | no change                | drained                    |
//! | drained: shut, and none of either           | `ShutDown`                         | `ShutDown`       | `ShutDown`: it comes back | no change                | no change                  |
//! | mutex locked by another (see `mutex`)       | waits (`Locked`); if shut `ShutDown` | waits (`Locked`) | waits (`Locked`)        | waits (`Locked`)         | waits (`Locked`)           |
//!
//! A reserved place will be taken by an item from an iterator. It counts against the bound, and keeps a queue that is shut down from being
//! drained. `shut_down_at_once` drops the items and the reserved places. `reset` leads back to open. In the child of a fork nothing is
//! reserved any more, and the mutex is free unless its owner forked.
//!
//! # Fairness
//! Items leave in the buffer's order. Waiters are woken in order of arrival. An arrival may overtake a woken waiter until that has missed
//! twice; then arrivals that can wait go to the end of the wait queue. [`Admission::Immediate`] never waits and so is never in a wait
//! queue: it answers truthfully from the current state.
//!
//! # Cancellation
//! An operation that stops waiting calls [`Queue::leave`] with its waiter; a wake-up that it may have been given goes to the next one.
//!
//! # What it does not do
//! It knows no deadlines and does not block: the caller does, with the waker that it passed in.
//!
//! # Files
//!
//! | file          | contents                                                                                      |
//! |---------------|-----------------------------------------------------------------------------------------------|
//! | `state`       | what a queue knows                                                                            |
//! | `ops`         | the operations on single items; `uncontended` has their fast paths, `batch` moves many at once |
//! | `baton`       | the slow way, for buffers whose order needs foreign code                                      |
//! | `mutex`       | the whole queue, locked to a caller                                                           |
//! | `keyed`       | putters of items with keys; `lanes` has their wait queues                                     |
//! | `overflow`    | what happens to an item that finds no room; `policy` has the types for it                     |
//! | `composed`    | a queue that keeps notes of its items, with `parts` and the other files `composed_*`          |
//! | `deadline`    | when items expire                                                                             |
//! | `weight`      | how heavy items are                                                                           |
//! | `watermarks`  | when a queue is too full, and when no longer                                                  |
//! | `pressure`    | where that is observed, with `gauge`; `crossings` calls the listeners                         |
//! | `ends`        | counts the producers or consumers of a stream                                                 |
//! | `work`        | workers that put into the queue from which they take                                          |

mod batch;
mod baton;
mod composed;
mod composed_batch;
mod composed_baton;
mod composed_keyed;
mod composed_ops;
mod crossings;
mod deadline;
mod ends;
mod gauge;
mod keyed;
mod lanes;
mod mutex;
mod ops;
mod overflow;
mod parts;
mod policy;
mod pressure;
mod state;
mod uncontended;
mod watermarks;
mod weight;
mod work;

pub use batch::{BatchBounds, BatchError, Linger};
pub use baton::{Admitted, BatonTaken};
pub use composed::Attempt;
pub use composed_ops::Outcome;
pub use crossings::{Crossings, Relief, Relieved, Told};
pub(crate) use deadline::weight_of_next;
pub use deadline::{Deadlines, NEVER, Note};
pub use ends::StreamEnd;
pub use gauge::{Gauge, Pressure};
pub use mutex::{ConditionWait, Locked, MutexTaken, NotLater};
pub use ops::Queue;
pub use parts::{Composition, Due, Terms};
pub use policy::{DropReason, Dropped, LateItems, Lost, Overflow};
pub use state::{
    Admission, Baton, GetError, MutexOwner, PutError, PutOutcome, Side, State, Statistics, UNBOUNDED, Waiter, Worker,
};
pub use watermarks::{Crossed, Fill, Mark, Watermarks};
pub use weight::Weights;
