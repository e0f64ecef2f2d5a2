//! The replication core takes time as a value and randomness as a seed, and does no input or
//! output.

use crate::manifest::manifests;
use crate::{Tree, Violation};

/// Folder of the pure crate.
const CORE: &str = "crates/replication";

/// The only dependencies of the pure crate: none opens a socket or a file, or reads a clock.
const DEPENDENCIES: &[&str] = &["bytes", "crc32c", "prost", "thiserror", "xxhash-rust", "zstd"];

/// The additional dependencies of its tests.
const TEST_DEPENDENCIES: &[&str] = &["proptest"];

/// Paths that a pure source may not contain, and why.
const FORBIDDEN: &[(&[&str], &str)] = &[
    (&["Instant"], "reads a clock: take `Now` as a value"),
    (&["SystemTime"], "reads a clock: take `Now` as a value"),
    (&["std", "net"], "opens sockets"),
    (&["std", "fs"], "opens files"),
    (&["std", "io"], "does input or output"),
    (&["std", "os"], "depends on the system"),
    (&["std", "env"], "reads the environment"),
    (&["std", "process"], "acts on processes"),
    (&["std", "thread"], "starts a thread or puts one to sleep"),
    (&["tokio"], "runs tasks"),
    (&["futures"], "runs tasks"),
    (&["rand"], "is unseeded randomness: take a seed"),
    (&["getrandom"], "is unseeded randomness: take a seed"),
    (&["RandomState"], "is unseeded randomness: take a seed"),
    (
        &["HashMap"],
        "iterates in an order that differs from run to run: use BTreeMap",
    ),
    (
        &["HashSet"],
        "iterates in an order that differs from run to run: use BTreeSet",
    ),
    (&["thread_local"], "is state outside the machine"),
    (&["println"], "prints"),
    (&["eprintln"], "prints"),
];

/// Impure dependencies and sources of the core.
pub fn pure_core(tree: &Tree) -> Vec<Violation> {
    let (manifests, mut violations) = manifests(tree);
    let Some(manifest) = manifests.iter().find(|manifest| manifest.folder == CORE) else {
        return vec![Violation::of_file(CORE, "the pure crate is missing")];
    };
    for dependency in &manifest.dependencies {
        let name = dependency.name.as_str();
        let allowed =
            DEPENDENCIES.contains(&name) || dependency.for_tests && TEST_DEPENDENCIES.contains(&name);
        if !allowed {
            violations.push(Violation::of_file(
                manifest.path(),
                format!("the pure crate may not depend on {name}"),
            ));
        }
    }
    violations.extend(
        tree.under("crates/replication/src")
            .filter(|file| file.is_rust())
            .flat_map(impure_mentions),
    );
    if tree.file("crates/replication/build.rs").is_some() {
        violations.push(Violation::of_file(
            "crates/replication/build.rs",
            "the pure crate has no build script",
        ));
    }
    violations
}

fn impure_mentions(file: &crate::File) -> Vec<Violation> {
    let mentions = match file.mentions() {
        Ok(mentions) => mentions,
        Err(error) => {
            return vec![Violation::of_file(
                &file.path,
                format!("cannot be parsed as Rust: {error}"),
            )];
        }
    };
    let mut violations = Vec::new();
    for mention in mentions {
        if let Some((_, why)) = FORBIDDEN.iter().find(|(names, _)| mention.has(names)) {
            violations.push(Violation::at(
                &file.path,
                mention.line,
                format!("{} {why}", mention.path()),
            ));
        }
    }
    violations
}
