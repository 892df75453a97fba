//! Migrations on the operator's port: what is asked reaches the server, and what it tells comes back.

use std::{pin::Pin, time::Duration};

use stillpoint_client::{
    AdminClient,
    v1::{self, MigrationPhase, Reason, StoreError, apply_migrations_response::Kind},
};
use stillpoint_proto::v1::migration_service_server::{MigrationService, MigrationServiceServer};
use tempfile::TempDir;
use tokio::{net::UnixListener, runtime::Runtime};
use tokio_stream::{Stream, wrappers::UnixListenerStream};
use tonic::{Request, Response, Status};

/// Answers with what it was asked, so that a test sees that it was asked.
struct Echo;

type Told<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

fn told<M: Send + 'static>(messages: Vec<Result<M, Status>>) -> Response<Told<M>> {
    Response::new(Box::pin(tokio_stream::iter(messages)))
}

fn status(collection: Option<v1::CollectionName>, phase: MigrationPhase) -> v1::MigrationStatus {
    v1::MigrationStatus {
        collection,
        phase: phase.into(),
        ..Default::default()
    }
}

fn applied(collection: Option<v1::CollectionName>) -> v1::MigrationsApplied {
    v1::MigrationsApplied {
        migrations: vec![status(collection, MigrationPhase::Rewriting)],
    }
}

#[tonic::async_trait]
impl MigrationService for Echo {
    async fn publish_scripts(
        &self,
        request: Request<v1::PublishScriptsRequest>,
    ) -> Result<Response<v1::PublishScriptsResponse>, Status> {
        let published = request.into_inner().scripts;
        if published.is_empty() {
            return Err(StoreError::new(Reason::Invalid, "bad.lua: up failed").to_status());
        }
        Ok(Response::new(v1::PublishScriptsResponse {
            published,
            ..Default::default()
        }))
    }

    async fn list_scripts(
        &self,
        request: Request<v1::ListScriptsRequest>,
    ) -> Result<Response<v1::ListScriptsResponse>, Status> {
        let text = match request.into_inner().with_text {
            true => "return {}",
            false => "",
        };
        Ok(Response::new(v1::ListScriptsResponse {
            scripts: vec![v1::MigrationScript {
                text: text.into(),
                ..Default::default()
            }],
            ..Default::default()
        }))
    }

    async fn get_migrations(
        &self,
        _: Request<v1::GetMigrationsRequest>,
    ) -> Result<Response<v1::GetMigrationsResponse>, Status> {
        Ok(Response::new(v1::GetMigrationsResponse {
            migrations: vec![status(player(), MigrationPhase::Rewritten)],
            ..Default::default()
        }))
    }

    type FollowMigrationStream = Told<v1::FollowMigrationResponse>;

    async fn follow_migration(
        &self,
        request: Request<v1::FollowMigrationRequest>,
    ) -> Result<Response<Self::FollowMigrationStream>, Status> {
        let collection = request.into_inner().collection;
        let each = [MigrationPhase::Rewriting, MigrationPhase::Stopped];
        Ok(told(
            each.map(|phase| {
                Ok(v1::FollowMigrationResponse {
                    status: Some(status(collection.clone(), phase)),
                    ..Default::default()
                })
            })
            .into(),
        ))
    }

    type DryRunMigrationStream = Told<v1::DryRunMigrationResponse>;

    async fn dry_run_migration(
        &self,
        request: Request<v1::DryRunMigrationRequest>,
    ) -> Result<Response<Self::DryRunMigrationStream>, Status> {
        let done = v1::DryRunSummary {
            records: request.into_inner().sample,
            ..Default::default()
        };
        Ok(told(vec![Ok(v1::DryRunMigrationResponse {
            kind: Some(v1::dry_run_migration_response::Kind::Done(done)),
            ..Default::default()
        })]))
    }

    type ApplyMigrationsStream = Told<v1::ApplyMigrationsResponse>;

    async fn apply_migrations(
        &self,
        request: Request<v1::ApplyMigrationsRequest>,
    ) -> Result<Response<Self::ApplyMigrationsStream>, Status> {
        let message = |kind| {
            Ok(v1::ApplyMigrationsResponse {
                kind: Some(kind),
                ..Default::default()
            })
        };
        let waiting = v1::WaitingForSessions {
            sessions: vec!["battle/battle-3 (version 1)".into()],
            ..Default::default()
        };
        let last = match request.into_inner().collections.pop() {
            Some(collection) => message(Kind::Applied(applied(Some(collection)))),
            None => Err(Status::unavailable("broken on purpose")),
        };
        Ok(told(vec![message(Kind::Waiting(waiting)), last]))
    }

    type RollBackMigrationStream = Told<v1::RollBackMigrationResponse>;

    async fn roll_back_migration(
        &self,
        request: Request<v1::RollBackMigrationRequest>,
    ) -> Result<Response<Self::RollBackMigrationStream>, Status> {
        use v1::roll_back_migration_response::Kind;
        let applied = applied(request.into_inner().collection);
        Ok(told(vec![Ok(v1::RollBackMigrationResponse {
            kind: Some(Kind::Applied(applied)),
            ..Default::default()
        })]))
    }

    async fn pause_migration(
        &self,
        request: Request<v1::PauseMigrationRequest>,
    ) -> Result<Response<v1::PauseMigrationResponse>, Status> {
        let collection = request.into_inner().collection;
        Ok(Response::new(v1::PauseMigrationResponse {
            status: Some(status(collection, MigrationPhase::Paused)),
            ..Default::default()
        }))
    }

    async fn resume_migration(
        &self,
        request: Request<v1::ResumeMigrationRequest>,
    ) -> Result<Response<v1::ResumeMigrationResponse>, Status> {
        let collection = request.into_inner().collection;
        Ok(Response::new(v1::ResumeMigrationResponse {
            status: Some(status(collection, MigrationPhase::Rewriting)),
            ..Default::default()
        }))
    }

    async fn finish_migration(
        &self,
        request: Request<v1::FinishMigrationRequest>,
    ) -> Result<Response<v1::FinishMigrationResponse>, Status> {
        let collection = request.into_inner().collection;
        Ok(Response::new(v1::FinishMigrationResponse {
            status: Some(status(collection, MigrationPhase::Finished)),
            ..Default::default()
        }))
    }

    type ListQuarantineStream = Told<v1::ListQuarantineResponse>;

    async fn list_quarantine(
        &self,
        request: Request<v1::ListQuarantineRequest>,
    ) -> Result<Response<Self::ListQuarantineStream>, Status> {
        let namespace = request
            .into_inner()
            .collection
            .unwrap_or_default()
            .namespace;
        let record = v1::QuarantinedRecord {
            namespace,
            ..Default::default()
        };
        let page = v1::ListQuarantineResponse {
            records: vec![record],
            ..Default::default()
        };
        Ok(told(vec![Ok(page.clone()), Ok(page)]))
    }
}

fn player() -> Option<v1::CollectionName> {
    Some(v1::CollectionName {
        namespace: "game".into(),
        collection: "player".into(),
    })
}

/// A server, its runtime and its directory.
struct Server {
    endpoint: String,
    _runtime: Runtime,
    _dir: TempDir,
}

impl Server {
    fn start() -> Server {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(async { UnixListener::bind(&path).unwrap() });
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(MigrationServiceServer::new(Echo))
                .serve_with_incoming(UnixListenerStream::new(listener)),
        );
        Server {
            endpoint: format!("unix:{}", path.display()),
            _runtime: runtime,
            _dir: dir,
        }
    }

    fn connect(&self) -> AdminClient {
        AdminClient::connect(&self.endpoint, Duration::from_secs(20)).unwrap()
    }
}

#[test]
fn scripts_are_published_and_listed() {
    let server = Server::start();
    let mut admin = server.connect();
    let script = v1::MigrationScript {
        name: "purse".into(),
        ..Default::default()
    };
    let request = v1::PublishScriptsRequest {
        scripts: vec![script],
        ..Default::default()
    };
    let published = admin.publish_scripts(request).unwrap().published;
    assert_eq!(published[0].name, "purse");
    let error = admin.publish_scripts(Default::default()).unwrap_err();
    assert_eq!(error.reason(), Reason::Invalid);
    assert_eq!(error.message, "bad.lua: up failed");
    let text = |scripts: v1::ListScriptsResponse| scripts.scripts[0].text.clone();
    assert_eq!(text(admin.scripts(true).unwrap()), "return {}");
    assert_eq!(text(admin.scripts(false).unwrap()), "");
}

#[test]
fn what_is_asked_of_a_collection_names_it() {
    let server = Server::start();
    let mut admin = server.connect();
    let collection = player();
    let paused = admin.pause_migration(v1::PauseMigrationRequest {
        collection: collection.clone(),
        ..Default::default()
    });
    let resumed = admin.resume_migration(v1::ResumeMigrationRequest {
        collection: collection.clone(),
        ..Default::default()
    });
    let finished = admin.finish_migration(v1::FinishMigrationRequest {
        collection: collection.clone(),
        ..Default::default()
    });
    let each = [
        (paused.unwrap().status, MigrationPhase::Paused),
        (resumed.unwrap().status, MigrationPhase::Rewriting),
        (finished.unwrap().status, MigrationPhase::Finished),
    ];
    for (told, phase) in each {
        assert_eq!(told, Some(status(collection.clone(), phase)));
    }
    let all = admin.migrations().unwrap().migrations;
    assert_eq!(all, [status(collection, MigrationPhase::Rewritten)]);
}

#[test]
fn what_takes_its_time_is_told_message_by_message() {
    let server = Server::start();
    let mut admin = server.connect();
    let followed = admin.follow_migration(player().unwrap()).unwrap();
    let phases: Vec<_> = followed
        .map(|told| told.unwrap().status.unwrap().phase())
        .collect();
    assert_eq!(phases, [MigrationPhase::Rewriting, MigrationPhase::Stopped]);

    let request = v1::ApplyMigrationsRequest {
        collections: player().into_iter().collect(),
        ..Default::default()
    };
    let told: Vec<_> = admin.apply_migrations(request).unwrap().collect();
    let kinds: Vec<_> = told.into_iter().map(|m| m.unwrap().kind.unwrap()).collect();
    assert!(
        matches!(&kinds[..], [Kind::Waiting(waiting), Kind::Applied(done)]
            if waiting.sessions.len() == 1 && *done == applied(player())),
        "{kinds:?}"
    );

    let request = v1::RollBackMigrationRequest {
        collection: player(),
        ..Default::default()
    };
    let back = admin.roll_back_migration(request).unwrap().next();
    let kind = back.unwrap().unwrap().kind;
    let expected = v1::roll_back_migration_response::Kind::Applied(applied(player()));
    assert_eq!(kind, Some(expected));

    let request = v1::DryRunMigrationRequest {
        sample: 7,
        ..Default::default()
    };
    let tried = admin.dry_run_migration(request).unwrap().next();
    let kind = tried.unwrap().unwrap().kind;
    assert!(
        matches!(&kind, Some(v1::dry_run_migration_response::Kind::Done(done)) if done.records == 7),
        "{kind:?}"
    );
    for (collection, namespace) in [(player(), "game"), (None, "")] {
        let pages = admin.quarantine(collection).unwrap();
        let namespaces: Vec<_> = pages
            .map(|page| page.unwrap().records[0].namespace.clone())
            .collect();
        assert_eq!(namespaces, [namespace, namespace]);
    }
}

#[test]
fn an_apply_that_breaks_off_is_an_error_behind_what_was_told() {
    let server = Server::start();
    let mut admin = server.connect();
    let mut told = admin.apply_migrations(Default::default()).unwrap();
    assert!(told.next().unwrap().is_ok());
    let error = told.next().unwrap().unwrap_err();
    assert_eq!(error.reason(), Reason::Unavailable);
    assert!(error.message.contains("broken on purpose"), "{error:?}");
    assert!(told.next().is_none());
}
