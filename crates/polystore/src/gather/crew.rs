//! Work that would block, on threads of its own: what waits is done together.
//!
//! A [`Crew`] has a queue. Its threads start when there is something to do, take what
//! has arrived, and end when nothing has come for a while, so a store that rests costs
//! nothing.
//!
//! Answers come through runtime-neutral channels: callers may be on any runtime, or none.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_channel::oneshot;

use crate::error::{Error, ErrorKind, Result};

/// How long a thread without work waits for some before it ends.
const LINGER: Duration = Duration::from_secs(10);

/// What a crew does.
pub(crate) trait Work: Send + Sync + 'static {
    /// One thing to do. It carries the channel for its answer, if it has one.
    type Job: Send;

    /// How many threads may do it side by side.
    const THREADS: usize;

    /// How many jobs are taken together. With one thread they keep their order.
    const BATCH: usize;

    /// Does them.
    fn work(&self, jobs: Vec<Self::Job>);

    /// Called when there is nothing to do: does a little of what can wait, and says
    /// when to be called again, if at all.
    fn rest(&self) -> Option<Duration> {
        None
    }
}

/// Threads that work for one store. Dropped, it lets them finish what has arrived.
pub(crate) struct Crew<W: Work>(Arc<Shared<W>>);

struct Shared<W: Work> {
    name: &'static str,
    work: Arc<W>,
    queue: Mutex<Queue<W::Job>>,
    arrived: Condvar,
}

struct Queue<J> {
    jobs: VecDeque<J>,
    threads: usize,
    idle: usize,
    /// Told when there is neither a job nor a thread at one.
    finished: Vec<oneshot::Sender<()>>,
    left_alone: bool,
}

impl<W: Work> Crew<W> {
    pub(crate) fn new(name: &'static str, work: Arc<W>) -> Self {
        Self(Arc::new(Shared {
            name,
            work,
            queue: Mutex::new(Queue {
                jobs: VecDeque::new(),
                threads: 0,
                idle: 0,
                finished: Vec::new(),
                left_alone: false,
            }),
            arrived: Condvar::new(),
        }))
    }

    /// What it works with, for tests that look at it.
    #[cfg(test)]
    pub(crate) fn work<T>(&self, look: impl FnOnce(&W) -> T) -> T {
        look(&self.0.work)
    }

    /// Hands over a job. If no thread can be had for it, the job is dropped, which
    /// its answer's receiver sees.
    pub(crate) fn send(&self, job: W::Job) {
        let mut queue = self.0.queue();
        queue.jobs.push_back(job);
        if queue.idle >= queue.jobs.len() {
            drop(queue);
            self.0.arrived.notify_one();
        } else if queue.threads < W::THREADS {
            queue.threads += 1;
            drop(queue);
            self.0.start_thread();
        }
    }

    /// Sends the job that `make` builds around the channel for its answer, and waits.
    pub(crate) async fn ask<T>(
        &self,
        make: impl FnOnce(oneshot::Sender<Result<T>>) -> W::Job,
    ) -> Result<T> {
        let (answer, receiver) = oneshot::channel();
        self.send(make(answer));
        receiver.await.unwrap_or_else(|_| Err(lost(self.0.name)))
    }

    /// Whether nothing waits and nothing is being done.
    pub(crate) fn is_idle(&self) -> bool {
        let queue = self.0.queue();
        queue.jobs.is_empty() && queue.idle == queue.threads
    }

    /// Waits until what has arrived is done, and lets the threads go.
    pub(crate) async fn close(&self) {
        self.finish().await;
        self.0.leave_alone();
    }

    /// Waits until what has arrived is done.
    pub(crate) async fn finish(&self) {
        let receiver = {
            let mut queue = self.0.queue();
            if queue.jobs.is_empty() && queue.idle == queue.threads {
                return;
            }
            let (finished, receiver) = oneshot::channel();
            queue.finished.push(finished);
            receiver
        };
        let _ = receiver.await;
    }
}

impl<W: Work> Drop for Crew<W> {
    fn drop(&mut self) {
        self.0.leave_alone();
    }
}

impl<W: Work> fmt::Debug for Crew<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Crew").field(&self.0.name).finish()
    }
}

impl<W: Work> Shared<W> {
    fn queue(&self) -> MutexGuard<'_, Queue<W::Job>> {
        // Nothing panics while it is held.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The threads end with the last job.
    fn leave_alone(&self) {
        self.queue().left_alone = true;
        self.arrived.notify_all();
    }

    fn start_thread(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        let thread = std::thread::Builder::new()
            .name(self.name.to_owned())
            .spawn(move || Seat(shared).run());
        if let Err(error) = thread {
            tracing::error!(name = self.name, %error, "could not start a thread");
            let mut queue = self.queue();
            queue.threads -= 1;
            if queue.threads == 0 {
                queue.jobs.clear();
                queue.tell_finished();
            }
        }
    }
}

impl<J> Queue<J> {
    fn tell_finished(&mut self) {
        for waiting in self.finished.drain(..) {
            let _ = waiting.send(());
        }
    }
}

/// A thread's place in the crew; left in good order even if the work panics.
struct Seat<W: Work>(Arc<Shared<W>>);

impl<W: Work> Seat<W> {
    fn run(self) {
        while let Some(jobs) = self.next() {
            self.0.work.work(jobs);
        }
    }

    /// What to do next, or `None` when the thread can end.
    fn next(&self) -> Option<Vec<W::Job>> {
        let shared = &self.0;
        let mut queue = shared.queue();
        loop {
            if !queue.jobs.is_empty() {
                let most = queue.jobs.len().min(W::BATCH);
                return Some(queue.jobs.drain(..most).collect());
            }
            if queue.left_alone {
                return None;
            }
            drop(queue);
            let rest = shared.work.rest();
            queue = shared.queue();
            if !queue.jobs.is_empty() || queue.left_alone {
                continue;
            }
            queue.idle += 1;
            if queue.idle == queue.threads {
                queue.tell_finished();
            }
            let wait = rest.unwrap_or(LINGER);
            let (mut woken, waited) = shared
                .arrived
                .wait_timeout(queue, wait)
                .unwrap_or_else(PoisonError::into_inner);
            woken.idle -= 1;
            if waited.timed_out() && woken.jobs.is_empty() && rest.is_none() {
                return None;
            }
            queue = woken;
        }
    }
}

impl<W: Work> Drop for Seat<W> {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.threads -= 1;
        if queue.jobs.is_empty() {
            if queue.idle == queue.threads {
                queue.tell_finished();
            }
        } else if queue.threads == 0 {
            // The work panicked, or a job arrived at the last moment.
            queue.threads = 1;
            drop(queue);
            self.0.start_thread();
        }
    }
}

/// The error of a job whose answer will not come.
fn lost(name: &str) -> Error {
    Error::new(
        ErrorKind::Unreachable,
        format!("the thread {name:?} could not do it"),
    )
    .with_maybe_applied()
}

/// A crew for whatever blocks, one job at a time on a few threads.
pub(crate) type Blocking = Crew<AnyJob>;

/// Runs closures.
pub(crate) struct AnyJob;

impl Work for AnyJob {
    type Job = Box<dyn FnOnce() + Send>;
    const THREADS: usize = 4;
    const BATCH: usize = 1;

    fn work(&self, jobs: Vec<Self::Job>) {
        for job in jobs {
            job();
        }
    }
}

impl Blocking {
    /// Runs `job` on one of the threads. If nobody waits for it any more, it is left out.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.ask(|answer: oneshot::Sender<Result<T>>| {
            Box::new(move || {
                if !answer.is_canceled() {
                    let _ = answer.send(job());
                }
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_executor::block_on;
    use futures_util::future::join_all;

    use super::*;

    #[derive(Default)]
    struct Adder {
        batches: AtomicUsize,
        jobs: AtomicUsize,
    }

    impl Work for Adder {
        type Job = (usize, oneshot::Sender<Result<usize>>);
        const THREADS: usize = 1;
        const BATCH: usize = 100;

        fn work(&self, jobs: Vec<Self::Job>) {
            self.batches.fetch_add(1, Ordering::SeqCst);
            for (number, answer) in jobs {
                assert!(number != 13, "an unlucky number");
                let before = self.jobs.fetch_add(1, Ordering::SeqCst);
                let _ = answer.send(Ok(before));
            }
        }
    }

    #[test]
    fn jobs_keep_their_order_and_share_batches() {
        let adder = Arc::new(Adder::default());
        let crew = Crew::new("adder", Arc::clone(&adder));
        let asked = (0..1000).map(|n| crew.ask(move |answer| (100 + n, answer)));
        let answers = block_on(join_all(asked));
        let answers: Vec<usize> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, (0..1000).collect::<Vec<_>>());
        assert!(adder.batches.load(Ordering::SeqCst) < 1000);
    }

    #[test]
    fn a_panic_is_an_error_of_its_batch_and_the_next_one_is_done() {
        let crew = Crew::new("panics", Arc::new(Adder::default()));
        let unlucky = block_on(crew.ask(|answer| (13, answer)));
        assert!(unlucky.unwrap_err().is_connection());
        assert_eq!(block_on(crew.ask(|answer| (1, answer))).unwrap(), 0);
        block_on(crew.finish());
        assert!(crew.is_idle());
    }

    #[test]
    fn what_has_arrived_is_done_though_the_crew_is_dropped() {
        let adder = Arc::new(Adder::default());
        let crew = Crew::new("dropped", Arc::clone(&adder));
        let (answer, receiver) = oneshot::channel();
        for number in 100..200 {
            crew.send((number, oneshot::channel().0));
        }
        crew.send((200, answer));
        drop(crew);
        assert_eq!(block_on(receiver).unwrap().unwrap(), 100);
    }

    #[test]
    fn blocking_jobs_run_beside_each_other() {
        let crew = Blocking::new("blocking", Arc::new(AnyJob));
        let (first, second) = std::sync::mpsc::channel();
        let waits = crew.run(move || Ok(second.recv().is_ok()));
        let frees = crew.run(move || Ok(first.send(()).is_ok()));
        let (waited, freed) = block_on(futures_util::future::join(waits, frees));
        assert!(waited.unwrap() && freed.unwrap());
    }
}
