//! The exceptions for operations that a queue refuses. Consecutive refusals of calls that do not wait are usually the same; then their
//! exceptions share their arguments.

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use sluicegate_core::buffer::Buffer;
use sluicegate_core::queue::{Due, Side, Terms, UNBOUNDED};

use crate::queue::inner::{Bounds, QueueInner, RefusalArgs, Refused};
use crate::queue::items::Items;
use crate::rt::exceptions::{EMPTY, Exception, FULL};
use crate::rt::kept::interned;

impl Refused {
    pub(in crate::queue) fn side(self) -> Side {
        if matches!(self, Self::Put | Self::PutMany | Self::Rejected) { Side::Put } else { Side::Get }
    }

    pub(in crate::queue) fn exception(self) -> &'static Exception {
        exception_of(self.side())
    }
}

impl Bounds {
    #[inline]
    fn of(items: &Items, limit: usize) -> Self {
        let (per_key, reserved) = items.fair.as_ref().map_or((usize::MAX, 0), |fair| (fair.per_key(), fair.reserved()));
        Self { size: items.len(), limit, per_key, reserved }
    }
}

fn exception_of(side: Side) -> &'static Exception {
    if side == Side::Put { &FULL } else { &EMPTY }
}

impl QueueInner {
    /// Raises Full if the item has expired while it waited for room.
    pub(in crate::queue) fn is_in_time(&self, py: Python<'_>, terms: Terms) -> PyResult<()> {
        match terms.due {
            Due::At(deadline) if deadline <= self.core.clock(py).now() => {
                Err(self.refusal(interned!(py, "put, whose ttl has passed").clone(), Side::Put, Some(terms.weight)))
            }
            _ => Ok(()),
        }
    }

    /// Full (`Side::Put`) or Empty, with the request and the state of the queue in the message. `weight` is that of the item, if it is known.
    pub(in crate::queue) fn refusal(&self, asked: Bound<'_, PyString>, side: Side, weight: Option<u64>) -> PyErr {
        let py = asked.py();
        match self.tell(asked, side, weight) {
            Ok(told) => exception_of(side).with(py, told.args.into_bound(py)),
            Err(error) => error,
        }
    }

    /// The same for a call that does not wait. The arguments are kept for the next refusal, except where items have weights.
    pub(in crate::queue) fn refuse_at_once(&self, py: Python<'_>, refused: Refused, weight: Option<u64>) -> PyErr {
        if let Some(args) = self.last_refusal(py, refused) {
            return exception_of(refused.side()).with(py, args);
        }
        let asked = match refused {
            Refused::Get => interned!(py, "get without waiting"),
            Refused::Put => interned!(py, "put without waiting"),
            Refused::GetMany => interned!(py, "get_many without waiting"),
            Refused::PutMany => interned!(py, "put_many without waiting"),
            Refused::Rejected => interned!(py, "put refused by overflow='reject'"),
        };
        let told = match self.tell(asked.clone(), refused.side(), weight) {
            Ok(told) => told,
            Err(error) => return error,
        };
        let error = exception_of(refused.side()).with(py, told.args.bind(py).clone());
        if self.weighs() && refused.side() == Side::Put {
            return error;
        }
        drop(self.core.change_extras(py, |extras| extras.told[refused as usize].replace(told)));
        error
    }

    /// The arguments of the last refusal, if the state has not changed since.
    pub(in crate::queue) fn last_refusal<'py>(&self, py: Python<'py>, refused: Refused) -> Option<Bound<'py, PyTuple>> {
        self.core.look(py, |items, limit, extras| {
            let told = extras.told[refused as usize].as_ref()?;
            (told.seen == Bounds::of(items, limit)).then(|| told.args.bind(py).clone())
        })
    }

    fn tell(&self, asked: Bound<'_, PyString>, side: Side, weight: Option<u64>) -> PyResult<RefusalArgs> {
        let py = asked.py();
        let (seen, name) = self.core.look(py, |items, limit, extras| (Bounds::of(items, limit), extras.common.name(py)));
        let bound = (seen.limit != UNBOUNDED).then_some(seen.limit);
        let weights = self.core.weight_and_max(py).filter(|_| side == Side::Put);
        let per_key = (seen.per_key != usize::MAX && side == Side::Put).then_some(seen.per_key);
        let reserved = (seen.reserved > 0 && side == Side::Put).then_some(seen.reserved);
        if weights.is_none() && per_key.is_none() && reserved.is_none() {
            let template = if bound.is_none() {
                interned!(py, "{1}: the queue{0} holds {2} items and has no bound")
            } else {
                interned!(py, "{1}: the queue{0} holds {2} of {3} items")
            };
            let args = (template, name, asked, seen.size, bound).into_pyobject(py)?;
            return Ok(RefusalArgs { seen, args: args.unbind() });
        }
        let mut template = "{1}: the queue{0} holds {2}".to_owned();
        template += if bound.is_some() { " of {3} items" } else { " items" };
        if weights.is_some() {
            template += ", which weigh {4} of {5}";
            if weight.is_some() {
                template += ", and the item weighs {6}";
            }
        }
        if per_key.is_some() {
            template += ", at most {7} of each key";
        }
        if reserved.is_some() {
            template += ", and {8} places are reserved";
        }
        let (held, max) = weights.unzip();
        let args = (template, name, asked, seen.size, bound, held, max, weight, per_key, reserved).into_pyobject(py)?;
        Ok(RefusalArgs { seen, args: args.unbind() })
    }
}
