//! The pure core of sluicegate: flow control without Python.
//!
//! # Map
//! - [`section`]: the critical section that holds the state of an object, and the rule that no foreign code runs inside it
//! - [`leaving`]: wake-ups and displaced items, which a section returns and its caller delivers after it
//! - [`wait`]: the wait queue that every primitive uses; its protocol, state tables and fairness
//! - [`buffer`]: the order in which a queue returns its items
//! - [`queue`]: bounded queues (admission, unfinished work, shutdown, batches, the baton)
//! - [`shed`]: which items an overloaded queue drops: CoDel, adaptive LIFO
//! - [`latest`]: one value; every reader sees the newest
//! - [`broadcast`]: every item to every subscriber, stored once, each with a bound and an overflow policy of its own
//! - [`rate`]: token buckets, shapers and sliding windows, with a wait queue, bookings and grants at computed times
//! - [`semaphore`]: weighted, resizable semaphores, strictly first come first served
//! - [`adaptive`]: limits on concurrent calls that find themselves
//! - [`breaker`]: circuit breakers: calls to a failing service are refused for a while
//! - [`credits`]: channels on which the receiver decides how much may be outstanding; deliveries that have to be settled
//! - [`select`]: the random order in which `select` tries several operations
//! - [`retry_budget`]: the number of retries that may be made in addition to calls
//! - [`keys`]: hashes of keys, and tables of very many keys in bounded memory
//! - [`sip`]: SipHash with 128 bits, for the hashes of keys
//! - [`blocks`]: lists of any length that never ask for a large block of memory
//! - [`mailbox`]: wake-ups on their way to an event loop, and how none is lost if the loop stops or closes
//! - [`lazy`]: process-wide values that are initialised on first use and survive a fork at any moment
//! - [`clock`]: the monotonic clock, and a manual clock for tests
//! - [`histogram`]: a histogram of durations, for percentiles; any thread records without waiting
//! - [`credits::frames`]: the items of a byte stream, which a channel can count and weigh before they are created
//! - [`transfer`]: the state of a transfer between a channel and a file or socket: stopped, resumed, waited for, counted exactly
//! - `sync`: locks, atomics and cells, from `std` or from loom
//!
//! # Promises
//! - Nothing lost, nothing twice: an operation happens wholly, in one visit to the section, or not at all. A wake-up is a permission
//!   to try; if a woken waiter leaves without having tried, the next waiter is woken.
//! - Items leave first in, first out (or in the buffer's order). Waiters wait in one queue in the order they came, and each is
//!   overtaken a bounded number of times.
//! - Wake-ups and drops happen outside the section.
//! - Deadlines belong to the caller: nothing here measures time except to report it.

pub mod adaptive;
pub mod blocks;
pub mod breaker;
pub mod broadcast;
pub mod buffer;
pub mod clock;
pub mod credits;
mod error;
pub mod fork;
pub mod histogram;
pub mod keys;
pub mod latest;
pub mod lazy;
pub mod leaving;
pub mod mailbox;
pub mod monitor;
mod ordered;
pub mod queue;
pub mod rate;
pub mod retry_budget;
mod room;
pub mod section;
pub mod select;
pub mod semaphore;
pub mod shed;
pub mod sip;
pub mod sync;
mod table;
pub mod transfer;
pub mod wait;
