//! `stillpoint repair`: saves what can be saved of a damaged data directory.

use clap::Args;
use stillpoint_store_server::store::repair::{RepairOptions, RepairReport, StateSource, repair};

use crate::{
    failure::Failure,
    logging::{self, LogOptions},
    output,
    settings::{GivenSettings, SettingsFile},
};

const AFTER_HELP: &str = "\
The server refuses to serve from a log that is damaged, and names this command.
It brings the state as far as an unbroken run of commits goes, makes a checkpoint
of it, begins a new log, and moves the damaged one aside: nothing is deleted.
The store becomes a new incarnation, across which clients repeat no write.

No server may run on the directory.

Examples:
  stillpoint repair --data-dir /srv/world1 --dry-run
  stillpoint repair --data-dir /srv/world1
  stillpoint repair --data-dir /srv/world1 --rebuild-view
";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Options {
    /// Change nothing, only say what is wrong and what would be saved
    #[arg(long)]
    dry_run: bool,
    /// Discard the view, and rebuild it from checkpoint and log
    #[arg(long)]
    rebuild_view: bool,
    #[command(flatten)]
    file: SettingsFile,
    #[command(flatten)]
    settings: GivenSettings,
    #[command(flatten)]
    log: LogOptions,
}

/// Repairs the data directory.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let file = options.file.path.as_deref();
    let config = options.settings.into_config(file).map_err(Failure::usage)?;
    logging::start(&options.log)?;
    let what = RepairOptions {
        dry_run: options.dry_run,
        rebuild_view: options.rebuild_view,
    };
    let report = repair(&config, what).map_err(Failure::operation)?;
    let text = if json {
        serde_json::to_string(&report).map_err(Failure::operation)? + "\n"
    } else {
        describe(&report, &what)
    };
    Ok(output::print_text(&text)?)
}

fn describe(report: &RepairReport, what: &RepairOptions) -> String {
    if report.damage.is_empty() {
        let view = match (what.rebuild_view, what.dry_run) {
            (true, false) => "; the view was rebuilt",
            (true, true) => "; the view would be rebuilt",
            (false, _) => "",
        };
        return format!(
            "the log is whole, up to commit {}{view}\n",
            report.saved_seq
        );
    }
    let source = match report.source {
        StateSource::View => "the view and the log behind it",
        StateSource::Checkpoint => "the newest checkpoint and the log behind it",
        StateSource::Log => "the log",
    };
    let verb = if what.dry_run {
        "would be saved"
    } else {
        "saved"
    };
    let mut text = format!(
        "damage: {}\n{verb}: all commits up to {}, from {source}\n",
        report.damage, report.saved_seq
    );
    text += &match report.lost_commits {
        0 => "lost: nothing\n".to_owned(),
        lost => format!(
            "lost: {lost} commits, {} to {}\n",
            report.saved_seq + 1,
            report.newest_seq
        ),
    };
    if report.newer_records > 0 {
        text += &format!(
            "{} records are newer than that: of their transactions other records may be missing\n",
            report.newer_records
        );
    }
    if let Some(path) = &report.log_moved_to {
        text += &format!("the damaged log is in {}\n", path.display());
    }
    text
}
