//! The course of a reload with processes that fail in every way, one or several, at every step.

use proptest::{collection::vec, prelude::*, sample::select};
use stillpoint_proto::v1::{ActionOutcome as Outcome, Phase};

use super::{
    fake::{ACTS, Act, Kit, NEW},
    model::Model,
};

/// The program that processes begin with.
pub const OLD: u32 = 1;

/// Commands that a process gets at most in a reload without another one's failure: STATUS, PREPARE, COMMIT, STATUS.
const STEPS: usize = 4;

/// The place of a command among those that a process gets.
pub const AT_PREPARE: usize = 1;
pub const AT_COMMIT: usize = 2;
/// After a commit that failed elsewhere.
const AT_UNDO: usize = 3;

/// Does what it is asked, but for one time.
pub fn but(at: usize, act: Act) -> Vec<Act> {
    let mut script = vec![Act::Do; at];
    script.push(act);
    script
}

fn fleet(scripts: &[Vec<Act>]) -> Model {
    let scripts: Vec<_> = scripts.iter().map(|script| (OLD, script.clone())).collect();
    Model::new(&scripts)
}

#[test]
fn all_go_over() {
    let mut model = fleet(&[vec![], vec![], vec![]]);
    let verdict = model.apply();
    assert_eq!(verdict.outcome, Outcome::Ok, "{verdict:?}");
    assert!(
        verdict
            .message
            .contains("3 processes of battle run program 9"),
        "{verdict:?}"
    );
    assert!(model.running().values().all(|program| *program == NEW));
    let phases = [Phase::Status, Phase::Prepare, Phase::Commit, Phase::Status];
    assert_eq!(model.phases, phases);
}

#[test]
fn one_that_cannot_prepare_keeps_all_where_they_are() {
    for act in [Act::Fail, Act::BeLate, Act::Hang, Act::BeLost, Act::MissIt] {
        let mut model = fleet(&[vec![], but(AT_PREPARE, act), vec![]]);
        let verdict = model.apply();
        assert_eq!(verdict.outcome, Outcome::RolledBack, "{act:?}: {verdict:?}");
        assert!(verdict.message.contains("battle/p1: "), "{verdict:?}");
        assert!(!model.phases.contains(&Phase::Commit));
        model.wake();
        assert!(model.is_as_before(), "{act:?}");
    }
}

#[test]
fn one_that_cannot_commit_takes_all_back() {
    for act in [Act::Fail, Act::DoAndFail, Act::BeLate] {
        let mut model = fleet(&[vec![], but(AT_COMMIT, act), vec![]]);
        let verdict = model.apply();
        assert_eq!(verdict.outcome, Outcome::RolledBack, "{act:?}: {verdict:?}");
        assert!(model.is_as_before() && !model.is_ready(), "{act:?}");
    }
}

#[test]
fn one_that_hangs_in_the_commit_is_unknown_and_ends_where_it_began() {
    let mut model = fleet(&[vec![], but(AT_COMMIT, Act::Hang), vec![]]);
    let verdict = model.apply();
    assert_eq!(verdict.outcome, Outcome::Mixed, "{verdict:?}");
    assert!(
        verdict.message.contains("not known what runs in battle/p1"),
        "{verdict:?}"
    );
    model.wake();
    assert!(model.is_as_before());
}

#[test]
fn one_that_is_replaced_in_the_commit_holds_nobody_up() {
    let mut model = fleet(&[vec![], but(AT_COMMIT, Act::BeReplaced), vec![]]);
    let verdict = model.apply();
    assert_eq!(verdict.outcome, Outcome::Ok, "{verdict:?}");
    assert_eq!(model.running().len(), 3);
}

#[test]
fn one_that_dies_in_the_commit_is_told() {
    // As long as its session is kept, it may come back with the one program or the other.
    for (act, outcome) in [(Act::Die, Outcome::Mixed), (Act::End, Outcome::Failed)] {
        let mut model = fleet(&[vec![], but(AT_COMMIT, act), vec![]]);
        let verdict = model.apply();
        assert_eq!(verdict.outcome, outcome, "{act:?}: {verdict:?}");
        assert!(verdict.message.contains("battle/p1"), "{verdict:?}");
    }
}

#[test]
fn one_whose_connection_comes_back_with_the_old_program_catches_up() {
    let mut model = fleet(&[vec![], but(AT_COMMIT, Act::MissIt), vec![]]);
    let verdict = model.apply();
    assert_eq!(verdict.outcome, Outcome::Ok, "{verdict:?}");
    assert!(model.phases.contains(&Phase::CatchUp));
    assert!(model.running().values().all(|program| *program == NEW));
}

#[test]
fn one_that_comes_during_the_reload_catches_up() {
    for at in [AT_PREPARE, AT_COMMIT] {
        let mut model = fleet(&[vec![], but(at, Act::LetOneIn)]);
        let verdict = model.apply();
        assert_eq!(verdict.outcome, Outcome::Ok, "{verdict:?}");
        assert_eq!(model.running().into_values().collect::<Vec<_>>(), [NEW; 3]);
    }
}

#[test]
fn one_that_cannot_go_back_is_told() {
    for act in [Act::Fail, Act::Hang, Act::Die] {
        let mut model = fleet(&[but(AT_UNDO, act), but(AT_COMMIT, Act::Fail)]);
        let verdict = model.apply();
        assert_eq!(verdict.outcome, Outcome::Mixed, "{act:?}: {verdict:?}");
        assert!(verdict.message.contains("battle/p0"), "{verdict:?}");
    }
}

#[test]
fn where_nothing_has_changed_nothing_is_committed() {
    let mut model = Model::new(&[(NEW, vec![]), (NEW, vec![])]);
    let verdict = model.apply();
    assert_eq!(verdict.outcome, Outcome::Ok);
    assert_eq!(verdict.message, "nothing to reload");
    assert!(!model.phases.contains(&Phase::Commit));
    assert!(!model.is_ready());
}

#[test]
fn processes_that_differ_are_brought_together() {
    let mut model = Model::new(&[(OLD, vec![]), (NEW, vec![]), (3, vec![])]);
    let verdict = model.apply();
    assert_eq!(verdict.outcome, Outcome::Ok, "{verdict:?}");
    assert!(model.running().values().all(|program| *program == NEW));
    assert!(!model.is_ready());
}

#[test]
fn processes_that_differed_and_could_not_be_brought_together_are_mixed() {
    let mut model = Model::new(&[(OLD, vec![]), (3, but(AT_PREPARE, Act::Fail))]);
    let verdict = model.apply();
    assert_eq!(verdict.outcome, Outcome::Mixed, "{verdict:?}");
    assert!(model.is_as_before());
    for part in ["nothing was changed", "1 in battle/p0", "3 in battle/p1"] {
        assert!(verdict.message.contains(part), "{verdict:?}");
    }
}

#[test]
fn a_caller_that_leaves_before_the_commit_takes_it_back_and_later_does_not() {
    for (heard_for, outcome) in [
        (1, Outcome::RolledBack),
        (2, Outcome::RolledBack),
        (3, Outcome::Ok),
    ] {
        let mut model = fleet(&[vec![], vec![]]);
        model.heard_for = heard_for;
        let verdict = model.apply();
        assert_eq!(verdict.outcome, outcome, "{heard_for}: {verdict:?}");
        model.check(&verdict);
    }
}

#[test]
fn all_go_back_to_the_generation_before() {
    let mut model = fleet(&[vec![], vec![]]);
    model.apply();
    let verdict = model.rollback();
    assert_eq!(verdict.outcome, Outcome::Ok, "{verdict:?}");
    assert!(model.running().values().all(|program| *program == OLD));
    let verdict = model.rollback();
    assert_eq!(verdict.message, "there is nothing to go back to");
}

#[test]
fn those_that_were_not_asked_to_commit_drop_what_they_have_ready() {
    let mut model = fleet(&[vec![], but(AT_COMMIT, Act::Fail), vec![]]);
    model.one_by_one = true;
    let verdict = model.apply();
    assert_eq!(verdict.outcome, Outcome::RolledBack, "{verdict:?}");
    assert!(model.is_as_before() && !model.is_ready());
}

#[test]
fn where_the_files_are_not_the_same_for_all_nothing_is_committed() {
    for (names_target, files) in [(false, OLD), (true, OLD), (true, 5)] {
        let mut model = fleet(&[vec![], vec![]]);
        model.kit.names_target = names_target;
        model.fakes[1].files = files;
        let verdict = model.apply();
        assert_eq!(verdict.outcome, Outcome::RolledBack, "{verdict:?}");
        assert!(
            verdict.message.contains("files are not the same for all"),
            "{verdict:?}"
        );
        assert!(model.is_as_before() && !model.is_ready());
    }
}

#[test]
fn where_the_files_turn_out_not_to_be_the_same_all_go_back() {
    // The kit does not say beforehand which program comes of it.
    let mut model = fleet(&[vec![], vec![]]);
    model.fakes[1].files = 5;
    let verdict = model.apply();
    assert_eq!(verdict.outcome, Outcome::RolledBack, "{verdict:?}");
    assert!(verdict.message.contains("5 in battle/p1"), "{verdict:?}");
    assert!(model.is_as_before() && !model.is_ready());
}

#[test]
fn each_service_has_a_program_of_its_own() {
    let mut model = Model::new(&[(OLD, vec![]), (3, vec![])]);
    model.fakes[1].process.service = "mail".into();
    model.fakes[1].files = 5;
    let verdict = model.apply();
    assert_eq!(verdict.outcome, Outcome::Ok, "{verdict:?}");
    for part in [
        "1 process of battle runs program 9",
        "1 process of mail runs program 5",
    ] {
        assert!(verdict.message.contains(part), "{verdict:?}");
    }
}

/// Every way to fail, at every step of two of three processes.
#[test]
fn what_is_told_is_true_whatever_two_processes_do() {
    for (names_target, names_sources, one_by_one) in [
        (false, false, false),
        (true, false, false),
        (false, true, true),
        (true, true, false),
    ] {
        let kit = Kit {
            names_target,
            names_sources,
        };
        for (first_at, second_at) in
            (0..STEPS + 2).flat_map(|a| (0..STEPS + 2).map(move |b| (a, b)))
        {
            for (first, second) in ACTS.iter().flat_map(|a| ACTS.iter().map(move |b| (*a, *b))) {
                let mut model = fleet(&[but(first_at, first), but(second_at, second), vec![]]);
                (model.kit, model.one_by_one) = (kit, one_by_one);
                let verdict = model.apply();
                model.check(&verdict);
                model.wake();
                if verdict.outcome != Outcome::Mixed {
                    model.check(&verdict);
                }
            }
        }
    }
}

fn script() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![3 => Just(Act::Do), 1 => select(&ACTS[..])];
    vec(act, 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_is_told_is_true_whatever_they_do(
        scripts in vec((select(vec![OLD, OLD, OLD, NEW, 3]), script()), 1..6),
        heard_for in prop_oneof![4 => Just(usize::MAX), 1 => 0_usize..6],
        names_target: bool,
        names_sources: bool,
        loaded in vec(select(vec![None, None, Some(OLD), Some(NEW)]), 5),
        one_by_one: bool,
        then_back: bool,
    ) {
        let mut model = Model::new(&scripts);
        model.heard_for = heard_for;
        model.one_by_one = one_by_one;
        model.kit = Kit { names_target, names_sources };
        for (fake, more) in model.fakes.iter_mut().zip(loaded) {
            fake.more = more;
        }
        let verdict = model.apply();
        model.check(&verdict);
        if then_back && matches!(verdict.outcome, Outcome::Ok) {
            let verdict = model.rollback();
            model.check(&verdict);
        }
    }
}
