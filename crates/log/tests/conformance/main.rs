//! What both implementations of each port must do: one function per statement, run over real
//! nats-servers and in memory.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod appends;
mod journals;
mod leases;
mod marks;
mod peers;
mod places;

macro_rules! conformance {
    ($($module:ident: $($test:ident)*;)*) => {
        mod on_nats {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let region = super::common::OnNats::start().await;
                super::$module::$test(region.ports()).await;
            })*)*
        }
        mod in_memory {
            $($(#[tokio::test]
            async fn $test() {
                let region = super::common::InMemory::start().await;
                super::$module::$test(region.ports()).await;
            })*)*
        }
    };
}

conformance! {
    appends:
    appends_are_read_in_order_without_holes
    a_reader_waits_for_what_comes_later
    a_doubled_append_is_stored_twice
    a_full_log_refuses_and_takes_appends_again_after_a_purge
    an_append_above_the_message_limit_is_refused_unsent
    a_slow_reader_loses_nothing;
    places:
    a_purge_keeps_its_named_message_and_ends_earlier_readers
    a_reader_that_knows_another_message_suspects_a_new_life
    a_reader_beyond_the_end_suspects_a_new_life
    every_way_of_reading_a_message_gives_the_same
    a_missing_log_is_said_to_be_missing
    a_differing_setting_is_named_with_its_fix
    a_missing_stream_is_awaited_and_reported
    ensuring_again_is_harmless
    the_clock_of_the_log_is_known_within_its_uncertainty;
    journals:
    an_entry_comes_once_by_its_name_however_many_append_it
    entries_are_paged_in_order_from_a_place_or_a_time
    a_removed_entry_is_gone_and_does_not_come_back
    an_entry_takes_the_place_of_the_one_of_its_name
    the_oldest_entries_give_way
    a_missing_journal_is_said_to_be_missing;
    marks:
    the_newest_mark_at_or_below_a_position_is_found;
    leases:
    a_free_lease_is_taken_by_one
    a_lease_is_renewed_and_taken_over_by_its_revision
    a_released_lease_can_be_taken
    a_lease_that_nobody_renews_ends
    a_lease_of_less_than_a_second_is_refused
    a_watch_tells_what_is_held_and_what_becomes_of_it
    members_come_and_go_with_their_leases
    an_expired_membership_is_retaken_and_a_foreign_one_reported;
    peers:
    subscribers_hear_what_is_published_on_their_subjects
    a_request_is_answered;
}

/// The statements about reading, with reads through consumers that an operator has created.
macro_rules! through_slots {
    ($($module:ident: $($test:ident)*;)*) => {
        mod through_slots {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let region = super::common::OnNats::start_with_slots().await;
                super::$module::$test(region.ports()).await;
            })*)*
        }
    };
}

through_slots! {
    appends:
    appends_are_read_in_order_without_holes
    a_reader_waits_for_what_comes_later
    a_doubled_append_is_stored_twice
    a_slow_reader_loses_nothing;
    places:
    a_purge_keeps_its_named_message_and_ends_earlier_readers
    a_reader_that_knows_another_message_suspects_a_new_life
    a_reader_beyond_the_end_suspects_a_new_life
    every_way_of_reading_a_message_gives_the_same;
    marks:
    the_newest_mark_at_or_below_a_position_is_found;
    leases:
    a_lease_that_nobody_renews_ends
    a_watch_tells_what_is_held_and_what_becomes_of_it
    members_come_and_go_with_their_leases
    an_expired_membership_is_retaken_and_a_foreign_one_reported;
}
