//! The circuit breakers: argument checks, the classification of exceptions, and the notification of changes. Decorators are Python
//! (`sluicegate._breakers`).
//!
//! | file      | what it is for                                             |
//! |-----------|------------------------------------------------------------|
//! | `judge`   | what an exception says of the service, and the report of changes |
//! | `options` | the arguments of both classes                                |
//! | `target`  | where a breaker's state is                                   |
//! | `class`   | `CircuitBreaker`                                             |
//! | `keyed`   | `KeyedBreaker` and the handles of its keys                   |
//! | `permit`  | `CircuitPermit`, what `permit()` returns                     |
//! | `hot`     | the methods installed as raw descriptors                     |

pub(crate) mod class;
pub(crate) mod hot;
mod judge;
pub(crate) mod keyed;
mod options;
pub(crate) mod permit;
mod target;
