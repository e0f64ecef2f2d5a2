//! Unusable credentials return an error that names the file and the fix.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Authority, EU, US, World, place, region, uri};
use isthmus_link::{Credentials, CredentialsError};

fn error(world: &World) -> CredentialsError {
    Credentials::load(place(EU), world.files(EU)).unwrap_err()
}

/// Loads the files that `spoil` has damaged and returns the error, which must name `file`.
fn spoiled(file: &str, spoil: impl FnOnce(&World)) -> CredentialsError {
    let world = World::new();
    spoil(&world);
    let error = error(&world);
    assert!(
        error
            .to_string()
            .contains(&world.path(file).display().to_string()),
        "{error}"
    );
    error
}

#[test]
fn a_missing_file_is_named() {
    for file in ["eu-west.crt", "eu-west.key", "us-east.pem", "revoked"] {
        let error = spoiled(file, |world| std::fs::remove_file(world.path(file)).unwrap());
        assert!(matches!(error, CredentialsError::Unreadable { .. }), "{error}");
    }
}

#[test]
fn a_file_without_what_it_is_for_is_named() {
    let empty = |file: &'static str| spoiled(file, |world| world.write(file, ""));
    assert!(matches!(
        empty("eu-west.crt"),
        CredentialsError::NoCertificate { .. }
    ));
    assert!(matches!(
        empty("eu-west.pem"),
        CredentialsError::NoCertificate { .. }
    ));
    assert!(matches!(empty("eu-west.key"), CredentialsError::NoKey { .. }));
}

#[test]
fn broken_pem_and_broken_contents_are_named() {
    let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
    let hollow = format!("{cut}-----END CERTIFICATE-----\n");
    let error = spoiled("us-east.pem", |world| world.write("us-east.pem", cut));
    assert!(matches!(error, CredentialsError::Pem { .. }), "{error}");
    let error = spoiled("us-east.pem", |world| {
        world.write("us-east.pem", &format!("{}{hollow}", world.us.pem))
    });
    assert!(
        matches!(error, CredentialsError::Anchor { number: 2, .. }),
        "{error}"
    );
    let error = spoiled("eu-west.crt", |world| world.write("eu-west.crt", &hollow));
    assert!(matches!(error, CredentialsError::Key { .. }), "{error}");
}

#[test]
fn another_certificates_key_is_refused() {
    let error = spoiled("eu-west.key", |world| {
        world.write("eu-west.key", &world.eu.issue(&[&uri(EU)]).key.serialize_pem());
    });
    assert!(matches!(error, CredentialsError::Key { .. }), "{error}");
}

#[test]
fn a_certificate_that_peers_would_refuse_is_refused_at_start() {
    let world = World::new();
    let cases = [
        (world.us.issue(&[&uri(US)]), "another_region"),
        (world.eu.issue(&[&uri(EU).replace("shop", "bank")]), "another_set"),
        (world.eu.issue(&[]), "no_uri_name"),
        (world.us.issue(&[&uri(EU)]), "another_regions_ca"),
        (Authority::new().issue(&[&uri(EU)]), "unknown_ca"),
        (
            world.eu.issue_with(&[&uri(EU)], |params| {
                params.not_after = rcgen::date_time_ymd(2020, 1, 1)
            }),
            "expired",
        ),
        (
            world.eu.issue_with(&[&uri(EU)], |params| {
                params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
            }),
            "wrong_purpose",
        ),
    ];
    for (leaf, label) in cases {
        world.install(EU, &leaf);
        let error = error(&world);
        let CredentialsError::Unfit { refusal, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(refusal.reason().label(), label, "{error}");
        assert!(error.to_string().contains("eu-west.crt"), "{error}");
    }
}

#[test]
fn a_bad_fingerprint_is_named_with_its_line() {
    let error = spoiled("revoked", |world| world.write("revoked", "# ok\n\nnonsense\n"));
    assert!(
        matches!(error, CredentialsError::Revoked { line: 3, .. }),
        "{error}"
    );
}

#[test]
fn a_region_without_trust_and_a_shared_identity_are_refused() {
    let world = World::new();
    let mut files = world.files(EU);
    files.trust.remove(&region(EU));
    let error = Credentials::load(place(EU), files).unwrap_err();
    assert!(matches!(error, CredentialsError::NoOwnTrust { .. }), "{error}");

    let mut files = world.files(EU);
    files.trust.get_mut(&region(US)).unwrap().identity = Some(uri(EU));
    let error = Credentials::load(place(EU), files).unwrap_err();
    assert!(
        matches!(error, CredentialsError::SharedIdentity { .. }),
        "{error}"
    );
}

#[test]
fn a_file_larger_than_any_credentials_is_refused() {
    let error = spoiled("eu-west.pem", |world| {
        std::fs::File::create(world.path("eu-west.pem"))
            .unwrap()
            .set_len(1 << 30)
            .unwrap();
    });
    assert!(matches!(error, CredentialsError::TooLarge { .. }), "{error}");
}

#[test]
fn no_error_shows_the_key() {
    let world = World::new();
    let secret = world.eu.issue(&[]).key.serialize_pem();
    world.write("eu-west.key", &secret);
    let error = format!("{:?}", error(&world));
    let line = secret.lines().nth(1).unwrap();
    assert!(!error.contains(line));
}
