//! How records are brought to another version of their schema.

use serde::{Deserialize, Serialize};

/// How records are brought to another version of their schema, where the operator who applies it does not say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MigrationConfig {
    /// Rewrite at most so many records a second, for all collections together that an operator gave no rate. The scripts of a
    /// collection never take more than a third of a processor besides. Default: 10000.
    pub records_per_second: u64,
    /// Stop rewriting a collection when more of its records than this cannot be migrated. Default: 100.
    pub failed_max: u64,
}

impl Default for MigrationConfig {
    fn default() -> Self {
        MigrationConfig {
            records_per_second: 10_000,
            failed_max: 100,
        }
    }
}

impl MigrationConfig {
    /// Refuses what cannot work; the message names the setting and the remedy.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.records_per_second == 0 {
            return Err(
                "migration.records_per_second is 0, so nothing would ever be rewritten: set at least 1"
                    .into(),
            );
        }
        Ok(())
    }
}
