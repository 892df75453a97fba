//! How a migration is going, as it goes.

use std::{sync::Arc, time::Duration};

use stillpoint_proto::v1::{FollowMigrationRequest, FollowMigrationResponse, Reason, StoreError};
use tokio::{sync::mpsc, time::sleep};
use tonic::Status;

use super::{
    migrations::{Migrations, invalid},
    name::Name,
    status,
};

/// How often the caller is told, at most.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// How often it is looked again though nothing was heard: something may keep the job from going on.
const LOOK_EVERY: Duration = Duration::from_secs(1);

type Answer = Result<FollowMigrationResponse, Status>;

/// Begins to follow; gives what is told.
pub fn begin(
    migrations: &Arc<Migrations>,
    request: FollowMigrationRequest,
) -> Result<mpsc::Receiver<Answer>, StoreError> {
    let name = Name::asked(request.collection)?;
    let table = migrations.store.schemas();
    if table.version(&name.namespace, &name.collection).is_none() {
        return Err(invalid(format!(
            "{name} was never migrated: there is nothing to follow"
        )));
    }
    let (sender, told) = mpsc::channel(1);
    let migrations = migrations.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = follow(&migrations, &name, &sender) => {}
            () = migrations.stopped() => {
                let message = "the server stops; the migration goes on when it is back";
                let error = StoreError::new(Reason::Unavailable, message);
                // Nobody waits for who does not listen.
                drop(sender.try_send(Err(error.to_status())));
            }
        }
    });
    Ok(told)
}

/// Tells how it goes until the job rests, or the caller leaves.
async fn follow(migrations: &Migrations, name: &Name, sender: &mpsc::Sender<Answer>) {
    let mut changed = migrations.changed();
    loop {
        changed.mark_unchanged();
        let table = migrations.store.schemas();
        let status = status::of(migrations, &table, name);
        let told = sender.send(Ok(FollowMigrationResponse {
            header: Some(migrations.store.header()),
            status: Some(status),
        }));
        if told.await.is_err() || !status::is_busy(&table, name) {
            return;
        }
        sleep(TELL_EVERY).await;
        tokio::select! {
            _ = changed.changed() => {}
            () = sleep(LOOK_EVERY) => {}
            () = sender.closed() => return,
        }
    }
}
