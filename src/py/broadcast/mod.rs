//! The broadcast: argument checks, and nothing else. Coroutines are Python (`sluicegate._broadcast`).
//!
//! | file         | what it is for                                                            |
//! |--------------|---------------------------------------------------------------------------|
//! | `inner`      | the objects, and what they say when an operation is refused                |
//! | `class`      | the methods of `Broadcast`                                                 |
//! | `subscriber` | those of `Subscriber`                                                      |
//! | `ops`        | the operations that may have to wait                                       |
//! | `hot`        | the methods installed as raw descriptors                                   |

mod class;
pub(crate) mod hot;
mod inner;
mod ops;
mod subscriber;

pub(crate) use inner::{PyBroadcast, PySubscriber};
