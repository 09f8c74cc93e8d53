//! Times the cost of signals, controllers and the log per update.
//!
//! ```text
//! cargo bench --workspace --profile dev --bench signals
//! ```
//!
//! The network of `cifar_cosine` trains on the same batches in turns: plain; with a controller that needs no
//! measurement; with controllers that need the loss, the gradient norm and the product of successive gradients; with
//! only the log; and with all of these. Then with the gradient norm of an update, and also with that of its one batch,
//! as a noise scale needs it of several batches.

mod common;

use burn_anneal::control::{
    Answer, Controller, Event, Hypergradient, MetricOf, Needs, OutOfRange, Pid, Plateau, Signal,
    SpikeGuard, Stop,
};
use burn_anneal::prelude::*;
use common::{Builder, Variant, compare};
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let variant = |name, ask: fn(Builder, PathBuf) -> Builder| {
        let folder = folder.path().join(name);
        let ask = Box::new(move |builder| Ok(ask(builder, folder.clone())));
        Variant { name, ask, beside: 0 }
    };
    let variants = vec![
        variant("as it is", |builder, _| builder),
        variant("plateau on a metric", |builder, _| plateau(builder)),
        variant("four controllers", |builder, _| controllers(builder)),
        variant("log", |builder, folder| builder.log_updates(LogUpdates::to(folder).gradient_l1())),
        variant("all", |builder, folder| {
            controllers(builder).log_updates(LogUpdates::to(folder).gradient_l1())
        }),
        variant("norm of the gradients", |builder, _| builder.controller("needs", Asks(NORM))),
        Variant {
            beside: 5,
            ..variant("norm of each batch too", |builder, _| {
                let needs = Needs { batch_gradient_norm: true, ..NORM };
                builder.controller("needs", Asks(needs))
            })
        },
    ];
    compare("Times the cost of signals, controllers and the log per update", variants)
}

const NORM: Needs = Needs {
    loss: false,
    gradient_norm: true,
    gradient_l1: false,
    gradient_dot: false,
    batch_gradient_norm: false,
    largest_gradient: false,
    task_cosine: false,
    private_gradient: false,
    movement: false,
    last_movement: false,
    batch_again: None,
    now: false,
};

/// Needs a measurement, and answers nothing.
#[derive(Clone, Debug)]
struct Asks(Needs);

impl Controller for Asks {
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

fn plateau(builder: Builder) -> Builder {
    // It gets no epoch here; a learner does not require one before it validates.
    builder.controller("plateau", Plateau::min(MetricOf::valid("Loss")))
}

fn controllers(builder: Builder) -> Builder {
    builder
        .controller("plateau", Plateau::min(Signal::Loss).mean_over(100))
        .controller("pid", Pid::set_point(Signal::GradientNorm, 1.0, [1e-3, 0.0, 0.0]))
        .controller("spikes", SpikeGuard::clip())
        .controller("hypergradient", Hypergradient::on_log(1e-3))
}
