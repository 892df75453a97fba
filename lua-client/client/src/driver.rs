//! Who waits, drives: the client's runtime has no thread of its own.
//!
//! A thread that waits runs the runtime with `block_on` until what it waits for is there, so an answer is read by the
//! thread that wants it. Of several, tokio lets one drive and hands over when it leaves. Where `spin` says that it pays, a
//! thread spins for a moment before it sleeps.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use stillpoint_proto::v1::{self, StoreError};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::AbortHandle,
};

use crate::{
    Config,
    background::Background,
    clock, connection,
    endpoint::Endpoint,
    error,
    ledger::{Ledger, Want},
    session,
    shared::Shared,
    spin::{Wait, Waits},
    watch,
};

/// A runtime, the tasks on it, and the means to drive it.
#[derive(Debug)]
pub(crate) struct Driver {
    pub shared: Arc<Shared>,
    /// End with the client.
    tasks: Vec<AbortHandle>,
    /// Taken out only when dropped.
    runtime: Option<Arc<Runtime>>,
    background: Background,
    waits: Waits,
}

/// How long closing waits for the connections to be gone, and how long it drives at a time.
const HANG_UP_MAX: Duration = Duration::from_millis(100);
const TURN: Duration = Duration::from_millis(1);

/// Room for the ids of one process: with some thousand generations they stay below 2^53, which every Lua can count to.
const GENERATION_SHIFT: u32 = 40;

impl Driver {
    /// Starts to connect, as soon as somebody drives.
    ///
    /// Ids of operations begin anew in each `generation` of forked processes, far from those of the others, so that a child
    /// never takes an operation of its parent for its own.
    pub fn new(
        config: Config,
        endpoints: Vec<Endpoint>,
        generation: u64,
    ) -> Result<Self, StoreError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| error::internal("cannot set up the client's event loop", &e))?;
        let ledger = Ledger::new(&config, generation << GENERATION_SHIFT);
        let waits = Waits::new(config.spin_max);
        let shared = Arc::new(Shared::new(config, endpoints, ledger));
        let connection = runtime.spawn(connection::run(shared.clone()));
        let clock = runtime.spawn(clock::run(shared.clone()));
        let mut tasks = vec![connection.abort_handle(), clock.abort_handle()];
        if shared.config.session.is_some() {
            let control = runtime.spawn(session::control::run(shared.clone()));
            tasks.push(control.abort_handle());
        }
        Ok(Driver {
            shared,
            tasks,
            runtime: Some(Arc::new(runtime)),
            background: Background::default(),
            waits,
        })
    }

    /// Drives until `ready` gives something, or until the time is up (`None`: never). Even with no time left, what can be
    /// sent is sent and what has arrived is taken in.
    pub fn drive<T>(
        &self,
        want: Want,
        wait: Wait,
        until: Option<Instant>,
        mut ready: impl FnMut(&mut Ledger) -> Option<T>,
    ) -> Option<T> {
        let mut ledger = self.shared.ledger.lock();
        if let Some(out) = ready(&mut ledger) {
            return Some(out);
        }
        if Handle::try_current().is_ok() {
            drop(ledger);
            return self.wait_as_guest(want, until, ready);
        }
        ledger.seat.enter();
        let is_alone = ledger.seat.callers == 1;
        drop(ledger);
        let _left = OnLeave(self);
        let begun = Instant::now();
        let spin = self.waits.spin(wait).filter(|_| is_alone);
        let spin_until = spin.map_or(begun, |spin| begun + spin);
        let out = self.block_on(want, spin_until, until, ready);
        if out.is_some() && is_alone {
            self.waits.record(wait, spin.is_some(), begun.elapsed());
        }
        out
    }

    fn block_on<T>(
        &self,
        want: Want,
        spin_until: Instant,
        until: Option<Instant>,
        mut ready: impl FnMut(&mut Ledger) -> Option<T>,
    ) -> Option<T> {
        // One to send, one to read what that or the time before brought.
        let mut passes_owed = 2;
        let mut ticket = 0;
        let timer = async {
            match until {
                Some(until) => tokio::time::sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        let mut timer = pin!(timer);
        self.runtime().block_on(poll_fn(|cx| {
            let mut ledger = self.shared.ledger.lock();
            if let Some(out) = ready(&mut ledger) {
                ledger.waiters.leave(ticket);
                return Poll::Ready(Some(out));
            }
            ledger.flush();
            ticket = ledger.waiters.enter(ticket, want, cx.waker());
            drop(ledger);
            let now = Instant::now();
            let is_late = until.is_some_and(|until| until <= now);
            if is_late && passes_owed == 0 {
                self.shared.ledger.lock().waiters.leave(ticket);
                return Poll::Ready(None);
            }
            if is_late || now < spin_until {
                passes_owed -= passes_owed.min(1);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            timer.as_mut().poll(cx).map(|()| {
                self.shared.ledger.lock().waiters.leave(ticket);
                None
            })
        }))
    }

    /// Waits on a thread of another runtime, which must not drive ours: the background thread does.
    fn wait_as_guest<T>(
        &self,
        want: Want,
        until: Option<Instant>,
        mut ready: impl FnMut(&mut Ledger) -> Option<T>,
    ) -> Option<T> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut ticket = 0;
        let mut ledger = self.shared.ledger.lock();
        ledger.seat.guests += 1;
        self.background
            .call_in(ledger, &self.shared, self.runtime());
        let out = loop {
            ledger = self.shared.ledger.lock();
            let out = ready(&mut ledger);
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if out.is_some() || left == Some(Duration::ZERO) {
                break out;
            }
            ledger.flush();
            ticket = ledger.waiters.enter(ticket, want, &waker);
            drop(ledger);
            match left {
                Some(left) => thread::park_timeout(left),
                None => thread::park(),
            }
        };
        ledger.waiters.leave(ticket);
        ledger.seat.guests -= 1;
        out
    }

    /// After something was queued: sees to it that it is sent even if the caller does not drive.
    pub fn queued(&self, mut ledger: parking_lot::MutexGuard<'_, Ledger>) {
        if ledger.seat.is_driven() {
            ledger.flush();
        } else {
            self.background
                .call_in(ledger, &self.shared, self.runtime());
        }
    }

    /// Begins a watch and returns its id.
    pub fn watch(&self, request: v1::WatchRequest) -> Result<u64, StoreError> {
        let mut ledger = self.shared.ledger.lock();
        if ledger.is_closed() {
            return Err(error::closed(false));
        }
        let id = ledger.watches.open();
        ledger.events.want();
        ledger.attend();
        let task = watch::run(self.shared.clone(), id, request);
        let task = self.runtime().spawn(task).abort_handle();
        ledger.watches.set_task(id, task);
        self.background
            .call_in(ledger, &self.shared, self.runtime());
        Ok(id)
    }

    /// Ends a watch; the last one takes their connection with it.
    pub fn unwatch(&self, id: u64) {
        let mut ledger = self.shared.ledger.lock();
        ledger.unwatch(id);
        if ledger.watches.is_empty() {
            self.shared.line.hang_up();
        }
    }

    /// Ends the connection and the background thread, after the ledger was closed.
    pub fn close(&self) {
        // A turn to end the stream of frames.
        self.turn(Instant::now());
        self.tasks.iter().for_each(AbortHandle::abort);
        self.shared.line.hang_up();
        // Then as many as it takes until the connections are gone, whose tasks are not ours to end.
        let late = Instant::now() + HANG_UP_MAX;
        while self.runtime().metrics().num_alive_tasks() > 0 && Instant::now() < late {
            self.turn(Instant::now() + TURN);
        }
        self.background.stop(&self.shared);
    }

    /// Sends what can be sent and takes in what arrives until then.
    fn turn(&self, until: Instant) {
        self.drive(Want::Idle, Wait::Long, Some(until), |_| None::<()>);
    }

    fn runtime(&self) -> &Arc<Runtime> {
        self.runtime.as_ref().expect("taken only when dropped")
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.background.stop(&self.shared);
        // The thread had the only other reference. Shutting down so is allowed within another runtime, too.
        if let Some(runtime) = self.runtime.take().and_then(Arc::into_inner) {
            runtime.shutdown_background();
        }
    }
}

/// Gives the seat back, even if the caller panics.
struct OnLeave<'a>(&'a Driver);

impl Drop for OnLeave<'_> {
    fn drop(&mut self) {
        self.0
            .background
            .caller_left(&self.0.shared, self.0.runtime());
    }
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
