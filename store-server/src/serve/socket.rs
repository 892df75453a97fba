//! The sockets that are listened on.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{self, Path, PathBuf},
};

use tokio::net::{TcpListener, UnixListener};

use super::ServeError;

/// Longest path of a Unix socket, in bytes.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// A socket's path that means the same wherever the program's directory is moved to, unless it is too long for that.
pub fn anchored(path: PathBuf) -> PathBuf {
    match path::absolute(&path) {
        Ok(absolute) if is_short(&absolute.with_extension("new")) => absolute,
        _ => path,
    }
}

fn is_short(path: &Path) -> bool {
    path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX
}

/// Binds a TCP address.
pub async fn bind_tcp(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| ServeError::Bind {
        address: address.to_string(),
        source,
    })
}

/// Binds a Unix socket, replacing one that a killed server left. With a mode, nobody can connect before it is set.
pub fn bind_unix(path: &Path, mode: Option<u32>) -> Result<UnixListener, ServeError> {
    let error = |source| ServeError::Bind {
        address: path.display().to_string(),
        source,
    };
    let new: PathBuf = path.with_extension("new");
    if !is_short(&new) {
        return Err(error(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "the path of a Unix socket may have {SOCKET_PATH_BYTES_MAX} bytes: choose a shorter --data-dir, or a \
                 socket path of its own"
            ),
        )));
    }
    for stale in [path, &new] {
        match fs::symlink_metadata(stale) {
            Ok(found) if found.file_type().is_socket() && !answers(stale) => {
                fs::remove_file(stale).map_err(error)?
            }
            Ok(_) => {
                return Err(error(io::Error::new(
                    io::ErrorKind::AddrInUse,
                    "the path is in use",
                )));
            }
            Err(_) => {}
        }
    }
    let listener = UnixListener::bind(&new).map_err(error)?;
    if let Some(mode) = mode {
        fs::set_permissions(&new, fs::Permissions::from_mode(mode)).map_err(error)?;
    }
    fs::rename(&new, path).map_err(error)?;
    Ok(listener)
}

/// Whether somebody listens on a Unix socket.
fn answers(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_ok()
}
