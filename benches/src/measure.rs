//! Timing: subjects take turns, medians with their spread.

use std::time::{Duration, Instant};

/// Rounds in which every subject gets its turn.
pub const ROUNDS: usize = 9;

/// What was measured of one subject in one case.
#[derive(Clone, Debug, Default)]
pub struct Figure {
    /// Nanoseconds an operation, by round.
    rounds: Vec<f64>,
}

impl Figure {
    /// Adds a round of so many operations.
    pub fn add(&mut self, (elapsed, ops): (Duration, u64)) {
        self.rounds.push(elapsed.as_nanos() as f64 / ops.max(1) as f64);
    }

    pub fn median(&self) -> f64 {
        percentile(&self.rounds, 50.0)
    }

    /// Half the distance between the quartiles, over the median.
    pub fn spread(&self) -> f64 {
        let range = percentile(&self.rounds, 75.0) - percentile(&self.rounds, 25.0);
        range / 2.0 / self.median().max(f64::MIN_POSITIVE)
    }
}

/// The value below which `percent` of the samples lie; 0 of none.
pub fn percentile(samples: &[f64], percent: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (percent / 100.0 * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(place).copied().unwrap_or(0.0)
}

/// Repeats `op` until `time` is over, in growing batches; tells how often, and how long it took.
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

/// Times each of `count` calls by itself, or as many as `time` allows; nanoseconds.
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
