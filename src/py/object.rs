//! A queue as the binding handles it: the Python object, and the body inside.

use pyo3::prelude::*;

use crate::body::Body;
use crate::queue::{PyQueue, PySimpleQueue};

/// A Python object of one of our classes, with its body at hand.
pub(crate) struct Object<'a, 'py> {
    pub(crate) this: &'a Bound<'py, PyAny>,
    pub(crate) body: &'a Body,
}

impl<'a, 'py> Object<'a, 'py> {
    /// `None` if it is not one of our queues.
    pub(crate) fn of(this: &'a Bound<'py, PyAny>) -> Option<Self> {
        let body = if let Ok(queue) = this.cast::<PyQueue>() {
            &queue.get().body
        } else if let Ok(queue) = this.cast::<PySimpleQueue>() {
            &queue.get().body
        } else {
            return None;
        };
        Some(Self { this, body })
    }

    pub(crate) fn py(&self) -> Python<'py> {
        self.this.py()
    }
}
