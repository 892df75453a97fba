//! Processes that have not all loaded the same modules, as those do that load one when it is first needed.

use stillpoint_proto::v1::ActionOutcome as Outcome;

use super::{
    fake::{Act, NEW},
    model::Model,
    tests::{AT_COMMIT, AT_PREPARE, OLD, but},
};

/// A fleet whose kit names the source of each module; each has loaded the other module of this program, or not.
fn partly_loaded(loaded: &[Option<u32>]) -> Model {
    let scripts: Vec<_> = loaded.iter().map(|_| (OLD, Vec::new())).collect();
    let mut model = Model::new(&scripts);
    model.kit.names_sources = true;
    model.kit.names_target = true;
    for (fake, more) in model.fakes.iter_mut().zip(loaded) {
        fake.more = *more;
    }
    model
}

#[test]
fn those_that_have_loaded_more_modules_run_the_same_program() {
    let mut model = partly_loaded(&[None, Some(OLD), Some(OLD)]);
    let verdict = model.apply();
    assert_eq!(verdict.outcome, Outcome::Ok, "{verdict:?}");
    let expected = "3 processes of battle run program 9 (9+9 with other modules loaded)";
    assert_eq!(verdict.message, expected);
    model.check(&verdict);
}

#[test]
fn a_module_that_only_some_have_loaded_is_reloaded_in_those() {
    let mut model = partly_loaded(&[None, Some(OLD)]);
    for fake in &mut model.fakes {
        fake.program = NEW;
    }
    let verdict = model.apply();
    assert_eq!(verdict.outcome, Outcome::Ok, "{verdict:?}");
    assert_eq!(model.fakes[1].more, Some(NEW));
}

#[test]
fn a_module_that_is_not_the_same_for_all_is_named() {
    let mut model = partly_loaded(&[None, Some(OLD), Some(NEW)]);
    model.fakes[0].script = but(AT_PREPARE, Act::Fail);
    let verdict = model.apply();
    assert_eq!(verdict.outcome, Outcome::Mixed, "{verdict:?}");
    let expected = "1+9 in battle/p2 (they differ in more)";
    assert!(verdict.message.ends_with(expected), "{verdict:?}");
    model.check(&verdict);
}

#[test]
fn one_that_loads_a_module_before_its_commit_goes_over_with_the_others() {
    let mut model = partly_loaded(&[None, None]);
    model.fakes[1].script = but(AT_COMMIT, Act::LoadMore);
    let verdict = model.apply();
    assert_eq!(verdict.outcome, Outcome::Ok, "{verdict:?}");
    model.check(&verdict);
}
