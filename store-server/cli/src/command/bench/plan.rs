//! What is measured.

use std::{fmt, time::Duration};

use clap::ValueEnum;

/// A grid of cells, and how each is measured.
#[derive(Debug)]
pub struct Plan {
    /// Through which clients.
    pub clients: Vec<ClientKind>,
    /// Doing what.
    pub workloads: Vec<Workload>,
    /// Operations in flight.
    pub in_flight: Vec<u32>,
    /// Bytes of a document.
    pub sizes: Vec<u32>,
    /// Records of each size.
    pub records: u32,
    /// How often each cell is measured.
    pub rounds: u32,
    /// How long.
    pub time: Duration,
    /// How long it runs unmeasured before.
    pub warm_up: Duration,
}

impl Plan {
    /// Everything.
    pub fn full() -> Plan {
        Plan {
            clients: vec![ClientKind::Rust, ClientKind::Lua],
            workloads: Workload::value_variants().to_vec(),
            in_flight: vec![1, 32, 256],
            sizes: vec![100, 400, 4096],
            records: 10_000,
            rounds: 1,
            time: Duration::from_secs(3),
            warm_up: Duration::from_millis(300),
        }
    }

    /// Enough to see that every part works.
    pub fn quick() -> Plan {
        Plan {
            workloads: vec![
                Workload::Get,
                Workload::Put,
                Workload::Update,
                Workload::YcsbA,
                Workload::YcsbF,
            ],
            in_flight: vec![1, 256],
            sizes: vec![400],
            records: 1000,
            time: Duration::from_millis(500),
            warm_up: Duration::from_millis(50),
            ..Plan::full()
        }
    }

    /// The cells, in the order of the table.
    pub fn cells(&self) -> impl Iterator<Item = Cell> {
        self.workloads.iter().flat_map(move |&workload| {
            self.clients.iter().flat_map(move |&client| {
                self.sizes.iter().flat_map(move |&size| {
                    self.in_flight.iter().map(move |&in_flight| Cell {
                        workload,
                        client,
                        size,
                        in_flight,
                    })
                })
            })
        })
    }
}

/// One field of the grid.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// Doing what.
    pub workload: Workload,
    /// Through which client.
    pub client: ClientKind,
    /// Bytes of a document.
    pub size: u32,
    /// Operations in flight.
    pub in_flight: u32,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cell {
            workload,
            client,
            size,
            in_flight,
        } = self;
        write!(
            f,
            "{} {workload}, {size} B, {in_flight} in flight",
            client.name()
        )
    }
}

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKind {
    /// The Rust client, in this process.
    Rust,
    /// The Lua client, in a process of its own.
    Lua,
}

impl ClientKind {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            ClientKind::Rust => "Rust",
            ClientKind::Lua => "Lua",
        }
    }
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Reads
    Get,
    /// Durable writes of whole documents
    Put,
    /// Durable changes of one field
    Update,
    /// Half reads, half writes
    YcsbA,
    /// 95 % reads, 5 % writes
    YcsbB,
    /// Reads, with zipfian keys
    YcsbC,
    /// Half reads, half read-modify-writes
    YcsbF,
}

/// What the operations that are not reads are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Writes the whole document.
    Put,
    /// Changes one field.
    Update,
    /// Reads, then writes the whole document unless another was faster, else tries again.
    ReadModifyWrite,
}

impl Workload {
    /// How many of a hundred operations are reads.
    pub fn reads_percent(self) -> u32 {
        match self {
            Workload::Get | Workload::YcsbC => 100,
            Workload::Put | Workload::Update => 0,
            Workload::YcsbA | Workload::YcsbF => 50,
            Workload::YcsbB => 95,
        }
    }

    /// What the others are.
    pub fn change(self) -> Change {
        match self {
            Workload::Update => Change::Update,
            Workload::YcsbF => Change::ReadModifyWrite,
            _ => Change::Put,
        }
    }

    /// Whether a few records get most of the operations.
    pub fn is_zipfian(self) -> bool {
        !matches!(self, Workload::Get | Workload::Put | Workload::Update)
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no variant is hidden");
        f.write_str(value.get_name())
    }
}
