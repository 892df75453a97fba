//! The session: opening, keeping, losing and closing it.

mod common;

use std::{
    collections::BTreeMap,
    os::fd::RawFd,
    panic::AssertUnwindSafe,
    time::{Duration, Instant},
};

use common::{LONG, Server, Store, drive_until, get, put};
use stillpoint_client::{
    CallOptions, Client, Config, Event, SessionConfig, SessionState,
    v1::{self, Reason, attach_response::Kind},
};

fn state(client: &Client) -> SessionState {
    client.session().unwrap().state
}

/// The events that are there, without driving.
fn events(client: &Client) -> Vec<Event> {
    std::iter::from_fn(|| client.event()).collect()
}

fn next_event(client: &Client) -> Event {
    assert!(client.poll(LONG) > 0, "no event came");
    client.event().unwrap()
}

fn release_wanted() -> v1::ReleaseWanted {
    v1::ReleaseWanted {
        wanted_by: "battle/battle-4".into(),
        within_ms: 500,
        ..Default::default()
    }
}

fn fenced() -> v1::Fenced {
    v1::Fenced {
        message: "the session has a successor".into(),
        fence: 20,
        holder: "another".into(),
    }
}

/// Whether the descriptor is readable, or becomes so within the time.
fn is_readable(fd: RawFd, timeout: Duration) -> bool {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: `poll` is one valid entry, and lives during the call.
    let ready = unsafe { libc::poll(&raw mut poll, 1, timeout.as_millis() as i32) };
    ready == 1
}

#[test]
fn the_session_stands_before_the_first_operation_and_behind_all_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = Client::connect(Config {
        session: Some(SessionConfig {
            ttl: Duration::from_secs(7),
            wait: Duration::from_millis(30),
            labels: BTreeMap::from([("zone".into(), "eu".into())]),
            code_version: "1.4.2".into(),
            schemas: BTreeMap::from([("player".into(), 0)]),
            ..SessionConfig::new("battle", "battle-3")
        }),
        ..server.session_config()
    })
    .unwrap();
    let session = client.session().unwrap();
    assert_eq!(session.id, "battle/battle-3/1");
    assert_eq!(
        (session.service, session.instance),
        ("battle".into(), "battle-3".into())
    );
    assert_eq!((session.fence, session.claims), (10, 7));
    assert_eq!(&*session.resume_token, b"token");
    assert_eq!(session.ttl, Duration::from_secs(10));
    assert_eq!((session.succeeded, session.gap), (false, Duration::ZERO));
    assert_eq!(session.state, SessionState::Attached);

    let [opened] = &server.store.sessions.opened()[..] else {
        panic!("opened twice");
    };
    assert_eq!(opened.context.as_ref().unwrap().namespace, "world1");
    assert_eq!((opened.ttl_ms, opened.wait_ms), (7000, 30));
    assert_eq!(opened.labels["zone"], "eu");
    assert_eq!(opened.schemas, [("player".into(), 0)].into());
    assert_eq!(
        (&*opened.code_version, &*opened.client_name),
        ("1.4.2", "lua")
    );

    let attached = server.store.sessions.await_attached(1);
    for context in [&server.store.openings()[0].context, &attached[0].context] {
        let context = context.as_ref().unwrap();
        assert_eq!(context.namespace, "world1");
        assert_eq!(context.session_id, "battle/battle-3/1");
        assert_eq!(context.fence, 10);
    }
    assert_eq!(
        server.store.openings()[0].client_name,
        "battle/battle-3 lua"
    );
}

#[test]
fn a_session_that_another_holds_is_refused_and_the_holder_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let first = server.connect_session();
    let patient = Config {
        connect_patience: LONG,
        ..server.session_config()
    };
    let refused = Client::connect(patient).unwrap_err();
    assert_eq!(refused.reason(), Reason::NotOwner);
    assert_eq!(refused.holder, "lua");
    assert_eq!(refused.message, "the session is held by lua");
    assert_eq!(server.store.sessions.opened().len(), 2, "tried again");
    assert_eq!(state(&first), SessionState::Attached);

    let second = Client::connect(Config {
        session: Some(SessionConfig {
            takeover: true,
            ..SessionConfig::new("battle", "battle-3")
        }),
        ..server.session_config()
    });
    let session = second.unwrap().session().unwrap();
    assert!(session.succeeded);
    assert_eq!(session.gap, Duration::from_millis(40));
    assert!(session.fence > first.session().unwrap().fence);
}

fn speaking(server: &Server, schemas: &[(&str, u32)]) -> Config {
    let schemas = schemas
        .iter()
        .map(|(name, version)| ((*name).into(), *version));
    Config {
        connect_patience: LONG,
        session: Some(SessionConfig {
            schemas: schemas.collect(),
            ..SessionConfig::new("battle", "battle-3")
        }),
        ..server.session_config()
    }
}

#[test]
fn a_store_that_is_behind_what_the_program_speaks_refuses_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let newer = speaking(&server, &[("player", 3)]);
    let refused = Client::connect(newer.clone()).unwrap_err();
    assert_eq!(refused.reason(), Reason::SchemaUnsupported);
    assert_eq!(
        refused.message,
        "player has no version 3: run `stillpoint migrate apply`"
    );
    assert!(!refused.retryable && !refused.maybe_applied, "{refused:?}");
    assert_eq!(server.store.sessions.opened().len(), 1, "tried again");
    server.store.sessions.migrate_to(3);
    let client = Client::connect(newer).unwrap();
    assert_eq!(state(&client), SessionState::Attached);
}

#[test]
fn a_session_that_has_to_be_opened_again_speaks_the_same_versions() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    server.store.sessions.migrate_to(3);
    server.store.sessions.lose_openings(2);
    let _client = Client::connect(speaking(&server, &[("player", 3), ("shop", 1)])).unwrap();
    let opened = server.store.sessions.opened();
    assert_eq!(opened.len(), 3);
    for request in opened {
        let spoken = [("player".into(), 3), ("shop".into(), 1)];
        assert_eq!(request.schemas, spoken.into());
    }
}

#[test]
fn heartbeats_come_while_the_program_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect_session();
    server.store.sessions.await_beats(20);
    let since = Instant::now();
    client.set_unsaved(2, Some(since));
    let beat = server
        .store
        .sessions
        .await_beat(|beat| beat.unsaved_documents == 2 && beat.oldest_unsaved_ms >= 20);
    assert!(Duration::from_millis(beat.oldest_unsaved_ms) <= since.elapsed());
    client.set_unsaved(0, None);
    server
        .store
        .sessions
        .await_beat(|beat| beat.unsaved_documents == 0);
    // Blocking calls take over from the background thread and give back to it.
    for _ in 0..100 {
        client.call(get("1"), CallOptions::default()).unwrap();
    }
    server.store.sessions.await_beats(20);
}

#[test]
fn a_lost_control_stream_is_attached_anew_with_the_same_fence() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect_session();
    for n in 2..5 {
        server.store.sessions.cut();
        // Nobody drives but the background thread.
        let attached = server.store.sessions.await_attached(n);
        assert_eq!(attached[n - 1].context, attached[0].context);
    }
    drive_until(&client, "the session", || {
        state(&client) == SessionState::Attached
    });
    assert_eq!(server.store.sessions.opened().len(), 1);
    assert_eq!(events(&client), [], "operations were not interrupted");
}

#[test]
fn a_restarted_server_has_the_session_back_and_each_event_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new();
    let mut server = Server::start(dir.path(), "s", &store);
    let client = server.connect_session();
    for n in 2..5 {
        drop(server);
        drive_until(&client, "the loss", || {
            state(&client) == SessionState::Detached && !client.info().connected
        });
        store.restored();
        server = Server::start(dir.path(), "s", &store);
        store.sessions.await_attached(n);
        client.call(put("1", "x"), CallOptions::default()).unwrap();
        drive_until(&client, "the session", || {
            state(&client) == SessionState::Attached
        });
        let incarnation = n as u64;
        assert_eq!(
            events(&client),
            [Event::Restored { incarnation }, Event::Reconnected]
        );
    }
    let openings = store.openings();
    assert_eq!(openings.len(), 4);
    for opening in &openings {
        assert_eq!(opening.context, openings[0].context);
    }
    assert_eq!(store.sessions.opened().len(), 1);
}

#[test]
fn a_fenced_session_is_told_once_and_not_attached_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new();
    let mut server = Server::start(dir.path(), "s", &store);
    let client = server.connect_session();
    store.sessions.notify(Kind::Fenced(fenced()));
    assert_eq!(next_event(&client), Event::Fenced(fenced()));
    assert_eq!(state(&client), SessionState::Fenced);

    // A new connection is the time at which it would be attached.
    drop(server);
    drive_until(&client, "the loss", || !client.info().connected);
    server = Server::start(dir.path(), "s", &store);
    for _ in 0..10 {
        client.call(put("1", "x"), CallOptions::default()).unwrap();
    }
    assert_eq!(store.sessions.await_attached(1).len(), 1);
    assert_eq!(events(&client), [Event::Reconnected]);
    let context = server.store.openings()[1].context.clone().unwrap();
    assert_eq!(context.fence, 10, "writes still say who they are from");
    let error = client.close_session(false, LONG, LONG).unwrap_err();
    assert_eq!(error.reason(), Reason::Fenced);
}

#[test]
fn an_attach_that_is_refused_is_the_end_of_the_session() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect_session();
    server.store.sessions.succeed();
    server.store.sessions.cut();
    let Event::Fenced(fenced) = next_event(&client) else {
        panic!("not fenced");
    };
    assert_eq!(fenced.message, "the session has a successor");
    assert_eq!(state(&client), SessionState::Fenced);
    client.call(get("1"), CallOptions::default()).unwrap();
    assert_eq!(events(&client), []);
    assert_eq!(server.store.sessions.await_attached(2).len(), 2);
}

#[test]
fn an_event_counts_in_poll_and_raises_the_descriptor() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect_session();
    let fd = client.wake_fd().unwrap();
    assert!(!is_readable(fd, Duration::ZERO));
    let notices = [
        Kind::ReleaseWanted(release_wanted()),
        Kind::ClaimLost(v1::ClaimLost::default()),
        Kind::TimerFired(v1::TimerFired::default()),
        Kind::ShuttingDown(v1::ShuttingDown::default()),
    ];
    for notice in notices {
        server.store.sessions.notify(notice);
    }
    assert!(is_readable(fd, LONG));
    drive_until(&client, "all events", || client.poll(Duration::ZERO) == 4);
    let told = events(&client);
    assert_eq!(told[0], Event::ReleaseWanted(release_wanted()));
    assert!(matches!(told[1], Event::ClaimLost(_)));
    assert!(matches!(told[2], Event::TimerFired(_)));
    assert!(matches!(told[3], Event::ShuttingDown(_)));
    assert!(!is_readable(fd, Duration::ZERO));
    assert_eq!(client.poll(Duration::ZERO), 0);
}

#[test]
fn notices_that_nobody_takes_are_bounded_and_none_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect_session();
    const COUNT: u64 = 600;
    let store = server.store.clone();
    let sender = std::thread::spawn(move || {
        for due_ms in 0..COUNT {
            store.sessions.notify(Kind::TimerFired(v1::TimerFired {
                due_ms,
                payload: vec![0; 100_000].into(),
                ..Default::default()
            }));
        }
    });
    // The session is kept alive meanwhile.
    server.store.sessions.await_beats(5);
    for due_ms in 0..COUNT {
        let Event::TimerFired(timer) = next_event(&client) else {
            panic!("not a timer");
        };
        assert_eq!(timer.due_ms, due_ms);
    }
    sender.join().unwrap();
}

#[test]
fn who_never_asks_for_events_is_not_kept_from_waiting_by_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new();
    let server = Server::start(dir.path(), "s", &store);
    let client = server.connect();
    drop(server);
    drive_until(&client, "the loss", || !client.info().connected);
    let _server = Server::start(dir.path(), "s", &store);
    client.call(get("1"), CallOptions::default()).unwrap();
    assert_eq!(client.poll(Duration::ZERO), 0);
}

#[test]
fn a_forked_child_has_no_session() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect_session();
    let watch = client.watch(v1::WatchRequest::default()).unwrap();
    // SAFETY: the child only uses the client, which is made for that, and leaves with `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let has_session = client.session().is_some();
            let has_watch = !matches!(client.watch_take(watch), Some(Err(_)));
            let put = client.call(put("2", "y"), CallOptions::default()).is_ok();
            let closes = client.close_session(false, LONG, LONG).is_ok();
            !has_session && !has_watch && put && !closes && client.event().is_none()
        }));
        drop(client);
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(if matches!(outcome, Ok(true)) { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: `child` is a child of this process, `status` is valid during the call.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child has what is its parent's");
    let context = server.store.openings()[1].context.clone().unwrap();
    assert_eq!((&*context.session_id, context.fence), ("", 0));
    server.store.sessions.await_beats(5);
    assert_eq!(state(&client), SessionState::Attached);
}

#[test]
fn closing_the_session_waits_for_what_is_pending() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect_session();
    server.hold();
    let id = client
        .submit(put("1", "x"), CallOptions::default())
        .unwrap();
    let late = client
        .close_session(true, LONG, Duration::from_millis(1))
        .unwrap_err();
    assert_eq!(late.reason(), Reason::DeadlineExceeded);
    assert_eq!(state(&client), SessionState::Attached);
    assert_eq!(server.store.sessions.closed(), []);
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| client.close_session(true, Duration::from_secs(3), LONG));
        server.release();
        closing.join().unwrap().unwrap();
    });
    client.take(id).unwrap().unwrap();
    let [(request, revision)] = &server.store.sessions.closed()[..] else {
        panic!("not closed once");
    };
    assert_eq!(*revision, 1, "closed before the write was applied");
    assert_eq!((request.keep_claims, request.linger_ms), (true, 3000));
    assert_eq!(request.context.as_ref().unwrap().fence, 10);
    assert_eq!(state(&client), SessionState::Closed);
    client.close_session(true, LONG, LONG).unwrap();
    assert_eq!(server.store.sessions.closed().len(), 1);
    assert_eq!(events(&client), []);
}

#[test]
fn a_session_whose_closing_was_not_answered_is_closed_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect_session();
    server.store.sessions.lose_closings(1);
    client.close_session(false, Duration::ZERO, LONG).unwrap();
    assert_eq!(state(&client), SessionState::Closed);
    assert_eq!(events(&client), [], "nobody took it away");
}

#[test]
fn without_a_session_there_is_none_to_close() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect();
    assert!(client.session().is_none());
    let error = client.close_session(false, LONG, LONG).unwrap_err();
    assert_eq!(error.reason(), Reason::Invalid);
}
