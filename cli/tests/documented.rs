//! The command line accepts every command in the documentation and the help texts.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, Parser as _};
use isthmus_cli::Cli;

fn pages() -> Vec<PathBuf> {
    // The path at run time: several checkouts may share one build folder.
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("..");
    let mut folders = vec![root.join("docs"), root.join("terraform")];
    let mut pages = vec![root.join("README.md")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let hidden = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if path.is_dir() && !hidden {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

/// The lines of a page between ```; lines that end with `\` are joined with the next one.
fn typed(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap().replace("\\\n", " ");
    let blocks = text.split("```").skip(1).step_by(2);
    blocks
        .flat_map(|block| {
            block
                .lines()
                .map(str::trim)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The words of each `isthmus` command of a line, as a shell would split them.
fn commands(line: &str) -> Vec<Vec<String>> {
    let line = line.split(" $(").next().unwrap();
    let words = shlex::split(line).unwrap_or_else(|| panic!("quotes are not closed: {line}"));
    let ends = ["&&", "|", ";", ">", ">>", "<"];
    words
        .split(|word| ends.contains(&word.as_str()))
        .filter(|words| words.first().is_some_and(|program| program == "isthmus"))
        .map(<[String]>::to_vec)
        .collect()
}

fn understood(wherefrom: &str, line: &str) -> usize {
    let commands = commands(line);
    for words in &commands {
        if let Err(error) = Cli::try_parse_from(words) {
            panic!("{wherefrom}: {line}\n{error}");
        }
    }
    commands.len()
}

#[test]
fn every_command_of_the_pages_is_understood() {
    let mut count = 0;
    for page in pages() {
        let name = page.display().to_string();
        for line in typed(&page).iter().filter(|line| line.starts_with("isthmus ")) {
            count += understood(&name, line);
        }
    }
    assert!(count >= 30, "only {count} commands were found");
}

#[test]
fn every_command_has_an_example_that_is_understood() {
    let mut commands = vec![Cli::command()];
    let mut count = 0;
    while let Some(command) = commands.pop() {
        let inner = command.get_subcommands().filter(|inner| !inner.is_hide_set());
        commands.extend(inner.cloned());
        let name = command.get_name();
        let help = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let examples = help
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with("isthmus "));
        let understood: usize = examples.map(|line| understood(name, line)).sum();
        assert!(understood > 0, "the help of {name} has no example");
        count += understood;
    }
    assert!(count >= 30, "only {count} examples were found");
}

#[test]
#[should_panic(expected = "unexpected argument '--directory'")]
fn a_command_of_another_release_is_seen() {
    understood("a page", "isthmus status --directory shop | less");
}
