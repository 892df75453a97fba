//! `stillpoint backup schedule`: what the server does by itself with backups.

use clap::{Args, ValueEnum};
use rmpv::Value;
use stillpoint_proto::v1::{
    BackupJob, BackupStatus, RunScheduledRequest, run_scheduled_response::Kind,
};

use super::{EXIT_CODES, create::show};
use crate::{
    backup::{
        schedule::{alarm_lines, job_table, job_word, rows, to_value},
        work::Meter,
    },
    failure::Failure,
    management::options::user,
    output::{print_json, print_line, print_rows, print_table, print_text},
    port::AdminPort,
    record::object,
};

const AFTER_HELP: &str = "\
Shows what is done when, what came of it, and what is wrong. The plan stands in the
settings of `stillpoint serve`, with times as cron expressions in UTC:

  [backup]
  target      = \"/mnt/backups/world1\"
  full        = \"30 3 * * SUN\"     # Sundays at 3:30
  incremental = \"*/15 * * * *\"     # each quarter of an hour
  verify      = \"0 5 * * *\"        # each day, the newest is restored for trial
  expire      = \"0 6 * * *\"        # then those go that are not to be kept
  keep_daily  = 14

What was missed while the server was down is made up once when it is back. With
--run a job is done at once, as the settings say, whether it is scheduled or not.

Examples:
  stillpoint backup schedule
  stillpoint backup schedule --json | jq '.alarms[].name'
  stillpoint backup schedule --run verify
  stillpoint status --check";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    /// Do this now
    #[arg(long, value_name = "JOB")]
    run: Option<Job>,
    /// Who asks, for the audit [default: the user of the system]
    #[arg(long = "as", value_name = "NAME", requires = "run")]
    actor: Option<String>,
    #[command(flatten)]
    port: AdminPort,
}

/// What can be done now.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Job {
    /// A full backup
    Full,
    /// An incremental one
    Incremental,
    /// A trial restore of the newest, compared with the running store
    Verify,
    /// The removal of those that are not to be kept
    Expire,
}

/// Shows the plan, or does a part of it.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    if let Some(job) = options.run {
        return do_now(job, options, json);
    }
    let answer = options.port.connect()?.backup_schedule()?;
    let status = answer.status.unwrap_or_default();
    match json {
        true => print_json(&to_value(&status), false)?,
        false => show_plan(&status)?,
    }
    Ok(())
}

fn show_plan(status: &BackupStatus) -> std::io::Result<()> {
    print_text(&alarm_lines(&status.alarms))?;
    if status.target.is_empty() {
        print_line("no backups are scheduled: `stillpoint backup schedule --help` says how")?;
    } else {
        print_rows([("target", status.target.clone())])?;
    }
    print_rows(rows(status))?;
    if !status.jobs.is_empty() {
        print_line("")?;
        print_table(&job_table(&status.jobs))?;
    }
    Ok(())
}

fn do_now(job: Job, options: Options, json: bool) -> Result<(), Failure> {
    let job = match job {
        Job::Full => BackupJob::Full,
        Job::Incremental => BackupJob::Incremental,
        Job::Verify => BackupJob::Verify,
        Job::Expire => BackupJob::Expire,
    };
    let request = RunScheduledRequest {
        job: job.into(),
        actor: options.actor.unwrap_or_else(user),
    };
    let mut port = options.port.connect()?;
    let meter = Meter::new(job_word(job));
    let mut done = None;
    for told in port.run_scheduled(request)? {
        match told?.kind {
            Some(Kind::Progress(progress)) => show(&meter, &progress),
            Some(Kind::Done(words)) => done = Some(words),
            // Told by a newer server.
            None => {}
        }
    }
    drop(meter);
    let done = done.ok_or_else(|| {
        Failure::operation("the store ended the answer before the job was done")
            .hint("see with `stillpoint backup schedule` what became of it")
    })?;
    match json {
        true => print_json(
            &object([
                ("job", job_word(job).into()),
                ("done", Value::from(done.as_str())),
            ]),
            false,
        )?,
        false => print_line(&done)?,
    }
    Ok(())
}
