//! Credit channels: `CreditChannel`, `AckChannel`, and their ends.
//!
//! | file         | what is in it                                                              |
//! |--------------|----------------------------------------------------------------------------|
//! | `inner`      | the shared state of a channel's objects, and its visit by the garbage collector |
//! | `channel`, `sender`, `receiver`, `credit`, `permit`, `delivery` | Python's classes          |
//! | `lanes`      | lanes: names, numbers, and wrapped items                                   |
//! | `retry`      | the delay before a failed delivery is requeued                             |
//! | `refusal`    | the exceptions for calls that could not be served                          |
//! | `ops`        | the operations that may have to wait                                       |
//! | `objects`    | items of a block of bytes, which become objects when they are received      |
//! | `amounts`    | amounts of credit: arguments and results                                   |
//! | `hot`        | the hot methods                                                            |

mod amounts;
pub(crate) mod channel;
pub(crate) mod credit;
pub(crate) mod delivery;
pub(crate) mod hot;
pub(crate) mod inner;
pub(crate) mod lanes;
pub(crate) mod objects;
pub(crate) mod ops;
pub(crate) mod permit;
pub(crate) mod receiver;
mod refusal;
mod retry;
pub(crate) mod sender;

#[cfg(feature = "tokio")]
pub(crate) use inner::{Core, Extras, PyChannelBody};
