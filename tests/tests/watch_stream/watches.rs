//! Those who watch, each in its own way, until they have been told everything.

use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rand::{Rng, rngs::StdRng};
use stillpoint_client::{
    CallOptions, Client, Config,
    v1::{Op, SetCursorOp, WatchRequest, WatchResponse, op::Kind, watch_request::Start},
};

use crate::{
    account::{Account, Begin, Place},
    truth::Truth,
};

/// How long a watch may be silent: far longer than the second after which a bookmark is due, as servers are killed.
const SILENCE: Duration = Duration::from_secs(30);

/// What is watched.
pub fn of(collection: &str, prefix: &str, key: &str) -> WatchRequest {
    WatchRequest {
        collection: collection.into(),
        prefix: prefix.to_owned().into(),
        key: key.to_owned().into(),
        ..WatchRequest::default()
    }
}

/// The same, from somewhere else than now.
pub fn from(start: Start, request: WatchRequest) -> WatchRequest {
    WatchRequest {
        start: Some(start),
        ..request
    }
}

/// The watches of a test and what they told.
pub struct Watches<'a> {
    config: &'a Config,
    truth: &'a Truth,
    accounts: Mutex<Vec<Account>>,
}

impl<'a> Watches<'a> {
    /// None yet.
    pub fn new(config: &'a Config, truth: &'a Truth) -> Self {
        Watches {
            config,
            truth,
            accounts: Mutex::default(),
        }
    }

    /// What they told.
    pub fn into_accounts(self) -> Vec<Account> {
        self.accounts.into_inner()
    }

    /// Keeps one watch open until it has told all; before each message it waits for so many commits more. A start that the
    /// request has is behind the revision `after`.
    pub fn steadily(&self, name: &str, request: WatchRequest, after: u64, lag: usize) {
        let client = self.connect();
        let begin = match (&request.start, request.snapshot) {
            (Some(_), _) => Begin::After(after),
            (None, false) => Begin::Now(self.truth.newest()),
            (None, true) => Begin::Snapshot(self.truth.newest()),
        };
        self.follow(&client, Account::new(name, request, begin), lag);
    }

    /// Watches all that a session, which writes, has not done itself.
    pub fn of_others(&self, own: &Client) {
        let request = WatchRequest {
            skip_own: true,
            ..of("", "", "")
        };
        let session = own.session().expect("it has a session").id;
        let begin = Begin::Now(self.truth.newest());
        let account = Account::new("of others", request, begin).without(&session);
        self.follow(own, account, 0);
    }

    /// Opens a watch again and again where the last one was, after a few messages each.
    pub fn reopening(&self, mut random: StdRng) {
        let client = self.connect();
        let begin = Begin::Now(self.truth.newest());
        let mut account = Account::new("reopened", of("", "", ""), begin);
        loop {
            let id = open(&client, &account);
            for _ in 0..random.random_range(1..6) {
                account.take(next(&client, id));
            }
            client.unwatch(id);
            let place = account.place().clone();
            let request = from(Start::Position(place.position), account.request().clone());
            if self.keep(account) {
                return;
            }
            account = Account::new("reopened", request, Begin::After(place.revision));
        }
    }

    /// Watches from a durable cursor with one client after the other, each of which moves it before it goes.
    pub fn by_cursor(&self, mut random: StdRng) {
        let cursor = "a place to remember";
        let request = from(Start::Cursor(cursor.into()), of("", "", ""));
        // There is no such cursor yet.
        let mut begin = Begin::Now(self.truth.newest());
        loop {
            let client = self.connect();
            let mut account = Account::new("by cursor", request.clone(), begin);
            let id = open(&client, &account);
            for _ in 0..random.random_range(1..40) {
                account.take(next(&client, id));
            }
            let place = account.place().clone();
            set_cursor(&client, cursor, place.position);
            begin = Begin::After(place.revision);
            // What it takes behind the cursor is told again to the next one.
            account.take(next(&client, id));
            if self.keep(account) {
                return;
            }
        }
    }

    fn follow(&self, client: &Client, mut account: Account, lag: usize) {
        let id = open(client, &account);
        account.take(next(client, id));
        while !self.has_all(&account) {
            self.truth.wait_for(self.truth.count() + lag);
            account.take(next(client, id));
        }
        client.unwatch(id);
        self.keep(account);
    }

    /// Keeps an account; whether it has told all.
    fn keep(&self, account: Account) -> bool {
        let has_all = self.has_all(&account);
        self.accounts.lock().push(account);
        has_all
    }

    fn has_all(&self, account: &Account) -> bool {
        let place = account.places().last();
        let last = self.truth.last();
        place.is_some_and(|place| last.is_some_and(|last| place.revision >= last))
    }

    fn connect(&self) -> Client {
        Client::connect(self.config.clone()).expect("the server comes back")
    }
}

/// Where a watch of everything stands that begins now.
pub fn here(config: &Config) -> Place {
    let client = Client::connect(config.clone()).expect("the server is there");
    let mut account = Account::new("here", of("", "", ""), Begin::Now(0));
    let id = open(&client, &account);
    account.take(next(&client, id));
    account.place().clone()
}

/// Moves a durable cursor.
pub fn set_cursor(client: &Client, name: &str, position: Bytes) {
    let op = SetCursorOp {
        name: name.to_owned().into(),
        position,
    };
    let op = Op {
        kind: Some(Kind::SetCursor(op)),
    };
    let moved = client.call(op, CallOptions::default());
    moved.expect("the cursor is moved");
}

/// A watch's next message.
pub fn next(client: &Client, id: u64) -> WatchResponse {
    let heard = client.watch_wait(id, SILENCE);
    let heard = heard.expect("a watch is never silent for long");
    heard.expect("a watch never ends by itself")
}

fn open(client: &Client, account: &Account) -> u64 {
    let opened = client.watch(account.request().clone());
    opened.expect("the client is open")
}
