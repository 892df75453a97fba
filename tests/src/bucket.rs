//! A bucket on this machine: `moto_server`, of the Python package `moto`, speaks S3 and keeps all in memory.
//!
//! `.ci/run` installs it into `target/ci/moto`; a `moto_server` in `PATH` is as good.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
};

use crate::lua_modules::{REQUIRE_ALL, root};

/// The bucket's name.
const NAME: &str = "backups";

/// What the server says when it listens, before its address.
const LISTENS: &str = "Running on http://";

/// A bucket; gone when dropped.
#[derive(Debug)]
pub struct Bucket {
    process: Child,
    address: SocketAddr,
}

impl Bucket {
    /// An empty one, that takes any credentials. `None` (said on stderr): there is no `moto_server` here.
    ///
    /// # Panics
    ///
    /// If there is none and [`REQUIRE_ALL`] is set, or if it does not start.
    pub fn start() -> Option<Bucket> {
        Self::start_with(&[])
    }

    /// An empty one, that takes no credentials whatever, as if all were wrong.
    ///
    /// # Panics
    ///
    /// As with [`Bucket::start`].
    pub fn start_locked() -> Option<Bucket> {
        // The bucket itself has to be made.
        Self::start_with(&[("INITIAL_NO_AUTH_ACTION_COUNT", "1")])
    }

    fn start_with(environment: &[(&str, &str)]) -> Option<Bucket> {
        let mut process = Command::new(program()?)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut said = BufReader::new(process.stderr.take().expect("it has a stderr"));
        let mut line = String::new();
        let address = loop {
            line.clear();
            let read = said.read_line(&mut line).expect("it says text");
            assert!(read > 0, "moto_server ended before it listened");
            if let Some((_, address)) = line.split_once(LISTENS) {
                break address.trim().parse().expect("an address");
            }
        };
        // It tells of each request, and would wait for its reader.
        thread::spawn(move || io::copy(&mut said, &mut io::sink()));
        let bucket = Bucket { process, address };
        let made = bucket.request("PUT", &format!("/{NAME}"));
        assert!(made.starts_with("HTTP/1.1 200"), "{made}");
        Some(bucket)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a part of it.
    pub fn url(&self, prefix: &str) -> String {
        format!("s3://{NAME}/{prefix}")
    }

    /// The names of all objects below a prefix.
    ///
    /// # Panics
    ///
    /// If it does not answer.
    pub fn objects(&self, prefix: &str) -> Vec<String> {
        let listed = self.request("GET", &format!("/{NAME}?list-type=2&prefix={prefix}"));
        let keys = listed.split("<Key>").skip(1);
        keys.filter_map(|text| Some(text.split_once("</Key>")?.0.to_owned()))
            .collect()
    }

    /// Asks it without credentials; gives the whole answer.
    fn request(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a program needs to reach a bucket that listens there.
pub fn environment(endpoint: SocketAddr) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT", format!("http://{endpoint}")),
        ("AWS_ALLOW_HTTP", "true".into()),
        ("AWS_ACCESS_KEY_ID", "id".into()),
        ("AWS_SECRET_ACCESS_KEY", "secret".into()),
        ("AWS_REGION", "us-east-1".into()),
    ]
}

fn program() -> Option<PathBuf> {
    let name = "moto_server";
    let path = env::var_os("PATH").unwrap_or_default();
    let installed = root().join("target/ci/moto/bin");
    let found = env::split_paths(&path)
        .chain([installed])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    let required = env::var(REQUIRE_ALL).is_ok_and(|value| value == "1");
    assert!(
        found.is_some() || !required,
        "{name} is neither in PATH nor in target/ci/moto: see .ci/run, or unset {REQUIRE_ALL}"
    );
    if found.is_none() {
        eprintln!("skipped: {name} is not in PATH");
    }
    found
}
