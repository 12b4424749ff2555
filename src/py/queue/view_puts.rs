//! The puts of the views: those of a queue, with the arguments that the standard library's have and no others. `ttl` is the queue's own.
//!
//! A view has these as its methods, so a call through it costs what it costs on the queue. Where a user's class has a `put` of its own the view
//! calls that instead (`sluicegate._views`); a `put_nowait` that is ours calls it here.

use pyo3::prelude::*;
use sluicegate_core::queue::Admission;

use crate::queue::classes::PyQueue;
use crate::queue::hot::{call_without_blocking, is_trivial, is_true, put_fast, put_general};
use crate::queue::inner::QueueClass;
use crate::rt::hot_methods::hot_methods;
use crate::rt::kept::interned;

hot_methods! {
    fn install_puts() for PyQueue as "Queue";

    /// `put`, without the arguments that only the queue has.
    fn _put_only(this, item, block = True, timeout = None) {
        fast: match is_trivial(block, timeout) {
            Some(admission) => put_fast(this.get().inner(), item, admission),
            None => Fast::Declined,
        },
        general: put_general(this, item.to_owned().unbind(), || is_true(block), timeout.as_deref(), None),
    }

    /// `put_nowait`, without the arguments that only the queue has.
    fn _put_nowait_only(this, item) {
        fast: {
            let inner = this.get().inner();
            if inner.overrides.put { Fast::Declined } else { put_fast(inner, item, Admission::Immediate) }
        },
        general: {
            if this.get().inner().overrides.put {
                return call_without_blocking(this.as_any(), interned!(this.py(), "put"), (item,), None);
            }
            put_general(this, item.to_owned().unbind(), || Ok(false), None, None)
        },
    }
}

pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    install_puts(&py.get_type::<PyQueue>())
}
