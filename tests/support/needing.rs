//! A controller that needs measurements.

use burn_anneal::control::{Answer, Controller, Event, Needs, OutOfRange, Stop};

/// Needs these measurements, and answers nothing.
#[derive(Clone, Debug)]
pub struct Needing(pub Needs);

impl Controller for Needing {
    type State = ();

    fn needs(&self) -> Needs {
        self.0
    }

    fn hear(&mut self, _: &Event<'_>) -> Result<Answer, Stop> {
        Ok(Answer::default())
    }

    fn state(&self) {}

    fn restore(&mut self, (): ()) -> Result<(), OutOfRange> {
        Ok(())
    }
}
