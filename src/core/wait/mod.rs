//! The wait queue that every primitive uses.
//!
//! Primitives differ in *when* a waiter may proceed, not in *how* it waits. This module is about how it waits: a first come, first
//! served [`WaitQueue`] for threads and callbacks together; a [`Parker`] on which a thread sleeps; and [`Wakes`], the value that
//! carries wake-ups (and everything else that runs foreign code when dropped) out of the section.
//!
//! # The protocol
//! A wake-up is a *permission to try*, never an item. The item (or token, or permit) stays where it is until the waiter takes it
//! inside the section, in the same step in which it leaves the wait queue. So nothing can be lost with a waiter that leaves.
//!
//! Which waiters have to be woken is computed from the state after every change, not remembered from event to event. The owner of
//! the wait queue calls [`WaitQueue::wake_while`], which wakes waiters in order as long as more is available than the waiters already
//! woken may claim. A woken waiter that leaves (timeout, cancellation, interrupt, dead event loop) lowers the claim, and the same
//! call then wakes the next waiter. So no code path has to pass a wake-up on.
//!
//! # States of a waiter (changed only inside the owner's section)
//!
//! | state   | event                                   | next    | also                                                       |
//! |---------|-----------------------------------------|---------|------------------------------------------------------------|
//! | -       | `join`                                  | waiting | gets a ticket; tickets only grow, and order the wait queue |
//! | waiting | `wake_while` reaches it                 | woken   | `claimed += want`; its waker leaves in `Wakes`              |
//! | waiting | `leave` (timeout, cancel, interrupt)    | -       |                                                            |
//! | woken   | tries and is served: `leave`            | -       | `claimed -= want`                                          |
//! | woken   | tries and finds nothing: `requeue`      | waiting | `claimed -= want`; it keeps its ticket and so its place;   |
//! |         |                                         |         | after the second miss arrivals must queue until it has left |
//! | woken   | `leave` without having been served      | -       | `claimed -= want`; the owner calls `wake_while` again      |
//!
//! # States of a parker's word (changed without the section)
//!
//! | word     | the owner of the parker                   | a waker                                              |
//! |----------|-------------------------------------------|------------------------------------------------------|
//! | EMPTY    | before it sleeps: -> PARKED               | -> NOTIFIED                                          |
//! | PARKED   | woken early (time, signal): -> EMPTY      | -> NOTIFIED, and wakes the thread                    |
//! | NOTIFIED | `reset`: -> EMPTY, and *then* it tries    | no change                                            |
//!
//! A waiter that spins or yields before it sleeps ([`spinning`]) leaves the word EMPTY: only a waker that finds PARKED calls the kernel.
//!
//! The word is only a hint to try; the section alone says whether the waiter has been woken. So an `unpark` that comes late, after
//! the parker has been reset, costs one useless attempt and nothing else. The reset loses no wake-up, because it comes before the
//! attempt: a waker marks the waiter as *woken* inside the section and changes the word afterwards, so either the attempt finds the
//! waiter woken, or the word becomes NOTIFIED after the reset.
//!
//! # Fairness
//! Waiters are woken strictly in order. An arrival may take what is available before a woken waiter gets to run, which makes a queue
//! between busy threads cheap. A waiter can miss at most twice: after that, arrivals that can wait must join the end of the wait queue.

pub(crate) mod blocked;
pub(crate) mod parker;
pub mod spinning;
pub(crate) mod wait_queue;
pub(crate) mod waiter;

pub use crate::leaving::{Wake, Wakes};
pub use blocked::Blocked;
pub use parker::Parker;
pub use wait_queue::{Ticket, WaitQueue};
pub use waiter::Waiter;
