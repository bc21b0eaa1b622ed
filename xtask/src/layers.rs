//! Checks the order of layers: crates from left to right, modules of a crate from top to bottom, and no cycles
//! between files.
//!
//! A file may name modules in the layers above its own, and crates to the left of its own. The check reads
//! every `use`, and every path that begins with `crate`, `super`, `self` or the name of one of our crates. A
//! name that a module re-exports (`pub use`) counts as that of the file that defines it. What only tests name
//! does not count.

use crate::run::{Result, root};
use proc_macro2::{Spacing, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Our crates from left to right, and the layers of each from top to bottom; `|` separates modules of one
/// layer. `lib.rs` and `main.rs` are tables of contents, and may name anything.
const HOUSE: [(&str, &[&str]); 12] = [
    ("pmem-space", &["attrs|firmware", "range", "fit|entry", "tree", "space"]),
    ("pmem-mtrr", &["block|kind", "regs", "setting|effective|difference|check|plan"]),
    (
        "pmem-pci",
        &[
            "address|class|bytes|span",
            "bar|window|capability|tree|layout",
            "header|check|sweep|blocks|registers|buses",
            "cost|cut|search|linux",
            "steps|phases",
            "plan",
            "certificate|hole",
        ],
    ),
    ("pmem-iommu", &["bits|bytes|requester", "acpi|amd|smmu|table|vtd"]),
    (
        "pmem-core",
        // Drivers read the model through the protocol, and errors name what it says. Only the manager calls
        // drivers.
        &[
            "metric", "id", "mapping", "model", "driver", "error", "called", "protocol", "plan", "manager",
            "save", "shared",
        ],
    ),
    ("pmem-drivers", &["iommu|mtrr|par|pci"]),
    (
        "pmem-uvm",
        &[
            "frame",
            "map|free|page",
            "segment",
            "error",
            "settings",
            "counters",
            "snapshot|request",
            "cache|layout",
            "uvm",
            "early|hotplug",
            "feed",
            "shared",
        ],
    ),
    ("pmem-capi", &["failure|host", "memory", "physseg|pmem|page", "hotplug", "area", "sample"]),
    (
        "pmem-import",
        // Data flows down: sources, what each of them says, one answer to each question, the model.
        &[
            "error",
            "number|near",
            "acpi",
            "facts",
            "capture|text",
            "fault|bad|plug|refused|read",
            "settle",
            "names",
            "machine",
            "model|net",
            "open|gather",
        ],
    ),
    (
        "pmem-report",
        &[
            "units|attrs|xml|outcome|format",
            "sources|names|evidence",
            "resolve|memory",
            "view|topo|diff|bad|iommu|lint|mtrr|par|pci|plug",
            "annotate|emit",
            "text|schema|picture",
        ],
    ),
    (
        "pmem-script",
        &["words", "mapping", "names", "command", "verbs|describe|memory|drivers|no_drivers", "interpreter"],
    ),
    (
        "pmem-cli",
        &[
            "outcome|complete|each|progress",
            "args",
            "file|output",
            "source",
            "mtrr_need|pci_windows",
            "mtrr_apply",
            "annotate|ask|gather|lint|script|mtrr|par|pages|pci|topo",
        ],
    ),
];

/// The path of a module in its crate; empty for the table of contents.
type Module = Vec<String>;

/// Checks every source file of our crates.
pub fn run() -> Result {
    eprintln!("== layers");
    let mut wrong = Vec::new();
    for (place, (name, rooms)) in HOUSE.iter().enumerate() {
        let src = root().join(name).join("src");
        let mut files = BTreeMap::new();
        for path in sources(&src)? {
            let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let inner = path.strip_prefix(&src).map_err(|e| e.to_string())?;
            let file = File::parse(inner, &text).map_err(|e| format!("{}: {e}", path.display()))?;
            files.insert(module_of(inner), file);
        }
        let house = Crate { place, rooms, files };
        wrong.extend(house.wrong()?.into_iter().map(|text| format!("{name}/src/{text}")));
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("files import against the order of layers:\n{}", wrong.join("\n")))
    }
}

/// A source file, and the names in it.
#[derive(Default)]
struct File {
    inner: PathBuf,
    /// The paths as written, each with the module it is in and its line.
    named: Vec<(Module, Vec<String>, usize)>,
    /// The re-exports: the name, the path it stands for, and the line.
    hands_on: BTreeMap<String, (Module, Vec<String>, usize)>,
}

impl File {
    fn parse(inner: &Path, text: &str) -> syn::Result<File> {
        let tree = syn::parse_file(text)?;
        let file = File { inner: inner.to_path_buf(), ..File::default() };
        let mut reader = Reader { file, module: module_of(inner) };
        reader.visit_file(&tree);
        Ok(reader.file)
    }
}

/// Walks the syntax tree of a file.
struct Reader {
    file: File,
    module: Module,
}

impl Reader {
    /// Collects the paths of a `use`, and the names they get.
    fn tree(&mut self, tree: &syn::UseTree, mut path: Vec<String>, public: bool) {
        match tree {
            syn::UseTree::Path(one) => {
                path.push(one.ident.to_string());
                self.tree(&one.tree, path, public);
            }
            syn::UseTree::Group(group) => {
                for item in &group.items {
                    self.tree(item, path.clone(), public);
                }
            }
            syn::UseTree::Name(name) => {
                path.push(name.ident.to_string());
                self.used(path, &name.ident, public);
            }
            syn::UseTree::Rename(name) => {
                path.push(name.ident.to_string());
                self.used(path, &name.rename, public);
            }
            syn::UseTree::Glob(glob) => {
                let line = glob.span().start().line;
                self.file.named.push((self.module.clone(), path, line));
            }
        }
    }

    fn used(&mut self, path: Vec<String>, called: &syn::Ident, public: bool) {
        // A re-export is not a use by itself: the file that uses it counts.
        let line = called.span().start().line;
        if public {
            self.file.hands_on.insert(called.to_string(), (self.module.clone(), path, line));
        } else {
            self.file.named.push((self.module.clone(), path, line));
        }
    }

    /// Collects the paths inside a macro call, which has no syntax tree.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        let mut joined = false;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    joined = punct.spacing() == Spacing::Alone;
                }
                TokenTree::Ident(ident) if joined && !path.is_empty() => {
                    path.push(ident.to_string());
                    joined = false;
                }
                other => {
                    self.path(std::mem::take(&mut path), line);
                    joined = false;
                    match other {
                        TokenTree::Ident(ident) => {
                            line = ident.span().start().line;
                            path.push(ident.to_string());
                        }
                        TokenTree::Group(group) => self.tokens(group.stream()),
                        _ => {}
                    }
                }
            }
        }
        self.path(path, line);
    }

    fn path(&mut self, path: Vec<String>, line: usize) {
        if path.len() > 1 {
            self.file.named.push((self.module.clone(), path, line));
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attrs: &[syn::Attribute] = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            _ => &[],
        };
        let for_tests = attrs.iter().any(|attr| {
            let syn::Meta::List(list) = &attr.meta else { return false };
            list.path.is_ident("cfg") && list.tokens.to_string() == "test"
        });
        if !for_tests {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&item.tree, Vec::new(), !matches!(item.vis, syn::Visibility::Inherited));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.path(segments, path.span().start().line);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.tokens(item.tokens.clone());
        visit::visit_macro(self, item);
    }
}

/// The files of a crate, by module.
struct Crate {
    place: usize,
    rooms: &'static [&'static str],
    files: BTreeMap<Module, File>,
}

impl Crate {
    /// Lists the paths that a file may not name, and the cycles.
    fn wrong(&self) -> Result<Vec<String>> {
        let mut out = Vec::new();
        let mut edges: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
        for (module, file) in &self.files {
            let room = self.room(module)?;
            let handed = file.hands_on.values().map(|(_, path, line)| (path, *line));
            for (path, line) in file.named.iter().map(|(_, path, line)| (path, *line)).chain(handed) {
                let place = format!("{}:{line}", file.inner.display());
                let to_the_right =
                    HOUSE[self.place + 1..].iter().find(|(name, _)| name.replace('-', "_") == path[0]);
                if let Some((name, _)) = to_the_right {
                    out.push(format!("{place}: {name} stands to the right of {}", HOUSE[self.place].0));
                }
            }
            for (within, path, line) in &file.named {
                let Some(other) = self.resolve(within, path).filter(|other| *other != module) else {
                    continue;
                };
                if module.is_empty() || other.is_empty() {
                    continue;
                }
                edges.entry(module).or_default().insert(other);
                if let (Some(room), Some(below)) = (room, self.room(other)?)
                    && below > room
                {
                    let place = format!("{}:{line}", file.inner.display());
                    out.push(format!(
                        "{place}: {} names {}, which stands below it",
                        self.rooms[room],
                        other.join("/")
                    ));
                }
            }
        }
        for circle in circles(&edges) {
            let names: Vec<String> = circle.iter().map(|module| module.join("/")).collect();
            out.push(format!("a circle: {}", names.join(" → ")));
        }
        Ok(out)
    }

    /// Returns the file that a path names, following re-exports.
    fn resolve(&self, within: &Module, path: &[String]) -> Option<&Module> {
        let mut path = path;
        let mut module = match path.first()?.as_str() {
            "crate" => Vec::new(),
            "self" | "super" => within.clone(),
            // A child module, by its bare name.
            first if self.files.contains_key(&[&within[..], &[first.to_owned()]].concat()) => within.clone(),
            _ => return None,
        };
        while let Some((first, rest)) =
            path.split_first().filter(|(first, _)| matches!(first.as_str(), "crate" | "self" | "super"))
        {
            if first == "super" {
                module.pop()?;
            }
            path = rest;
        }
        for (index, name) in path.iter().enumerate() {
            let inner = [&module[..], std::slice::from_ref(name)].concat();
            if self.files.contains_key(&inner) {
                module = inner;
                continue;
            }
            let handed = self.files.get(&module).and_then(|file| file.hands_on.get(name));
            if let Some((within, from, _)) = handed {
                let whole = [from, &path[index + 1..]].concat();
                return self.resolve(within, &whole);
            }
            break;
        }
        self.files.get_key_value(&module).map(|(module, _)| module)
    }

    /// Returns the layer of a module; `None` for the table of contents.
    fn room(&self, module: &Module) -> Result<Option<usize>> {
        let Some(first) = module.first() else { return Ok(None) };
        let room = self.rooms.iter().position(|room| room.split('|').any(|one| one == first));
        room.map(Some).ok_or_else(|| {
            format!(
                "{} of {} has no layer: add it to HOUSE in xtask/src/layers.rs",
                module.join("/"),
                HOUSE[self.place].0
            )
        })
    }
}

/// Finds the files that lead back to themselves: the shortest cycle of each, every cycle once.
fn circles<'m>(edges: &BTreeMap<&'m Module, BTreeSet<&'m Module>>) -> Vec<Vec<&'m Module>> {
    let mut out: Vec<Vec<&Module>> = Vec::new();
    for start in edges.keys() {
        if out.iter().any(|circle| circle.contains(start)) {
            continue;
        }
        let mut from: BTreeMap<&Module, &Module> = BTreeMap::new();
        let mut queue = std::collections::VecDeque::from([*start]);
        while let Some(at) = queue.pop_front() {
            for next in edges.get(at).into_iter().flatten() {
                if !from.contains_key(next) {
                    from.insert(next, at);
                    queue.push_back(next);
                }
            }
        }
        let Some(mut at) = from.get(start).copied() else { continue };
        let mut circle = vec![*start];
        while at != *start {
            circle.push(at);
            at = from[at];
        }
        circle.push(start);
        circle.reverse();
        out.push(circle);
    }
    out
}

/// `read/e820.rs` is `read::e820`, `read/mod.rs` is `read`, and the table of contents is the crate itself.
fn module_of(inner: &Path) -> Module {
    let mut module: Module = inner
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    let last = module.last().map(String::as_str);
    if last == Some("mod") || module.len() == 1 && matches!(last, Some("lib" | "main")) {
        module.pop();
    }
    module
}

fn sources(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with files of a crate of the house.
    fn wrong(place: usize, files: &[(&str, &str)]) -> Vec<String> {
        let parse = |(inner, text): &(&str, &str)| {
            (module_of(Path::new(inner)), File::parse(Path::new(inner), text).unwrap())
        };
        Crate { place, rooms: HOUSE[place].1, files: files.iter().map(parse).collect() }.wrong().unwrap()
    }

    fn core() -> usize {
        HOUSE.iter().position(|(name, _)| *name == "pmem-core").unwrap()
    }

    #[test]
    fn a_crate_to_the_right_is_refused() {
        let text = "use pmem_core::Manager;";
        assert_eq!(
            wrong(0, &[("range.rs", text)]),
            ["range.rs:1: pmem-core stands to the right of pmem-space"]
        );
        assert_eq!(wrong(core(), &[("model.rs", "use pmem_space::AddrRange;")]), [""; 0]);
        assert_eq!(wrong(0, &[("range.rs", "fn f() {\n pmem_uvm::Uvm::new();\n}")]).len(), 1);
    }

    #[test]
    fn a_room_below_is_refused_however_it_is_named() {
        let plan = ("plan.rs", "pub struct Plan; pub fn all() {}");
        for text in [
            "use crate::plan::Plan;",
            "use crate::{id::ArenaId, plan::Plan};",
            "use super::plan::Plan;",
            "fn f() { crate::plan::all() }",
            "fn f() { assert!(crate::plan::all()) }",
            "use crate::Plan;",
        ] {
            let table = ("lib.rs", "mod plan; pub use plan::Plan;");
            let found = wrong(core(), &[("model.rs", text), plan, table, ("id.rs", "pub struct ArenaId;")]);
            assert_eq!(found, ["model.rs:1: model names plan, which stands below it"], "{text}");
        }
        assert_eq!(wrong(core(), &[("plan.rs", "use crate::model::State;"), ("model.rs", "")]), [""; 0]);
        assert_eq!(
            wrong(core(), &[("model.rs", "#[cfg(test)] mod tests { use crate::plan::Plan; }"), plan]),
            [""; 0]
        );
    }

    #[test]
    fn a_circle_is_found() {
        let files = [
            ("model/mod.rs", "mod a; mod b; use a::A;"),
            ("model/a.rs", "use super::b::B;"),
            ("model/b.rs", ""),
        ];
        assert_eq!(wrong(core(), &files), [""; 0]);
        let files = [
            ("model/mod.rs", "mod a; mod b;"),
            ("model/a.rs", "use super::b::B;"),
            ("model/b.rs", "use crate::{model::a::A};"),
        ];
        assert_eq!(wrong(core(), &files), ["a circle: model/a → model/b → model/a"]);
    }
}
