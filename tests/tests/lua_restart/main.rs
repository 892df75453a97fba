//! Stock interpreters with the module as it ships live through the death, the stop and the restart of their store: what
//! they are told of it, and what goes on. (The built-in Lua would not show all of this: a Rust program ignores SIGPIPE
//! from the start.)

mod claims;
mod errors;
mod events;
mod restore;
mod watches;

use stillpoint_tests::{
    server::{Server, Setup},
    under_every_lua,
};

under_every_lua! {
    errors::the_death_of_the_store_is_a_pause_or_an_error_and_never_the_end_of_the_process
    events::a_stop_is_announced_and_each_start_of_the_store_is_told_once
    events::a_changed_incarnation_is_told_and_ends_sessions_and_resyncs_watches
    watches::watches_tell_every_change_once_and_in_order_over_a_kill_and_a_stop
    claims::claimed_documents_go_on_with_what_was_changed_while_the_store_was_away
    claims::no_change_is_lost_or_doubled_while_the_store_dies_and_stops
    claims::changes_from_before_a_restart_are_refused_when_there_is_a_successor
    claims::a_record_that_is_restored_is_lost_by_its_owner_who_can_claim_it_again
    restore::a_store_that_goes_back_takes_claims_and_refuses_what_its_owners_knew
}

/// How a server ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// With SIGKILL, in the middle of anything.
    Kill,
    /// With SIGTERM: it says so, and finishes what it has.
    Stop,
}

impl Ending {
    fn end(self, server: Server) {
        match self {
            Ending::Kill => server.kill(),
            Ending::Stop => assert!(server.terminate().success()),
        }
    }

    /// Ends a server and starts another in its place.
    fn restart(self, server: Server, setup: &Setup) -> Server {
        self.end(server);
        setup.start()
    }
}
