//! Files that only their owner can access, whatever the umask of the parent process.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

/// Mode of a folder for its owner only.
const FOLDER: u32 = 0o700;
/// Mode of a file for its owner only.
const FILE: u32 = 0o600;
/// The permissions of everybody except the owner.
pub const OTHERS: u32 = 0o077;
/// The permissions of everybody except the owner and its group.
pub const EVERYBODY: u32 = 0o007;

/// Restricts all files and folders that this process, or a process that it starts, creates from
/// here on to their owner.
pub fn by_default() {
    rustix::process::umask(Mode::from_bits_truncate(OTHERS));
}

/// Creates a folder and its missing parents. The permissions of an existing folder are restricted
/// if all its entries are `own`; a folder with entries of others is left unchanged.
///
/// # Errors
/// The I/O error.
pub fn folder(path: &Path, own: impl Fn(&Path) -> bool) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER).create(path)?;
    if mode(path)? & OTHERS == 0 {
        return Ok(());
    }
    for entry in path.read_dir()? {
        if !own(&entry?.path()) {
            tracing::warn!(folder = %path.display(), "others can access the folder; its permissions are kept, because it holds other files too");
            return Ok(());
        }
    }
    std::fs::set_permissions(path, Permissions::from_mode(FOLDER))
}

/// Opens a file for reading and writing, creates it if it is missing, and restricts its
/// permissions.
///
/// # Errors
/// The I/O error.
pub fn file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE)
        .open(path)?;
    if file.metadata()?.permissions().mode() & OTHERS != 0 {
        file.set_permissions(Permissions::from_mode(FILE))?;
    }
    Ok(file)
}

fn mode(path: &Path) -> io::Result<u32> {
    Ok(path.metadata()?.permissions().mode() & 0o777)
}

/// The files in `paths` that grant any of `rights`, with their permissions. Files that can't be
/// inspected are skipped.
#[must_use]
pub fn wider(paths: impl IntoIterator<Item = PathBuf>, rights: u32) -> Vec<(PathBuf, u32)> {
    let granted = paths.into_iter().filter_map(|path| {
        let mode = mode(&path).ok()?;
        Some((path, mode))
    });
    granted.filter(|(_, mode)| mode & rights != 0).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn widen(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_made_is_private_and_what_was_wide_is_narrowed() {
        let root = tempfile::tempdir().unwrap();
        let (made, inner) = (root.path().join("a"), root.path().join("a/b"));
        folder(&inner, |_| true).unwrap();
        let path = inner.join("file");
        drop(file(&path).unwrap());
        for (path, mode) in [(&made, 0o755), (&inner, 0o755), (&path, 0o644)] {
            assert_eq!(super::mode(path).unwrap() & OTHERS, 0);
            widen(path, mode);
        }
        let wide = wider([inner.clone(), path.clone(), root.path().join("none")], OTHERS);
        assert_eq!(wide, [(inner.clone(), 0o755), (path.clone(), 0o644)]);
        folder(&inner, |entry| entry == path).unwrap();
        drop(file(&path).unwrap());
        assert_eq!(wider([inner, path], OTHERS), []);
    }

    #[test]
    fn a_folder_of_others_is_left_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        widen(root.path(), 0o755);
        std::fs::write(root.path().join("of somebody"), "").unwrap();
        folder(root.path(), |entry| entry.ends_with("own")).unwrap();
        assert_eq!(mode(root.path()).unwrap(), 0o755);
    }
}
