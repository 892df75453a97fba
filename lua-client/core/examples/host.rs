//! A bare Lua interpreter of the version this is built for: `host FILE [ARGS]`. It loads the module like a stock
//! interpreter, for versions that are not installed.

use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let Some(script) = args.next() else {
        eprintln!("usage: host FILE [ARGS]");
        return ExitCode::from(2);
    };
    match stillpoint_core::host::run_script_bare(Path::new(&script), &args.collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("host: {error}");
            ExitCode::FAILURE
        }
    }
}
