//! `sluicegate._core`: the binding. It knows Python and no algorithm.
//!
//! | file        | what it is for                                                                             |
//! |-------------|--------------------------------------------------------------------------------------------|
//! | `domain`    | what guards the core's sections here: being attached to the interpreter                     |
//! | `store`     | what a queue keeps its items in                                                            |
//! | `body`      | what every queue class has inside                                                          |
//! | `operation` | one operation that may have to wait, whoever waits for it                                  |
//! | `queue_operation` | those on queues                                                                   |
//! | `blocking`  | the only way in which a thread waits                                                       |
//! | `aio`       | the only asyncio code                                                                      |
//! | `foreign`   | calls that run Python, safe at the end of the interpreter                                   |
//! | `baton`     | the only place where Python runs in the middle of an operation                             |
//! | `fastcall`  | the hot methods, as raw descriptors                                                        |
//! | `rate`      | the limiters                                                                               |
//! | `credits`   | the credit channels                                                                        |
//! | `lines`     | items of a channel that are made when they are received                                    |
//! | `io`        | files and sockets, without the GIL (feature `tokio`)                                       |
//! | `queue`     | the queues                                                                                 |
//! | `ends`      | producers and consumers as context managers                                                |
//! | `clock`     | `Clock` and `ManualClock`                                                                  |
//! | `errors`    | exceptions, and the checks of arguments                                                    |

mod aio;
mod baton;
mod blocking;
mod body;
mod clock;
mod credits;
mod domain;
mod ends;
mod errors;
mod fastcall;
mod foreign;
#[cfg(feature = "tokio")]
mod io;
mod lines;
mod object;
mod operation;
mod queue;
mod queue_operation;
mod rate;
mod source;
mod store;
mod waker;

use pyo3::pymodule;

#[pymodule(name = "_core")]
mod core_module {
    use super::{aio, blocking, fastcall, queue};
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::aio::AsyncOperation;
    #[pymodule_export]
    use super::clock::{PyClock, PyManualClock};
    #[pymodule_export]
    use super::credits::channel::{PyAckChannel, PyChannel, PyCreditChannel};
    #[pymodule_export]
    use super::credits::credit::PyCredit;
    #[pymodule_export]
    use super::credits::delivery::PyDelivery;
    #[pymodule_export]
    use super::credits::receiver::PyReceiver;
    #[pymodule_export]
    use super::credits::sender::{PyPermit, PySender};
    #[pymodule_export]
    use super::ends::Ends;
    #[pymodule_export]
    use super::queue::{PyLifoQueue, PyPriorityQueue, PyQueue, PySimpleQueue};
    #[pymodule_export]
    use super::rate::PyRateLimiter;
    #[pymodule_export]
    use super::rate::keyed::{PyKeyedBucket, PyKeyedTokenBucket};
    #[pymodule_export]
    use super::rate::limiters::{PyLeakyBucket, PySlidingWindow, PyTokenBucket};
    #[pymodule_export]
    use super::rate::reservation::PyReservation;
    #[pymodule_export]
    use super::rate::several::PyRateLimits;

    #[cfg(feature = "tokio")]
    #[pymodule_export]
    use super::io::{_io_close, _read_chunks, _read_lines, _write_from, PyTransfer};

    /// In the child of a fork: there are no waiters, and this is the main thread.
    #[pyfunction]
    fn _after_fork_in_child(py: Python<'_>) -> PyResult<()> {
        sluicegate_core::fork::after_fork_in_child();
        blocking::remember_main_thread(py)
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("WAIT", aio::wait_marker_object(py))?;
        module.add("STAND_INS", queue::stand_ins(py))?;
        fastcall::install(py)?;
        blocking::remember_main_thread(py)
    }
}
