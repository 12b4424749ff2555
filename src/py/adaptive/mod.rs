//! The adaptive limits: argument checks, and what the end of a block says. Decorators and coroutines are Python
//! (`sluicegate._adaptive`).
//!
//! | file      | what it is for                                             |
//! |-----------|------------------------------------------------------------|
//! | `options` | the arguments                                                |
//! | `class`   | `AdaptiveConcurrency`                                        |
//! | `permit`  | `ConcurrencyPermit`, what `permit()` returns                 |
//! | `rate`    | the law of `AdaptiveRate`, which is Python                   |
//! | `hot`     | the methods installed as raw descriptors                     |

pub(crate) mod class;
pub(crate) mod hot;
mod options;
pub(crate) mod permit;
pub(crate) mod rate;
