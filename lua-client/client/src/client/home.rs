//! The driver of this process.

use std::{mem::ManuallyDrop, sync::OnceLock};

use stillpoint_proto::v1::StoreError;

use crate::{Config, driver::Driver, endpoint::Endpoint, fork};

/// A driver and the process it belongs to. In a forked child it is left alone for good, not even dropped, and the child's
/// own one hangs below it.
#[derive(Debug)]
pub(super) struct Home {
    generation: u64,
    driver: ManuallyDrop<Driver>,
    /// Never touched in the process of `driver`, so no fork can catch it locked.
    in_child: OnceLock<Result<Box<Home>, StoreError>>,
}

impl Home {
    pub fn new(config: Config, endpoints: Vec<Endpoint>) -> Result<Self, StoreError> {
        Ok(Home {
            generation: fork::generation(),
            driver: ManuallyDrop::new(Driver::new(config, endpoints, fork::generation())?),
            in_child: OnceLock::new(),
        })
    }

    pub fn driver(&self) -> Result<&Driver, StoreError> {
        if self.generation == fork::generation() {
            return Ok(&self.driver);
        }
        let child = self.in_child.get_or_init(|| {
            let shared = &self.driver.shared;
            let config = Config {
                // It is the parent's, which goes on using it.
                session: None,
                ..shared.config.clone()
            };
            Home::new(config, shared.endpoints.clone()).map(Box::new)
        });
        match child {
            Ok(home) => home.driver(),
            Err(error) => Err(error.clone()),
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.generation == fork::generation() {
            // SAFETY: it is not used after this, and dropped nowhere else.
            unsafe { ManuallyDrop::drop(&mut self.driver) };
        }
    }
}
