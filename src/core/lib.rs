//! The pure core of sluicegate: flow control without Python.
//!
//! # Map
//! - [`section`]: the one critical section that each object keeps its state in, and the rule that no foreign code runs inside it
//! - [`leaving`]: what leaves a section, to be done after it: wake-ups and displaced items
//! - [`wait`]: the one waiter list under every primitive; the protocol, its state tables and its fairness
//! - [`buffer`]: in which order a queue gives back what it holds
//! - [`queue`]: bounded queues (admission, unfinished work, shutdown, batches, the baton)
//! - [`rate`]: token buckets, shapers and sliding windows, with a line, bookings and grants on schedule
//! - [`semaphore`]: weighted, resizable semaphores, strictly first come first served
//! - [`credits`]: channels on which the receiver decides how much may be on its way; deliveries to be settled
//! - [`keys`]: hashes of keys, and tables of very many of them in bounded memory
//! - [`mailbox`]: wake-ups on their way to an event loop, and who answers for them while the loop may stop or close
//! - [`lazy`]: values of the whole process that survive a fork at any moment
//! - [`clock`]: the monotonic clock, and one that tests set by hand
//! - [`credits::frames`]: items of a stream of bytes, which a channel can count and weigh before anybody makes them
//! - [`transfer`]: what moves items between a channel and something else: stopped, resumed, waited for, counted exactly
//! - `sync`: locks, atomics and cells, from `std` or from loom
//!
//! # Promises
//! - Nothing lost, nothing twice: an operation happens wholly, in one visit to the section, or not at all. A wake-up is a permission
//!   to try; a waiter that leaves with one hands its turn on.
//! - Items first in, first out (or the buffer's order); waiters in one line, in the order they came; nobody is overtaken for ever.
//! - Wake-ups and drops happen outside the section.
//! - Deadlines belong to the caller: nothing here measures time except to report it.

pub mod buffer;
pub mod clock;
pub mod credits;
mod error;
pub mod fork;
pub mod keys;
pub mod lazy;
pub mod leaving;
pub mod mailbox;
pub mod monitor;
pub mod queue;
pub mod rate;
pub mod section;
pub mod semaphore;
pub mod sync;
pub mod transfer;
pub mod wait;
