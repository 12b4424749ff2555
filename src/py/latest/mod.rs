//! The latest value: argument checks only. Coroutines and iterators are in Python (`sluicegate._latest`).
//!
//! | file    | what it is for                                                       |
//! |---------|----------------------------------------------------------------------|
//! | `inner` | the objects, and what they say when there is no value                |
//! | `class` | the methods of `Latest`                                              |
//! | `ticks` | those of `LatestTicks`, what `every()` returns                       |
//! | `ops`   | the operation that waits for a value                                 |
//! | `hot`   | the methods installed as raw descriptors                             |

mod class;
pub(crate) mod hot;
mod inner;
mod ops;
mod ticks;

pub(crate) use inner::{PyLatest, PyLatestTicks};
