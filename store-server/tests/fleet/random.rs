//! Whatever processes do, at whatever step: what is told is true.

use std::{cell::Cell, sync::Arc};

use proptest::{collection::vec, prelude::*, sample::select};
use tokio::runtime::Runtime;

use crate::{
    fake::Act,
    fleet::{OLD, World},
    server::Server,
};

/// Short, as hanging processes are waited for in each phase; who answers too late for it under load is just one more that
/// is late.
const TIMEOUT_MS: u64 = 250;

const ACTS: [Act; 10] = [
    Act::Fail,
    Act::KeepSilent,
    Act::Hang,
    Act::Die,
    Act::End,
    Act::BeReplaced,
    Act::BeLost,
    Act::BeBack,
    Act::MissIt,
    Act::LetOneIn,
];

fn script() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![4 => Just(Act::Do), 1 => select(&ACTS[..])];
    vec(act, 0..6)
}

#[test]
fn what_is_told_is_true_whatever_they_do() {
    let runtime = Runtime::new().expect("a runtime");
    let server = Arc::new(runtime.block_on(Server::start()));
    let service = Cell::new(0);
    let config = ProptestConfig {
        cases: 40,
        failure_persistence: None,
        max_shrink_iters: 40,
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let tried = runner.run(&vec(script(), 2..5), |scripts| {
        service.set(service.get() + 1);
        let scripts: Vec<_> = scripts.into_iter().map(|script| (OLD, script)).collect();
        runtime.block_on(async {
            let name = format!("battle-{}", service.get());
            let world = World::start_on(&server, &name, &scripts).await;
            world.apply(TIMEOUT_MS).await;
        });
        Ok(())
    });
    tried.expect("what is told is true");
}
