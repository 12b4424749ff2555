//! Workers: consumers of a queue that may put items into it again, as in a crawler. Their stream has no last producer. It ends when the
//! queue is empty, no worker has an unfinished item, and no [`StreamEnd`](super::StreamEnd) of producers is open. Then the queue shuts
//! itself down.
//!
//! | event                                                 | what follows                                                        |
//! |-------------------------------------------------------|---------------------------------------------------------------------|
//! | `start_work`                                          | from now on the queue detects the end of the work                   |
//! | the unfinished count reaches zero, all ends closed    | shut down, if anything was ever put and a worker is here            |
//! | `close_end` of the last open end, work unfinished     | the answer leaves the shutdown to the workers, which may put more   |
//! | `close_end` otherwise                                 | the answer is to shut down                                          |
//! | `stop_work` of the last worker, an end left it to them | shut down: no other caller would                                   |
//! | `mark_stuck` of the last worker that is not stuck     | the answer says so: no worker would ever make room                  |
//! | `stop_work`, all workers left are stuck               | one of them is woken to call `mark_stuck` again                     |

use std::collections::TryReserveError;

use super::state::{Side, State, Worker, WorkerSet};
use crate::buffer::Buffer;
use crate::monitor::Monitor;
use crate::section::Domain;
use crate::wait::{Wake, Wakes};

impl<B: Buffer, W: Wake, X> State<B, W, X> {
    /// The work is finished: workers find the queue shut down.
    #[inline]
    pub(super) fn finish_work(&mut self) {
        if !self.work.workers.is_empty() && self.work.open_ends == 0 && self.puts > 0 && self.unfinished() <= 0 {
            self.set_shut(self.shut || self.buffer.is_empty() && self.reserved == 0);
        }
    }
}

impl<B: Buffer, W: Wake, D: Domain, X> Monitor<State<B, W, X>, W, D, 4> {
    /// Opens an end of producers. The work is not finished before it is closed.
    pub fn open_end(&self, proof: D::Proof<'_>) {
        self.section.with(proof, |state| state.work.open_ends += 1);
    }

    /// Closes an end of producers. Returns true if the caller has to shut the queue down now; otherwise the workers will.
    #[must_use = "the last one ends the stream"]
    pub fn close_end(&self, proof: D::Proof<'_>) -> bool {
        self.section.with(proof, |state| {
            state.work.open_ends = state.work.open_ends.saturating_sub(1);
            let working = !state.work.workers.is_empty() && (state.unfinished() > 0 || state.work.open_ends > 0);
            state.work.left_to_workers |= working;
            !working
        })
    }

    /// Adds a worker.
    ///
    /// # Errors
    /// There is no memory for one more; nothing has changed.
    pub fn start_work(&self, proof: D::Proof<'_>, worker: Worker) -> (Wakes<W>, Result<(), TryReserveError>) {
        self.visit(proof, |state, wakes| {
            let WorkerSet { workers, stuck, .. } = &mut state.work;
            workers.try_reserve(1)?;
            stuck.try_reserve(workers.len() + 1 - stuck.len())?; // each of them may be marked
            workers.push(worker);
            state.wake_eligible(wakes);
            Ok(())
        })
    }

    /// Removes a worker.
    pub fn stop_work(&self, proof: D::Proof<'_>, worker: Worker) -> Wakes<W> {
        self.visit(proof, |state, wakes| {
            remove(&mut state.work.workers, worker);
            if !state.work.workers.contains(&worker) {
                remove(&mut state.work.stuck, worker); // its `put` may go on, in another thread
            }
            let is_over = state.work.workers.is_empty() && state.work.open_ends == 0 && state.work.left_to_workers;
            state.set_shut(state.shut || is_over);
            state.wake_eligible(wakes);
            if state.all_are_stuck() {
                state.wait_queues.queue(Side::Put).prod_all(wakes);
                state.wait_queues.prod_further(wakes);
            }
        })
        .0
    }

    /// Marks a worker as waiting for room without a time limit. Returns true, without marking it, if all other workers are marked: then no
    /// worker would ever make room.
    pub fn mark_stuck(&self, proof: D::Proof<'_>, worker: Worker) -> bool {
        self.section.with(proof, |state| {
            if !state.work.workers.contains(&worker) {
                return false;
            }
            remove(&mut state.work.stuck, worker);
            state.work.stuck.push(worker);
            let all = state.all_are_stuck();
            if all {
                remove(&mut state.work.stuck, worker);
            }
            all
        })
    }

    /// Removes the mark of [`Monitor::mark_stuck`].
    pub fn unmark_stuck(&self, proof: D::Proof<'_>, worker: Worker) {
        self.section.with(proof, |state| remove(&mut state.work.stuck, worker));
    }
}

impl<B: Buffer, W: Wake, X> State<B, W, X> {
    /// True if all workers wait for room and there is none, not even for a worker that has been woken and has not come yet.
    fn all_are_stuck(&self) -> bool {
        let WorkerSet { workers, stuck, .. } = &self.work;
        !workers.is_empty()
            && (self.buffer.is_keyed() || !self.has_room())
            && !self.has_woken_putters_with_key()
            && !self.shut
            && !self.is_locked()
            && workers.iter().all(|worker| stuck.contains(worker))
    }
}

fn remove(workers: &mut Vec<Worker>, worker: Worker) {
    if let Some(index) = workers.iter().position(|each| *each == worker) {
        workers.swap_remove(index);
    }
}
