//! `AdminService`: what an operator asks.

use std::{sync::Arc, time::Instant};

use rustix::time::{ClockId, clock_gettime};
use stillpoint_proto::v1::{
    GetStatusRequest, GetStatusResponse, ListSessionsRequest, ListSessionsResponse,
    admin_service_server::AdminService,
};
use tonic::{Request, Response, Status};

use super::{
    Gauges,
    backup::{Backups, schedule},
    session::{self, hub::Hub},
};
use crate::store::Store;

/// `AdminService` on a store.
#[derive(Debug)]
pub struct AdminApi {
    /// The store.
    pub store: Store,
    /// What is going on.
    pub gauges: Arc<Gauges>,
    /// Who is there.
    pub hub: Arc<Hub>,
    /// What becomes of backups.
    pub backups: Arc<Backups>,
    /// When the server began to serve.
    pub since: Instant,
}

#[tonic::async_trait]
impl AdminService for AdminApi {
    async fn get_status(
        &self,
        _: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let mut status = self.store.status();
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        status.counters.cpu_us = cpu.tv_sec as u64 * 1_000_000 + cpu.tv_nsec as u64 / 1000;
        Ok(Response::new(GetStatusResponse {
            header: Some(self.store.header()),
            server_version: env!("CARGO_PKG_VERSION").into(),
            data_dir: self.store.config().data_dir.display().to_string(),
            pid: std::process::id(),
            uptime_ms: self.since.elapsed().as_millis() as u64,
            read_only_reason: status.read_only_reason,
            namespaces: status.namespaces,
            log: Some(status.log),
            view: Some(status.view),
            connections: Gauges::load(&self.gauges.connections),
            in_flight: Gauges::load(&self.gauges.in_flight) + status.queued,
            counters: Some(status.counters),
            sessions: status.sessions,
            claims: status.claims,
            timers: status.timers,
            watches: Gauges::load(&self.gauges.watches),
            backup: Some(schedule::status(&self.backups)),
        }))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        Ok(Response::new(ListSessionsResponse {
            header: Some(self.store.header()),
            sessions: session::list(&self.store, &self.hub, &request.into_inner()),
        }))
    }
}
