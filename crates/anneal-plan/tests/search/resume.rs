//! Interrupted searches that are resumed.

use super::{halved, strategies, train};
use anneal_plan::{Status, Study};
use tempfile::TempDir;

/// A search interrupted in the middle of a trial ends with the same trials as one without interruption.
#[test]
fn a_resumed_search_is_the_one_that_was_never_left() {
    for strategy in strategies() {
        let whole = halved(strategy.clone()).run(train).unwrap().trials();
        assert!(whole.iter().any(|trial| matches!(trial.status, Status::Finished(_))));
        for cut in [1, 3, 6, 11, 12] {
            let folder = TempDir::new().unwrap();
            let search = || halved(strategy.clone()).file(folder.path().join("search.json"));
            search().trials(cut).run(train).unwrap();
            let left = search().build().unwrap();
            if let Some(interrupted) = left.ask().unwrap() {
                // Dies in its first epoch.
                let _ = interrupted.report(1, 0.0);
            }
            drop(left);
            let resumed = search().build().unwrap();
            let mut ran = vec![];
            resumed
                .run(|trial| {
                    ran.push(trial.number());
                    train(trial)
                })
                .unwrap();
            assert_eq!(resumed.trials(), whole, "{strategy:?} cut at {cut}");
            assert_eq!(ran, (cut..12).collect::<Vec<_>>(), "nothing ran twice");
        }
    }
}

#[test]
fn all_that_were_running_run_again_in_their_order() {
    let folder = TempDir::new().unwrap();
    let search = || halved(strategies().remove(4)).file(folder.path().join("search.json"));
    let left = search().build().unwrap();
    let batch = left.ask_batch(6).unwrap();
    batch[1].tell(1.0).unwrap();
    batch[4].fail("no room").unwrap();
    let values = |study: &Study| study.trials().into_iter().map(|t| t.values).collect::<Vec<_>>();
    let before = values(&left);
    let resumed = search().build().unwrap();
    let again = resumed.ask_batch(5).unwrap();
    assert_eq!(again.iter().map(|trial| trial.number()).collect::<Vec<_>>(), [0, 2, 3, 5, 6]);
    assert_eq!(values(&resumed)[..6], before);
}

#[test]
fn more_trials_may_follow() {
    let folder = TempDir::new().unwrap();
    let search = || halved(strategies().remove(0)).file(folder.path().join("search.json"));
    search().run(train).unwrap();
    let mut ran = 0;
    let more = search().trials(15).budget(1_000).build().unwrap();
    more.run(|trial| {
        ran += 1;
        train(trial)
    })
    .unwrap();
    assert_eq!((ran, more.trials().len()), (3, 15));
    assert_eq!(
        more.trials(),
        halved(strategies().remove(0)).trials(15).run(train).unwrap().trials()
    );
}
