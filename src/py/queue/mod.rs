//! The queues.
//!
//! | file       | what it is for                                                                |
//! |------------|-------------------------------------------------------------------------------|
//! | `classes`  | the classes: checks of arguments                                              |
//! | `composition` | what a queue is composed of beside its buffer: weights, rules that shed, latency |
//! | `hot`      | the methods that are raw descriptors                                          |
//! | `hot_batches` | the same for batches                                                       |
//! | `view_puts` | the puts that views have                                                    |
//! | `stdlib`   | what makes them the standard library's: stand-ins for `isinstance`, hooks     |
//! | `iterator` | `for item in queue`                                                           |
//! | `ends`     | producers and consumers as context managers                                   |
//! | `contents` | what is asked of all items at once                                            |
//! | `overflow` | what becomes of items that find no room                                       |
//! | `pressure` | how full a queue is, and the reports of it                                    |
//! | `locked`     | `queue.mutex`: the whole queue, locked to a caller                              |
//! | `conditions` | `not_empty` and its like                                                    |
//! | `replaced` | whether a program has replaced the `wait` of one of them                     |
//! | `ops`      | the operations that may have to wait                                          |
//! | `attempt`  | one attempt of such an operation                                              |
//! | `attempt_composed` | the same at a queue that keeps notes of its items                     |
//! | `attempt_waits` | the same of an operation that moves no item                              |
//! | `plain`    | comparisons that need no Python                                               |
//! | `baton_access` | one attempt where the order needs Python                                  |
//! | `baton`    | the only place where Python runs in the middle of an operation                |
//! | `keyed`    | keys of items, and what becomes of two with the same: `CoalescingQueue`       |
//! | `baton_takes` | how items are taken out there: one, or many, which an interrupt puts back     |
//! | `merging`  | what the holder of the baton does with items that have keys                   |
//! | `fair`     | `FairQueue`: keys of its items                                                |
//! | `fair_item` | what an item of one is inside it                                              |
//! | `inner`    | what every queue class has inside                                             |
//! | `refusal`  | the exceptions for what is refused                                            |
//! | `no_memory` | those for a lack of memory                                                  |
//! | `items`    | what a queue keeps its items in                                               |

mod attempt;
mod attempt_composed;
mod attempt_waits;
mod baton;
mod baton_access;
mod baton_takes;
pub(crate) mod classes;
pub(crate) mod composition;
mod conditions;
mod contents;
pub(crate) mod ends;
pub(crate) mod fair;
pub(crate) mod fair_item;
pub(crate) mod hot;
pub(crate) mod hot_batches;
mod inner;
mod items;
pub(crate) mod iterator;
pub(crate) mod keyed;
mod merging;
pub(crate) mod mutex;
mod no_memory;
mod ops;
pub(crate) mod overflow;
mod plain;
pub(crate) mod pressure;
mod refusal;
mod replaced;
pub(crate) mod stdlib;
pub(crate) mod view_puts;
