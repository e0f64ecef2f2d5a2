use isthmus_tidy::{Tree, markdown, scripts, text};

use crate::tree::{LOG_SOURCE, execute, finds, passes, sound, write};

#[test]
fn a_note_of_unfinished_work() {
    for word in [concat!("TO", "DO"), concat!("FIX", "ME")] {
        finds(text::unfinished, LOG_SOURCE, &format!("\n// {word}: later\n"), 2);
        finds(text::unfinished, "docs/planted.md", &format!("{word}\n"), 1);
    }
    passes(
        text::unfinished,
        "docs/planted.md",
        concat!("mktemp XX", "XXXX, TO", "DOs\n"),
    );
}

#[test]
fn a_path_of_one_machine() {
    for path in [
        concat!("/ho", "me/me/isthmus"),
        concat!("/wo", "rk/main"),
        concat!("/tm", "p/store"),
    ] {
        finds(
            text::machine_paths,
            "docs/planted.md",
            &format!("\nSee `{path}`.\n"),
            2,
        );
    }
    finds(
        text::machine_paths,
        "crates/log/tests/planted.rs",
        concat!("const A: &str = \"/ro", "ot/x\";\n"),
        1,
    );
    passes(
        text::machine_paths,
        "docs/planted.md",
        concat!("$TMPDIR/wo", "rk/x and https://example.org/ho", "me/\n"),
    );
    passes(
        text::machine_paths,
        "crates/log/tests/planted.rs",
        concat!("const A: &str = \"/tm", "p/x\";\n"),
    );
}

#[test]
fn a_registry_host() {
    finds(
        text::registry_hosts,
        "docs/planted.md",
        concat!("pip install from https://pypi", ".org/simple\n"),
        1,
    );
    finds(
        text::registry_hosts,
        "Cargo.lock",
        concat!("source = \"sparse+https://index.crates", ".io/\"\n"),
        1,
    );
    passes(
        text::registry_hosts,
        "Cargo.lock",
        concat!(
            "source = \"registry+https://github.com/rust-lang/crates",
            ".io-index\"\n"
        ),
    );
}

#[test]
fn an_acceptance_script_that_is_not_run_or_cannot_fail() {
    finds(
        scripts::acceptance,
        "tests/acceptance/02-csv.sh",
        "#!/usr/bin/env bash\nexpect_fail false\n",
        0,
    );
    finds(
        scripts::acceptance,
        "tests/acceptance/csv.sh",
        "#!/usr/bin/env bash\n",
        0,
    );
    let folder = sound();
    write(
        folder.path(),
        "tests/acceptance/03-links.sh",
        "#!/usr/bin/env bash\n",
    );
    execute(folder.path(), "tests/acceptance/03-links.sh");
    let found = scripts::acceptance(&Tree::read(folder.path()).expect("the tree is readable"));
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "tests/acceptance/03-links.sh: has no negative run (expect_fail)",
            "tests/acceptance: script 02 is missing or exists twice",
        ]
    );
}

#[test]
fn a_script_that_cannot_be_executed() {
    finds(scripts::executable, "tools/planted", "#!/bin/sh\n", 0);
}

#[test]
fn an_assumption_without_row_or_test() {
    finds(
        scripts::assumptions,
        "tests/assumptions/test_new.py",
        "\n    async def test_new(self):\n",
        2,
    );
    finds(
        scripts::assumptions,
        "docs/assumptions-nats.md",
        "| dense | `test_dense` |\n| gone | `test_gone` |\n",
        2,
    );
}

#[test]
fn a_link_that_leads_nowhere() {
    finds(markdown::links, "docs/planted.md", "\n[gone](gone.md)\n", 2);
    finds(
        markdown::links,
        "docs/planted.md",
        "[heading](architecture.md#gone)\n",
        1,
    );
    finds(markdown::links, "docs/planted.md", "# One\n[heading](#two)\n", 2);
    passes(
        markdown::links,
        "docs/planted.md",
        "# One, `two`\n[up](../README.md) [here](#one-two) [web](https://example.org)\n```\n[code](gone.md)\n```\n`[code](gone.md)`\n",
    );
}
