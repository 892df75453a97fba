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

/// Shows what it is about, and goes on only with a yes.
pub fn ask(shown: &str, question: &str) -> Result<(), Failure> {
    let mut terminal = io::stderr().lock();
    write!(terminal, "{shown}{question}? [y/N] ")?;
    terminal.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::operation("nothing was done"))
}
