//! What an operation must be like before it is looked at: names, keys, sizes, shapes. Runs on the caller's side of the
//! queue, so that the writer only sees what is sound.

use stillpoint_proto::{
    name::{check_key, check_name},
    v1::{
        FieldPredicate, MissedFirings, OnceKey, Op, PatchOp, Predicate, PutOp, Reason, RecordKey,
        SetCursorOp, SetTimerOp, StoreError, TxnOp, op, patch_step, predicate,
    },
};

use super::{clock::now_ms, feed::Position, schema::ANY_NAMESPACE};
use crate::{
    config::Config,
    value::{ValueLimits, check},
};

/// Checks operations against the settings.
#[derive(Clone, Debug)]
pub struct Validator {
    config: Config,
    values: ValueLimits,
}

/// Longest lifetime: a thousand years, so that no sum overflows.
const TTL_MS_MAX: u64 = 1000 * 366 * 86_400_000;

impl Validator {
    /// A validator for these settings.
    pub fn new(config: &Config) -> Validator {
        let values = ValueLimits {
            bytes: config.limits.value_bytes,
            nesting: config.limits.nesting,
        };
        Validator {
            config: config.clone(),
            values,
        }
    }

    /// The bounds of one value.
    pub fn values(&self) -> &ValueLimits {
        &self.values
    }

    /// Checks the namespace of a request.
    pub fn namespace(&self, namespace: &str) -> Result<(), StoreError> {
        check_name("namespace", namespace).map_err(invalid)?;
        if namespace == ANY_NAMESPACE {
            return Err(invalid(format!(
                "namespace {ANY_NAMESPACE} has the migrations of all namespaces and no records: use another name"
            )));
        }
        Ok(())
    }

    /// Checks an operation.
    pub fn op(&self, namespace: &str, op: &Op) -> Result<(), StoreError> {
        match op.kind.as_ref() {
            None => Err(invalid("the operation is empty: set one of its kinds")),
            Some(op::Kind::BatchGet(batch)) => {
                self.count("keys of a batch", batch.keys.len())?;
                batch
                    .keys
                    .iter()
                    .try_for_each(|key| self.key(namespace, Some(key)).map(drop))
            }
            Some(op::Kind::Scan(scan)) => self.collection(namespace, &scan.collection),
            Some(op::Kind::ListCollections(_)) => Ok(()),
            Some(op::Kind::History(history)) => self.key(namespace, history.key.as_ref()).map(drop),
            Some(op::Kind::Txn(txn)) => self.txn(namespace, txn),
            Some(op::Kind::Claim(claim)) => self.key(namespace, claim.key.as_ref()).map(drop),
            Some(op::Kind::Release(release)) => self.key(namespace, release.key.as_ref()).map(drop),
            Some(op::Kind::SetCursor(set)) => set_cursor(set),
            Some(kind) => self.single(namespace, kind),
        }
    }

    fn single(&self, namespace: &str, kind: &op::Kind) -> Result<(), StoreError> {
        match kind {
            op::Kind::Get(get) => self.key(namespace, get.key.as_ref()).map(drop),
            op::Kind::Put(put) => self.put(namespace, put),
            op::Kind::Patch(patch) => self.patch(namespace, patch),
            op::Kind::Delete(delete) => {
                let key = self.key(namespace, delete.key.as_ref())?;
                self.predicates(key, &delete.guards)
            }
            op::Kind::SetTimer(set) => self.set_timer(namespace, set),
            op::Kind::CancelTimer(cancel) => timer_name(&cancel.service, &cancel.name),
            op::Kind::FinishTimer(finish) => timer_name(&finish.service, &finish.name),
            op::Kind::BatchGet(_)
            | op::Kind::Scan(_)
            | op::Kind::ListCollections(_)
            | op::Kind::History(_)
            | op::Kind::Claim(_)
            | op::Kind::Release(_)
            | op::Kind::SetCursor(_)
            | op::Kind::Txn(_) => Err(invalid(
                "a transaction takes get, put, patch, delete and operations on timers only",
            )),
        }
    }

    fn set_timer(&self, namespace: &str, set: &SetTimerOp) -> Result<(), StoreError> {
        timer_name(&set.service, &set.name)?;
        ttl(set.delay_ms.max(set.period_ms))?;
        ttl(set.due_ms.saturating_sub(now_ms()))?;
        if MissedFirings::try_from(set.missed).is_err() {
            return Err(invalid(format!(
                "unknown rule {} for missed firings",
                set.missed
            )));
        }
        if !set.payload.is_empty() {
            check(&set.payload, &self.values)?;
        }
        match &set.owner {
            Some(_) => self.key(namespace, set.owner.as_ref()).map(drop),
            None => Ok(()),
        }
    }

    fn put(&self, namespace: &str, put: &PutOp) -> Result<(), StoreError> {
        let key = self.key(namespace, put.key.as_ref())?;
        check(&put.value, &self.values).map_err(|e| at(key, e))?;
        ttl(put.ttl_ms).map_err(|e| at(key, e))?;
        self.predicates(key, &put.guards)
    }

    fn patch(&self, namespace: &str, patch: &PatchOp) -> Result<(), StoreError> {
        let key = self.key(namespace, patch.key.as_ref())?;
        self.count("steps of a patch", patch.steps.len())?;
        ttl(patch.ttl_ms.unwrap_or(0)).map_err(|e| at(key, e))?;
        for step in &patch.steps {
            if let Some(patch_step::Kind::Append(append)) = &step.kind {
                self.count("values of an append", append.values.len())?;
            }
        }
        self.predicates(key, &patch.guards)
    }

    fn txn(&self, namespace: &str, txn: &TxnOp) -> Result<(), StoreError> {
        self.count("guards of a transaction", txn.guards.len())?;
        self.count(
            "operations of a transaction",
            txn.then.len().max(txn.otherwise.len()),
        )?;
        for guard in &txn.guards {
            let key = self.key(namespace, guard.key.as_ref())?;
            self.predicate(guard.predicate.as_ref())
                .map_err(|e| at(key, e))?;
        }
        let mut ops = txn.then.iter().chain(&txn.otherwise);
        ops.try_for_each(|op| match op.kind.as_ref() {
            None => Err(invalid(
                "an operation of the transaction is empty: set one of its kinds",
            )),
            Some(op::Kind::Get(get)) if get.with_claim => {
                Err(invalid("`with_claim` cannot be part of a transaction"))
            }
            Some(kind) => self.single(namespace, kind),
        })
    }

    fn predicates(&self, key: &RecordKey, guards: &[Predicate]) -> Result<(), StoreError> {
        self.count("guards of an operation", guards.len())?;
        guards
            .iter()
            .try_for_each(|guard| self.predicate(Some(guard)).map_err(|e| at(key, e)))
    }

    fn predicate(&self, predicate: Option<&Predicate>) -> Result<(), StoreError> {
        use stillpoint_proto::v1::Comparison as C;
        match predicate.and_then(|p| p.test.as_ref()) {
            None => Err(invalid("a guard is empty: set one of its tests")),
            Some(predicate::Test::Field(field)) => match comparison(field)? {
                C::Exists | C::Missing => Ok(()),
                _ => check(&field.value, &self.values),
            },
            Some(_) => Ok(()),
        }
    }

    fn key<'a>(
        &self,
        namespace: &str,
        key: Option<&'a RecordKey>,
    ) -> Result<&'a RecordKey, StoreError> {
        let key = key.ok_or_else(|| invalid("the operation names no record: set its key"))?;
        self.collection(namespace, &key.collection)?;
        check_key(&key.key).map_err(|e| at(key, invalid(e)))?;
        Ok(key)
    }

    fn collection(&self, namespace: &str, collection: &str) -> Result<(), StoreError> {
        check_name("collection", collection).map_err(invalid)?;
        if self.config.declared_only && self.config.collection(namespace, collection).is_none() {
            return Err(invalid(format!(
                "unknown collection {collection:?}: this server takes only those declared in its settings (collections, \
                 declared_only)"
            )));
        }
        Ok(())
    }

    fn count(&self, what: &str, count: usize) -> Result<(), StoreError> {
        let limit = self.config.limits.batch_ops;
        if count > limit {
            let message = format!("{count} {what}: the limit is {limit} (limits.batch_ops)");
            return Err(StoreError::new(Reason::TooManyOps, message));
        }
        Ok(())
    }
}

/// Most bytes of a timer's name.
const TIMER_NAME_BYTES_MAX: usize = 512;

/// Most bytes of a cursor's name, and of a name that a write has.
const NAME_BYTES_MAX: usize = 128;

fn timer_name(service: &str, name: &[u8]) -> Result<(), StoreError> {
    if !service.is_empty() {
        check_name("service", service).map_err(invalid)?;
    }
    name_bytes("a timer", name, TIMER_NAME_BYTES_MAX)
}

fn set_cursor(set: &SetCursorOp) -> Result<(), StoreError> {
    name_bytes("a cursor", &set.name, NAME_BYTES_MAX)?;
    match set.position.is_empty() || Position::decode(&set.position).is_some() {
        true => Ok(()),
        false => Err(invalid(
            "the cursor's position is none that a watch has told",
        )),
    }
}

fn name_bytes(of: &str, name: &[u8], bytes_max: usize) -> Result<(), StoreError> {
    if name.is_empty() || name.len() > bytes_max {
        return Err(invalid(format!(
            "the name of {of} has {} bytes: use 1 to {bytes_max}",
            name.len()
        )));
    }
    Ok(())
}

/// Checks the name that a write has.
pub fn once(key: &OnceKey) -> Result<(), StoreError> {
    name_bytes("a write (`once`)", &key.name, NAME_BYTES_MAX)
}

/// The comparison of a field guard; one that this program does not know is refused, not guessed.
pub fn comparison(field: &FieldPredicate) -> Result<stillpoint_proto::v1::Comparison, StoreError> {
    use stillpoint_proto::v1::Comparison;
    match Comparison::try_from(field.comparison) {
        Ok(Comparison::Unspecified) | Err(_) => Err(invalid(format!(
            "unknown comparison {} in a guard",
            field.comparison
        ))),
        Ok(known) => Ok(known),
    }
}

fn ttl(ttl_ms: u64) -> Result<(), StoreError> {
    if ttl_ms > TTL_MS_MAX {
        return Err(invalid(format!(
            "a lifetime of {ttl_ms} ms: the limit is {TTL_MS_MAX} ms; 0 is for ever"
        )));
    }
    Ok(())
}

fn invalid(message: impl Into<String>) -> StoreError {
    StoreError::new(Reason::Invalid, message)
}

fn at(key: &RecordKey, mut error: StoreError) -> StoreError {
    error.key = Some(key.clone());
    error
}
