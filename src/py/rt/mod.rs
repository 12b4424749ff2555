//! The base of every object of the binding. It does not depend on any primitive.
//!
//! | file         | contents                                                                                  |
//! |--------------|-------------------------------------------------------------------------------------------|
//! | `domain`     | the domain of the core's sections: a thread must be attached to the interpreter             |
//! | `process`    | the process: its main thread                                                               |
//! | `drops`      | drops items with bounded use of the stack                                                  |
//! | `ending`     | how an object was shut down, and what its methods raise then                               |
//! | `exceptions` | the exceptions that are raised                                                             |
//! | `arguments`  | checks of arguments, and the representation of values in messages                          |
//! | `waker`      | the kinds of waiters that the core can wake                                                |
//! | `guarded`    | calls that run Python, safe while the interpreter exits                                     |
//! | `interrupts` | exceptions that cannot be raised where they arise                                          |
//! | `gc`         | garbage collection of objects in the core                                                  |
//! | `source`     | the items of a batch                                                                       |
//! | `registration` | the state of an operation while it waits: its object, and its place in a wait queue       |
//! | `operation`  | one operation that may have to wait, in a thread or a coroutine                             |
//! | `select`     | several operations of which exactly one happens                                            |
//! | `permit`     | resources that are held while a block runs                                                 |
//! | `entries`    | the raw methods of permits                                                                 |
//! | `blocking`   | how a thread waits                                                                         |
//! | `aio`        | the only asyncio code                                                                      |
//! | `clock`      | `Clock` and `ManualClock`                                                                  |
//! | `failures`   | what an exception says of a service                                                        |
//! | `shed`       | the rules by which what has waited too long is given up                                    |
//! | `class`      | name, clock, `repr`, and the refusal to be copied                                          |
//! | `keys`       | hashing of keys                                                                            |
//! | `hot`        | methods installed as raw descriptors                                                       |
//! | `hot_methods` | the macro that makes their types                                                          |
//! | `kept`       | objects that are created on first use, such as interned strings                            |
//! | `imported`   | names from Python's modules, looked up on first use                                        |
//! | `not_run`    | what a function returns that has run nothing                                               |

pub(crate) mod aio;
pub(crate) mod arguments;
pub(crate) mod blocking;
pub(crate) mod class;
pub(crate) mod clock;
pub(crate) mod domain;
pub(crate) mod drops;
pub(crate) mod ending;
pub(crate) mod entries;
pub(crate) mod exceptions;
pub(crate) mod failures;
pub(crate) mod gc;
pub(crate) mod guarded;
pub(crate) mod hot;
pub(crate) mod hot_methods;
pub(crate) mod imported;
pub(crate) mod interrupts;
pub(crate) mod kept;
pub(crate) mod keys;
pub(crate) mod late;
pub(crate) mod memory;
pub(crate) mod not_run;
pub(crate) mod operation;
pub(crate) mod permit;
pub(crate) mod process;
pub(crate) mod registration;
pub(crate) mod select;
pub(crate) mod shed;
pub(crate) mod source;
pub(crate) mod waker;

/// An object of the user's: an item of a queue or a channel.
pub(crate) type Item = pyo3::Py<pyo3::PyAny>;
