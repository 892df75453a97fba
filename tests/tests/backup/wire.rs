//! A wire to a server, which can be cut.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use parking_lot::Mutex;

/// Passes connections on to a server on loopback, until so many bytes went there. From then on every connection ends at
/// once.
pub struct Wire {
    address: SocketAddr,
    passed: Arc<Passed>,
}

#[derive(Debug)]
struct Passed {
    /// Bytes that may still go to the server.
    left: AtomicU64,
    /// Both ends of each connection.
    ends: Mutex<Vec<TcpStream>>,
}

impl Wire {
    /// A wire that is cut after so many bytes.
    pub fn cut_after(bytes: u64, server: SocketAddr) -> Wire {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let passed = Arc::new(Passed {
            left: bytes.into(),
            ends: Mutex::default(),
        });
        let state = passed.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), false) = (client, state.is_cut()) else {
                    continue;
                };
                let Ok(server) = TcpStream::connect(server) else {
                    continue;
                };
                state.connect(client, server);
            }
        });
        Wire { address, passed }
    }

    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it was cut.
    pub fn is_cut(&self) -> bool {
        self.passed.is_cut()
    }
}

impl Passed {
    fn is_cut(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    fn connect(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let clone = |stream: &TcpStream| stream.try_clone().unwrap();
        self.ends.lock().extend([clone(&client), clone(&server)]);
        let (mut from, mut to) = (clone(&client), clone(&server));
        let state = self.clone();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut bytes) {
                let left = |left: u64| Some(left.saturating_sub(read as u64));
                let _ = (state.left).fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
                if state.is_cut() {
                    state.cut();
                    break;
                }
                if to.write_all(&bytes[..read]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Write);
        });
        let (mut from, mut to) = (server, client);
        thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }

    fn cut(&self) {
        for end in self.ends.lock().drain(..) {
            // It may have ended before.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}
