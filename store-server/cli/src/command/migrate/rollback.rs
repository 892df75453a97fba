//! `stillpoint migrate rollback`: takes a collection back to an older version.

use clap::Args;
use stillpoint_client::AdminClient;
use stillpoint_migrations::source::ANY_NAMESPACE;
use stillpoint_proto::v1::{CollectionName, MigrationStatus, RollBackMigrationRequest};

use super::EXIT_CODES;
use crate::{
    confirm,
    failure::Failure,
    interrupt::Interrupt,
    migrate::{
        collection::{Collection, Home, name},
        job,
        listen::Words,
        pace::{Operator, Pace, Wait},
        steps,
        words::status_line,
    },
    port::AdminPort,
};

const AFTER_HELP: &str = "\
Goes back to the version before the last apply, or to the one that --to says, by the
`down` of each script, as apply goes forth: from one moment on every read gives the older
version, and the records are rewritten in the background. Sessions that speak a newer one
are waited for with --wait, and named. After `stillpoint migrate finish` it is refused.

Where a script has no `down`, --from-history takes the records that nobody has written
since from the log as they were; those that were written go into quarantine.

You are shown how it stands, and asked. Where there is no terminal to ask on, --yes has
to be said.

Examples:
  stillpoint migrate rollback game/player
  stillpoint migrate rollback game/player --to 1 --wait 60 --yes
  stillpoint migrate rollback game/player --from-history";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    /// The collection
    #[arg(value_name = "COLLECTION")]
    collection: Collection,
    /// The version to go back to [default: the one before the last apply]
    #[arg(long, value_name = "N")]
    to: Option<u32>,
    /// Where a script has no `down`, take the records as they were from the log
    #[arg(long)]
    from_history: bool,
    /// Do not ask whether it is meant
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    pace: Pace,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    operator: Operator,
    #[command(flatten)]
    home: Home,
    #[command(flatten)]
    port: AdminPort,
}

/// Takes it back.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let collection = options.home.find(&options.collection);
    if !options.yes {
        confirm::somebody_can_say_yes()?;
    }
    let mut port = options.port.connect()?;
    if !options.yes {
        let status = found(&mut port, &collection)?;
        let question = format!(
            "take {} back to version {}",
            name(&collection),
            options.to.unwrap_or(status.from_version)
        );
        confirm::ask(&shown(&status), &question)?;
    }
    let request = RollBackMigrationRequest {
        collection: Some(collection),
        to_version: options.to,
        from_history: options.from_history,
        rate: options.pace.rate(),
        failed_max: options.pace.failed_max(),
        wait_ms: options.wait.wait_ms(),
        actor: options.operator.name(),
    };
    // Until here there is nothing that would go on without us.
    let interrupt = Interrupt::listen()?;
    let words = Words::of(port, move |admin| admin.roll_back_migration(request));
    let applied = steps::hear(&words, "rolling back", &interrupt, json)
        .map_err(|failure| options.wait.advise(failure))?;
    let first = json.then(Vec::new);
    job::see_to_the_end(
        &options.port,
        applied,
        options.wait.detach,
        &interrupt,
        first,
    )
}

/// How it stands, in lines.
fn shown(status: &MigrationStatus) -> String {
    let mut text = format!("{}\n", status_line(status));
    for session in &status.other_sessions {
        text += &format!("  {session} speaks another version\n");
    }
    text
}

/// How a collection's migration is going; one that has nothing of its own goes with `_any`'s.
pub fn found(
    port: &mut AdminClient,
    collection: &CollectionName,
) -> Result<MigrationStatus, Failure> {
    let all = port.migrations()?.migrations;
    let any = CollectionName {
        namespace: ANY_NAMESPACE.into(),
        ..collection.clone()
    };
    let of = |name: &CollectionName| {
        let is_it = |status: &&MigrationStatus| status.collection.as_ref() == Some(name);
        all.iter().find(is_it).cloned()
    };
    of(collection).or_else(|| of(&any)).ok_or_else(|| {
        let name = name(collection);
        Failure::operation(format_args!("{name} has no migrations"))
            .hint("`stillpoint migrate status` shows the collections that have")
    })
}
