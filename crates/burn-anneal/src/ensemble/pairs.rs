//! A number for each pair of members.

use super::EnsembleError;
use std::fmt;

/// A symmetric number for each pair of ensemble members. Displays as a triangular table.
///
/// ```
/// # use burn_anneal::prelude::*;
/// # use burn::nn::LinearConfig;
/// # use burn::tensor::Device;
/// # let models = [(); 3].map(|()| LinearConfig::new(4, 2).init(&Device::default()));
/// let distance = Ensemble::of_models(models).weight_diversity()?.distance;
/// assert_eq!(distance.get(0, 2), distance.get(2, 0));
/// assert!(distance.mean().unwrap() > 0.0);
/// # Ok::<(), EnsembleError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Pairs {
    members: usize,
    values: Vec<f64>,
}

impl Pairs {
    /// Makes pairs of at least one member from the numbers of (1, 0), (2, 0), (2, 1), …
    pub(super) fn new(members: usize, values: Vec<f64>) -> Result<Self, EnsembleError> {
        match members {
            0 => Err(EnsembleError::NoMembers),
            _ => Ok(Self { members, values }),
        }
    }

    /// The number of members.
    pub fn members(&self) -> usize {
        self.members
    }

    /// The number of members `i` and `j`, counted from 0; `None` if they are the same or do not exist.
    pub fn get(&self, i: usize, j: usize) -> Option<f64> {
        let (i, j) = (i.max(j), i.min(j));
        (i != j && i < self.members).then(|| self.values[i * (i - 1) / 2 + j])
    }

    /// The mean over all pairs; `None` with fewer than two members.
    pub fn mean(&self) -> Option<f64> {
        let pairs = self.values.len();
        (pairs > 0).then(|| self.values.iter().sum::<f64>() / pairs as f64)
    }
}

impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.members.saturating_sub(1);
        write!(f, "{:>4}", "")?;
        (0..columns).try_for_each(|member| write!(f, " {member:>9}"))?;
        for i in 1..self.members {
            write!(f, "\n{i:>4}")?;
            (0..i)
                .filter_map(|j| self.get(i, j))
                .try_for_each(|value| write!(f, " {value:>9.4}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_has_its_number_both_ways() {
        let pairs = Pairs::new(4, vec![10.0, 20.0, 21.0, 30.0, 31.0, 32.0]).unwrap();
        for i in 0..4 {
            for j in 0..4 {
                let expected = (i != j).then(|| (10 * i.max(j) + i.min(j)) as f64);
                assert_eq!(pairs.get(i, j), expected);
            }
        }
        assert_eq!((pairs.get(0, 4), pairs.get(4, 0)), (None, None));
        assert_eq!(pairs.mean(), Some((10.0 + 20.0 + 21.0 + 30.0 + 31.0 + 32.0) / 6.0));
        let text = pairs.to_string();
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["0", "1", "2"]);
        assert_eq!(lines[2], ["2", "20.0000", "21.0000"]);
    }

    #[test]
    fn one_member_has_no_pairs() {
        let pairs = Pairs::new(1, vec![]).unwrap();
        assert_eq!((pairs.mean(), pairs.get(0, 0), pairs.to_string().trim()), (None, None, ""));
    }
}
