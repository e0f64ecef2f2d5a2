//! Links between the pages of the repository.

use std::path::Path;

use crate::{File, Tree, Violation};

/// Links to missing files, and to headings that a page does not have.
pub fn links(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for page in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        for (line, target) in targets(&page.text) {
            if let Some(what) = broken(tree, page, target) {
                violations.push(Violation::at(&page.path, line, what));
            }
        }
    }
    violations
}

/// The targets of a page's links with their lines, without those in code.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (line, content) in prose(text) {
        for (at, _) in content.match_indices("](") {
            if content[..at].matches('`').count() % 2 == 0
                && let Some((target, _)) = content[at + 2..].split_once(')')
            {
                found.push((line, target.split(' ').next().unwrap_or(target)));
            }
        }
    }
    found
}

/// The numbered lines of a page outside fenced code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

fn broken(tree: &Tree, page: &File, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, heading) = target
        .split_once('#')
        .map_or((target, None), |(path, heading)| (path, Some(heading)));
    let resolved = if path.is_empty() {
        page.path.clone()
    } else {
        resolve(&page.path, path)
    };
    if !tree.root.join(&resolved).exists() {
        return Some(format!("{target}: {resolved} does not exist"));
    }
    let heading = heading?;
    let text = &tree.file(&resolved)?.text;
    let known = prose(text).any(|(_, line)| line.starts_with('#') && anchor(line) == heading);
    (!known).then(|| format!("{target}: {resolved} has no such heading"))
}

/// The path that a link from `page` leads to, relative to the root.
fn resolve(page: &str, link: &str) -> String {
    let mut parts: Vec<&str> = match link.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => Path::new(page)
            .parent()
            .and_then(Path::to_str)
            .unwrap_or("")
            .split('/')
            .collect(),
    };
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("/")
}

/// The anchor of a heading: lower case, without punctuation, `-` for spaces.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading
        .chars()
        .filter(|character| character.is_alphanumeric() || " -_".contains(*character));
    kept.map(|character| if character == ' ' { '-' } else { character })
        .collect()
}
