//! What the benchmarks of the core share: threads that begin together, and how long they take.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// How long `threads` threads take to run `work(number, each)`, all at once.
///
/// `each` is a share of `calls`, of which there are `shares`. It is rounded up, and the time is scaled back to `calls`.
#[expect(clippy::cast_precision_loss, reason = "a ratio near one")]
pub fn crew(threads: usize, shares: usize, calls: u64, work: impl Fn(usize, u64) + Sync) -> Duration {
    let each = calls.div_ceil(shares as u64);
    let start = Barrier::new(threads + 1);
    let taken = thread::scope(|scope| {
        let (start, work) = (&start, &work);
        let crew: Vec<_> = (0..threads)
            .map(|number| {
                scope.spawn(move || {
                    start.wait();
                    work(number, each);
                })
            })
            .collect();
        start.wait();
        let begun = Instant::now();
        for thread in crew {
            thread.join().expect("no thread panics");
        }
        begun.elapsed()
    });
    taken.mul_f64(calls as f64 / (each * shares as u64) as f64)
}
