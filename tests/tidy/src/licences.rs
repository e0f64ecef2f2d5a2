//! The licences of the crates that are built into ours, as their manifests give them.

use std::io;
use std::process::Command;

use serde_json::Value;
use spdx::{Expression, ParseMode};

/// A crate that is built, and the licence in its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// An SPDX expression; empty if there is none.
    pub licence: String,
}

/// Every crate of the lock file that is not ours.
///
/// # Errors
/// When `cargo metadata` does not run, or does not answer with JSON.
pub fn of_dependencies() -> io::Result<Vec<Package>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))?;
    let text = |package: &Value, name: &str| package[name].as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    // Our crates come from no registry.
    let of_others = packages.filter(|package| !package["source"].is_null());
    Ok(of_others
        .map(|package| Package {
            name: text(package, "name"),
            licence: text(package, "license"),
        })
        .collect())
}

/// Why a crate may not be built in if only the licences in `allowed` may be; `None` if it may.
#[must_use]
pub fn fault(package: &Package, allowed: &[&str]) -> Option<String> {
    let Package { name, licence } = package;
    let expression = match Expression::parse_mode(licence, ParseMode::LAX) {
        Ok(expression) => expression,
        Err(error) => {
            return Some(format!(
                "{name}: its licence {licence:?} is not valid: {}",
                error.reason
            ));
        }
    };
    let fits = expression.evaluate(|wanted| allowed.contains(&wanted.to_string().as_str()));
    (!fits).then(|| format!("{name}: {licence} is not among the licences that may be shipped"))
}
