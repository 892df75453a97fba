//! Which scripts make up a chain, and whether they fit together.

use crate::{Fault, Part, Source, StepError, source::ANY_NAMESPACE};

/// The scripts that serve a collection, in the order of their numbers, without gap, duplicate or fork.
pub(crate) fn arrange<'a>(
    namespace: &str,
    collection: &str,
    sources: &'a [Source],
) -> Result<Vec<&'a Source>, Vec<StepError>> {
    let mut chain: Vec<&Source> = sources
        .iter()
        .filter(|source| source.serves(namespace, collection))
        .collect();
    // Of two with the same number, the one in `_any` is first, and the other is to blame.
    chain.sort_by_key(|source| {
        (
            source.number,
            source.namespace != ANY_NAMESPACE,
            source.path(),
        )
    });
    let mut faults = Vec::new();
    for pair in chain.windows(2) {
        let [before, after] = [pair[0], pair[1]];
        let fault = if before.number == after.number {
            let other = before.path();
            if before.namespace == after.namespace {
                Fault::Duplicate { other }
            } else {
                Fault::Fork { other }
            }
        } else if before.number + 1 != after.number {
            Fault::Gap {
                before: before.number,
            }
        } else {
            continue;
        };
        faults.push(fault.at(after.path(), Part::Script));
    }
    if faults.is_empty() {
        Ok(chain)
    } else {
        Err(faults)
    }
}
