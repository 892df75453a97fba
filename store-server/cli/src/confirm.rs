//! Asking the operator before what cannot be taken back.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::failure::Failure;

/// Fails where nobody can be asked: there the yes has to be typed beforehand. A script that forgot a filter would otherwise
/// learn it too late.
pub fn somebody_is_there(to_see: &str) -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        return Ok(());
    }
    Err(
        Failure::usage("this cannot be taken back, and there is no terminal to ask on").hint(
            format_args!("say --yes if it is meant, or --dry-run to see {to_see}"),
        ),
    )
}

/// The same, where there is nothing to rehearse.
pub fn somebody_can_say_yes() -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        return Ok(());
    }
    Err(
        Failure::usage("this cannot be taken back, and there is no terminal to ask on")
            .hint("say --yes if it is meant"),
    )
}

/// The same, where more than a yes is needed: `flag` gives it beforehand.
pub fn somebody_can_type(flag: &str) -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        return Ok(());
    }
    Err(
        Failure::usage("this replaces a store, and there is no terminal to ask on").hint(
            format_args!("say {flag} if it is meant, or --dry-run to see what would be"),
        ),
    )
}

/// Digits of a store's identity that name it for sure enough.
const STORE_DIGITS: usize = 8;

/// Shows what it is about, and goes on only when the first digits of the store's identity are typed; gives what was typed.
pub fn store(shown: &str, store_id: &str) -> Result<String, Failure> {
    let digits = store_id.get(..STORE_DIGITS).unwrap_or(store_id);
    let typed = question(&format!(
        "{shown}type the first {STORE_DIGITS} digits of the store's identity ({digits}) to go on: "
    ))?;
    match !typed.is_empty() && typed == digits {
        true => Ok(typed),
        false => Err(Failure::operation("nothing was done")),
    }
}

/// Shows what it is about, and goes on only with a yes.
pub fn ask(shown: &str, question: &str) -> Result<(), Failure> {
    let answer = self::question(&format!("{shown}{question}? [y/N] "))?;
    if matches!(answer.to_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::operation("nothing was done"))
}

fn question(shown: &str) -> io::Result<String> {
    let mut terminal = io::stderr().lock();
    write!(terminal, "{shown}")?;
    terminal.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}
