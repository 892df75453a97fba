//! The checker, checked: histories known to be linearizable or not, and random ones against a search without any wit.

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{Call, Model, Verdict, check};

/// A number that can be written, read, and added to.
struct Register;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Write(i64),
    Read,
    /// Answers with the sum.
    Add(i64),
}

impl Model for Register {
    type State = i64;
    type Op = Op;
    type Answer = i64;

    fn initial(&self) -> i64 {
        0
    }

    fn step(&self, state: &i64, op: &Op, answer: Option<&i64>) -> Option<i64> {
        let next = match op {
            Op::Write(value) => *value,
            Op::Read => *state,
            Op::Add(delta) => state + delta,
        };
        answer.is_none_or(|&answer| answer == next).then_some(next)
    }
}

type RegisterCall = Call<Op, i64>;

fn write(value: i64, invoked: u64, answered: u64) -> RegisterCall {
    call(Op::Write(value), invoked, answered, value)
}

fn read(value: i64, invoked: u64, answered: u64) -> RegisterCall {
    call(Op::Read, invoked, answered, value)
}

fn add(delta: i64, sum: i64, invoked: u64, answered: u64) -> RegisterCall {
    call(Op::Add(delta), invoked, answered, sum)
}

fn call(op: Op, invoked: u64, answered: u64, answer: i64) -> RegisterCall {
    let answered = Some((answered, answer));
    Call {
        op,
        invoked,
        answered,
    }
}

fn unanswered(op: Op, invoked: u64) -> RegisterCall {
    Call {
        op,
        invoked,
        answered: None,
    }
}

fn verdict(history: &[RegisterCall]) -> Verdict<i64> {
    check(&Register, history, 100_000)
}

fn accepts(history: &[RegisterCall]) {
    let verdict = verdict(history);
    assert!(
        matches!(verdict, Verdict::Linearizable { .. }),
        "{verdict:?}"
    );
}

fn refuses(history: &[RegisterCall]) {
    let verdict = verdict(history);
    assert!(matches!(verdict, Verdict::Refused(_)), "{verdict:?}");
}

#[test]
fn nothing_happened() {
    accepts(&[]);
}

#[test]
fn one_after_the_other() {
    accepts(&[
        write(1, 0, 1),
        read(1, 2, 3),
        add(2, 3, 4, 5),
        read(3, 6, 7),
    ]);
}

#[test]
fn concurrent_writes_take_effect_in_any_order() {
    accepts(&[
        write(1, 0, 20),
        write(2, 0, 20),
        write(3, 0, 20),
        read(3, 1, 2),
        read(2, 3, 4),
        read(1, 5, 6),
    ]);
}

#[test]
fn an_answer_and_an_invocation_at_the_same_time_are_concurrent() {
    accepts(&[write(1, 0, 5), read(0, 5, 6)]);
    refuses(&[write(1, 0, 4), read(0, 5, 6)]);
}

#[test]
fn a_value_from_nowhere_is_refused() {
    refuses(&[write(1, 0, 1), read(42, 2, 3)]);
}

#[test]
fn a_stale_read_is_refused() {
    refuses(&[write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)]);
}

#[test]
fn a_read_that_goes_back_is_refused() {
    // The write may be seen before its answer, but then by everybody who asks later.
    refuses(&[write(1, 0, 10), read(1, 1, 2), read(0, 3, 4)]);
}

#[test]
fn a_lost_update_is_refused() {
    refuses(&[add(1, 1, 0, 10), add(1, 1, 0, 10)]);
    accepts(&[add(1, 1, 0, 10), add(1, 2, 0, 10)]);
}

#[test]
fn an_order_against_real_time_is_refused() {
    // Each client alone, and all values, would allow 2 before 1.
    refuses(&[add(1, 2, 0, 1), add(1, 1, 2, 3)]);
}

#[test]
fn a_write_without_an_answer_takes_effect_at_any_time_later() {
    let lost = unanswered(Op::Write(7), 0);
    accepts(&[lost.clone(), read(7, 1, 2)]);
    accepts(&[
        lost,
        read(0, 1, 2),
        write(1, 3, 4),
        read(1, 5, 6),
        read(7, 7, 8),
    ]);
}

#[test]
fn a_write_without_an_answer_may_take_no_effect() {
    accepts(&[
        unanswered(Op::Write(7), 0),
        read(0, 1, 2),
        write(1, 3, 4),
        read(1, 5, 6),
    ]);
}

#[test]
fn a_write_without_an_answer_takes_no_effect_before_its_invocation() {
    refuses(&[read(7, 1, 2), unanswered(Op::Write(7), 3)]);
}

#[test]
fn a_write_without_an_answer_takes_effect_once() {
    refuses(&[unanswered(Op::Add(5), 0), read(5, 1, 2), read(10, 3, 4)]);
    accepts(&[
        unanswered(Op::Add(5), 0),
        unanswered(Op::Add(5), 0),
        read(5, 1, 2),
        read(10, 3, 4),
    ]);
}

#[test]
fn a_refusal_tells_how_far_it_came() {
    let history = [write(1, 0, 1), read(1, 2, 3), read(9, 4, 5), read(1, 6, 7)];
    let Verdict::Refused(furthest) = verdict(&history) else {
        panic!("it is refused");
    };
    assert_eq!(furthest.done, [0, 1]);
    assert_eq!(furthest.state, 1);
    assert_eq!(furthest.stuck, [2]);
}

#[test]
fn a_search_over_its_bound_is_undecided() {
    // Each of 2^30 sums could be what there was before the read.
    let mut history: Vec<_> = (0..30).map(|i| unanswered(Op::Add(1 << i), 0)).collect();
    history.push(read(-1, 1, 2));
    assert_eq!(check(&Register, &history, 1000), Verdict::Undecided);
}

#[test]
fn a_long_history_is_decided_within_a_bound() {
    let mut random = StdRng::seed_from_u64(1);
    let history = simulated(&mut random, 8, 4000, 1000);
    let verdict = check(&Register, &history, 1_000_000);
    assert!(
        matches!(verdict, Verdict::Linearizable { .. }),
        "{verdict:?}"
    );
}

#[test]
fn small_histories_are_decided_as_by_trying_every_order() {
    let (mut accepted, mut refused) = (0, 0);
    for seed in 0..6000 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut history = simulated(&mut random, 3, 6, 3);
        if random.random() {
            spoil(&mut random, &mut history);
        }
        let expected = some_order_explains(&history);
        match verdict(&history) {
            Verdict::Linearizable { .. } => assert!(expected, "seed {seed}: {history:?}"),
            Verdict::Refused(_) => assert!(!expected, "seed {seed}: {history:?}"),
            Verdict::Undecided => panic!("seed {seed}: {history:?}"),
        }
        *if expected {
            &mut accepted
        } else {
            &mut refused
        } += 1;
    }
    assert!(
        accepted > 1000 && refused > 1000,
        "{accepted} accepted, {refused} refused"
    );
}

/// What clients would see of a register that does each call at a moment between invocation and answer; one call in
/// `unanswered_in` is never answered, and done only half the time.
fn simulated(
    random: &mut StdRng,
    clients: usize,
    calls: usize,
    unanswered_in: u32,
) -> Vec<RegisterCall> {
    let mut free_at = vec![0; clients];
    // Effect, invocation, answer.
    let mut moments: Vec<(u64, u64, u64)> = (0..calls)
        .map(|i| {
            let free_at = &mut free_at[i % clients];
            let mut later = |from: u64| from + random.random_range(0..4);
            let invoked = later(*free_at);
            let effect = later(invoked);
            let answered = later(effect);
            *free_at = answered + 1;
            (effect, invoked, answered)
        })
        .collect();
    moments.sort();
    let mut state = 0;
    let calls = moments.into_iter().map(|(_, invoked, answered)| {
        let op = match random.random_range(0..3) {
            0 => Op::Write(random.random_range(0..4)),
            1 => Op::Add(random.random_range(1..3)),
            _ => Op::Read,
        };
        if random.random_ratio(1, unanswered_in) {
            if random.random() {
                state = Register
                    .step(&state, &op, None)
                    .expect("any answer will do");
            }
            return unanswered(op, invoked);
        }
        state = Register
            .step(&state, &op, None)
            .expect("any answer will do");
        call(op, invoked, answered, state)
    });
    calls.collect()
}

/// Changes an answer.
fn spoil(random: &mut StdRng, history: &mut [RegisterCall]) {
    let index = random.random_range(0..history.len());
    if let Some((_, answer)) = &mut history[index].answered {
        *answer = random.random_range(0..6);
    }
}

/// Whether there is an order, found by trying all of them.
fn some_order_explains(history: &[RegisterCall]) -> bool {
    fn go_on(state: i64, left: &[&RegisterCall]) -> bool {
        if left.iter().all(|call| call.answered.is_none()) {
            return true;
        }
        (0..left.len()).any(|i| {
            let (call, mut rest) = (left[i], left.to_vec());
            rest.remove(i);
            let comes_too_early = rest
                .iter()
                .any(|other| other.answered.is_some_and(|(at, _)| at < call.invoked));
            let answer = call.answered.as_ref().map(|(_, answer)| answer);
            !comes_too_early
                && Register
                    .step(&state, &call.op, answer)
                    .is_some_and(|next| go_on(next, &rest))
        })
    }
    go_on(0, &history.iter().collect::<Vec<_>>())
}
