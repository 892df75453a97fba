//! `stillpoint audit`: what operators asked of the processes.

use clap::{Args, value_parser};
use stillpoint_client::AdminClient;
use stillpoint_proto::v1::{ActionRecord, ListActionsRequest};

use crate::{
    failure::Failure,
    json,
    output::{self, print_text},
    port::{AdminPort, DEFAULT_NAMESPACE, parse_namespace},
};

mod actions;

/// Actions in one answer of the store, each with up to a thousand processes.
const PAGE: u32 = 50;

const AFTER_HELP: &str = "\
Everything that is asked of processes is written down before it is begun: when,
who asked, what, of which processes, how it ended and how long it took. An action
that has not ended is UNKNOWN: it is under way, or the server stopped in it. The
answers' values are not kept. With --json: one object a line, with everything.

Exit codes: 0 done, 1 the store failed, 2 the command line is wrong, 3 there is no
such action.

Examples:
  stillpoint audit
  stillpoint audit --limit 100 --json | jq 'select(.outcome != \"ok\")'
  stillpoint audit --action 019a1b2c-3d4e-7f00-8123-456789abcdef
";

/// What was typed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Options {
    /// Show at most so many, newest first
    #[arg(long, value_name = "N", default_value = "20", value_parser = value_parser!(u32).range(1..))]
    limit: u32,
    /// Show this one in detail, with its processes
    #[arg(long, value_name = "ID", conflicts_with = "limit")]
    action: Option<String>,
    /// Namespace of the processes [default: default]
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

/// Prints the actions, or one of them.
pub fn run(options: Options, json: bool) -> Result<(), Failure> {
    let namespace = options.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    let mut history = History::new(options.port.connect()?, namespace);
    if let Some(id) = &options.action {
        let action = history.find(id)?.ok_or_else(|| {
            Failure::no_action(id, namespace).hint(
                "`stillpoint audit` lists those that are kept; their time is management.audit_days",
            )
        })?;
        return Ok(print_text(&match json {
            true => line(&action),
            false => actions::detail(&action),
        })?);
    }
    let listed = history.newest(options.limit)?;
    if json {
        return Ok(print_text(&listed.iter().map(line).collect::<String>())?);
    }
    if listed.is_empty() {
        eprintln!("no actions in namespace {namespace}");
        return Ok(());
    }
    Ok(output::print_table(&actions::table(&listed))?)
}

fn line(action: &ActionRecord) -> String {
    json::to_string(&actions::to_value(action), false) + "\n"
}

/// The actions of a namespace, newest first, page by page.
struct History {
    port: AdminClient,
    namespace: String,
    /// The last one that was had.
    before: String,
}

impl History {
    fn new(port: AdminClient, namespace: &str) -> Self {
        History {
            port,
            namespace: namespace.into(),
            before: String::new(),
        }
    }

    /// The next ones; empty at the end.
    fn page(&mut self, limit: u32) -> Result<Vec<ActionRecord>, Failure> {
        let answer = self.port.actions(ListActionsRequest {
            namespace: self.namespace.clone(),
            limit,
            before_action_id: self.before.clone(),
        })?;
        if let Some(last) = answer.actions.last() {
            self.before.clone_from(&last.action_id);
        }
        Ok(answer.actions)
    }

    fn newest(&mut self, limit: u32) -> Result<Vec<ActionRecord>, Failure> {
        let mut listed = Vec::new();
        let mut left = limit;
        while left > 0 {
            let page = self.page(left.min(PAGE))?;
            if page.is_empty() {
                break;
            }
            left = left.saturating_sub(page.len().try_into().unwrap_or(u32::MAX));
            listed.extend(page);
        }
        Ok(listed)
    }

    fn find(&mut self, id: &str) -> Result<Option<ActionRecord>, Failure> {
        loop {
            let page = self.page(PAGE)?;
            if page.is_empty() {
                return Ok(None);
            }
            let found = page.into_iter().find(|action| action.action_id == id);
            if found.is_some() {
                return Ok(found);
            }
        }
    }
}
