//! What no text file of the repository holds: notes of unfinished work, paths of one machine, hosts of package registries.

use crate::{File, Tree, Violation};

/// Words that mark unfinished work; written in two halves, so that this file does not hold them.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Folders of one machine.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
];

/// The folder for temporary files: tests may name it in what they expect, nothing else asks for it by name.
const TEMPORARY: &str = concat!("/tm", "p/");

/// Hosts of package registries.
const HOSTS: &[&str] = &[
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("python", "hosted.org"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("deb.debian", ".org"),
    concat!("proxy.golang", ".org"),
];

/// How Cargo.lock and cargo's own files call the default registry; it says nothing of where a machine fetches from.
const DEFAULT_REGISTRY: &str = concat!("registry+https://github.com/rust-lang/crates", ".io-index");

/// Notes of unfinished work.
pub fn unfinished(tree: &Tree) -> Vec<Violation> {
    each_line(tree, |file, line| {
        if file.path == "LICENSE" {
            return None;
        }
        UNFINISHED
            .iter()
            .find(|word| has_word(line, word))
            .map(|word| format!("{word}: finish it, or file an issue"))
    })
}

/// Paths that exist on one machine.
pub fn machine_paths(tree: &Tree) -> Vec<Violation> {
    each_line(tree, |file, line| {
        let temporary = (!file.is_test()).then_some(&TEMPORARY);
        let mut paths = MACHINE_PATHS.iter().chain(temporary);
        paths
            .find(|path| has_absolute(line, path))
            .map(|path| format!("{path} is a path of one machine"))
    })
}

/// Hosts of package registries.
pub fn registry_hosts(tree: &Tree) -> Vec<Violation> {
    each_line(tree, |file, line| {
        let line = if file.path.ends_with("Cargo.lock") {
            line.replace(DEFAULT_REGISTRY, "")
        } else {
            line.to_owned()
        };
        HOSTS
            .iter()
            .find(|host| line.contains(*host))
            .map(|host| format!("{host} is the host of a registry"))
    })
}

fn each_line(tree: &Tree, rule: impl Fn(&File, &str) -> Option<String>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in &tree.files {
        for (index, line) in file.text.lines().enumerate() {
            violations.extend(rule(file, line).map(|what| Violation::at(&file.path, index + 1, what)));
        }
    }
    violations
}

/// Whether the word stands alone in the line.
fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |character: Option<char>| {
        character.is_some_and(|character| character.is_alphanumeric() || character == '_')
    };
    line.match_indices(word).any(|(at, _)| {
        !part_of_word(line[..at].chars().next_back()) && !part_of_word(line[at + word.len()..].chars().next())
    })
}

/// Whether the path stands in the line as an absolute one, not as the middle of a longer path or address.
fn has_absolute(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || "._-})$*~/".contains(before))
    })
}
