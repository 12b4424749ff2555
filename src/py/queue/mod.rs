//! The queues.
//!
//! | file      | what it is for                                                     |
//! |-----------|--------------------------------------------------------------------|
//! | `classes` | the classes: checks of arguments                                    |
//! | `inner`   | what every queue class has inside                                   |
//! | `items`   | what a queue keeps its items in                                     |
//! | `owner`   | the only place where Python runs in the middle of an operation      |
//! | `ops`     | the operations that may have to wait                                |
//! | `ends`    | producers and consumers as context managers                         |
//! | `hot`     | the methods that are raw descriptors                                |

pub(crate) mod classes;
pub(crate) mod ends;
pub(crate) mod hot;
mod inner;
mod items;
mod ops;
mod owner;
