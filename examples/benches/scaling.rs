//! Times the cost of loss scaling per update: scaling the loss, unscaling the gradients, the check and its read.
//!
//! ```text
//! cargo bench --workspace --profile dev --bench scaling
//! cargo bench --workspace --profile dev --bench scaling --features wgpu -- --limit 32 --batch-size 16
//! ```
//!
//! The network of `cifar_cosine` trains in f32 on the same batches in turns: plain, with loss scaling, and both with
//! clipping by the global norm.

mod common;

use burn_anneal::prelude::*;
use common::{Builder, Variant, compare};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let variant = |name, ask: fn(Builder) -> Builder, beside| Variant {
        name,
        ask: Box::new(move |builder| Ok(ask(builder))),
        beside,
    };
    let variants = vec![
        variant("f32", |builder| builder, 0),
        variant("f32, loss scaling", scaled, 0),
        variant("f32, clipped", clipped, 2),
        variant("f32, clipped, loss scaling", |builder| scaled(clipped(builder)), 2),
    ];
    compare("Times the cost of loss scaling per update", variants)
}

fn scaled(builder: Builder) -> Builder {
    builder.loss_scaling(LossScaling::new())
}

fn clipped(builder: Builder) -> Builder {
    builder.clip_global_norm(1.0)
}
