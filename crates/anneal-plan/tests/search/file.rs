//! The file of a search.

use super::{halved, space, train};
use anneal_plan::{Halving, Search, SearchError, Space, Strategy, UpperConfidence};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

fn written() -> (TempDir, PathBuf, Search) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("search.json");
    let search = halved(Strategy::Random).file(&path);
    search.clone().run(train).unwrap();
    (folder, path, search)
}

#[test]
fn another_search_is_refused_with_what_differs() {
    let (_folder, _, search) = written();
    let cases: [(Search, &str); 6] = [
        (search.clone().seed(4), "its seed is 3, not 4"),
        (search.clone().maximize(), "its direction is \"minimize\", not \"maximize\""),
        (search.clone().strategy(Strategy::Sobol), "its strategy is \"random\", not \"sobol\""),
        (
            search.clone().strategy(UpperConfidence::new()),
            "its strategy is \"random\", not {\"upper",
        ),
        (search.clone().halving(Halving::new(1, 27)), "its halving is {\"least\":1,\"most\":9"),
        (
            Search::new(Space::new().log("rate", 1e-5, 1.0)).file(search_path(&search)),
            "its space is [{\"name\":\"rate\"",
        ),
    ];
    for (other, expected) in cases {
        let error = other.build().unwrap_err();
        assert!(matches!(error, SearchError::OtherSearch { .. }));
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert!(search.build().is_ok());
}

/// So that it can be moved, and the search extended.
#[test]
fn it_holds_neither_its_place_nor_the_end_of_the_search() {
    let (_folder, path, _) = written();
    let stored: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let settings: Vec<&String> = stored["search"].as_object().unwrap().keys().collect();
    assert_eq!(settings, ["direction", "halving", "seed", "space", "strategy"]);
}

fn search_path(search: &Search) -> String {
    serde_json::to_value(search).unwrap()["file"].as_str().unwrap().into()
}

#[test]
fn a_damaged_file_is_refused() {
    let (_folder, path, search) = written();
    let good = fs::read_to_string(&path).unwrap();
    let half = &good[..good.len() / 2];
    let damage = [
        (String::new(), "EOF"),
        (half.into(), "EOF"),
        ("[]".into(), "its version is null"),
        (good.replacen("\"version\": 1", "\"version\": 2", 1), "its version is 2, not 1"),
        (good.replacen("\"number\": 1", "\"number\": 7", 1), "trial 1: number: 7"),
        (good.replacen("\"number\": 1", "\"number\": 1, \"epoch\": 3", 1), "unknown field `epoch`"),
        (good.replacen("\"momentum\":", "\"decay\":", 1), "trial 0: decay"),
        (good.replacen("\"momentum\": 0.", "\"momentum\": 1.", 1), "trial 0: momentum: 1."),
        (
            good.replacen("\"rungs\": [", "\"rungs\": [1, 1, 1, ", 1),
            "rungs: 5 is not allowed; allowed: 2 at most",
        ),
    ];
    for (text, expected) in damage {
        assert_ne!(text, good);
        fs::write(&path, &text).unwrap();
        let error = search.clone().build().unwrap_err();
        assert!(matches!(error, SearchError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error} instead of {expected}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "it is left as it is");
    }
    fs::write(&path, good).unwrap();
    assert!(search.build().is_ok());
}

/// The file is complete at every moment, without leftovers next to it; leftovers of a dead process do no
/// harm.
#[test]
fn it_is_whole_at_any_time() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("search.json");
    fs::write(folder.path().join("search.json.new"), "{ half").unwrap();
    let search = || halved(Strategy::Sobol).file(&path);
    search()
        .run(|trial| {
            let copy = folder.path().join("copy.json");
            fs::copy(&path, &copy).unwrap();
            let seen = halved(Strategy::Sobol).file(&copy).build().unwrap().trials();
            assert_eq!(seen.len(), trial.number() + 1);
            fs::remove_file(copy).unwrap();
            train(trial)
        })
        .unwrap();
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["search.json"]);
}

#[test]
fn two_searches_do_not_share_a_file() {
    let (_folder, path, search) = written();
    let more = search.trials(20);
    let [first, second] = [more.clone().build().unwrap(), more.build().unwrap()];
    let trial = first.ask().unwrap().unwrap();
    assert!(matches!(second.ask(), Err(SearchError::Changed { .. })));
    assert_eq!(second.trials().len(), 12, "the trial that could not be kept is not one");
    trial.tell(1.0).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(matches!(first.ask(), Err(SearchError::Changed { .. })));
}

#[test]
fn a_place_that_cannot_be_written_ends_the_search() {
    let folder = TempDir::new().unwrap();
    let nowhere = folder.path().join("no").join("search.json");
    let error = Search::new(space()).trials(3).file(&nowhere).run(train).unwrap_err();
    assert!(matches!(&error, SearchError::File { path, .. } if *path == nowhere));
    let words = error.to_string();
    let advice = format!("; create the folder {} first", folder.path().join("no").display());
    assert!(words.contains("search.json: ") && words.ends_with(&advice), "{words}");
    let error = Search::new(space()).file(folder.path()).build().unwrap_err();
    assert!(matches!(error, SearchError::File { .. }), "a folder is no file");
    assert!(!error.to_string().contains("create"), "{error}");
}
