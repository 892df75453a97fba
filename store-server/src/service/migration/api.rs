//! `MigrationService`.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::StreamExt;
use stillpoint_proto::v1::{
    ApplyMigrationsRequest, ApplyMigrationsResponse, DryRunMigrationRequest,
    DryRunMigrationResponse, FinishMigrationRequest, FinishMigrationResponse,
    FollowMigrationRequest, FollowMigrationResponse, GetMigrationsRequest, GetMigrationsResponse,
    ListQuarantineRequest, ListQuarantineResponse, ListScriptsRequest, ListScriptsResponse,
    PauseMigrationRequest, PauseMigrationResponse, PublishScriptsRequest, PublishScriptsResponse,
    Reason, ResponseHeader, ResumeMigrationRequest, ResumeMigrationResponse,
    RollBackMigrationRequest, RollBackMigrationResponse, StoreError, apply_migrations_response,
    migration_service_server::MigrationService, roll_back_migration_response,
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::{
    control, dry_run, follow,
    migrations::Migrations,
    moving::{self, Order, Told},
    publish, quarantine, status, targets,
};
use crate::{service::peer, store::Store};

/// `MigrationService` on a store.
#[derive(Debug)]
pub struct MigrationApi {
    migrations: Arc<Migrations>,
}

impl MigrationApi {
    /// The service.
    pub fn new(migrations: Arc<Migrations>) -> MigrationApi {
        MigrationApi { migrations }
    }

    fn header(&self) -> ResponseHeader {
        self.migrations.store.header()
    }

    /// Begins to take collections to another version; what is told is made into answers by `answer`.
    fn stream<M: Send + 'static>(
        &self,
        order: impl FnOnce(&Store) -> Result<Order, StoreError>,
        answer: impl Fn(ResponseHeader, Told) -> M + Send + 'static,
    ) -> Result<Response<Telling<M>>, Status> {
        let told = self.migrations.enter().and_then(|turn| {
            // Nobody else acts by now: what the order is made from stays so until it is carried out.
            let order = order(&self.migrations.store)?;
            Ok(moving::begin(&self.migrations, turn, order))
        });
        let told = told.map_err(|error| error.to_status())?;
        let header = self.header();
        let answers = ReceiverStream::new(told).map(move |told| match told {
            Ok(told) => Ok(answer(header.clone(), told)),
            Err(error) => Err(error.to_status()),
        });
        Ok(Response::new(answers.boxed()))
    }
}

/// What is told of something that takes its time.
type Telling<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

/// Does something to its end, also where its caller leaves meanwhile: what is half done would stay so.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::spawn(work).await.unwrap_or_else(|error| {
        let message = format!("the task of the migration failed: {error}");
        Err(StoreError::new(Reason::Internal, message))
    });
    done.map_err(|error| error.to_status())
}

#[tonic::async_trait]
impl MigrationService for MigrationApi {
    type FollowMigrationStream = Telling<FollowMigrationResponse>;
    type DryRunMigrationStream = Telling<DryRunMigrationResponse>;
    type ApplyMigrationsStream = Telling<ApplyMigrationsResponse>;
    type RollBackMigrationStream = Telling<RollBackMigrationResponse>;
    type ListQuarantineStream = Telling<ListQuarantineResponse>;

    async fn publish_scripts(
        &self,
        request: Request<PublishScriptsRequest>,
    ) -> Result<Response<PublishScriptsResponse>, Status> {
        let peer = peer(&request);
        let (migrations, request) = (self.migrations.clone(), request.into_inner());
        let published =
            to_the_end(async move { publish::publish(&migrations, request, &peer).await });
        published.await.map(Response::new)
    }

    async fn list_scripts(
        &self,
        request: Request<ListScriptsRequest>,
    ) -> Result<Response<ListScriptsResponse>, Status> {
        let with_text = request.into_inner().with_text;
        let table = self.migrations.store.schemas();
        let scripts = table.scripts();
        let scripts = scripts.map(|script| publish::to_proto(&table, script, with_text));
        Ok(Response::new(ListScriptsResponse {
            header: Some(self.header()),
            scripts: scripts.collect(),
        }))
    }

    async fn get_migrations(
        &self,
        _: Request<GetMigrationsRequest>,
    ) -> Result<Response<GetMigrationsResponse>, Status> {
        Ok(Response::new(GetMigrationsResponse {
            header: Some(self.header()),
            migrations: status::all(&self.migrations),
        }))
    }

    async fn follow_migration(
        &self,
        request: Request<FollowMigrationRequest>,
    ) -> Result<Response<Self::FollowMigrationStream>, Status> {
        let told = follow::begin(&self.migrations, request.into_inner());
        let told = told.map_err(|error| error.to_status())?;
        Ok(Response::new(Box::pin(ReceiverStream::new(told))))
    }

    async fn dry_run_migration(
        &self,
        request: Request<DryRunMigrationRequest>,
    ) -> Result<Response<Self::DryRunMigrationStream>, Status> {
        let told = dry_run::begin(&self.migrations, request.into_inner());
        let told = told.map_err(|error| error.to_status())?;
        Ok(Response::new(Box::pin(ReceiverStream::new(told))))
    }

    async fn apply_migrations(
        &self,
        request: Request<ApplyMigrationsRequest>,
    ) -> Result<Response<Self::ApplyMigrationsStream>, Status> {
        let peer = peer(&request);
        let request = request.into_inner();
        let order = |store: &Store| {
            Ok(Order {
                what: "migrate apply",
                courses: targets::to_apply(store, request.collections, request.to_version)?,
                rate: request.rate,
                failed_max: request.failed_max,
                from_history: false,
                wait: Duration::from_millis(request.wait_ms),
                actor: request.actor,
                peer,
            })
        };
        self.stream(order, |header, told| {
            use apply_migrations_response::Kind;
            ApplyMigrationsResponse {
                header: Some(header),
                kind: Some(match told {
                    Told::Waiting(waiting) => Kind::Waiting(waiting),
                    Told::Applied(applied) => Kind::Applied(applied),
                }),
            }
        })
    }

    async fn roll_back_migration(
        &self,
        request: Request<RollBackMigrationRequest>,
    ) -> Result<Response<Self::RollBackMigrationStream>, Status> {
        let peer = peer(&request);
        let request = request.into_inner();
        let (to_version, from_history) = (request.to_version, request.from_history);
        let order = |store: &Store| {
            let collection = request.collection;
            Ok(Order {
                what: "migrate rollback",
                courses: targets::to_roll_back(store, collection, to_version, from_history)?,
                rate: request.rate,
                failed_max: request.failed_max,
                from_history,
                wait: Duration::from_millis(request.wait_ms),
                actor: request.actor,
                peer,
            })
        };
        self.stream(order, |header, told| {
            use roll_back_migration_response::Kind;
            RollBackMigrationResponse {
                header: Some(header),
                kind: Some(match told {
                    Told::Waiting(waiting) => Kind::Waiting(waiting),
                    Told::Applied(applied) => Kind::Applied(applied),
                }),
            }
        })
    }

    async fn pause_migration(
        &self,
        request: Request<PauseMigrationRequest>,
    ) -> Result<Response<PauseMigrationResponse>, Status> {
        let peer = peer(&request);
        let (migrations, request) = (self.migrations.clone(), request.into_inner());
        let status = to_the_end(async move { control::pause(&migrations, request, &peer).await });
        let status = status.await?;
        Ok(Response::new(PauseMigrationResponse {
            header: Some(self.header()),
            status: Some(status),
        }))
    }

    async fn resume_migration(
        &self,
        request: Request<ResumeMigrationRequest>,
    ) -> Result<Response<ResumeMigrationResponse>, Status> {
        let peer = peer(&request);
        let (migrations, request) = (self.migrations.clone(), request.into_inner());
        let status = to_the_end(async move { control::resume(&migrations, request, &peer).await });
        let status = status.await?;
        Ok(Response::new(ResumeMigrationResponse {
            header: Some(self.header()),
            status: Some(status),
        }))
    }

    async fn finish_migration(
        &self,
        request: Request<FinishMigrationRequest>,
    ) -> Result<Response<FinishMigrationResponse>, Status> {
        let peer = peer(&request);
        let (migrations, request) = (self.migrations.clone(), request.into_inner());
        let status = to_the_end(async move { control::finish(&migrations, request, &peer).await });
        let status = status.await?;
        Ok(Response::new(FinishMigrationResponse {
            header: Some(self.header()),
            status: Some(status),
        }))
    }

    async fn list_quarantine(
        &self,
        request: Request<ListQuarantineRequest>,
    ) -> Result<Response<Self::ListQuarantineStream>, Status> {
        let told = quarantine::begin(&self.migrations.store, request.into_inner());
        let told = told.map_err(|error| error.to_status())?;
        Ok(Response::new(Box::pin(ReceiverStream::new(told))))
    }
}
