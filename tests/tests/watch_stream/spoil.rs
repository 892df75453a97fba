//! Accounts of real watches changed so that they are wrong: proof that this is noticed.

use rand::{Rng, rngs::StdRng, seq::IteratorRandom};
use stillpoint_client::v1::WatchEventType;

use crate::account::{Account, Told};

/// A way to spoil what a watch told: what it is called, and how; `None`: it told nothing of the kind.
type Way = (
    &'static str,
    fn(&mut StdRng, Vec<Told>) -> Option<Vec<Told>>,
);

const OF_COMMITS: [Way; 6] = [
    ("a commit left out", commit_left_out),
    ("a commit told twice", commit_told_twice),
    ("two commits in the wrong order", commits_swapped),
    ("half a commit", half_a_commit),
    ("another record", another_record),
    ("a bookmark too far ahead", bookmark_ahead),
];

const OF_STATE: [Way; 2] = [
    ("a record missing in the state", record_missing),
    ("a state of another revision", state_of_another_revision),
];

/// A watch of everything, and one with a snapshot, spoilt in each way; with what that is called.
pub fn each_way(accounts: &[Account], random: &mut StdRng) -> Vec<(&'static str, Account)> {
    let mut spoilt = Vec::new();
    for (name, ways) in [
        ("everything", &OF_COMMITS[..]),
        ("with a snapshot", &OF_STATE),
    ] {
        let account = accounts.iter().find(|account| account.name() == name);
        for (what, way) in ways {
            let mut wrong = account.expect("there is such a watch").clone();
            let told = way(random, wrong.told);
            wrong.told = told.unwrap_or_else(|| panic!("{name} told nothing to make {what} of"));
            spoilt.push((*what, wrong));
        }
    }
    spoilt
}

fn commit_left_out(random: &mut StdRng, mut told: Vec<Told>) -> Option<Vec<Told>> {
    let at = commits(&told).choose(random)?;
    told.remove(at);
    Some(told)
}

fn commit_told_twice(random: &mut StdRng, mut told: Vec<Told>) -> Option<Vec<Told>> {
    let at = commits(&told).choose(random)?;
    told.insert(at, told[at].clone());
    Some(told)
}

fn commits_swapped(random: &mut StdRng, mut told: Vec<Told>) -> Option<Vec<Told>> {
    let is_commit = |told: &Told| matches!(told, Told::Commit(_));
    let pairs = commits(&told).filter(|at| told.get(at + 1).is_some_and(is_commit));
    let at = pairs.choose(random)?;
    told.swap(at, at + 1);
    Some(told)
}

fn half_a_commit(random: &mut StdRng, mut told: Vec<Told>) -> Option<Vec<Told>> {
    let several = told.iter_mut().filter_map(|told| match told {
        Told::Commit(commit) if commit.events.len() > 1 => Some(&mut commit.events),
        _ => None,
    });
    let events = several.choose(random)?;
    events.remove(random.random_range(0..events.len()));
    Some(told)
}

fn another_record(random: &mut StdRng, mut told: Vec<Told>) -> Option<Vec<Told>> {
    let deletions = told.iter_mut().filter_map(|told| match told {
        Told::Commit(commit) => {
            let mut events = commit.events.iter_mut();
            events.find(|event| event.r#type() == WatchEventType::Delete)
        }
        _ => None,
    });
    let key = deletions.choose(random)?.key.as_mut()?;
    key.key = b"p/another"[..].into();
    Some(told)
}

fn bookmark_ahead(random: &mut StdRng, mut told: Vec<Told>) -> Option<Vec<Told>> {
    let at = commits(&told).choose(random)?;
    if let Told::Commit(commit) = &told[at] {
        let reached = Told::Reached(commit.revision);
        told.insert(at, reached);
    }
    Some(told)
}

fn record_missing(_: &mut StdRng, mut told: Vec<Told>) -> Option<Vec<Told>> {
    let end = told.iter().position(|told| matches!(told, Told::End(_)))?;
    let mut data = told[..end].iter_mut().rev();
    let events = data.find_map(|told| match told {
        Told::Data(events) => Some(events),
        _ => None,
    });
    events?.pop()?;
    Some(told)
}

fn state_of_another_revision(_: &mut StdRng, mut told: Vec<Told>) -> Option<Vec<Told>> {
    let mut ends = told.iter_mut().filter_map(|told| match told {
        Told::End(revision) => Some(revision),
        _ => None,
    });
    *ends.next()? -= 20;
    Some(told)
}

/// Where the commits are.
fn commits(told: &[Told]) -> impl Iterator<Item = usize> {
    let is_commit = |(at, told): (usize, &Told)| matches!(told, Told::Commit(_)).then_some(at);
    told.iter().enumerate().filter_map(is_commit)
}
