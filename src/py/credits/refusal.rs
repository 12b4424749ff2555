//! The exceptions for calls that a channel could not serve, or not in time. Consecutive refusals of calls that do not wait are usually the
//! same; then their exceptions share their arguments.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use sluicegate_core::credits::{CreditView, UNBOUNDED};

use super::amounts::amount_text;
use super::inner::{PyChannelBody, RefusalArgs};
use crate::rt::arguments::Timeout;
use crate::rt::exceptions::{EMPTY, Exception, FULL};
use crate::rt::hot::{Fast, apart, attached, raise};
use crate::rt::kept::interned;

/// The direction of an operation that does not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Receive,
    Send,
    ReceiveMany,
    SendMany,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Send => "send",
            Self::ReceiveMany => "receive_many",
            Self::SendMany => "send_many",
        }
    }

    fn exception(self) -> &'static Exception {
        if matches!(self, Self::Send | Self::SendMany) { &FULL } else { &EMPTY }
    }
}

impl PyChannelBody {
    /// Raises Full or Empty for a call that does not wait.
    #[inline(never)]
    pub(super) fn refuse_at_once(&self, py: Python<'_>, attempt: Direction) -> Fast {
        apart(|_| match (self.last_refusal(py, attempt), attempt.exception().at_hand(py)) {
            (Some(args), Some(class)) => raise(class, &args),
            _ => attached(|py| Err(self.refusal_at_once(py, attempt))),
        })
    }

    /// The same in the general form.
    pub(super) fn refusal_at_once(&self, py: Python<'_>, attempt: Direction) -> PyErr {
        match self.last_refusal(py, attempt) {
            Some(args) => attempt.exception().with(py, args),
            None => self.first_refusal(py, attempt),
        }
    }

    /// The arguments of the last refusal, if the state of the channel has not changed since.
    fn last_refusal<'py>(&self, py: Python<'py>, attempt: Direction) -> Option<Bound<'py, PyTuple>> {
        self.core.view_credit(py, |seen, extras| {
            let told = extras.told[attempt as usize].as_ref().filter(|told| told.seen == seen)?;
            Some(told.args.bind(py).clone())
        })
    }

    /// Makes the arguments of a refusal and keeps them for the next one.
    fn first_refusal(&self, py: Python<'_>, attempt: Direction) -> PyErr {
        let told = self.tell(py, &Timeout::Never.asked(attempt.name()));
        let error = attempt.exception().with(py, told.args.bind(py).clone());
        drop(self.core.with_extras(py, |extras| extras.told[attempt as usize].replace(told)));
        error
    }

    /// The arguments of the exception for a refused call: the request, and the state of the channel.
    pub(crate) fn refusal<'py>(&self, py: Python<'py>, asked: &str) -> Bound<'py, PyTuple> {
        self.tell(py, asked).args.into_bound(py)
    }

    /// The exception for a receive: there was no item in time.
    pub(super) fn no_item(&self, py: Python<'_>, name: &str, timeout: Timeout) -> PyErr {
        EMPTY.with(py, self.refusal(py, &timeout.asked(name)))
    }

    /// The exception for too little credit: there was not enough for `n` in time.
    pub(super) fn no_credit(&self, py: Python<'_>, name: &str, n: u64, timeout: Timeout) -> PyErr {
        let asked = timeout.asked(name);
        FULL.with(py, self.refusal(py, &if n == 1 { asked } else { format!("{asked} (n={n})") }))
    }

    /// The exception for an item, or an amount of credit, for which there can never be enough credit.
    pub(super) fn too_heavy(&self, py: Python<'_>, operation: &str, weight: u64) -> PyErr {
        let bound = self.core.bound(py);
        PyValueError::new_err(format!("{operation}: {weight} is more than can ever be outstanding at once, which is {bound}"))
    }

    fn tell(&self, py: Python<'_>, asked: &str) -> RefusalArgs {
        let (leaving, statistics) = self.core.statistics(py);
        self.finish(py, leaving);
        let seen = CreditView {
            credit: statistics.credit,
            bound: self.core.bound(py),
            items_buffered: statistics.items_buffered,
            items_unacked: statistics.items_unacked,
        };
        let bound = match seen.bound {
            UNBOUNDED => "no bound".to_owned(),
            bound => format!("a bound of {bound}"),
        };
        let template = interned!(py, "{1}: the channel{0} has {2} credit left, {3} items buffered, {4} unacknowledged, and {5}");
        let (credit, buffered, unacked) = (amount_text(seen.credit), seen.items_buffered, seen.items_unacked);
        let args = (template, self.name(py), asked, credit, buffered, unacked, bound).into_pyobject(py);
        RefusalArgs { seen, args: args.expect("memory for a tuple").unbind() }
    }
}
