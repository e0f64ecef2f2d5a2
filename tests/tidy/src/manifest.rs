//! The workspace's Cargo.toml files, as far as the dependency rules need them.

use toml_edit::{DocumentMut, Item, Table, TableLike};

use crate::{Tree, Violation};

/// A crate of the tree.
#[derive(Debug)]
pub struct Manifest {
    /// Its folder, relative to the root.
    pub folder: String,
    /// The package's name.
    pub name: String,
    /// Its dependencies, of every section.
    pub dependencies: Vec<Dependency>,
}

/// One dependency of a crate.
#[derive(Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The package's name (not the name it is renamed to).
    pub name: String,
    /// Whether only tests, examples and benches use it.
    pub for_tests: bool,
}

impl Manifest {
    /// The path of the manifest.
    pub fn path(&self) -> String {
        format!("{}/Cargo.toml", self.folder)
    }
}

/// Every crate of the tree; a manifest that cannot be read is a violation.
pub fn manifests(tree: &Tree) -> (Vec<Manifest>, Vec<Violation>) {
    let mut found = Vec::new();
    let mut unreadable = Vec::new();
    for file in &tree.files {
        let Some(folder) = file.path.strip_suffix("/Cargo.toml") else {
            continue;
        };
        match file.text.parse::<DocumentMut>() {
            Ok(document) => found.extend(manifest(folder, &document)),
            Err(error) => unreadable.push(Violation::of_file(
                &file.path,
                format!("cannot be parsed as TOML: {error}"),
            )),
        }
    }
    (found, unreadable)
}

fn manifest(folder: &str, document: &DocumentMut) -> Option<Manifest> {
    let name = document.get("package")?.get("name")?.as_str()?.to_owned();
    let mut dependencies = Vec::new();
    sections(document.as_table(), &mut dependencies);
    if let Some(targets) = document.get("target").and_then(Item::as_table_like) {
        for (_, target) in targets.iter() {
            if let Some(table) = target.as_table_like() {
                sections(table, &mut dependencies);
            }
        }
    }
    Some(Manifest {
        folder: folder.to_owned(),
        name,
        dependencies,
    })
}

fn sections(table: &dyn TableLike, dependencies: &mut Vec<Dependency>) {
    for (section, for_tests) in [
        ("dependencies", false),
        ("build-dependencies", false),
        ("dev-dependencies", true),
    ] {
        let Some(entries) = table.get(section).and_then(Item::as_table_like) else {
            continue;
        };
        dependencies.extend(entries.iter().map(|(key, value)| Dependency {
            name: package(key, value),
            for_tests,
        }));
    }
}

/// The name of the package behind a dependency's key.
fn package(key: &str, value: &Item) -> String {
    let renamed = value
        .as_table_like()
        .and_then(|table| table.get("package"))
        .and_then(Item::as_str);
    renamed.unwrap_or(key).to_owned()
}

/// Dependencies that `[workspace.dependencies]` renames. They are forbidden, since the rules do not
/// follow the new names.
pub fn renamed_in_workspace(tree: &Tree) -> Vec<Violation> {
    let Some(file) = tree.file("Cargo.toml") else {
        return vec![Violation::of_file("Cargo.toml", "the workspace has no manifest")];
    };
    let document = match file.text.parse::<DocumentMut>() {
        Ok(document) => document,
        Err(error) => {
            return vec![Violation::of_file(
                &file.path,
                format!("cannot be parsed as TOML: {error}"),
            )];
        }
    };
    let empty = Table::new();
    let entries = document
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"));
    let entries = entries.and_then(Item::as_table_like).unwrap_or(&empty);
    let renamed = entries.iter().filter(|(key, value)| package(key, value) != *key);
    renamed
        .map(|(key, _)| {
            Violation::of_file(
                &file.path,
                format!("{key} is a dependency under another name: use its own"),
            )
        })
        .collect()
}
