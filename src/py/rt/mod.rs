//! What every object of the binding stands on. It knows no primitive.
//!
//! | file         | what it is for                                                                            |
//! |--------------|-------------------------------------------------------------------------------------------|
//! | `domain`     | what guards the core's sections here: being attached to the interpreter                    |
//! | `process`    | this process: its main thread                                                              |
//! | `drops`      | items are dropped with a stack that does not grow with the length of a chain               |
//! | `exceptions` | the exceptions that are raised                                                             |
//! | `arguments`  | checks of arguments, and how a value looks in a message                                    |
//! | `waker`      | who is told by the core                                                                    |
//! | `guarded`    | calls that run Python, safe at the end of the interpreter                                   |
//! | `gc`         | what the garbage collector is shown                                                        |
//! | `source`     | where a batch of items comes from                                                          |
//! | `operation`  | one operation that may have to wait, whoever waits for it                                   |
//! | `blocking`   | the only way in which a thread waits                                                       |
//! | `aio`        | the only asyncio code                                                                      |
//! | `clock`      | `Clock` and `ManualClock`                                                                  |
//! | `class`      | name, clock, `repr`, and the refusal to be copied                                          |
//! | `keys`       | how a key becomes a hash                                                                   |
//! | `hot`        | methods installed as raw descriptors                                                       |
//! | `kept`       | objects made when they are first needed, interned strings among them                       |
//! | `imported`   | names from Python's modules, looked up on first use                                        |

pub(crate) mod aio;
pub(crate) mod arguments;
pub(crate) mod blocking;
pub(crate) mod class;
pub(crate) mod clock;
pub(crate) mod domain;
pub(crate) mod drops;
pub(crate) mod exceptions;
pub(crate) mod gc;
pub(crate) mod guarded;
pub(crate) mod hot;
pub(crate) mod imported;
pub(crate) mod kept;
pub(crate) mod keys;
pub(crate) mod operation;
pub(crate) mod process;
pub(crate) mod source;
pub(crate) mod waker;

/// What users put in: an item of a queue or a channel.
pub(crate) type Item = pyo3::Py<pyo3::PyAny>;
