//! Statements with their place in a source, and findings about them.

use std::fmt;
use std::sync::Arc;

/// A place in a source: the source's name, as the user or the capture gives it, and a line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceLine {
    /// The source's name.
    pub source: Arc<str>,
    /// The line, counted from 1; 0 if the source as a whole is meant.
    pub line: u32,
}

impl SourceLine {
    /// Names a source as a whole.
    pub fn whole(source: impl Into<Arc<str>>) -> Self {
        Self { source: source.into(), line: 0 }
    }

    /// Names a line of a source, counted from 1.
    #[must_use]
    pub fn line(source: &Arc<str>, line: u32) -> Self {
        Self { source: source.clone(), line }
    }
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.source),
            line => write!(f, "{}:{line}", self.source),
        }
    }
}

/// A statement of a source, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The statement.
    pub value: T,
    /// Its place.
    pub at: SourceLine,
}

impl<T> Sourced<T> {
    /// Records a statement and its place.
    pub fn new(value: T, at: SourceLine) -> Self {
        Self { value, at }
    }
}

/// A problem in the sources: something broken, missing, or contradictory. The rest was imported.
///
/// # Examples
///
/// ```
/// use pmem_import::{Finding, SourceLine};
///
/// let listed = SourceLine::line(&"iomem".into(), 12);
/// let logged = SourceLine::line(&"dmesg".into(), 340);
/// let finding = Finding::between(&listed, &logged, "two machines, or two boots?");
/// assert_eq!(finding.to_string(), "iomem:12 and dmesg:340: two machines, or two boots?");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where it is: first the place that the text is about, then those that it disagrees with.
    pub places: Vec<SourceLine>,
    /// What is wrong.
    pub text: String,
}

impl Finding {
    /// Creates a finding about a source as a whole.
    pub fn whole(source: impl Into<Arc<str>>, text: impl Into<String>) -> Self {
        Self { places: vec![SourceLine::whole(source)], text: text.into() }
    }

    /// Creates a finding about one place.
    pub fn at(place: &SourceLine, text: impl Into<String>) -> Self {
        Self { places: vec![place.clone()], text: text.into() }
    }

    /// Creates a finding about two places that disagree.
    pub fn between(place: &SourceLine, other: &SourceLine, text: impl Into<String>) -> Self {
        Self { places: vec![place.clone(), other.clone()], text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, place) in self.places.iter().enumerate() {
            write!(f, "{}{place}", if i == 0 { "" } else { " and " })?;
        }
        write!(f, ": {}", self.text)
    }
}

/// Findings; beyond a limit per source they are counted instead of listed.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The listed findings, in the order in which they were found.
    pub all: Vec<Finding>,
    /// The first damage that cut an archive short: what follows it is missing from everything that was read.
    pub damage: Option<Finding>,
    /// By source: how many were not listed.
    left_out: std::collections::BTreeMap<Arc<str>, usize>,
    listed: std::collections::BTreeMap<Arc<str>, usize>,
}

/// How many findings about one source are listed.
const LISTED: usize = 20;

impl Findings {
    /// Adds a finding, or counts it if its source has reached the limit.
    pub fn push(&mut self, finding: Finding) {
        let source = finding.places.first().map(|place| place.source.clone());
        if let Some(source) = source {
            let listed = self.listed.entry(source.clone()).or_default();
            *listed += 1;
            if *listed > LISTED {
                *self.left_out.entry(source).or_default() += 1;
                return;
            }
        }
        self.all.push(finding);
    }

    /// Adds the finding that an archive is damaged, so that only its first part can be read.
    pub fn cut_short(&mut self, finding: Finding) {
        self.damage.get_or_insert_with(|| finding.clone());
        self.push(finding);
    }

    /// Returns the listed findings, followed by the number of unlisted ones for each source.
    pub fn finish(mut self) -> Vec<Finding> {
        for (source, count) in self.left_out {
            self.all.push(Finding::whole(
                source,
                format!("{count} more findings about this source are not shown"),
            ));
        }
        self.all
    }
}
