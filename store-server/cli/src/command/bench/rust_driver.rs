//! A cell through the Rust client, from this thread; or its operations for as long as something else takes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rustc_hash::FxHashMap;
use stillpoint_client::{CallOptions, Client, Outcome};
use stillpoint_proto::v1::{
    AddStep, GetOp, Op, PatchOp, PatchStep, Path, PathSegment, Predicate, PutOp, Reason, RecordKey,
    op, op_result, patch_step, path_segment, predicate::Test,
};

use super::{
    measured::{Counters, Latencies, Measured, latencies},
    plan::{Cell, Change, Plan},
    records::{Pick, Records},
    server::Target,
};
use crate::{
    failure::Failure,
    port::{operation, unexpected},
};

/// Measures a cell.
pub fn measure(plan: &Plan, cell: &Cell, target: &Target) -> Result<Measured, Failure> {
    let mut admin = target.connect_admin()?;
    let records = Records::new(cell.size, plan.records);
    let mut driver = Driver::new(target.connect()?, cell, &records);
    driver.run(plan.warm_up)?;
    driver.take_latencies();
    let before = Counters::read(&mut admin)?;
    let begun = Instant::now();
    driver.run(plan.time)?;
    Ok(Measured {
        elapsed: begun.elapsed(),
        latencies: driver.take_latencies().0,
        server: Counters::read(&mut admin)?.since(before),
    })
}

/// Operations of a cell, from this thread.
pub struct Driver {
    client: Client,
    in_flight: usize,
    change: Change,
    names: Vec<RecordKey>,
    document: Bytes,
    picks: Vec<Pick>,
    next_pick: usize,
    /// What is in flight, by id.
    under_way: FxHashMap<u64, UnderWay>,
    /// Of each operation.
    latencies: Latencies,
    /// Of those that are not only reads.
    changes: Latencies,
}

/// An operation of the workload; a read-modify-write is several operations of the store.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    pick: Pick,
    begun: Instant,
}

/// Told the time, says whether to go on.
pub type GoesOn<'a> = &'a mut dyn FnMut(Instant) -> bool;

/// How an operation of the workload goes on.
enum Next {
    Done,
    /// By this operation of the store.
    Then(Op),
}

impl Driver {
    /// They go through this client.
    pub fn new(client: Client, cell: &Cell, records: &Records) -> Driver {
        Driver {
            client,
            in_flight: cell.in_flight as usize,
            change: cell.workload.change(),
            names: (0..records.count).map(|n| records.name(n)).collect(),
            document: records.document(1),
            picks: records.picks(cell.workload),
            next_pick: 0,
            under_way: FxHashMap::default(),
            latencies: latencies(),
            changes: latencies(),
        }
    }

    /// Keeps the operations in flight for so long, then lets them end.
    pub fn run(&mut self, time: Duration) -> Result<(), Failure> {
        let stop = Instant::now() + time;
        self.run_while(&mut |now| now < stop)
    }

    /// Keeps the operations in flight for as long as this says so, then lets them end.
    pub fn run_while(&mut self, goes_on: GoesOn<'_>) -> Result<(), Failure> {
        match self.in_flight {
            1 => self.run_blocking(goes_on),
            _ => self.run_pipelined(goes_on),
        }
    }

    /// The latencies since they were last taken, of all operations and of those that are not only reads.
    pub fn take_latencies(&mut self) -> (Latencies, Latencies) {
        let take = |of: &mut Latencies| std::mem::replace(of, latencies());
        (take(&mut self.latencies), take(&mut self.changes))
    }

    fn run_blocking(&mut self, goes_on: GoesOn<'_>) -> Result<(), Failure> {
        let mut begun = Instant::now();
        while goes_on(begun) {
            let pick = self.pick();
            let mut op = self.first(pick);
            while let Next::Then(then) =
                self.answered(pick, self.client.call(op, CallOptions::default()))?
            {
                op = then;
            }
            let ended = Instant::now();
            self.record(pick, begun, ended);
            begun = ended;
        }
        Ok(())
    }

    fn run_pipelined(&mut self, goes_on: GoesOn<'_>) -> Result<(), Failure> {
        let begun = Instant::now();
        for _ in 0..self.in_flight {
            self.begin(begun)?;
        }
        while !self.under_way.is_empty() {
            self.client.poll(Duration::from_secs(1));
            let now = Instant::now();
            while let Some(id) = self.client.next() {
                let (Some(under_way), Some(outcome)) =
                    (self.under_way.remove(&id), self.client.take(id))
                else {
                    continue;
                };
                match self.answered(under_way.pick, outcome)? {
                    Next::Then(op) => self.submit(op, under_way)?,
                    Next::Done => {
                        self.record(under_way.pick, under_way.begun, now);
                        if goes_on(now) {
                            self.begin(now)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, now: Instant) -> Result<(), Failure> {
        let pick = self.pick();
        self.submit(self.first(pick), UnderWay { pick, begun: now })
    }

    fn submit(&mut self, op: Op, under_way: UnderWay) -> Result<(), Failure> {
        let id = self.client.submit(op, CallOptions::default())?;
        self.under_way.insert(id, under_way);
        Ok(())
    }

    fn pick(&mut self) -> Pick {
        let pick = self.picks[self.next_pick];
        self.next_pick = (self.next_pick + 1) % self.picks.len();
        pick
    }

    /// The first operation of the store.
    fn first(&self, pick: Pick) -> Op {
        let key = Some(self.names[pick.record as usize].clone());
        operation(match self.change {
            _ if pick.is_read => op::Kind::Get(GetOp {
                key,
                ..GetOp::default()
            }),
            Change::ReadModifyWrite => op::Kind::Get(GetOp {
                key,
                ..GetOp::default()
            }),
            Change::Put => op::Kind::Put(self.put(key, Vec::new())),
            Change::Update => op::Kind::Patch(PatchOp {
                key,
                steps: vec![add_gold()],
                ..PatchOp::default()
            }),
        })
    }

    fn put(&self, key: Option<RecordKey>, guards: Vec<Predicate>) -> PutOp {
        PutOp {
            key,
            value: self.document.clone(),
            guards,
            ..PutOp::default()
        }
    }

    /// What an answer means for the operation of the workload.
    fn answered(&self, pick: Pick, outcome: Outcome) -> Result<Next, Failure> {
        let modifies = !pick.is_read && self.change == Change::ReadModifyWrite;
        let current = match outcome {
            Ok(reply) => match reply.kind {
                op_result::Kind::Get(get) if modifies => get.record,
                op_result::Kind::Get(get) if get.record.is_some() => return Ok(Next::Done),
                op_result::Kind::Put(_) | op_result::Kind::Patch(_) => return Ok(Next::Done),
                other => return Err(unexpected(&other)),
            },
            // Another was faster; the error has what it wrote.
            Err(error) if modifies && error.reason() == Reason::VersionConflict => error.current,
            Err(error) => return Err(error.into()),
        };
        let unchanged = Predicate {
            test: Some(Test::ModRev(current.map_or(0, |record| record.mod_rev))),
        };
        let key = Some(self.names[pick.record as usize].clone());
        Ok(Next::Then(operation(op::Kind::Put(
            self.put(key, vec![unchanged]),
        ))))
    }

    fn record(&mut self, pick: Pick, begun: Instant, ended: Instant) {
        let took_ns = (ended - begun).as_nanos() as u64;
        self.latencies.saturating_record(took_ns);
        if !pick.is_read {
            self.changes.saturating_record(took_ns);
        }
    }
}

/// Adds 1 to the field `gold`.
fn add_gold() -> PatchStep {
    let segment = path_segment::Segment::Field("gold".into());
    PatchStep {
        kind: Some(patch_step::Kind::Add(AddStep {
            path: Some(Path {
                segments: vec![PathSegment {
                    segment: Some(segment),
                }],
            }),
            delta: Bytes::from_static(b"\x01"),
            ..AddStep::default()
        })),
    }
}
