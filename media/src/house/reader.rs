//! Reads which file of a crate imports which, and holds that against a table of rooms. No dependency but the standard
//! library, so that any crate can include this file by `#[path]`.
//!
//! - sources → the paths of each file that begin with `crate`, `super`, `self` or the name of a child; of test code none
//! - each path → the file that it leads to, through re-exports (`pub use`)
//! - [`House::faults`]: imports upwards, crates outside their room, rooms that the table does not name, circles of files
//!
//! It reads text and knows no macros; code is taken as rustfmt leaves it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

/// A file of a crate.
pub(crate) struct Source {
    /// Below the folder of the crate's root: `engine/mod.rs`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Reads all sources below a folder.
pub(crate) fn sources(root: &Path) -> io::Result<Vec<Source>> {
    let mut sources = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                sources.push(Source { path: below, text: fs::read_to_string(&path)? });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

/// The table of rooms. A room is a module at the root of the crate, with all below it.
pub(crate) struct House<'a> {
    /// From the top down. A room may import those on floors below its own; not those beside it, nor above.
    pub(crate) floors: &'a [&'a [&'a str]],
    /// Crates that one room alone may import: crate, room.
    pub(crate) crates: &'a [(&'a str, &'a str)],
    /// Rooms in which a file that imports its children may not be imported by them. Elsewhere what a child takes from its
    /// parent's file makes no circle.
    pub(crate) strict: &'a [&'a str],
    /// Imports upwards that are known and still to be cut: importing file, imported room.
    pub(crate) upwards: &'a [(&'a str, &'a str)],
}

impl House<'_> {
    /// What is wrong with these sources, one line each.
    pub(crate) fn faults(&self, sources: &[Source]) -> Vec<String> {
        let crate_files = Crate::read(sources);
        let mut faults = Vec::new();
        for (path, import) in crate_files.imports() {
            faults.extend(self.judge(path, import));
        }
        faults.extend(self.foreign_crates(&crate_files));
        faults.extend(crate_files.circles(&self.edges(&crate_files)));
        faults
    }

    fn judge(&self, path: &str, import: &Import) -> Option<String> {
        let (from, to) = (room_of(path), import.absolute.first()?.as_str());
        if from == to || from == "lib" || from == "main" || self.upwards.contains(&(path, to)) {
            return None;
        }
        let written = import.absolute.join("::");
        let unknown = |room: &str| {
            let text = format!("{path}:{}: the table of rooms does not name `{room}`; give it a floor", import.line);
            Some(text)
        };
        let Some(floor) = self.floor(from) else { return unknown(from) };
        let Some(below) = self.floor(to) else { return unknown(to) };
        if below > floor {
            return None;
        }
        let place = if below == floor { "beside" } else { "above" };
        Some(format!("{path}:{}: `{from}` imports `{to}`, which is {place} it (crate::{written})", import.line))
    }

    fn floor(&self, room: &str) -> Option<usize> {
        self.floors.iter().position(|floor| floor.contains(&room))
    }

    /// Which file needs which, and the line that says so. What a file only re-exports of its own children it does not
    /// need.
    fn edges(&self, crate_files: &Crate) -> Vec<BTreeMap<usize, usize>> {
        let edges_of = |(from, file): (usize, &File)| {
            let mut edges = BTreeMap::new();
            for import in &file.imports {
                let Some(to) = crate_files.target(&import.absolute, 8).filter(|to| *to != from) else { continue };
                let target = &crate_files.files[to];
                let is_export = import.exported_as.is_some() && import.absolute.starts_with(&file.module);
                let is_parents = file.module.starts_with(&target.module) && !self.strict.contains(&room_of(&file.path));
                let is_known = self.upwards.contains(&(file.path.as_str(), room_of(&target.path)));
                if !is_export && !is_parents && !is_known {
                    edges.entry(to).or_insert(import.line);
                }
            }
            edges
        };
        crate_files.files.iter().enumerate().map(edges_of).collect()
    }

    fn foreign_crates(&self, crate_files: &Crate) -> Vec<String> {
        let mut faults = Vec::new();
        for file in &crate_files.files {
            for (name, room) in self.crates.iter().filter(|(_, room)| *room != room_of(&file.path)) {
                let names = |line: &str| words_before_path(line).any(|word| word == *name);
                for (line, _) in file.code.iter().enumerate().filter(|(_, text)| names(text)) {
                    faults.push(format!("{}:{}: `{name}` belongs to `{room}` alone", file.path, line + 1));
                }
            }
        }
        faults
    }
}

/// The room that a file belongs to.
fn room_of(path: &str) -> &str {
    let first = path.split('/').next().unwrap_or_default();
    first.strip_suffix(".rs").unwrap_or(first)
}

/// The files of a crate without their tests.
struct Crate {
    files: Vec<File>,
    /// Module → position of its file.
    modules: BTreeMap<Vec<String>, usize>,
}

struct File {
    path: String,
    module: Vec<String>,
    /// Line by line, without comments and tests: those are empty lines.
    code: Vec<String>,
    imports: Vec<Import>,
}

/// One path in a file.
struct Import {
    line: usize,
    /// From the root of the crate.
    absolute: Vec<String>,
    /// The name that a re-export gives it.
    exported_as: Option<String>,
}

impl Crate {
    fn read(sources: &[Source]) -> Self {
        let tests: Vec<Vec<String>> = sources.iter().flat_map(test_modules).collect();
        let is_declared_test = |path: &str| tests.iter().any(|test| module_of(path).starts_with(test));
        let kept = sources.iter().filter(|source| !is_test(&source.path) && !is_declared_test(&source.path));
        let mut files: Vec<File> = kept
            .map(|source| File {
                path: source.path.clone(),
                module: module_of(&source.path),
                code: code(&source.text),
                imports: Vec::new(),
            })
            .collect();
        let modules: BTreeMap<Vec<String>, usize> =
            files.iter().enumerate().map(|(at, file)| (file.module.clone(), at)).collect();
        for file in &mut files {
            file.imports = imports(file, &modules);
        }
        Self { files, modules }
    }

    fn imports(&self) -> impl Iterator<Item = (&str, &Import)> {
        self.files.iter().flat_map(|file| file.imports.iter().map(|import| (file.path.as_str(), import)))
    }

    /// The file that a path leads to, through re-exports.
    fn target(&self, path: &[String], depth: usize) -> Option<usize> {
        let length = (1..=path.len()).rev().find(|length| self.modules.contains_key(&path[..*length]))?;
        let at = self.modules[&path[..length]];
        let name = path.get(length);
        let export = self.files[at].imports.iter().find(|import| name.is_some() && import.exported_as.as_ref() == name);
        match export {
            Some(export) if depth > 0 => self.target(&export.absolute, depth - 1).or(Some(at)),
            Some(_) | None => Some(at),
        }
    }

    /// Circles of files, each once, by its shortest way round.
    fn circles(&self, edges: &[BTreeMap<usize, usize>]) -> Vec<String> {
        let (mut told, mut circles) = (BTreeSet::new(), Vec::new());
        for start in 0..self.files.len() {
            if told.contains(&start) {
                continue;
            }
            let Some(way) = way_back(edges, start) else { continue };
            told.extend(way.iter().copied());
            let step = |(at, file): (usize, &usize)| {
                let next = way.get(at + 1).copied().unwrap_or(start);
                format!("{}:{}", self.files[*file].path, edges[*file][&next])
            };
            let steps: Vec<String> = way.iter().enumerate().map(step).collect();
            circles.push(format!("circle of files: {} → {}", steps.join(" → "), self.files[start].path));
        }
        circles
    }
}

/// The shortest way from a file to itself.
fn way_back(edges: &[BTreeMap<usize, usize>], start: usize) -> Option<Vec<usize>> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in edges[way[way.len() - 1]].keys() {
                if *next == start {
                    return Some(way);
                }
                if seen.insert(*next) {
                    longer.push([&way[..], &[*next]].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

fn is_test(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let (name, folders) = parts.split_last().map_or(("", &[][..]), |(name, folders)| (*name, folders));
    name == "tests.rs" || name.ends_with("_tests.rs") || folders.contains(&"tests")
}

/// The modules that a file declares for tests alone.
fn test_modules(source: &Source) -> Vec<Vec<String>> {
    let (mut modules, mut is_test) = (Vec::new(), false);
    for line in source.text.lines() {
        let name = line.split_once("mod ").and_then(|(_, rest)| rest.strip_suffix(';'));
        if let Some(name) = name.filter(|_| is_test) {
            modules.push([&module_of(&source.path)[..], &[name.to_owned()]].concat());
        }
        is_test = line == "#[cfg(test)]" || (is_test && line.starts_with("#["));
    }
    modules
}

fn module_of(path: &str) -> Vec<String> {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let mut module: Vec<String> = path.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod") || matches!(path, "lib" | "main") {
        module.pop();
    }
    module
}

/// The lines of a file, those of comments and tests empty.
fn code(text: &str) -> Vec<String> {
    /// What an attribute for tests covers.
    enum Test {
        No,
        /// To the end of an item that begins here.
        Begins,
        /// To the end of an item that ends with a bracket at the margin.
        Item,
    }
    let (mut lines, mut test) = (Vec::new(), Test::No);
    for line in text.lines() {
        let bare = line.split_once("//").map_or(line, |(code, _)| code);
        let kept = match test {
            Test::No if bare.trim_end() == "#[cfg(test)]" => {
                test = Test::Begins;
                ""
            }
            Test::No => bare,
            Test::Begins => {
                if bare.trim_end().ends_with([';', '}']) {
                    test = Test::No;
                } else if !bare.trim_start().starts_with("#[") && !bare.trim().is_empty() {
                    test = Test::Item;
                }
                ""
            }
            Test::Item => {
                if bare.starts_with('}') {
                    test = Test::No;
                }
                ""
            }
        };
        lines.push(kept.to_owned());
    }
    lines
}

/// All paths of a file that lead into its own crate.
fn imports(file: &File, modules: &BTreeMap<Vec<String>, usize>) -> Vec<Import> {
    let mut imports = Vec::new();
    let mut line = 0;
    while line < file.code.len() {
        let text = file.code[line].trim();
        let is_use = text.starts_with("use ") || (text.starts_with("pub") && text.contains(" use "));
        if !is_use {
            let found = inline_paths(text);
            let found = found.into_iter().filter_map(|path| absolute(&path, &file.module, None));
            imports.extend(found.map(|absolute| Import { line: line + 1, absolute, exported_as: None }));
            line += 1;
            continue;
        }
        let mut statement = text.to_owned();
        let first = line;
        while !statement.ends_with(';') && line + 1 < file.code.len() {
            line += 1;
            statement.push_str(file.code[line].trim());
        }
        line += 1;
        let is_export = statement.starts_with("pub");
        let tree = statement.split_once("use ").map_or("", |(_, tree)| tree).trim_end_matches(';');
        for path in expand(tree) {
            let (path, alias) =
                path.split_once(" as ").map_or((path.as_str(), None), |(path, alias)| (path, Some(alias)));
            let segments: Vec<String> = path.split("::").map(|segment| segment.trim().to_owned()).collect();
            let name = alias.map(str::to_owned).or_else(|| segments.last().cloned());
            if let Some(absolute) = absolute(&segments, &file.module, Some(modules)) {
                imports.push(Import { line: first + 1, absolute, exported_as: name.filter(|_| is_export) });
            }
        }
    }
    imports
}

/// The paths that a use tree stands for.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((head, rest)) = tree.split_once('{') else { return vec![tree.to_owned()] };
    let inner = rest.trim_end().strip_suffix('}').unwrap_or(rest);
    let (mut parts, mut depth, mut part) = (Vec::new(), 0, String::new());
    for c in inner.chars() {
        match c {
            ',' if depth == 0 => parts.push(std::mem::take(&mut part)),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                part.push(c);
            }
        }
    }
    parts.push(part);
    let whole = |part: &str| match part.trim() {
        "self" => head.trim_end_matches("::").to_owned(),
        part => match part.strip_prefix("self as ") {
            Some(alias) => format!("{} as {alias}", head.trim_end_matches("::")),
            None => format!("{head}{part}"),
        },
    };
    parts.iter().filter(|part| !part.trim().is_empty()).flat_map(|part| expand(&whole(part))).collect()
}

/// A path from the root of the crate; `None` when it leads elsewhere.
fn absolute(path: &[String], module: &[String], modules: Option<&BTreeMap<Vec<String>, usize>>) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([module, rest].concat()),
        "super" => {
            let ups = path.iter().take_while(|segment| *segment == "super").count();
            let kept = module.len().checked_sub(ups)?;
            Some([&module[..kept], &path[ups..]].concat())
        }
        // The name of a child.
        _ => {
            let child = [module, std::slice::from_ref(first)].concat();
            modules.filter(|modules| modules.contains_key(&child)).map(|_| [module, path].concat())
        }
    }
}

/// Paths in a line of code that begin with `crate` or `super`.
fn inline_paths(line: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in line.match_indices(start) {
            let before = line[..at].chars().next_back();
            if before.is_some_and(|c| is_word(c) || c == ':') {
                continue;
            }
            let end = line[at..].find(|c: char| !is_word(c) && c != ':').map_or(line.len(), |length| at + length);
            paths.push(line[at..end].trim_end_matches(':').split("::").map(str::to_owned).collect());
        }
    }
    paths
}

/// The words that a path begins with.
fn words_before_path(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("::").filter_map(|(at, _)| {
        let start = line[..at].rfind(|c| !is_word(c)).map_or(0, |before| before + 1);
        (start < at && !line[..start].ends_with(':')).then(|| &line[start..at])
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
