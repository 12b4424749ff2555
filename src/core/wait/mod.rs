//! The one waiter list under every primitive.
//!
//! Primitives differ in *when* a waiter may go, never in *how* it waits. How it waits is here: a [`Line`] of places, first come
//! first served, in which threads and callbacks stand side by side; a [`Parker`] on which a thread sleeps; and [`Wakes`], the
//! value that carries wake-ups (and whatever else runs foreign code when dropped) out of the section.
//!
//! # The protocol
//! A wake-up is a *permission to try*, never an item. The thing waited for stays where it is until the waiter commits, inside the
//! section, in the same step in which it gives up its place. So nothing can be lost with a waiter that has left.
//!
//! Who is owed a wake-up is not remembered from event to event but worked out from the state: after every change the owner of the
//! line calls [`Line::wake_while`], which wakes places in order for as long as what is available exceeds what those already woken
//! may claim. A woken waiter that leaves (timeout, cancellation, interrupt, dead event loop) lowers the claim, and the same call
//! hands its turn to the next. There is no "pass the wake-up on" to forget.
//!
//! # States of a place (changed only inside the owner's section)
//!
//! | state   | event                                   | next    | also                                                       |
//! |---------|-----------------------------------------|---------|------------------------------------------------------------|
//! | -       | `join`                                  | waiting | gets a ticket; tickets only grow, and order the line       |
//! | waiting | `wake_while` reaches it                 | woken   | `claimed += want`; its waker leaves in `Wakes`              |
//! | waiting | `leave` (timeout, cancel, interrupt)    | -       |                                                            |
//! | woken   | tries and is served: `leave`            | -       | `claimed -= want`                                          |
//! | woken   | tries and finds nothing: `miss`         | waiting | `claimed -= want`; same ticket, so the same place in line; |
//! |         |                                         |         | after the second miss the *door* shuts until it has left   |
//! | woken   | `leave` without having been served      | -       | `claimed -= want`; the owner calls `wake_while` again      |
//!
//! # States of a parker's word (changed without the section)
//!
//! | word     | owner of the parker                       | a waker                                              |
//! |----------|-------------------------------------------|------------------------------------------------------|
//! | EMPTY    | about to look, or to sleep: -> PARKED     | -> NOTIFIED                                          |
//! | PARKED   | woken early (time, signal): -> EMPTY      | -> NOTIFIED, and wakes the thread                    |
//! | NOTIFIED | `reset` -> EMPTY, *then* goes to try       | stays                                                |
//!
//! A waiter that spins or yields before it sleeps ([`patience`]) leaves the word EMPTY: only a waker that finds PARKED calls the kernel.
//!
//! The word is a hint to come and look; the section alone says whether the waiter has been woken. A late `unpark` that reaches a
//! parker which has meanwhile been reset therefore costs one look and nothing else. No wake-up is lost to the reset, because it comes
//! before the look: a waker moves the place to *woken* inside the section and touches the word afterwards, so either the look finds
//! the place woken, or the word is notified after the reset.
//!
//! # Fairness
//! Places are woken strictly in order. While the door is open an arrival may take what is there before a woken waiter gets to run;
//! that is what makes a queue between busy threads cheap. A waiter misses at most twice: then the door shuts, and arrivals that can
//! wait join the end of the line.

pub(crate) mod blocked;
pub(crate) mod line;
pub(crate) mod parker;
pub mod patience;
pub(crate) mod spot;

pub use crate::leaving::{Wake, Wakes};
pub use blocked::Blocked;
pub use line::{Line, Ticket};
pub use parker::Parker;
pub use spot::Spot;
