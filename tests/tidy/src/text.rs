//! Rules for every text file: no notes of unfinished work, no paths of one machine, no hosts of
//! package registries.

use crate::{File, Tree, Violation};

/// Words that mark unfinished work; split, so that this file does not contain them.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Folders of one machine.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
];

/// The folder for temporary files. Only tests may name it, in what they expect.
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

/// The name of the default registry in Cargo.lock and cargo's own files. It does not tell from
/// where a machine downloads.
const DEFAULT_REGISTRY: &str = concat!("registry+https://github.com/rust-lang/crates", ".io-index");

/// The most columns of a comment, with its indentation.
pub const COMMENT_WIDTH: usize = 100;

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
            .map(|path| format!("{path} is a path on one machine"))
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
            .map(|host| format!("{host} is the host name of a registry"))
    })
}

/// Comments of Rust sources that are wider than [`COMMENT_WIDTH`]. Tables and addresses may be.
pub fn comment_width(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.rust() {
        for (index, line) in file.text.lines().enumerate() {
            let comment = line.trim_start().starts_with("//");
            let table = line.trim_start_matches(['/', '!', ' ']).starts_with('|');
            if comment && !table && !line.contains("://") && line.chars().count() > COMMENT_WIDTH {
                let what = format!("a comment of more than {COMMENT_WIDTH} columns: wrap it");
                violations.push(Violation::at(&file.path, index + 1, what));
            }
        }
    }
    violations
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

/// Whether the line contains the word, not as a part of another word.
fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |character: Option<char>| {
        character.is_some_and(|character| character.is_alphanumeric() || character == '_')
    };
    line.match_indices(word).any(|(at, _)| {
        !part_of_word(line[..at].chars().next_back()) && !part_of_word(line[at + word.len()..].chars().next())
    })
}

/// Whether the line contains the path as an absolute one, not inside a longer path or address.
fn has_absolute(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || "._-})$*~/".contains(before))
    })
}
