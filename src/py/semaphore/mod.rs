//! The semaphores: argument checks, and nothing else. Coroutines and the asyncio view are Python (`sluicegate._semaphores`).
//!
//! | file      | what it is for                                |
//! |-----------|-----------------------------------------------|
//! | `permits` | where a semaphore's permits are               |
//! | `inner`   | the object behind all semaphores              |
//! | `class`   | `Semaphore` and `BoundedSemaphore`            |
//! | `keyed`   | `KeyedSemaphore` and the handles of its keys  |
//! | `permit`  | `SemaphorePermit`, what `permit()` returns    |
//! | `ops`     | the operation that waits                      |
//! | `hot`     | the methods installed as raw descriptors      |

pub(crate) mod class;
pub(crate) mod hot;
mod inner;
pub(crate) mod keyed;
mod ops;
pub(crate) mod permit;
mod permits;

pub(crate) use inner::PySemaphore;
