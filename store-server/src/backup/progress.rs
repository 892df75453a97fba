//! How far a backup or a restore is.

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Records are copied to or from the target.
    Records,
    /// The log is copied to or from the target.
    Log,
    /// Files are read and their checksums compared.
    Checking,
    /// The restored state is compared with what the log says of it, and made durable.
    Finishing,
}

/// How far it is. The numbers are of the whole, over all phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Records copied so far.
    pub records: u64,
    /// Records that there are in all; while commits go on, about so many.
    pub records_total: u64,
    /// Bytes of records and log entries so far, before compression.
    pub bytes: u64,
    /// Bytes of records and log entries that there are in all, before compression: about; 0: not known.
    pub bytes_total: u64,
    /// Bytes of files in the target so far.
    pub stored_bytes: u64,
}
