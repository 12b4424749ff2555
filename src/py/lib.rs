//! `sluicegate._core`: the binding. It decides nothing that could be tested without Python.
//!
//! | folder    | contents                                                                                        |
//! |-----------|-------------------------------------------------------------------------------------------------|
//! | `rt`      | the base of every object: attachment, exceptions, arguments, waiting, asyncio, clocks             |
//! | `queue`   | the queues                                                                                        |
//! | `latest`  | the latest value                                                                                  |
//! | `broadcast` | every item to every subscriber                                                                  |
//! | `rate`    | the limiters                                                                                      |
//! | `adaptive` | the adaptive limits                                                                             |
//! | `breaker` | the circuit breakers                                                                              |
//! | `retry`   | the budget of retries, and the first attempt of a call                                            |
//! | `semaphore` | the semaphores                                                                                  |
//! | `guard`   | an attempt through a breaker, a rate and a concurrency limit                                      |
//! | `credits` | the credit channels                                                                               |
//! | `io`      | files and sockets, without the GIL (feature `tokio`)                                              |
//!
//! They are three tiers: `rt`; the primitives, which depend on it; and `io` and `guard`, which are composed of primitives. All of them depend
//! on the core. A folder depends on no other of its own tier, and nothing but this file depends on one of the last.

mod adaptive;
mod breaker;
mod broadcast;
mod credits;
mod guard;
#[cfg(feature = "tokio")]
mod io;
mod latest;
mod queue;
mod rate;
mod retry;
mod rt;
mod semaphore;

use pyo3::prelude::*;
use sluicegate_core::clock::{LONGEST_RETRY_AFTER, seconds};

use self::rt::{aio, process};

/// The rules of the binding, for objects that are written in Python.
fn add_rules(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(rt::arguments::_duration, module)?)?;
    module.add_function(wrap_pyfunction!(rt::arguments::_refuse_coroutine_function, module)?)?;
    module.add_function(wrap_pyfunction!(rt::failures::_leaves, module)?)?;
    module.add_function(wrap_pyfunction!(rate::plain::_is_plain_rate, module)?)?;
    Ok(())
}

/// Initialises the module. First checks whether this interpreter may import it, so that a refused import has no effect.
#[pymodule(name = "_core")]
fn core_module(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    process::refuse_subinterpreters(py)?;
    process::remember_main_thread(py)?;
    make_inner_classes(py);

    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("CLASSES", rt::exceptions::classes(py))?;
    module.add("LONGEST_RETRY_AFTER", seconds(LONGEST_RETRY_AFTER))?;
    module.add("WAIT", aio::wait_marker_object(py))?;
    module.add_class::<aio::AsyncOperation>()?;
    module.add_class::<rt::select::PySelectable>()?;
    module.add_function(wrap_pyfunction!(rt::select::select, module)?)?;
    module.add_function(wrap_pyfunction!(rt::select::_async_select, module)?)?;
    module.add_class::<rt::clock::PyClock>()?;
    module.add_class::<rt::clock::PyManualClock>()?;
    module.add_function(wrap_pyfunction!(_after_fork_in_child, module)?)?;
    module.add_function(wrap_pyfunction!(rt::clock::_clock, module)?)?;
    add_rules(module)?;

    module.add_class::<queue::classes::PyQueue>()?;
    module.add_class::<queue::classes::PyLifoQueue>()?;
    module.add_class::<queue::classes::PyPriorityQueue>()?;
    module.add_class::<queue::classes::PyCoalescingQueue>()?;
    module.add_class::<queue::fair::PyFairQueue>()?;
    module.add_class::<queue::classes::PySimpleQueue>()?;
    module.add_class::<queue::ends::StreamEnds>()?;
    module.add_class::<queue::overflow::Sample>()?;
    module.add_class::<rt::shed::PyCodel>()?;
    module.add_class::<rt::shed::PyAdaptiveLifo>()?;
    module.add_class::<queue::overflow::Offered>()?;
    module.add_class::<queue::pressure::Pressure>()?;
    module.add_class::<queue::pressure::PressureListener>()?;
    module.add_class::<queue::mutex::QueueMutex>()?;
    module.add("STAND_INS", queue::stdlib::stand_ins(py))?;
    queue::hot::install(py)?;
    queue::hot_batches::install(py)?;
    queue::view_puts::install(py)?;
    queue::fair::install(py)?;

    module.add_class::<latest::PyLatest>()?;
    module.add_class::<latest::PyLatestTicks>()?;
    latest::hot::install(&py.get_type::<latest::PyLatest>())?;

    module.add_class::<broadcast::PyBroadcast>()?;
    module.add_class::<broadcast::PySubscriber>()?;
    broadcast::hot::install(py)?;

    module.add_class::<rate::PyRateLimiter>()?;
    module.add_class::<rate::shapes::PyTokenBucket>()?;
    module.add_class::<rate::shapes::PyLeakyBucket>()?;
    module.add_class::<rate::shapes::PySlidingWindow>()?;
    module.add_class::<rate::reservation::PyReservation>()?;
    module.add_class::<rate::permit::PyRatePermit>()?;
    module.add_class::<rate::set::PyRateLimits>()?;
    module.add_class::<rate::shapes::PyUnlimitedRate>()?;
    module.add_class::<rate::shapes::PyZeroRate>()?;
    module.add_class::<rate::keyed::PyKeyedLimiter>()?;
    module.add_class::<rate::keyed::PyKeyedTokenBucket>()?;
    module.add_class::<rate::keyed::PyKeyedLeakyBucket>()?;
    module.add_class::<rate::keyed::PyKeyedSlidingWindow>()?;
    module.add_class::<rate::handles::PyTokenBucketKey>()?;
    module.add_class::<rate::handles::PyLeakyBucketKey>()?;
    module.add_class::<rate::handles::PySlidingWindowKey>()?;
    rate::hot::install(py)?;
    rate::hot_bookings::install(py)?;

    module.add_class::<semaphore::PySemaphore>()?;
    module.add_class::<semaphore::class::PyBoundedSemaphore>()?;
    module.add_class::<semaphore::permit::PyPermit>()?;
    module.add_class::<semaphore::keyed::PyKeyedSemaphore>()?;
    module.add_class::<semaphore::keyed::PySemaphoreKey>()?;
    semaphore::hot::install(py)?;
    semaphore::keyed_hot::install(py)?;

    module.add_class::<breaker::class::PyCircuitBreaker>()?;
    module.add_class::<breaker::permit::PyCircuitPermit>()?;
    module.add_class::<breaker::keyed::PyKeyedBreaker>()?;
    module.add_class::<breaker::keyed::PyBreakerKey>()?;
    breaker::hot::install(py)?;

    module.add_class::<adaptive::class::PyAdaptiveConcurrency>()?;
    module.add_class::<adaptive::permit::PyConcurrencyPermit>()?;
    module.add_class::<adaptive::rate::PyCubicRate>()?;
    adaptive::hot::install(py)?;

    module.add_class::<retry::budget::PyRetryBudget>()?;
    module.add_class::<retry::first::PyFirstAttempts>()?;
    module.add_function(wrap_pyfunction!(retry::first::_raise_again, module)?)?;
    retry::install(py)?;

    module.add_class::<guard::attempt::PyLayerAttempts>()?;
    guard::attempt::install(&py.get_type::<guard::attempt::PyLayerAttempts>())?;

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

/// Creates the classes that are not in the module. PyO3 creates a class on first use, and other threads that use it meanwhile wait; in the
/// child of a fork they might wait for ever. So all classes are created during the import.
fn make_inner_classes(py: Python<'_>) {
    aio::make_classes(py);
    py.get_type::<queue::iterator::QueueIterator>();
    py.get_type::<queue::keyed::KeyedItem>();
    py.get_type::<queue::fair_item::FairItem>();
    py.get_type::<queue::pressure::PressureHub>();
    py.get_type::<credits::inner::PyChannelBody>();
}

/// Called in the child of a fork: there are no waiters, and this thread is the main thread.
#[pyfunction]
fn _after_fork_in_child(py: Python<'_>) -> PyResult<()> {
    sluicegate_core::fork::after_fork_in_child();
    process::remember_main_thread(py)
}
