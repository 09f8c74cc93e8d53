//! The state of an exploration.

use super::Exploration;
use crate::OutOfRange;
use anneal_schedule::Schedule;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Decides which candidate trains next and which ones continue: see [`Exploration`](crate::Exploration).
#[derive(Clone, Debug, PartialEq)]
pub struct Explorer {
    rule: Exploration,
    mean_over: u64,
    schedule: Schedule,
    state: ExplorerState,
}

/// The next update.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Turn {
    /// The candidate, counted from 0.
    pub candidate: usize,
    /// The update's number within the candidate, counted from 0.
    pub update: u64,
    /// The rate given by the schedule.
    pub rate: f64,
}

/// Why a candidate is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dropped {
    /// Its loss was infinite or NaN.
    #[error("its loss at update {update} is not finite")]
    NotFinite {
        /// The update.
        update: u64,
    },
    /// Its loss rose too far.
    #[error("its loss {loss} at update {update} is above {limit}")]
    Rose {
        /// The update.
        update: u64,
        /// The loss.
        loss: f64,
        /// The highest allowed loss.
        limit: f64,
    },
}

/// A loss was reported for the wrong candidate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "candidate {candidate} reported a loss, but {}",
    match turn {
        Some(turn) => format!("it is the turn of candidate {turn}"),
        None => "no more updates are due".to_string(),
    }
)]
#[non_exhaustive]
pub struct NotItsTurn {
    /// The candidate.
    pub candidate: usize,
    /// Whose turn it is.
    pub turn: Option<usize>,
}

/// The state of an [`Explorer`] that a checkpoint saves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplorerState {
    candidates: Vec<CandidateState>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CandidateState {
    /// The updates it has made.
    updates: u64,
    /// Its first loss.
    start: Option<f64>,
    /// The mean of the last losses of this phase so far.
    mean: f64,
    /// Its mean loss at the end of exploration.
    explored: Option<f64>,
    /// Its mean loss at the end of training.
    finished: Option<f64>,
    dropped: Option<Dropped>,
}

impl Explorer {
    pub(super) fn new(rule: Exploration, mean_over: u64, schedule: Schedule) -> Self {
        let candidates = vec![CandidateState::default(); rule.candidates];
        Self { rule, mean_over, schedule, state: ExplorerState { candidates } }
    }

    /// The next update; `None` at the end.
    pub fn turn(&self) -> Option<Turn> {
        let open = |candidate: &usize| self.updates_left(*candidate, self.is_explored_by_all()) > 0;
        let candidate = match self.is_explored_by_all() {
            false => (0..self.rule.candidates).find(open),
            true => self.chosen().into_iter().find(open),
        }?;
        let update = self.state.candidates[candidate].updates;
        Some(Turn { candidate, update, rate: self.schedule.rate(update) })
    }

    /// Handles the loss of the current candidate's update. Returns the reason if this drops the candidate.
    ///
    /// # Errors
    /// [`NotItsTurn`] for any other candidate.
    pub fn hear(&mut self, candidate: usize, loss: f64) -> Result<Option<Dropped>, NotItsTurn> {
        let turn = self.turn().map(|turn| turn.candidate);
        if turn != Some(candidate) {
            return Err(NotItsTurn { candidate, turn });
        }
        let (explores, whole) = (self.rule.updates, self.rule.updates + self.rule.share());
        let (rise, mean_over) = (self.rule.rise, self.mean_over);
        let state = &mut self.state.candidates[candidate];
        let update = state.updates;
        state.updates += 1;
        let start = *state.start.get_or_insert(if loss.is_finite() { loss } else { 0.0 });
        let limit = start + (rise - 1.0) * start.abs();
        if !loss.is_finite() {
            state.dropped = Some(Dropped::NotFinite { update });
        } else if loss > limit {
            state.dropped = Some(Dropped::Rose { update, loss, limit });
        }
        if state.dropped.is_some() {
            return Ok(state.dropped);
        }
        let end = if update < explores { explores } else { whole };
        let of_phase = if update < explores { explores } else { whole - explores };
        let averaged = mean_over.min(of_phase);
        if state.updates > end - averaged {
            // Divide each first: a sum of large losses may overflow.
            state.mean += loss / averaged as f64;
        }
        if state.updates == end {
            let mean = Some(std::mem::take(&mut state.mean));
            match end == explores {
                true => state.explored = mean,
                false => state.finished = mean,
            }
        }
        Ok(None)
    }

    /// The candidates that explored to the end, sorted by mean loss; ties by number.
    pub fn ranking(&self) -> Vec<usize> {
        self.ranked(|candidate| candidate.explored)
    }

    /// Whether a candidate may be asked for another update. Once false it stays false, and its model can be
    /// deleted, except that of the [best](Self::best), which is the result.
    pub fn may_go_on(&self, candidate: usize) -> bool {
        let Some(state) = self.state.candidates.get(candidate) else { return false };
        let chosen = state.explored.is_none() || self.chosen().contains(&candidate);
        chosen && self.updates_left(candidate, true) > 0
    }

    /// The dropped candidates and the reasons. Candidates that are merely not among the best are not
    /// included.
    pub fn dropped(&self) -> impl Iterator<Item = (usize, Dropped)> {
        let candidates = self.state.candidates.iter().enumerate();
        candidates.filter_map(|(i, candidate)| candidate.dropped.map(|why| (i, why)))
    }

    /// The candidate with the lowest mean loss over the last updates, among those that trained to the end.
    pub fn best(&self) -> Option<usize> {
        self.ranked(|candidate| candidate.finished).first().copied()
    }

    /// The mean loss of a candidate over the last updates of exploration or of training; `None` before their
    /// end.
    pub fn loss(&self, candidate: usize) -> Option<f64> {
        let state = self.state.candidates.get(candidate)?;
        state.finished.or(state.explored)
    }

    /// The number of candidates dropped for a non-finite loss.
    pub fn not_finite(&self) -> usize {
        self.dropped().filter(|(_, why)| matches!(why, Dropped::NotFinite { .. })).count()
    }

    /// The updates made so far, over all candidates.
    pub fn spent(&self) -> u64 {
        self.state.candidates.iter().map(|candidate| candidate.updates).sum()
    }

    /// The schedule under which every candidate trains.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The description.
    pub fn rule(&self) -> &Exploration {
        &self.rule
    }

    /// The state that a checkpoint saves.
    pub fn state(&self) -> &ExplorerState {
        &self.state
    }

    /// Continues from a checkpoint of the same exploration.
    ///
    /// # Errors
    /// [`OutOfRange`] for a state that does not match it.
    pub fn restore(&mut self, state: ExplorerState) -> Result<(), OutOfRange> {
        let found = state.candidates.len();
        let same = found == self.rule.candidates;
        OutOfRange::require("candidates", found, same, "the number of candidates")?;
        let whole = self.rule.updates + self.rule.share();
        for candidate in &state.candidates {
            let CandidateState { updates, explored, finished, dropped, .. } = candidate;
            let is_through = |end: u64| *updates >= end && (dropped.is_none() || *updates > end);
            let ok = *updates <= whole
                && explored.is_some() == is_through(self.rule.updates)
                && finished.is_some() == (*updates == whole && dropped.is_none());
            OutOfRange::require("updates", updates, ok, "valid for a candidate with this budget")?;
        }
        self.state = state;
        Ok(())
    }

    fn is_explored_by_all(&self) -> bool {
        (0..self.rule.candidates).all(|candidate| self.updates_left(candidate, false) == 0)
    }

    /// The remaining updates of a candidate, of exploration or in total.
    fn updates_left(&self, candidate: usize, of_all: bool) -> u64 {
        let state = &self.state.candidates[candidate];
        let share = if of_all { self.rule.share() } else { 0 };
        match state.dropped {
            Some(_) => 0,
            None => (self.rule.updates + share).saturating_sub(state.updates),
        }
    }

    /// The best so far: one that is dropped later leaves its place empty.
    fn chosen(&self) -> Vec<usize> {
        let mut ranking = self.ranking();
        ranking.truncate(self.rule.keep);
        ranking
    }

    fn ranked(&self, loss: impl Fn(&CandidateState) -> Option<f64>) -> Vec<usize> {
        let candidates = self.state.candidates.iter().enumerate();
        let mut ranked: Vec<_> = candidates.filter_map(|(i, c)| Some((loss(c)?, i))).collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
        ranked.into_iter().map(|(_, candidate)| candidate).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 4 candidates with 10 updates each, 2 of which continue for 30.
    fn rule() -> Exploration {
        Exploration::new(4, 10, 1.0, 0.01, 100).keep(2).mean_over(3)
    }

    /// Trains to the end, and returns the order of turns.
    fn train(explorer: &mut Explorer, loss: impl Fn(Turn) -> f64) -> Vec<usize> {
        let mut turns = vec![];
        while let Some(turn) = explorer.turn() {
            explorer.hear(turn.candidate, loss(turn)).unwrap();
            turns.push(turn.candidate);
        }
        turns
    }

    #[test]
    fn one_after_the_other_explores_and_the_best_go_on() {
        let mut explorer = rule().rise(100.0).build().unwrap();
        // The last three of 10 decide, not the last alone: 2 is best except for one noisy batch.
        let loss = |turn: Turn| match (turn.candidate, turn.update) {
            (2, 9) => 2.5,
            (2, _) => 0.1,
            (1, 9) => 0.1,
            (candidate, _) => [3.0, 2.0, 0.0, 1.0][candidate],
        };
        let turns = train(&mut explorer, loss);
        let expected = [(0, 10), (1, 10), (2, 10), (3, 10), (2, 30), (3, 30)];
        let expected: Vec<usize> =
            expected.iter().flat_map(|(c, n)| std::iter::repeat_n(*c, *n)).collect();
        assert_eq!(turns, expected);
        assert_eq!(explorer.ranking(), [2, 3, 1, 0]);
        assert!((explorer.state.candidates[2].explored.unwrap() - 0.9).abs() < 1e-15);
        assert_eq!((explorer.best(), explorer.spent()), (Some(2), 100));
        let error = explorer.hear(0, 1.0).unwrap_err();
        assert_eq!(error, NotItsTurn { candidate: 0, turn: None });
    }

    #[test]
    fn one_that_diverges_is_dropped_and_no_other_takes_its_place() {
        let mut explorer = rule().rise(2.0).build().unwrap();
        let loss = |turn: Turn| match (turn.candidate, turn.update) {
            (0, 5) => f64::NAN,
            (1, 4) => 2.01, // above 2
            (2, 15) => f64::INFINITY,
            (2, _) => 0.5,
            _ => 1.0,
        };
        let turns = train(&mut explorer, loss);
        assert_eq!(turns.len(), 6 + 5 + 10 + 10 + 6 + 30);
        assert_eq!((explorer.ranking(), explorer.best()), (vec![2, 3], Some(3)));
        let dropped: Vec<_> = explorer.dropped().collect();
        assert_eq!(
            dropped,
            [
                (0, Dropped::NotFinite { update: 5 }),
                (1, Dropped::Rose { update: 4, loss: 2.01, limit: 2.0 }),
                (2, Dropped::NotFinite { update: 15 })
            ]
        );
        assert_eq!(explorer.not_finite(), 2);
        let mut none = rule().build().unwrap();
        assert_eq!(train(&mut none, |_| f64::NAN), [0, 1, 2, 3]);
        assert_eq!((none.best(), none.ranking(), none.not_finite()), (None, vec![], 4));
        // A negative loss may rise by the same amount.
        let mut negative = rule().rise(2.0).build().unwrap();
        let loss = |turn: Turn| [-1.0, 0.0, 0.1][(turn.update as usize).min(2 * turn.candidate)];
        train(&mut negative, loss);
        assert_eq!(
            negative.dropped().map(|(candidate, _)| candidate).collect::<Vec<_>>(),
            [1, 2, 3]
        );
    }

    #[test]
    fn a_model_may_go_once_two_are_better() {
        let mut explorer = rule().build().unwrap();
        let mut may = vec![];
        while let Some(turn) = explorer.turn() {
            explorer.hear(turn.candidate, [3.0, 2.0, 2.0, 1.0][turn.candidate]).unwrap();
            let now: Vec<usize> = (0..5).filter(|c| explorer.may_go_on(*c)).collect();
            if may.last() != Some(&now) {
                may.push(now);
            }
        }
        assert_eq!(may, [vec![0, 1, 2, 3], vec![1, 2, 3], vec![1, 3], vec![1], vec![]]);
        assert_eq!(
            (explorer.best(), explorer.loss(0), explorer.loss(7)),
            (Some(3), Some(3.0), None)
        );
    }

    #[test]
    fn it_goes_on_where_it_was() {
        let noise = |turn: Turn| {
            let wave = ((turn.candidate * 31) as f64 + turn.update as f64 * 1.7).sin();
            if (turn.candidate, turn.update) == (3, 6) { f64::INFINITY } else { 1.0 + 0.5 * wave }
        };
        let mut whole = rule().build().unwrap();
        let mut split = whole.clone();
        while let Some(turn) = whole.turn() {
            assert_eq!(split.turn(), Some(turn));
            let said = whole.hear(turn.candidate, noise(turn));
            assert_eq!(split.hear(turn.candidate, noise(turn)), said);
            let text = serde_json::to_string(split.state()).unwrap();
            split = rule().build().unwrap();
            split.restore(serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(split, whole);
        }
        assert_eq!(whole.spent(), 37 + 60);
        let others = Exploration { candidates: 3, ..rule() };
        let mut others = others.build().unwrap();
        assert_eq!(others.restore(whole.state().clone()).unwrap_err().field, "candidates");
        let mut shorter = Exploration { budget: 80, ..rule() }.build().unwrap();
        assert_eq!(shorter.restore(whole.state().clone()).unwrap_err().field, "updates");
        let mut torn = whole.state().clone();
        torn.candidates[0].explored = None;
        assert_eq!(rule().build().unwrap().restore(torn).unwrap_err().field, "updates");
        let text = serde_json::to_string(&rule()).unwrap();
        assert_eq!(serde_json::from_str::<Exploration>(&text).unwrap(), rule());
    }
}
