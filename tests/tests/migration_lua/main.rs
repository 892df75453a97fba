//! Old programs and new ones, real Lua processes of every version, on the same records of the built program while a
//! migration takes these from the one's form to the other's.

mod claims;
mod leaving;
mod levels;
mod sessionless;
mod successor;
mod together;
mod unreadable;
mod world;

use stillpoint_tests::under_every_lua;

under_every_lua! {
    together::old_and_new_programs_read_and_change_the_same_records
    together::a_value_can_be_written_in_any_version_that_there_is
    together::nothing_is_lost_of_what_programs_do_while_a_migration_is_applied
    together::a_program_goes_on_in_its_form_when_the_store_is_killed
    claims::a_document_stays_right_in_its_old_owner_while_its_record_is_migrated
    claims::over_a_lossy_step_a_document_has_to_be_given_back_first
    leaving::a_step_that_cannot_be_undone_waits_for_old_programs_and_goes_on_when_they_leave
    leaving::a_rollback_waits_for_new_programs_and_old_ones_go_on
    successor::a_new_program_takes_over_what_the_old_one_owned
    unreadable::a_record_that_cannot_be_migrated_is_told_where_others_go_on
    unreadable::a_record_that_has_no_old_form_is_told_to_old_programs_and_new_ones_replace_it
    levels::what_only_new_programs_know_of_a_record_outlives_the_old_ones
    sessionless::what_was_read_before_an_apply_and_written_after_it_is_right
    sessionless::what_the_store_cannot_take_in_the_version_that_was_read_is_read_again
}
