//! `sluicegate._core`: the binding. It decides nothing that could be tested without Python.
//!
//! | folder    | what it is for                                                                                  |
//! |-----------|-------------------------------------------------------------------------------------------------|
//! | `rt`      | what every object stands on: attachment, exceptions, arguments, waiting, asyncio, clocks          |
//! | `queue`   | the queues                                                                                        |
//! | `rate`    | the limiters                                                                                      |
//! | `credits` | the credit channels                                                                               |
//! | `io`      | files and sockets, without the GIL (feature `tokio`)                                              |
//!
//! Each uses `rt` and the core; `io` uses `credits`; none of the others knows another, and nothing points up.

mod credits;
#[cfg(feature = "tokio")]
mod io;
mod queue;
mod rate;
mod rt;

use pyo3::pymodule;

#[pymodule(name = "_core")]
mod core_module {
    use super::rt::{aio, process};
    use super::{credits, queue, rate};
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::credits::channel::{PyAckChannel, PyChannel, PyCreditChannel};
    #[pymodule_export]
    use super::credits::credit::PyCredit;
    #[pymodule_export]
    use super::credits::delivery::PyDelivery;
    #[pymodule_export]
    use super::credits::permit::PyPermit;
    #[pymodule_export]
    use super::credits::receiver::PyReceiver;
    #[pymodule_export]
    use super::credits::sender::PySender;
    #[pymodule_export]
    use super::queue::classes::{PyLifoQueue, PyPriorityQueue, PyQueue, PySimpleQueue};
    #[pymodule_export]
    use super::queue::ends::Ends;
    #[pymodule_export]
    use super::rate::PyRateLimiter;
    #[pymodule_export]
    use super::rate::keyed::{PyKeyedBucket, PyKeyedTokenBucket};
    #[pymodule_export]
    use super::rate::reservation::PyReservation;
    #[pymodule_export]
    use super::rate::set::PyRateLimits;
    #[pymodule_export]
    use super::rate::shapes::{PyLeakyBucket, PySlidingWindow, PyTokenBucket};
    #[pymodule_export]
    use super::rt::aio::AsyncOperation;
    #[pymodule_export]
    use super::rt::clock::{PyClock, PyManualClock};

    #[cfg(feature = "tokio")]
    #[pymodule_export]
    use super::io::{_io_close, _read_chunks, _read_lines, _write_from, PyTransfer};

    /// In the child of a fork: there are no waiters, and this is the main thread.
    #[pyfunction]
    fn _after_fork_in_child(py: Python<'_>) -> PyResult<()> {
        sluicegate_core::fork::after_fork_in_child();
        process::remember_main_thread(py)
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("WAIT", aio::wait_marker_object(py))?;
        module.add("STAND_INS", queue::classes::stand_ins(py))?;
        queue::hot::install(py)?;
        rate::hot::install(py)?;
        credits::hot::install(py)?;
        process::remember_main_thread(py)
    }
}
