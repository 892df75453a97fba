//! A connection on the data port, over a Unix socket or TCP, and the bound on their number.
//!
//! A connection over the bound is accepted and each of its calls refused with a message that names the bound. So that
//! these cannot pile up either, only a few of them are held; any more are closed unanswered.

use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

use rustix::net::sockopt::set_socket_keepalive;
use stillpoint_proto::v1::{Reason, StoreError};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use tonic::{Request, Status, transport::server::Connected};

use super::Gauges;

/// Connections over the bound that are held to be told so.
const REFUSED_MAX: u64 = 64;

/// A connection.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    admission: Admission,
}

#[derive(Debug)]
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// Whether a connection is within the bound. Counts it as long as it lives.
#[derive(Clone, Debug)]
pub struct Admission {
    admitted: bool,
    limit: u64,
    _counted: Arc<Counted>,
}

#[derive(Debug)]
struct Counted(Arc<Gauges>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The data port's listeners.
#[derive(Debug)]
pub struct Listeners {
    /// The Unix socket.
    pub unix: UnixListener,
    /// The TCP address, if there is one.
    pub tcp: Option<TcpListener>,
    /// Most connections.
    pub limit: u64,
    /// Where they are counted.
    pub gauges: Arc<Gauges>,
}

impl Listeners {
    /// Waits for the next connection.
    pub async fn accept(&self) -> io::Result<Connection> {
        loop {
            let stream = tokio::select! {
                accepted = self.unix.accept() => Stream::Unix(accepted?.0),
                accepted = accept_tcp(self.tcp.as_ref()) => Stream::Tcp(accepted?),
            };
            let open = self.gauges.connections.fetch_add(1, Ordering::Relaxed);
            let counted = Arc::new(Counted(self.gauges.clone()));
            if open >= self.limit + REFUSED_MAX {
                tracing::warn!(
                    open,
                    limit = self.limit,
                    "closed a connection: too many (limits.connections)"
                );
                continue;
            }
            let admission = Admission {
                admitted: open < self.limit,
                limit: self.limit,
                _counted: counted,
            };
            return Ok(Connection { stream, admission });
        }
    }
}

async fn accept_tcp(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // Not HTTP/2 pings: a Lua process that is busy with itself answers none, and is alive all the same.
            set_socket_keepalive(&stream, true)?;
            Ok(stream)
        }
        None => std::future::pending().await,
    }
}

/// Refuses the calls of a connection over the bound.
pub fn admit(request: Request<()>) -> Result<Request<()>, Status> {
    match request.extensions().get::<Admission>() {
        Some(admission) if !admission.admitted => {
            let message = format!(
                "{} connections are open, which is the limit (limits.connections): close some, or raise it",
                admission.limit
            );
            let mut error = StoreError::new(Reason::Unavailable, message);
            error.retry_after_ms = 1000;
            Err(error.to_status())
        }
        _ => Ok(request),
    }
}

impl Connected for Connection {
    type ConnectInfo = Admission;

    fn connect_info(&self) -> Admission {
        self.admission.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Unix(stream) => stream.is_write_vectored(),
            Stream::Tcp(stream) => stream.is_write_vectored(),
        }
    }
}
