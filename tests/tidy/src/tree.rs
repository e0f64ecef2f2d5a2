use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::source::{Mention, NotRust, mentions};

/// Folders without sources: version control, build results, downloaded tools, inputs of fuzzers.
const SKIPPED: &[&str] = &[
    ".git",
    ".tools",
    ".venv",
    ".terraform",
    "__pycache__",
    "artifacts",
    "corpus",
    "node_modules",
    "target",
];

/// A marker that cargo puts in a target folder of any name.
const CACHE_MARKER: &str = "CACHEDIR.TAG";

/// A text file of the tree.
#[derive(Debug)]
pub struct File {
    /// Path relative to the root, with `/` between its parts.
    pub path: String,
    /// The whole content.
    pub text: String,
    /// Whether its owner may execute it.
    pub executable: bool,
    mentions: OnceLock<Result<Vec<Mention>, NotRust>>,
}

impl File {
    /// Whether it is Rust source.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Every path and name in it, parsed as Rust.
    ///
    /// # Errors
    /// When it is not Rust; the message has the line.
    pub fn mentions(&self) -> Result<&[Mention], &NotRust> {
        let read = self.mentions.get_or_init(|| mentions(&self.text));
        read.as_deref()
    }

    /// Whether it is in a folder or module of tests.
    pub fn is_test(&self) -> bool {
        self.path
            .split('/')
            .any(|part| matches!(part, "tests" | "tests.rs" | "testing" | "testing.rs"))
    }
}

/// The text files under a root, in the order of their paths.
#[derive(Debug)]
pub struct Tree {
    /// The root of the tree.
    pub root: PathBuf,
    /// Its text files; other files are left out.
    pub files: Vec<File>,
}

impl Tree {
    /// Reads the tree under `root`.
    ///
    /// # Errors
    /// When a folder or file cannot be read.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        walk(root, root, &mut files)?;
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Self {
            root: root.to_owned(),
            files,
        })
    }

    /// The repository of this crate, at the place where cargo runs it: several checkouts may share
    /// one build folder.
    ///
    /// # Errors
    /// When a folder or file cannot be read, or cargo does not run it.
    pub fn of_this_repository() -> io::Result<Self> {
        let package = std::env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
        Self::read(&Path::new(&package).join("../..").canonicalize()?)
    }

    /// The file at a path.
    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// The files under a folder.
    pub fn under<'tree>(&'tree self, folder: &'tree str) -> impl Iterator<Item = &'tree File> {
        self.files.iter().filter(move |file| {
            file.path
                .strip_prefix(folder)
                .is_some_and(|rest| rest.starts_with('/'))
        })
    }

    /// The Rust sources.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let kind = entry.file_type()?;
        let name = entry.file_name();
        if kind.is_dir() {
            let skipped = SKIPPED.iter().any(|skipped| name == *skipped) || path.join(CACHE_MARKER).exists();
            if !skipped {
                walk(root, &path, files)?;
            }
        } else if kind.is_file()
            && let Ok(text) = String::from_utf8(fs::read(&path)?)
        {
            let relative = path
                .strip_prefix(root)
                .unwrap_or(&path)
                .to_string_lossy()
                .replace('\\', "/");
            files.push(File {
                path: relative,
                text,
                executable: is_executable(&entry.metadata()?),
                mentions: OnceLock::new(),
            });
        }
    }
    Ok(())
}

#[cfg(unix)]
fn is_executable(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_metadata: &fs::Metadata) -> bool {
    true
}
