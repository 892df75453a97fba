//! Hears what the store tells, and Ctrl-C.
//!
//! The stream is read on a thread of its own, since reading blocks. To leave is to end the program: the store sees the
//! connection close, and does what the contract says of a caller that leaves.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use stillpoint_client::{AdminClient, Messages};
use stillpoint_proto::v1::StoreError;

use crate::{failure::Failure, interrupt::Interrupt};

/// How long Ctrl-C may wait for us.
const TICK: Duration = Duration::from_millis(20);

/// Words that wait to be heard; then the reader waits, and in the end the store.
const WORDS_MAX: usize = 64;

/// What the store tells.
pub struct Words<M>(Receiver<Result<M, StoreError>>);

/// What is heard next.
#[derive(Debug)]
pub enum Heard<M> {
    /// A word.
    Word(M),
    /// There are no more.
    End,
    /// Ctrl-C.
    Interrupt,
}

impl<M: Send + 'static> Words<M> {
    /// Asks, and hears.
    pub fn of<A>(mut admin: AdminClient, ask: A) -> Words<M>
    where
        A: for<'a> FnOnce(&'a mut AdminClient) -> Result<Messages<'a, M>, StoreError>
            + Send
            + 'static,
    {
        let (tell, told) = sync_channel(WORDS_MAX);
        // Nobody waits for the thread: when we are gone, so is the one it tells.
        thread::spawn(move || match ask(&mut admin) {
            Ok(words) => words
                .map(|word| tell.send(word))
                .find(Result::is_err)
                .map_or((), drop),
            Err(error) => drop(tell.send(Err(error))),
        });
        Words(told)
    }

    /// Waits for the next word.
    pub fn next(&self, interrupt: &Interrupt) -> Result<Heard<M>, Failure> {
        loop {
            match self.0.recv_timeout(TICK) {
                Ok(word) => return Ok(Heard::Word(word?)),
                Err(RecvTimeoutError::Timeout) if interrupt.is_told() => {
                    return Ok(Heard::Interrupt);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(Heard::End),
            }
        }
    }
}
