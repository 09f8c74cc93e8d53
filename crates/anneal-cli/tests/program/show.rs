//! `anneal show`

use crate::{anneal, docs, program, ran};

#[test]
fn a_chart_stands_above_a_table_of_key_figures() {
    let shown = anneal(["show", "linear(1.0, 0.0).warmup(1)", "--steps", "5"]).fine();
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].contains("1 ┤") && shown.contains("update"), "{shown}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{shown}");
    assert!(!shown.contains('\x1b'), "{shown}");
    // ½, 1, ¾, ½, ¼: first, peak, its update, last, mean, updates.
    let figures: Vec<&str> = lines[lines.len() - 1].split_whitespace().collect();
    assert_eq!(figures[..7], ["a", "0.5", "1", "1", "0.25", "0.6", "5"], "{shown}");
    assert!(figures[7].starts_with("v1-") && figures[7].len() == 19, "{shown}");
}

#[test]
fn several_schedules_share_a_chart() {
    let gpt = docs().join("schedules/nanogpt.toml");
    let shown =
        anneal(["show", gpt.to_str().unwrap(), "constant(1e-5)", "--steps", "93750"]).fine();
    let table: Vec<&str> = shown.lines().rev().take(2).collect();
    assert!(table[0].starts_with("b  ") && table[1].starts_with("a  "), "{shown}");
    assert!(shown.contains("b  constant(1e-5)"), "{shown}");
    assert!(shown.lines().take(16).any(|line| line.contains('b')), "{shown}");
}

#[test]
fn epochs_are_a_length_too() {
    let epochs = anneal(["show", "cosine(1.0)", "--epochs", "4", "--steps-per-epoch", "25"]).fine();
    let updates = anneal(["show", "cosine(1.0)", "--steps", "1e2"]).fine();
    let last = |shown: &str| shown.lines().last().unwrap().to_string();
    assert_eq!(last(&epochs), last(&updates));
    // Whole epochs below the chart, and nothing else.
    let numbers = |shown: &str| -> Vec<String> {
        shown.lines().nth(17).unwrap().split_whitespace().map(str::to_string).collect()
    };
    assert_eq!(numbers(&epochs), ["0", "1", "2", "3", "epoch"], "{epochs}");
    assert_eq!(numbers(&updates), ["0", "20", "40", "60", "80", "update"], "{updates}");
}

#[test]
fn the_chart_is_as_wide_as_it_is_told() {
    let widest = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap();
    let of = |flags: &[&str], columns: &str| {
        let arguments = ["show", "constant(1.0)", "--steps", "100"];
        ran(program().args(arguments).args(flags).env("COLUMNS", columns)).fine()
    };
    assert_eq!(widest(&of(&[], "")), 80);
    assert_eq!(widest(&of(&[], "120")), 120);
    assert_eq!(widest(&of(&["--width", "100"], "120")), 100);
    for width in ["39", "401", "wide"] {
        anneal(["show", "constant(1)", "--steps", "9", "--width", width]).error(2);
    }
}

#[test]
fn rates_of_zero_have_a_place_on_a_logarithmic_axis() {
    let shown = anneal(["show", "linear(1.0, 0.0).length(5)", "--steps", "10", "--log"]).fine();
    assert!(shown.contains("1e0") && shown.contains("rates of 0"), "{shown}");
    let above = anneal(["show", "linear(1.0, 0.1)", "--steps", "10", "--log"]).fine();
    assert!(!above.contains("rates of 0"), "{above}");
}

#[test]
fn a_length_that_is_missing_names_its_flag() {
    for (schedule, length, words) in [
        ("constant(0.1)", &[] as &[&str], "without an end cannot be drawn; give --steps N"),
        ("cosine(0.1)", &[], "cosine.length: rest needs the length of the run; give --steps N"),
        ("constant(0.1).warmup(5%)", &[], "warmup.length: 5% needs"),
        (
            "step_decay(0.1, 5ep, 0.5)",
            &["--steps", "9"],
            "5ep needs the number of updates per epoch; give --epochs N",
        ),
        ("constant(0.1)", &["--steps", "0"], "run.updates: 0 is not allowed"),
        ("constant(0.1)", &["--steps", "18446744073709551615"], "1 to 2^63"),
        ("constant(0.1)", &["--epochs", "9223372036854775808", "--steps-per-epoch", "2"], "2^63"),
    ] {
        let error = anneal(["show", schedule].iter().chain(length).copied()).error(2);
        assert!(error.contains(words), "{schedule}: {error}");
    }
}

#[test]
fn a_wrong_schedule_is_exit_code_1_with_its_place() {
    for (schedule, words) in [
        ("cosine(0.1).flor(1)", "column 13: unknown call `flor`; did you mean `floor`?"),
        ("cosine(NaN)", "column 8: NaN is not allowed"),
        ("cosine(1e999)", "column 8: `1e999` is not a finite number"),
        ("cosine(-1)", "cosine.peak: -1.0 is not allowed; allowed: a finite number above 0"),
        ("constant(1.0).warmup(200)", "warmup.length: 200 is 200 updates, but only 99"),
        ("", "column 1: expected a curve"),
        ("\u{1b}[31m(", "column 1"),
    ] {
        let error = anneal(["show", schedule, "--steps", "100"]).error(1);
        assert!(error.contains(words) && !error.contains('\u{1b}'), "{schedule}: {error}");
    }
    // The caret is below the column.
    let error = anneal(["show", "cosine(0.1).flor(1)", "--steps", "9"]).error(1);
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines[1].find("flor"), lines[2].find('^'), "{error}");
}

/// Composer's lengths, and batches that grow: 10 samples an update up to sample 500, then 50.
#[test]
fn a_run_may_be_counted_in_samples_and_tokens() {
    let show = |schedule: &str, flags: &[&str]| {
        let run = ["--samples", "1000", "--batch-size", "10", "--tokens-per-sample", "4"];
        let all = ["show", schedule].into_iter().chain(run).chain(flags.iter().copied());
        anneal(all.collect::<Vec<_>>()).fine()
    };
    let grows = ["--batch-steps", "50%:50"];
    let drawn = show("constant(0.1).then(600sp, constant(0.2))", &grows);
    for part in ["samples of an update", "tokens seen", "   60  v1-"] {
        assert!(drawn.contains(part), "{drawn}");
    }
    // The second part begins at update 50 + 100 / 50, and so it does with tokens and with a share of the samples.
    let at = |flags: &[&str], length: &str| {
        let text = show(&format!("constant(0.1).then({length}, constant(0.2))"), flags);
        let row = text.lines().last().unwrap().split_whitespace().nth(3).unwrap();
        row.to_string()
    };
    assert_eq!(at(&grows, "600sp"), "52");
    assert_eq!(at(&grows, "2400tok"), "52");
    assert_eq!(at(&["--batch-steps", "50%:50", "--percent-of", "samples"], "60%"), "52");
    assert_eq!(at(&grows, "60%"), "36");
    assert!(!show("constant(0.1)", &[]).contains("samples of an update"));
}

#[test]
fn a_run_that_does_not_count_a_unit_says_which_flags_do() {
    for (arguments, message) in [
        (
            &["cosine(0.1).warmup(9sp)", "--steps", "90"][..],
            "9sp needs the samples of each update; give --batch-size B, and",
        ),
        (
            &["cosine(0.1).warmup(9tok)", "--samples", "90", "--batch-size", "2"],
            "9tok needs the tokens of each update; give --batch-size B --tokens-per-sample K, and",
        ),
        (
            &["cosine(0.1).by_samples()", "--epochs", "3", "--steps-per-epoch", "9"],
            "by_samples.schedule: cosine(0.1) needs the samples of each update; give --batch-size B, and",
        ),
        (
            &["cosine(0.1)", "--steps", "90", "--batch-size", "4", "--batch-ramp", "2:50%"],
            "--batch-ramp changes the number of updates; give the length of the run as --samples N",
        ),
        (
            &["cosine(0.1)", "--steps", "90", "--batch-size", "4", "--batch-steps", "50%:2"],
            "--batch-steps changes the number of updates",
        ),
        (&["cosine(0.1)", "--samples", "90", "--batch-size", "0"], "run.batch_size: 0"),
        (&["cosine(0.1)", "--steps", "90", "--batch-size", "0"], "run.batch_size: 0"),
        (&["cosine(0.1)", "--epochs", "3"], "--epochs needs --steps-per-epoch M, or --items N"),
        (
            &["cosine(0.1)", "--samples", "90", "--batch-size", "2", "--batch-ramp", "1"],
            "`1` has no colon",
        ),
        (
            &["cosine(0.1)", "--samples", "90", "--batch-size", "2", "--batch-ramp", "1:9dur"],
            "--batch-ramp: `9dur` is not a length",
        ),
        (&["cosine(0.1)", "--steps", "9", "--percent-of", "samples"], "percent_of_samples"),
    ] {
        let refused = anneal(["show"].into_iter().chain(arguments.iter().copied())).error(2);
        assert!(refused.contains(message), "{refused}");
    }
    let long =
        ["show", "cosine(0.1)", "--samples", "90", "--batch-size", "2", "--batch-ramp", "1:99sp"];
    let said = anneal(long).stderr;
    assert_eq!(
        said.trim(),
        "note: batch_size_ramp: the run ends before the ramp does, after 70 updates"
    );
}

#[test]
fn updates_of_a_known_batch_size_are_samples() {
    for length in [&["--steps", "90"][..], &["--epochs", "3", "--steps-per-epoch", "30"]] {
        let flags = ["--batch-size", "4", "--accumulation", "2", "--tokens-per-sample", "10"];
        for schedule in [
            "constant(0.1).then(240sp, constant(0.2))",
            "constant(0.1).then(2400tok, constant(0.2))",
        ] {
            let shown =
                anneal(["show", schedule].iter().chain(length).chain(&flags).copied()).fine();
            let row: Vec<&str> = shown.lines().last().unwrap().split_whitespace().collect();
            // The peak begins after 240 of the 8 samples an update; the run has 90.
            assert_eq!((row[3], row[6]), ("30", "90"), "{shown}");
        }
    }
}

#[test]
fn pictures_are_written_by_their_ending() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (svg, png) = (path("a.svg"), path("a.png"));
    for out in [&svg, &png] {
        let shown = anneal([
            "show",
            "step_decay(0.1, 3, 0.5)",
            "cosine(0.1)",
            "--steps",
            "9",
            "--out",
            out,
        ])
        .fine();
        assert!(shown.contains("fingerprint") && !shown.contains('┤'), "{shown}");
    }
    let text = std::fs::read_to_string(svg).unwrap();
    for word in ["<svg", "learning rate", "update", "step_decay(0.1, 3, 0.5)", "0.02"] {
        assert!(text.contains(word), "{word}");
    }
    let bytes = std::fs::read(png).unwrap();
    assert!(bytes.starts_with(b"\x89PNG\r\n") && bytes.len() > 10_000, "{}", bytes.len());
    for (out, words) in [(path("a.gif"), ".svg or .png"), (path("no/a.svg"), "No such file")] {
        let error = anneal(["show", "constant(1)", "--steps", "9", "--out", &out]).error(2);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_picture_has_the_size_and_the_title_that_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("a.svg");
    let out = out.to_str().unwrap();
    let show = ["show", "step_decay(0.1, 2ep, 0.5)", "--epochs", "6", "--steps-per-epoch", "300"];
    let asked = ["--out", out, "--size", "480x180", "--title", "Costs $5"];
    anneal(show.iter().chain(&asked).copied()).fine();
    let svg = std::fs::read_to_string(out).unwrap();
    for word in ["width=\"480\"", "height=\"180\"", "Costs $5", ">epoch<", ">5<"] {
        assert!(svg.contains(word), "{word}: {svg}");
    }
    assert!(!svg.contains(">update<") && !svg.contains(">300<"), "{svg}");
    for size in ["480", "480x", "480x99", "4001x300", "-480x180"] {
        let size = format!("--size={size}");
        let error = anneal(show.iter().chain(&["--out", out, &size]).copied()).error(2);
        assert!(error.contains("such as 480x180"), "{error}");
    }
    let nowhere = anneal(show.iter().chain(&["--size", "480x180"]).copied()).error(2);
    assert!(nowhere.contains("--out"), "{nowhere}");
}

/// A disk that is full above a kilobyte, and a device that is always full.
#[cfg(unix)]
#[test]
fn a_picture_is_written_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("a.svg");
    std::fs::write(&picture, "the old one").unwrap();
    let full = "trap '' XFSZ; ulimit -f 1; exec \"$0\" show 'cosine(0.1)' --steps 1000 --out a.svg";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", full, env!("CARGO_BIN_EXE_anneal")]).current_dir(folder.path());
    let error = ran(&mut command).error(2);
    assert!(error.starts_with("error: a.svg: cannot be written: "), "{error}");
    assert_eq!(std::fs::read_to_string(&picture).unwrap(), "the old one");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

    let link = folder.path().join("device.svg");
    std::os::unix::fs::symlink("/dev/full", &link).unwrap();
    let out = link.to_str().unwrap();
    let error = anneal(["show", "constant(1)", "--steps", "9", "--out", out]).error(2);
    assert!(
        error.contains("device.svg: cannot be written: ") && error.contains("space"),
        "{error}"
    );
    // Through a link to a file, which stays a link.
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&picture, &link).unwrap();
    anneal(["show", "constant(1)", "--steps", "9", "--out", out]).fine();
    assert!(link.is_symlink() && std::fs::read_to_string(&picture).unwrap().ends_with("</svg>"));
}

/// Twelve long labels, each in its own row: the picture grows with them.
#[test]
fn a_legend_of_any_length_fits_into_the_picture() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("a.svg");
    let schedules: Vec<String> =
        (1..=12).map(|i| format!("cosine(0.{i}).floor(0.01).warmup(10%).ramp(cosine)")).collect();
    let mut arguments = vec!["show", "--steps", "100", "--out", out.to_str().unwrap()];
    arguments.extend(schedules.iter().map(String::as_str));
    anneal(arguments).fine();
    let svg = std::fs::read_to_string(out).unwrap();
    let number = |text: &str| -> f64 { text.split('"').next().unwrap().parse().unwrap() };
    let height = number(svg.split("height=\"").nth(1).unwrap());
    for schedule in &schedules {
        let (before, _) = svg.split_once(schedule.as_str()).expect("a label in the legend");
        let y = number(before.rsplit(" y=\"").next().unwrap());
        assert!(y < height, "{schedule} at {y} of {height}");
    }
    // The eighth has the color of the first, and dashes.
    assert!(svg.contains("stroke-dasharray=\"8 4\""), "lines of one color differ");
}

#[test]
fn any_rates_and_lengths_can_be_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (svg, png) = (path("a.svg"), path("a.png"));
    for schedule in ["constant(1.7e308)", "constant(5e-324)", "linear(1e300, 0.0)"] {
        for steps in ["1", "1001", "9223372036854775808"] {
            for more in [&["--log"] as &[&str], &[], &["--out", &png], &["--log", "--out", &svg]] {
                let arguments = ["show", schedule, "--steps", steps];
                let shown = anneal(arguments.iter().chain(more).copied()).fine();
                assert!(!shown.contains("NaN") && !shown.contains("inf"), "{shown}");
            }
            let text = std::fs::read_to_string(&svg).unwrap();
            assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        }
    }
}

#[test]
fn a_short_run_of_a_long_recipe_may_be_shown() {
    let recipe = "step_decay(0.1, 30ep, 0.1).warmup(5ep)";
    let run = ["--epochs", "1", "--steps-per-epoch", "782"];
    let error = anneal(["show", recipe].into_iter().chain(run)).error(1);
    assert!(error.contains("--truncate"), "{error}");
    let shown = anneal(["show", recipe, "--truncate"].into_iter().chain(run)).fine();
    assert!(
        shown.ends_with("a: the run ends after 782 of 27,370 updates of the schedule\n"),
        "{shown}"
    );
    let whole =
        anneal(["show", recipe, "--truncate", "--epochs", "90", "--steps-per-epoch", "782"]);
    assert!(!whole.fine().contains("the run ends"));
}
