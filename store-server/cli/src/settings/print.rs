//! `--print-config`: the effective settings as a commented TOML file.

use std::fmt::Write;

use stillpoint_store_server::config::Config;
use toml::Table;

use super::table::{self, SECTIONS, SETTINGS, Setting};

/// A settings file that says what `config` says, each setting with its meaning, unit and default.
pub fn print_config(config: &Config) -> String {
    let table = table::table_of(config);
    let mut text = String::from(
        "# Settings of `stillpoint serve`, for --config FILE. A flag wins over the environment, which wins over this file.\n",
    );
    // TOML wants plain keys before the first section, and the list of tables after all plain keys.
    print_settings(&mut text, &table, |s| {
        s.section().is_none() && !s.kind.is_list()
    });
    for (section, heading) in SECTIONS {
        let _ = write!(text, "\n# {heading}.\n[{section}]\n");
        print_settings(&mut text, &table, |s| s.section() == Some(section));
    }
    for setting in SETTINGS.iter().filter(|setting| setting.kind.is_list()) {
        print_list(&mut text, &table, setting);
    }
    text
}

fn print_settings(text: &mut String, table: &Table, which: impl Fn(&Setting) -> bool) {
    for setting in SETTINGS.iter().filter(|setting| which(setting)) {
        print_comment(text, setting);
        let name = setting.name();
        let _ = match table::get(table, setting.key) {
            Some(value) => writeln!(text, "{name} = {value}"),
            None => writeln!(text, "#{name} ="),
        };
    }
}

/// Prints a setting that is a list of tables.
fn print_list(text: &mut String, table: &Table, setting: &Setting) {
    print_comment(text, setting);
    let items = table::get(table, setting.key).and_then(|value| value.as_array());
    let items = items.map_or(&[][..], |items| items.as_slice());
    if items.is_empty() {
        let _ = writeln!(text, "#[[{}]]", setting.key);
    }
    for item in items {
        let entry = item.as_table().map(Table::to_string).unwrap_or_default();
        let _ = write!(text, "[[{}]]\n{entry}", setting.key);
    }
}

fn print_comment(text: &mut String, setting: &Setting) {
    let unit = setting.kind.unit().map(|unit| format!("in {unit}; "));
    let _ = write!(
        text,
        "\n# {}.\n# ({}default: {}; --{}; {})\n",
        setting.doc,
        unit.unwrap_or_default(),
        setting.default_text(),
        setting.flag,
        setting.env(),
    );
}
