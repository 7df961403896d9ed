//! Query threads. Long work runs in pieces on a pool of its own, a few pieces at a time, so that
//! short work waits at most for the operating system's scheduler.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use rayon::ThreadPool;

use super::Deadline;
use crate::error::{Error, Result};
use crate::threads::give_way;

/// Pieces of long work in progress at a time: while one finishes on a single core, another uses the
/// rest.
const LONG_AT_A_TIME: usize = 2;
/// Nice value of the threads for long work. Background threads are nicer still.
const NICE: i32 = 2;
/// Interval at which waiting work checks its deadline.
const LOOK: Duration = Duration::from_millis(50);

/// The thread pools that all queries of a database share.
pub(crate) struct QueryThreads {
    short: ThreadPool,
    long: ThreadPool,
    turns: Turns,
}

impl QueryThreads {
    /// Starts two pools of `threads` threads; 0 means the number of cores.
    ///
    /// # Errors
    /// [`Error::Internal`] if no more threads can be started.
    pub fn start(threads: usize) -> Result<Self> {
        let pool = |name: &'static str, nice: i32| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .thread_name(move |index| format!("lanner-{name}-{index}"))
                .start_handler(move |_| {
                    if nice > 0 {
                        give_way(nice)
                    }
                })
                .build()
                .map_err(|error| Error::Internal(format!("cannot start query threads: {error}")))
        };
        Ok(Self { short: pool("query", 0)?, long: pool("long", NICE)?, turns: Turns::default() })
    }

    /// The pool for work of a few milliseconds.
    pub fn short(&self) -> &ThreadPool {
        &self.short
    }

    /// Waits for the turn of a piece of long work; the turn ends when the result is dropped.
    ///
    /// # Errors
    /// As [`Deadline::check`].
    pub fn long(&self, deadline: &Deadline) -> Result<LongTurn<'_>> {
        self.turns.take(deadline)?;
        Ok(LongTurn(self))
    }
}

/// A turn for a piece of long work.
pub(crate) struct LongTurn<'t>(&'t QueryThreads);

impl LongTurn<'_> {
    /// The pool for long work.
    pub fn pool(&self) -> &ThreadPool {
        &self.0.long
    }
}

impl Drop for LongTurn<'_> {
    fn drop(&mut self) {
        self.0.turns.give_back();
    }
}

/// Current and waiting turns, first come, first served.
#[derive(Default)]
struct Turns(Mutex<Line>);

#[derive(Default)]
struct Line {
    at_work: usize,
    asked: u64,
    waiting: VecDeque<(u64, Thread)>,
}

impl Turns {
    fn take(&self, deadline: &Deadline) -> Result<()> {
        let mut line = self.lock();
        if line.waiting.is_empty() && line.at_work < LONG_AT_A_TIME {
            line.at_work += 1;
            return Ok(());
        }
        line.asked += 1;
        let number = line.asked;
        line.waiting.push_back((number, std::thread::current()));
        loop {
            drop(line);
            std::thread::park_timeout(LOOK);
            line = self.lock();
            let Some(place) = line.waiting.iter().position(|(other, _)| *other == number) else {
                return Ok(());
            };
            if let Err(error) = deadline.check() {
                line.waiting.remove(place);
                return Err(error);
            }
        }
    }

    fn give_back(&self) {
        let mut line = self.lock();
        line.at_work -= 1;
        if let Some((_, thread)) = line.waiting.pop_front() {
            line.at_work += 1;
            thread.unpark();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::query::CancelToken;

    #[test]
    fn turns_are_taken_in_their_order_and_given_up_by_who_does_not_wait_any_more() {
        let threads = QueryThreads::start(1).unwrap();
        let mut held: Vec<_> =
            (0..LONG_AT_A_TIME).map(|_| threads.long(&Deadline::NEVER).unwrap()).collect();
        let waiting = || threads.turns.lock().waiting.len();
        let (told, order) = mpsc::channel();
        std::thread::scope(|scope| {
            let gone = CancelToken::new();
            let mut waits = Vec::new();
            for number in 0..4 {
                let (threads, told) = (&threads, told.clone());
                let deadline = match number {
                    1 => Deadline::NEVER.or_cancelled(&gone),
                    _ => Deadline::NEVER,
                };
                waits.push(scope.spawn(move || {
                    let turn = threads.long(&deadline)?;
                    told.send(number).unwrap();
                    drop(turn);
                    Ok::<_, Error>(())
                }));
                while waiting() <= number {
                    std::thread::yield_now();
                }
            }
            gone.cancel();
            let cancelled = waits.remove(1).join().unwrap();
            assert!(matches!(cancelled, Err(Error::QueryCancelled)), "{cancelled:?}");
            assert_eq!(waiting(), 3);
            drop(held.pop());
            waits.into_iter().for_each(|wait| wait.join().unwrap().unwrap());
        });
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [0, 2, 3]);
        drop(held);
        assert_eq!(threads.turns.lock().at_work, 0);
    }
}
