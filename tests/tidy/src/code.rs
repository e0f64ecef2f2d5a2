//! Rules for Rust sources: short modules, nothing unfinished, owned tasks, bounded channels,
//! escaped output.

use crate::source::{Mention, Then, attributes};
use crate::{File, Tree, Violation};

/// The most lines that a source file may have.
pub const MAXIMUM_LINES: usize = 600;

/// The command line, and its one module that writes to the terminal or pipe.
const COMMAND_LINE: &str = "cli/src/";
const OUTPUT: &str = "cli/src/output";

/// The crate whose supervisor owns the tasks.
const SUPERVISOR: &str = "crates/runtime/src/";

/// Files that are longer than [`MAXIMUM_LINES`].
pub fn module_length(tree: &Tree) -> Vec<Violation> {
    let lengths = tree.rust().map(|file| (file, file.text.lines().count()));
    lengths
        .filter(|(_, lines)| *lines > MAXIMUM_LINES)
        .map(|(file, lines)| {
            Violation::of_file(
                &file.path,
                format!("{lines} lines: split it, the maximum is {MAXIMUM_LINES}"),
            )
        })
        .collect()
}

/// Sources that cannot be parsed, macros that stand for missing code, and disabled tests.
pub fn unfinished(tree: &Tree) -> Vec<Violation> {
    let mut violations = each_mention(tree, |_, mention| {
        let missing = ["todo", "unimplemented"].iter().any(|name| mention.has(&[name]));
        (missing && mention.then == Then::Bang).then(|| format!("{}! marks missing code", mention.path()))
    });
    for file in tree.rust() {
        match attributes(&file.text, "ignore") {
            Ok(lines) => violations.extend(
                lines
                    .into_iter()
                    .map(|line| Violation::at(&file.path, line, "a test is disabled: fix or remove it")),
            ),
            Err(error) => violations.push(Violation::of_file(
                &file.path,
                format!("cannot be parsed as Rust: {error}"),
            )),
        }
    }
    violations
}

/// Tasks without an owner: outside the supervisor and tests every spawn, in tests a spawn whose
/// handle is dropped.
pub fn naked_spawn(tree: &Tree) -> Vec<Violation> {
    each_mention(tree, |file, mention| {
        let spawns = [["tokio", "spawn"], ["task", "spawn"], ["task", "spawn_local"]];
        if !spawns
            .iter()
            .any(|names| mention.names.ends_with(&names.map(str::to_owned)))
        {
            return None;
        }
        let dropped = mention.begins_statement
            && matches!(
                mention.then,
                Then::Call {
                    ends_statement: true,
                    ..
                }
            );
        let owned = file.path.starts_with(SUPERVISOR) || file.is_test() || mention.in_tests;
        (dropped || !owned).then(|| {
            format!(
                "{}: use the supervisor or a JoinSet that is awaited",
                mention.path()
            )
        })
    })
}

/// Unbounded channels.
pub fn unbounded_channels(tree: &Tree) -> Vec<Violation> {
    each_mention(tree, |_, mention| {
        let made = mention.names.iter().any(|name| {
            matches!(
                name.as_str(),
                "unbounded_channel" | "UnboundedSender" | "UnboundedReceiver"
            )
        });
        let called =
            mention.names.ends_with(&["unbounded".to_owned()]) && matches!(mention.then, Then::Call { .. });
        let imported = mention.has(&["mpsc", "unbounded"]);
        let std_channel =
            mention.has(&["mpsc", "channel"]) && matches!(mention.then, Then::Call { empty: true, .. });
        (made || called || imported || std_channel)
            .then(|| format!("{} has no bound: use a bounded channel", mention.path()))
    })
}

/// Output that bypasses the module that escapes what a terminal would act on.
pub fn raw_output(tree: &Tree) -> Vec<Violation> {
    each_mention(tree, |file, mention| {
        if !file.path.starts_with(COMMAND_LINE) || file.path.starts_with(OUTPUT) {
            return None;
        }
        let prints = ["print", "println", "eprint", "eprintln"];
        let printed = mention.then == Then::Bang && prints.iter().any(|name| mention.has(&[name]));
        let streams = ["stdout", "stderr"];
        let called = matches!(mention.then, Then::Call { empty: true, .. });
        let taken = streams
            .iter()
            .any(|name| mention.has(&["io", name]) || called && mention.has(&[name]));
        (printed || taken).then(|| format!("{}: only {OUTPUT}.rs writes to the terminal", mention.path()))
    })
}

fn each_mention(tree: &Tree, rule: impl Fn(&File, &Mention) -> Option<String>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.rust() {
        for mention in file.mentions().unwrap_or_default() {
            violations.extend(rule(file, mention).map(|what| Violation::at(&file.path, mention.line, what)));
        }
    }
    violations
}
