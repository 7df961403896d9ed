//! The background threads, and the selection of the next piece of work.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Instant;

use rayon::ThreadPool;

use crate::error::{Error, Result};
use crate::threads::give_way;

/// Kinds of work, most urgent first. Each lane of a collection runs sequentially.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Seals points in memory; writers may be waiting.
    Seal,
    /// Merges segments.
    Merge,
    /// Builds indexes.
    Index,
    /// Verifies files against their checksums.
    Verify,
}

impl Lane {
    /// All lanes.
    pub const ALL: [Self; 4] = [Self::Seal, Self::Merge, Self::Index, Self::Verify];
}

/// The lanes of each thread. Any piece of work may train for minutes: whatever one collection does,
/// each lane still has a thread for another. These few threads only coordinate; the pools do the
/// heavy work.
const THREADS: [&[Lane]; 7] = [
    &[Lane::Seal],
    &[Lane::Seal],
    &[Lane::Seal, Lane::Merge],
    &[Lane::Merge],
    &[Lane::Merge, Lane::Index],
    &[Lane::Index],
    &[Lane::Verify],
];
/// Nice value of background threads whose work nobody waits for, relative to queries, where
/// supported: if queries use all cores, they get a quarter of a shared core.
const NICE: i32 = 5;
/// Maximum number of threads for work that is not urgent.
const CALM: usize = 4;

/// A source of work: a collection.
pub trait Work: Send + Sync {
    /// Runs the next piece of work of a lane, and returns when to ask for more.
    fn run(&self, lane: Lane) -> Next;

    /// Called after [`Self::run`] panicked.
    fn panicked(&self, lane: Lane);
}

/// When there may be more work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Possibly now.
    Now,
    /// At this time, or earlier on request.
    At(Instant),
    /// On request.
    WhenAsked,
}

/// The background threads of a database.
pub struct Scheduler {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    pool: ThreadPool,
    urgent: ThreadPool,
    calm: ThreadPool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Signals that work is ready or a collection has left.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    members: BTreeMap<u32, Member>,
    /// Collections with requested work, by lane, in order of request.
    ready: BTreeMap<Lane, VecDeque<u32>>,
    later: BTreeSet<(Instant, Lane, u32)>,
    over: bool,
}

struct Member {
    work: Weak<dyn Work>,
    asked: BTreeSet<Lane>,
    running: BTreeSet<Lane>,
    is_leaving: bool,
}

impl Member {
    fn new(work: Weak<dyn Work>) -> Self {
        let (asked, running) = (BTreeSet::new(), BTreeSet::new());
        Self { work, asked, running, is_leaving: false }
    }
}

impl Queue {
    fn ask(&mut self, number: u32, lane: Lane) {
        let member = self.members.get_mut(&number).filter(|member| !member.is_leaving);
        let Some(member) = member else { return };
        if member.asked.insert(lane) && !member.running.contains(&lane) {
            self.ready.entry(lane).or_default().push_back(number);
        }
    }

    /// Takes the next piece of work from some lanes.
    fn take(&mut self, lanes: &[Lane], now: Instant) -> Option<(u32, Lane, Weak<dyn Work>)> {
        while let Some(&(at, lane, number)) = self.later.first().filter(|(at, ..)| *at <= now) {
            self.later.remove(&(at, lane, number));
            self.ask(number, lane);
        }
        for &lane in lanes {
            while let Some(number) = self.ready.get_mut(&lane).and_then(VecDeque::pop_front) {
                let Some(member) = self.members.get_mut(&number) else { continue };
                member.asked.remove(&lane);
                member.running.insert(lane);
                return Some((number, lane, member.work.clone()));
            }
        }
        None
    }

    fn finish(&mut self, number: u32, lane: Lane, next: Next) {
        let Some(member) = self.members.get_mut(&number) else { return };
        member.running.remove(&lane);
        if member.is_leaving {
            return;
        }
        if member.asked.contains(&lane) {
            self.ready.entry(lane).or_default().push_back(number);
        }
        match next {
            Next::Now => self.ask(number, lane),
            Next::At(at) => drop(self.later.insert((at, lane, number))),
            Next::WhenAsked => {}
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No foreign code runs under the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, lanes: &[Lane]) {
        let mut queue = self.lock();
        while !queue.over {
            let now = Instant::now();
            let Some((number, lane, work)) = queue.take(lanes, now) else {
                let next = queue.later.first().map(|(at, ..)| at.saturating_duration_since(now));
                queue = match next {
                    Some(pause) => {
                        let woken = self.changed.wait_timeout(queue, pause);
                        woken.unwrap_or_else(PoisonError::into_inner).0
                    }
                    None => self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
                };
                continue;
            };
            drop(queue);
            let next = work.upgrade().map_or(Next::WhenAsked, |work| {
                catch_unwind(AssertUnwindSafe(|| work.run(lane))).unwrap_or_else(|_| {
                    work.panicked(lane);
                    Next::Now
                })
            });
            queue = self.lock();
            queue.finish(number, lane, next);
            self.changed.notify_all();
        }
    }
}

impl Scheduler {
    /// Starts the threads, and pools of `pool_threads` threads for parallel work; 0 for one per
    /// core.
    ///
    /// # Errors
    /// [`Error::Internal`] if no more threads can be started.
    pub fn start(pool_threads: usize) -> Result<Self> {
        let none = |error: &dyn std::fmt::Display| {
            Error::Internal(format!("cannot start background threads: {error}"))
        };
        let pool = |name: &'static str, threads: usize, nice: Option<i32>| {
            let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let builder = builder.thread_name(move |index| format!("lanner-{name}-{index}"));
            let builder = builder.start_handler(move |_| nice.into_iter().for_each(give_way));
            builder.build().map_err(|error| none(&error))
        };
        let work = pool("work", pool_threads, Some(NICE))?;
        let urgent = pool("urgent", pool_threads, None)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let most = if pool_threads == 0 { cores } else { pool_threads };
        let calm = pool("calm", most.min(CALM), Some(NICE))?;
        let (shared, threads) = (Arc::<Shared>::default(), Mutex::default());
        let scheduler = Self { shared: shared.clone(), threads, pool: work, urgent, calm };
        for (index, lanes) in THREADS.into_iter().enumerate() {
            let shared = shared.clone();
            let work = move || {
                if lanes == [Lane::Merge] || lanes == [Lane::Verify] {
                    give_way(NICE);
                }
                shared.work(lanes);
            };
            let name = format!("lanner-job-{index}");
            let thread = std::thread::Builder::new().name(name).spawn(work);
            let thread = thread.map_err(|error| {
                scheduler.end();
                none(&error)
            })?;
            scheduler.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(scheduler)
    }

    /// The pool for parallel background work, with low priority.
    pub fn pool(&self) -> &ThreadPool {
        &self.pool
    }

    /// The pool, with normal priority, for work that writers wait for or that relieves queries
    /// occupying all cores.
    pub fn urgent_pool(&self) -> &ThreadPool {
        &self.urgent
    }

    /// A small pool for improvements that are not urgent, which rest while queries run.
    pub fn calm_pool(&self) -> &ThreadPool {
        &self.calm
    }

    /// Registers a collection's work under its number.
    pub fn join(&self, number: u32, work: Weak<dyn Work>) {
        self.shared.lock().members.insert(number, Member::new(work));
        self.ask(number, &Lane::ALL);
    }

    /// Requests lanes of a collection that may have work.
    pub fn ask(&self, number: u32, lanes: &[Lane]) {
        let mut queue = self.shared.lock();
        lanes.iter().for_each(|&lane| queue.ask(number, lane));
        self.shared.changed.notify_all();
    }

    /// Removes a collection, after its work in progress.
    pub fn leave(&self, number: u32) {
        let mut queue = self.shared.lock();
        let Some(member) = queue.members.get_mut(&number) else { return };
        member.is_leaving = true;
        member.asked.clear();
        queue.ready.values_mut().for_each(|ready| ready.retain(|&other| other != number));
        queue.later.retain(|&(_, _, other)| other != number);
        while queue.members.get(&number).is_some_and(|member| !member.running.is_empty()) {
            queue = self.shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.members.remove(&number);
    }

    /// Ends the threads, after their work in progress.
    pub fn end(&self) {
        self.shared.lock().over = true;
        self.shared.changed.notify_all();
        let threads = self.threads.lock().map(|mut threads| std::mem::take(&mut *threads));
        for thread in threads.unwrap_or_default() {
            if thread.join().is_err() {
                tracing::error!("a background thread panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Reports each run, and waits to be told its result.
    struct Told {
        begun: mpsc::Sender<(u32, Lane)>,
        number: u32,
        next: Mutex<mpsc::Receiver<Next>>,
        panics: Mutex<u32>,
    }

    impl Work for Told {
        fn run(&self, lane: Lane) -> Next {
            self.begun.send((self.number, lane)).unwrap();
            let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).recv();
            next.expect("the test goes on")
        }

        fn panicked(&self, _: Lane) {
            *self.panics.lock().unwrap() += 1;
        }
    }

    fn told(number: u32, begun: &mpsc::Sender<(u32, Lane)>) -> (Arc<Told>, mpsc::Sender<Next>) {
        let (next, receiver) = mpsc::channel();
        let (next_of, panics) = (Mutex::new(receiver), Mutex::new(0));
        (Arc::new(Told { begun: begun.clone(), number, next: next_of, panics }), next)
    }

    fn member(work: &Arc<Told>) -> Member {
        Member::new(Arc::downgrade(&(work.clone() as Arc<dyn Work>)))
    }

    #[test]
    fn the_most_urgent_comes_first_and_a_lane_of_one_does_one_thing() {
        let (begun, _told) = mpsc::channel();
        let (mut queue, now) = (Queue::default(), Instant::now());
        for number in [1, 2] {
            queue.members.insert(number, member(&told(number, &begun).0));
        }
        queue.ask(1, Lane::Index);
        queue.ask(1, Lane::Merge);
        queue.ask(2, Lane::Merge);
        queue.ask(2, Lane::Merge);
        let take = |queue: &mut Queue, lanes: &[Lane], now| {
            queue.take(lanes, now).map(|(number, lane, _)| (number, lane))
        };
        assert_eq!(take(&mut queue, &[Lane::Seal], now), None, "others' work is not taken");
        assert_eq!(take(&mut queue, &Lane::ALL, now), Some((1, Lane::Merge)));
        queue.ask(1, Lane::Merge);
        assert_eq!(take(&mut queue, &Lane::ALL, now), Some((2, Lane::Merge)), "asked twice: once");
        assert_eq!(take(&mut queue, &Lane::ALL, now), Some((1, Lane::Index)), "another lane");
        assert_eq!(take(&mut queue, &Lane::ALL, now), None, "what runs has to end first");
        queue.finish(1, Lane::Merge, Next::WhenAsked);
        assert_eq!(take(&mut queue, &Lane::ALL, now), Some((1, Lane::Merge)), "asked meanwhile");
        let later = now + Duration::from_secs(5);
        queue.finish(1, Lane::Merge, Next::At(later));
        queue.finish(2, Lane::Merge, Next::WhenAsked);
        assert_eq!(take(&mut queue, &Lane::ALL, now), None);
        assert_eq!(take(&mut queue, &Lane::ALL, later), Some((1, Lane::Merge)));
    }

    #[test]
    fn sealing_does_not_wait_for_others_and_leaving_waits_for_what_runs() {
        let (begun, events) = mpsc::channel();
        let scheduler = Scheduler::start(3).unwrap();
        let pools = [scheduler.pool(), scheduler.urgent_pool()];
        assert_eq!(pools.map(ThreadPool::current_num_threads), [3, 3]);
        let (one, next_of_one) = told(1, &begun);
        scheduler.shared.lock().members.insert(1, member(&one));
        scheduler.ask(1, &[Lane::Index]);
        assert_eq!(events.recv(), Ok((1, Lane::Index)));
        let (two, next_of_two) = told(2, &begun);
        scheduler.shared.lock().members.insert(2, member(&two));
        scheduler.ask(2, &[Lane::Merge]);
        assert_eq!(events.recv(), Ok((2, Lane::Merge)));
        scheduler.ask(2, &[Lane::Seal]);
        assert_eq!(events.recv(), Ok((2, Lane::Seal)));
        std::thread::scope(|scope| {
            let left = scope.spawn(|| scheduler.leave(2));
            while !scheduler.shared.lock().members[&2].is_leaving {
                std::thread::yield_now();
            }
            for _ in 0..2 {
                next_of_two.send(Next::Now).unwrap();
            }
            left.join().unwrap();
        });
        assert_eq!(events.try_recv(), Err(mpsc::TryRecvError::Empty), "it has left");
        // A panic is reported, and the thread continues.
        drop(next_of_one);
        while *one.panics.lock().unwrap() == 0 {
            std::thread::yield_now();
        }
        scheduler.leave(1);
        scheduler.end();
    }
}
