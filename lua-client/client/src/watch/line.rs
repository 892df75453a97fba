//! The connection that all watches share.

use parking_lot::Mutex;
use tonic::transport::Channel;

use crate::shared::Shared;

/// Dialled by the watch that needs it first, while the others wait.
#[derive(Debug, Default)]
pub(crate) struct Line {
    standing: Mutex<Standing>,
    dialling: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Standing {
    /// Counts the connections.
    number: u64,
    /// The one that stands, and which endpoint it is to.
    channel: Option<(Channel, usize)>,
}

impl Line {
    /// The connection to this endpoint and its number, dialled if need be. The error says why not.
    pub async fn get(&self, shared: &Shared, at: usize) -> Result<(Channel, u64), String> {
        let _dialling = self.dialling.lock().await;
        if let Some(standing) = self.standing.lock().to(at) {
            return Ok(standing);
        }
        let timeout = shared.config.connect_timeout;
        let channel = shared.endpoints[at].dial_for_watches(timeout).await?;
        let mut standing = self.standing.lock();
        standing.number += 1;
        standing.channel = Some((channel.clone(), at));
        Ok((channel, standing.number))
    }

    /// The connection with this number is lost.
    pub fn lost(&self, number: u64) {
        let mut standing = self.standing.lock();
        if standing.number == number {
            standing.channel = None;
        }
    }

    /// Nobody watches any more.
    pub fn hang_up(&self) {
        self.standing.lock().channel = None;
    }
}

impl Standing {
    fn to(&self, at: usize) -> Option<(Channel, u64)> {
        let (channel, to) = self.channel.as_ref()?;
        (*to == at).then(|| (channel.clone(), self.number))
    }
}
