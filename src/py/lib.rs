//! `sluicegate._core`: the binding. It decides nothing that could be tested without Python.
//!
//! | folder    | what it is for                                                                                  |
//! |-----------|-------------------------------------------------------------------------------------------------|
//! | `rt`      | what every object stands on: attachment, exceptions, arguments, waiting, asyncio, clocks          |
//! | `queue`   | the queues                                                                                        |
//! | `rate`    | the limiters                                                                                      |
//! | `semaphore` | the semaphores                                                                                  |
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
mod semaphore;

use pyo3::prelude::*;

use self::rt::{aio, process};

/// Fills the module, and first asks whether this interpreter may have it: a refused import has touched nothing.
#[pymodule(name = "_core")]
fn core_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    process::refuse_subinterpreters(py)?;
    process::remember_main_thread(py)?;
    make_inner_classes(py);

    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("CLASSES", rt::exceptions::classes(py))?;
    module.add("WAIT", aio::wait_marker_object(py))?;
    module.add_class::<aio::AsyncOperation>()?;
    module.add_class::<rt::clock::PyClock>()?;
    module.add_class::<rt::clock::PyManualClock>()?;
    module.add_function(wrap_pyfunction!(_after_fork_in_child, module)?)?;

    module.add_class::<queue::classes::PyQueue>()?;
    module.add_class::<queue::classes::PyLifoQueue>()?;
    module.add_class::<queue::classes::PyPriorityQueue>()?;
    module.add_class::<queue::classes::PySimpleQueue>()?;
    module.add_class::<queue::ends::StreamEnds>()?;
    module.add("STAND_INS", queue::stdlib::stand_ins(py))?;
    queue::hot::install(py)?;

    module.add_class::<rate::PyRateLimiter>()?;
    module.add_class::<rate::shapes::PyTokenBucket>()?;
    module.add_class::<rate::shapes::PyLeakyBucket>()?;
    module.add_class::<rate::shapes::PySlidingWindow>()?;
    module.add_class::<rate::reservation::PyReservation>()?;
    module.add_class::<rate::set::PyRateLimits>()?;
    module.add_class::<rate::keyed::PyKeyedTokenBucket>()?;
    module.add_class::<rate::keyed::PyKeyedBucket>()?;
    rate::hot::install(py)?;

    module.add_class::<semaphore::PySemaphore>()?;
    module.add_class::<semaphore::class::PyBoundedSemaphore>()?;
    module.add_class::<semaphore::permit::PyPermit>()?;
    module.add_class::<semaphore::keyed::PyKeyedSemaphore>()?;
    module.add_class::<semaphore::keyed::PySemaphoreKey>()?;
    semaphore::hot::install(py)?;

    module.add_class::<credits::channel::PyChannel>()?;
    module.add_class::<credits::channel::PyCreditChannel>()?;
    module.add_class::<credits::channel::PyAckChannel>()?;
    module.add_class::<credits::sender::PySender>()?;
    module.add_class::<credits::receiver::PyReceiver>()?;
    module.add_class::<credits::credit::PyCredit>()?;
    module.add_class::<credits::permit::PyPermit>()?;
    module.add_class::<credits::delivery::PyDelivery>()?;
    credits::hot::install(py)?;

    #[cfg(feature = "tokio")]
    {
        module.add_class::<io::PyTransfer>()?;
        module.add_function(wrap_pyfunction!(io::_read_lines, module)?)?;
        module.add_function(wrap_pyfunction!(io::_read_chunks, module)?)?;
        module.add_function(wrap_pyfunction!(io::_write_from, module)?)?;
        module.add_function(wrap_pyfunction!(io::_io_close, module)?)?;
    }
    Ok(())
}

/// Classes that are not in the module. PyO3 makes a class when it is first used and lets whoever comes meanwhile wait, and a fork may leave
/// that wait without an end: so all are made during the import.
fn make_inner_classes(py: Python<'_>) {
    aio::make_classes(py);
    py.get_type::<queue::iterator::QueueIterator>();
    py.get_type::<credits::inner::PyChannelBody>();
}

/// In the child of a fork: there are no waiters, and this is the main thread.
#[pyfunction]
fn _after_fork_in_child(py: Python<'_>) -> PyResult<()> {
    sluicegate_core::fork::after_fork_in_child();
    process::remember_main_thread(py)
}
