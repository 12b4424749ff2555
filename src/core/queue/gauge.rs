//! `Gauge`: what a queue with watermarks keeps: the data, see `pressure` for what is done with it.

use super::crossings::Crossings;
use super::watermarks::{Crossed, Watermarks};
use crate::sync::Shared;
use crate::wait::{Wake, Wakes};

/// The marks of a queue, and what reports their crossings.
#[derive(Debug)]
pub struct Gauge<W> {
    pub(super) marks: Watermarks,
    crossings: Shared<Crossings>,
    /// Woken after each crossing, and after a shutdown.
    pub(super) herald: W,
    /// What it has been woken for.
    pub(super) was_shut: bool,
}

impl<W> Gauge<W> {
    pub fn new(marks: Watermarks, crossings: Shared<Crossings>, herald: W) -> Self {
        Self { marks, crossings, herald, was_shut: false }
    }
}

/// How full a queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// From 0 to 1, by the fuller one of its bounds.
    pub level: f64,
    /// What has happened at the marks; `None` where there are none.
    pub crossed: Option<Crossed>,
}

impl<W: Wake> Gauge<W> {
    /// Counts what the marks have counted where others see it, and has them told.
    pub(super) fn tell(&self, wakes: &mut Wakes<W>) {
        self.crossings.set(self.marks.crossed(0).crossings, self.was_shut);
        wakes.push(self.herald.share());
    }
}
