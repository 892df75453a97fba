//! A logic process that has a program, answers the commands of a reload, and fails as it is scripted.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use rmpv::Value;
use stillpoint_proto::v1::{
    Command, CommandError, OpenSessionRequest, attach_response::Kind as Told,
    command_answer::Kind as Answer,
};
use tokio::sync::Notify;

use crate::{
    fleet::World,
    process::{Process, delivered, wish},
};

/// What a process does when it is asked something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// What it is asked.
    Do,
    /// Nothing; it says that it failed.
    Fail,
    /// Nothing; it says that it knows no such command.
    NotKnow,
    /// What it is asked, and never says so.
    KeepSilent,
    /// Nothing more, until it is woken: then this, and what it was asked meanwhile.
    Hang,
    /// It ends, and nobody takes its place.
    Die,
    /// It ends, and its session with it.
    End,
    /// It ends, and its successor starts at once.
    BeReplaced,
    /// What it is asked; its connection is lost before the answer, and does not come back.
    BeLost,
    /// The same, and it comes back at once.
    BeBack,
    /// Its connection is lost with the question, and comes back at once.
    MissIt,
    /// What it is asked; meanwhile another one comes, that still has the program of before.
    LetOneIn,
}

/// A process.
pub struct Fake {
    /// Its instance.
    pub instance: String,
    /// What it ran when it started.
    pub first: u32,
    state: Mutex<State>,
    woken: Notify,
}

/// How a process is.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// What it runs.
    pub program: u32,
    /// It runs.
    pub alive: bool,
    /// Its session is not over, and nobody has taken it.
    pub has_session: bool,
    /// Commands that it got.
    pub asked: usize,
    past: Vec<u32>,
    prepared: Option<(Value, Option<u32>)>,
    committed: Option<Value>,
}

impl Fake {
    /// Starts one that runs this.
    pub fn start<'a>(
        world: &'a Arc<World>,
        instance: &'a str,
        program: u32,
        script: Vec<Act>,
    ) -> BoxFuture<'a, Arc<Fake>> {
        let wish = OpenSessionRequest {
            // The server may not have seen yet that its predecessor is gone.
            wait_ms: 10_000,
            ..wish(&world.service, instance)
        };
        let starting = async move {
            let process = Process::start_as(&world.server, wish).await;
            let fake = Arc::new(Fake {
                instance: instance.into(),
                first: program,
                state: Mutex::new(State {
                    program,
                    alive: true,
                    has_session: true,
                    ..State::default()
                }),
                woken: Notify::new(),
            });
            world.add(&fake);
            tokio::spawn(fake.clone().run(world.clone(), process, script));
            fake
        };
        starting.boxed()
    }

    /// How it is.
    pub fn state(&self) -> State {
        self.state.lock().expect("no panic").clone()
    }

    /// Lets it go on, if it hangs.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().expect("no panic"));
    }

    async fn run(self: Arc<Self>, world: Arc<World>, mut process: Process, script: Vec<Act>) {
        while let Some(told) = process.told().await {
            let Told::Command(command) = told else {
                continue;
            };
            let mut asked = 0;
            self.change(|state| {
                asked = state.asked;
                state.asked += 1;
            });
            process.answer(&command, delivered()).await;
            if command.name == "drain" {
                return self.leave(world, process, command, &script).await;
            }
            match script.get(asked).copied().unwrap_or(Act::Do) {
                Act::Do => process.answer(&command, self.obey(&world, &command)).await,
                Act::Fail => {
                    process
                        .answer(&command, failed("it was told to fail", false))
                        .await
                }
                Act::NotKnow => {
                    let message = "this process does not use stillpoint.reload";
                    process.answer(&command, failed(message, true)).await;
                }
                Act::KeepSilent => drop(self.obey(&world, &command)),
                Act::Hang => {
                    self.woken.notified().await;
                    process.answer(&command, self.obey(&world, &command)).await;
                }
                Act::Die => return self.change(|state| state.alive = false),
                Act::End => {
                    self.change(|state| (state.alive, state.has_session) = (false, false));
                    return process.close(false).await;
                }
                Act::BeReplaced => {
                    self.change(|state| (state.alive, state.has_session) = (false, false));
                    drop(process);
                    Fake::start(&world, &self.instance, world.files, Vec::new()).await;
                    return;
                }
                Act::BeLost => return drop(self.obey(&world, &command)),
                Act::BeBack => {
                    self.obey(&world, &command);
                    process.reattach().await;
                }
                Act::MissIt => process.reattach().await,
                Act::LetOneIn => {
                    let name = format!("{}-late-{asked}", self.instance);
                    Fake::start(&world, &name, self.first, Vec::new()).await;
                    process.answer(&command, self.obey(&world, &command)).await;
                }
            }
        }
    }

    /// Leaves its session, and ends. Its successor starts, unless its script says otherwise.
    async fn leave(&self, world: Arc<World>, process: Process, command: Command, script: &[Act]) {
        process
            .answer(&command, Answer::Value(Bytes::from_static(b"\xc0")))
            .await;
        process.close(true).await;
        drop(process);
        self.change(|state| (state.alive, state.has_session) = (false, false));
        if script.first() != Some(&Act::Die) {
            Fake::start(&world, &self.instance, world.files, Vec::new()).await;
        }
    }

    /// Does what it is asked.
    fn obey(&self, world: &World, command: &Command) -> Answer {
        let arguments = rmpv::decode::read_value(&mut &command.arguments[..]).ok();
        let argument = |name: &str| {
            let fields = arguments.as_ref()?.as_map()?;
            let found = fields.iter().find(|(key, _)| key.as_str() == Some(name));
            found.map(|(_, value)| value.clone())
        };
        let mut answer = None;
        self.change(|state| answer = Some(state.obey(&command.name, argument("id"))));
        match answer.expect("it was given") {
            Ok(mut report) => {
                if command.name == "reload.status" && world.units() > 0 {
                    report.push(("sources", sources(self.state().program, world.units())));
                }
                let fields = report.into_iter().map(|(name, value)| (name.into(), value));
                let mut bytes = Vec::new();
                rmpv::encode::write_value(&mut bytes, &Value::Map(fields.collect()))
                    .expect("memory takes it");
                Answer::Value(bytes.into())
            }
            Err(why) => failed(why, false),
        }
    }
}

/// The program that the files of all tests are.
pub const FILES: u32 = 9;

impl State {
    fn obey(
        &mut self,
        command: &str,
        id: Option<Value>,
    ) -> Result<Vec<(&'static str, Value)>, &'static str> {
        let outcome = match command {
            "reload.plan" if self.program == FILES => "nothing",
            "reload.plan" => "planned",
            "reload.prepare" => {
                let id = id.ok_or("a preparation goes by an id")?;
                // As in Lua: what has nothing to reload keeps itself ready, too.
                if self
                    .prepared
                    .as_ref()
                    .is_some_and(|(other, _)| *other != id)
                {
                    return Err("another reload is prepared here");
                }
                let new = (self.program != FILES).then_some(FILES);
                self.prepared = Some((id, new));
                if new.is_some() { "prepared" } else { "nothing" }
            }
            "reload.commit" => {
                let (prepared, program) = self.prepared.take().ok_or("nothing is prepared")?;
                if Some(&prepared) != id.as_ref() {
                    return Err("another reload is prepared");
                }
                let program = program.ok_or("there is nothing to commit")?;
                self.past.push(self.program);
                (self.program, self.committed) = (program, Some(prepared));
                "applied"
            }
            "reload.abort" => {
                if self.prepared.as_ref().map(|(prepared, _)| prepared) == id.as_ref() {
                    self.prepared = None;
                }
                "aborted"
            }
            "reload.rollback" if id.is_some() && id != self.committed => "nothing",
            "reload.rollback" => match self.past.pop() {
                Some(before) => {
                    (self.program, self.committed) = (before, None);
                    "applied"
                }
                None => "nothing",
            },
            "reload.status" => "applied",
            _ => return Err("it knows no such command"),
        };
        let changed = match outcome {
            "nothing" => Vec::new(),
            _ => vec!["game.shop".into()],
        };
        let mut report = vec![
            ("outcome", outcome.into()),
            ("changed", Value::Array(changed)),
        ];
        // As the kit: its status names the program.
        if command == "reload.status" {
            report = vec![
                ("generation", 7.into()),
                ("program", self.program.to_string().into()),
            ];
        }
        Ok(report)
    }
}

/// Of so many units, of which one differs from program to program.
fn sources(program: u32, units: usize) -> Value {
    let unit = |number: usize| {
        let source = match number {
            0 => program as usize,
            _ => number,
        };
        (
            format!("game.quests.unit{number}").into(),
            format!("{source:08x}").into(),
        )
    };
    Value::Map((0..units).map(unit).collect())
}

fn failed(message: &str, unknown: bool) -> Answer {
    Answer::Error(CommandError {
        message: message.into(),
        traceback: "game/shop.lua:7: in main chunk".into(),
        unknown,
    })
}
