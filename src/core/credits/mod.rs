//! A credit channel: the receiver decides how much may be outstanding.
//!
//! A sender may have no more items outstanding than it has been granted credit for. With a *window*, credit is granted again automatically
//! as items are received, or, with deliveries, as they are settled. Without a window only what the receiver requests may be sent.
//!
//! | file         | contents                                                           |
//! |--------------|--------------------------------------------------------------------|
//! | `ledger`     | the counters, and the arithmetic between them                      |
//! | `deliveries` | items that are outstanding until they are settled, and requeued items |
//! | `lanes`      | how far deliveries have been settled, in order                    |
//! | `buffer`     | the buffer: items, and bales of items that are created when received |
//! | `frames`     | the bales of a byte stream: bytes, and where each item ends        |
//! | `state`      | all of these and the wait queues: what happens inside the section  |
//! | `sending`, `receiving`, `granting`, `stopping` | the operations                    |
//! | `refusing`   | refusals that need nothing but a look                                |
//! | `deferral`   | grants that wait for another channel's sender; the check for cycles |
//! | `starvation` | whether a sender has no credit, and the observers of that           |
//!
//! # States
//!
//! | phase      | event                          | next       | also                                                            |
//! |------------|--------------------------------|------------|-----------------------------------------------------------------|
//! | open       | the last sender completes      | completing | waiting senders are woken                                       |
//! | open       | a sender fails                 | failed     | the same; receivers get the buffered items, then the error       |
//! | open, completing, failed | the receiver cancels | cancelled | all waiters are woken; buffered items are returned, to be discarded |
//! | open, completing, failed | the receiver stops   | cancelled | the same; outstanding deliveries can be settled until the stop has ended |
//! | completing | nothing is buffered or unacked, no permit is held | *ended* | receivers are woken                            |
//! | failed     | nothing is buffered or unacked | *ended*    | the same, with the error                                        |
//!
//! Ended and cancelled are final: grants, cancellations and settlements do nothing then, and never raise (Reactive Streams 1.0.4, 3.6, 3.7).
//!
//! # Fairness
//! Credit is granted strictly first come, first served, by weight: an arrival gets only what is left when all waiters have been served,
//! and a heavy item at the head holds up light items behind it. Receivers are served first come, first served too. Items are received in
//! the order in which they were sent; requeued items go to the head.
//!
//! # Bales
//! A *bale* is a number of items that the sender has not created yet, such as the lines in a block of bytes. A sender offers it as a whole
//! ([`Channel::offer`]). Items for which there is no credit stay in the bale, which waits in the senders' wait queue. When it is at the head,
//! the operation that grants credit also sends the items that this credit covers, in the same visit to the section, without waking the owner
//! of the bale. So a small window does not cost more thread switches than a large one.
//!
//! | a waiting bale           | event                                   | also                                                        |
//! |--------------------------|-----------------------------------------|-------------------------------------------------------------|
//! | waits                    | credit, while it is at the head         | as many of its items as the credit covers are sent          |
//! | waits                    | its last item is sent, or the next one is too heavy | its owner is woken, claims nothing, and looks    |
//! | waits                    | the channel is closed                   | its owner is woken                                          |
//! | waits                    | `take_back`, `leave`                    | the items that are left have not been sent; the next waiter is served |
//!
//! # Cancellation
//! An operation that stops waiting calls [`Channel::leave`]; if it had been woken, the next waiter is woken. An unused permit is given back.
//!
//! # Timed events
//! A delivery is requeued, or given up, when its time is over ([`Channel::next_due`]). Operations that hand out items first handle the events
//! that are due; other callers call [`Channel::catch_up`] before they look. The first waiting receiver is the timekeeper: it is woken when the
//! time of the next event becomes known or becomes earlier, and so is a receiver that becomes the first. It tries again at that time.
//!
//! # Deferred grants
//! A channel may hold back its grants while the sender of another channel has no credit ([`Channel::defer_to`]). Then only the sources of a
//! chain need to check whether they are blocked (as in RabbitMQ's `credit_flow`). For the protocol, and why there can be no cycle, see the head
//! of `deferral`.

mod buffer;
mod channel;
mod deferral;
mod deliveries;
pub mod frames;
mod granting;
mod lanes;
mod ledger;
mod receiving;
mod refusing;
mod sending;
mod slots;
mod starvation;
mod state;
mod stopping;
mod types;

pub use buffer::{Bale, Batch, NoBale, Received};
pub use channel::Channel;
pub use deferral::DeferralCycle;
pub use deliveries::Rules;
pub use deliveries::{Copied, DiscardReason, Handed, Handle, Nack, Receipt, Settlement, Settling};
pub use lanes::Lane;
pub use ledger::{Permit, UNBOUNDED};
pub use sending::Offer;
pub use stopping::Stop;
pub use types::{
    Config, CreditView, End, NO_OWNER, Outcome, Phase, ReceiveError, Removed, SendError, SenderEnd, Side, Statistics, Waiter,
};
