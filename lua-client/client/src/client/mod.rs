//! The client as its users see it.

mod home;
mod session;
mod watch;

use std::{
    io,
    os::fd::RawFd,
    sync::Arc,
    time::{Duration, Instant},
};

use stillpoint_proto::{
    name,
    v1::{self, Reason, StoreError},
};

use self::home::Home;
use crate::{
    SessionState,
    config::{CallOptions, Config},
    driver::Driver,
    endpoint::Endpoint,
    error, fork,
    ledger::{Submission, Want},
    sigpipe,
    spin::Wait,
    wire,
};

/// What an operation came to.
pub type Outcome = Result<Reply, StoreError>;

/// The answer to an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Where the answer comes from.
    pub header: v1::ResponseHeader,
    /// The answer; never `Error`.
    pub kind: v1::op_result::Kind,
}

/// What the client knows of its connection.
#[derive(Clone, Debug)]
pub struct Info {
    /// The server's limits, as of the newest connection.
    pub limits: v1::PipelineOpened,
    /// The newest header seen.
    pub header: v1::ResponseHeader,
    /// Whether the connection stands, as far as known: a loss is noticed only while somebody drives.
    pub connected: bool,
    /// The endpoint connected to, or tried last.
    pub endpoint: String,
}

/// A connection to the store. Clones share it, from any thread; when the last one is dropped, what was not sent is lost
/// (see [`close`](Client::close)).
///
/// A forked child may go on using its copy: it gets a connection of its own at the first use, and knows nothing of the
/// operations its parent had in flight.
#[derive(Clone, Debug)]
pub struct Client {
    home: Arc<Home>,
}

impl Client {
    /// Connects; returns once the store has answered, and the session, if there is to be one, is held. The error names the
    /// endpoints, what is wrong with each, and the remedy; if another process holds the session (NOT_OWNER), it names that
    /// one.
    pub fn connect(config: Config) -> Result<Client, StoreError> {
        let invalid = |message| StoreError::new(Reason::Invalid, message);
        name::check_name("namespace", &config.namespace).map_err(invalid)?;
        if config.endpoints.is_empty() {
            return Err(invalid(
                "no endpoint to connect to: name one, e.g. `unix:./stillpoint-data/stillpoint.sock`".into(),
            ));
        }
        let endpoints = config
            .endpoints
            .iter()
            .map(|text| Endpoint::parse(text))
            .collect::<Result<_, _>>()?;
        fork::watch();
        sigpipe::ignore();
        let client = Client {
            home: Arc::new(Home::new(config, endpoints)?),
        };
        client.wait_for_connection()?;
        Ok(client)
    }

    /// Queues an operation and returns its id. Never blocks; the operation is sent with the next `wait`, `poll` or `call`,
    /// or by the background thread within about 20 ms.
    ///
    /// Fails at once if the operation alone is over the limit of a message (TOO_LARGE), if too many wait to be sent
    /// (RATE_LIMITED), or if the client is closed (UNAVAILABLE).
    pub fn submit(&self, op: v1::Op, options: CallOptions) -> Result<u64, StoreError> {
        let driver = self.driver()?;
        let submission = submission(driver, &op, options, true);
        let mut ledger = driver.shared.ledger.lock();
        let id = ledger.submit(submission)?;
        driver.queued(ledger);
        Ok(id)
    }

    /// Waits for an operation, driving the connection from this thread. `None`: not done within `timeout`, or the id is
    /// unknown (never given, taken or forgotten).
    pub fn wait(&self, id: u64, timeout: Duration) -> Option<Outcome> {
        let driver = self.driver().ok()?;
        let (deadline, wait) = {
            let ledger = driver.shared.ledger.lock();
            let slot = ledger.get(id)?;
            (slot.deadline, Wait::of(slot.sequence > 0))
        };
        // Its own deadline ends an operation; a timer of ours is needed only before that.
        let until = Instant::now()
            .checked_add(timeout)
            .filter(|&until| until < deadline);
        // Another thread may take it meanwhile.
        driver.drive(Want::Operation(id), wait, until, |ledger| {
            match ledger.get(id) {
                Some(_) => ledger.take(id).map(Some),
                None => Some(None),
            }
        })?
    }

    /// Takes an operation's outcome if it is done, without driving.
    pub fn take(&self, id: u64) -> Option<Outcome> {
        self.driver().ok()?.shared.ledger.lock().take(id)
    }

    /// The next operation that is done, each told once, in order of completion; its outcome is then there to `take`.
    /// Only of operations submitted with [`submit`](Client::submit) and not taken yet. Does not drive.
    #[allow(clippy::should_implement_trait)] // An iterator would need `&mut self` and promise an end.
    pub fn next(&self) -> Option<u64> {
        self.driver().ok()?.shared.ledger.lock().next()
    }

    /// Drives until `next` or `event` would return something, or `timeout`; returns how much they would return. A `timeout` of
    /// zero sends what is queued and takes in what has arrived.
    pub fn poll(&self, timeout: Duration) -> usize {
        let Ok(driver) = self.driver() else { return 0 };
        // Completions that nobody fetches must not keep back what is queued.
        let until = match driver.shared.ledger.lock().news() {
            0 => Instant::now().checked_add(timeout),
            _ => Some(Instant::now()),
        };
        let news = driver.drive(Want::News, Wait::Poll, until, |ledger| {
            let news = ledger.news();
            (news > 0 && !ledger.has_unsent()).then_some(news)
        });
        news.unwrap_or_else(|| driver.shared.ledger.lock().news())
    }

    /// Whether an operation's outcome can still be had: it was submitted in this process, and neither taken nor forgotten.
    pub fn knows(&self, id: u64) -> bool {
        self.driver()
            .is_ok_and(|driver| driver.shared.ledger.lock().get(id).is_some())
    }

    /// Drops the interest in an operation: it is still sent, but its outcome is neither told nor kept.
    pub fn forget(&self, id: u64) {
        if let Ok(driver) = self.driver() {
            driver.shared.ledger.lock().forget(id);
        }
    }

    /// Submits and waits until done; the deadline bounds it. `next` does not tell of it.
    pub fn call(&self, op: v1::Op, options: CallOptions) -> Outcome {
        let driver = self.driver()?;
        let submission = submission(driver, &op, options, false);
        let wait = Wait::of(submission.is_write);
        let id = driver.shared.ledger.lock().submit(submission)?;
        driver
            .drive(Want::Operation(id), wait, None, |ledger| ledger.take(id))
            .unwrap_or_else(|| Err(error::closed(true)))
    }

    /// A file descriptor that is readable while `next` or `event` would return something. It belongs to the client, which alone may
    /// read from or close it. From the first call on, completions arrive without anybody driving.
    pub fn wake_fd(&self) -> io::Result<RawFd> {
        let driver = self.driver().map_err(io::Error::other)?;
        let mut ledger = driver.shared.ledger.lock();
        let fd = ledger.signal()?.fd();
        ledger.seat.hosted = true;
        driver.queued(ledger);
        Ok(fd)
    }

    /// What the client knows of its connection.
    pub fn info(&self) -> Info {
        let link = match self.driver() {
            Ok(driver) => driver.shared.ledger.lock().link().clone(),
            Err(_) => crate::ledger::Link::default(),
        };
        Info {
            limits: link.limits,
            header: link.header,
            connected: link.open,
            endpoint: link.endpoint,
        }
    }

    /// Waits for everything submitted, then closes the connection; every later operation is refused. If `timeout` comes
    /// first, what is left fails, and so does this. Outcomes can still be taken.
    pub fn close(&self, timeout: Duration) -> Result<(), StoreError> {
        let driver = self.driver()?;
        let until = Instant::now().checked_add(timeout);
        driver.drive(Want::Idle, Wait::Long, until, |ledger| {
            (ledger.pending() == 0).then_some(())
        });
        let (left, maybe_applied) = driver.shared.ledger.lock().close();
        driver.close();
        match left {
            0 => Ok(()),
            n => Err(error::deadline_exceeded(
                timeout,
                &format!("the client was closed with {n} operations unfinished"),
                maybe_applied,
            )),
        }
    }

    fn wait_for_connection(&self) -> Result<(), StoreError> {
        let driver = self.driver()?;
        let config = &driver.shared.config;
        let round = config.endpoints.len();
        let patient_until = Instant::now() + config.connect_patience;
        let session_wait = config.session.as_ref().map_or(Duration::ZERO, |s| s.wait);
        // A round over the endpoints takes no longer than an operation may.
        let until = patient_until + session_wait + config.deadline;
        let opened = driver.drive(Want::Link, Wait::Long, Some(until), |ledger| {
            let link = ledger.link();
            let held = ledger.session.as_ref();
            match held.map(|held| (held, held.info.state)) {
                Some((_, SessionState::Detached)) => return None,
                Some((held, SessionState::Fenced)) => return Some(Err(held.fenced())),
                _ if link.open => return Some(Ok(())),
                _ => {}
            }
            if let Some(fatal) = &link.fatal {
                return Some(Err(fatal.clone()));
            }
            let is_over = link.failures >= round && Instant::now() >= patient_until;
            is_over.then(|| Err(StoreError::new(Reason::Unavailable, link.cause())))
        });
        opened.unwrap_or_else(|| {
            let ledger = driver.shared.ledger.lock();
            let cause = match &ledger.session {
                Some(held) => format!("the session is open, but not held: {}", held.cause),
                None => ledger.link().cause(),
            };
            Err(StoreError::new(Reason::Unavailable, cause))
        })
    }

    fn driver(&self) -> Result<&Driver, StoreError> {
        self.home.driver()
    }
}

/// An operation with all that holds for it.
fn submission(driver: &Driver, op: &v1::Op, options: CallOptions, announce: bool) -> Submission {
    let now = Instant::now();
    let deadline = options.deadline.unwrap_or(driver.shared.config.deadline);
    Submission {
        op: wire::encode_within(op, deadline),
        is_write: wire::is_write(op),
        lane: options.lane,
        durability: options.durability.into(),
        once: options.once,
        submitted_at: now,
        // A deadline beyond what the clock can say is none to speak of.
        deadline: now.checked_add(deadline).unwrap_or(now + DEADLINE_MAX),
        announce,
    }
}

/// What a deadline too long for the clock becomes.
const DEADLINE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
