//! The rules by which an overloaded queue drops items that have waited for too long.
//!
//! A rule is pure arithmetic on the time and the waiting times of items. The owner of the queue stores the items and reports those that are
//! dropped. [`Codel`] decides when an item is taken out, [`AdaptiveLifo`] when an item arrives, and in which order items leave.

mod adaptive_lifo;
mod codel;

pub use adaptive_lifo::AdaptiveLifo;
pub use codel::Codel;

/// The rule of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shed {
    Codel(Codel),
    AdaptiveLifo(AdaptiveLifo),
}
