//! Findings that name addresses: a column for each source that takes part.

use super::super::lanes::{Lodger, columns};
use super::super::{Draw, Kind, Panel, Picture, Piece};
use super::{between, disjoint, filled};
use crate::lint::{LintReport, Severity};
use std::collections::BTreeMap;

impl Draw for LintReport {
    fn picture(&self) -> Option<Picture> {
        let mut by_side: BTreeMap<(&str, usize), Vec<Piece>> = BTreeMap::new();
        for finding in &self.findings {
            for (i, side) in finding.sides.iter().enumerate() {
                let range =
                    side.start.as_ref().zip(side.end.as_ref()).and_then(|(start, end)| between(start, end));
                let Some(range) = range else { continue };
                let kind = if finding.severity == Severity::Info { Kind::Reserved } else { Kind::Marked };
                let label = format!("{} {}", finding.rule, side.says);
                let facts = vec![finding.means.clone(), finding.helps.clone()];
                by_side.entry((&side.source, i)).or_default().push(Piece { range, kind, label, facts });
            }
        }
        let lodgers = by_side.into_iter().map(|((source, level), pieces)| Lodger {
            name: source.to_owned(),
            level,
            pieces: disjoint(pieces),
        });
        let (columns, _) = columns(lodgers.collect(), |names| {
            let file = |name: &String| name.rsplit('/').next().unwrap_or(name).to_owned();
            names.iter().map(file).collect::<Vec<_>>().join(", ")
        });
        let panels = filled([Panel { title: "Addresses".to_owned(), columns, ribbons: Vec::new() }])?;
        Some(Picture { title: format!("What is wrong with {}", self.machine), panels, ..Picture::default() })
    }
}
