//! The architecture is a test: no module of the crate imports one that stands above it.
//!
//! ```text
//!   num, error ← ir ← ops ← eval ← transform ← pass ← differentiate ← program ← exec ← scan ← function ← check
//! ```
//!
//! Reads the paths `crate::…` and `super::…` in every source file, in `use` lines and inline, behind `pub use` of the crate's
//! root too. Comments, strings and unit tests do not count.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// From the bottom to the top. A module may import those of lower layers and itself; modules of one layer do not know each
/// other.
const LAYERS: &[&[&str]] = &[
    &["num", "error"],
    &["ir"],
    &["ops"],
    &["eval"],
    &["transform"],
    &["pass"],
    &["differentiate"],
    &["program"],
    &["exec"],
    &["scan"],
    &["function"],
    &["check"],
];

/// Names that a module may not use, though the module they are from is below it.
const FORBIDDEN: &[(&str, &[&str], &str)] = &[(
    "exec",
    &["ir::Node", "ir::NodeId", "ir::Graph", "ir::OpDef", "ir::Kernel"],
    "replay knows steps and places, and no graph",
)];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// What is wrong with one import, if anything.
fn judge(from: &str, to: &str) -> Option<String> {
    let (Some(above), Some(below)) = (layer(from), layer(to)) else {
        let unknown = if layer(from).is_none() { from } else { to };
        return Some(format!("`{unknown}` is not in the table of layers at the top of this test; give it a place"));
    };
    if from == to || below < above {
        return None;
    }
    let rule = if below == above { "stands beside" } else { "stands above" };
    Some(format!("`{from}` imports `{to}`, which {rule} it"))
}

/// A path found in a source file: the line and what follows `crate::`, such as `ir::Graph`.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    line: usize,
    path: String,
}

/// Source text with comments, strings and unit tests blanked out, line by line as before.
fn code_of(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut i = 0;
    let blank = |out: &mut String, text: &[char]| {
        out.extend(text.iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
    };
    while i < chars.len() {
        let rest = &chars[i..];
        let length = if rest.starts_with(&['/', '/']) {
            rest.iter().position(|&c| c == '\n').unwrap_or(rest.len())
        } else if rest.starts_with(&['/', '*']) {
            (2..rest.len()).find(|&j| rest[j..].starts_with(&['*', '/'])).map_or(rest.len(), |j| j + 2)
        } else if rest[0] == '"' {
            let mut j = 1;
            while j < rest.len() && rest[j] != '"' {
                j += if rest[j] == '\\' { 2 } else { 1 };
            }
            (j + 1).min(rest.len())
        } else if rest[0] == '\'' && rest.get(2) == Some(&'\'') {
            3
        } else if rest.starts_with(&['\'', '\\']) {
            (2..rest.len()).find(|&j| rest[j] == '\'' && j > 2).map_or(rest.len(), |j| j + 1)
        } else {
            out.push(rest[0]);
            i += 1;
            continue;
        };
        blank(&mut out, &rest[..length]);
        i += length;
    }
    without_tests(&out)
}

/// Blanks out what stands under `#[cfg(test)]`: an item that ends at a `;` or at the brace that closes its first.
fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    let mut from = 0;
    while let Some(start) = out[from..].find("#[cfg(test)]").map(|p| from + p) {
        let mut depth = 0;
        let end = out[start..].char_indices().find_map(|(p, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            (matches!(c, ';' | '}') && depth == 0).then_some(start + p + 1)
        });
        let end = end.unwrap_or(out.len());
        let blanked: String = out[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..end, &blanked);
        from = end;
    }
    out
}

/// All paths of the crate that code in `module` (a path like `program::plan`) names, groups in braces written out.
fn paths(code: &str, module: &[&str]) -> Vec<Found> {
    let mut found = Vec::new();
    for (start, _) in code.match_indices("::") {
        let before = &code[..start];
        let word_start = before.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |p| p + 1);
        let line = before.matches('\n').count() + 1;
        let base: Vec<String> = match &before[word_start..] {
            "crate" => Vec::new(),
            // The first of a chain of `super`s; those that follow are counted from it.
            "super" if !before[..word_start].ends_with("::") => {
                let mut up = 1;
                while code[start..].starts_with(&"::super".repeat(up)) {
                    up += 1;
                }
                let keep = module.len().saturating_sub(up);
                module[..keep].iter().map(|&m| m.to_owned()).collect()
            }
            _ => continue,
        };
        let mut after = &code[start + 2..];
        while let Some(rest) = after.strip_prefix("super::") {
            after = rest;
        }
        for tail in expand(after) {
            let path = base.iter().cloned().chain([tail]).collect::<Vec<_>>().join("::");
            found.push(Found { line, path });
        }
    }
    found
}

/// `a::{b, c::d}` as `a::b`, `a::c::d`; what follows the path is left alone.
fn expand(text: &str) -> Vec<String> {
    if let Some(group) = text.strip_prefix('{') {
        let mut depth = 0;
        let mut parts = vec![String::new()];
        for c in group.chars() {
            match c {
                '}' if depth == 0 => break,
                ',' if depth == 0 => {
                    parts.push(String::new());
                    continue;
                }
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            parts.last_mut().unwrap().push(c);
        }
        return parts.iter().map(|p| p.trim()).filter(|p| !p.is_empty()).flat_map(expand).collect();
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (head, rest) = text.split_at(end);
    match rest.strip_prefix("::") {
        Some(rest) => expand(rest)
            .into_iter()
            .map(|t| if t.is_empty() { head.to_owned() } else { format!("{head}::{t}") })
            .collect(),
        None => vec![head.to_owned()],
    }
}

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") && path.file_name().is_some_and(|n| n != "tests.rs") {
            into.push(path);
        }
    }
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Which module each name at the crate's root comes from: what `lib.rs` re-exports, and exported macros.
fn root_names() -> BTreeMap<String, String> {
    let lib = code_of(&std::fs::read_to_string(src().join("lib.rs")).unwrap());
    let mut names = BTreeMap::new();
    for (start, key) in lib.match_indices("pub use ") {
        for path in expand(&lib[start + key.len()..]) {
            if let Some((module, _)) = path.split_once("::") {
                names.insert(path.rsplit("::").next().unwrap().to_owned(), module.to_owned());
            }
        }
    }
    let mut files = Vec::new();
    sources(&src(), &mut files);
    for file in files {
        let code = code_of(&std::fs::read_to_string(&file).unwrap());
        for (start, key) in code.match_indices("macro_rules! ") {
            let exported = code[..start].trim_end().ends_with("#[macro_export]");
            if let Some(name) = expand(&code[start + key.len()..]).first().filter(|_| exported) {
                names.insert(name.clone(), module_of(&file)[0].clone());
            }
        }
    }
    names
}

/// The module path of a source file: `src/pass/fold/layout.rs` is `pass::fold::layout`.
fn module_of(file: &Path) -> Vec<String> {
    let relative = file.strip_prefix(src()).unwrap().with_extension("");
    let mut parts: Vec<String> = relative.iter().map(|p| p.to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|p| p == "mod") {
        parts.pop();
    }
    parts
}

/// What is wrong with the imports of one file.
fn faults(file: &str, module: &[&str], code: &str, roots: &BTreeMap<String, String>) -> Vec<String> {
    let mut faults = Vec::new();
    for Found { line, path } in paths(code, module) {
        let first = path.split("::").next().unwrap_or_default();
        let (to, full) = match roots.get(first) {
            Some(home) => (home.as_str(), format!("{home}::{path}")),
            None => (first, path.clone()),
        };
        // `crate::{self}`, and a glob of the root, name everything at once.
        let fault = if to.is_empty() || to == "self" {
            Some("imports the whole crate; name the module".to_owned())
        } else {
            judge(module[0], to)
        };
        faults.extend(fault.map(|rule| format!("src/{file}:{line}: {rule} (`{path}`)")));
        for (from, names, why) in FORBIDDEN {
            if module[0] == *from && names.contains(&full.as_str()) {
                faults.push(format!("src/{file}:{line}: `{from}` names `{full}`: {why}"));
            }
        }
    }
    faults
}

#[test]
fn no_module_imports_one_above_it() {
    let roots = root_names();
    let mut files = Vec::new();
    sources(&src(), &mut files);
    files.sort();
    let mut all = Vec::new();
    let mut edges = 0;
    for file in files.iter().filter(|f| **f != src().join("lib.rs")) {
        let code = code_of(&std::fs::read_to_string(file).unwrap());
        let module = module_of(file);
        let module: Vec<&str> = module.iter().map(String::as_str).collect();
        edges += paths(&code, &module).len();
        all.extend(faults(file.strip_prefix(src()).unwrap().to_str().unwrap(), &module, &code, &roots));
    }
    assert!(edges > 100, "only {edges} paths were found: the reader of this test is broken");
    assert!(
        all.is_empty(),
        "the direction is\n  num, error <- ir <- ops <- … (see the top of this test)\n{}",
        all.join("\n")
    );
}

#[test]
fn forbidden_edges_are_found_however_they_are_written() {
    let roots = BTreeMap::from([("Program".to_owned(), "program".to_owned()), ("Var".to_owned(), "ir".to_owned())]);
    let check = |module: &[&str], code: &str| faults("f.rs", module, &code_of(code), &roots);
    for code in [
        "use crate::program::Step;",
        "use crate::{ir::Graph, program};",
        "use crate::{\n    ir::Graph,\n    program::{Step, Load},\n};",
        "fn f() { crate::program::go() }",
        "use crate::Program;",
        "use super::super::program::Step;",
        "macro_rules! m { () => { $crate::program::go() } }",
        "pub(crate) use crate::program::*;",
    ] {
        let found = check(&["pass", "fold"], code);
        assert!(
            !found.is_empty() && found[0].contains("`pass` imports `program`, which stands above it"),
            "{code}: {found:?}"
        );
    }
    let found = check(&["pass", "fold"], "\n\nuse crate::{\n    ir::Graph,\n    program,\n};");
    assert_eq!(found, ["src/f.rs:3: `pass` imports `program`, which stands above it (`program`)"]);
    assert_eq!(
        check(&["num", "float"], "use crate::error::Issue;"),
        ["src/f.rs:1: `num` imports `error`, which stands beside it (`error::Issue`)"]
    );
    assert_eq!(
        check(&["exec", "state"], "use crate::ir::{Tensor, Graph};"),
        ["src/f.rs:1: `exec` names `ir::Graph`: replay knows steps and places, and no graph"]
    );
    assert!(check(&["newcomer"], "use crate::ir::Graph;")[0].contains("`newcomer` is not in the table of layers"));
    for code in [
        "use crate::ir::Graph; use crate::Var; use crate::{ops, eval::Value};",
        "// use crate::program::Step;\n/// [`crate::program`]\nfn f() {}",
        "fn f() -> &'static str { \"crate::program::Step\" }",
        "#[cfg(test)]\nmod tests {\n    use crate::program::Step;\n    fn f() {}\n}\nuse crate::ir::Graph;",
        "#[cfg(test)]\nuse crate::program::Step;\nuse crate::ir::Graph;",
        "use super::pattern::unary; use super::Found; use super::super::ops::ADD;",
    ] {
        assert_eq!(check(&["pass", "fold"], code), [""; 0], "{code}");
    }
}
