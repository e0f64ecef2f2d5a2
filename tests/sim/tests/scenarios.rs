//! The numbered scenarios that the simulator covers: each runs a few seeds with the faults that
//! cause it.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use isthmus_sim::one::Summary;

fn simulate(arguments: &[&str]) -> String {
    let simulator = env!("CARGO_BIN_EXE_isthmus-sim");
    let output = Command::new(simulator).args(arguments).output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "isthmus-sim {}: {out}{err}",
        arguments.join(" ")
    );
    out.into_owned()
}

/// Simulates `count` seeds with exactly these faults. The simulator fails if a check fails or a
/// fault never happens.
fn seeds(count: &str, faults: &str, more: &[&str]) {
    let mut arguments = vec!["many", "--count", count, "--faults", faults];
    arguments.extend(more);
    simulate(&arguments);
}

fn summary(seed: &str, more: &[&str]) -> Summary {
    let mut arguments = vec!["one", seed, "--json"];
    arguments.extend(more);
    serde_json::from_str(&simulate(&arguments)).unwrap()
}

#[test]
fn scenario_01_three_regions_converge_after_cuts_and_clock_skew() {
    seeds("4", "cut,one-way-cut,clock-step,clock-drift", &["--regions", "3"]);
}

#[test]
fn scenario_01_five_regions_converge_after_cuts_and_clock_skew() {
    seeds("2", "cut,clock-step", &["--regions", "5"]);
}

#[test]
fn scenario_06_a_roaming_client_writes_after_what_it_has_read() {
    seeds("4", "clock-step,clock-drift", &["--keys", "3"]);
}

#[test]
fn scenario_08_a_clock_hours_ahead_voids_its_own_writes_alone() {
    seeds("4", "clock-ahead", &[]);
}

#[test]
fn scenario_09_no_stamp_goes_back_over_a_step_and_a_restart() {
    seeds("4", "clock-step,kill", &["--keys", "3"]);
}

#[test]
fn scenario_13_deletes_and_expiry_race_on_all_sides() {
    seeds("4", "cut,pause", &["--keys", "3"]);
}

#[test]
fn scenario_14_a_mesh_of_five_applies_each_change_without_echo() {
    seeds("2", "break,kill", &["--regions", "5"]);
}

#[test]
fn scenario_15_a_lost_tail_is_noticed_and_given_back() {
    seeds("5", "lost-tail", &[]);
}

#[test]
fn scenario_17_one_way_cuts_and_lost_machines_block_nothing() {
    seeds("4", "one-way-cut,vanish,break", &[]);
}

#[test]
fn scenario_20_a_flipped_bit_in_a_checkpoint_is_never_applied() {
    seeds("5", "bit-flip", &[]);
}

#[test]
fn scenario_23_an_undecodable_range_does_not_stop_its_lane() {
    seeds("4", "garble,break", &[]);
}

#[test]
fn scenario_34_more_is_appended_than_was_lost() {
    seeds("4", "lost-tail,kill,pause", &["--keys", "10"]);
}

#[test]
fn scenario_37_stamps_ahead_with_agents_at_different_lag() {
    seeds("4", "clock-step,nats-clock-step,pause", &[]);
}

#[test]
fn scenario_40_a_publish_lands_long_after_its_writer_was_killed() {
    seeds("4", "late-append,lost-answer,kill", &[]);
}

/// At the end of every seed the simulator checks that the journals name exactly the writes that
/// were overwritten unseen.
#[test]
fn scenario_42_only_a_conflicting_workload_sets_writes_aside() {
    let faults = ["--faults", "cut,narrow,double-append"];
    for seed in ["1", "2", "3", "4"] {
        let causal = summary(seed, &[&faults[..], &["--clients", "1", "--keys", "3"]].concat());
        assert_eq!(causal.conflicts, 0, "seed {seed}");
        assert!(causal.acknowledged > 20, "seed {seed}: {causal:?}");
        let conflicting = summary(seed, &[&faults[..], &["--keys", "3"]].concat());
        assert!(conflicting.conflicts > 0, "seed {seed}");
    }
}

#[test]
fn logs_that_do_not_answer_or_are_not_found_lose_nothing() {
    seeds("4", "nats-away,election,not-writable", &[]);
}

#[test]
fn deleted_streams_and_lost_or_full_disks_lose_no_held_change() {
    seeds("3", "streams-deleted", &[]);
    seeds("3", "disk-full,kill", &[]);
    seeds("3", "disk-lost,disk-full", &[]);
}

#[test]
fn a_log_with_little_room_is_trimmed_and_goes_on() {
    seeds("3", "small-log,break", &[]);
}

#[test]
fn seeds_with_whatever_faults_they_draw_hold() {
    for seed in ["3", "6", "9"] {
        assert_eq!(summary(seed, &[]).violations, Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn scenario_30_the_lag_that_leaders_tell_is_what_is_true() {
    let calm = summary("18", &[]);
    assert!(calm.on.is_empty(), "another seed has no faults: {:?}", calm.on);
    assert!(calm.lags > 200, "{} lags", calm.lags);
    assert!(calm.compared > 10_000, "{} parts compared", calm.compared);
    for (seed, faults) in [
        ("22", "cut,kill"),
        ("23", "one-way-cut,break,nats-away"),
        ("24", "narrow,vanish,late-append"),
    ] {
        let summary = summary(seed, &["--faults", faults]);
        assert!(summary.lags > 200, "seed {seed}: {} lags", summary.lags);
        assert!(
            summary.compared > 10_000,
            "seed {seed}: {} parts compared",
            summary.compared
        );
    }
}

#[test]
fn scenario_32_a_seed_gives_the_same_trace_twice() {
    // A full disk is logged with the path of a checkpoint.
    for (seed, faults) in [("11", &[][..]), ("12", &[]), ("23", &["--faults", "disk-full"])] {
        let (one, other) = (summary(seed, faults), summary(seed, faults));
        assert_eq!(
            (&one.trace, one.lines),
            (&other.trace, other.lines),
            "seed {seed}"
        );
        assert!(one.lines > 100, "seed {seed} says next to nothing");
    }
}
