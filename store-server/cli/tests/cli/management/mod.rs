//! What the operator asks of running processes, against a store that answers as it is told to; and a little against a
//! real one.

mod asking;
mod audit;
mod confirming;
mod fake;
mod real;
mod reloading;
