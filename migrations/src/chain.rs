//! The scripts of one collection, as steps from version to version.

use bytes::Bytes;

use crate::{
    Allowance, Fault, Limits, Part, Source, Step, StepError,
    arrange::arrange,
    sandbox::{Function, Sandbox, Script, Share},
    step::Applied,
};

/// Takes documents of one collection from one version of their schema to another.
///
/// It has a Lua state of its own, in which all its scripts are loaded, and works on one document at a time. Making it takes
/// some hundred microseconds, a step some microseconds: keep it, one per thread.
pub struct Chain {
    name: String,
    steps: Vec<Step>,
    limits: Limits,
    share: Option<Share>,
    /// `None`: the last script spoilt it.
    sandbox: Option<Sandbox>,
}

impl Chain {
    /// The chain of a collection: those of the scripts that serve it. Without any, it is empty, and every version stays as it
    /// is.
    ///
    /// # Errors
    ///
    /// The first script that cannot be loaded, or that does not fit to the one before.
    pub fn new(
        namespace: &str,
        collection: &str,
        sources: &[Source],
        limits: Limits,
    ) -> Result<Chain, StepError> {
        let sources =
            arrange(namespace, collection, sources).map_err(|mut all| all.swap_remove(0))?;
        let mut chain = Chain {
            name: format!("{namespace}/{collection}"),
            steps: Vec::new(),
            limits,
            share: None,
            sandbox: None,
        };
        chain.steps = sources
            .into_iter()
            .map(|source| Step {
                source: source.clone(),
                script: Script::default(),
            })
            .collect();
        chain.sandbox = Some(chain.load()?);
        Ok(chain)
    }

    /// Makes the Lua state, with all scripts in it.
    fn load(&mut self) -> Result<Sandbox, StepError> {
        let mut sandbox = Sandbox::new(self.steps.len(), &self.limits)
            .map_err(|fault| fault.at(&self.name, Part::Script))?;
        for (place, step) in self.steps.iter_mut().enumerate() {
            let Source { number, text, .. } = &step.source;
            let fail = |fault: Fault| fault.at(step.source.path(), Part::Script);
            let script = sandbox
                .load(place, &step.source.file_name(), text)
                .map_err(fail)?;
            if script.to != *number || script.from.checked_add(1) != Some(script.to) {
                return Err(fail(Fault::WrongVersions {
                    from: script.from,
                    to: script.to,
                    number: *number,
                }));
            }
            step.script = script;
        }
        Ok(sandbox)
    }

    /// The oldest version that a document can have.
    pub fn first(&self) -> u32 {
        self.steps.first().map_or(0, |step| step.script.from)
    }

    /// The newest version.
    pub fn last(&self) -> u32 {
        self.steps.last().map_or(0, |step| step.script.to)
    }

    /// The scripts, from the oldest.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The newest step between these versions that has no way back.
    pub fn without_down(&self, from: u32, to: u32) -> Option<&Step> {
        let between = |step: &&Step| step.script.from >= from && step.script.to <= to;
        self.steps
            .iter()
            .rev()
            .filter(between)
            .find(|step| !step.has_down())
    }

    /// Checks that what was applied is still there as it was.
    ///
    /// # Errors
    ///
    /// The first script that was changed or is gone. Those older than the first that is still there do not count.
    pub fn ensure_unchanged(&self, applied: &[Applied]) -> Result<(), StepError> {
        for applied in applied
            .iter()
            .filter(|applied| applied.number > self.first())
        {
            match self
                .steps
                .iter()
                .find(|step| step.source.number == applied.number)
            {
                Some(step) if step.source.hash == applied.hash => {}
                Some(step) => return Err(Fault::Changed.at(step.source.path(), Part::Script)),
                None => {
                    let name = format!("{}/{:04}", self.name, applied.number);
                    return Err(Fault::Gone.at(name, Part::Script));
                }
            }
        }
        Ok(())
    }

    /// Makes a newer version of a document. Of one to itself, it is the same bytes; else it is written in the canonical form.
    ///
    /// # Errors
    ///
    /// What is wrong, and which script is to blame. The next document is not affected.
    pub fn up(&mut self, from: u32, to: u32, key: &[u8], value: &[u8]) -> Result<Bytes, StepError> {
        if from > to {
            return Err(self.no_way(from, to));
        }
        self.travel(from, to, key, value)
    }

    /// Makes an older version of a document, by `down` of each step.
    ///
    /// # Errors
    ///
    /// As for [`up`](Chain::up), and [`Fault::NoDown`].
    pub fn down(
        &mut self,
        from: u32,
        to: u32,
        key: &[u8],
        value: &[u8],
    ) -> Result<Bytes, StepError> {
        if from < to {
            return Err(self.no_way(from, to));
        }
        if let Some(step) = self.without_down(to, from) {
            let Script { from, to, .. } = step.script;
            return Err(step.error(Function::Down, Fault::NoDown { from, to }));
        }
        self.travel(from, to, key, value)
    }

    /// Does something with what is left of an allowance; what it uses is taken from that.
    ///
    /// # Errors
    ///
    /// As what is done, and [`Fault::UsedUp`].
    pub fn within<T>(
        &mut self,
        allowance: &mut Allowance,
        run: impl FnOnce(&mut Chain) -> Result<T, StepError>,
    ) -> Result<T, StepError> {
        let whole = allowance.whole();
        let Some(end) = allowance.end() else {
            return Err(Fault::used_up(whole).at(&self.name, Part::Script));
        };
        let steps = allowance.steps_left;
        self.share = Some(Share { steps, end, whole });
        let result = run(self);
        let left = self.share.take().map_or(0, |share| share.steps);
        allowance.leave(left, end);
        result
    }

    /// The document in the form in which the last step would have written it.
    pub(crate) fn rewritten(&mut self, key: &[u8], value: &[u8]) -> Result<Bytes, StepError> {
        self.with_sandbox(|name, _, sandbox| {
            let fail = |fault: Fault| fault.at(name, Part::Script);
            sandbox.begin(value, key).map_err(fail)?;
            sandbox.write().map_err(fail)?;
            Ok(sandbox.to_bytes())
        })
    }

    /// One step up without its check.
    pub(crate) fn up_unchecked(
        &mut self,
        place: usize,
        key: &[u8],
        value: &[u8],
    ) -> Result<Bytes, StepError> {
        self.with_sandbox(|name, steps, sandbox| {
            sandbox
                .begin(value, key)
                .map_err(|fault| fault.at(name, Part::Script))?;
            let fail = |fault| steps[place].error(Function::Up, fault);
            sandbox.change(place, Function::Up).map_err(fail)?;
            sandbox.write().map_err(fail)?;
            Ok(sandbox.to_bytes())
        })
    }

    fn travel(&mut self, from: u32, to: u32, key: &[u8], value: &[u8]) -> Result<Bytes, StepError> {
        if from == to {
            return Ok(Bytes::copy_from_slice(value));
        }
        let (first, last) = (self.first(), self.last());
        if from.min(to) < first || from.max(to) > last {
            return Err(self.no_way(from, to));
        }
        let (upward, count) = (from < to, from.abs_diff(to));
        self.with_sandbox(|name, steps, sandbox| {
            sandbox
                .begin(value, key)
                .map_err(|fault| fault.at(name, Part::Script))?;
            for i in 0..count {
                let version = if upward { from + i } else { from - i - 1 };
                let place = (version - first) as usize;
                let function = if upward { Function::Up } else { Function::Down };
                steps[place].run(sandbox, place, function)?;
                if i + 1 < count {
                    // What the next step gets is what it would get from the store.
                    let fail = |fault| steps[place].error(function, fault);
                    sandbox.settle(key).map_err(fail)?;
                }
            }
            Ok(sandbox.to_bytes())
        })
    }

    /// Lends the Lua state; makes it anew if the last script spoilt it, and throws it away if this one does.
    fn with_sandbox<T>(
        &mut self,
        run: impl FnOnce(&str, &[Step], &mut Sandbox) -> Result<T, StepError>,
    ) -> Result<T, StepError> {
        let mut sandbox = match self.sandbox.take() {
            Some(sandbox) => sandbox,
            None => self.load()?,
        };
        sandbox.share(self.share);
        let result = run(&self.name, &self.steps, &mut sandbox);
        self.share = sandbox.shared();
        if !result
            .as_ref()
            .is_err_and(|error| error.fault.spoils_state())
        {
            self.sandbox = Some(sandbox);
        }
        result
    }

    fn no_way(&self, from: u32, to: u32) -> StepError {
        let (first, last) = (self.first(), self.last());
        Fault::NoWay {
            from,
            to,
            first,
            last,
        }
        .at(&self.name, Part::Script)
    }
}
