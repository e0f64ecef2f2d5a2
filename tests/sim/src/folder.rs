//! The files of a simulated set: those of a deployment, read by the same code.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use isthmus_replication::names::RegionName;
use tempfile::TempDir;

use crate::node::Role;
use crate::plan::Plan;

/// Writes set.yaml. Certificates are never used, but settings name them.
///
/// # Errors
/// When a file cannot be written.
pub fn write_set(
    folder: &Path,
    plan: &Plan,
    regions: &[(RegionName, Vec<SocketAddr>)],
) -> std::io::Result<()> {
    let mut text = "set: sim\ngeneration: 1\nregions:\n".to_owned();
    for (region, gateways) in regions {
        let gateways: Vec<String> = gateways.iter().map(|address| format!("\"{address}\"")).collect();
        let _ = writeln!(
            text,
            "  {region}: {{ gateways: [{}], trust: nobody.pem }}",
            gateways.join(", ")
        );
    }
    let _ = writeln!(text, "groups:\n  default: {{ partitions: {} }}", plan.partitions);
    let _ = writeln!(
        text,
        "buckets:\n  \"*\": {{ kind: value, max_value: 64KiB, unknown: create }}"
    );
    std::fs::write(folder.join("set.yaml"), text)?;
    for file in ["nobody.pem", "nobody.key"] {
        std::fs::write(folder.join(file), "")?;
    }
    Ok(())
}

/// Writes the settings of one process and returns their path.
///
/// # Errors
/// When the file cannot be written.
pub fn write_process(
    folder: &Path,
    plan: &Plan,
    role: Role,
    region: &RegionName,
    name: &str,
    listen: SocketAddr,
) -> std::io::Result<PathBuf> {
    let mut text = format!(
        "set: set.yaml\nregion: {region}\nname: {name}\nnats: {{ servers: [\"nats://127.0.0.1:4222\"] }}\n\
         log: {{ create: true, max_bytes: {}KiB, retention: {}KiB }}\n",
        plan.log_kib, plan.retention_kib
    );
    match role {
        Role::Agent => {
            let _ = writeln!(text, "data: data-{name}");
        }
        Role::Gateway => {
            let _ = writeln!(
                text,
                "link: {{ listen: \"{listen}\", certificate: nobody.pem, key: nobody.key }}"
            );
        }
    }
    let path = folder.join(format!("{name}.yaml"));
    std::fs::write(&path, text)?;
    Ok(path)
}

/// A folder in memory if possible, since checkpoints are written often.
///
/// # Errors
/// When no folder can be created, in memory or on disk.
pub fn scratch() -> std::io::Result<TempDir> {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new())
}
