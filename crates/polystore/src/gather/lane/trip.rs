//! What a lane is for.

use std::future::Future;

use crate::error::{Error, Result};

/// How what has gathered is sent.
pub(crate) trait Trip: Send + Sync + 'static {
    /// One thing to do.
    type Op: Send + Sync + 'static;
    /// What comes back for it.
    type Reply: Send + 'static;

    /// How many batches may be under way. With one, operations keep their order.
    const UNDER_WAY: usize;

    /// How many operations are sent together at most.
    const BATCH: usize;

    /// Whether an operation that comes when nothing is under way is sent by its caller, which
    /// spares it the way to a carrier and back. If the caller is dropped meanwhile, what comes
    /// next is sent at once: it must not overtake what was sent.
    const BY_CALLER: bool = false;

    /// How much they weigh together at most, if more than one.
    const BYTES: usize = 4 << 20;

    /// Sends them once, and gives what came back for each, in their order. Connects first
    /// if that is needed. What has failed on the way to the server is
    /// [not applied](Error::is_maybe_applied), what may have got there is.
    ///
    /// Dropped when the time of all of them is over, or when its one caller is.
    fn send(&self, ops: &[&Self::Op]) -> impl Future<Output = Vec<Result<Self::Reply>>> + Send;

    /// Whether an operation that failed like this may succeed if it is sent again by itself.
    fn is_transient(&self, error: &Error) -> bool;

    /// Whether it changes anything.
    fn is_write(op: &Self::Op) -> bool {
        let _ = op;
        true
    }

    /// Whether sending it twice does no more than sending it once.
    fn may_repeat(op: &Self::Op) -> bool {
        !Self::is_write(op)
    }

    /// Whether `later`, which has been done or may have been, makes it wrong to send `op` again.
    fn is_overtaken(op: &Self::Op, later: &Self::Op) -> bool {
        let _ = (op, later);
        false
    }

    /// About how many bytes it takes.
    fn weight(op: &Self::Op) -> usize {
        let _ = op;
        0
    }

    /// Called when nothing has come back in time: the connection may be dead.
    fn gave_up(&self);
}
