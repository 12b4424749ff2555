//! `Alarm`: makes a transfer try again when a timed event of its channel is due.

use std::time::Duration;

use pyo3::prelude::*;
use sluicegate_core::clock::{Clock, Enrolled};
use sluicegate_core::wait::Wake;

use crate::credits::inner::Core;
use crate::rt::waker::Waker;

#[derive(Debug, Default)]
pub(in crate::io) struct Alarm {
    /// On a manual clock.
    enrolled: Option<Enrolled>,
}

impl Alarm {
    /// Returns the longest time to wait. `None` with a manual clock, which wakes the transfer itself.
    pub(in crate::io) fn set(&mut self, py: Python<'_>, core: &Core, waker: &Waker) -> Option<Duration> {
        let due = core.next_due(py)?;
        match core.clock(py) {
            Clock::Manual(manual) => {
                self.enrolled = Some(manual.enroll(Some(due), waker.share()));
                None
            }
            clock @ Clock::Monotonic => Some(Duration::from_nanos(due.saturating_sub(clock.now()))),
        }
    }

    pub(in crate::io) fn stop(&mut self, py: Python<'_>, core: &Core) {
        if let Some(enrolled) = self.enrolled.take() {
            if let Clock::Manual(manual) = core.clock(py) {
                drop(manual.withdraw(enrolled));
            }
        }
    }
}
