//! The operation that waits for a value.

use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use sluicegate_core::clock::Nanos;
use sluicegate_core::latest::{ReadError, Want};

use super::inner::{Core, PyLatest, PyLatestTicks};
use crate::rt::arguments::Timeout;
use crate::rt::operation::{Done, Mode, Operation};
use crate::rt::registration::{Registered, Registration, WaitableClass};

#[derive(Debug)]
enum ReadKind {
    Newest,
    /// A value newer than this version, or, with `None`, newer than the current one at the first attempt.
    Changed(Option<u64>),
    Tick(Py<PyLatestTicks>),
}

#[derive(Debug)]
pub(super) struct Read {
    kind: ReadKind,
    registration: Registration<Py<PyLatest>>,
}

impl WaitableClass for PyLatest {
    type Waitable = Core;

    #[inline]
    fn waitable(&self) -> &Core {
        &self.core
    }
}

impl Read {
    fn new(latest: Py<PyLatest>, kind: ReadKind) -> Self {
        Self { kind, registration: Registration::new(latest) }
    }

    pub(super) fn newest(latest: &Bound<'_, PyLatest>) -> Self {
        Self::new(latest.clone().unbind(), ReadKind::Newest)
    }

    pub(super) fn changed(latest: &Bound<'_, PyLatest>, since: Option<u64>) -> Self {
        Self::new(latest.clone().unbind(), ReadKind::Changed(since))
    }

    pub(super) fn tick(ticks: &Bound<'_, PyLatestTicks>) -> Self {
        Self::new(ticks.get().latest.clone_ref(ticks.py()), ReadKind::Tick(ticks.clone().unbind()))
    }
}

impl Operation for Read {
    fn names(&self) -> (&'static str, &'static str) {
        match self.kind {
            ReadKind::Newest => ("get", "get_async"),
            ReadKind::Changed(_) => ("changed", "changed_async"),
            ReadKind::Tick(_) => ("for value in every", "async for value in every"),
        }
    }

    fn registration(&self) -> &dyn Registered {
        &self.registration
    }

    fn registration_mut(&mut self) -> &mut dyn Registered {
        &mut self.registration
    }

    fn attempt(&mut self, py: Python<'_>, mode: Mode<'_>, _now: Nanos) -> PyResult<Option<Done>> {
        let names = self.names();
        let Registration { object, waiter, look_again_at, .. } = &mut self.registration;
        let latest = object.get();
        latest.parts.ready()?;
        let core = &latest.core;
        let mut now = 0;
        let mut next = None;
        let want = match &mut self.kind {
            ReadKind::Newest => Want::Newest,
            ReadKind::Changed(since) => Want::After(*since.get_or_insert_with(|| core.version(py))),
            ReadKind::Tick(ticks) => {
                now = latest.common.core_clock().now(); // the time that is passed is not set at the first attempt
                let (want, at) = ticks.get().ticks.with(py, |ticks| ticks.want(now));
                next = Some(at);
                want
            }
        };
        let result = match mode {
            Mode::Park(waker) => {
                let (wakes, result) = core.read_or_wait(py, want, waiter, waker, |value| value.clone_ref(py));
                wakes.fire();
                result
            }
            _ => core.try_read(py, want, |value| value.clone_ref(py)),
        };
        // An overdue tick waits for the first value, not for a time.
        *look_again_at = next.filter(|next| *next > now);
        let (value, version) = match result {
            Ok(read) => read,
            Err(ReadError::NotYet) => return Ok(None),
            Err(ReadError::ShutDown) => return Err(latest.shut_down_error(py, names.0)),
        };
        let value = match &self.kind {
            ReadKind::Newest => value,
            ReadKind::Changed(_) => (value, version).into_pyobject(py)?.into_any().unbind(),
            ReadKind::Tick(ticks) => {
                ticks.get().ticks.with(py, |ticks| ticks.give(version, now));
                value
            }
        };
        Ok(Some(Done::Item(value)))
    }

    fn out_of_time(&self, py: Python<'_>, timeout: Timeout) -> PyResult<Done> {
        let since = if let ReadKind::Changed(since) = self.kind { since.unwrap_or(0) } else { 0 };
        Err(self.registration.object.get().refusal(py, &timeout.asked(self.names().0), since))
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.registration.traverse(visit)?;
        if let ReadKind::Tick(ticks) = &self.kind { visit.call(ticks) } else { Ok(()) }
    }
}
