//! `Permit`: credit taken for items that do not exist yet.

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::PyTuple;
use sluicegate_core::credits::{Permit, SendError};
use sluicegate_core::fork;
use sluicegate_core::section::Section;

use super::inner::PyChannelBody;
use super::ops::ChannelOperation;
use super::sender::{PySender, credit_amount};
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{Argument, Timeout};
use crate::rt::blocking;
use crate::rt::domain::Attached;
use crate::rt::exceptions;
use crate::rt::guarded::last_act;

/// Credit held for items that do not exist yet, as returned by `Sender.permit`.
#[pyclass(frozen, weakref, name = "Permit", module = "sluicegate")]
#[derive(Debug)]
pub(crate) struct PyPermit {
    sender: Py<PySender>,
    n: u64,
    timeout: Timeout,
    /// What is left of it, while it is held.
    held: Section<Option<Held>, Attached>,
}

#[derive(Debug)]
struct Held {
    permit: Permit,
    /// The process that holds it: a child of a fork has none of its parent's credit.
    generation: u64,
}

impl Held {
    fn is_ours(&self) -> bool {
        self.generation == fork::generation()
    }
}

impl PyPermit {
    pub(crate) fn new(sender: Py<PySender>, n: u64, timeout: Timeout) -> Self {
        Self { sender, n, timeout, held: Section::new(None) }
    }

    fn body(&self) -> &Py<PyChannelBody> {
        &self.sender.get().body
    }

    /// What is held, in this process.
    fn release(&self, py: Python<'_>) {
        let held = self.held.with(py, Option::take);
        if let Some(held) = held.filter(Held::is_ours) {
            self.body().get().core.return_permit(py, held.permit).fire();
        }
    }

    /// The credit has come. Another thread may have been faster with the same permit: then it goes back.
    fn hold(&self, py: Python<'_>, permit: Permit) -> PyResult<()> {
        let mut new = Some(Held { permit, generation: fork::generation() });
        self.held.with(py, |held| {
            if held.as_ref().is_none_or(|held| !held.is_ours()) {
                *held = new.take();
            }
        });
        match new {
            None => Ok(()),
            Some(new) => {
                self.body().get().core.return_permit(py, new.permit).fire();
                Err(Self::held_already())
            }
        }
    }

    fn held_already() -> PyErr {
        PyRuntimeError::new_err("this permit is held already")
    }

    fn operation(&self, py: Python<'_>) -> ChannelOperation {
        ChannelOperation::permit(self.body().bind(py), self.n, |this, permit| this.cast::<Self>()?.get().hold(this.py(), permit))
    }

    fn check_free(&self, py: Python<'_>) -> PyResult<()> {
        if self.held.with(py, |held| held.is_some()) { Err(Self::held_already()) } else { Ok(()) }
    }
}

#[pymethods]
impl PyPermit {
    /// The amount of credit that is left.
    #[getter]
    fn left(&self, py: Python<'_>) -> u64 {
        self.held.with(py, |held| held.as_ref().map_or(0, |held| held.permit.left()))
    }

    /// Send an item with the credit that is held. Never waits.
    ///
    /// Raises ValueError if the item weighs more than what is left, RuntimeError if the permit is not held, and what
    /// `Sender.send` raises when the receiver has cancelled or is gone.
    fn send(&self, py: Python<'_>, item: &Bound<'_, PyAny>) -> PyResult<()> {
        let body = self.body().get();
        let weight = body.weight(item)?;
        let core = body.up_to_date(py);
        let item = item.clone().unbind();
        let (wakes, result) = self.held.with(py, |held| match held {
            Some(held) if held.is_ours() => {
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
            SendError::Full(_) | SendError::TooHeavy(_) => {
                exceptions::full(py, body.refusal(py, "permit.send of an item without weight"))
            }
        })
    }

    /// The operation behind `async with`.
    fn _async_acquire(slf: &Bound<'_, Self>) -> PyResult<AsyncOperation> {
        let (py, this) = (slf.py(), slf.get());
        this.check_free(py)?;
        this.sender.get().check_open(py, "permit")?;
        let operation = this.operation(py);
        Ok(AsyncOperation::new(slf.clone().into_any().unbind(), operation, this.timeout))
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let (py, this) = (slf.py(), slf.get());
        this.check_free(py)?;
        this.sender.get().check_open(py, "permit")?;
        blocking::run(slf.as_any(), &mut this.operation(py), this.timeout)?;
        Ok(slf.clone())
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, py: Python<'_>, _exc: &Bound<'_, PyTuple>) {
        self.release(py);
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        match self.held.with(py, |held| held.as_ref().map(|held| held.permit.left())) {
            Some(left) => format!("<sluicegate.Permit n={} left={left}>", self.n),
            None => format!("<sluicegate.Permit n={} not held>", self.n),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.sender)
    }
}

impl Drop for PyPermit {
    fn drop(&mut self) {
        last_act(|py| self.release(py));
    }
}

#[pymethods]
impl PySender {
    /// Return a context manager that holds credit for items that do not exist yet.
    ///
    /// Use it as `with sender.permit(3) as permit: permit.send(x)`. The credit is taken on entry, which waits for it
    /// (`async with` awaits it); unused credit is given back on exit. Entering raises Full if there was no credit
    /// within `timeout` seconds.
    #[pyo3(signature = (n = Argument::MISSING, *, timeout = None), text_signature = "($self, n=1, *, timeout=None)")]
    fn permit(slf: &Bound<'_, Self>, n: Argument<'_, '_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<PyPermit> {
        let n = credit_amount(n)?;
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        slf.get().check_open(slf.py(), "permit")?;
        Ok(PyPermit::new(slf.clone().unbind(), n, timeout))
    }
}
