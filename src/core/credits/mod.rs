//! A credit channel: the receiver decides how much may be on its way.
//!
//! A sender may have no more outstanding than it has been granted. With a *window*, credit is granted again automatically as items are
//! received, or, with deliveries, as they are settled. Without a window only what the receiver requests may be sent.
//!
//! | file         | what it is for                                                     |
//! |--------------|--------------------------------------------------------------------|
//! | `ledger`     | the counters, and the arithmetic between them                      |
//! | `deliveries` | items that are out until they are settled, and items that were requeued |
//! | `buffer`     | the buffer: items, and bales of items that are made when received  |
//! | `frames`     | a bale of such items: bytes, and where each item ends              |
//! | `state`      | these and the lines: what happens inside the section               |
//! | `sending`, `receiving`, `granting` | the operations                                |
//! | `deferral`   | grants that wait for another channel's sender; the check for cycles |
//! | `starvation` | whether a sender is without credit, and who is told when that ends |
//!
//! # States
//!
//! | phase      | event                          | next       | also                                                            |
//! |------------|--------------------------------|------------|-----------------------------------------------------------------|
//! | open       | the last sender completes      | completing | senders in line are told                                        |
//! | open       | a sender fails                 | failed     | the same; receivers get what is buffered, then the error         |
//! | open, completing, failed | the receiver cancels | cancelled | everybody is told, what is buffered is handed out to be discarded |
//! | completing | nothing is buffered or unacked, no permit is out | *ended* | receivers are told                              |
//! | failed     | nothing is buffered or unacked | *ended*    | the same, with the error                                        |
//!
//! Ended and cancelled are final: grants, cancellations and settlements do nothing then, and never raise (Reactive Streams 1.0.4, 3.6, 3.7).
//!
//! # Fairness
//! Credit is strictly first come, first served, by weight: whoever comes finds only what is left when everybody in line has been served;
//! a heavy item at the head holds up light ones behind it. Receivers too. Items are received in the order in which they were sent; those
//! that come back go to the head.
//!
//! # Bales
//! A sender that knows what it will send, but need not make it, offers a bale ([`Channel::offer`]). What there is no credit for stands in the
//! senders' line with its owner: when its turn comes the channel itself sends of it what there is credit for, inside the section of whoever
//! gave that credit, and the owner sleeps on. So a small window costs a bale no more hand-overs than a large one.
//!
//! | of a bale in the line    | event                                   | also                                                        |
//! |--------------------------|-----------------------------------------|-------------------------------------------------------------|
//! | stands                   | credit, at the head of the line         | as many of its items as that covers are sent                |
//! | stands                   | its last item is sent, or the next one is too heavy | its owner is told, claims nothing, and looks    |
//! | stands                   | the channel is closed                   | its owner is told                                           |
//! | stands                   | `take_back`, `leave`                    | what is left was never sent; the next in line goes          |
//!
//! # Cancellation
//! An operation that stops waiting calls [`Channel::leave`]; its turn goes to the next in line. A permit that is not used goes back.
//!
//! # Timed events
//! A delivery is requeued, or given up, when its time is over ([`Channel::next_due`]). Operations that hand items out handle what is due first;
//! other callers call [`Channel::catch_up`] before they look. The first receiver in line is the timekeeper: it is woken when the time of the
//! next event becomes known or moves closer, and so is a receiver that becomes the first. It looks again by itself at that time.
//!
//! # Deferred grants
//! A channel may hold its grants while another one's sender is starved ([`Channel::defer_to`]): then only sources need to look at whether
//! they are blocked (RabbitMQ's `credit_flow`). The protocol, and why no cycle can come about, is at the head of `deferral`.

mod buffer;
mod channel;
mod deferral;
mod deliveries;
pub mod frames;
mod granting;
mod ledger;
mod receiving;
mod sending;
mod starvation;
mod state;
mod types;

pub use buffer::{Bale, Batch, NoBale, Received};
pub use channel::Channel;
pub use deferral::DeferralCycle;
pub use deliveries::Rules;
pub use deliveries::{Handed, Nack, Receipt};
pub use ledger::{Permit, UNBOUNDED};
pub use sending::Offer;
pub use types::{Config, End, NO_OWNER, Outcome, Phase, ReceiveError, Removed, SendError, SenderEnd, Side, Spot, Statistics};
