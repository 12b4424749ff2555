//! A credit channel: the receiver decides how much may be on its way.
//!
//! The sender may have no more outstanding than it has been granted. With a *window* credit is given back by itself, as items are
//! received, or, with deliveries, as they are settled; without one nothing flows but what the receiver asks for.
//!
//! | file         | what it is for                                                     |
//! |--------------|--------------------------------------------------------------------|
//! | `ledger`     | the counters, and the arithmetic between them                      |
//! | `deliveries` | items that are out until they are settled, and those that come back |
//! | `stock`      | the buffer: items, and bales of items that are made when received  |
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
//! Whoever stops waiting calls [`Channel::leave`]; what it had been woken for goes to the next. A permit that is not used goes back.
//!
//! # What becomes due by itself
//! Deliveries come back at their time ([`Channel::next_due`]), or are given up, which gives credit back and may be the end. What hands items
//! out sees to that by itself; whoever looks, or does something else, first calls [`Channel::catch_up`]. The first receiver in line looks after that: it is told when the moment comes
//! to be known, or nearer, and so is whoever becomes the first. It then comes to look again, by itself, when the moment is there.
//!
//! # Deferred grants
//! A channel may hold its grants while another one's sender is starved ([`Channel::defer_to`]): then only sources need to look at whether
//! they are blocked (RabbitMQ's `credit_flow`). The protocol, and why no cycle can come about, is at the head of `deferral`.

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
mod stock;
mod types;

pub use channel::Channel;
pub use deferral::DeferralCycle;
pub use deliveries::Rules;
pub use deliveries::{Handed, Nack, Receipt};
pub use ledger::{Permit, UNBOUNDED};
pub use sending::Offer;
pub use stock::{Bale, Batch, Load, NoBale};
pub use types::{Config, End, NOBODY, Outcome, Phase, ReceiveError, Removed, SendError, SenderEnd, Side, Spot, Statistics};
