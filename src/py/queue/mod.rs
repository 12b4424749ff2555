//! The queues.
//!
//! | file       | what it is for                                                                |
//! |------------|-------------------------------------------------------------------------------|
//! | `classes`  | the classes: checks of arguments                                              |
//! | `hot`      | the methods that are raw descriptors                                          |
//! | `stdlib`   | what makes them the standard library's: stand-ins for `isinstance`, hooks     |
//! | `iterator` | `for item in queue`                                                           |
//! | `ends`     | producers and consumers as context managers                                   |
//! | `contents` | what is asked of all items at once                                            |
//! | `ops`      | the operations that may have to wait                                          |
//! | `owner`    | the only place where Python runs in the middle of an operation                |
//! | `inner`    | what every queue class has inside                                             |
//! | `items`    | what a queue keeps its items in                                               |

pub(crate) mod classes;
mod contents;
pub(crate) mod ends;
pub(crate) mod hot;
mod inner;
mod items;
pub(crate) mod iterator;
mod ops;
mod owner;
pub(crate) mod stdlib;
