//! What is known of the nets.

use burn_anneal::control::Explorer;

use super::ranks::correlation;
use crate::evaluation::Evaluation;
use crate::harness::{Trial, smoothed};

/// What is known of a net that trains as one that stands the test, whether it does or not.
pub struct Facts {
    pub curvature: f64,
    pub largest_rate: f64,
    pub losses: Vec<f64>,
    pub test: Evaluation,
}

/// What one seed has shown: of each net, and of the stress test.
pub struct Searched {
    pub facts: Vec<Facts>,
    pub stress: Explorer,
}

impl Searched {
    /// What one of the nets has shown.
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

    /// Of something about the nets with their losses after the test; one that is dropped comes last.
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

    /// Over as many losses as an exploration compares; infinite where it came to an end before.
    fn mean_before(&self, end: usize, updates: u64) -> f64 {
        let count = updates.div_ceil(10) as usize;
        let losses = self.losses.get(end.saturating_sub(count)..end).unwrap_or(&[]);
        let mean = losses.iter().sum::<f64>() / count as f64;
        if mean.is_finite() && !losses.is_empty() { mean } else { f64::INFINITY }
    }
}
