//! The measurements of the nets.

use burn_anneal::control::Explorer;

use super::ranks::correlation;
use crate::evaluation::Evaluation;
use crate::harness::{Trial, smoothed};

/// The measurements of a net that trains as if it had passed the test.
pub struct Facts {
    pub curvature: f64,
    pub largest_rate: f64,
    pub losses: Vec<f64>,
    pub test: Evaluation,
}

/// The measurements of one seed: of each net and of the stress test.
pub struct Searched {
    pub facts: Vec<Facts>,
    pub stress: Explorer,
}

impl Searched {
    /// The measurements of one net.
    pub fn trial(&self, net: usize, updates: u64) -> Trial {
        let facts = &self.facts[net];
        let is_dropped = self.stress.dropped().any(|(dropped, _)| dropped == net);
        let numbers = vec![
            facts.curvature,
            facts.largest_rate,
            facts.explored(updates),
            f64::from(u8::from(is_dropped)),
            facts.test.accuracy,
        ];
        let test = &facts.losses[..facts.losses.len().min(updates as usize)];
        Trial { numbers, lines: vec![smoothed(test, 3)] }
    }

    /// The rank correlation of a property of the nets with their losses after the test; dropped nets come last.
    pub fn correlation(&self, of: fn(&Facts) -> f64, updates: u64) -> f64 {
        let dropped: Vec<usize> = self.stress.dropped().map(|(net, _)| net).collect();
        let loss = |(net, facts): (usize, &Facts)| match dropped.contains(&net) {
            true => f64::INFINITY,
            false => facts.explored(updates),
        };
        let losses: Vec<f64> = self.facts.iter().enumerate().map(loss).collect();
        correlation(&self.facts.iter().map(of).collect::<Vec<_>>(), &losses)
    }
}

impl Facts {
    /// The mean loss at the end of the test.
    fn explored(&self, updates: u64) -> f64 {
        self.mean_before(updates as usize, updates)
    }

    /// The mean loss at the end of all.
    pub fn finished(&self, updates: u64) -> f64 {
        self.mean_before(self.losses.len(), updates)
    }

    /// The mean over as many losses as an exploration compares; infinite if training ended before.
    fn mean_before(&self, end: usize, updates: u64) -> f64 {
        let count = updates.div_ceil(10) as usize;
        let losses = self.losses.get(end.saturating_sub(count)..end).unwrap_or(&[]);
        let mean = losses.iter().sum::<f64>() / count as f64;
        if mean.is_finite() && !losses.is_empty() { mean } else { f64::INFINITY }
    }
}
