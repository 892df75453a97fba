//! Who is asked, and what is refused before anybody is.

use stillpoint_proto::v1::{
    ActionOutcome, EvictSessions, GetStatusRequest, ManageRequest, OpenSessionRequest,
    ProcessState, ReloadFleet, RestartProcesses, RunCommand, Selection, SendNotice,
    admin_service_client::AdminServiceClient, manage_request::Action,
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    operator::{Operator, of_battle, run},
    process::{NAMESPACE, Process, wish},
    server::{Server, soon},
};

async fn fleet(server: &Server) -> Vec<Process> {
    let mut all = Vec::new();
    for (service, instance, zone) in [
        ("battle", "b-1", "east"),
        ("battle", "b-2", "west"),
        ("battle", "b-10", "west"),
        ("chat", "c-1", "west"),
    ] {
        let wish = OpenSessionRequest {
            labels: [("zone".to_owned(), zone.to_owned())].into(),
            ..wish(service, instance)
        };
        all.push(Process::start_as(server, wish).await);
    }
    all
}

fn rehearsal(selection: Selection) -> ManageRequest {
    ManageRequest {
        selection: Some(selection),
        dry_run: true,
        ..of_battle(run("ping"))
    }
}

fn of_world() -> Selection {
    Selection {
        namespace: NAMESPACE.into(),
        ..Selection::default()
    }
}

#[tokio::test]
async fn a_selection_is_everything_that_fulfils_all_of_it() {
    let server = Server::start().await;
    let _fleet = fleet(&server).await;
    let operator = Operator::connect(&server).await;
    let label = |zone: &str| [("zone".to_owned(), zone.to_owned())].into();
    for (selection, expected) in [
        (
            Selection {
                all: true,
                ..of_world()
            },
            &["b-1", "b-10", "b-2", "c-1"][..],
        ),
        (
            Selection {
                service: "battle".into(),
                ..of_world()
            },
            &["b-1", "b-10", "b-2"],
        ),
        (
            Selection {
                instance: "b-?".into(),
                ..of_world()
            },
            &["b-1", "b-2"],
        ),
        (
            Selection {
                instance: "*1".into(),
                ..of_world()
            },
            &["b-1", "c-1"],
        ),
        (
            Selection {
                labels: label("west"),
                ..of_world()
            },
            &["b-10", "b-2", "c-1"],
        ),
        (
            Selection {
                service: "battle".into(),
                labels: label("west"),
                instance: "*-2".into(),
                ..of_world()
            },
            &["b-2"],
        ),
        (
            Selection {
                service: "shop".into(),
                ..of_world()
            },
            &[],
        ),
    ] {
        let mut running = operator
            .manage(rehearsal(selection))
            .await
            .expect("it begins");
        assert_eq!(running.expected(), expected);
        assert_eq!(running.begun.action_id, "");
        let summary = running.summary().await;
        if expected.is_empty() {
            assert_eq!(summary.outcome(), ActionOutcome::Nobody);
            continue;
        }
        assert_eq!(summary.outcome(), ActionOutcome::Ok);
        let states = summary.processes.iter().map(|update| update.state());
        assert!(states.eq(expected.iter().map(|_| ProcessState::Expected)));
    }
}

#[tokio::test]
async fn a_rehearsal_asks_nobody_and_is_not_written_down() {
    let server = Server::start().await;
    let mut fleet = fleet(&server).await;
    let operator = Operator::connect(&server).await;
    for action in [
        run("ping"),
        Action::Evict(EvictSessions::default()),
        Action::Restart(RestartProcesses::default()),
    ] {
        let request = ManageRequest {
            dry_run: true,
            ..of_battle(action)
        };
        let mut running = operator.manage(request).await.expect("it begins");
        assert_eq!(running.end().await.outcome(), ActionOutcome::Ok);
    }
    assert!(operator.actions(0, "").await.expect("listed").is_empty());
    // Had a process been asked before, it would have been told that first.
    let mut running = operator
        .manage(of_battle(run("real")))
        .await
        .expect("it begins");
    for process in &mut fleet[..3] {
        assert_eq!(process.obey(b"\xc0").await.name, "real");
    }
    assert_eq!(running.end().await.outcome(), ActionOutcome::Ok);
}

#[tokio::test]
async fn nobody_is_an_outcome_and_makes_no_namespace() {
    let server = Server::start().await;
    let operator = Operator::connect(&server).await;
    let mut running = operator
        .manage(of_battle(run("ping")))
        .await
        .expect("it begins");
    assert_eq!(running.begun.action_id, "");
    let summary = running.summary().await;
    assert_eq!(summary.outcome(), ActionOutcome::Nobody);
    assert!(
        summary.message.contains("namespace world"),
        "{}",
        summary.message
    );
    let mut admin = AdminServiceClient::new(server.channel("admin.sock").await);
    let status = soon("a status", admin.get_status(GetStatusRequest {})).await;
    assert!(status.expect("answered").into_inner().namespaces.is_empty());

    let _fleet = fleet(&server).await;
    let mut request = of_battle(run("ping"));
    request.selection = Some(Selection {
        service: "shop".into(),
        ..of_world()
    });
    let mut running = operator.manage(request).await.expect("it begins");
    assert_ne!(running.begun.action_id, "");
    assert_eq!(running.summary().await.outcome(), ActionOutcome::Nobody);
    let actions = operator.actions(0, "").await.expect("listed");
    assert_eq!(actions[0].outcome(), ActionOutcome::Nobody);
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_by_name() {
    let server = Server::start_with(|config| {
        config.limits.value_bytes = 1000;
    })
    .await;
    let operator = Operator::connect(&server).await;
    let selected = |selection: Selection| ManageRequest {
        selection: Some(selection),
        ..of_battle(run("ping"))
    };
    let command = |name: &str, arguments: &[u8]| {
        of_battle(Action::Command(RunCommand {
            name: name.into(),
            arguments: arguments.to_vec().into(),
        }))
    };
    let notice = |message: &str, payload: &[u8]| {
        of_battle(Action::Notice(SendNotice {
            message: message.into(),
            payload: payload.to_vec().into(),
        }))
    };
    let long = "x".repeat(5000);
    for (request, says) in [
        (selected(of_world()), "the selection is empty"),
        (selected(Selection::default()), "the namespace is empty"),
        (
            selected(Selection {
                service: "Battle".into(),
                ..of_world()
            }),
            "invalid service name",
        ),
        (
            selected(Selection {
                instance: "b/1".into(),
                ..of_world()
            }),
            "invalid pattern",
        ),
        (
            selected(Selection {
                service: "battle".into(),
                all: true,
                ..of_world()
            }),
            "says all and names some",
        ),
        (
            selected(Selection {
                labels: [(String::new(), "x".to_owned())].into(),
                ..of_world()
            }),
            "has no name",
        ),
        (
            ManageRequest {
                action: None,
                ..of_battle(run("ping"))
            },
            "asks for nothing",
        ),
        (command("", b""), "the command is empty"),
        (command("os.execute()", b""), "invalid command name"),
        (command("ping", b"\x92\x01"), "the command's arguments"),
        (notice("", b""), "says nothing"),
        (notice(&long, b""), "the message has 5000 bytes"),
        (notice("noon", b"\xc1"), "the notice's payload"),
        (
            of_battle(Action::Evict(EvictSessions {
                reason: long.clone(),
            })),
            "the reason has 5000 bytes",
        ),
        (
            of_battle(Action::Reload(ReloadFleet::default())),
            "unknown step 0",
        ),
        (
            of_battle(Action::Restart(RestartProcesses {
                successor_ms: u64::MAX,
            })),
            "successor_ms",
        ),
        (
            ManageRequest {
                timeout_ms: u64::MAX,
                ..of_battle(run("ping"))
            },
            "timeout_ms",
        ),
        (
            ManageRequest {
                actor: long,
                ..of_battle(run("ping"))
            },
            "name of who asks",
        ),
    ] {
        let message = operator.refused(request).await;
        assert!(message.contains(says), "{message}");
    }
    let large = command("ping", &[&[0xda, 0x07, 0xd0][..], &[b'x'; 2000]].concat());
    let error = operator.manage(large).await.expect_err("it is too large");
    assert_eq!(
        error.reason(),
        stillpoint_proto::v1::Reason::TooLarge,
        "{error}"
    );
}

#[tokio::test]
async fn the_port_tells_that_it_is_well() {
    let server = Server::start().await;
    let mut health = HealthClient::new(server.channel("admin.sock").await);
    let request = HealthCheckRequest {
        service: "stillpoint.v1.ManagementService".into(),
    };
    let answered = soon("its health", health.check(request)).await;
    let status = answered.expect("it is known").into_inner().status();
    assert_eq!(status, ServingStatus::Serving);
}
