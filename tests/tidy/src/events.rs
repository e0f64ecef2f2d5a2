//! Kinds of events and the page that describes them.

use std::collections::BTreeSet;

use crate::{Tree, Violation};

const PAGE: &str = "docs/events.md";

/// Kinds that a source records and the page does not describe, and kinds that the page describes
/// and no source records.
pub fn kinds(tree: &Tree) -> Vec<Violation> {
    let page = tree.file(PAGE).map_or("", |file| file.text.as_str());
    let described: Vec<(usize, &str)> = (1..)
        .zip(page.lines())
        .filter_map(|(line, row)| Some((line, row.strip_prefix("| `")?.split_once('`')?.0)))
        .collect();
    let (mut violations, mut recorded) = (Vec::new(), BTreeSet::new());
    for file in tree.rust().filter(|file| file.path.contains("/src/")) {
        let code = file.text.split("#[cfg(test)]").next().unwrap_or_default();
        for (line, kind) in recorded_in(code) {
            recorded.insert(kind);
            if !described.iter().any(|(_, known)| *known == kind) {
                let what = format!("{PAGE} does not describe the kind of event {kind}");
                violations.push(Violation::at(&file.path, line, what));
            }
        }
    }
    let unrecorded = described.iter().filter(|(_, kind)| !recorded.contains(kind));
    violations.extend(unrecorded.map(|(line, kind)| {
        let what = format!("no source records an event of the kind {kind}");
        Violation::at(PAGE, *line, what)
    }));
    violations
}

/// The kinds in a source with their lines: literals that follow a severity.
fn recorded_in(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.match_indices("Severity::").filter_map(|(at, _)| {
        let after = code[at..].split_once(',')?.1;
        let kind = after.trim_start().strip_prefix('"')?.split_once('"')?.0;
        let severity = &code[at + "Severity::".len()..code.len() - after.len() - 1];
        let is_word = severity.chars().all(char::is_alphanumeric);
        is_word.then(|| (code[..at].lines().count().max(1), kind))
    })
}
