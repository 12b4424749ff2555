//! Guards: one attempt through a breaker, a rate and a concurrency limit. Their order, and all the rest, is Python (`sluicegate._guard`).
//!
//! | file      | what it is for                                    |
//! |-----------|---------------------------------------------------|
//! | `attempt` | an attempt that no layer lets wait, and its call   |

pub(crate) mod attempt;
