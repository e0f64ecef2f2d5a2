//! A settings file in memory: its text, the position of each key, and the overrides from the
//! environment.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{Error as YamlError, MessageFormatter, Spanned, UserMessageFormatter};

use super::environment::{Environment, Override};
use super::error::{Fault, Place, SettingsError};

/// Larger files are refused without reading them.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A settings file as read.
#[derive(Debug, Clone)]
pub struct Document {
    path: PathBuf,
    text: String,
    overrides: Vec<Override>,
}

impl Document {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`SettingsError`] if it can't be read, is larger than 1 MiB or is not UTF-8.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let unreadable = |source| SettingsError::Unreadable {
            file: path.to_owned(),
            source,
        };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > MAX_FILE_BYTES {
            let message =
                format!("has {size} bytes, more than the {MAX_FILE_BYTES} a settings file may have");
            let fault = Fault {
                file: path.to_owned(),
                place: None,
                excerpt: None,
                message,
                mend: "name another file".to_owned(),
            };
            return Err(SettingsError::Invalid(Box::new(fault)));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Ok(Self {
            path: path.to_owned(),
            text,
            overrides: Vec::new(),
        })
    }

    /// A file at `path` with the content `text`, without reading the disk.
    #[must_use]
    pub fn from_text(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
            overrides: Vec::new(),
        }
    }

    /// The text of the file.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `path` relative to the folder of this file.
    #[must_use]
    pub fn resolve(&self, path: &Path) -> PathBuf {
        match self.path.parent() {
            Some(folder) if path.is_relative() => folder.join(path),
            _ => path.to_owned(),
        }
    }

    /// Parses the content as `T`, with the overrides of `environment`.
    ///
    /// # Errors
    /// [`SettingsError`] with the position in the file, or with the variable.
    pub(super) fn parse<T: DeserializeOwned>(
        &mut self,
        environment: &Environment,
    ) -> Result<T, SettingsError> {
        self.overrides.clone_from(&environment.overrides);
        if self.overrides.is_empty() {
            return self.parse_file();
        }
        let merged = self.merge(&self.overrides)?;
        T::deserialize(merged).or_else(|error| {
            let message = error.to_string();
            if let Some(change) = self.to_blame::<T>(&message)? {
                return Err(change.error(message));
            }
            self.parse_file::<T>()?;
            Err(self.overrides[0].error(message))
        })
    }

    /// The variable that causes this error, which does not occur without it; `None` if the file
    /// causes it.
    fn to_blame<T: DeserializeOwned>(&self, message: &str) -> Result<Option<&Override>, SettingsError> {
        let mut suspects = self.overrides.clone();
        for change in &self.overrides {
            let others: Vec<_> = suspects.iter().filter(|one| *one != change).cloned().collect();
            let refused = T::deserialize(self.merge(&others)?).err();
            if refused.is_some_and(|error| error.to_string() == message) {
                suspects = others;
            }
        }
        let blamed = suspects.first();
        Ok(self.overrides.iter().find(|change| Some(*change) == blamed))
    }

    fn parse_file<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        let options = serde_saphyr::options! { with_snippet: false, strict_booleans: true };
        serde_saphyr::from_str_with_options(&self.text, options).map_err(|error| self.malformed(&error))
    }

    fn merge(&self, overrides: &[Override]) -> Result<Value, SettingsError> {
        let mut tree = self.parse_file()?;
        overrides.iter().try_for_each(|change| change.apply(&mut tree))?;
        Ok(tree)
    }

    fn malformed(&self, error: &YamlError) -> SettingsError {
        let place = error.location().map(|at| Place {
            line: at.line(),
            column: at.column(),
        });
        let message = UserMessageFormatter
            .format_message(error.without_snippet())
            .into_owned();
        self.invalid(place, message, mend_of(error))
    }

    fn invalid(&self, place: Option<Place>, message: String, mend: String) -> SettingsError {
        let line = place.and_then(|place| usize::try_from(place.line).ok()?.checked_sub(1));
        let line = line.filter(|line| !self.may_hold_secret(*line));
        let excerpt = line
            .and_then(|line| self.text.lines().nth(line))
            .map(str::to_owned);
        SettingsError::Invalid(Box::new(Fault {
            file: self.path.clone(),
            place,
            excerpt,
            message: masked(&message),
            mend,
        }))
    }

    /// Whether a line may contain a token or a password, judged by its text or by its top-level
    /// key.
    fn may_hold_secret(&self, line: usize) -> bool {
        let lines: Vec<&str> = self.text.lines().take(line + 1).collect();
        let says = |word| lines.last().is_some_and(|text| text.contains(word));
        let top = lines
            .iter()
            .rfind(|text| text.starts_with(|first: char| first.is_ascii_alphabetic()));
        let section = top.and_then(|text| text.split(':').next());
        ["token", "isthmus_", "sha256:", "@"].into_iter().any(says)
            || section.is_some_and(|key| SECRET_SECTIONS.contains(&key))
    }

    /// The error for the value at `keys`, which parses but is refused for its meaning. It shows the
    /// line of the deepest of `keys` that is in the file, or names the variable that set the value.
    #[must_use]
    pub fn fault(&self, keys: &[&str], message: impl Into<String>, mend: impl Into<String>) -> SettingsError {
        let overrides = |change: &&Override| {
            change.path.iter().zip(keys).all(|(a, b)| a == b) && change.path.len() <= keys.len()
        };
        if let Some(change) = self.overrides.iter().find(overrides) {
            return SettingsError::Override {
                variable: change.variable.clone(),
                message: message.into(),
                mend: mend.into(),
            };
        }
        let deepest = self.places(keys).pop();
        self.invalid(deepest, message.into(), mend.into())
    }

    /// Whether the file itself has a value at `keys`.
    #[must_use]
    pub fn holds(&self, keys: &[&str]) -> bool {
        self.places(keys).len() == keys.len()
    }

    /// The keys that differ in `other`, two levels deep, such as `log.retention`; overrides from
    /// the environment are included.
    #[must_use]
    pub(crate) fn changes(&self, other: &Self) -> Vec<String> {
        let tree = |document: &Self| document.merge(&document.overrides).unwrap_or(Value::Null);
        let (held, found) = (tree(self), tree(other));
        let mut changes = Vec::new();
        for key in keys_of([&held, &found]) {
            let (held, found) = (&held[&key], &found[&key]);
            let is_section = |value: &Value| value.is_object() || value.is_null();
            if is_section(held) && is_section(found) {
                let below = keys_of([held, found]).into_iter();
                let below = below.filter(|name| held[name] != found[name]);
                changes.extend(below.map(|name| format!("{key}.{name}")));
            } else if held != found {
                changes.push(key);
            }
        }
        changes
    }

    /// The positions of `keys`, as far down as the file has them.
    fn places(&self, keys: &[&str]) -> Vec<Place> {
        let mut places = Vec::with_capacity(keys.len());
        let Ok(root) = serde_saphyr::from_str::<Spanned<Node>>(&self.text) else {
            return places;
        };
        let mut node = &root.value;
        for key in keys {
            let Some((at, below)) = node.child(key) else { break };
            places.push(at);
            node = below;
        }
        places
    }
}

fn keys_of(trees: [&Value; 2]) -> BTreeSet<String> {
    let objects = trees.into_iter().filter_map(Value::as_object);
    objects.flat_map(|object| object.keys().cloned()).collect()
}

/// Top-level keys under which tokens and passwords may appear, correctly or by mistake. No error
/// repeats their values.
pub(super) const SECRET_SECTIONS: [&str; 3] = ["admin", "clients", "nats"];

/// `text` without parts that look like a token of `isthmus token`.
pub(super) fn masked(text: &str) -> String {
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut parts = text.split(TOKEN);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        masked.push_str(TOKEN);
        masked.push('…');
        masked.push_str(part.trim_start_matches(is_of_token));
    }
    masked
}

/// The prefix of the tokens of `isthmus token`.
const TOKEN: &str = "isthmus_";

fn mend_of(error: &YamlError) -> String {
    match error.without_snippet() {
        YamlError::SerdeUnknownField { expected, .. } => {
            format!("remove the key, or use one of: {}", expected.join(", "))
        }
        YamlError::SerdeUnknownVariant { expected, .. } => format!("use one of: {}", expected.join(", ")),
        YamlError::SerdeMissingField { field, .. } => format!("add the key {field}"),
        YamlError::DuplicateMappingKey { .. } => "keep one of the two".to_owned(),
        YamlError::Message { .. } => String::new(),
        _ => "correct the value; `isthmus config schema` lists every key with its type".to_owned(),
    }
}

/// A YAML node with the positions of its keys and items.
enum Node {
    Map(Vec<(Spanned<String>, Node)>),
    Sequence(Vec<Spanned<Node>>),
    Scalar,
}

impl Node {
    fn child(&self, key: &str) -> Option<(Place, &Node)> {
        let place = |at: serde_saphyr::Location| Place {
            line: at.line(),
            column: at.column(),
        };
        match self {
            Self::Map(entries) => {
                let (name, node) = entries.iter().find(|(name, _)| name.value == key)?;
                Some((place(name.referenced), node))
            }
            Self::Sequence(items) => items
                .get(key.parse::<usize>().ok()?)
                .map(|item| (place(item.referenced), &item.value)),
            Self::Scalar => None,
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

macro_rules! scalars {
    ($($visit:ident: $type:ty),+) => {
        $(fn $visit<E>(self, _: $type) -> Result<Node, E> { Ok(Node::Scalar) })+
    };
}

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
}
