//! The NATS configuration that terraform writes for a region gives the same rights as
//! configs/production/nats.conf, which `rights.rs` tests.

use std::path::Path;

use anyhow::{Context, ensure};

/// The quoted words in the rights of users, in the order of the file.
fn rights(text: &str) -> Vec<String> {
    let (_, accounts) = text.split_once("\naccounts {").unwrap_or_default();
    let lines = accounts
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let words = lines.flat_map(|line| line.split('"').skip(1).step_by(2));
    words.map(str::to_owned).collect()
}

#[test]
fn terraform_gives_the_rights_of_the_production_file() -> anyhow::Result<()> {
    let package = std::env::var("CARGO_MANIFEST_DIR")?;
    let read = |path: &str| std::fs::read_to_string(Path::new(&package).join("../..").join(path));
    let production = read("configs/production/nats.conf")?;
    let mut template = read("terraform/modules/region-aws/templates/nats.conf.tftpl")?;
    for (variable, values) in [
        (
            "aside",
            [
                "ISTHMUS_shop_eu-west_ASIDE_default",
                "ISTHMUS_shop_eu-west_ASIDE_eu-only",
            ],
        ),
        ("peer", ["eu-central", "us-east"]),
    ] {
        let begin = format!("%{{ for {variable} in {variable}s ~}}\n");
        let (before, rest) = template.split_once(&begin).context("a loop")?;
        let (line, after) = rest.split_once("%{ endfor ~}\n").context("its end")?;
        let each = values.map(|value| line.replace(&format!("${{{variable}}}"), value));
        template = [before, &each.concat(), after].concat();
    }
    for (variable, value) in [
        ("subject", "isthmus.shop.eu-west"),
        ("leases", "ISTHMUS_shop_eu-west_LEASES"),
        ("events", "ISTHMUS_shop_eu-west_EVENTS"),
        ("region", "eu-west"),
    ] {
        template = template.replace(&format!("${{{variable}}}"), value);
    }
    ensure!(rights(&production).len() > 30);
    assert_eq!(rights(&template), rights(&production));
    Ok(())
}
