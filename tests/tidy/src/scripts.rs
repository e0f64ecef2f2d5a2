//! Rules for the scripts that are tests: acceptance scripts, and assumptions about NATS.

use crate::{File, Tree, Violation};

const ACCEPTANCE: &str = "tests/acceptance";
const ASSUMPTIONS: &str = "tests/assumptions";
const ASSUMPTIONS_PAGE: &str = "docs/assumptions-nats.md";

/// Acceptance scripts that the runner would not run or that have no negative run, and gaps in their
/// numbers.
pub fn acceptance(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut numbers = Vec::new();
    for file in tree.under(ACCEPTANCE).filter(|file| is_script(file)) {
        let name = &file.path[ACCEPTANCE.len() + 1..];
        match number(name) {
            Some(number) => numbers.push(number),
            None => violations.push(Violation::of_file(
                &file.path,
                "the runner looks for NN-name.sh in this folder",
            )),
        }
        if !file.executable {
            violations.push(Violation::of_file(&file.path, "is not executable"));
        }
        if !file.text.contains("expect_fail") {
            violations.push(Violation::of_file(
                &file.path,
                "has no negative run (expect_fail)",
            ));
        }
    }
    numbers.sort_unstable();
    for (expected, found) in (1..).zip(&numbers) {
        if expected != *found {
            violations.push(Violation::of_file(
                ACCEPTANCE,
                format!("script {expected:02} is missing or exists twice"),
            ));
            break;
        }
    }
    violations
}

fn is_script(file: &File) -> bool {
    file.path.ends_with(".sh") && !file.path.ends_with("/lib.sh")
}

/// The number in `NN-name.sh`.
fn number(name: &str) -> Option<u32> {
    let (number, rest) = name.split_once('-')?;
    (number.len() == 2 && rest.len() > ".sh".len() && !rest.contains('/'))
        .then(|| number.parse().ok())
        .flatten()
}

/// Files with a `#!` line that are not executable.
pub fn executable(tree: &Tree) -> Vec<Violation> {
    let scripts = tree
        .files
        .iter()
        .filter(|file| file.text.starts_with("#!") && !file.is_rust());
    scripts
        .filter(|file| !file.executable)
        .map(|file| Violation::of_file(&file.path, "begins with #! and is not executable"))
        .collect()
}

/// Tests of assumptions that their page does not name, and names on the page without a test.
pub fn assumptions(tree: &Tree) -> Vec<Violation> {
    let Some(page) = tree.file(ASSUMPTIONS_PAGE) else {
        return vec![Violation::of_file(
            ASSUMPTIONS_PAGE,
            "the page of assumptions about NATS is missing",
        )];
    };
    let mut violations = Vec::new();
    let mut tests = Vec::new();
    for file in tree.under(ASSUMPTIONS) {
        for (index, line) in file.text.lines().enumerate() {
            let Some(name) = line
                .trim()
                .strip_prefix("async def ")
                .and_then(|rest| rest.split('(').next())
            else {
                continue;
            };
            if name.starts_with("test_") {
                tests.push(name);
                if !page.text.contains(&format!("`{name}`")) {
                    violations.push(Violation::at(
                        &file.path,
                        index + 1,
                        format!("{ASSUMPTIONS_PAGE} does not name {name}"),
                    ));
                }
            }
        }
    }
    for (index, line) in page.text.lines().enumerate() {
        let quoted = line
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|word| word.starts_with("test_") && !word.ends_with(".py"));
        for name in quoted.filter(|name| !tests.contains(name)) {
            violations.push(Violation::at(
                ASSUMPTIONS_PAGE,
                index + 1,
                format!("there is no test {name}"),
            ));
        }
    }
    violations
}
