//! Attributes, performance and metrics as words and numbers for reports.

use pmem_core::{Attrs, Metric, Performance, SpanState};
use serde::Serialize;

/// Attributes of a region or window, as lists of words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AttrWords {
    /// What the region is used for, such as `devregs`; empty if no use is stated.
    pub usage: Vec<String>,
    /// The accesses that are permitted; empty if the protection is not stated.
    pub prot: Vec<String>,
    /// Other properties, caching among them; empty if there are none.
    pub props: Vec<String>,
}

impl From<Attrs> for AttrWords {
    fn from(attrs: Attrs) -> Self {
        Self {
            usage: words(attrs.usage().words().to_string()),
            prot: words(attrs.prot().words().to_string()),
            props: words(attrs.props().words().to_string()),
        }
    }
}

impl std::fmt::Display for AttrWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = [&self.usage, &self.prot, &self.props];
        let stated: Vec<String> =
            all.iter().filter(|words| !words.is_empty()).map(|words| words.join("+")).collect();
        f.write_str(&stated.join(" "))
    }
}

fn words(text: String) -> Vec<String> {
    if text == "-" { Vec::new() } else { text.split('+').map(str::to_owned).collect() }
}

/// Latency and bandwidth of an access path. Each value is null if no source gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Speed {
    /// Read latency in nanoseconds.
    pub read_latency_ns: Option<u32>,
    /// Write latency in nanoseconds.
    pub write_latency_ns: Option<u32>,
    /// Read bandwidth in MiB/s.
    pub read_bandwidth_mib_s: Option<u32>,
    /// Write bandwidth in MiB/s.
    pub write_bandwidth_mib_s: Option<u32>,
}

impl From<Performance> for Speed {
    fn from(performance: Performance) -> Self {
        Self {
            read_latency_ns: performance.read_latency,
            write_latency_ns: performance.write_latency,
            read_bandwidth_mib_s: performance.read_bandwidth,
            write_bandwidth_mib_s: performance.write_bandwidth,
        }
    }
}

pub(crate) fn state_word(state: SpanState) -> &'static str {
    match state {
        SpanState::Open => "open",
        SpanState::Sealed => "sealed",
        SpanState::Lent => "lent",
    }
}

/// Returns a metric's number; `None` if the metric means unreachable.
pub(crate) fn metric(metric: Metric) -> Option<u32> {
    metric.is_reachable().then(|| metric.get())
}
