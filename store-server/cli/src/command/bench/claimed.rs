//! A document that a Lua process has claimed: how fast it is read and changed there.

use std::time::Duration;

use super::{
    NAMESPACE,
    script::{Script, garbled},
    server::Target,
    succession::instance,
};
use crate::failure::Failure;

const SCRIPT: &str = include_str!("claimed.lua");

/// What is done with it: as the script calls it, and as it is printed.
const MEASURED: [(&str, &str); 3] = [
    ("field", "read: doc.value.pos.x"),
    ("path", "read: doc:get \"pos.x\""),
    ("add", "change: doc:add(\"gold\", 1), saved in the end"),
];

/// How often something can be done.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// What.
    pub what: &'static str,
    times: u64,
    seconds: f64,
}

impl Rate {
    /// Per second.
    pub fn per_second(self) -> f64 {
        self.times as f64 / self.seconds
    }
}

/// Does each for so long.
pub fn measure(time: Duration, target: &Target) -> Result<Vec<Rate>, Failure> {
    let seconds = time.as_secs_f64().to_string();
    let args = [&target.url, NAMESPACE, &instance(), &seconds];
    let mut script = Script::start(SCRIPT, &args)?;
    let mut rates = Vec::new();
    for (word, what) in MEASURED {
        let line = script.expect(word)?;
        let (times, seconds) = line
            .split_once(' ')
            .and_then(|(times, seconds)| Some((times.parse().ok()?, seconds.parse().ok()?)))
            .ok_or_else(|| garbled(&line))?;
        rates.push(Rate {
            what,
            times,
            seconds,
        });
    }
    script.end()?;
    Ok(rates)
}
