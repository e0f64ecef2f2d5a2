//! Base images are pinned by digest: a tag may refer to another image later, a digest always refers
//! to the same one.

use crate::{File, Tree, Violation};

/// Base images without a digest.
pub fn bases_by_digest(tree: &Tree) -> Vec<Violation> {
    let files = tree.files.iter().filter(|file| is_containerfile(file));
    files.flat_map(of_file).collect()
}

fn is_containerfile(file: &File) -> bool {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    ["Containerfile", "Dockerfile"]
        .iter()
        .any(|kind| name.contains(kind))
}

fn of_file(file: &File) -> Vec<Violation> {
    let mut stages = Vec::new();
    let mut violations = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let mut words = line.split_whitespace();
        let instruction = words.next().unwrap_or_default();
        if !instruction.eq_ignore_ascii_case("FROM") {
            continue;
        }
        let mut words = words.skip_while(|word| word.starts_with("--"));
        let base = words.next().unwrap_or_default();
        if base != "scratch" && !stages.contains(&base) && !has_digest(base) {
            let what = format!("{base:?} has no digest: write it as IMAGE:TAG@sha256:...");
            violations.push(Violation::at(&file.path, index + 1, what));
        }
        stages.extend(words.nth(1));
    }
    violations
}

fn has_digest(base: &str) -> bool {
    base.split_once("@sha256:")
        .is_some_and(|(_, digest)| digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
