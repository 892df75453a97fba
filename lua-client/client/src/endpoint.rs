//! Where a server listens, and how to reach it.

use std::{fmt, io, path::PathBuf, sync::Mutex, time::Duration};

use hyper_util::rt::TokioIo;
use stillpoint_proto::v1::{Reason, StoreError};
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::Channel;
use tower::service_fn;

/// HTTP/2 flow control windows.
#[derive(Clone, Copy, Debug)]
struct Windows {
    stream_bytes: u32,
    connection_bytes: u32,
}

/// Large, so that a full pipeline never waits for them.
const WINDOWS: Windows = Windows {
    stream_bytes: 16 * 1024 * 1024,
    connection_bytes: 16 * 1024 * 1024,
};

/// What a watch may have on the way while its taker is busy counts against its connection, too: with these, eight thousand
/// watches that nobody takes from leave room for the others.
const WATCH_WINDOWS: Windows = Windows {
    stream_bytes: 256 * 1024,
    connection_bytes: i32::MAX as u32,
};

/// Largest HTTP/2 frame accepted: a whole answer in few of them.
const HTTP2_FRAME_BYTES: u32 = 256 * 1024;

/// How often a silent TCP peer is asked whether it lives, and how long it may take to say so. The kernel tells of a dead
/// peer on a Unix socket.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// One address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl Endpoint {
    /// Reads `unix:PATH` or `http://host:port`.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let invalid = |why: &str| {
            StoreError::new(
                Reason::Invalid,
                format!("invalid endpoint {text:?}: {why}; use `unix:PATH` or `http://host:port`"),
            )
        };
        if let Some(path) = text.strip_prefix("unix:") {
            // Both `unix:PATH` and `unix://PATH` are in use.
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(invalid("the path is empty"));
            }
            return Ok(Endpoint::Unix(path.into()));
        }
        if text.starts_with("https:") {
            return Err(invalid("this client is built without TLS"));
        }
        let uri: http::Uri = text.parse().map_err(|_| invalid("it is not a URL"))?;
        match (uri.scheme_str(), uri.host(), uri.port_u16()) {
            (Some("http"), Some(host), Some(port)) => Ok(Endpoint::Tcp(format!("{host}:{port}"))),
            (Some("http"), _, None) => Err(invalid("the port is missing")),
            _ => Err(invalid("the scheme is unknown")),
        }
    }

    /// Connects. The error says why not, and what to do.
    pub async fn dial(&self, timeout: Duration) -> Result<Channel, String> {
        self.dial_with(WINDOWS, timeout).await
    }

    /// Connects, for many streams of which none is to hold up another.
    pub async fn dial_for_watches(&self, timeout: Duration) -> Result<Channel, String> {
        self.dial_with(WATCH_WINDOWS, timeout).await
    }

    async fn dial_with(&self, windows: Windows, timeout: Duration) -> Result<Channel, String> {
        let dialled = async {
            match self {
                Endpoint::Unix(path) => {
                    let stream = UnixStream::connect(path).await;
                    self.channel(stream, windows).await
                }
                Endpoint::Tcp(address) => {
                    let stream = TcpStream::connect(address).await;
                    if let Ok(stream) = &stream {
                        stream.set_nodelay(true).map_err(|e| self.refused(&e))?;
                    }
                    self.channel(stream, windows).await
                }
            }
        };
        tokio::time::timeout(timeout, dialled)
            .await
            .unwrap_or_else(|_| {
                Err(format!(
                    "no connection to {self} within {timeout:?}; is the server overloaded or behind a firewall?"
                ))
            })
    }

    /// Wraps a connected stream.
    async fn channel<S>(&self, stream: io::Result<S>, windows: Windows) -> Result<Channel, String>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let stream = stream.map_err(|error| self.refused(&error))?;
        let stream = Mutex::new(Some(TokioIo::new(stream)));
        let connector = service_fn(move |_: http::Uri| {
            // A channel would connect again by itself; reconnecting is `connection`'s business.
            let once = stream.lock().ok().and_then(|mut stream| stream.take());
            std::future::ready(once.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)))
        });
        let mut endpoint = tonic::transport::Endpoint::from_static("http://stillpoint.invalid")
            .initial_stream_window_size(windows.stream_bytes)
            .initial_connection_window_size(windows.connection_bytes)
            .max_frame_size(HTTP2_FRAME_BYTES);
        if let Endpoint::Tcp(_) = self {
            endpoint = endpoint
                .http2_keep_alive_interval(KEEPALIVE)
                .keep_alive_timeout(KEEPALIVE);
        }
        endpoint
            .connect_with_connector(connector)
            .await
            .map_err(|error| format!("no HTTP/2 with {self}: {}", root_cause(&error)))
    }

    fn refused(&self, error: &io::Error) -> String {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                format!("no server at {self}: {error}; start one with `stillpoint serve`")
            }
            io::ErrorKind::PermissionDenied => {
                format!("no access to {self}: {error}; run as the server's user")
            }
            _ => format!("no connection to {self}: {error}"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
            Endpoint::Tcp(address) => write!(f, "http://{address}"),
        }
    }
}

/// The innermost error, which says what happened; those around it only say where.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_and_shown_alike() {
        for text in ["unix:./a/b.sock", "http://127.0.0.1:7000", "http://[::1]:7"] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(
            Endpoint::parse("unix:///run/s.sock").unwrap().to_string(),
            "unix:/run/s.sock"
        );
    }

    #[test]
    fn a_bad_endpoint_is_named_with_the_remedy() {
        let error = |text| Endpoint::parse(text).unwrap_err().message;
        assert_eq!(
            error("http://host"),
            "invalid endpoint \"http://host\": the port is missing; use `unix:PATH` or `http://host:port`"
        );
        assert!(error("unix:").contains("the path is empty"));
        assert!(error("https://host:1").contains("without TLS"));
        assert!(error("./stillpoint.sock").contains("invalid endpoint"));
    }
}
