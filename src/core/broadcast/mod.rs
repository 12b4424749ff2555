//! Broadcast: every published item goes to every subscriber. Each subscriber reads at its own pace, with its own bound and overflow policy.
//!
//! # Algorithm
//! A [`Monitor`](crate::monitor) around one ring of items and the subscribers. An item is stored once, with the number of subscribers that
//! have yet to take it. A subscriber is a short list of *runs*, which are ranges of positions in the ring that it has yet to take: one run,
//! unless its policy made it skip items in between. The subscriber that takes an item last removes it from the ring; the others get another
//! handle on it. Publishing costs a few instructions per subscriber; the cost of taking does not depend on their number.
//!
//! The items of a subscriber that does not read stay in the ring while the items around them leave. When more than half of the ring
//! consists of such gaps, it is compacted: the items move together, and the runs, which contain no gaps, move with them. A ring has at most
//! twice as many places as items (and at least 64), and at most as many items as the bounds of all subscribers together.
//!
//! # States of a subscriber (changed only inside the section)
//!
//! | state        | event                                   | next         | also                                                        |
//! |--------------|-----------------------------------------|--------------|-------------------------------------------------------------|
//! | open         | an item is published, it has room       | open         | the item is its last; a waiter may be woken                   |
//! | open, full   | the same, [`Overflow::DropOldest`]      | open         | its first item is dropped, the new one is its last            |
//! | open, full   | the same, [`Overflow::DropNewest`]      | open         | the new item is not for it                                   |
//! | open, full   | the same, [`Overflow::Disconnect`]      | disconnected | the new item is not for it, nor any later one                |
//! | open, full   | an attempt to publish, [`Overflow::Block`] | open      | nothing is published to any subscriber: the publisher waits,
//! or is refused |
//! | disconnected | it has taken its items                  | disconnected | the end: it learns that it was disconnected                  |
//! | any          | `close`                                 | closed       | its items are dropped; publishers that waited for it may go
//! |
//! | any          | the broadcast is shut down              | the same     | it takes its items, then the end; at once: its items are
//! dropped |
//!
//! The items that a subscriber has missed are counted when it reaches the gap: after it has taken an item, [`Subscription::missed`] is the
//! number of items that were published to it before that one and that it did not get.
//!
//! # Fairness
//! The waiters of one subscriber are in a wait queue of its own, and waiting publishers in another, as those of a queue are (see
//! [`wait`](crate::wait)). A slow subscriber delays no other, unless its policy is to block.
//!
//! # Cancellation
//! A waiter that stops waiting calls `leave`; a wake-up that it may have been given goes to the next waiter in the same wait queue.
//!
//! # What it does not do
//! A new subscriber gets no item that was published before. Callers that share a subscriber share its items. A broadcast does not end
//! automatically when there are no publishers any more.
//!
//! Files: `ring` stores the items, `subscriber` is the state of one subscriber, `state` joins the two, `ops` are the operations.

mod ops;
mod ring;
mod state;
mod subscriber;

pub use ops::{Broadcast, Subscription};
pub use ring::{Displaced, Drained};
pub use state::{PublishError, Published, State, Statistics, SubscribeError};
pub use subscriber::{Ended, GetError, Overflow, SubscriberStatistics};

/// The place of one operation in a wait queue.
pub type Waiter = crate::wait::Waiter<()>;
