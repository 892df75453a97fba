//! The ledger's rules, one by one, with a clock made by hand.

use super::*;
use stillpoint_proto::v1::op_result::Kind;

const SECOND: Duration = Duration::from_secs(1);

struct Bench {
    ledger: Ledger,
    now: Instant,
    header: v1::ResponseHeader,
}

impl Bench {
    /// A ledger with an open connection that gives so many credits.
    fn new(max_in_flight: u32) -> Self {
        let config = Config {
            queue_max: 100,
            message_bytes_max: 10_000,
            ..Config::new("unix:s", "world1")
        };
        let mut bench = Bench {
            ledger: Ledger::new(&config, 0),
            now: Instant::now(),
            header: v1::ResponseHeader {
                store_id: vec![7; 16].into(),
                incarnation: 1,
                revision: 0,
            },
        };
        bench.open(max_in_flight);
        bench
    }

    fn open(&mut self, max_in_flight: u32) {
        self.ledger.dialling(0, "unix:s".into());
        let limits = v1::PipelineOpened {
            max_in_flight,
            ..Default::default()
        };
        self.ledger.opened(limits, Some(self.header.clone()));
    }

    fn breaks(&mut self) {
        self.ledger.broke(0, "it broke".into(), None);
    }

    fn submit(&mut self, is_write: bool, lane: u64, deadline: Duration) -> u64 {
        let submission = Submission {
            op: vec![0; 10].into(),
            is_write,
            lane,
            durability: 0,
            once: None,
            submitted_at: self.now,
            deadline: self.now + deadline,
            announce: true,
        };
        self.ledger.submit(submission).unwrap()
    }

    fn read(&mut self) -> u64 {
        self.submit(false, 0, SECOND)
    }

    fn write(&mut self) -> u64 {
        self.submit(true, 0, SECOND)
    }

    /// Ids of the next frame, and what its first write says of the first incomplete one.
    fn send(&mut self) -> (Vec<u64>, u64) {
        let items = self
            .ledger
            .next_frame(self.now)
            .map_or(Vec::new(), |frame| frame.items);
        let first_incomplete = items.iter().map(|item| item.first_incomplete).max();
        (
            items.iter().map(|item| item.id).collect(),
            first_incomplete.unwrap_or(0),
        )
    }

    fn sent(&mut self) -> Vec<u64> {
        self.send().0
    }

    fn answer(&mut self, id: u64, kind: Kind) {
        let frame = v1::PipelineResponse {
            results: vec![v1::PipelineResult {
                id,
                result: Some(v1::OpResult { kind: Some(kind) }),
            }],
            ..Default::default()
        };
        self.ledger.answered(frame, self.now);
    }

    fn succeed(&mut self, id: u64) {
        self.answer(id, Kind::Get(v1::GetResult::default()));
    }

    fn refuse(&mut self, id: u64, reason: Reason) {
        self.answer(id, Kind::Error(StoreError::new(reason, "busy")));
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.ledger.expire(self.now);
    }

    fn error(&mut self, id: u64) -> StoreError {
        self.ledger.take(id).unwrap().unwrap_err()
    }
}

#[test]
fn a_broken_connection_sends_again_in_the_order_of_submission() {
    let mut bench = Bench::new(3);
    let ids: Vec<u64> = (0..5).map(|_| bench.write()).collect();
    assert_eq!(bench.sent(), ids[..3]);
    bench.succeed(ids[1]);
    assert_eq!(bench.sent(), ids[3..4]);
    bench.breaks();
    assert_eq!(bench.sent(), []);
    bench.succeed(ids[0]);
    assert!(bench.ledger.take(ids[0]).is_none(), "an answer from before");
    bench.open(9);
    assert_eq!(bench.sent(), [ids[0], ids[2], ids[3], ids[4]]);
}

#[test]
fn what_may_have_been_applied_is_not_repeated_to_another_incarnation() {
    let mut bench = Bench::new(10);
    let (read, write) = (bench.read(), bench.write());
    bench.sent();
    bench.breaks();
    let unsent = bench.write();
    bench.header.incarnation = 2;
    bench.open(10);
    let error = bench.error(write);
    assert_eq!(error.reason(), Reason::WrongIncarnation);
    assert!(error.maybe_applied);
    assert_eq!(bench.sent(), [read, unsent]);
}

#[test]
fn an_answer_after_the_deadline_gives_back_its_credit_and_only_once() {
    let mut bench = Bench::new(1);
    let late = bench.submit(false, 0, SECOND);
    let next = bench.submit(false, 0, 5 * SECOND);
    let last = bench.submit(false, 0, 5 * SECOND);
    assert_eq!(bench.sent(), [late]);
    bench.pass(SECOND);
    assert_eq!(bench.sent(), [], "the server still has it");
    bench.succeed(late);
    bench.succeed(late);
    assert_eq!(bench.sent(), [next]);
    assert_eq!(bench.sent(), []);
    bench.succeed(next);
    assert_eq!(bench.sent(), [last]);
    assert_eq!(
        bench.error(late).message,
        "no answer within 1s: sent to unix:s, no answer"
    );
}

#[test]
fn the_store_may_forget_what_has_an_outcome_and_is_never_sent_again() {
    let mut bench = Bench::new(9);
    let (first, second) = (
        bench.submit(true, 0, SECOND),
        bench.submit(true, 0, 9 * SECOND),
    );
    assert_eq!(bench.send(), (vec![first, second], 1));
    bench.succeed(second);
    let third = bench.submit(true, 0, 9 * SECOND);
    assert_eq!(bench.send(), (vec![third], 1));
    bench.pass(SECOND);
    assert!(bench.error(first).maybe_applied);
    let fourth = bench.submit(true, 0, 9 * SECOND);
    assert_eq!(bench.send(), (vec![fourth], 3));
}

#[test]
fn maybe_applied_means_that_bytes_went_out_and_were_not_refused() {
    let mut bench = Bench::new(9);
    let (refused, unknown) = (bench.write(), bench.write());
    bench.sent();
    bench.refuse(refused, Reason::RateLimited);
    bench.breaks();
    let unsent = bench.write();
    bench.pass(SECOND);
    assert!(!bench.error(refused).maybe_applied);
    assert!(!bench.error(unsent).maybe_applied);
    let error = bench.error(unknown);
    assert!(error.maybe_applied);
    assert_eq!(error.message, "no answer within 1s: it broke");
}

#[test]
fn a_refused_operation_pauses_the_sending_and_then_goes_first() {
    let mut bench = Bench::new(2);
    let ids: Vec<u64> = (0..4).map(|_| bench.read()).collect();
    assert_eq!(bench.sent(), ids[..2]);
    bench.refuse(ids[0], Reason::RateLimited);
    assert_eq!(bench.sent(), [], "it pauses");
    let due = bench.ledger.due().unwrap();
    assert_eq!(due, bench.now + PAUSE_MIN);
    bench.pass(PAUSE_MIN);
    assert_eq!(bench.sent(), [ids[0]]);
    bench.refuse(ids[0], Reason::Unavailable);
    bench.pass(PAUSE_MIN);
    assert_eq!(bench.sent(), [], "the second pause is longer");
    bench.pass(PAUSE_MIN);
    assert_eq!(bench.sent(), [ids[0]]);
}

#[test]
fn a_refused_operation_is_not_repeated_after_a_later_one_of_its_lane() {
    let mut bench = Bench::new(9);
    let (first, second) = (bench.submit(true, 7, SECOND), bench.submit(true, 7, SECOND));
    bench.sent();
    bench.refuse(first, Reason::RateLimited);
    assert_eq!(bench.error(first).reason(), Reason::RateLimited);
    bench.refuse(second, Reason::RateLimited);
    bench.pass(PAUSE_MIN);
    assert_eq!(bench.sent(), [second]);
}

#[test]
fn a_refusal_of_the_session_says_that_the_write_was_not_applied_before() {
    // The store looks into its table of answers first.
    for (reason, maybe_applied) in [
        (Reason::Fenced, false),
        (Reason::NotOwner, false),
        (Reason::SessionExpired, false),
        (Reason::Compacted, false),
        (Reason::ReadOnly, true),
    ] {
        let mut bench = Bench::new(9);
        let write = bench.write();
        bench.sent();
        bench.breaks();
        bench.open(9);
        bench.sent();
        bench.refuse(write, reason);
        let error = bench.error(write);
        assert_eq!(error.reason(), reason);
        assert_eq!(error.maybe_applied, maybe_applied, "{reason:?}");
    }
}

#[test]
fn what_the_caller_has_to_decide_is_not_repeated() {
    for reason in [Reason::VersionConflict, Reason::ReadOnly, Reason::Quota] {
        let mut bench = Bench::new(9);
        let id = bench.write();
        bench.sent();
        bench.refuse(id, reason);
        assert_eq!(bench.error(id).reason(), reason);
    }
}

#[test]
fn a_server_that_comes_back_with_less_room_refuses_what_is_too_large_for_it() {
    let mut bench = Bench::new(9);
    bench.breaks();
    let (large, small) = (
        bench.ledger.submit(Submission {
            op: vec![0; 2000].into(),
            is_write: true,
            lane: 0,
            durability: 0,
            once: None,
            submitted_at: bench.now,
            deadline: bench.now + SECOND,
            announce: true,
        }),
        bench.write(),
    );
    let limits = v1::PipelineOpened {
        max_in_flight: 9,
        max_message_bytes: 1000,
        ..Default::default()
    };
    bench.ledger.opened(limits, None);
    assert_eq!(bench.sent(), [small]);
    assert_eq!(bench.error(large.unwrap()).reason(), Reason::TooLarge);
}

#[test]
fn ids_of_operations_taken_without_being_told_do_not_pile_up() {
    let mut bench = Bench::new(1000);
    let kept = bench.read();
    bench.sent();
    bench.succeed(kept);
    for _ in 0..10_000 {
        let id = bench.read();
        bench.sent();
        bench.succeed(id);
        bench.ledger.take(id).unwrap().unwrap();
    }
    assert!(bench.ledger.untold.len() <= UNTOLD_SPARE + 2);
    assert_eq!(bench.ledger.next(), Some(kept));
    assert_eq!(bench.ledger.next(), None);
}

#[test]
fn a_reopened_connection_shortens_deadlines_to_the_stores_memory() {
    let mut bench = Bench::new(9);
    bench.breaks();
    let (write, read) = (
        bench.submit(true, 0, 9 * SECOND),
        bench.submit(false, 0, 9 * SECOND),
    );
    let limits = v1::PipelineOpened {
        dedup_window_ms: 4000,
        ..Default::default()
    };
    bench.ledger.opened(limits, None);
    assert_eq!(bench.ledger.due(), Some(bench.now + 2 * SECOND));
    bench.pass(2 * SECOND);
    assert_eq!(bench.error(write).reason(), Reason::DeadlineExceeded);
    assert!(bench.ledger.take(read).is_none());
}
