//! Timing: subjects take turns; results are medians with their spread.

use std::time::{Duration, Instant};

/// The rounds; every subject gets one turn in each.
pub const ROUNDS: usize = 9;

/// The measurements of one subject in one case.
#[derive(Clone, Debug, Default)]
pub struct Figure {
    /// Nanoseconds per operation, by round.
    rounds: Vec<f64>,
}

impl Figure {
    /// Adds a round that took `elapsed` for `ops` operations.
    pub fn add(&mut self, (elapsed, ops): (Duration, u64)) {
        self.rounds.push(elapsed.as_nanos() as f64 / ops.max(1) as f64);
    }

    pub fn median(&self) -> f64 {
        percentile(&self.rounds, 50.0)
    }

    /// Returns half the distance between the quartiles, divided by the median.
    pub fn spread(&self) -> f64 {
        let range = percentile(&self.rounds, 75.0) - percentile(&self.rounds, 25.0);
        range / 2.0 / self.median().max(f64::MIN_POSITIVE)
    }
}

/// Returns the value below which `percent` of the samples lie; 0 if there are none.
pub fn percentile(samples: &[f64], percent: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (percent / 100.0 * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(place).copied().unwrap_or(0.0)
}

/// Repeats `op` in growing batches until `time` is over; returns the time taken and the number of operations.
pub fn run_for(time: Duration, mut op: impl FnMut()) -> (Duration, u64) {
    let (begun, mut ops, mut batch) = (Instant::now(), 0, 1);
    loop {
        (0..batch).for_each(|_| op());
        ops += batch;
        let elapsed = begun.elapsed();
        if elapsed >= time {
            return (elapsed, ops);
        }
        batch = (batch * 2).min(1 << 10);
    }
}

/// Times up to `count` calls one by one, as long as `time` is not over; returns nanoseconds.
pub fn each(time: Duration, count: usize, mut op: impl FnMut()) -> Vec<f64> {
    let begun = Instant::now();
    let mut samples = Vec::with_capacity(count);
    while samples.len() < count && begun.elapsed() < time {
        let start = Instant::now();
        op();
        samples.push(start.elapsed().as_nanos() as f64);
    }
    samples
}
