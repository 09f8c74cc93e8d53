//! The pages of `docs`, which form a book, and the other pages of the repository: their links, and the
//! pictures that `anneal show` draws from the text next to them.

use crate::{anneal, docs, program};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    docs().parent().unwrap().canonicalize().unwrap()
}

/// All Markdown files under `folder`.
fn markdown(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(markdown(&path)),
            false if path.extension().is_some_and(|extension| extension == "md") => {
                found.push(path)
            }
            false => {}
        }
    }
    found.sort();
    found
}

/// A page without its code blocks.
fn prose(text: &str) -> String {
    let mut inside = false;
    let kept = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    kept.collect::<Vec<_>>().join("\n")
}

/// The targets of a page's links and pictures, except web addresses.
fn targets(text: &str) -> Vec<String> {
    let prose = prose(text);
    let links = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    links.filter(|link| !link.contains("://")).map(str::to_string).collect()
}

/// The anchors of a page's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text);
    let headings = headings.lines().filter(|line| line.starts_with('#'));
    headings.map(|heading| anchor(heading.trim_start_matches('#').trim())).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase()
}

#[test]
fn every_link_leads_somewhere() {
    let root = repository();
    let mut pages = markdown(&root.join("docs"));
    pages.extend(["README.md", "CONTRIBUTING.md"].map(|page| root.join(page)));
    let crates = fs::read_dir(root.join("crates")).unwrap();
    pages
        .extend(crates.map(|entry| entry.unwrap().path().join("README.md")).filter(|p| p.exists()));
    let mut broken = vec![];
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let name = page.strip_prefix(&root).unwrap().display();
        for target in targets(&text) {
            let (file, fragment) = target.split_once('#').unwrap_or((&target, ""));
            let path =
                if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let Ok(path) = path.canonicalize() else {
                broken.push(format!("{name}: {target}: no such file"));
                continue;
            };
            if page.starts_with(root.join("docs")) && !path.starts_with(root.join("docs")) {
                broken.push(format!("{name}: {target}: not in the book"));
            }
            let is_page = path.extension().is_some_and(|extension| extension == "md");
            if is_page && !fragment.is_empty() {
                let there = fs::read_to_string(&path).unwrap();
                if !anchors(&there).contains(fragment) {
                    broken.push(format!("{name}: {target}: no such heading"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_book_has_every_page() {
    let summary = fs::read_to_string(docs().join("SUMMARY.md")).unwrap();
    let listed: BTreeSet<PathBuf> =
        targets(&summary).iter().map(|page| docs().join(page).canonicalize().unwrap()).collect();
    let folders = [docs(), docs().join("recipes")];
    let pages = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let pages = pages.map(|entry| entry.unwrap().path().canonicalize().unwrap());
    let pages = pages.filter(|page| page.extension().is_some_and(|extension| extension == "md"));
    let missing: Vec<PathBuf> =
        pages.filter(|page| !page.ends_with("SUMMARY.md") && !listed.contains(page)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// `tests/support/lib.rs` lists the pages whose Rust code is compiled.
#[test]
fn the_rust_of_every_page_is_compiled() {
    let compiled = fs::read_to_string(repository().join("tests/support/lib.rs")).unwrap();
    for page in markdown(&docs()) {
        let text = fs::read_to_string(&page).unwrap();
        let path = page.strip_prefix(docs()).unwrap().display().to_string();
        assert!(!text.contains("```rust") || compiled.contains(&path), "{path}");
    }
}

#[test]
fn every_curve_has_its_picture() {
    let page = fs::read_to_string(docs().join("curves.md")).unwrap();
    let list: serde_json::Value =
        serde_json::from_str(&anneal(["list", "--format", "json"]).fine()).unwrap();
    for entry in list.as_array().unwrap() {
        let (name, example) = (entry["name"].as_str().unwrap(), entry["example"].as_str().unwrap());
        let (drawn, shown) =
            (format!("anneal show '{example}' "), format!("(pictures/{name}.svg)"));
        assert!(page.contains(&drawn) && page.contains(&shown), "{name}: {example}");
    }
}

/// The commands `anneal show … --out FILE` of a page, each as its arguments.
fn drawings(text: &str) -> Vec<Vec<String>> {
    // A command may go on in the next line.
    let text = text.replace("\\\n", " ");
    let commands =
        text.lines().filter(|line| line.starts_with("anneal show ") && line.contains(" --out "));
    commands.map(|line| words(line.trim_start_matches("anneal "))).collect()
}

/// Splits a command line with quotes into words.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![];
    for (i, part) in line.split('\'').enumerate() {
        match i % 2 {
            1 => words.push(part.to_string()),
            _ => words.extend(part.split_whitespace().map(str::to_string)),
        }
    }
    words
}

/// `UPDATE_PICTURES=1 cargo test -p anneal-cli --test program pictures` redraws them.
#[test]
fn pictures_are_of_the_text_beside_them() {
    let update = std::env::var_os("UPDATE_PICTURES").is_some();
    let mut pages = markdown(&docs());
    pages.push(repository().join("README.md"));
    let mut drawn = 0;
    for page in pages {
        for mut arguments in drawings(&fs::read_to_string(&page).unwrap()) {
            let place = arguments.iter().position(|argument| argument == "--out").unwrap() + 1;
            let picture = repository().join(&arguments[place]);
            let folder = tempfile::tempdir().unwrap();
            let fresh = folder.path().join("picture.svg");
            arguments[place] = fresh.display().to_string();
            let output = program().current_dir(repository()).args(&arguments).output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {output:?}");
            let fresh = fs::read_to_string(&fresh).unwrap();
            if update {
                fs::create_dir_all(picture.parent().unwrap()).unwrap();
                fs::write(&picture, &fresh).unwrap();
            }
            assert!(fs::read_to_string(&picture).is_ok_and(|kept| kept == fresh), "{picture:?}");
            drawn += 1;
        }
    }
    assert!(drawn > 0);
}

/// Runs the commands `anneal translate` of the pages' console blocks; the files are those that `cat` shows.
#[cfg(unix)]
#[test]
fn translations_print_what_the_pages_say() {
    let mut tried = 0;
    for page in ["coming_from.md", "program.md"] {
        let folder = tempfile::tempdir().unwrap();
        let text = fs::read_to_string(docs().join(page)).unwrap();
        let blocks =
            text.split("```console\n").skip(1).filter_map(|rest| rest.split("\n```").next());
        for block in blocks.filter(|block| block.contains("$ anneal translate ")) {
            for command in block.split("$ ").skip(1) {
                let lines = command.split_inclusive('\n');
                let continued = lines.clone().take_while(|line| line.ends_with("\\\n")).count();
                let length = lines.take(continued + 1).map(str::len).sum();
                let (command, expected) = command.split_at(length);
                if let Some(file) = command.strip_prefix("cat ") {
                    fs::write(folder.path().join(file.trim()), expected).unwrap();
                    continue;
                }
                let path = Path::new(env!("CARGO_BIN_EXE_anneal")).parent().unwrap();
                let mut shell = std::process::Command::new("sh");
                shell.args(["-c", command]).current_dir(folder.path());
                let ran =
                    crate::ran(shell.env("PATH", format!("{}:/usr/bin:/bin", path.display())));
                let printed = format!("{}{}", ran.stderr, ran.stdout);
                assert_eq!(printed.trim_end(), expected.trim_end(), "{page}: {command}");
                tried += 1;
            }
        }
    }
    assert!(tried > 12, "{tried}");
}

/// Runs the commands `anneal analyze` of the pages; `…` stands for lines that are left out.
#[cfg(unix)]
#[test]
fn analyses_print_what_the_pages_say() {
    let mut tried = 0;
    for page in ["program.md", "theory.md"] {
        let text = fs::read_to_string(docs().join(page)).unwrap();
        for block in text.split("```console\n$ anneal analyze ").skip(1) {
            let shown = block.split("\n```").next().unwrap();
            let (arguments, expected) = shown.split_once('\n').unwrap();
            let path = Path::new(env!("CARGO_BIN_EXE_anneal")).parent().unwrap();
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", &format!("anneal analyze {arguments}")]);
            shell.env("PATH", format!("{}:/usr/bin:/bin", path.display()));
            let printed = crate::ran(&mut shell).fine();
            let mut lines = printed.lines();
            for line in expected.lines().filter(|line| *line != "…") {
                assert!(lines.any(|found| found == line), "{page}: {arguments}: {line}");
            }
            tried += 1;
        }
    }
    assert!(tried >= 2, "{tried}");
}

/// The last column of `theory.md`.
#[test]
fn the_tests_that_the_theory_names_exist() {
    let mut sources = String::new();
    let mut folders = vec![repository().join("crates/anneal-plan/src/theory")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => sources += &fs::read_to_string(path).unwrap(),
            }
        }
    }
    let page = fs::read_to_string(docs().join("theory.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let mut named = 0;
    for tests in rows.map(|row| row.trim_end_matches(" |").rsplit("| ").next().unwrap()) {
        for test in tests.split('`').skip(1).step_by(2) {
            assert!(sources.contains(&format!("fn {test}()")), "{test}");
            named += 1;
        }
    }
    assert!(named > 25, "{named}");
}
