//! The messages of the core's errors. Each error is defined beside the operation that returns it; here it implements
//! [`std::error::Error`].

use std::error::Error;
use std::fmt::{self, Debug, Display, Formatter};

use crate::breaker;
use crate::credits::{End, ReceiveError, SendError};
use crate::latest::ReadError;
use crate::queue::{BatchError, GetError, Locked, PutError};
use crate::rate::{RateError, Refusal};
use crate::semaphore::{AcquireError, Overreleased};

impl<T> Display for PutError<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the queue is full",
            Self::ShutDown(_) => "the queue has been shut down",
            Self::Locked(_) => "the queue is locked",
            Self::Rejected(_) | Self::Overflows(_) => "the queue is full, and nobody waits for room",
            Self::Composed(_) => "the queue keeps notes of its items",
            Self::NoMemory(_) => "there is no memory for the item",
        })
    }
}

impl<T: Debug> Error for PutError<T> {}

impl Display for GetError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the queue is empty",
            Self::ShutDown => "the queue has been shut down",
            Self::Locked => "the queue is locked",
            Self::Composed => "the queue keeps notes of its items",
            Self::NoMemory => "there is no memory for the items",
        })
    }
}

impl Error for GetError {}

impl Display for BatchError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the queue is empty",
            Self::Lingering => "the batch waits for more items",
            Self::ShutDown => "the queue has been shut down",
            Self::Locked => "the queue is locked",
            Self::Composed => "the queue keeps notes of its items",
            Self::NoMemory => "there is no memory for the items",
        })
    }
}

impl Error for BatchError {}

impl Display for ReadError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotYet => "there is no such value yet",
            Self::ShutDown => "no further value will come",
        })
    }
}

impl Error for ReadError {}

impl Display for Locked {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("the queue is locked")
    }
}

impl Error for Locked {}

impl Display for End {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completed => "the channel has been completed",
            Self::Failed => "a sender of the channel has failed",
            Self::Cancelled => "the receiver of the channel has gone",
        })
    }
}

impl<T> Display for SendError<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("the channel has no credit"),
            Self::TooHeavy(_) => f.write_str("the item is heavier than the channel ever grants"),
            Self::NoMemory(_) => f.write_str("there is no memory for the item"),
            Self::Ended(_, end) => write!(f, "{end}"),
        }
    }
}

impl<T: Debug> Error for SendError<T> {}

impl Display for ReceiveError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the channel is empty"),
            Self::Control => f.write_str("a control message has to be received first"),
            Self::Ended(end) => write!(f, "{end}"),
            Self::NoMemory => f.write_str("there is no memory for the items"),
            Self::SelfWait => f.write_str("only deliveries that the receiver itself has not settled are left"),
        }
    }
}

impl Error for ReceiveError {}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Until(at) => write!(f, "the limit does not admit it before {at} ns on the limiter's clock"),
            Self::WaitQueueFull(at) => write!(f, "the wait queue of the limiter is full until {at} ns on its clock"),
            Self::AllKeysInUse(after) => write!(f, "all keys are in use; the first can be forgotten in {after} ns"),
            Self::NeverFits => f.write_str("the limit never admits so much at once"),
            Self::NeverFitsIn(index) => write!(f, "limit {index} of the set never admits so much at once"),
            Self::TooFar => f.write_str("more is booked or owed than the limiter can count"),
            Self::NoMemory => f.write_str("there is no memory for another entry of the limiter"),
        }
    }
}

impl Error for Refusal {}

impl Display for RateError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooFast => "the rate is too high to be represented",
            Self::TooSlow => "the rate is too low to be represented",
        })
    }
}

impl Error for RateError {}

impl Display for AcquireError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("not enough permits are free, or others wait for them"),
            Self::TooLarge { size } => write!(f, "the request is for more than the {size} permits there are in all"),
            Self::NoMemory => f.write_str("there is no memory for one more key"),
        }
    }
}

impl Error for AcquireError {}

impl Display for Overreleased {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "released too many times: {} are held", self.held)
    }
}

impl Error for Overreleased {}

impl Display for breaker::Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "the breaker is {}; retry after {} ns", self.state.name(), self.retry_after)
    }
}

impl Error for breaker::Refusal {}

impl Display for breaker::NoRoom {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("there is no room for another key")
    }
}

impl Error for breaker::NoRoom {}
