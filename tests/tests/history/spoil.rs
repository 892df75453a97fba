//! Answers of a real history changed so that no store could have given them: proof that wrong ones are noticed.

use rand::{SeedableRng, rngs::StdRng, seq::IteratorRandom};

use crate::language::{Answer, Call, Guard, KEYS, Key, Op, Record, Step, Told};

/// A way to spoil a history: what it is called, and how; `None`: the history has nothing of the kind.
type Way = (&'static str, fn(&mut StdRng, &[Call]) -> Option<Vec<Call>>);

const WAYS: [Way; 9] = [
    ("a stale read", stale_read),
    ("a value that nobody wrote", value_from_nowhere),
    ("a lost write", lost_write),
    ("half a transaction", half_a_transaction),
    ("a revision given twice", revision_given_twice),
    ("a read of what was written later", read_of_the_future),
    ("a guard passed over", guard_passed_over),
    ("a wrong sum", wrong_sum),
    ("a header that goes back", header_that_goes_back),
];

/// A record, which record it is, and the call that shows it.
type Shown<'a> = (&'a Call, Key, &'a Record);

/// The history spoilt in each way, with what it is called.
pub fn each_way(seed: u64, calls: &[Call]) -> Vec<(&'static str, Vec<Call>)> {
    let mut random = StdRng::seed_from_u64(seed);
    let spoilt = WAYS.into_iter().map(|(what, way)| {
        let spoilt = way(&mut random, calls);
        (
            what,
            spoilt.unwrap_or_else(|| {
                panic!("STILLPOINT_HISTORY_SEED={seed}: nothing to make {what} of")
            }),
        )
    });
    spoilt.collect()
}

/// A read shows an older record than somebody was shown before it.
fn stale_read(random: &mut StdRng, calls: &[Call]) -> Option<Vec<Call>> {
    let shown: Vec<Shown<'_>> = calls.iter().flat_map(shown).collect();
    let stale = calls.iter().enumerate().filter_map(|(i, read)| {
        let (Op::One(Step::Get(key)), Some((_, told))) = (&read.op, &read.answered) else {
            return None;
        };
        matches!(told.answer, Answer::Got(Some(_))).then_some(())?;
        let known = |(by, of, _): &&Shown<'_>| *of == *key && ends_before(by, read);
        let newest = shown
            .iter()
            .filter(known)
            .map(|(_, _, record)| record.mod_rev)
            .max()?;
        let old = shown
            .iter()
            .find(|(_, of, record)| of == key && record.mod_rev < newest)?;
        Some((i, old.2.clone()))
    });
    let (i, old) = stale.choose(random)?;
    let mut calls = calls.to_vec();
    *answer(&mut calls[i]) = Answer::Got(Some(old));
    Some(calls)
}

/// Nobody has written what somebody has read.
fn value_from_nowhere(random: &mut StdRng, calls: &[Call]) -> Option<Vec<Call>> {
    let read = |tag: u64| {
        let is_it = |(_, _, record): Shown<'_>| record.document.tag == tag;
        calls.iter().flat_map(shown).any(is_it)
    };
    let (i, _) = puts(calls).filter(|&(_, tag)| read(tag)).choose(random)?;
    let mut calls = calls.to_vec();
    calls.remove(i);
    Some(calls)
}

/// A write is acknowledged, and not there when all is read in the end.
fn lost_write(random: &mut StdRng, calls: &[Call]) -> Option<Vec<Call>> {
    let (i, _) = puts(calls).choose(random)?;
    let (mut calls, mut lost) = (calls.to_vec(), calls[i].clone());
    let last = calls.last()?;
    let Answer::GotAll { revision, .. } = last.answered.as_ref()?.1.answer else {
        return None;
    };
    lost.invoked = last.invoked - 2;
    let Op::One(Step::Put { key, guard, .. }) = &mut lost.op else {
        return None;
    };
    *guard = None;
    let newest = shown(last).into_iter().find(|(_, of, _)| of == key);
    let version = newest.map_or(1, |(_, _, record)| record.version + 1);
    let told = Told {
        revision: 0,
        answer: Answer::Put {
            mod_rev: revision + 1,
            version,
        },
    };
    lost.answered = Some((last.invoked - 1, told));
    calls.push(lost);
    Some(calls)
}

/// A record is missing as of the transaction that wrote it.
fn half_a_transaction(random: &mut StdRng, calls: &[Call]) -> Option<Vec<Call>> {
    let halves = calls.iter().filter_map(|call| {
        let (Op::Txn { then, .. }, Some((_, told))) = (&call.op, &call.answered) else {
            return None;
        };
        match (&then[..], &told.answer) {
            (
                [_, Step::Put { key, .. }],
                Answer::Done {
                    succeeded: true,
                    revision,
                    ..
                },
            ) => Some((call, *key, *revision)),
            _ => None,
        }
    });
    let (txn, key, revision) = halves.choose(random)?;
    let answer = Answer::GotAll {
        revision,
        records: vec![None],
    };
    let read = Call {
        op: Op::BatchGet(vec![key]),
        invoked: txn.invoked,
        answered: Some((
            u64::MAX,
            Told {
                revision: 0,
                answer,
            },
        )),
    };
    let mut calls = calls.to_vec();
    calls.push(read);
    Some(calls)
}

/// Two writes are told the same revision.
fn revision_given_twice(random: &mut StdRng, calls: &[Call]) -> Option<Vec<Call>> {
    let two = puts(calls).choose_multiple(random, 2);
    let [(one, _), (other, _)] = two[..] else {
        return None;
    };
    let Some((
        _,
        Told {
            answer: Answer::Put { mod_rev: given, .. },
            ..
        },
    )) = calls[one].answered
    else {
        return None;
    };
    let mut calls = calls.to_vec();
    if let Answer::Put { mod_rev, .. } = answer(&mut calls[other]) {
        *mod_rev = given;
    }
    Some(calls)
}

/// A record is read before the write of it is sent.
fn read_of_the_future(random: &mut StdRng, calls: &[Call]) -> Option<Vec<Call>> {
    let pairs = puts(calls).filter_map(|(i, tag)| {
        let is_it = |(_, _, record): &Shown<'_>| record.document.tag == tag;
        let read = calls.iter().flat_map(shown).find(is_it)?.0;
        Some((i, read.answered.as_ref()?.0))
    });
    let (i, read_at) = pairs.choose(random)?;
    let mut calls = calls.to_vec();
    calls[i].invoked = read_at + 1;
    if let Some((at, _)) = &mut calls[i].answered {
        *at = read_at + 2;
    }
    Some(calls)
}

/// A write succeeds although its guard cannot hold.
fn guard_passed_over(random: &mut StdRng, calls: &[Call]) -> Option<Vec<Call>> {
    let (i, _) = puts(calls).choose(random)?;
    let mut calls = calls.to_vec();
    if let Op::One(Step::Put { guard, .. }) = &mut calls[i].op {
        *guard = Some(Guard::ModRev(u64::MAX));
    }
    Some(calls)
}

/// An addition is told a sum that nothing adds up to.
fn wrong_sum(random: &mut StdRng, calls: &[Call]) -> Option<Vec<Call>> {
    let mut calls = calls.to_vec();
    let added = calls
        .iter_mut()
        .filter_map(|call| match &mut call.answered.as_mut()?.1.answer {
            Answer::Added(record) => Some(record),
            _ => None,
        });
    added.choose(random)?.document.n += 1_000_000;
    Some(calls)
}

/// The last answer's header has a revision from the beginning.
fn header_that_goes_back(_: &mut StdRng, calls: &[Call]) -> Option<Vec<Call>> {
    let mut calls = calls.to_vec();
    calls.last_mut()?.answered.as_mut()?.1.revision = 1;
    Some(calls)
}

/// The records that an answer shows.
fn shown(call: &Call) -> Vec<Shown<'_>> {
    let Some((_, told)) = &call.answered else {
        return Vec::new();
    };
    let scan: Vec<Key> = (0..KEYS).collect();
    let pairs: Vec<(Key, Option<&Record>)> = match (&call.op, &told.answer) {
        (Op::One(step), answer) => vec![(step.key(), shown_by_step(answer))],
        (Op::BatchGet(keys), Answer::GotAll { records, .. }) => shown_by_all(keys, records),
        (Op::Scan, Answer::GotAll { records, .. }) => shown_by_all(&scan, records),
        (
            Op::Txn {
                then, otherwise, ..
            },
            Answer::Done {
                succeeded, results, ..
            },
        ) => {
            let steps = if *succeeded { then } else { otherwise };
            let pairs = steps.iter().zip(results);
            pairs
                .map(|(step, result)| (step.key(), shown_by_step(result)))
                .collect()
        }
        _ => Vec::new(),
    };
    let shown = pairs
        .into_iter()
        .filter_map(|(key, record)| Some((call, key, record?)));
    shown.collect()
}

fn shown_by_all<'a>(keys: &[Key], records: &'a [Option<Record>]) -> Vec<(Key, Option<&'a Record>)> {
    keys.iter()
        .copied()
        .zip(records.iter().map(Option::as_ref))
        .collect()
}

fn shown_by_step(answer: &Answer) -> Option<&Record> {
    match answer {
        Answer::Got(Some(record)) | Answer::Added(record) => Some(record),
        _ => None,
    }
}

/// The acknowledged puts that stand alone, and their tags.
fn puts(calls: &[Call]) -> impl Iterator<Item = (usize, u64)> {
    calls.iter().enumerate().filter_map(|(i, call)| match call {
        Call {
            op: Op::One(Step::Put { document, .. }),
            answered:
                Some((
                    _,
                    Told {
                        answer: Answer::Put { .. },
                        ..
                    },
                )),
            ..
        } => Some((i, document.tag)),
        _ => None,
    })
}

fn ends_before(one: &Call, other: &Call) -> bool {
    one.answered
        .as_ref()
        .is_some_and(|(at, _)| *at < other.invoked)
}

fn answer(call: &mut Call) -> &mut Answer {
    let (_, told) = call.answered.as_mut().expect("an answered call was chosen");
    &mut told.answer
}
