//! What a step costs: `cargo run --release -p stillpoint-migrations --example speed`.
//!
//! It counts processor time, so that other programs on the machine do not matter.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use stillpoint_migrations::{Chain, Limits, Source, StepError};

/// Documents per line.
const COUNT: u32 = 200_000;

fn main() -> Result<(), StepError> {
    let nothing = "up = function() end";
    let rename = "up = function(doc) doc.purse = { gold = doc.gold } doc.gold = nil end";
    let checked =
        "up = function(doc) doc.level = 1 end, check = function(doc) return doc.level >= 1 end";
    let items = "up = function(doc) for _, item in ipairs(doc.bag) do item.worn = 0 end end";
    let walk =
        "up = function(doc) local n = 0 for _ in pairs(doc) do n = n + 1 end doc.fields = n end";
    let document = document()?;
    println!("a document of {} bytes, {COUNT} times", document.len());

    measure("nothing", &[nothing], &document)?;
    measure("rename a field", &[rename], &document)?;
    measure("a default, checked", &[checked], &document)?;
    measure("a field in each of 6 items", &[items], &document)?;
    measure("pairs over all fields", &[walk], &document)?;
    measure("ten steps that do nothing", &[nothing; 10], &document)?;
    measure(
        "all of the above",
        &[nothing, rename, checked, items, walk],
        &document,
    )?;

    let began = processor_time();
    for _ in 0..1000 {
        chain(&[nothing, rename, checked, items, walk])?;
    }
    println!(
        "{:>8.1} µs  making a chain of five steps",
        (processor_time() - began).as_secs_f64() * 1e3
    );
    Ok(())
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

fn chain(steps: &[&str]) -> Result<Chain, StepError> {
    let sources: Vec<_> = (1..)
        .zip(steps)
        .map(|(number, fields)| {
            let text = format!(
                "return {{ from = {}, to = {number}, {fields} }}",
                number - 1
            );
            Source::new("_any", "player", number, "step", text)
        })
        .collect();
    Chain::new("game", "player", &sources, Limits::default())
}

fn measure(what: &str, steps: &[&str], document: &[u8]) -> Result<(), StepError> {
    let mut chain = chain(steps)?;
    let last = chain.last();
    let began = processor_time();
    for _ in 0..COUNT {
        chain.up(0, last, b"p07", document)?;
    }
    let each = (processor_time() - began).as_secs_f64() * 1e6 / f64::from(COUNT);
    println!("{each:>8.2} µs  {what}");
    Ok(())
}

/// A player of the demo game with six items.
fn document() -> Result<Vec<u8>, StepError> {
    let body = "up = function() local bag = {} for i = 1, 6 do \
                bag[i] = { id = ('i%03d'):format(i), kind = 'lantern', price = 10 + i, made_by = 'the old smith of Anduin' } end \
                return { name = 'Gus', gold = 130, bag = bag, stats = { trades = 4, earned = 55, spent = 25 } } end";
    Ok(chain(&[body])?.up(0, 1, b"p07", &[0x80])?.to_vec())
}
