use isthmus_tidy::{Tree, code, containers, events, names, text};

use crate::tree::{LOG_SOURCE, finds, passes, sound, write};

#[test]
fn a_long_module() {
    finds(
        code::module_length,
        LOG_SOURCE,
        &"\n".repeat(code::MAXIMUM_LINES + 1),
        0,
    );
    passes(code::module_length, LOG_SOURCE, &"\n".repeat(code::MAXIMUM_LINES));
}

#[test]
fn missing_code() {
    finds(
        code::unfinished,
        LOG_SOURCE,
        &format!("fn planted() {{\n    {}!()\n}}\n", "todo"),
        2,
    );
    finds(
        code::unfinished,
        LOG_SOURCE,
        &format!("fn planted() {{\n    std::{}!(\"later\")\n}}\n", "unimplemented"),
        2,
    );
    passes(
        code::unfinished,
        LOG_SOURCE,
        "fn planted(todo: bool) -> bool {\n    todo != true\n}\n",
    );
}

#[test]
fn a_test_that_is_switched_off() {
    for attribute in ["ignore", "ignore = \"slow\""] {
        finds(
            code::unfinished,
            LOG_SOURCE,
            &format!("mod tests {{\n    #[test]\n    #[{attribute}]\n    fn slow() {{}}\n}}\n"),
            3,
        );
    }
}

#[test]
fn a_task_without_owner() {
    for call in [
        "tokio::spawn(run());",
        "let _ = tokio::task::spawn(run());",
        "let handle = tokio::spawn(run());",
        "task::spawn_local(run());",
    ] {
        finds(
            code::naked_spawn,
            LOG_SOURCE,
            &format!("fn planted() {{\n    {call}\n}}\n"),
            2,
        );
    }
    finds(
        code::naked_spawn,
        "crates/runtime/src/planted.rs",
        "fn planted() {\n    tokio::spawn(run());\n}\n",
        2,
    );
    finds(
        code::naked_spawn,
        "crates/log/tests/planted.rs",
        "fn planted() {\n    tokio::spawn(run());\n}\n",
        2,
    );
    passes(
        code::naked_spawn,
        "crates/log/tests/planted.rs",
        "fn planted() {\n    let handle = tokio::spawn(run());\n}\n",
    );
    let kept = "let handle = tokio::spawn(run());";
    passes(
        code::naked_spawn,
        LOG_SOURCE,
        &format!("#[cfg(test)]\nmod tests {{\n    fn planted() {{ {kept} }}\n}}\n"),
    );
    finds(
        code::naked_spawn,
        LOG_SOURCE,
        &format!("#[cfg(test)]\nmod tests {{}}\nfn planted() {{\n    {kept}\n}}\n"),
        4,
    );
    passes(
        code::naked_spawn,
        LOG_SOURCE,
        "fn planted(tasks: &mut JoinSet<()>) {\n    tasks.spawn(run());\n    std::process::Command::new(\"a\").spawn();\n}\n",
    );
}

#[test]
fn a_channel_without_bound() {
    let unbounded = [
        "let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();",
        "use tokio::sync::mpsc::{Sender, UnboundedReceiver};",
        "let (sender, receiver) = std::sync::mpsc::channel();",
        "let (sender, receiver) = futures::channel::mpsc::unbounded();",
    ];
    for line in unbounded {
        finds(
            code::unbounded_channels,
            LOG_SOURCE,
            &format!("fn planted() {{\n    {line}\n}}\n"),
            2,
        );
    }
    passes(
        code::unbounded_channels,
        LOG_SOURCE,
        "fn planted() {\n    let pair = mpsc::channel(16);\n}\n",
    );
}

#[test]
fn a_command_that_writes_to_the_terminal_itself() {
    for line in [
        "println!(\"{text}\");",
        "std::eprint!(\"{text}\");",
        "io::stderr().lock();",
        "use std::io::{Write, stdout};",
        "let out = stdout();",
    ] {
        finds(
            code::raw_output,
            "cli/src/commands/planted.rs",
            &format!("fn planted() {{\n    {line}\n}}\n"),
            2,
        );
        passes(
            code::raw_output,
            "cli/src/output.rs",
            &format!("fn planted() {{\n    {line}\n}}\n"),
        );
    }
    passes(
        code::raw_output,
        "cli/src/commands/planted.rs",
        "fn planted() {\n    command.stdout(log).stderr(Stdio::null());\n    line(output.stdout);\n}\n",
    );
}

#[test]
fn a_word_that_hides_what_is_meant() {
    for line in [
        "let told = 1;",
        "self.told_by_peer();",
        "struct PeerBoard;",
        "enum Over { End }",
    ] {
        let text = format!("fn planted() {{\n    {line}\n}}\n");
        finds(names::banned, LOG_SOURCE, &text, 2);
    }
    let sound = "fn planted(over: bool, keyboard: Keyboard) {\n    record(\"told\");\n}\n";
    passes(names::banned, LOG_SOURCE, sound);
}

#[test]
fn a_general_noun_for_two_types() {
    let two = "struct Session;\n\nmod inner {\n    type Session = u8;\n}\n";
    finds(names::shared, LOG_SOURCE, two, 4);
    passes(
        names::shared,
        LOG_SOURCE,
        "struct Session;\n\nenum SessionEvent {}\n",
    );
}

#[test]
fn a_name_that_tells_a_story() {
    let text = |length| format!("#[test]\nfn {}() {{}}\n", "n".repeat(length));
    finds(names::length, LOG_SOURCE, &text(names::MAXIMUM_NAME + 1), 2);
    passes(names::length, LOG_SOURCE, &text(names::MAXIMUM_NAME));
}

#[test]
fn a_comment_that_is_too_wide() {
    let comment = |length| format!("fn planted() {{\n    //{}\n}}\n", "é".repeat(length));
    finds(
        text::comment_width,
        LOG_SOURCE,
        &comment(text::COMMENT_WIDTH - 5),
        2,
    );
    passes(text::comment_width, LOG_SOURCE, &comment(text::COMMENT_WIDTH - 6));
    let table = format!("//! | {} |\n", "a".repeat(text::COMMENT_WIDTH));
    passes(text::comment_width, LOG_SOURCE, &table);
}

#[test]
fn an_image_on_a_tag_alone() {
    let file = "configs/container/Containerfile";
    let digest = "0123456789abcdef".repeat(4);
    for base in [
        "debian:bookworm-slim",
        "debian@sha256:0123",
        "--platform=linux/amd64 debian",
    ] {
        let text = format!("FROM rust:1@sha256:{digest} AS build\nFROM {base}\n");
        finds(containers::bases_by_digest, file, &text, 2);
    }
    finds(containers::bases_by_digest, "Dockerfile", "from debian\n", 1);
    passes(
        containers::bases_by_digest,
        file,
        &format!(
            "FROM rust:1@sha256:{digest} AS build\nFROM build AS test\nFROM scratch\nCOPY --from=build a b\n"
        ),
    );
}

#[test]
fn a_build_folder_is_not_part_of_the_tree() {
    let folder = sound();
    write(folder.path(), "build/CACHEDIR.TAG", "Signature\n");
    write(folder.path(), "build/planted.rs", &"\n".repeat(1000));
    write(folder.path(), "target/planted.rs", &"\n".repeat(1000));
    assert!(code::module_length(&Tree::read(folder.path()).expect("the tree is readable")).is_empty());
}

#[test]
fn a_kind_of_event_that_no_page_describes() {
    let recorded = "fn tell(events: &Events) {\n    events.record(Severity::Notice, \"planted\", \"it was\", json!({}));\n}\n";
    finds(events::kinds, LOG_SOURCE, recorded, 2);
    finds(
        events::kinds,
        "docs/events.md",
        "| `planted` | agent | never |\n",
        1,
    );
    passes(
        events::kinds,
        LOG_SOURCE,
        "let severity = match change {\n    Up => Severity::Notice,\n};\n",
    );
}
