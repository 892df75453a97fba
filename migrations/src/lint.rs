//! Tries scripts before they meet real data.

use std::collections::BTreeSet;

use crate::{Limits, Rehearsal, Source, StepError, arrange::arrange};

/// Everything that is wrong with these scripts, in their order: what cannot be loaded, chains with gaps and forks, and what
/// their samples show. A sample goes through its own script and on through all that follow.
///
/// They are all scripts that there are, also those that were published before, since a chain is checked as a whole.
pub fn lint(sources: &[Source], limits: &Limits) -> Vec<StepError> {
    let mut faults: Vec<StepError> = sources
        .iter()
        .filter_map(|source| alone(source, limits).err())
        .collect();
    let chains: BTreeSet<(&str, &str)> = sources
        .iter()
        .map(|source| (source.namespace.as_str(), source.collection.as_str()))
        .collect();
    for (namespace, collection) in chains {
        match arrange(namespace, collection, sources) {
            // Scripts that are bad by themselves would be told of again.
            Ok(_)
                if faults.iter().any(|fault| {
                    sources.iter().any(|source| {
                        source.serves(namespace, collection) && source.path() == fault.script
                    })
                }) => {}
            Ok(_) => faults.extend(together(namespace, collection, sources, limits)),
            Err(gaps) => faults.extend(gaps),
        }
    }
    // A script of `_any` is in many chains.
    let mut told: Vec<StepError> = Vec::new();
    for fault in faults {
        if !told.contains(&fault) {
            told.push(fault);
        }
    }
    told
}

/// A script by itself, with its samples; without any it is only loaded.
fn alone(source: &Source, limits: &Limits) -> Result<(), StepError> {
    let only = std::slice::from_ref(source);
    let mut rehearsal =
        Rehearsal::new(&source.namespace, &source.collection, only, limits.clone())?;
    let (first, last) = (rehearsal.chain().first(), rehearsal.chain().last());
    for step in rehearsal.chain().steps().to_vec() {
        for (sample, key) in step.samples() {
            rehearsal.up(first, last, key, sample)?;
        }
    }
    Ok(())
}

/// The samples of all scripts of a chain, to its end; the first fault.
fn together(
    namespace: &str,
    collection: &str,
    sources: &[Source],
    limits: &Limits,
) -> Option<StepError> {
    let mut rehearsal = match Rehearsal::new(namespace, collection, sources, limits.clone()) {
        Ok(rehearsal) => rehearsal,
        Err(error) => return Some(error),
    };
    let last = rehearsal.chain().last();
    for step in rehearsal.chain().steps().to_vec() {
        for (sample, key) in step.samples() {
            if let Err(error) = rehearsal.up(step.from(), last, key, sample) {
                return Some(error);
            }
        }
    }
    None
}
