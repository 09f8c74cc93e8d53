//! Names of curves and fields in other libraries, and messages for unknown names.

use crate::catalogue::catalogue;
use crate::suggest;

/// Names of curves elsewhere, in lower case without underscores, and what to write here.
const CURVES: &[(&str, &str)] = &[
    ("cosineannealing", "cosine"),
    ("cosineannealinglr", "cosine"),
    ("cosinedecay", "cosine"),
    ("cosinedecayschedule", "cosine"),
    ("cosinelr", "cosine"),
    ("cosinelrscheduler", "cosine"),
    ("cosinewithminlr", "cosine(0.1).end(1e-5)"),
    ("cosinewithwarmup", "cosine(0.1).warmup(5%)"),
    ("warmupcosine", "cosine(0.1).warmup(5%)"),
    ("warmupcosinedecayschedule", "cosine(0.1).warmup(5%)"),
    ("cosineannealingwarmrestarts", "warm_restarts"),
    ("cosinedecayrestarts", "warm_restarts"),
    ("cosinewithrestarts", "warm_restarts"),
    ("sgdr", "warm_restarts"),
    ("sgdrschedule", "warm_restarts"),
    ("step", "step_decay"),
    ("steplr", "step_decay"),
    ("multistep", "multi_step"),
    ("multisteplr", "multi_step"),
    ("exp", "exponential"),
    ("exponentiallr", "exponential"),
    ("exponentialdecay", "exponential"),
    ("poly", "polynomial"),
    ("polynomiallr", "polynomial"),
    ("polynomialdecay", "polynomial"),
    ("polynomialschedule", "polynomial"),
    ("linearlr", "linear"),
    ("lineardecay", "linear"),
    ("linearschedule", "linear"),
    ("linearwithwarmup", "linear(0.1, 0.0).warmup(5%)"),
    ("constantlr", "constant"),
    ("constantschedule", "constant"),
    ("constantwithwarmup", "constant(0.1).warmup(5%)"),
    ("onecyclelr", "one_cycle"),
    ("onecycle", "one_cycle"),
    ("fitonecycle", "one_cycle"),
    ("cosineonecycleschedule", "one_cycle"),
    ("cycliclr", "cyclic"),
    ("triangular", "cyclic"),
    ("inversesquareroot", "inverse_sqrt"),
    ("rsqrt", "inverse_sqrt"),
    ("inversetimedecay", "inverse_time"),
    ("piecewiseconstantdecay", "piecewise_constant"),
    ("piecewiseconstantschedule", "piecewise_constant"),
    ("transformer", "noam"),
    ("tanhlr", "tanh"),
    ("wsd", "warmup_stable_decay"),
    ("wsdlr", "warmup_stable_decay"),
    ("chained", "product"),
    ("chainedscheduler", "product"),
    ("sequential", "sequence"),
    ("sequentiallr", "sequence"),
    ("joinschedules", "sequence"),
];

/// Names of fields and calls elsewhere, in the same spelling, and their possible meanings here.
const FIELDS: &[(&str, &[&str])] = &[
    ("etamin", &["end"]),
    ("minlr", &["end", "base", "floor"]),
    ("lrmin", &["end", "base", "floor"]),
    ("lrend", &["end"]),
    ("finallr", &["end"]),
    ("endlr", &["end"]),
    ("endvalue", &["end"]),
    ("endlearningrate", &["end"]),
    ("lr", &["peak", "rate", "start"]),
    ("maxlr", &["peak", "cap"]),
    ("baselr", &["peak", "base", "rate", "start"]),
    ("initiallr", &["peak", "rate", "start"]),
    ("initvalue", &["peak", "rate", "start"]),
    ("peakvalue", &["peak"]),
    ("learningrate", &["peak", "rate", "start"]),
    ("initiallearningrate", &["peak", "rate", "start"]),
    ("tmax", &["length"]),
    ("tinitial", &["length", "cycle"]),
    ("totalsteps", &["length"]),
    ("totaliters", &["length"]),
    ("numtrainingsteps", &["length"]),
    ("decaysteps", &["length", "every", "decay"]),
    ("transitionsteps", &["length"]),
    ("epochs", &["length"]),
    ("steps", &["length"]),
    ("t0", &["cycle"]),
    ("tmult", &["multiplier"]),
    ("tmul", &["multiplier"]),
    ("cyclemul", &["multiplier"]),
    ("cycledecay", &["peak_decay"]),
    ("mmul", &["peak_decay"]),
    ("cyclelimit", &["limit"]),
    ("numcycles", &["cycles", "limit"]),
    ("gamma", &["gamma", "decay"]),
    ("stepsize", &["every"]),
    ("decayt", &["every", "decay"]),
    ("decayepochs", &["every", "decay"]),
    ("numdecaysteps", &["decay"]),
    ("decayrate", &["gamma", "decay"]),
    ("decaymilestones", &["milestones"]),
    ("factor", &["gamma", "decay"]),
    ("stepsizeup", &["up"]),
    ("stepsizedown", &["down"]),
    ("mode", &["scaling"]),
    ("annealstrategy", &["anneal"]),
    ("kdecay", &["k"]),
    ("decayfn", &["shape"]),
    ("decaytype", &["shape"]),
    ("warmupt", &["warmup"]),
    ("warmupsteps", &["warmup"]),
    ("warmupepochs", &["warmup"]),
    ("warmupiters", &["warmup"]),
    ("warmupratio", &["warmup"]),
    ("warmupfraction", &["warmup"]),
    ("numwarmupsteps", &["warmup"]),
    ("linearwarmup", &["warmup"]),
    ("warmuptype", &["ramp"]),
    ("warmuplrinit", &["start"]),
    ("warmuplr", &["start"]),
    ("warmupminlr", &["start"]),
    ("startatzero", &["include_start"]),
    ("multiply", &["scale", "times"]),
    ("mul", &["scale", "times"]),
    ("add", &["plus"]),
    ("chain", &["then"]),
    ("followedby", &["then"]),
    ("min", &["floor"]),
    ("max", &["cap"]),
    ("clip", &["cap"]),
    ("clamp", &["cap"]),
    ("shift", &["delay"]),
    ("truncated", &["truncate"]),
    ("restart", &["repeat_every"]),
    ("cycle", &["repeat_every"]),
];

/// Names elsewhere whose value is stated differently here: the name, the field here, and how to convert it.
const OTHER_VALUES: &[(&str, &str, &str)] = &[
    (
        "divfactor",
        "start",
        "write the rate itself, peak / div_factor, as `start`, or a share such as 4%",
    ),
    ("finaldivfactor", "end", "write the rate itself, start / final_div_factor, as `end`"),
    ("alpha", "end", "write a share of the peak, such as 10% for 0.1, as `end`"),
    ("minlrratio", "end", "write a share of the peak, such as 10% for 0.1, as `end`"),
    ("minlrrate", "end", "write a share of the peak, such as 10% for 0.1, as `end`"),
    (
        "startfactor",
        "start",
        "write a share of the peak, such as 10% for 0.1, as `start` of a warm-up",
    ),
];

/// A name in the spelling of the tables.
fn plain(name: &str) -> String {
    name.chars().filter(|c| *c != '_').collect::<String>().to_ascii_lowercase()
}

/// The keys of a file that hold a schedule.
pub(crate) fn tables() -> Vec<&'static str> {
    let mut tables: Vec<&str> = catalogue().iter().map(|entry| entry.table).collect();
    let mut seen = std::collections::HashSet::new();
    tables.retain(|table| seen.insert(*table));
    tables
}

/// The message for a curve that is not one of the `known` ones, in a text or a list.
pub(crate) fn unknown_curve(name: &str, known: &[&str]) -> String {
    let comes_later = |entry: &&crate::Entry| entry.name == name && !known.contains(&entry.name);
    match (elsewhere(name), catalogue().iter().find(comes_later)) {
        (Some(here), _) => format!("unknown curve `{name}`; {here}"),
        (None, Some(_)) => format!("`{name}` comes after a curve, as in cosine(0.1).{name}(…)"),
        (None, None) => not_known(name, known),
    }
}

/// The message for an unknown table of a schedule, in a file.
pub(crate) fn unknown_table(name: &str) -> String {
    let tables = tables();
    match (elsewhere(name), catalogue().iter().find(|entry| entry.name == name)) {
        (Some(here), _) => format!("unknown curve `{name}`; {here}"),
        (None, Some(entry)) => {
            format!("`{name}` cannot be a table; write it as a text, such as \"{}\"", entry.example)
        }
        (None, None) => not_known(name, &tables),
    }
}

fn not_known(name: &str, known: &[&str]) -> String {
    let near = suggest::nearest(name, known.iter().copied());
    format!("unknown curve `{name}`{near}; known: {}", known.join(", "))
}

/// What to write instead of another library's name.
fn elsewhere(name: &str) -> Option<String> {
    let plain = plain(name);
    if matches!(plain.as_str(), "plateau" | "reducelronplateau") {
        return Some(
            "it reacts to training, which a schedule cannot do: add a controller such as Plateau"
                .into(),
        );
    }
    let (_, here) = CURVES.iter().find(|(peer, _)| *peer == plain)?;
    // Entries without a table of their own are shown as a text.
    let entry = catalogue().iter().find(|entry| entry.name == *here);
    Some(match entry.filter(|entry| entry.name != entry.table) {
        Some(entry) => format!("write {}, such as \"{}\", here", entry.name, entry.example),
        None => format!("write {here} here"),
    })
}

/// `; eta_min is called end here`, or the nearest of the `known` names.
pub(crate) fn near_field(name: &str, known: &[&str]) -> String {
    let other = |(peer, here, _): &&(&str, &str, _)| *peer == plain(name) && known.contains(here);
    if let Some((_, _, how)) = OTHER_VALUES.iter().find(other) {
        return format!("; {how}");
    }
    let elsewhere = FIELDS.iter().find(|(peer, _)| *peer == plain(name));
    let here = elsewhere.and_then(|(_, here)| here.iter().find(|here| known.contains(here)));
    match here {
        Some(here) if *here != name => format!("; `{name}` is called `{here}` here"),
        _ => suggest::nearest(name, known.iter().copied()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::calls;

    #[test]
    fn what_the_tables_point_to_is_there() {
        for (peer, here) in CURVES {
            assert_eq!(*peer, plain(peer));
            let name = here.split('(').next().unwrap();
            assert!(catalogue().iter().any(|entry| entry.name == name), "{peer}: {here}");
        }
        for (peer, here) in FIELDS {
            assert_eq!(*peer, plain(peer));
            for here in *here {
                let field = |entry: &crate::Entry| entry.arguments.iter().any(|a| a.name == *here);
                let known = calls().any(|call| call == *here) || catalogue().iter().any(field);
                assert!(known, "{peer}: {here}");
            }
        }
    }
}
