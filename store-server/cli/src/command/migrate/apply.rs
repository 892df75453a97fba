//! `stillpoint migrate apply`: takes collections to a newer version.

use clap::{Args, value_parser};
use stillpoint_proto::v1::ApplyMigrationsRequest;

use super::{
    EXIT_CODES,
    publish::{Published, publish},
};
use crate::{
    failure::Failure,
    interrupt::Interrupt,
    migrate::{
        collection::{Collection, Home},
        folder::{FOLDER, Folder},
        job,
        listen::Words,
        pace::{Operator, Pace, Wait},
        steps,
    },
    output::{print_line, print_text},
    port::AdminPort,
};

const AFTER_HELP: &str = "\
Publishes the scripts of the folder that the store does not have, then takes the
collections to their newest version: all that are not there, or those that are named.
From that moment, of which a label is set before, every read gives the new version. The
records are then rewritten in the background, which is followed unless --detach is said;
Ctrl-C leaves it to itself.

Sessions that were opened before go on with the version that they know, through `down`.
Where a script has none, or where it says `lossy` and such a session owns records, apply
waits for them with --wait, and names them; without, it is refused. Without DIR and
without ./migrations only what was published before counts.

Examples:
  stillpoint migrate apply
  stillpoint migrate apply ./migrations game/player --to 3 --wait 60
  stillpoint migrate apply --rate 2000 --failed-max 10
  stillpoint migrate apply --detach --json | jq .migrations";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = format!("{AFTER_HELP}\n\n{EXIT_CODES}"))]
pub struct Options {
    #[command(flatten)]
    folder: Folder,
    /// The collections; of namespace _any: in all namespaces [default: all with a newer version]
    #[arg(value_name = "COLLECTION")]
    collections: Vec<Collection>,
    /// The version to go to; only with one collection [default: the newest]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    to: Option<u32>,
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

/// Applies them.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let collections = options.home.find_all(&options.collections);
    if options.to.is_some() && collections.len() != 1 {
        return Err(Failure::usage(
            "--to is a version of one collection: name that, behind the folder",
        )
        .hint(format_args!(
            "e.g. `stillpoint migrate apply {FOLDER} game/player --to 3`"
        )));
    }
    let sources = options.folder.read_if_there()?;
    let actor = options.operator.name();
    let mut port = options.port.connect()?;
    let has_folder = sources.is_some();
    let published = match sources {
        Some(sources) => publish(&mut port, &sources, actor.clone())?,
        None => Published::default(),
    };
    if !json {
        print_text(&published.lines())?;
    }
    let request = ApplyMigrationsRequest {
        collections,
        to_version: options.to.unwrap_or_default(),
        rate: options.pace.rate(),
        failed_max: options.pace.failed_max(),
        wait_ms: options.wait.wait_ms(),
        actor,
    };
    // Until here there is nothing that would go on without us.
    let interrupt = Interrupt::listen()?;
    let words = Words::of(port, move |admin| admin.apply_migrations(request));
    let applied = steps::hear(&words, "applying", &interrupt, json)
        .map_err(|failure| options.wait.advise(failure))?;
    if applied.migrations.is_empty() && !json {
        let why = options.folder.nothing_new(has_folder);
        print_line(&format!("nothing to apply: {why}"))?;
    }
    let first = vec![("published", published.paths())];
    job::see_to_the_end(
        &options.port,
        applied,
        options.wait.detach,
        &interrupt,
        json.then_some(first),
    )
}
