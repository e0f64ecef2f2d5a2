//! Names: no word that hides what is meant, one type for each general noun, short test names.

use std::collections::BTreeMap;

use proc_macro2::{Ident, TokenStream, TokenTree};

use crate::{File, Tree, Violation};

/// Words that no identifier may contain: they have several meanings, or hide the meaning.
const BANNED_WORDS: &[&str] = &[
    "board",
    "doubts",
    "expel",
    "fell",
    "happening",
    "obey",
    "past",
    "told",
];

/// Names that no type may have.
const BANNED_TYPES: &[&str] = &["Over", "Word"];

/// General nouns. Each may name one type at most; other types need a more specific name.
const ONE_TYPE_EACH: &[&str] = &["Answer", "Entry", "Lane", "Link", "Session", "Token"];

/// The most characters in a function's name: the name of a test states what holds, not how.
pub const MAXIMUM_NAME: usize = 60;

/// Identifiers with a banned word.
pub fn banned(tree: &Tree) -> Vec<Violation> {
    let each = tree.rust().flat_map(|file| {
        let names = identifiers(file).into_iter();
        names.filter_map(|name| {
            let text = name.to_string();
            let banned = words(&text).find(|word| BANNED_WORDS.contains(&word.as_str()));
            let word = banned.or_else(|| BANNED_TYPES.contains(&&*text).then(|| text.clone()))?;
            let what = format!("`{text}`: the word {word:?} is vague, use a specific one");
            Some(Violation::at(&file.path, line(&name), what))
        })
    });
    each.collect()
}

/// General nouns that name more than one type.
pub fn shared(tree: &Tree) -> Vec<Violation> {
    let mut types: BTreeMap<&str, Vec<(&str, usize)>> = BTreeMap::new();
    for file in tree.rust() {
        for pair in identifiers(file).windows(2) {
            let defines = ["enum", "struct", "trait", "type", "union"].iter();
            let noun = ONE_TYPE_EACH.iter().find(|noun| pair[1] == **noun);
            if let Some(noun) = noun.filter(|_| defines.clone().any(|keyword| pair[0] == *keyword)) {
                types.entry(noun).or_default().push((&file.path, line(&pair[1])));
            }
        }
    }
    let each = types.into_iter().flat_map(|(noun, places)| {
        let others = places.into_iter().skip(1);
        others.map(move |(path, line)| {
            Violation::at(
                path,
                line,
                format!("another type is called `{noun}`: give this one a more specific name"),
            )
        })
    });
    each.collect()
}

/// Functions with names longer than [`MAXIMUM_NAME`].
pub fn length(tree: &Tree) -> Vec<Violation> {
    let each = tree.rust().flat_map(|file| {
        let names = identifiers(file);
        let long = |pair: &[Ident]| {
            let length = pair[1].to_string().len();
            (pair[0] == "fn" && length > MAXIMUM_NAME).then(|| {
                let what = format!("a name of {length} characters: the maximum is {MAXIMUM_NAME}");
                Violation::at(&file.path, line(&pair[1]), what)
            })
        };
        names.windows(2).filter_map(long).collect::<Vec<_>>()
    });
    each.collect()
}

fn line(name: &Ident) -> usize {
    name.span().start().line
}

/// The words of an identifier, in lower case.
fn words(name: &str) -> impl Iterator<Item = String> {
    let mut words = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || letter.is_uppercase() {
            words.push(String::new());
        }
        if letter != '_'
            && let Some(word) = words.last_mut()
        {
            word.extend(letter.to_lowercase());
        }
    }
    words.into_iter()
}

/// Every identifier of a file in its order. A file that can't be read has none: another rule names
/// it.
fn identifiers(file: &File) -> Vec<Ident> {
    let mut names = Vec::new();
    if let Ok(stream) = file.text.parse() {
        collect(stream, &mut names);
    }
    names
}

fn collect(stream: TokenStream, names: &mut Vec<Ident>) {
    for token in stream {
        match token {
            TokenTree::Ident(name) => names.push(name),
            TokenTree::Group(group) => collect(group.stream(), names),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}
