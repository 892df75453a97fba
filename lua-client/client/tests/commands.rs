//! The operator's commands and notices, as they come on the control stream, and the answers to them.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{LONG, Server, Store, drive_until, sessions::Sessions};
use stillpoint_client::{
    CallOptions, Client, Event, SessionState,
    v1::{self, Reason, attach_response::Kind, command_answer::Kind as Answer},
};

fn command(command_id: u64) -> v1::Command {
    v1::Command {
        command_id,
        name: "ping".into(),
        actor: "ann".into(),
        ..Default::default()
    }
}

fn next_event(client: &Client) -> Event {
    assert!(client.poll(LONG) > 0, "no event came");
    client.event().unwrap()
}

/// Waits for an answer to a command.
fn await_answer(sessions: &Sessions, id: u64, is_it: impl Fn(&Answer) -> bool) -> Answer {
    let has_it = |beat: &v1::AttachRequest| {
        let answer = beat.answer.as_ref().filter(|a| a.command_id == id);
        answer
            .and_then(|a| a.kind.clone())
            .filter(|kind| is_it(kind))
    };
    let beat = sessions.await_beat(|beat| has_it(beat).is_some());
    has_it(&beat).unwrap()
}

fn is_delivered(answer: &Answer) -> bool {
    matches!(answer, Answer::Delivered(_))
}

fn value(byte: u8) -> Answer {
    Answer::Value(Bytes::copy_from_slice(&[byte]))
}

#[test]
fn a_command_is_delivered_though_the_program_hangs_and_answered_between_heartbeats() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let sessions = &server.store.sessions;
    // No heartbeat comes in the time of this test.
    sessions.beat_every(LONG * 100);
    let client = server.connect_session();
    sessions.notify(Kind::Command(command(7)));
    await_answer(sessions, 7, is_delivered);
    assert!(client.awaits_answer(7));
    assert_eq!(next_event(&client), Event::Command(command(7)));
    let half = Answer::Progress("half".into());
    assert!(client.answer(7, half.clone()).unwrap());
    // Nobody drives but the background thread.
    await_answer(sessions, 7, |answer| *answer == half);
    assert!(client.answer(7, value(1)).unwrap());
    await_answer(sessions, 7, |answer| *answer == value(1));
    assert!(!client.answer(7, value(2)).unwrap(), "it was answered");
    assert!(!client.answer(8, value(2)).unwrap(), "nobody asked");
    assert!(!client.awaits_answer(7));
}

#[test]
fn a_notice_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect_session();
    let notice = v1::OperatorNotice {
        message: "back at nine".into(),
        ..Default::default()
    };
    server.store.sessions.notify(Kind::Notice(notice.clone()));
    assert_eq!(next_event(&client), Event::Notice(notice));
}

#[test]
fn answers_come_in_order_and_none_is_lost_when_the_session_is_closed_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let sessions = &server.store.sessions;
    sessions.beat_every(LONG * 100);
    let client = server.connect_session();
    const COUNT: u64 = 50;
    for id in 1..=COUNT {
        sessions.notify(Kind::Command(command(id)));
        assert_eq!(next_event(&client), Event::Command(command(id)));
    }
    for id in 1..=COUNT {
        assert!(client.answer(id, value(id as u8)).unwrap());
    }
    client.close_session(true, Duration::ZERO, LONG).unwrap();
    let values: Vec<_> = sessions
        .await_answers(2 * COUNT as usize)
        .into_iter()
        .filter(|answer| !answer.kind.as_ref().is_some_and(is_delivered))
        .map(|answer| answer.command_id)
        .collect();
    assert_eq!(values, (1..=COUNT).collect::<Vec<_>>());
    assert!(!client.answer(COUNT, value(0)).unwrap());
}

#[test]
fn a_command_whose_stream_is_lost_is_not_told_and_its_answer_nobodys() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let sessions = &server.store.sessions;
    let client = server.connect_session();
    sessions.notify(Kind::Command(command(1)));
    assert_eq!(next_event(&client), Event::Command(command(1)));
    sessions.notify(Kind::Command(command(2)));
    await_answer(sessions, 2, is_delivered);
    sessions.cut();
    sessions.await_attached(2);
    drive_until(&client, "the session", || {
        client.session().unwrap().state == SessionState::Attached && !client.awaits_answer(1)
    });
    assert!(!client.answer(1, value(1)).unwrap());
    assert_eq!(client.event(), None);
    assert_eq!(client.poll(Duration::ZERO), 0);
    sessions.notify(Kind::Command(command(3)));
    assert_eq!(next_event(&client), Event::Command(command(3)));
    assert!(client.answer(3, value(3)).unwrap());
    await_answer(sessions, 3, |answer| *answer == value(3));
}

#[test]
fn an_answer_that_no_message_holds_is_refused_and_the_session_stays() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let sessions = &server.store.sessions;
    let client = server.connect_session();
    sessions.notify(Kind::Command(command(1)));
    assert_eq!(next_event(&client), Event::Command(command(1)));
    let large = Answer::Value(vec![0; 1024 * 1024].into());
    let error = client.answer(1, large).unwrap_err();
    assert_eq!(error.reason(), Reason::TooLarge);
    assert!(client.answer(1, value(1)).unwrap());
    await_answer(sessions, 1, |answer| *answer == value(1));
    client
        .call(common::get("1"), CallOptions::default())
        .unwrap();
    assert_eq!(sessions.await_attached(1).len(), 1);
}

#[test]
fn without_a_session_nobody_waits_for_answers() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), "s", &Store::new());
    let client = server.connect();
    assert!(!client.answer(1, value(1)).unwrap());
    assert!(!client.awaits_answer(1));
}
