use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use super::*;

const SOON: Duration = Duration::from_millis(200);

/// What a server would do, and what it was asked.
#[derive(Default)]
struct Server {
    requests: Mutex<Vec<Vec<Op>>>,
    /// How many of the next requests fail, after they have arrived.
    fails: AtomicUsize,
    gave_up: AtomicUsize,
    /// What does not fail like that does not even arrive.
    refuses: AtomicBool,
    /// Requests take one each, if it is there.
    gate: Option<Semaphore>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Op {
    Add(u32),
    Insert(u32),
    Panic,
}

impl Trip for Server {
    type Op = Op;
    type Reply = u32;
    const UNDER_WAY: usize = 1;
    const BATCH: usize = 100;
    const BYTES: usize = 1000;

    async fn send(&self, ops: &[&Op]) -> Vec<Result<u32>> {
        let request: Vec<Op> = ops.iter().copied().cloned().collect();
        self.requests.lock().unwrap().push(request.clone());
        if let Some(gate) = &self.gate {
            gate.acquire().await.unwrap().forget();
        }
        assert!(!request.contains(&Op::Panic), "a panic in a driver");
        let one_less = |fails: usize| fails.checked_sub(1);
        let (some, all) = (Ordering::SeqCst, Ordering::SeqCst);
        if self.fails.fetch_update(some, all, one_less).is_ok() {
            let cut = Error::new(ErrorKind::Unreachable, "cut").retryable(true);
            return vec![Err(cut.with_maybe_applied()); ops.len()];
        }
        if self.refuses.load(Ordering::SeqCst) {
            let refused = Error::new(ErrorKind::Unreachable, "refused").retryable(true);
            return vec![Err(refused); ops.len()];
        }
        ops.iter()
            .map(|op| match op {
                Op::Add(n) | Op::Insert(n) => Ok(*n),
                Op::Panic => unreachable!("it has panicked"),
            })
            .collect()
    }

    fn is_transient(&self, error: &Error) -> bool {
        error.is_retryable()
    }

    fn may_repeat(op: &Op) -> bool {
        matches!(op, Op::Add(_))
    }

    fn is_write(_: &Op) -> bool {
        true
    }

    fn is_overtaken(op: &Op, later: &Op) -> bool {
        matches!((op, later), (Op::Add(a), Op::Insert(b)) if a == b)
    }

    fn weight(op: &Op) -> usize {
        match op {
            Op::Add(n) => *n as usize,
            _ => 0,
        }
    }

    fn gave_up(&self) {
        self.gave_up.fetch_add(1, Ordering::SeqCst);
    }
}

impl Server {
    fn gated() -> Self {
        Self {
            gate: Some(Semaphore::new(0)),
            ..Self::default()
        }
    }

    fn let_pass(&self, requests: usize) {
        self.gate.as_ref().unwrap().add_permits(requests);
    }

    fn requests(&self) -> Vec<usize> {
        self.requests.lock().unwrap().iter().map(Vec::len).collect()
    }
}

fn lane(server: Server) -> (Arc<Server>, Lane<Server>) {
    let server = Arc::new(server);
    let lane = Lane::new(Arc::clone(&server), SOON);
    (server, lane)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

#[test]
fn what_waits_goes_in_one_request_in_its_order_and_within_its_limits() {
    let (server, lane) = lane(Server::default());
    runtime().block_on(async {
        let answers = join_all((0..250).map(|_| lane.ask(Op::Add(1)))).await;
        assert!(answers.into_iter().all(|answer| answer.unwrap() == 1));
        assert_eq!(server.requests(), [100, 100, 50]);

        let heavy = [5, 990, 10, 2000, 1].map(|n| lane.ask(Op::Add(n)));
        for (answer, n) in join_all(heavy).await.into_iter().zip([5, 990, 10, 2000, 1]) {
            assert_eq!(answer.unwrap(), n);
        }
        assert_eq!(server.requests()[3..], [2, 1, 1, 1]);
    });
}

#[test]
fn what_may_be_repeated_is_until_it_succeeds_and_nothing_else_is() {
    let (server, lane) = lane(Server::default());
    server.fails.store(2, Ordering::SeqCst);
    runtime().block_on(async {
        let (add, insert) = join(lane.ask(Op::Add(1)), lane.ask(Op::Insert(2))).await;
        assert_eq!(add.unwrap(), 1);
        assert!(insert.unwrap_err().is_maybe_applied());
        assert_eq!(server.requests(), [2, 1, 1]);
    });
}

#[test]
fn trying_again_ends_with_the_time_and_the_last_error() {
    let (server, lane) = lane(Server::default());
    server.fails.store(usize::MAX, Ordering::SeqCst);
    runtime().block_on(async {
        let begun = Instant::now();
        let error = lane.ask(Op::Add(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        assert!(begun.elapsed() < SOON + GRACE);
        assert!(server.requests().len() > 2, "{:?}", server.requests());
    });
}

#[test]
fn what_may_have_been_done_at_any_try_is_said_to_be_at_the_last() {
    let (server, lane) = lane(Server::default());
    // Sent once, and then never again.
    server.fails.store(1, Ordering::SeqCst);
    server.refuses.store(true, Ordering::SeqCst);
    runtime().block_on(async {
        let error = lane.ask(Op::Add(1)).await.unwrap_err();
        assert_eq!(error.message(), "refused");
        assert!(error.is_maybe_applied(), "{error:?}");
        // This one was never.
        let error = lane.ask(Op::Add(2)).await.unwrap_err();
        assert!(!error.is_maybe_applied(), "{error:?}");
    });
}

#[test]
fn nothing_is_sent_again_after_what_may_have_overtaken_it() {
    let (server, lane) = lane(Server::default());
    server.fails.store(1, Ordering::SeqCst);
    runtime().block_on(async {
        // They are about one key; the second may have been done, and is not sent again.
        let (add, insert) = join(lane.ask(Op::Add(7)), lane.ask(Op::Insert(7))).await;
        assert!(insert.unwrap_err().is_maybe_applied());
        assert!(add.unwrap_err().is_maybe_applied());
        assert_eq!(server.requests(), [2]);
    });
}

#[test]
fn silence_ends_in_a_timeout_and_those_behind_it_go_on() {
    let (server, lane) = lane(Server::gated());
    runtime().block_on(async {
        let error = lane.ask(Op::Insert(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.is_maybe_applied());
        assert_eq!(server.gave_up.load(Ordering::SeqCst), 1);
        server.let_pass(1);
        assert_eq!(lane.ask(Op::Insert(2)).await.unwrap(), 2);
    });
}

#[test]
fn what_nobody_waits_for_any_more_is_not_sent() {
    let (server, lane) = lane(Server::gated());
    runtime().block_on(async {
        {
            let dropped = lane.ask(Op::Add(1));
            let mut dropped = std::pin::pin!(dropped);
            assert!(dropped.as_mut().now_or_never().is_none());
        }
        server.let_pass(1);
        assert_eq!(lane.ask(Op::Add(2)).await.unwrap(), 2);
        assert_eq!(*server.requests.lock().unwrap(), [[Op::Add(2)]]);
    });
}

#[test]
fn a_panic_is_an_error_of_its_batch_and_the_next_one_is_sent() {
    let (_, lane) = lane(Server::default());
    runtime().block_on(async {
        let error = lane.ask(Op::Panic).await.unwrap_err();
        assert!(error.is_connection() && error.is_maybe_applied());
        assert_eq!(lane.ask(Op::Add(1)).await.unwrap(), 1);
    });
}

#[test]
fn a_runtime_that_ends_takes_nothing_along_that_others_wait_for() {
    let (server, lane) = lane(Server::gated());
    let lane = Arc::new(lane);
    let first = runtime();
    // The carrier lives on this runtime, which then stands still and ends.
    first.block_on(async {
        let asking = lane.ask(Op::Add(1));
        let mut asking = std::pin::pin!(asking);
        while server.requests().is_empty() {
            assert!(asking.as_mut().now_or_never().is_none());
            tokio::task::yield_now().await;
        }
    });
    let other = {
        let lane = Arc::clone(&lane);
        std::thread::spawn(move || {
            runtime().block_on(async {
                let insert = lane.ask(Op::Insert(2));
                let add = lane.ask(Op::Add(3));
                join(insert, add).await
            })
        })
    };
    while lane.0.queue().come < 3 {
        std::thread::yield_now();
    }
    drop(first);
    server.let_pass(10);
    let (insert, add) = other.join().unwrap();
    assert_eq!((insert.unwrap(), add.unwrap()), (2, 3));
    runtime().block_on(lane.finish());
}

#[test]
fn a_runtime_that_stands_still_holds_others_up_once_at_most() {
    let (server, lane) = lane(Server::gated());
    let lane = Arc::new(lane);
    let still = runtime();
    let stuck = {
        let lane = Arc::clone(&lane);
        still.spawn(async move { lane.ask(Op::Add(1)).await })
    };
    still.block_on(async {
        while server.requests().is_empty() {
            tokio::task::yield_now().await;
        }
    });
    runtime().block_on(async {
        let error = lane.ask(Op::Add(2)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(!error.is_maybe_applied(), "it was never sent");
        assert_eq!(server.gave_up.load(Ordering::SeqCst), 1);
        server.let_pass(10);
        assert_eq!(lane.ask(Op::Add(3)).await.unwrap(), 3);
    });
    // When it goes on, it sends nothing more, and is in nobody's way.
    still.block_on(async {
        assert!(stuck.await.unwrap().unwrap_err().is_maybe_applied());
        assert_eq!(lane.ask(Op::Add(4)).await.unwrap(), 4);
        lane.finish().await;
    });
    assert_eq!(server.requests(), [1, 1, 1]);
}

#[test]
fn outside_a_runtime_it_is_a_usage_error() {
    let (_, lane) = lane(Server::default());
    let error = futures_executor::block_on(lane.ask(Op::Add(1))).unwrap_err();
    assert!(error.is_usage());
}

#[test]
fn finish_waits_for_what_is_under_way() {
    let (server, lane) = lane(Server::gated());
    runtime().block_on(async {
        let asking = lane.ask(Op::Add(1));
        let finishing = async {
            while server.requests().is_empty() {
                tokio::task::yield_now().await;
            }
            let finish = lane.finish();
            let mut finish = std::pin::pin!(finish);
            assert!(finish.as_mut().now_or_never().is_none());
            server.let_pass(1);
            finish.await;
            assert!(lane.0.queue().is_idle());
        };
        let (answer, ()) = join(asking, finishing).await;
        assert_eq!(answer.unwrap(), 1);
    });
}

/// The same, where a lone operation is sent by its caller.
struct ByCaller(Server);

impl Trip for ByCaller {
    type Op = Op;
    type Reply = u32;
    const UNDER_WAY: usize = 1;
    const BATCH: usize = 100;
    const BY_CALLER: bool = true;

    async fn send(&self, ops: &[&Op]) -> Vec<Result<u32>> {
        self.0.send(ops).await
    }

    fn is_transient(&self, error: &Error) -> bool {
        self.0.is_transient(error)
    }

    fn may_repeat(op: &Op) -> bool {
        Server::may_repeat(op)
    }

    fn is_write(op: &Op) -> bool {
        Server::is_write(op)
    }

    fn gave_up(&self) {
        self.0.gave_up();
    }
}

fn lane_by_caller(server: Server) -> (Arc<ByCaller>, Lane<ByCaller>) {
    let server = Arc::new(ByCaller(server));
    let lane = Lane::new(Arc::clone(&server), SOON);
    (server, lane)
}

#[test]
fn what_comes_while_a_caller_sends_its_own_goes_together_after_it() {
    let (server, lane) = lane_by_caller(Server::gated());
    runtime().block_on(async {
        let asked = join_all((0..50).map(|n| lane.ask(Op::Insert(n))));
        let (answers, ()) = join(asked, async { server.0.let_pass(2) }).await;
        for (answer, n) in answers.into_iter().zip(0..) {
            assert_eq!(answer.unwrap(), n);
        }
        assert_eq!(server.0.requests(), [1, 49]);
        let requests = server.0.requests.lock().unwrap().concat();
        assert_eq!(requests, (0..50).map(Op::Insert).collect::<Vec<_>>());
    });
}

#[test]
fn a_caller_that_is_dropped_while_it_sends_holds_nobody_up() {
    let (server, lane) = lane_by_caller(Server::gated());
    runtime().block_on(async {
        let mut dropped = Box::pin(lane.ask(Op::Add(1)));
        assert!(dropped.as_mut().now_or_never().is_none());
        let mut behind = Box::pin(lane.ask(Op::Add(2)));
        assert!(behind.as_mut().now_or_never().is_none());
        drop(dropped);
        server.0.let_pass(2);
        assert_eq!(behind.await.unwrap(), 2);
        assert_eq!(
            *server.0.requests.lock().unwrap(),
            [[Op::Add(1)], [Op::Add(2)]]
        );

        // With nobody behind it, it ends there and then.
        let mut dropped = Box::pin(lane.ask(Op::Add(3)));
        assert!(dropped.as_mut().now_or_never().is_none());
        drop(dropped);
        assert!(lane.0.queue().is_idle());
        server.0.let_pass(1);
        assert_eq!(lane.ask(Op::Add(4)).await.unwrap(), 4);
        assert_eq!(server.0.requests(), [1, 1, 1, 1]);
        lane.finish().await;
    });
}

#[test]
fn a_caller_that_looks_elsewhere_while_it_sends_holds_nobody_up() {
    let (server, lane) = lane_by_caller(Server::gated());
    runtime().block_on(async {
        let mut elsewhere = Box::pin(lane.ask(Op::Add(1)));
        assert!(elsewhere.as_mut().now_or_never().is_none());
        server.0.let_pass(2);
        // Its answer comes, though nobody polls `elsewhere`.
        assert_eq!(lane.ask(Op::Add(2)).await.unwrap(), 2);
        assert_eq!(elsewhere.await.unwrap(), 1);

        let mut elsewhere = Box::pin(lane.ask(Op::Add(3)));
        assert!(elsewhere.as_mut().now_or_never().is_none());
        server.0.let_pass(1);
        lane.finish().await;
        assert_eq!(elsewhere.await.unwrap(), 3);
    });
}

#[test]
fn a_caller_hears_of_cuts_silence_and_panics_as_a_carrier_does() {
    let (server, lane) = lane_by_caller(Server::default());
    runtime().block_on(async {
        let error = lane.ask(Op::Panic).await.unwrap_err();
        assert!(error.is_connection() && error.is_maybe_applied());
        server.0.fails.store(2, Ordering::SeqCst);
        assert_eq!(lane.ask(Op::Add(1)).await.unwrap(), 1);
        server.0.fails.store(1, Ordering::SeqCst);
        assert!(
            lane.ask(Op::Insert(1))
                .await
                .unwrap_err()
                .is_maybe_applied()
        );
        lane.finish().await;
    });
    let (server, lane) = lane_by_caller(Server::gated());
    runtime().block_on(async {
        let error = lane.ask(Op::Insert(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.is_maybe_applied());
        assert_eq!(server.0.gave_up.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn what_a_runtime_that_ended_had_sent_may_have_been_applied() {
    let (server, lane) = lane(Server::gated());
    let lane = Arc::new(lane);
    let first = runtime();
    let other = first.block_on(async {
        let asking = lane.ask(Op::Add(1));
        let mut asking = std::pin::pin!(asking);
        assert!(asking.as_mut().now_or_never().is_none());
        let other = {
            let lane = Arc::clone(&lane);
            std::thread::spawn(move || runtime().block_on(lane.ask(Op::Add(2))))
        };
        while lane.0.queue().come < 2 {
            std::thread::yield_now();
        }
        // Both are sent by the carrier here.
        while server.requests().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(server.requests(), [2]);
        server.refuses.store(true, Ordering::SeqCst);
        server.let_pass(1000);
        other
    });
    drop(first);
    let error = other.join().unwrap().unwrap_err();
    assert!(error.is_maybe_applied(), "{error:?}");
}
