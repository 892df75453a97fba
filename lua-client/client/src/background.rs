//! The thread that drives when nobody else does.
//!
//! It is started when something is submitted or a file descriptor is asked for while no thread drives, and where there is a
//! session to keep alive or a watch to read. Once driving, it stays in `epoll` until a caller wants to drive, and leaves at
//! once; so a program without those that only ever makes blocking calls never has it, and one that mixes both pays for the
//! change of hands once per burst, not per call.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Poll, Waker},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::runtime::Runtime;

use crate::{ledger::Ledger, shared::Shared};

/// How long a connection with work on it may stay undriven.
const UNDRIVEN_MAX: Duration = Duration::from_millis(20);

/// How long one without work may: until then there is nothing to do but to answer the server's keepalive.
const IDLE_UNDRIVEN_MAX: Duration = Duration::from_secs(1);

/// How long one that has to be attended to may: heartbeats have to be sent, notices and changes to be taken in.
const ATTENDED_UNDRIVEN_MAX: Duration = Duration::from_millis(50);

/// Who drives the runtime. Part of the ledger, so under its mutex.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    /// Threads that drive, or wait for the one that does.
    pub callers: usize,
    /// Threads that wait but cannot drive, because they belong to another runtime.
    pub guests: usize,
    /// An event loop watches the file descriptor: completions have to arrive without any caller.
    pub hosted: bool,
    /// There is a session or a watch, which need somebody to drive though nothing is pending.
    pub attended: bool,
    /// When a caller drove last, or when work came after a time without any.
    driven_at: Option<Instant>,
    thread: Thread,
    /// Makes the background thread leave.
    displace: Option<Waker>,
    stop: bool,
}

/// What the background thread does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Thread {
    #[default]
    Absent,
    /// Sleeps long; it has to be rung when work comes.
    Dozing,
    /// Sleeps briefly.
    Watching,
    Driving,
}

enum Turn {
    Drive,
    Sleep(Duration, Thread),
}

impl Seat {
    /// Whether some thread drives.
    pub fn is_driven(&self) -> bool {
        self.callers > 0 || self.thread == Thread::Driving
    }

    /// A caller begins to drive; the background thread has to leave.
    pub fn enter(&mut self) {
        self.callers += 1;
        if let Some(displace) = self.displace.take() {
            displace.wake();
        }
    }

    fn wanted_at_once(&self, has_work: bool) -> bool {
        self.guests > 0 || self.hosted && has_work
    }

    fn turn(&self, has_work: bool, now: Instant) -> Turn {
        if self.callers > 0 {
            return Turn::Sleep(UNDRIVEN_MAX, Thread::Watching);
        }
        if self.wanted_at_once(has_work) {
            return Turn::Drive;
        }
        let (undriven_max, sleep) = match has_work {
            true => (UNDRIVEN_MAX, Thread::Watching),
            false if self.attended => (ATTENDED_UNDRIVEN_MAX, Thread::Dozing),
            false => (IDLE_UNDRIVEN_MAX, Thread::Dozing),
        };
        let undriven = self.driven_at.map_or(Duration::ZERO, |at| now - at);
        match undriven_max.checked_sub(undriven) {
            None | Some(Duration::ZERO) => Turn::Drive,
            Some(left) => Turn::Sleep(left, sleep),
        }
    }
}

/// The thread, once there is one.
#[derive(Debug, Default)]
pub(crate) struct Background {
    handle: parking_lot::Mutex<Option<JoinHandle<()>>>,
}

impl Background {
    /// A caller no longer drives.
    pub fn caller_left(&self, shared: &Arc<Shared>, runtime: &Arc<Runtime>) {
        let mut ledger = shared.ledger.lock();
        ledger.seat.callers -= 1;
        ledger.seat.driven_at = Some(Instant::now());
        let seat = &ledger.seat;
        let is_missed = seat.attended && seat.thread == Thread::Absent;
        if seat.callers == 0 && (is_missed || ledger.has_work()) {
            self.call_in(ledger, shared, runtime);
        }
    }

    /// Work came while nobody drives: has the thread look after it, starting it if need be.
    pub fn call_in(
        &self,
        mut ledger: parking_lot::MutexGuard<'_, Ledger>,
        shared: &Arc<Shared>,
        runtime: &Arc<Runtime>,
    ) {
        let seat = &mut ledger.seat;
        match seat.thread {
            _ if seat.stop => {}
            Thread::Absent => {
                seat.thread = Thread::Watching;
                seat.driven_at = Some(Instant::now());
                drop(ledger);
                self.start(shared, runtime);
            }
            Thread::Dozing => {
                seat.thread = Thread::Watching;
                seat.driven_at = Some(Instant::now());
                shared.bell.notify_one();
            }
            Thread::Watching if seat.wanted_at_once(true) => {
                shared.bell.notify_one();
            }
            Thread::Watching | Thread::Driving => {}
        }
    }

    /// Ends the thread and waits for it.
    pub fn stop(&self, shared: &Shared) {
        {
            let mut ledger = shared.ledger.lock();
            ledger.seat.stop = true;
            if let Some(displace) = ledger.seat.displace.take() {
                displace.wake();
            }
            shared.bell.notify_all();
        }
        let handle = self.handle.lock().take();
        if let Some(handle) = handle
            && handle.join().is_err()
        {
            tracing::error!("the background thread panicked");
        }
    }

    fn start(&self, shared: &Arc<Shared>, runtime: &Arc<Runtime>) {
        let (for_thread, runtime) = (shared.clone(), runtime.clone());
        let started = thread::Builder::new()
            .name("stillpoint".into())
            .spawn(move || run(&for_thread, &runtime));
        match started {
            Ok(handle) => *self.handle.lock() = Some(handle),
            Err(error) => {
                // Callers that wait drive by themselves; the next submission tries again.
                tracing::warn!(%error, "no background thread");
                shared.ledger.lock().seat.thread = Thread::Absent;
            }
        }
    }
}

/// The thread's main loop.
fn run(shared: &Arc<Shared>, runtime: &Runtime) {
    let mut ledger = shared.ledger.lock();
    while !ledger.seat.stop {
        let has_work = ledger.has_work();
        match ledger.seat.turn(has_work, Instant::now()) {
            Turn::Sleep(time, thread) => {
                ledger.seat.thread = thread;
                shared.bell.wait_for(&mut ledger, time);
            }
            Turn::Drive => {
                ledger.seat.thread = Thread::Driving;
                ledger.flush();
                drop(ledger);
                drive_until_displaced(shared, runtime);
                ledger = shared.ledger.lock();
                ledger.seat.thread = Thread::Watching;
            }
        }
    }
}

fn drive_until_displaced(shared: &Shared, runtime: &Runtime) {
    runtime.block_on(poll_fn(|cx| {
        let seat = &mut shared.ledger.lock().seat;
        if seat.stop || seat.callers > 0 {
            seat.displace = None;
            return Poll::Ready(());
        }
        seat.displace = Some(cx.waker().clone());
        Poll::Pending
    }));
}
