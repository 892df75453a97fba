//! From what the user typed to what the server runs on.
//!
//! [`table::SETTINGS`] has one row per setting; its flag, its environment variable, its place in the TOML file, its help
//! and its line of `--print-config` are all made from that row. A flag wins over the environment, which wins over the
//! file, which wins over the default.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use stillpoint_store_server::config::Config;
use toml::{Table, Value};

use self::table::{SETTINGS, Setting};

pub mod kind;
mod print;
mod table;

pub use kind::size_text;
pub use print::print_config;

/// The settings given by flags and environment, as a TOML table.
#[derive(Clone, Debug, Default)]
pub struct GivenSettings {
    given: Table,
}

impl Args for GivenSettings {
    fn augment_args(command: Command) -> Command {
        command.args(SETTINGS.iter().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The flag of a setting.
fn argument(setting: &'static Setting) -> Arg {
    let kind = setting.kind;
    let help = format!("{} [default: {}]", setting.doc, setting.default_text());
    let arg = Arg::new(setting.flag)
        .long(setting.flag)
        .env(setting.env())
        .hide_env_values(true)
        .help(help)
        .help_heading(setting.heading())
        .value_name(kind.value_name())
        .value_parser(move |text: &str| kind.parse(text));
    if kind.is_switch() {
        arg.num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
    } else if kind.is_list() {
        arg.action(clap::ArgAction::Append).value_delimiter(',')
    } else {
        arg
    }
}

impl FromArgMatches for GivenSettings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut settings = Self::default();
        settings.update_from_arg_matches(matches)?;
        Ok(settings)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in SETTINGS {
            let Some(values) = matches.get_many::<Value>(setting.flag) else {
                continue;
            };
            let mut values: Vec<Value> = values.cloned().collect();
            let value = if setting.kind.is_list() {
                Value::Array(values)
            } else {
                values.remove(values.len() - 1)
            };
            put(&mut self.given, setting.key, value);
        }
        Ok(())
    }
}

impl GivenSettings {
    /// Those of the environment, for commands that have no flags for them.
    pub fn of_environment() -> Result<Self, clap::Error> {
        let command = Self::augment_args(Command::new("stillpoint").no_binary_name(true));
        Self::from_arg_matches(&command.try_get_matches_from([""; 0])?)
    }

    /// Lays the given settings over those of `file`, and these over the defaults. The message names the setting and
    /// the remedy.
    pub fn into_config(self, file: Option<&Path>) -> Result<Config, String> {
        let mut table = match file {
            Some(path) => read_file(path)?,
            None => Table::new(),
        };
        overlay(&mut table, self.given);
        let config: Config = table
            .try_into()
            .map_err(|error: toml::de::Error| format!("invalid settings: {}", error.message()))?;
        config.check()?;
        Ok(config)
    }
}

/// Reads a settings file; sizes and times may have units, as on the command line.
fn read_file(path: &Path) -> Result<Table, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read settings file {}: {error}", path.display()))?;
    read_toml(&text).map_err(|error| format!("in settings file {}: {error}", path.display()))
}

fn read_toml(text: &str) -> Result<Table, String> {
    let typed: Table = text.parse().map_err(|error| format!("{error}"))?;
    let mut table = Table::new();
    for (name, value) in typed {
        match value {
            Value::Table(section) if table::is_section(&name) => {
                for (key, value) in section {
                    accept(&mut table, &format!("{name}.{key}"), value)?;
                }
            }
            value => accept(&mut table, &name, value)?,
        }
    }
    Ok(table)
}

/// Puts one setting of a file into `table`, if there is such a setting and it can have this value.
fn accept(table: &mut Table, key: &str, value: Value) -> Result<(), String> {
    let setting = table::find(key).ok_or_else(|| {
        format!("unknown setting {key:?}: `stillpoint serve --print-config` lists all there are")
    })?;
    let value = (setting.kind.accept(value)).map_err(|error| format!("{key}: {error}"))?;
    put(table, key, value);
    Ok(())
}

/// Sets `section.name` or `name`.
fn put(table: &mut Table, key: &str, value: Value) {
    let Some((section, name)) = key.split_once('.') else {
        table.insert(key.into(), value);
        return;
    };
    let section = (table.entry(section)).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(section) = section {
        section.insert(name.into(), value);
    }
}

/// Lays the values of `over` over those of `table`.
fn overlay(table: &mut Table, over: Table) {
    for (name, value) in over {
        match (table.get_mut(&name), value) {
            (Some(Value::Table(inner)), Value::Table(over)) => overlay(inner, over),
            (_, value) => {
                table.insert(name, value);
            }
        }
    }
}

/// The settings file, for commands that take one.
#[derive(Clone, Debug, clap::Args)]
pub struct SettingsFile {
    /// Read settings from this TOML file (a template: --print-config)
    #[arg(
        long = "config",
        env = "STILLPOINT_CONFIG",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub path: Option<PathBuf>,
}

#[cfg(test)]
mod tests;
