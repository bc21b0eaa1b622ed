//! The picture of lint findings: the sides of each finding next to each other. Statements of one source that overlap
//! get columns of their own.

use super::super::lanes::{Lodger, columns};
use super::super::{Draw, Kind, Panel, Picture, Piece};
use super::{between, filled};
use crate::lint::{LintFinding, LintReport, Severity, Side};

impl Draw for LintReport {
    fn picture(&self) -> Option<Picture> {
        let sides = self.findings.iter().flat_map(|finding| {
            finding.sides.iter().enumerate().map(move |(level, side)| (finding, level, side))
        });
        let lodger = |(n, (finding, level, side)): (usize, (&LintFinding, usize, &Side))| {
            // Number the names: two findings may come from the same source.
            let name = format!("{}\n{n}", side.source);
            piece(finding, side).map(|piece| Lodger { name, level, pieces: vec![piece] })
        };
        let lodgers: Vec<Lodger> = sides.enumerate().filter_map(lodger).collect();
        let (columns, _) = columns(lodgers, |_, names| {
            let file = |name: &String| {
                let source = name.lines().next().unwrap_or_default();
                source.rsplit('/').next().unwrap_or(source).to_owned()
            };
            let mut files: Vec<String> = names.iter().map(file).collect();
            files.sort_unstable();
            files.dedup();
            files.join(", ")
        });
        let panels = filled([Panel { title: "Addresses".to_owned(), columns, ribbons: Vec::new() }])?;
        Some(Picture { title: format!("What is wrong with {}", self.machine), panels, ..Picture::default() })
    }
}

fn piece(finding: &LintFinding, side: &Side) -> Option<Piece> {
    let range = between(side.start?, side.end?)?;
    let kind = if finding.severity == Severity::Info { Kind::Reserved } else { Kind::Marked };
    let facts = vec![side.source.clone(), finding.means.clone(), finding.helps.clone()];
    Some(Piece { range, kind, label: format!("{} {}", finding.rule, side.says), facts })
}
