//! Some records of the store that is running.
//!
//! It is asked twice: what would be changed, which is shown, and when that is meant, to do it, at the same commit.

use std::mem;

use clap::Args;
use stillpoint_client::AdminClient;
use stillpoint_proto::{
    name::check_name,
    v1::{
        RestorePhase, RestorePoint, RestoreProgress, RestoreRecordsEnd, RestoreRecordsRequest,
        restore_point::Point, restore_records_response::Kind,
    },
};

use self::change::Change;
use crate::{
    address::{Address, key_from_text},
    backup::{
        key::KeyFile,
        moment::{Moment, parse_moment},
        target::absolute,
        work::{Meter, RECORDS},
    },
    command::{backup::EXIT_CODES, status::hex},
    confirm,
    failure::Failure,
    json,
    management::options::user,
    output::print_text,
    port::{AdminPort, DEFAULT_NAMESPACE, parse_namespace},
};

mod change;

const AFTER_HELP: &str = "\
The running store compares the records with what they were, shows what differs, and
writes that, when it is meant, as commits of its own. They are as they were, but for
their revisions: value, schema and expiry; what was not there is deleted; what would
have expired since is not brought back. Who owns one of them loses it, and is told.

What they were is in the server's log as far as it goes back, or in backups: then
--from says where, as the server reaches it. All at once if they are no more than
limits.batch_ops; otherwise in several commits, which is told.

With --under nothing is removed: the records are copied to where it says, and those
of now stay.

The moment is one of
  14:05, '10m ago'        a time of today, or of yesterday if that is still to come
  2026-11-23T14:05:00Z    a time; all times are in UTC, of the server's clock
  before-2.0              a label, as `stillpoint mark` sets them
  world1@4711             a revision of a namespace
  seq:90210               a commit by its number in the log
  latest                  the newest commit of a backup

Examples:
  stillpoint restore records player/42 --to 14:05 --dry-run
  stillpoint restore records player/42 player/43 --to '10m ago' --namespace world1
  stillpoint restore records guild/red- --prefix --to before-2.0 --yes
  stillpoint restore records --collection player --to 14:05 --from s3://backups/world1
  stillpoint restore records player/42 --to 14:05 --under player/42-as-it-was";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    /// The records, e.g. player/42; with --prefix how they begin, e.g. guild/red-
    #[arg(value_name = "COLLECTION/KEY", required_unless_present = "collection")]
    records: Vec<String>,
    /// All records that begin so
    #[arg(long, conflicts_with = "collection")]
    prefix: bool,
    /// All records of a collection
    #[arg(long, value_name = "NAME", conflicts_with = "records")]
    collection: Option<String>,
    /// The moment to go back to; may be left out with --from
    #[arg(long, value_name = "MOMENT", value_parser = parse_moment, required_unless_present = "from")]
    to: Option<Moment>,
    /// Where the backups are, as the server reaches it [default: the server's log]
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// The backup to look in, by its name or label, with those before it [default: the newest]
    #[arg(long, value_name = "BACKUP", requires = "from")]
    backup: Option<String>,
    #[command(flatten)]
    key: KeyFile,
    /// Write them under another name: a record's, how they begin, or a collection
    #[arg(long, value_name = "COLLECTION[/KEY]")]
    under: Option<String>,
    /// Write them to another namespace
    #[arg(long, value_name = "NAME", value_parser = parse_namespace)]
    under_namespace: Option<String>,
    /// Change nothing, only show what would be
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do not ask whether it is meant
    #[arg(long)]
    yes: bool,
    /// The store that is meant: the first 8 digits of its identity, or all
    #[arg(long, value_name = "STORE")]
    confirm: Option<String>,
    /// Who asks, for the audit [default: the user of the system]
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
    /// Namespace of the records [default: default]
    #[arg(
        long,
        env = "STILLPOINT_NAMESPACE",
        hide_env_values = true,
        value_name = "NAME",
        value_parser = parse_namespace
    )]
    namespace: Option<String>,
    #[command(flatten)]
    port: AdminPort,
}

/// Brings them back.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let mut request = options.request()?;
    if !(options.dry_run || options.yes) {
        confirm::somebody_is_there("what would be changed")?;
    }
    let mut port = options.port.connect()?;
    if options.dry_run {
        request.dry_run = true;
        return Told::by(&mut port, request, Some(json))?.conclude(true, json);
    }
    if options.yes {
        if request.confirm.is_empty() {
            request.confirm = hex(&port.status()?.header.unwrap_or_default().store_id);
        }
    } else {
        let rehearsal = RestoreRecordsRequest {
            dry_run: true,
            ..request.clone()
        };
        let would = Told::by(&mut port, rehearsal, None)?;
        if would.end.changed == 0 {
            return would.conclude(true, json);
        }
        let question = format!("bring {} back", change::records(would.end.changed));
        confirm::ask(&would.shown, &question)?;
        if request.confirm.is_empty() {
            request.confirm.clone_from(&would.store_id);
        }
        // What was shown is what is meant, also if more was committed or backed up since.
        request.point = Some(RestorePoint {
            point: Some(Point::Seq(would.end.seq)),
        });
    }
    Told::by(&mut port, request, Some(json))?.conclude(false, json)
}

impl Options {
    fn request(&self) -> Result<RestoreRecordsRequest, Failure> {
        let mut request = RestoreRecordsRequest {
            namespace: self.namespace.clone().unwrap_or(DEFAULT_NAMESPACE.into()),
            target: self.from.as_deref().map_or(Ok(String::new()), absolute)?,
            backup: self.backup.clone().unwrap_or_default(),
            point: self.to.as_ref().and_then(Moment::to_point),
            as_namespace: self.under_namespace.clone().unwrap_or_default(),
            confirm: self.confirm.clone().unwrap_or_default(),
            actor: self.actor.clone().unwrap_or_else(user),
            key_file: self.key.for_server()?,
            ..RestoreRecordsRequest::default()
        };
        self.select(&mut request).map_err(Failure::usage)?;
        if let Some(under) = &self.under {
            let (collection, key) = beginning(under).map_err(Failure::usage)?;
            request.as_collection = collection;
            request.as_prefix = key.into();
        }
        Ok(request)
    }

    /// Says which records.
    fn select(&self, request: &mut RestoreRecordsRequest) -> Result<(), String> {
        if let Some(collection) = &self.collection {
            check_name("collection", collection)?;
            request.collection.clone_from(collection);
            return Ok(());
        }
        for text in &self.records {
            let (collection, key) = match self.prefix {
                true => beginning(text)?,
                false => {
                    let address: Address = text.parse()?;
                    (address.collection, address.key)
                }
            };
            let before = mem::replace(&mut request.collection, collection);
            if !before.is_empty() && before != request.collection {
                return Err(format!(
                    "{before} and {}: name records of one collection at a time",
                    request.collection
                ));
            }
            match self.prefix {
                true if self.records.len() > 1 => return Err("name one prefix at a time".into()),
                true => request.prefix = key.into(),
                false => request.keys.push(key.into()),
            }
        }
        Ok(())
    }
}

/// A collection and how keys begin there, which may be with nothing.
fn beginning(text: &str) -> Result<(String, Vec<u8>), String> {
    let (collection, key) = text.split_once('/').unwrap_or((text, ""));
    check_name("collection", collection)?;
    Ok((collection.into(), key_from_text(key)?))
}

/// What was told.
#[derive(Default)]
struct Told {
    store_id: String,
    /// The changes for people, where they were not printed.
    shown: String,
    end: RestoreRecordsEnd,
}

impl Told {
    /// Asks, and prints each change, as JSON or not; or not at all.
    fn by(
        port: &mut AdminClient,
        request: RestoreRecordsRequest,
        print: Option<bool>,
    ) -> Result<Told, Failure> {
        let meter = Meter::new("restoring");
        let mut told = Told::default();
        let mut ended = false;
        for message in port.restore_records(request)? {
            let message = message?;
            match message.kind {
                Some(Kind::Progress(progress)) => show(&meter, &progress),
                Some(Kind::Change(change)) => {
                    let change = Change::new(change).map_err(Failure::operation)?;
                    match print {
                        Some(true) => {
                            let line = json::to_string(&change.to_value(), false) + "\n";
                            meter.suspend(|| print_text(&line))?;
                        }
                        Some(false) => meter.suspend(|| print_text(&change.text()))?,
                        None => told.shown += &change.text(),
                    }
                }
                Some(Kind::End(end)) => {
                    told.store_id = hex(&message.header.unwrap_or_default().store_id);
                    (told.end, ended) = (end, true);
                }
                // Told by a newer server.
                None => {}
            }
        }
        match ended {
            true => Ok(told),
            false => Err(Failure::operation(
                "the store ended the answer before the restore was complete",
            )
            .hint("see what is there with `stillpoint history`")),
        }
    }

    fn conclude(&self, dry_run: bool, json: bool) -> Result<(), Failure> {
        let text = match json {
            true => json::to_string(&change::end_value(&self.end, dry_run), false) + "\n",
            false => change::end_text(&self.end, dry_run),
        };
        print_text(&text)?;
        match self.end.unreadable {
            0 => Ok(()),
            count => Err(Failure::operation(format!(
                "{} cannot be brought to the version that the store has now: as they are now, so they stay",
                change::records(count)
            ))
            .hint("the scripts that failed are named above; what there was is in `stillpoint history`")),
        }
    }
}

fn show(meter: &Meter, progress: &RestoreProgress) {
    match progress.phase() {
        RestorePhase::Comparing => meter.say(&format!("{} compared", progress.records)),
        RestorePhase::Writing => meter.say(&format!("{} compared and written", progress.records)),
        RestorePhase::Log => meter.show("log", progress.bytes, progress.bytes_total),
        RestorePhase::Finishing => meter.show("finishing", progress.bytes, progress.bytes_total),
        _ => meter.show(RECORDS, progress.bytes, progress.bytes_total),
    }
}
