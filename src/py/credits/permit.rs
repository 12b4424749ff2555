//! `Permit`: credit taken for items that do not exist yet.

use pyo3::exceptions::{PyMemoryError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyTuple;
use sluicegate_core::clock::Nanos;
use sluicegate_core::credits::{Permit, SendError};
use sluicegate_core::fork;

use super::inner::{Core, PyChannelBody};
use super::ops::take_credit;
use super::sender::{PySender, credit_amount};
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{Argument, Timeout};
use crate::rt::exceptions;
use crate::rt::operation::Mode;
use crate::rt::permit::{self, Holder, Holds, permit_class};
use crate::rt::registration::{Registration, WaitableClass};

/// Credit held for items that do not exist yet, as returned by `Sender.permit`.
#[pyclass(frozen, weakref, name = "Permit", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyPermit {
    sender: Py<PySender>,
    n: u64,
    timeout: Timeout,
    holder: Holder<Credit>,
}

/// The credit that is left.
#[derive(Debug)]
pub(crate) struct Credit {
    permit: Permit,
    /// The generation of the process that holds it: after a fork, the child holds none of its parent's credit.
    generation: u64,
}

impl PyPermit {
    pub(crate) fn new(sender: Py<PySender>, n: u64, timeout: Timeout) -> Self {
        Self { sender, n, timeout, holder: Holder::new() }
    }

    fn body(&self) -> &Py<PyChannelBody> {
        &self.sender.get().body
    }
}

impl WaitableClass for PyPermit {
    type Waitable = Core;

    fn waitable(&self) -> &Core {
        &self.body().get().core
    }
}

impl Holds for PyPermit {
    type Grant = Credit;

    fn holder(&self) -> &Holder<Credit> {
        &self.holder
    }

    fn give_back(&self, py: Python<'_>, credit: Credit) {
        self.waitable().return_permit(py, credit.permit).fire();
    }

    fn is_ours(credit: &Credit) -> bool {
        credit.generation == fork::generation()
    }

    fn describe(&self, py: Python<'_>) -> String {
        match self.holder.with(py, |held| held.as_ref().map(|held| held.permit.left())) {
            Some(left) => format!("<sluicegate.Permit n={} left={left}>", self.n),
            None => format!("<sluicegate.Permit n={} not held>", self.n),
        }
    }
}

impl permit::Permit for PyPermit {
    fn timeout(&self) -> Timeout {
        self.timeout
    }

    fn names() -> (&'static str, &'static str) {
        ("permit", "async with permit")
    }

    fn prepare(&self, py: Python<'_>) -> PyResult<()> {
        self.sender.get().check_open(py, "permit")
    }

    fn admit(registration: &mut Registration<Py<Self>>, py: Python<'_>, mode: Mode<'_>, _now: Nanos) -> PyResult<Option<Credit>> {
        let Registration { object, waiter, look_again_at, .. } = registration;
        let this = object.get();
        let taken = take_credit(this.body().bind(py), this.n, mode, waiter, look_again_at)?;
        Ok(taken.map(|permit| Credit { permit, generation: fork::generation() }))
    }

    fn refused(&self, py: Python<'_>, timeout: Timeout) -> PyErr {
        self.body().get().no_credit(py, "permit", self.n, timeout)
    }
}

#[pymethods]
impl PyPermit {
    /// The amount of credit that is left.
    #[getter]
    fn left(&self, py: Python<'_>) -> u64 {
        self.holder.with(py, |held| held.as_ref().map_or(0, |held| held.permit.left()))
    }

    /// Send an item with the credit that is held. Never waits.
    ///
    /// Raises ValueError if the item weighs more than what is left, RuntimeError if the permit is not held, and what
    /// `Sender.send` raises when the receiver has cancelled or is gone.
    fn send(&self, py: Python<'_>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        let body = self.body().get();
        let (item, weight) = body.to_be_sent(item)?;
        let core = body.up_to_date(py);
        let (wakes, result) = self.holder.with(py, |held| match held {
            Some(held) if Self::is_ours(held) => {
                let permit = &mut held.permit;
                let left = permit.left();
                if weight > left {
                    return Err(PyValueError::new_err(format!("the item weighs {weight}, and the permit has {left} left")));
                }
                Ok(core.send_permitted(py, permit, item, weight))
            }
            _ => Err(PyRuntimeError::new_err("this permit is not held: use it inside `with sender.permit(n) as permit:`")),
        })?;
        wakes.fire();
        result.map_err(|error| match error {
            SendError::Ended(_, end) => body.send_ended(py, "permit.send", end),
            SendError::NoMemory(_) => PyMemoryError::new_err(()),
            SendError::Full(_) | SendError::TooHeavy(_) => {
                exceptions::full(py, body.refusal(py, "permit.send of an item without weight"))
            }
        })
    }

    /// The operation behind `async with`.
    fn _async_acquire(slf: &Bound<'_, Self>) -> PyResult<AsyncOperation> {
        permit::enter_async(slf)
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        permit::enter(slf).map(|()| slf.clone())
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, py: Python<'_>, _exc: &Bound<'_, PyTuple>) {
        permit::exit(self, py);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.sender)
    }
}

permit_class!(PyPermit);

#[pymethods]
impl PySender {
    /// Return a context manager that holds credit for items that do not exist yet.
    ///
    /// Use it as `with sender.permit(3) as permit: permit.send(x)`. The credit is taken on entry, which waits for it
    /// (`async with` awaits it); unused credit is given back on exit. Entering raises Full if there was no credit
    /// within `timeout` seconds. A permit object that is dropped while it is held gives its credit back, with a
    /// ResourceWarning.
    #[pyo3(signature = (n = Argument::MISSING, *, timeout = None), text_signature = "($self, n=1, *, timeout=None)")]
    fn permit(slf: &Bound<'_, Self>, n: Argument<'_, '_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<PyPermit> {
        let n = credit_amount(n)?;
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        slf.get().check_open(slf.py(), "permit")?;
        Ok(PyPermit::new(slf.clone().unbind(), n, timeout))
    }
}
