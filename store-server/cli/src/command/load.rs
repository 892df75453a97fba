//! `stillpoint load`: reads a dump back into the store.
//!
//! Many writes are in flight at a time. Loading the same file again passes over what is there already, so a load that
//! broke off is simply repeated.
//!
//! - [`lines`]: the file. [`same`]: what is there already. [`done`]: what became of it.

mod done;
mod lines;
mod same;

use std::{
    collections::HashMap,
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, BufRead, BufReader},
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use stillpoint_client::{CallOptions, Client, Outcome};
use stillpoint_proto::v1::{Predicate, PutOp, Reason, StoreError, op, op_result, predicate::Test};

use self::{done::Done, lines::Lines, same::is_same};
use crate::{
    dump_format::{DumpedRecord, Line},
    failure::Failure,
    json,
    port::{DataPort, operation, unexpected},
    progress,
};

/// Writes in flight at a time, unless the server allows less.
const IN_FLIGHT_MAX: usize = 1024;

/// Bytes of values in flight, so that large records do not fill the memory.
const IN_FLIGHT_BYTES_MAX: usize = 16 << 20;

const AFTER_HELP: &str = "\
Loading the same dump again passes over what is there already, so a load that
broke off is simply repeated. Records that have expired since the dump are left
out. The namespace is --namespace, else the one that was dumped.

A record of an older version of its schema is brought to the store's; a line without a
version is one of version 0. One that cannot be brought there is refused and told; the
rest is loaded, and the exit code is 1. What is there already is compared in the version
of the dump; where a migration on the way cannot be undone, or there is none, it is left
as it is, and counted by itself; the exit code is then 1, unless --on-conflict skip is
said. With --on-conflict overwrite a migration that cannot be undone refuses it.

Examples:
  stillpoint load world1.jsonl
  stillpoint load world1.jsonl --namespace world2 --on-conflict overwrite
  stillpoint dump --collection player --url unix:a.sock | stillpoint load - --url unix:b.sock
";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Options {
    /// The file that `stillpoint dump` wrote; - is stdin
    #[arg(default_value = "-")]
    file: String,
    /// What to do where the store has the record with another value
    #[arg(long, value_name = "WHAT", default_value = "fail")]
    on_conflict: OnConflict,
    #[command(flatten)]
    port: DataPort,
}

/// What to do where the store has the record with another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnConflict {
    /// Stop
    Fail,
    /// Keep the store's
    Skip,
    /// Replace it
    Overwrite,
}

/// Loads the file and prints what was done.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let (reader, bar) = open(&options.file)?;
    let mut lines = Lines::new(reader, bar.clone());
    let namespace = match lines.next_line()? {
        Some(Line::Header { namespace }) => namespace,
        _ => {
            return Err(
                Failure::usage("this is no dump: its first line is no header").at(&options.file),
            );
        }
    };
    let namespace = options.port.namespace.clone().unwrap_or(namespace);
    let client = options.port.connect_to(&namespace)?;
    let mut load = Load::new(&client, options.on_conflict);
    let outcome = load.all(&mut lines);
    bar.finish_and_clear();
    load.done.print(json)?;
    outcome
        .and_then(|()| load.done.conclude(load.on_conflict == OnConflict::Fail))
        .map_err(|failure| failure.at(&options.file))
}

fn open(file: &str) -> Result<(Box<dyn BufRead>, ProgressBar), Failure> {
    if file == "-" {
        let bar = progress::records("loaded");
        return Ok((Box::new(BufReader::new(io::stdin())), bar));
    }
    let unreadable = |error: io::Error| Failure::usage(format_args!("cannot read {file}: {error}"));
    let opened = File::open(file).map_err(unreadable)?;
    let bar = progress::bytes("loaded", opened.metadata().map_err(unreadable)?.len());
    let reader = BufReader::with_capacity(1 << 18, bar.wrap_read(opened));
    Ok((Box::new(reader), bar))
}

/// A record on its way.
struct Sent {
    line: u64,
    record: Box<DumpedRecord>,
    bytes: usize,
}

/// A load under way.
struct Load<'a> {
    client: &'a Client,
    on_conflict: OnConflict,
    in_flight: HashMap<u64, Sent>,
    in_flight_max: usize,
    in_flight_bytes: usize,
    done: Done,
}

impl<'a> Load<'a> {
    fn new(client: &'a Client, on_conflict: OnConflict) -> Self {
        let credits = client.info().limits.max_in_flight as usize;
        Load {
            client,
            on_conflict,
            in_flight: HashMap::new(),
            in_flight_max: credits.clamp(1, IN_FLIGHT_MAX),
            in_flight_bytes: 0,
            done: Done::default(),
        }
    }

    /// Loads every line. After an error nothing more is sent, but what was sent is waited for and counted.
    fn all(&mut self, lines: &mut Lines) -> Result<(), Failure> {
        let sent = self.send_all(lines);
        let mut outcome = sent;
        while !self.in_flight.is_empty() {
            let received = self.receive();
            // The error that came first is the one to tell.
            outcome = outcome.and(received);
        }
        outcome
    }

    fn send_all(&mut self, lines: &mut Lines) -> Result<(), Failure> {
        let mut seen = 0;
        loop {
            match lines.next_line()? {
                Some(Line::Record(record)) => {
                    seen += 1;
                    self.send(record, lines.number)?;
                }
                Some(Line::End { records }) if records == seen => return Ok(()),
                Some(Line::End { records }) => {
                    return Err(Failure::usage(format_args!(
                        "the dump had {records} records, this file has {seen}: some are missing"
                    )));
                }
                Some(Line::Header { .. }) => {
                    return Err(Failure::usage("a second header: load one dump at a time")
                        .at(format_args!("line {}", lines.number)));
                }
                None => {
                    return Err(Failure::usage(format_args!(
                        "the dump is cut off after {seen} records: its last line is missing"
                    )));
                }
            }
        }
    }

    /// Sends a record, once there is room.
    fn send(&mut self, record: Box<DumpedRecord>, line: u64) -> Result<(), Failure> {
        let Some(ttl_ms) = time_left(record.expires_at_ms) else {
            self.done.expired += 1;
            return Ok(());
        };
        let value = json::to_msgpack(&record.value);
        let bytes = value.len();
        while self.in_flight.len() >= self.in_flight_max
            || (self.in_flight_bytes + bytes > IN_FLIGHT_BYTES_MAX && !self.in_flight.is_empty())
        {
            self.receive()?;
        }
        let absent = Predicate {
            test: Some(Test::Exists(false)),
        };
        let put = PutOp {
            key: Some(record.address.clone().into()),
            value: value.into(),
            guards: match self.on_conflict {
                OnConflict::Overwrite => Vec::new(),
                OnConflict::Fail | OnConflict::Skip => vec![absent],
            },
            ttl_ms,
            schema: Some(record.schema),
        };
        let options = CallOptions {
            lane: lane_of(&record),
            ..CallOptions::default()
        };
        let id = (self.client.submit(operation(op::Kind::Put(put)), options))
            .map_err(|error| Failure::from(error).at(format_args!("line {line}")))?;
        self.in_flight_bytes += bytes;
        self.in_flight.insert(
            id,
            Sent {
                line,
                record,
                bytes,
            },
        );
        Ok(())
    }

    /// Waits until something is answered, and counts all that is.
    fn receive(&mut self) -> Result<(), Failure> {
        self.client.poll(std::time::Duration::from_secs(1));
        let mut outcome = Ok(());
        while let Some(id) = self.client.next() {
            let (Some(sent), Some(answer)) = (self.in_flight.remove(&id), self.client.take(id))
            else {
                continue;
            };
            self.in_flight_bytes -= sent.bytes;
            let place = format!("line {}: {}", sent.line, sent.record.address);
            let counted = self.count(&sent, &place, answer);
            outcome = outcome.and(counted.map_err(|failure| failure.at(place)));
        }
        outcome
    }

    fn count(&mut self, sent: &Sent, place: &str, answer: Outcome) -> Result<(), Failure> {
        match answer {
            Ok(reply) => match reply.kind {
                op_result::Kind::Put(_) => self.done.written += 1,
                other => return Err(unexpected(&other)),
            },
            Err(error) if error.reason() == Reason::VersionConflict => {
                self.count_conflict(sent, error)?;
            }
            // Nothing is wrong with the others.
            Err(error)
                if matches!(
                    error.reason(),
                    Reason::MigrationFailed | Reason::SchemaUnsupported
                ) =>
            {
                self.done.refuse(place, &error);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The store has the record already.
    fn count_conflict(&mut self, sent: &Sent, error: StoreError) -> Result<(), Failure> {
        let current = error.current.as_ref();
        if current.is_some_and(|current| is_same(&sent.record, current)) {
            self.done.unchanged += 1;
        } else if current.is_some_and(|current| current.schema > sent.record.schema) {
            self.done.not_compared += 1;
        } else if self.on_conflict == OnConflict::Skip {
            self.done.skipped += 1;
        } else {
            return Err(Failure::from(error)
                .hint("--on-conflict skip keeps the store's record, overwrite replaces it"));
        }
        Ok(())
    }
}

/// The lifetime that is left until `expires_at_ms`; 0: for ever. `None`: it is over.
fn time_left(expires_at_ms: u64) -> Option<u64> {
    if expires_at_ms == 0 {
        return Some(0);
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let left = expires_at_ms.saturating_sub(super::put::millis(now));
    (left > 0).then_some(left)
}

/// Two lines of the same record take effect in their order.
fn lane_of(record: &DumpedRecord) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&record.address.collection, &record.address.key).hash(&mut hasher);
    hasher.finish().max(1)
}
