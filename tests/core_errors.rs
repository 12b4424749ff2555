//! Every public error of the core is a `std::error::Error` and as movable as its payload, and says in a sentence what was wrong.

use std::error::Error;
use std::rc::Rc;

use sluicegate_core::credits::{End, ReceiveError, SendError};
use sluicegate_core::latest::ReadError;
use sluicegate_core::queue::{BatchError, GetError, PutError};
use sluicegate_core::rate::{RateError, Refusal};
use sluicegate_core::semaphore::{AcquireError, Overreleased};

fn is_error<T: Error + Send + Sync + 'static>() {}

fn is_local_error<T: Error>() {}

#[test]
fn errors_can_be_boxed_and_sent() {
    is_error::<PutError<String>>();
    is_error::<GetError>();
    is_error::<BatchError>();
    is_error::<ReadError>();
    is_error::<SendError<String>>();
    is_error::<ReceiveError>();
    is_error::<Refusal>();
    is_error::<RateError>();
    is_error::<AcquireError>();
    is_error::<Overreleased>();
}

#[test]
fn errors_ask_nothing_of_their_payload_but_debug() {
    is_local_error::<PutError<Rc<u8>>>();
    is_local_error::<SendError<Rc<u8>>>();
}

#[test]
fn errors_say_what_was_wrong() {
    let errors: [Box<dyn Error>; 23] = [
        Box::new(PutError::Full(1)),
        Box::new(PutError::ShutDown(1)),
        Box::new(GetError::Empty),
        Box::new(GetError::ShutDown),
        Box::new(ReadError::NotYet),
        Box::new(ReadError::ShutDown),
        Box::new(BatchError::Empty),
        Box::new(BatchError::Lingering),
        Box::new(SendError::Full(1)),
        Box::new(SendError::TooHeavy(1)),
        Box::new(SendError::NoMemory(1)),
        Box::new(SendError::Ended(1, End::Cancelled)),
        Box::new(ReceiveError::Empty),
        Box::new(ReceiveError::Control),
        Box::new(ReceiveError::Ended(End::Failed)),
        Box::new(Refusal::Until(7)),
        Box::new(Refusal::NeverFits),
        Box::new(RateError::TooFast),
        Box::new(RateError::TooSlow),
        Box::new(AcquireError::Busy),
        Box::new(AcquireError::TooLarge { size: 3 }),
        Box::new(AcquireError::NoMemory),
        Box::new(Overreleased { held: 1 }),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(text.starts_with(char::is_lowercase) && !text.ends_with('.'), "{text}");
    }
    assert_eq!(SendError::Ended((), End::Completed).to_string(), "the channel has been completed");
    assert_eq!(Refusal::Until(7).to_string(), "the limit does not admit it before 7 ns on the limiter's clock");
}
