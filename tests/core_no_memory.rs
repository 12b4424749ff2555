//! What grows by as much as its users decide, when the allocator has nothing left: a refusal, and nothing has changed. And how much one call
//! asks the allocator for: so much it may have to copy before others can go on.
#![cfg(not(loom))]
#![allow(unsafe_code)] // an allocator

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use sluicegate_core::buffer::Fifo;
use sluicegate_core::clock::{Clock, Manual};
use sluicegate_core::keys::KeyHash;
use sluicegate_core::queue::{Admission, LateItems, NotLater, PutError, Queue, Terms as ItemTerms};
use sluicegate_core::rate::{BucketLaw, Keyed, Law, Rate, Refusal, Scale, Terms, WindowLaw};
use sluicegate_core::section::Threads;
use sluicegate_core::wait::Parker;

type Waker = Arc<Parker>;

/// The system's allocator, until a thread asks for no more.
struct Failing;

thread_local! {
    /// How many more requests of this thread are granted.
    static GRANTED: Cell<u64> = const { Cell::new(u64::MAX) };
    /// How many bytes this thread has asked for.
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

impl Failing {
    fn grants(size: usize) -> bool {
        ASKED.set(ASKED.get() + size);
        match GRANTED.get() {
            u64::MAX => true,
            0 => false,
            left => {
                GRANTED.set(left - 1);
                true
            }
        }
    }
}

// SAFETY: what it returns is the system's, or null, which says that there is no memory.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        if Self::grants(layout.size()) { unsafe { System.alloc(layout) } } else { std::ptr::null_mut() }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        if Self::grants(size) { unsafe { System.realloc(memory, layout, size) } } else { std::ptr::null_mut() }
    }
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;

/// Makes the call, of whose requests for memory the first `granted` are met.
fn with_memory_for<R>(granted: u64, call: impl FnOnce() -> R) -> R {
    GRANTED.set(granted);
    let result = call();
    GRANTED.set(u64::MAX);
    result
}

fn asks<R>(call: impl FnOnce() -> R) -> (usize, R) {
    let before = ASKED.get();
    let result = call();
    (ASKED.get() - before, result)
}

const TOKEN: u64 = 1_000_000_000;

/// A well-mixed hash of a number.
fn key(number: u64) -> KeyHash {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    KeyHash::new([number, mixed ^ (mixed >> 27)])
}

fn keyed<L: Law>(law: &L, clock: &Arc<Manual<Waker>>) -> Keyed<Waker, Threads, L> {
    Keyed::new(law, Terms::default(), scale(), 1 << 24, 1, Clock::Manual(Arc::clone(clock)))
}

fn scale() -> Scale {
    Scale::for_largest(1e9).unwrap()
}

fn buckets() -> BucketLaw {
    BucketLaw::new(Rate::new(1e-3, 1.0, scale()).unwrap(), 2 * TOKEN, 0)
}

/// Whichever of its requests for memory fails, a new key is refused, and the keys are as they were; later it is admitted.
fn a_new_key<L: Law>(law: &L) {
    let clock = Arc::new(Manual::new(0));
    let keyed = keyed(law, &clock);
    let mut refused = 0;
    for number in 0..10_000 {
        for granted in 0.. {
            match with_memory_for(granted, || keyed.try_acquire((), key(number), TOKEN)).1 {
                Ok(true) => break,
                Err(Refusal::NoMemory) => refused += 1,
                other => panic!("{other:?}"),
            }
            assert_eq!((keyed.len() as u64, keyed.is_remembered((), key(number))), (number, false));
            assert!(granted < 20);
        }
        clock.advance(1);
    }
    assert!(refused > 20, "{refused}");
    let (left, refilled) = (i128::from(TOKEN), 1_000);
    assert!(
        (0..10_000).all(|number| (left..left + refilled).contains(&keyed.level((), key(number)).1)),
        "what they took is taken"
    );
    // Each is found again when it can be forgotten, in whichever part it is now.
    clock.advance(3_000 * TOKEN);
    for number in 0..10_000 {
        assert_eq!(keyed.try_acquire((), key(10_000 + number), TOKEN).1, Ok(true));
    }
}

#[test]
fn a_new_key_needs_memory_or_is_refused() {
    a_new_key(&buckets());
    a_new_key(&WindowLaw::new(2 * TOKEN, 1_000 * TOKEN));
}

/// With very many keys: a part and its two halves, and a number for every seven hundred keys.
#[test]
fn a_new_key_never_asks_for_much_memory() {
    const KEYS: u64 = 300_000;
    let keyed = keyed(&buckets(), &Arc::new(Manual::new(0)));
    let most = (0..KEYS).map(|number| asks(|| assert_eq!(keyed.try_acquire((), key(number), TOKEN).1, Ok(true))).0).max();
    let (part, parts) = (1024 * 24, KEYS / 350);
    let most = most.unwrap() as u64;
    assert!((part..2 * part + 100 * parts).contains(&most), "{most}");
}

/// The item comes back, and its place is another's.
#[test]
fn an_item_that_has_to_wait_for_the_mutex_needs_memory_or_comes_back() {
    let queue = Queue::<Fifo<u32>, Waker, Threads>::new(Fifo::default(), 1, Clock::Monotonic);
    assert_eq!(queue.try_reserve((), Admission::Immediate), Ok(()));
    queue.lock_mutex((), 1, Some(Fifo::default()), None).0.fire();
    assert_eq!(with_memory_for(0, || queue.fulfil_later((), 7, ItemTerms::NONE)), Err(NotLater::NoMemory(7)));
    let (wakes, late) = queue.unlock_mutex((), 1);
    wakes.fire();
    assert_eq!(late, Ok(LateItems::default()));
    let put = |item| queue.try_put((), item, Admission::Immediate).1;
    assert_eq!([put(8), put(9)], [Ok(()), Err(PutError::Full(9))]);
}
