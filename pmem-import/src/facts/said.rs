//! Who says what, and where.

use std::fmt;
use std::sync::Arc;

/// A place in a source: its name, as the user or the capture gives it, and a line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceLine {
    /// The source.
    pub source: Arc<str>,
    /// The line, from 1; 0 if it is about the source as a whole.
    pub line: u32,
}

impl SourceLine {
    /// A source as a whole.
    pub fn whole(source: impl Into<Arc<str>>) -> Self {
        Self { source: source.into(), line: 0 }
    }

    /// A line of a source, from 1.
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

/// Something that a source says, and where it says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// What it says.
    pub value: T,
    /// Where.
    pub at: SourceLine,
}

impl<T> Sourced<T> {
    /// Notes what is said at a place.
    pub fn new(value: T, at: SourceLine) -> Self {
        Self { value, at }
    }
}

/// Something in the sources that is broken, missing, or at odds with something else; the rest was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where: the first place is what the text speaks of, others are what it disagrees with.
    pub places: Vec<SourceLine>,
    /// What is wrong, and with what.
    pub text: String,
}

impl Finding {
    /// A finding about a source as a whole.
    pub fn whole(source: impl Into<Arc<str>>, text: impl Into<String>) -> Self {
        Self { places: vec![SourceLine::whole(source)], text: text.into() }
    }

    /// A finding at a place.
    pub fn at(place: &SourceLine, text: impl Into<String>) -> Self {
        Self { places: vec![place.clone()], text: text.into() }
    }

    /// Two places that disagree.
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

/// Findings, of which many alike are counted rather than listed.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// In the order in which they were found.
    pub all: Vec<Finding>,
    /// By source: how many were not listed.
    left_out: std::collections::BTreeMap<Arc<str>, usize>,
    listed: std::collections::BTreeMap<Arc<str>, usize>,
}

/// Findings about one source that are worth reading one by one.
const LISTED: usize = 20;

impl Findings {
    /// Adds a finding.
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

    /// All of them, and for each source how many more there were.
    pub fn finish(mut self) -> Vec<Finding> {
        for (source, count) in self.left_out {
            self.all.push(Finding::whole(source, format!("{count} more findings like these")));
        }
        self.all
    }
}
