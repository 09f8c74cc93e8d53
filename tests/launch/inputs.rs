//! Half precision for models that cast nothing.

use super::*;
use anneal_examples::data::{self, Augmentation, DataSource, Dataset};
use anneal_examples::loader::{ImageBatch, test_loader, train_loader};
use anneal_examples::model::ResidualNetworkConfig;
use burn::module::Param;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, FloatDType, Tensor};
use burn::train::{InferenceStep, LearnerModel, RegressionOutput, TrainOutput, TrainStep};

/// A layer that casts only its output, and accepts any input.
#[derive(Module, Debug)]
struct Plain {
    layer: Linear,
}

impl Plain {
    fn new() -> Self {
        let mut layer = LinearConfig::new(2, 1).init(&device());
        layer.weight = Param::from_tensor(Tensor::from_floats([[0.5], [-0.25]], &device()));
        Self { layer }
    }

    fn forward(&self, input: Tensor<2>) -> RegressionOutput {
        let output = self.layer.forward(input).cast(FloatDType::F32);
        let loss = output.clone().square().mean();
        RegressionOutput::new(loss, output.clone(), output.zeros_like())
    }
}

/// A batch of a custom type.
#[derive(Clone, Debug)]
struct Batch {
    numbers: Tensor<2>,
}

macro_rules! steps {
    ($model:ident, $input:ty, |$item:ident| $tensor:expr) => {
        steps!($model, $input, |$item| $tensor, $input, |$item| $tensor);
    };
    ($model:ident, $input:ty, |$item:ident| $tensor:expr, $valid:ty, |$of_valid:ident| $validated:expr) => {
        #[derive(Module, Debug)]
        struct $model {
            plain: Plain,
        }

        impl TrainStep for $model {
            type Input = $input;
            type Output = RegressionOutput;

            fn step(&self, $item: $input) -> TrainOutput<RegressionOutput> {
                let output = self.plain.forward($tensor);
                TrainOutput::new(self, output.loss.clone().scaled_backward(), output)
            }
        }

        impl InferenceStep for $model {
            type Input = $valid;
            type Output = RegressionOutput;

            fn step(&self, $of_valid: $valid) -> RegressionOutput {
                self.plain.forward($validated)
            }
        }
    };
}

steps!(OfTensor, Tensor<2>, |item| item);
steps!(OfPair, (Tensor<2>, Tensor<1>), |item| item.0);
steps!(OfBatch, Batch, |item| item.numbers);
steps!(OfTwo, Tensor<2>, |item| item, Batch, |batch| batch.numbers);

/// A loader of one batch.
struct One<I>(I);

impl<I: Clone + Send + Sync + 'static> DataLoader<I> for One<I> {
    fn iter<'a>(&'a self) -> Box<dyn burn::data::dataloader::DataLoaderIterator<I> + 'a> {
        Box::new(OneBatch(Some(self.0.clone())))
    }

    fn num_items(&self) -> usize {
        1
    }

    fn to_device(&self, _device: &Device) -> Arc<dyn DataLoader<I>> {
        Arc::new(One(self.0.clone()))
    }

    fn slice(&self, _start: usize, _end: usize) -> Arc<dyn DataLoader<I>> {
        Arc::new(One(self.0.clone()))
    }
}

struct OneBatch<I>(Option<I>);

impl<I> Iterator for OneBatch<I> {
    type Item = Result<I, burn::data::dataset::DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(Ok)
    }
}

impl<I> burn::data::dataloader::DataLoaderIterator<I> for OneBatch<I> {
    fn progress(&self) -> burn::data::dataloader::Progress {
        burn::data::dataloader::Progress::new(usize::from(self.0.is_none()), 1, None)
    }
}

fn train<M, I: Clone + Send + Sync + 'static, V: Clone + Send + Sync + 'static>(
    model: M,
    item: impl Fn(&Device) -> I,
    valid: impl Fn(&Device) -> V,
    ask: impl FnOnce(LearnerBuilder<M>) -> LearnerBuilder<M>,
) -> (Watch, LearningResult<M>)
where
    M: LearnerModel + TrainStep<Input = I> + InferenceStep<Input = V>,
{
    let folder = tempfile::tempdir().unwrap();
    let valid = Arc::new(One(valid(&Device::default())));
    let training = SupervisedTraining::new(folder.path(), Arc::new(One(item(&device()))), valid)
        .num_epochs(2)
        .renderer(Box::new(Quiet))
        .with_application_logger(None);
    let builder = LearnerBuilder::new(model, SgdConfig::new().build(), constant(0.1));
    let scaling = LossScaling::new().scale(8.0);
    let half = HalfPrecision { loss_scaling: Some(scaling), ..HalfPrecision::f16() };
    let builder = ask(builder.half_precision(half));
    let watch = builder.watch();
    let result = builder.launch(training).unwrap();
    (watch, result)
}

fn numbers(device: &Device) -> Tensor<2> {
    Tensor::from_floats([[1.0, 2.0], [3.0, -1.0]], device)
}

#[test]
fn inputs_of_known_types_are_cast() {
    let tensor = train(OfTensor { plain: Plain::new() }, numbers, numbers, |builder| builder).1;
    let pair = |device: &Device| (numbers(device), Tensor::<1>::ones([2], device));
    let pair = train(OfPair { plain: Plain::new() }, pair, pair, |builder| builder).1;
    for (result, weight) in [
        (tensor.error, tensor.model.plain.layer.weight.val()),
        (pair.error, pair.model.plain.layer.weight.val()),
    ] {
        assert!(result.is_none(), "{result:?}");
        assert_eq!(weight.dtype(), DType::F16);
        let weights: Vec<f32> = weight.cast(FloatDType::F32).into_data().iter::<f32>().collect();
        assert_ne!(weights, [0.5, -0.25]);
    }
}

#[test]
fn a_batch_of_a_type_of_ones_own_needs_one_line_and_without_it_that_line_is_said() {
    let batch = |device: &Device| Batch { numbers: numbers(device) };
    let model = || OfBatch { plain: Plain::new() };
    let cast = |batch: Batch, dtype| Batch { numbers: batch.numbers.cast(dtype) };
    let (_, result) = train(model(), batch, batch, |builder| builder.cast_inputs(cast));
    assert!(result.error.is_none(), "{:?}", result.error);

    let (watch, result) = train(model(), batch, batch, |builder| builder);
    let failure = watch.failure().unwrap();
    assert!(matches!(*failure, UpdateError::InputsNotCast { .. }), "{failure}");
    let text = failure.to_string();
    for words in ["cast_inputs", "launch::inputs::Batch", "batch.images.cast(dtype)"] {
        assert!(text.contains(words), "no {words} in {text}");
    }
    assert!(result.error.unwrap().to_string().contains(&text));
    // The same if only validation has such batches.
    let (watch, _) = train(OfTwo { plain: Plain::new() }, numbers, batch, |builder| builder);
    let failure = watch.failure().unwrap().to_string();
    assert!(failure.contains("inputs::Batch"), "{failure}");
    // A custom loop must cast itself.
    let cast_in_loop = LearnerBuilder::new(model(), SgdConfig::new().build(), constant(0.1))
        .half_precision(HalfPrecision::f16())
        .cast_inputs(cast)
        .run(RunLength::updates(1));
    let error = cast_in_loop.build_loop().err().unwrap().to_string();
    assert!(error.starts_with("cast_inputs"), "{error}");
}

/// The network of `cifar_cosine`, which casts nothing, on real images: its loss falls as in f32.
#[test]
fn a_residual_network_trains_in_f16_with_one_line_for_its_batches() {
    let folder = tempfile::tempdir().unwrap();
    let limit = std::num::NonZeroUsize::new(80);
    let images = data::load(Dataset::Cifar10, DataSource::Sample, limit).unwrap();
    let (train, test) = (Arc::new(images.train), Arc::new(images.test));
    let mut losses = vec![];
    for name in ["f32", "f16"] {
        let train = train_loader(train.clone(), 16, Augmentation::NONE, 0, &device());
        let test = test_loader(test.clone(), 16, &Device::default());
        device().seed(0);
        let model = ResidualNetworkConfig::default().init(&device());
        let builder = LearnerBuilder::new(model, AdamWConfig::new().build(), constant(2e-3));
        let builder = match name {
            "f32" => builder,
            _ => builder.half_precision(HalfPrecision::f16()).cast_inputs(
                |batch: ImageBatch, dtype| ImageBatch { images: batch.images.cast(dtype), ..batch },
            ),
        };
        let logs = folder.path().join(name);
        let training = SupervisedTraining::new(&logs, Arc::new(train), Arc::new(test))
            .num_epochs(5)
            .renderer(Box::new(Quiet))
            .with_application_logger(None)
            .metric_train_numeric(LossMetric::new());
        let watch = builder.watch();
        let result = builder.launch(training).unwrap();
        assert!(result.error.is_none(), "{:?}", watch.failure());
        let loss = |epoch: usize| -> f64 {
            let text = std::fs::read_to_string(logs.join(format!("train/epoch-{epoch}/Loss.log")));
            let text = text.unwrap();
            text.lines().last().unwrap().split(',').next().unwrap().parse().unwrap()
        };
        assert!(loss(5) < 0.8 * loss(1), "{name}: {} and then {}", loss(1), loss(5));
        losses.push(loss(5));
    }
    // Both learn the same images from the same weights; the rest is rounding, and a few updates that f16 skips at first.
    assert!((losses[1] / losses[0] - 1.0).abs() < 0.25, "{losses:?}");
}
