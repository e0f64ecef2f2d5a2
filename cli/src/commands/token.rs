//! `isthmus token`.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use serde_json::json;

use crate::failure::Failure;
use crate::output::{json_line, line, note};

/// Bytes of randomness in a token.
const BYTES: usize = 32;

/// Make a token for an application or an operator, and the hash that settings hold
///
/// The token goes to its user alone; `clients` of an agent's settings or `operators` of an admin
/// listener get its hash. Nothing is stored.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  isthmus token > checkout.token    # its hash is printed on stderr\n  isthmus token --json"
)]
pub(super) struct Token {
    /// Print token and hash as a JSON object
    #[arg(long)]
    json: bool,
}

impl Token {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut random = [0; BYTES];
        getrandom::fill(&mut random).map_err(Failure::environment)?;
        let token = format!("isthmus_{}", URL_SAFE_NO_PAD.encode(random));
        let hash = hash(&token);
        if self.json {
            return json_line(&json!({ "token": token, "hash": hash }));
        }
        line(&token)?;
        note(format_args!("for tokens in the settings: {hash}"));
        Ok(())
    }
}

/// The hash of a token, as settings keep it.
fn hash(token: &str) -> String {
    let sha256 = digest::digest(&digest::SHA256, token.as_bytes());
    let digits: String = sha256.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use isthmus_runtime::settings::TokenHash;

    #[test]
    fn settings_take_the_hash_and_not_the_token() {
        let hash = hash("abc");
        assert_eq!(
            hash,
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(hash.parse::<TokenHash>().is_ok());
        let refused = "isthmus_abc"
            .parse::<TokenHash>()
            .map_err(|error| error.to_string());
        assert!(refused.is_err_and(|text| !text.contains("isthmus_abc")));
    }
}
