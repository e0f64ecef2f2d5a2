//! Rust source as the paths that it names: without comments and strings, and with `use` groups
//! expanded.

use std::str::FromStr;

use proc_macro2::{Delimiter, Group, LexError, TokenStream, TokenTree};

/// A path such as `tokio::spawn`, or a single name, at its place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// The names of the path; `use a::{b, c::d}` gives `a`, `a::b` and `a::c::d`.
    pub names: Vec<String>,
    /// Line, counted from 1.
    pub line: usize,
    /// What follows the path.
    pub then: Then,
    /// Whether the path starts a statement, so that a call of it drops its result if a `;` follows.
    pub begins_statement: bool,
    /// Whether it is in an item under `#[cfg(test)]`.
    pub in_tests: bool,
}

/// What follows a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// `!`, a macro call.
    Bang,
    /// Parentheses: a call.
    Call {
        /// Whether the call has no arguments.
        empty: bool,
        /// Whether a `;` follows the call.
        ends_statement: bool,
    },
    /// Anything else.
    Other,
}

impl Mention {
    /// Whether these names are consecutive in the path.
    pub fn has(&self, names: &[&str]) -> bool {
        self.names.windows(names.len()).any(|window| window == names)
    }

    /// The path as it is written.
    pub fn path(&self) -> String {
        self.names.join("::")
    }
}

/// A text that is not Rust.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {error}")]
pub struct NotRust {
    line: usize,
    error: String,
}

impl From<LexError> for NotRust {
    fn from(error: LexError) -> Self {
        Self {
            line: error.span().start().line,
            error: error.to_string(),
        }
    }
}

/// Every path and name in the source.
///
/// # Errors
/// When the text is not Rust; the message has the line.
pub fn mentions(text: &str) -> Result<Vec<Mention>, NotRust> {
    let stream = TokenStream::from_str(text)?;
    let mut found = Vec::new();
    collect(
        stream,
        Place {
            prefix: &[],
            in_tests: false,
        },
        &mut found,
    );
    Ok(found)
}

/// The lines of attributes that start with this name, such as `#[ignore]` or `#[ignore = "…"]`.
///
/// # Errors
/// When the text is not Rust.
pub fn attributes(text: &str, name: &str) -> Result<Vec<usize>, NotRust> {
    let stream = TokenStream::from_str(text)?;
    let mut found = Vec::new();
    collect_attributes(stream, name, &mut found);
    Ok(found)
}

fn collect_attributes(stream: TokenStream, name: &str, found: &mut Vec<usize>) {
    let mut after_hash = false;
    for token in stream {
        if let TokenTree::Group(group) = &token {
            let first = group.stream().into_iter().next();
            if after_hash
                && group.delimiter() == Delimiter::Bracket
                && matches!(&first, Some(TokenTree::Ident(ident)) if ident == name)
            {
                found.push(group.span_open().start().line);
            }
            collect_attributes(group.stream(), name, found);
        }
        after_hash = is_punct(Some(&token), '#');
    }
}

/// The context of a stream of tokens.
#[derive(Clone, Copy)]
struct Place<'names> {
    /// The path that the names of a `use` group continue.
    prefix: &'names [String],
    in_tests: bool,
}

fn collect(stream: TokenStream, place: Place<'_>, found: &mut Vec<Mention>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let mut in_tests = place.in_tests;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token {
            TokenTree::Ident(_) => {
                at = path(&tokens, at, Place { in_tests, ..place }, found);
                continue;
            }
            TokenTree::Group(group) => {
                collect(
                    group.stream(),
                    Place {
                        prefix: &[],
                        in_tests,
                    },
                    found,
                );
                if is_cfg_test(group) {
                    in_tests = true;
                } else if group.delimiter() == Delimiter::Brace {
                    in_tests = place.in_tests;
                }
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => in_tests = place.in_tests,
            _ => {}
        }
        at += 1;
    }
}

fn is_cfg_test(group: &Group) -> bool {
    group.delimiter() == Delimiter::Bracket && group.stream().to_string().replace(' ', "") == "cfg(test)"
}

/// Reads the path that starts at `start` and returns its end; the caller handles groups after it.
fn path(tokens: &[TokenTree], start: usize, place: Place<'_>, found: &mut Vec<Mention>) -> usize {
    let mut names = place.prefix.to_vec();
    let mut at = start;
    let mut line = 0;
    while let Some(TokenTree::Ident(ident)) = tokens.get(at) {
        line = ident.span().start().line;
        names.push(ident.to_string());
        at += 1;
        if !(is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')) {
            break;
        }
        match tokens.get(at + 2) {
            Some(TokenTree::Ident(_)) => at += 2,
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                collect(
                    group.stream(),
                    Place {
                        prefix: &names,
                        ..place
                    },
                    found,
                );
                at += 3;
                break;
            }
            _ => break,
        }
    }
    found.push(Mention {
        names,
        line,
        then: then(&tokens[at..]),
        begins_statement: begins_statement(&tokens[..start]),
        in_tests: place.in_tests,
    });
    at
}

fn then(rest: &[TokenTree]) -> Then {
    match rest.first() {
        Some(TokenTree::Punct(punct)) if punct.as_char() == '!' && !is_punct(rest.get(1), '=') => Then::Bang,
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => Then::Call {
            empty: is_empty(group),
            ends_statement: is_punct(rest.get(1), ';'),
        },
        _ => Then::Other,
    }
}

/// Whether the value of an expression after these tokens is unused; `let _ =` counts as unused.
fn begins_statement(before: &[TokenTree]) -> bool {
    match before {
        [] => true,
        [.., TokenTree::Ident(underscore), TokenTree::Punct(equals)] => {
            underscore == "_" && equals.as_char() == '='
        }
        [.., TokenTree::Punct(punct)] => punct.as_char() == ';',
        [.., TokenTree::Group(group)] => group.delimiter() == Delimiter::Brace,
        _ => false,
    }
}

fn is_empty(group: &Group) -> bool {
    group.stream().is_empty()
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}
