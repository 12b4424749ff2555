//! `Latest`: its methods.

use pyo3::prelude::*;
use pyo3::pyclass::{PyTraverseError, PyVisit};
use pyo3::types::{PyDict, PyType};
use sluicegate_core::clock::seconds;

use super::inner::{Core, Parts, PyLatest, PyLatestTicks, since};
use super::ops::Read;
use crate::rt::Item;
use crate::rt::aio::AsyncOperation;
use crate::rt::arguments::{Timeout, Truth};
use crate::rt::blocking;
use crate::rt::class::{Common, common_methods, repr_head};
use crate::rt::drops::FlatItem;
use crate::rt::ending::{End, Ending};
use crate::rt::gc::{Shown, attached_in_traverse};
use crate::rt::guarded;
use crate::rt::imported::imported;
use crate::rt::kept::Kept;
use crate::rt::late::{Late, constructor, made_late};
use crate::rt::select::PySelectable;

impl PyLatest {
    pub(super) fn set(this: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = this.py();
        this.get().parts.ready()?;
        let (wakes, result) = this.get().core.set(py, FlatItem::new(value));
        wakes.fire();
        result.map(drop).map_err(|value| {
            drop(value);
            this.get().shut_down_error(py, "set")
        })
    }

    pub(super) fn get(this: &Bound<'_, Self>, timeout: Timeout) -> PyResult<Item> {
        blocking::run(this.py(), &mut Read::newest(this), timeout)?.into_object(this.py())
    }

    fn of(initial: Option<FlatItem>, common: Common) -> Parts {
        Parts { core: Core::new(initial, Ending::default(), common.core_clock()), common }
    }

    fn unmade(py: Python<'_>) -> PyClassInitializer<Self> {
        let unmade = Self { parts: Late::unmade(Self::of(None, Common::default())) };
        unmade.end(py, End { error: None, immediate: true }); // so that nothing can be set before `__init__`
        unmade.into()
    }

    #[expect(clippy::unnecessary_wraps, reason = "as `constructor!` asks for")]
    fn made(initial: Option<&Bound<'_, PyAny>>, common: Common) -> PyResult<PyClassInitializer<Self>> {
        Ok(Self { parts: Late::made(Self::of(initial.map(FlatItem::new), common)) }.into())
    }

    /// `peek` in the general form.
    pub(super) fn peek(&self, py: Python<'_>) -> PyResult<Item> {
        self.parts.ready()?;
        let seen = self.core.look(py, |value, _| value.map(|value| value.clone_ref(py)));
        match seen {
            Some(value) => Ok(value),
            None if self.core.statistics(py).shut => Err(self.shut_down_error(py, "peek")),
            None => Err(self.refusal(py, "peek", 0)),
        }
    }

    /// `changed` in the general form.
    pub(super) fn changed(
        slf: &Bound<'_, Self>,
        since: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let (since, timeout) = (self::since(since)?, Timeout::parse_strict("timeout", timeout)?);
        blocking::run(slf.py(), &mut Read::changed(slf, since), timeout)?.into_object(slf.py())
    }

    fn end(&self, py: Python<'_>, end: End) {
        let (wakes, removed) = self.core.shut_down(py, end.immediate, |ending, again| end.note(ending, again));
        wakes.fire();
        drop(removed);
    }
}

#[pymethods]
impl PyLatest {
    /// The version of the value: 0 before the first value, then one more with each value.
    #[getter]
    fn version(&self, py: Python<'_>) -> u64 {
        self.core.version(py)
    }

    /// True once `shutdown` has been called.
    #[getter]
    fn is_shutdown(&self, py: Python<'_>) -> bool {
        self.core.statistics(py).shut
    }

    /// Return the operation `changed(since)` for `select`, which then returns `value, version` of a newer value.
    ///
    /// Without `since` each selection waits for a value that is set after it has begun. Raises ValueError, TypeError or
    /// OverflowError for an invalid `since`.
    #[pyo3(signature = (since = None))]
    fn changing(slf: &Bound<'_, Self>, since: Option<&Bound<'_, PyAny>>) -> PyResult<PySelectable> {
        self::since(since)?;
        Ok(PySelectable::new("changing", slf.as_any(), since, |this, since| {
            Ok(Box::new(Read::changed(this.cast::<Self>()?, self::since(since)?)))
        }))
    }

    /// Return an iterator, for `for` and `async for`, over the newest value at each tick.
    ///
    /// The first value is returned at once, or when it has been set. After that one value is returned every `seconds`
    /// seconds, whether or not it has changed, by the object's clock. Ticks for which the caller comes too late are left
    /// out, so a slow reader is not followed by a burst. After a shutdown the last value is returned once more if the
    /// iterator has not returned it before, and then the iteration ends as that over the changes does.
    ///
    /// Each reader should call it for itself. Raises ValueError, TypeError or OverflowError for an invalid `seconds`.
    fn every(slf: &Bound<'_, Self>, seconds: &Bound<'_, PyAny>) -> PyResult<PyLatestTicks> {
        PyLatestTicks::new(slf, seconds)
    }

    /// Shut the object down: `set` and `get` raise ShutDown from now on.
    ///
    /// Iterations and `changed` give the last value to readers that have not had it, and then end; `peek` still returns it.
    /// With `immediate=True` the value is removed, and iteration raises ShutDown. With `error`, iteration raises that
    /// exception at its end, and it is the `__cause__` of every ShutDown. All waiters are woken. Calling it again has no
    /// effect, except that an immediate shutdown may follow.
    ///
    /// Raises TypeError if `error` is not an exception, with nothing changed.
    #[pyo3(signature = (immediate = Truth(false), *, error = None), text_signature = "($self, immediate=False, *, error=None)")]
    fn shutdown(&self, py: Python<'_>, immediate: Truth, error: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        self.end(py, End::by_shutdown(immediate.0, error)?);
        Ok(())
    }

    /// Shut the object down with an error: the same as `shutdown(error=error)`.
    fn fail(&self, py: Python<'_>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        self.end(py, End::by_fail(error)?);
        Ok(())
    }

    /// Return a snapshot of the version, the counters and the waiting times.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: Kept<PyType> = Kept::new();
        self.parts.ready()?;
        let seen = self.core.statistics(py);
        let fields = PyDict::new(py);
        fields.set_item("name", self.common.name(py))?;
        fields.set_item("version", seen.version)?;
        fields.set_item("sets", seen.sets)?;
        fields.set_item("replaced", seen.replaced)?;
        fields.set_item("waiting_readers", seen.waiting_readers)?;
        fields.set_item("read_blocked_seconds", seconds(seen.read_blocked))?;
        fields.set_item("is_shutdown", seen.shut)?;
        guarded::call_by_name(imported(py, &CLASS, "sluicegate._statistics", "LatestStatistics")?, &fields)
    }

    /// The operations behind the coroutines.
    fn _async_get(slf: &Bound<'_, Self>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<AsyncOperation> {
        let timeout = Timeout::parse_strict("timeout", timeout)?;
        Ok(AsyncOperation::new(Read::newest(slf), timeout))
    }

    fn _async_changed(
        slf: &Bound<'_, Self>,
        since: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<AsyncOperation> {
        let (since, timeout) = (self::since(since)?, Timeout::parse_strict("timeout", timeout)?);
        Ok(AsyncOperation::new(Read::changed(slf, since), timeout))
    }

    fn _end_of_iteration(&self, py: Python<'_>) -> PyResult<()> {
        self.end_of_iteration(py)
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (py, this) = (slf.py(), slf.get());
        let seen = this.core.statistics(py);
        let head = repr_head(slf.as_any(), &this.common.label(py))?;
        let waiting = if seen.waiting_readers > 0 { format!(" waiting_readers={}", seen.waiting_readers) } else { String::new() };
        Ok(format!("{head} version={}{waiting}{}>", seen.version, if seen.shut { " shut down" } else { "" }))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let py = attached_in_traverse();
        self.common.traverse(&visit)?;
        let shown = Shown::to(&visit);
        self.core.look(py, |value, ending| {
            shown.object(value.and_then(FlatItem::object));
            ending.show(&shown);
        });
        self.core.visit_wakers(py, |waker| shown.waker(waker));
        shown.outcome()
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.core.empty(py));
    }
}

made_late!(PyLatest, Parts);
constructor!(PyLatest as "Latest", initial, "(initial=..., *, clock=None, name=None)");
common_methods!(PyLatest, common);
