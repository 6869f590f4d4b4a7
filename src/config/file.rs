//! The settings file: from TOML to values, each with the line it stands in.
//!
//! The whole file is judged, profiles that are not in use too. Nothing here reads a file or knows the environment
//! but [`read`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Arg;
use signalling::id::PeerId;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::definition::{self, Kind};
use super::values::{Contacts, Entry, Origin, Table};
use crate::platform::files::read_bounded;

const DEFAULT_PROFILE: &str = "default-profile";
const PROFILES: &str = "profile";
const CONTACTS: &str = "contacts";

/// A settings file, understood.
#[derive(Debug, Default)]
pub(super) struct Document {
    default_profile: Option<(String, usize)>,
    top: Table,
    profiles: BTreeMap<String, Table>,
    pub(super) contacts: Contacts,
}

/// What is wrong with a settings file, and where.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {text}", .path.display())]
pub(super) struct FileError {
    path: PathBuf,
    line: usize,
    text: String,
}

/// Where a settings file is, and what its paths are relative to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) path: &'a Path,
    pub(super) home: Option<&'a Path>,
}

/// The text of a settings file.
///
/// # Errors
/// When there is none, it is too large, or no text.
pub(super) fn read(path: &Path) -> std::io::Result<String> {
    String::from_utf8(read_bounded(path)?).map_err(|_| std::io::Error::other("it is not UTF-8"))
}

impl Document {
    /// Understands a file whose settings are these options.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line and what to write in its place.
    pub(super) fn parse(text: &str, place: Place<'_>, settings: &BTreeMap<String, Arg>) -> Result<Self, FileError> {
        let mut reader = Reader { text, place, settings, contacts: Contacts::default() };
        let root = DeTable::parse(text).map_err(|error| {
            let words: Vec<&str> = error.message().lines().collect();
            reader.error(error.span().map_or(0, |span| span.start), words.join(", "))
        })?;
        let entries = in_order(root.get_ref());
        // Nicks may stand in settings above them.
        for (key, value) in entries.iter().filter(|(key, _)| key.get_ref() == CONTACTS) {
            reader.contacts = Arc::new(reader.contacts(key, value)?);
        }
        let mut document = Self { contacts: Arc::clone(&reader.contacts), ..Self::default() };
        for (key, value) in entries {
            match &**key.get_ref() {
                CONTACTS => {}
                DEFAULT_PROFILE => document.default_profile = Some(reader.default_profile(key, value)?),
                PROFILES => document.profiles = reader.profiles(key, value)?,
                name => {
                    let entry = reader.entry(key, value, None)?;
                    document.top.insert(name.to_owned(), entry);
                }
            }
        }
        if let Some((name, line)) = &document.default_profile
            && let Err(text) = document.find_profile(name)
        {
            return Err(FileError { path: place.path.to_owned(), line: *line, text });
        }
        Ok(document)
    }

    /// The profile to take unless another is asked for.
    pub(super) fn default_profile(&self) -> Option<&str> {
        self.default_profile.as_ref().map(|(name, _)| name.as_str())
    }

    /// The tables in force with this profile, the one that goes first in front.
    ///
    /// # Errors
    /// When there is no such profile, with those there are.
    pub(super) fn tables(&self, profile: Option<&str>) -> Result<Vec<&Table>, String> {
        match profile {
            Some(name) => Ok(vec![self.find_profile(name)?, &self.top]),
            None => Ok(vec![&self.top]),
        }
    }

    fn find_profile(&self, name: &str) -> Result<&Table, String> {
        self.profiles.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.profiles.keys().map(String::as_str).collect();
            let known =
                if names.is_empty() { "there is none".to_owned() } else { format!("known: {}", names.join(", ")) };
            format!("no profile {name:?}{}; {known}", suggestion(name, names.into_iter()))
        })
    }
}

type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;
type Value<'a> = Spanned<DeValue<'a>>;

/// Entries as they stand in the file, so that the first fault is the one told.
fn in_order<'a, 'b>(table: &'b DeTable<'a>) -> Vec<(&'b Key<'a>, &'b Value<'a>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// What reading one file needs to know.
struct Reader<'a> {
    text: &'a str,
    place: Place<'a>,
    settings: &'a BTreeMap<String, Arg>,
    contacts: Contacts,
}

impl Reader<'_> {
    fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }

    fn error(&self, offset: usize, text: impl Into<String>) -> FileError {
        FileError { path: self.place.path.to_owned(), line: self.line(offset), text: text.into() }
    }

    fn default_profile(&self, key: &Key<'_>, value: &Value<'_>) -> Result<(String, usize), FileError> {
        let wrong = || self.error(value.span().start, "default-profile must be the name of a profile, as \"home\"");
        let name = value.get_ref().as_str().ok_or_else(wrong)?;
        Ok((name.to_owned(), self.line(key.span().start)))
    }

    fn profiles(&self, key: &Key<'_>, value: &Value<'_>) -> Result<BTreeMap<String, Table>, FileError> {
        let hint = "profiles are tables, as [profile.home]; which one is taken says default-profile";
        let tables = value.get_ref().as_table().ok_or_else(|| self.error(key.span().start, hint))?;
        let mut profiles = BTreeMap::new();
        for (name, value) in in_order(tables) {
            let table = value.get_ref().as_table().ok_or_else(|| self.error(name.span().start, hint))?;
            let mut profile = Table::new();
            for (key, value) in in_order(table) {
                profile.insert(key.get_ref().to_string(), self.entry(key, value, Some(&**name.get_ref()))?);
            }
            profiles.insert(name.get_ref().to_string(), profile);
        }
        Ok(profiles)
    }

    fn contacts(&self, key: &Key<'_>, value: &Value<'_>) -> Result<BTreeMap<String, PeerId>, FileError> {
        let hint = "contacts is a table of nicks, as mum = \"alice-laptop\" below [contacts]";
        let table = value.get_ref().as_table().ok_or_else(|| self.error(key.span().start, hint))?;
        let mut contacts = BTreeMap::new();
        for (nick, value) in in_order(table) {
            let name = nick.get_ref();
            if name.trim().is_empty() || name.starts_with('-') || name.contains(|c: char| c == ',' || c.is_control()) {
                return Err(self.error(nick.span().start, format!("{name:?} cannot be typed as a nick; use letters")));
            }
            let id = value.get_ref().as_str().ok_or_else(|| self.error(value.span().start, hint))?;
            let id = id.parse::<PeerId>().map_err(|error| self.error(value.span().start, error.to_string()))?;
            contacts.insert(name.to_string(), id);
        }
        Ok(contacts)
    }

    /// One setting, at the top or of a profile.
    fn entry(&self, key: &Key<'_>, value: &Value<'_>, profile: Option<&str>) -> Result<Entry, FileError> {
        let (name, start) = (&**key.get_ref(), key.span().start);
        let arg = match self.settings.get(name) {
            Some(arg) if definition::is_secret(arg) => {
                let text = format!(
                    "{name} does not belong into this file, which holds it in clear text; \
                     write it into a file that only you can read, and name that by {name}-file"
                );
                return Err(self.error(start, text));
            }
            Some(arg) => definition::knowing(arg.clone(), &self.contacts),
            None => return Err(self.error(start, self.unknown(name, value, profile))),
        };
        let values = self.values(name, &arg, value)?;
        for value in &values {
            if let Some(text) = definition::complaint(&arg, value) {
                return Err(self.error(start, format!("{name}: {text}")));
            }
        }
        if values.is_empty() && !arg.get_default_values().is_empty() {
            return Err(self.error(start, format!("{name} needs a value")));
        }
        let line = self.line(start);
        let origin = match profile {
            Some(name) => Origin::Profile { name: name.to_owned(), line },
            None => Origin::Top { line },
        };
        Ok(Entry { origin, values })
    }

    fn unknown(&self, name: &str, value: &Value<'_>, profile: Option<&str>) -> String {
        if profile.is_none() && value.get_ref().is_table() {
            let tables = suggestion(name, [PROFILES, CONTACTS].into_iter());
            let hint = if tables.is_empty() { format!("; did you mean [profile.{name}]?") } else { tables };
            return format!("unknown table {name:?}{hint}");
        }
        let special = [DEFAULT_PROFILE, PROFILES, CONTACTS].into_iter().filter(|_| profile.is_none());
        let keys = self.settings.iter().filter(|(_, arg)| !definition::is_secret(arg)).map(|(key, _)| key.as_str());
        let hint = suggestion(name, keys.chain(special));
        format!("unknown key {name:?}{hint}; `tring config --example` has them all")
    }

    fn values(&self, name: &str, arg: &Arg, value: &Value<'_>) -> Result<Vec<OsString>, FileError> {
        match value.get_ref() {
            DeValue::Array(values) if definition::is_list(arg) => {
                values.iter().map(|value| self.value(name, arg, value)).collect()
            }
            DeValue::Array(_) => Err(self.error(value.span().start, format!("{name} takes one value, not several"))),
            _ => Ok(vec![self.value(name, arg, value)?]),
        }
    }

    fn value(&self, name: &str, arg: &Arg, value: &Value<'_>) -> Result<OsString, FileError> {
        let kind = definition::kind(arg);
        match (kind, value.get_ref()) {
            (Kind::Switch, DeValue::Boolean(on)) => Ok(on.to_string().into()),
            (Kind::Number, DeValue::Integer(number)) => i64::from_str_radix(number.as_str(), number.radix())
                .map(|number| number.to_string().into())
                .map_err(|_| self.error(value.span().start, format!("{name} is too large a number"))),
            (Kind::Number, DeValue::Float(number)) => Ok(number.as_str().into()),
            (Kind::Text, DeValue::String(text)) => Ok(self.resolved(arg, text)),
            (_, found) => {
                let wanted = match kind {
                    Kind::Switch => "true or false",
                    Kind::Number => "a number",
                    Kind::Text => "text in quotes",
                };
                Err(self.error(value.span().start, format!("{name} must be {wanted}, not {}", article(found))))
            }
        }
    }

    /// Paths are relative to the file they stand in, and `~` is the home folder.
    fn resolved(&self, arg: &Arg, text: &str) -> OsString {
        if definition::is_path(arg) {
            return self.path(text).into_os_string();
        }
        match text.strip_prefix("file:") {
            Some(path) => {
                let mut source = OsString::from("file:");
                source.push(self.path(path));
                source
            }
            None => text.into(),
        }
    }

    fn path(&self, text: &str) -> PathBuf {
        let below_home = text.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'));
        match (below_home, self.place.home) {
            (Some(rest), Some(home)) => home.join(rest.trim_start_matches('/')),
            // An empty path stays empty, to be refused as such.
            _ if text.is_empty() => PathBuf::new(),
            _ => self.place.path.parent().unwrap_or(Path::new("")).join(text),
        }
    }
}

fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// `; did you mean broker?` for a word that is nearly one of these.
fn suggestion<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let near = |name: &&str| strsim::damerau_levenshtein(word, name) <= 1 + word.chars().count() / 4;
    let nearest = known.filter(near).min_by_key(|name| strsim::damerau_levenshtein(word, name));
    nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
