//! Checkpoints that cannot be merged, and the file named in the error.

use super::*;
use burn_anneal::schedule::MergeRecipeError;
use std::fs;

fn error(decay: impl Into<ScheduleConfig>, files: &[(u64, PathBuf)]) -> MergeError {
    merge(decay, files.to_vec(), tiny(9)).unwrap_err()
}

/// Three files, after 10, 20 and 30 updates.
fn three(folder: &Path) -> Vec<(u64, PathBuf)> {
    files(folder, [10, 20, 30].map(|updates| (updates, tiny(updates))))
}

/// Checks that the error names a file and contains these words.
fn blames(error: &MergeError, path: &Path, words: &str) {
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()) && text.contains(words), "{text}");
}

#[test]
fn fewer_than_two_and_a_curve_that_rises() {
    let folder = tempfile::tempdir().unwrap();
    let files = three(folder.path());
    for found in [0, 1] {
        let error = error(cosine(1.0), &files[..found]);
        let expected = MergeRecipeError::TooFew { found };
        assert!(matches!(&error, MergeError::Recipe(error) if *error == expected), "{error}");
    }
    let warmed = error(cosine(1.0).warmup(Span::steps(2)), &files);
    assert!(matches!(warmed, MergeError::Recipe(MergeRecipeError::Rises { .. })), "{warmed}");
    let epochs = error(linear(1.0, 0.0).length(Span::epochs(1)), &files);
    assert!(matches!(epochs, MergeError::Recipe(MergeRecipeError::Schedule(_))), "{epochs}");
}

#[test]
fn out_of_order_and_twice() {
    let folder = tempfile::tempdir().unwrap();
    let files = three(folder.path());
    let order = [files[0].clone(), files[2].clone(), files[1].clone()];
    let twice = [files[0].clone(), files[1].clone(), (20, files[2].1.clone())];
    for (given, before) in [(order, 30), (twice, 20)] {
        let error = error(cosine(1.0), &given);
        assert!(matches!(&error, MergeError::Order { updates: 20, .. }), "{error}");
        blames(&error, &given[2].1, &format!("after {before};"));
    }
}

#[test]
fn files_that_are_missing_cut_off_or_of_another_model() {
    let folder = tempfile::tempdir().unwrap();
    let files = three(folder.path());
    let blamed = |index: usize, words: &str| {
        let error = error(cosine(1.0), &files);
        assert!(matches!(error, MergeError::Checkpoint(_)), "{error}");
        blames(&error, &files[index].1, words);
    };
    let mut other = tiny(1);
    other.hidden = burn::nn::LinearConfig::new(4, 6).init(&Device::default());
    other.save_file(&files[1].1).unwrap();
    blamed(1, "hidden.weight: shape mismatch");
    TermModel::new(&[1.0]).save_file(&files[1].1).unwrap();
    blamed(1, "head.weight");
    tiny(20).save_file(&files[1].1).unwrap();

    let whole = fs::read(&files[2].1).unwrap();
    fs::write(&files[2].1, &whole[..whole.len() / 2]).unwrap();
    blamed(2, "");
    fs::write(&files[2].1, &whole).unwrap();
    fs::remove_file(&files[0].1).unwrap();
    blamed(0, "");
}

#[test]
fn weights_that_are_no_numbers() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for dtype in [FloatDType::F32, FloatDType::F16] {
            let folder = tempfile::tempdir().unwrap();
            let files = three(folder.path());
            let mut broken = tiny(1);
            let bias = Tensor::from_floats([0.5, value, 1.0], &Device::default());
            broken.head.bias = Some(Param::from_tensor(bias));
            to_precision(broken, dtype).save_file(&files[1].1).unwrap();
            let error = error(cosine(1.0), &files);
            assert!(matches!(error, MergeError::NotFinite { .. }), "{error}");
            blames(&error, &files[1].1, "`head.bias` is NaN or infinite");
        }
    }
}

#[test]
fn running_statistics_that_are_no_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let model = |value| counting(value, &Device::default());
    let mut broken = model(1.0);
    let infinite = Tensor::from_floats([1.0, f32::INFINITY], &Device::default());
    broken.norm.running_var = RunningState::new(infinite);
    let files = files(folder.path(), [(1, model(1.0)), (2, broken)]);
    let error = merge(cosine(1.0), files, model(0.0)).unwrap_err();
    blames(&error, &folder.path().join("2.bpk"), "`norm.running_var` is NaN or infinite");
}

/// 70,000 is infinite in f16.
#[test]
fn a_mean_that_the_model_cannot_hold() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), [1, 2].map(|updates| (updates, TermModel::new(&[7e4]))));
    assert_eq!(merge(cosine(1.0), files.clone(), TermModel::new(&[0.0])).unwrap().values(), [7e4]);
    let half = to_precision(TermModel::new(&[0.0]), FloatDType::F16);
    let error = merge(cosine(1.0), files, half).unwrap_err();
    assert!(matches!(error, MergeError::OutOfPrecision { .. }), "{error}");
    assert!(error.to_string().contains("`weight`"), "{error}");
}
