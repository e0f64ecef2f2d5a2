//! The repository passes every rule.
#![allow(clippy::expect_used)]

use std::sync::LazyLock;

use isthmus_tidy::{
    Tree, Violation, arrows, code, containers, events, licences, markdown, names, purity, scripts, text,
};

static TREE: LazyLock<Tree> =
    LazyLock::new(|| Tree::of_this_repository().expect("the repository is readable"));

fn keeps(rule: impl Fn(&Tree) -> Vec<Violation>) {
    let violations: Vec<String> = rule(&TREE).iter().map(ToString::to_string).collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn the_tree_is_read() {
    assert!(TREE.file("Cargo.toml").is_some());
    assert!(TREE.rust().count() > 20);
}

#[test]
fn crates_depend_only_on_those_below_them() {
    keeps(arrows::own_crates);
}

#[test]
fn confined_crates_are_named_in_their_place_only() {
    keeps(arrows::confined_crates);
}

#[test]
fn the_replication_core_is_pure() {
    keeps(purity::pure_core);
}

#[test]
fn modules_are_short() {
    keeps(code::module_length);
}

#[test]
fn no_source_is_unfinished() {
    keeps(code::unfinished);
}

#[test]
fn every_task_has_an_owner() {
    keeps(code::naked_spawn);
}

#[test]
fn every_channel_has_a_bound() {
    keeps(code::unbounded_channels);
}

#[test]
fn one_module_of_the_command_line_writes_to_the_terminal() {
    keeps(code::raw_output);
}

#[test]
fn images_are_built_on_digests() {
    let files = TREE
        .files
        .iter()
        .filter(|file| file.path.ends_with("/Containerfile"));
    assert!(files.count() > 0);
    keeps(containers::bases_by_digest);
}

#[test]
fn no_text_marks_unfinished_work() {
    keeps(text::unfinished);
}

#[test]
fn no_text_holds_a_path_of_one_machine() {
    keeps(text::machine_paths);
}

#[test]
fn no_text_names_the_host_of_a_registry() {
    keeps(text::registry_hosts);
}

#[test]
fn acceptance_scripts_are_run_and_can_fail() {
    keeps(scripts::acceptance);
}

#[test]
fn every_kind_of_event_is_described() {
    keeps(events::kinds);
}

#[test]
fn scripts_are_executable() {
    keeps(scripts::executable);
}

#[test]
fn each_assumption_of_nats_has_a_row_and_a_test() {
    keeps(scripts::assumptions);
}

#[test]
fn names_say_what_they_mean() {
    keeps(names::banned);
}

#[test]
fn a_general_noun_names_one_type() {
    keeps(names::shared);
}

#[test]
fn names_of_functions_are_short() {
    keeps(names::length);
}

#[test]
fn comments_are_narrow() {
    keeps(text::comment_width);
}

#[test]
fn links_between_pages_resolve() {
    keeps(markdown::links);
}

/// Licences of crates that may be linked into Apache-2.0 binaries, with attribution as the only
/// duty.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "0BSD",
    "bzip2-1.0.6",
];

#[test]
fn every_dependency_has_a_licence_that_may_be_shipped() {
    let found = licences::of_dependencies().expect("cargo tells what is depended on");
    assert!(found.len() > 100, "{found:?}");
    let bad: Vec<String> = found
        .iter()
        .filter_map(|package| licences::fault(package, LICENCES))
        .collect();
    assert!(bad.is_empty(), "\n{}\n", bad.join("\n"));
}

#[test]
fn a_licence_that_may_not_be_shipped_is_found() {
    let fault = |licence: &str| {
        let package = licences::Package {
            name: "planted".to_owned(),
            licence: licence.to_owned(),
        };
        licences::fault(&package, LICENCES)
    };
    for good in [
        "MIT OR GPL-3.0-only",
        "MIT/Apache-2.0",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
    ] {
        assert_eq!(fault(good), None);
    }
    for bad in ["", "GPL-3.0-only", "MIT AND AGPL-3.0-or-later", "whatever"] {
        assert!(fault(bad).is_some(), "{bad:?}");
    }
}
