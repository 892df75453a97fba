//! Migrations on the operator's port.

use stillpoint_proto::v1::{self, StoreError};

use super::{AdminClient, Messages, finish};

impl AdminClient {
    /// Keeps scripts in the store, all or none, after the store has tried them.
    pub fn publish_scripts(
        &mut self,
        request: v1::PublishScriptsRequest,
    ) -> Result<v1::PublishScriptsResponse, StoreError> {
        let call = self.migration.publish_scripts(request);
        finish(&self.runtime, &self.endpoint, self.deadline, call)
    }

    /// The scripts that the store has, with their texts or without.
    pub fn scripts(&mut self, with_text: bool) -> Result<v1::ListScriptsResponse, StoreError> {
        let request = v1::ListScriptsRequest { with_text };
        let call = self.migration.list_scripts(request);
        finish(&self.runtime, &self.endpoint, self.deadline, call)
    }

    /// How the migrations of all collections are going.
    pub fn migrations(&mut self) -> Result<v1::GetMigrationsResponse, StoreError> {
        let call = self.migration.get_migrations(v1::GetMigrationsRequest {});
        finish(&self.runtime, &self.endpoint, self.deadline, call)
    }

    /// How a collection's migration is going, until its job rests. Dropping the answer early does nothing to the job.
    pub fn follow_migration(
        &mut self,
        collection: v1::CollectionName,
    ) -> Result<Messages<'_, v1::FollowMigrationResponse>, StoreError> {
        let request = v1::FollowMigrationRequest {
            collection: Some(collection),
        };
        let call = self.migration.follow_migration(request);
        let messages = finish(&self.runtime, &self.endpoint, self.deadline, call)?;
        Ok(Messages::new(&self.runtime, &self.endpoint, messages))
    }

    /// Tries scripts on the records that there are, changes nothing, and tells what would be. The deadline bounds only how
    /// long the server takes to begin.
    pub fn dry_run_migration(
        &mut self,
        request: v1::DryRunMigrationRequest,
    ) -> Result<Messages<'_, v1::DryRunMigrationResponse>, StoreError> {
        let call = self.migration.dry_run_migration(request);
        let messages = finish(&self.runtime, &self.endpoint, self.deadline, call)?;
        Ok(Messages::new(&self.runtime, &self.endpoint, messages))
    }

    /// Takes collections to a newer version, and tells which sessions are waited for, up to the moment from which the
    /// version counts.
    pub fn apply_migrations(
        &mut self,
        request: v1::ApplyMigrationsRequest,
    ) -> Result<Messages<'_, v1::ApplyMigrationsResponse>, StoreError> {
        let call = self.migration.apply_migrations(request);
        let messages = finish(&self.runtime, &self.endpoint, self.deadline, call)?;
        Ok(Messages::new(&self.runtime, &self.endpoint, messages))
    }

    /// Takes a collection back to an older version, and tells as [`apply_migrations`](Self::apply_migrations) does.
    pub fn roll_back_migration(
        &mut self,
        request: v1::RollBackMigrationRequest,
    ) -> Result<Messages<'_, v1::RollBackMigrationResponse>, StoreError> {
        let call = self.migration.roll_back_migration(request);
        let messages = finish(&self.runtime, &self.endpoint, self.deadline, call)?;
        Ok(Messages::new(&self.runtime, &self.endpoint, messages))
    }

    /// Holds a collection's background job up.
    pub fn pause_migration(
        &mut self,
        request: v1::PauseMigrationRequest,
    ) -> Result<v1::PauseMigrationResponse, StoreError> {
        let call = self.migration.pause_migration(request);
        finish(&self.runtime, &self.endpoint, self.deadline, call)
    }

    /// Lets a collection's background job go on.
    pub fn resume_migration(
        &mut self,
        request: v1::ResumeMigrationRequest,
    ) -> Result<v1::ResumeMigrationResponse, StoreError> {
        let call = self.migration.resume_migration(request);
        finish(&self.runtime, &self.endpoint, self.deadline, call)
    }

    /// Declares that nobody takes a collection back.
    pub fn finish_migration(
        &mut self,
        request: v1::FinishMigrationRequest,
    ) -> Result<v1::FinishMigrationResponse, StoreError> {
        let call = self.migration.finish_migration(request);
        finish(&self.runtime, &self.endpoint, self.deadline, call)
    }

    /// The records that could not be migrated, of a collection or of all.
    pub fn quarantine(
        &mut self,
        collection: Option<v1::CollectionName>,
    ) -> Result<Messages<'_, v1::ListQuarantineResponse>, StoreError> {
        let request = v1::ListQuarantineRequest { collection };
        let call = self.migration.list_quarantine(request);
        let messages = finish(&self.runtime, &self.endpoint, self.deadline, call)?;
        Ok(Messages::new(&self.runtime, &self.endpoint, messages))
    }
}
