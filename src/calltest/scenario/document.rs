//! A scenario file as it is written: TOML, and the values that stand for its variables.
//!
//! - in: the text → [`Document`], with line and column of what is wrong
//! - the matrix: [`read`] → [`Variant`]s, a run each, with `${name}` put in
//! - out: [`super::script`] makes types of it
//!
//! Every value may be a text with variables in it, so here values are [`Text`]; what they mean is read afterwards.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Deserialize;
use toml::{Table, Value};

use crate::calltest::values::{Text, Words, kind, text};

/// Runs of one file at most: a matrix that is larger was not meant.
const VARIANTS_MAX: usize = 1000;

/// Times a variable is put in one into another: one that names itself ends here.
const DEPTH_MAX: usize = 8;

/// A scenario: peers, what they do, and what has to come of it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    /// What it is called [default: the file's name].
    pub(crate) name: Option<Text>,
    /// What it shows, in a sentence.
    pub(crate) description: Option<Text>,
    /// Words to choose it by: `tring test --tag WORD`.
    #[serde(default)]
    pub(crate) tags: Vec<Text>,
    /// How long one run may take [default: 2m].
    pub(crate) timeout: Option<Text>,
    /// How often it is run [default: 1].
    pub(crate) repeat: Option<Text>,
    /// Values to be used as `${name}`; `--set NAME=VALUE` replaces them.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Text>")]
    pub(crate) vars: BTreeMap<String, Value>,
    /// Values to be tried, each combination in a run of its own, as `${name}`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Vec<Text>>")]
    pub(crate) matrix: BTreeMap<String, Vec<Value>>,
    /// The servers of the test.
    #[serde(default)]
    pub(crate) servers: Servers,
    /// Settings of all peers: the options of `tring call` and `tring listen` without their dashes.
    #[serde(default)]
    #[schemars(with = "super::described::Settings")]
    pub(crate) settings: BTreeMap<String, Value>,
    /// Who takes part.
    #[serde(default)]
    pub(crate) peers: BTreeMap<String, Peer>,
    /// What happens, in this order.
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
}

/// The servers of the test. Those that are not given are brought by the runner: a broker and a TURN server of its own.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Servers {
    /// `own`: a broker of the test's own, whatever `--broker` says.
    pub(crate) broker: Option<Text>,
    /// A command that restarts the broker of `--broker`, for the steps that want that.
    pub(crate) restart_broker: Option<Vec<Text>>,
    /// The same for the TURN server.
    pub(crate) restart_turn: Option<Vec<Text>>,
}

/// One who takes part. Whatever else stands here is a setting: an option of `tring call` or `tring listen`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub(crate) struct Peer {
    /// Whom it calls; one that calls nobody listens.
    pub(crate) calls: Option<Text>,
    /// Its peer ID [default: its name, with a mark of the run where the broker is not the test's own].
    pub(crate) id: Option<Text>,
    /// `step`: starts at a step with `do = "start"` [default: at the beginning, callers when the others are online].
    pub(crate) start: Option<Text>,
    /// The agent that it runs at [default: this machine].
    pub(crate) agent: Option<Text>,
    /// `true`: runs as a session inside the program that runs the test, instead of as a process of its own. Its figures of
    /// processor time and memory are then those of the whole program.
    pub(crate) inside: Option<Text>,
    /// Another program that takes part: it prints events and reads commands as `tring` does.
    pub(crate) command: Option<Vec<Text>>,
    /// Variables of its environment.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, Text>,
    /// A bad network, as `--impair`; or `up` and `down` apart.
    pub(crate) impair: Option<Impair>,
    /// What has to come of its call.
    #[schemars(with = "Option<super::described::Expectations>")]
    pub(crate) expect: Option<BTreeMap<String, Words>>,
    /// Everything else.
    #[serde(flatten)]
    #[schemars(with = "super::described::Settings")]
    pub(crate) settings: BTreeMap<String, Value>,
}

/// A bad network.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields, expecting = "use a text as of --impair, or a table of up and down")]
pub(crate) enum Impair {
    /// Both ways, or as its prefixes say.
    Both(Text),
    /// Each way apart.
    Apart {
        /// What it sends.
        up: Option<Text>,
        /// What comes.
        down: Option<Text>,
    },
}

/// One step. It has exactly one of `wait`, `do`, `impair`, `kill`, `restart` and `expect`, or `after` alone: a pause.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// How long to wait before it.
    pub(crate) after: Option<Text>,
    /// Whose step it is: a name or several.
    pub(crate) peer: Option<Words>,
    /// Waits for this event.
    #[schemars(with = "Option<super::described::EventName>")]
    pub(crate) wait: Option<Text>,
    /// Fields the event must have.
    #[serde(default, rename = "where")]
    #[schemars(with = "BTreeMap<String, Text>")]
    pub(crate) fields: BTreeMap<String, Value>,
    /// How long to wait for it at most [default: 10s].
    pub(crate) within: Option<Text>,
    /// A command, as on the standard input of `--control -`: answer, reject, hangup, hold, resume, swap, send, mute, camera,
    /// voice, snapshot, away, back, reconnect, stats, quit; or start, interrupt.
    #[serde(rename = "do")]
    pub(crate) command: Option<Text>,
    /// With `reject`: a word for the caller.
    pub(crate) text: Option<Text>,
    /// With `send`: pictures.
    pub(crate) video: Option<Text>,
    /// With `send`: sound.
    pub(crate) audio: Option<Text>,
    /// With `mute`, `camera` and `voice`: on or off.
    pub(crate) on: Option<Text>,
    /// With `snapshot`: the PNG file.
    pub(crate) file: Option<Text>,
    /// A bad network from now on, as `--impair`; `none` ends it.
    pub(crate) impair: Option<Impair>,
    /// Ends a peer, the `broker` or the `turn` server as a crash would.
    pub(crate) kill: Option<Text>,
    /// Ends and starts the `broker` or the `turn` server.
    pub(crate) restart: Option<Text>,
    /// What has to be true of the next `over` seconds.
    #[schemars(with = "Option<super::described::Expectations>")]
    pub(crate) expect: Option<BTreeMap<String, Words>>,
    /// How long that is [default: 5s].
    pub(crate) over: Option<Text>,
}

/// One run of a file: its own values, put in.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    /// What the matrix chose, by name; nothing without a matrix.
    pub(crate) chosen: BTreeMap<String, String>,
    pub(crate) document: Document,
    /// What came from the environment, and so is never printed.
    pub(crate) secrets: BTreeSet<String>,
}

/// Where values come from that the file does not hold.
pub(crate) struct Surroundings<'a> {
    /// `--set NAME=VALUE`.
    pub(crate) set: &'a BTreeMap<String, String>,
    /// A variable of the environment.
    pub(crate) environment: &'a dyn Fn(&str) -> Option<String>,
}

/// Reads a file into the runs that it asks for.
///
/// # Errors
/// What is wrong with it, with its line where there is one.
pub(crate) fn read(source: &str, around: &Surroundings<'_>) -> Result<Vec<Variant>, String> {
    // The first look finds what is misspelt, with its line; what is put in does not change names.
    let document: Document = toml::from_str(source).map_err(|error| error.to_string())?;
    let mut table: Table = toml::from_str(source).map_err(|error| error.to_string())?;
    for key in ["vars", "matrix"] {
        table.remove(key);
    }
    let known = |name: &String| document.vars.contains_key(name) || document.matrix.contains_key(name);
    if let Some(name) = around.set.keys().find(|name| !known(name)) {
        return Err(format!("--set {name}: there is no such variable; there are: {}", names(&document)));
    }
    let mut variants = Vec::new();
    for chosen in combinations(&document, around.set)? {
        let mut filling = Filling { document: &document, chosen: &chosen, around, secrets: BTreeSet::new() };
        let mut value = Value::Table(table.clone());
        filling.fill(&mut value, "")?;
        let secrets = filling.secrets;
        let filled = Document::deserialize(value).map_err(|error| error.to_string())?;
        let chosen = chosen.iter().map(|(name, value)| (name.clone(), text(value).unwrap_or_default())).collect();
        variants.push(Variant { chosen, document: filled, secrets });
    }
    Ok(variants)
}

fn names(document: &Document) -> String {
    let names: Vec<&str> = document.vars.keys().chain(document.matrix.keys()).map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Every combination of the matrix; a value that is set takes the place of a list.
fn combinations(document: &Document, set: &BTreeMap<String, String>) -> Result<Vec<BTreeMap<String, Value>>, String> {
    let mut all = vec![BTreeMap::new()];
    for (name, values) in &document.matrix {
        if values.is_empty() {
            return Err(format!("matrix.{name} has no values, so there would be nothing to run"));
        }
        let values = set.get(name).map_or_else(|| values.clone(), |value| vec![Value::String(value.clone())]);
        all = all
            .into_iter()
            .flat_map(|before| {
                let with = |value: Value| {
                    let mut with = before.clone();
                    with.insert(name.clone(), value);
                    with
                };
                values.iter().cloned().map(with).collect::<Vec<_>>()
            })
            .collect();
        if all.len() > VARIANTS_MAX {
            return Err(format!("the matrix has more than {VARIANTS_MAX} combinations; leave some out"));
        }
    }
    Ok(all)
}

struct Filling<'a> {
    document: &'a Document,
    chosen: &'a BTreeMap<String, Value>,
    around: &'a Surroundings<'a>,
    secrets: BTreeSet<String>,
}

impl Filling<'_> {
    fn fill(&mut self, value: &mut Value, path: &str) -> Result<(), String> {
        match value {
            Value::String(text) if text.contains("${") => *value = self.filled(text, path)?,
            Value::Array(list) => {
                for (n, value) in list.iter_mut().enumerate() {
                    self.fill(value, &format!("{path}[{n}]"))?;
                }
            }
            Value::Table(table) => {
                for (key, value) in table.iter_mut() {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    self.fill(value, &path)?;
                }
            }
            Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
        }
        Ok(())
    }

    /// A text that is one variable becomes its value, a number say; else texts are put in.
    fn filled(&mut self, text: &str, path: &str) -> Result<Value, String> {
        if let Some(name) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'))
            && !name.contains('}')
        {
            return self.value(name, path, 0);
        }
        Ok(Value::String(self.put_in(text, path, 0)?))
    }

    fn put_in(&mut self, text: &str, path: &str, depth: usize) -> Result<String, String> {
        let mut rest = text;
        let mut out = String::new();
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else {
                return Err(format!("{path}: a variable in {text:?} has no }} at its end"));
            };
            out += before;
            let value = self.value(name, path, depth)?;
            out += &self::text(&value).ok_or_else(|| format!("{path}: {name} is {} here", kind(&value)))?;
            rest = after;
        }
        Ok(out + rest)
    }

    fn value(&mut self, name: &str, path: &str, depth: usize) -> Result<Value, String> {
        if depth >= DEPTH_MAX {
            return Err(format!("{path}: the variable {name} leads back to itself"));
        }
        let set = self.around.set.get(name).map(|value| Value::String(value.clone()));
        let known = set.as_ref().or_else(|| self.chosen.get(name)).or_else(|| self.document.vars.get(name));
        if let Some(known) = known.cloned() {
            return match &known {
                Value::String(text) if text.contains("${") => Ok(Value::String(self.put_in(text, path, depth + 1)?)),
                _ => Ok(known),
            };
        }
        match (self.around.environment)(name) {
            Some(value) => {
                self.secrets.insert(value.clone());
                Ok(Value::String(value))
            }
            None => Err(format!(
                "{path}: {name} is neither a variable of the file nor of the environment; there are: {}",
                names(self.document)
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_with(source: &str, set: &[(&str, &str)]) -> Result<Vec<Variant>, String> {
        let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let environment = |name: &str| (name == "TOKEN").then(|| "s3cret".to_owned());
        read(source, &Surroundings { set: &set, environment: &environment })
    }

    #[test]
    fn values_are_put_in() {
        let source = r#"
            vars = { n = 3, word = "x${n}" }
            repeat = "${n}"
            name = "a ${word} b"
            [peers.alice]
            calls = "bob"
            env = { PASS = "${TOKEN}" }
        "#;
        let variant = &read_with(source, &[("n", "4")]).unwrap()[0];
        assert_eq!(variant.document.repeat, Some(Text("4".into())));
        assert_eq!(variant.document.name, Some(Text("a x4 b".into())));
        assert_eq!(variant.document.peers["alice"].env["PASS"], Text("s3cret".into()));
        assert_eq!(variant.secrets, BTreeSet::from(["s3cret".to_owned()]));
    }

    #[test]
    fn a_matrix_is_every_combination() {
        let source = "matrix = { a = [1, 2], b = [\"x\", \"y\"] }\nname = \"${a}${b}\"";
        let names = |set: &[(&str, &str)]| -> Vec<String> {
            read_with(source, set).unwrap().into_iter().map(|variant| variant.document.name.unwrap().0).collect()
        };
        assert_eq!(names(&[]), ["1x", "1y", "2x", "2y"]);
        assert_eq!(names(&[("a", "7")]), ["7x", "7y"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (source, expected) in [
            ("nmae = 1", "nmae"),
            ("[[steps]]\nwiat = \"x\"", "wiat"),
            ("name = [1]", "a list"),
            ("name = \"${nobody}\"", "name: nobody is neither"),
            ("name = \"${open\"", "no } at its end"),
            ("vars = { a = \"${b}\", b = \"${a}\" }\nname = \"${a}\"", "leads back to itself"),
            ("matrix = { a = [] }", "no values"),
            ("name", "line 1"),
        ] {
            let error = read_with(source, &[]).unwrap_err();
            assert!(error.contains(expected), "{source}: {error}");
        }
        assert!(read_with("vars = { a = 1 }", &[("b", "1")]).unwrap_err().contains("there are: a"));
        let huge = format!("[matrix]\na = {0:?}\nb = {0:?}", [0; 40]);
        assert!(read_with(&huge, &[]).unwrap_err().contains("1000"));
    }
}
