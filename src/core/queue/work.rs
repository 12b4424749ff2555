//! Workers: those who take from a queue and may put into it again, as a crawler does. Their stream has no last producer: it is over when nothing
//! is queued, nobody works on an item, and no [`Ends`](super::Ends) of producers is open. Then the queue shuts itself down.
//!
//! | event                                                 | what follows                                                        |
//! |-------------------------------------------------------|---------------------------------------------------------------------|
//! | `start_work`                                          | from now on the queue watches for the end of the work               |
//! | the unfinished count reaches zero, all ends closed    | shut down, if anything was ever put and a worker is here            |
//! | `close_end` of the last open end, work unfinished     | told to leave it to the workers, which may put more                 |
//! | `close_end` else                                      | told to shut down                                                   |
//! | `stop_work` of the last worker, an end left it to them | shut down: nobody else would                                       |

use super::state::State;
use crate::buffer::Buffer;
use crate::monitor::Monitor;
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

impl<B: Buffer, W: Wake, X> State<B, W, X> {
    /// The work is over: whoever looks for more finds the queue shut down.
    #[inline]
    pub(super) fn finish_work(&mut self) {
        if self.work.workers > 0 && self.work.open_ends == 0 && self.puts > 0 && self.unfinished <= 0 {
            self.shut |= self.buffer.is_empty() && self.reserved == 0;
        }
    }
}

impl<B: Buffer, W: Wake, D: Domain, X> Monitor<State<B, W, X>, W, D, 4> {
    /// An end of producers is open: the work is not over before it is closed.
    pub fn open_end(&self, proof: D::Proof<'_>) {
        self.section.with(proof, |state| state.work.open_ends += 1);
    }

    /// An end of producers is closed. True if the queue is to be shut down now; else the workers will do that.
    #[must_use = "the last one ends the stream"]
    pub fn close_end(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| {
            state.work.open_ends = state.work.open_ends.saturating_sub(1);
            let working = state.work.workers > 0 && (state.unfinished > 0 || state.work.open_ends > 0);
            state.work.left_to_workers |= working;
            !working
        })
    }

    /// Somebody begins to work.
    pub fn start_work(&self, proof: D::Proof<'_>) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.work.workers += 1;
            state.settle(wakes);
        })
        .0
    }

    /// Somebody who began to work does so no longer.
    pub fn stop_work(&self, proof: D::Proof<'_>) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            state.work.workers = state.work.workers.saturating_sub(1);
            state.shut |= state.work.workers == 0 && state.work.open_ends == 0 && state.work.left_to_workers;
            state.settle(wakes);
        })
        .0
    }
}
