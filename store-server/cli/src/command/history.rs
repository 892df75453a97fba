//! `stillpoint history`: the commits that wrote a record, with what they changed.

use clap::{Args, value_parser};
use indicatif::ProgressBar;
use stillpoint_proto::v1::{
    GetHistoryRequest, HistoryChange, HistoryEnd, get_history_response::Kind,
};

use crate::{
    address::Address,
    failure::Failure,
    json,
    management::words::moment,
    output::print_text,
    port::{AdminPort, DEFAULT_NAMESPACE, parse_namespace},
    progress,
};

pub mod diff;
pub mod entry;

use entry::Entry;

const AFTER_HELP: &str = "\
Shows when the record was written, by which session, and what changed: +, - and ~
stand before what was added, removed and changed. Values are as they were stored, in
the version of their schema of then; a commit that only brought a record to another one
is `migrated`. It reads the server's log, from the newest commit back; what is older than
the log is in the backups. With --json: one object a line, with the whole value.

Exit codes: 0 done, 1 the store failed, 2 the command line is wrong, 3 no commit in
the log wrote the record.

Examples:
  stillpoint history player/42
  stillpoint history player/42 --limit 100 --before 4711
  stillpoint history player/42 --all --json | jq -c '[.time_ms, .value.gold]'
";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Options {
    /// The record, e.g. player/42
    #[arg(value_name = "COLLECTION/KEY")]
    record: Address,
    /// Show at most so many commits, newest first
    #[arg(long, value_name = "N", default_value = "10", value_parser = value_parser!(u32).range(1..))]
    limit: u32,
    /// Show all that the log has
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Only commits before this revision
    #[arg(long, value_name = "REVISION", value_parser = value_parser!(u64).range(1..))]
    before: Option<u64>,
    /// Namespace of the record [default: default]
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

/// Shows them.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let limit = match options.all {
        true => u32::MAX,
        false => options.limit,
    };
    let request = GetHistoryRequest {
        namespace: options.namespace.unwrap_or(DEFAULT_NAMESPACE.into()),
        key: Some(options.record.clone().into()),
        before_revision: options.before.unwrap_or_default(),
        // What the last one changed is known from the one before it.
        limit: limit.checked_add(1).unwrap_or_default(),
    };
    let mut port = options.port.connect()?;
    let bar = progress::bytes("reading the log", 0);
    let mut shown = Shown {
        left: limit,
        oldest: None,
        newer: None,
        json,
        bar: &bar,
    };
    let mut end = HistoryEnd::default();
    for told in port.history(request)? {
        match told?.kind {
            Some(Kind::Change(change)) => shown.next(change)?,
            Some(Kind::Scanned(scanned)) => {
                bar.set_length(scanned.bytes_total);
                bar.set_position(scanned.bytes);
            }
            Some(Kind::End(last)) => end = last,
            // Told by a newer server.
            None => {}
        }
    }
    let oldest = shown.end()?;
    bar.finish_and_clear();
    let Some(oldest) = oldest else {
        let message = format!(
            "no commit in the log wrote {}: {}",
            options.record,
            since(&end)
        );
        return Err(Failure::no_history(message)
            .hint("what is older is in the backups: restore one into a directory of its own"));
    };
    if !json {
        match end.whole_log {
            true => eprintln!("{}", since(&end)),
            false => eprintln!("there may be more: go on with --before={oldest}"),
        }
    }
    Ok(())
}

/// Where the log begins.
fn since(end: &HistoryEnd) -> String {
    let begins = |seq| {
        format!(
            "the log begins with commit {seq} of {}",
            moment(end.log_first_ms)
        )
    };
    match end.log_first_seq {
        0 => "the log is empty".into(),
        1 => begins(1),
        seq => format!("{}; what is older is in the backups", begins(seq)),
    }
}

/// The commits as they come, each shown when the one before it is known.
struct Shown<'a> {
    /// So many may be shown yet.
    left: u32,
    /// Revision of the last one that was shown.
    oldest: Option<u64>,
    /// The one that waits for the one before it.
    newer: Option<HistoryChange>,
    json: bool,
    bar: &'a ProgressBar,
}

impl Shown<'_> {
    fn next(&mut self, older: HistoryChange) -> Result<(), Failure> {
        if let Some(newer) = self.newer.take() {
            self.show(&newer, Some(&older))?;
        }
        self.newer = Some(older);
        Ok(())
    }

    /// Shows the oldest; gives its revision, if anything was shown.
    fn end(mut self) -> Result<Option<u64>, Failure> {
        if let Some(oldest) = self.newer.take() {
            self.show(&oldest, None)?;
        }
        Ok(self.oldest)
    }

    fn show(
        &mut self,
        change: &HistoryChange,
        before: Option<&HistoryChange>,
    ) -> Result<(), Failure> {
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        self.oldest = Some(change.revision);
        let entry = Entry::new(change, before).map_err(Failure::operation)?;
        let text = match self.json {
            true => json::to_string(&entry.to_value(), false) + "\n",
            false => entry.text(),
        };
        Ok(self.bar.suspend(|| print_text(&text))?)
    }
}
