//! One attempt of an operation that moves no item: `join`, and a wait on a condition of the queue.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use sluicegate_core::queue::{ConditionWait, MutexOwner, Side};
use sluicegate_core::wait::Wakes;

use crate::queue::attempt::QueueAttempt;
use crate::queue::mutex::{MutexGuard, would_wait};
use crate::rt::operation::{Done, Mode};

impl QueueAttempt<'_, '_, '_, '_> {
    pub(in crate::queue) fn join(&mut self) -> PyResult<Option<Done>> {
        let (py, core) = (self.object.py(), self.core());
        let (wakes, mut done) = match self.mode {
            Mode::Park(waker) => core.join_or_wait(py, self.waiter, waker),
            _ => (Wakes::none(), core.is_finished(py)),
        };
        wakes.fire();
        if !done && core.is_locked(py) {
            if let Some(_guard) = MutexGuard::take_again(self.object)? {
                core.leave(py, self.waiter).fire();
                done = core.unfinished(py) <= 0;
                if !done && matches!(self.mode, Mode::Park(_)) {
                    return Err(would_wait("join"));
                }
            }
        }
        Ok(done.then_some(Done::Nothing))
    }

    pub(in crate::queue) fn wait_on_condition(
        &mut self,
        side: Side,
        owner: MutexOwner,
        begun_wait: &mut Option<(ConditionWait, usize)>,
    ) -> PyResult<Option<Done>> {
        let (py, core) = (self.object.py(), self.core());
        let Mode::Park(waker) = self.mode else { return Ok(None) };
        if let Some((wait, _)) = begun_wait {
            return Ok(core.is_notified(py, wait).then_some(Done::Yes));
        }
        let (wakes, result) = core.begin_condition_wait(py, owner, side, waker);
        wakes.fire();
        let (wait, depth, late) = result.map_err(|locked| PyRuntimeError::new_err(locked.to_string()))?;
        *begun_wait = Some((wait, depth));
        self.object.inner.report_late(py, late);
        Ok(None)
    }
}
