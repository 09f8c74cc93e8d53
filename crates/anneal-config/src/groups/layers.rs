//! Which layer a parameter belongs to.

use super::pattern::{at_start, no_match};
use super::{GroupError, Parameter};
use anneal_schedule::OutOfRange;
use regex::Regex;
use serde::de::{MapAccess, SeqAccess, Unexpected, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// Assigns each parameter to a layer 0, 1, …, L: layer 0 next to the input, L the head.
///
/// | made by | layers |
/// | --- | --- |
/// | [`from_tree`](Self::from_tree) | the children of the module; if a child holds a list, its children and each element of the list; norms join the layer before |
/// | [`from_patterns`](Self::from_patterns) | regular expressions with captured numbers, as in timm's `group_matcher` |
/// | [`from_timm`](Self::from_timm) | timm's `group_matcher` as JSON |
/// | [`from_fn`](Self::from_fn) | the numbers that a closure returns |
///
/// ```
/// use anneal_config::{LayerMap, Parameter};
/// let parameters = ["stem.weight", "blocks.0.weight", "blocks.1.weight", "head.weight"]
///     .map(|path| Parameter::new(path, [4, 4]));
/// let layers = LayerMap::from_patterns([("stem", "^stem"), ("blocks", r"^blocks\.(\d+)")])
///     .layers(&parameters)?;
/// assert_eq!(layers.names, ["stem", "blocks.0", "blocks.1", "top"]);
/// assert_eq!(layers.of, [0, 1, 2, 3]);
/// # Ok::<(), anneal_config::GroupError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct LayerMap(Rule);

#[derive(Clone, Default)]
enum Rule {
    #[default]
    Tree,
    Patterns(Vec<LayerPattern>),
    Closure(Arc<dyn Fn(&Parameter) -> usize + Send + Sync>),
}

/// The layers of a list of parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layers {
    /// The layer of each parameter.
    pub of: Vec<usize>,
    /// The name of each layer, from the input to the head.
    pub names: Vec<String>,
    /// The modules that are no layer of the tree, each with the layer that it joins: a final norm and the last block.
    pub joined: Vec<(String, String)>,
    /// The parameters, by their places in the list, that no pattern matches.
    pub unmatched: Vec<usize>,
}

impl Layers {
    /// The parameters that no pattern matches and that are not the head: all but those that end the list.
    ///
    /// timm's patterns leave the head out, and a model declares its head last.
    ///
    /// ```
    /// use anneal_config::{LayerMap, Parameter};
    /// let parameters = ["reg_token", "blocks.0.weight", "blocks.1.weight", "head.weight", "head.bias"]
    ///     .map(|path| Parameter::new(path, [4, 4]));
    /// let layers = LayerMap::from_patterns([("blocks", r"^blocks\.(\d+)")]).layers(&parameters)?;
    /// assert_eq!(layers.unmatched, [0, 3, 4]);
    /// assert_eq!(layers.stray(), [0]);
    /// # Ok::<(), anneal_config::GroupError>(())
    /// ```
    pub fn stray(&self) -> &[usize] {
        let from_the_end = self.unmatched.iter().rev().zip((0..self.of.len()).rev());
        let head = from_the_end.take_while(|(unmatched, last)| *unmatched == last).count();
        &self.unmatched[..self.unmatched.len() - head]
    }
}

/// A pattern of a [`LayerMap`], as in timm.
///
/// The regular expression must match at the start of the path, in each of its alternatives. A
/// parameter belongs to the first pattern that matches it, under the key
/// \[number of the pattern's name, captured numbers…, suffix…\]. The distinct keys, sorted as lists
/// of numbers, are the layers; parameters that no pattern matches are the last layer, named `top`. That is the head, if
/// the module declares it last; any other such parameter gives a warning: see [`Layers::stray`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[must_use]
pub struct LayerPattern {
    /// The name; patterns with the same name share the number of the first.
    pub name: String,
    /// The regular expression; its groups capture numbers.
    pub pattern: String,
    /// Numbers after the captured ones. A last number of 99999 joins the previous layer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suffix: Vec<f64>,
    /// Whether it may match nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// timm's marker of a key whose parameters join the previous layer.
const JOINS_PREVIOUS: f64 = 99999.0;

impl LayerPattern {
    /// A pattern that must match.
    pub fn new(name: impl Into<String>, pattern: impl Into<String>) -> Self {
        Self { name: name.into(), pattern: pattern.into(), suffix: vec![], optional: false }
    }

    /// Its parameters join the previous layer, as the last norm of a transformer joins the last block.
    pub fn joins_previous(mut self) -> Self {
        self.suffix = vec![JOINS_PREVIOUS];
        self
    }
}

impl<N: Into<String>, P: Into<String>> From<(N, P)> for LayerPattern {
    fn from((name, pattern): (N, P)) -> Self {
        Self::new(name, pattern)
    }
}

impl LayerMap {
    /// Layers from the tree of the module, in the order of its fields: each child of the top level is
    /// a layer. If a child holds a list of modules at any depth, for example a `Vec` of blocks, each element
    /// of the list is a layer, and so is each module next to the list. A module that wraps all others is
    /// opened too.
    ///
    /// A norm is no layer of its own: it joins the layer before it, as in timm, where the final norm of a transformer
    /// is in the last block. So does whatever stands between the last list and the last layer and has one dimension at
    /// most, for example a norm of your own. An element of a list is always a layer.
    ///
    /// Use patterns if the fields are not declared in the order in which they compute.
    pub fn from_tree() -> Self {
        Self(Rule::Tree)
    }

    /// Layers from patterns in order; see [`LayerPattern`].
    pub fn from_patterns<P: Into<LayerPattern>>(patterns: impl IntoIterator<Item = P>) -> Self {
        Self(Rule::Patterns(patterns.into_iter().map(Into::into).collect()))
    }

    /// Layers from a timm model's `group_matcher` as JSON: each name has one pattern, a list of
    /// \[pattern, suffix or null\], or null. Patterns may match nothing.
    ///
    /// ```
    /// use anneal_config::LayerMap;
    /// LayerMap::from_timm(r#"{"stem": "^conv1|bn1", "blocks": [["^layer(\\d+)", null], ["^norm", [99999]]]}"#)?;
    /// # Ok::<(), anneal_config::GroupError>(())
    /// ```
    pub fn from_timm(matcher: &str) -> Result<Self, GroupError> {
        let TimmMatcher(patterns) = serde_json::from_str(matcher).map_err(|error| {
            let allowed = "a JSON object of patterns or lists of [pattern, suffix]";
            GroupError::OutOfRange(OutOfRange::new("group_matcher", error, allowed))
        })?;
        Ok(Self(Rule::Patterns(patterns)))
    }

    /// Layers from a closure that gives each parameter a number; the distinct numbers, in order, are the
    /// layers. It cannot be written to a file.
    pub fn from_fn(layer: impl Fn(&Parameter) -> usize + Send + Sync + 'static) -> Self {
        Self(Rule::Closure(Arc::new(layer)))
    }

    /// Its patterns; none if layers are found in another way.
    pub fn patterns(&self) -> &[LayerPattern] {
        match &self.0 {
            Rule::Patterns(patterns) => patterns,
            Rule::Tree | Rule::Closure(_) => &[],
        }
    }

    /// Checks its patterns.
    ///
    /// # Errors
    /// [`GroupError::Pattern`] if one is not a valid regular expression.
    pub fn check(&self) -> Result<(), GroupError> {
        self.patterns().iter().try_for_each(|pattern| {
            let field = format!("layers.{}", pattern.name);
            if let Some(number) = pattern.suffix.iter().find(|number| number.is_nan()) {
                let field = format!("{field}.suffix");
                return Err(GroupError::out_of_range(&field, *number, "numbers, but not NaN"));
            }
            at_start(&field, &pattern.pattern).map(drop)
        })
    }

    /// The layer of each parameter.
    ///
    /// # Errors
    /// [`GroupError`] if a pattern is not a valid regular expression or matches nothing, or a captured text
    /// is not a number.
    pub fn layers(&self, parameters: &[Parameter]) -> Result<Layers, GroupError> {
        match &self.0 {
            Rule::Tree => Ok(by_tree(parameters)),
            Rule::Patterns(patterns) => {
                self.check()?;
                by_patterns(patterns, parameters)
            }
            Rule::Closure(layer) => {
                let numbers: Vec<usize> = parameters.iter().map(|p| layer(p)).collect();
                let mut distinct = numbers.clone();
                distinct.sort_unstable();
                distinct.dedup();
                let position = |number| distinct.partition_point(|other| other < number);
                Ok(Layers {
                    of: numbers.iter().map(position).collect(),
                    names: distinct.iter().map(|number| format!("layer {number}")).collect(),
                    ..Layers::default()
                })
            }
        }
    }
}

/// Layers in the order of their first parameters.
fn by_tree(parameters: &[Parameter]) -> Layers {
    // A module that holds a list at any depth is not a layer, but its children are.
    let opened: HashSet<Vec<&str>> = parameters
        .iter()
        .filter_map(|parameter| {
            let first = *parameter.lists.first()?;
            let path: Vec<&str> = parameter.path.split('.').take(first).collect();
            Some((1..=path.len()).map(move |length| path[..length].to_vec()))
        })
        .flatten()
        .collect();
    let wrappers = wrappers(parameters);
    let is_layer = |path: &[&str]| path.len() > wrappers && !opened.contains(path);
    let (mut modules, mut known, mut of): (Vec<Child>, _, _) = (vec![], HashMap::new(), vec![]);
    for parameter in parameters {
        let path: Vec<&str> = parameter.path.split('.').collect();
        let length = (1..path.len()).find(|&length| is_layer(&path[..length]));
        let length = length.unwrap_or(path.len());
        let module = *known.entry(path[..length].join(".")).or_insert_with_key(|name| {
            let is_element = parameter.lists.contains(&(length - 1));
            modules.push(Child { name: name.clone(), is_element, is_norm: true, is_small: true });
            modules.len() - 1
        });
        modules[module].is_norm &= parameter.norm;
        modules[module].is_small &= parameter.rank() <= 1;
        of.push(module);
    }
    let mut layers = Layers::default();
    let mut layer_of = vec![];
    for (number, module) in modules.iter().enumerate() {
        let after_a_list = modules[..number].iter().any(|module| module.is_element);
        let before_the_last = number + 1 < modules.len();
        let is_light = module.is_norm || (module.is_small && after_a_list && before_the_last);
        match layers.names.last() {
            Some(layer) if is_light && !module.is_element => {
                layers.joined.push((module.name.clone(), layer.clone()));
            }
            _ => layers.names.push(module.name.clone()),
        }
        layer_of.push(layers.names.len() - 1);
    }
    layers.of = of.into_iter().map(|module: usize| layer_of[module]).collect();
    layers
}

/// A module of the tree, or a parameter outside of any, that may be a layer.
struct Child {
    name: String,
    /// Whether it is an element of a list.
    is_element: bool,
    /// Whether it has only parameters of norms.
    is_norm: bool,
    /// Whether it has only parameters of one dimension at most.
    is_small: bool,
}

/// How many modules wrap all others, each with nothing else in it.
fn wrappers(parameters: &[Parameter]) -> usize {
    let paths: Vec<Vec<&str>> = parameters.iter().map(|p| p.path.split('.').collect()).collect();
    let Some(first) = paths.first() else { return 0 };
    let wraps = |length: &usize| {
        paths.iter().all(|path| path.get(*length) == first.get(*length))
            // The last module has parameters, and is a layer.
            && paths.iter().any(|path| path.len() > length + 2)
    };
    (0..first.len()).take_while(wraps).count()
}

struct Compiled<'a> {
    regex: Regex,
    number: f64,
    pattern: &'a LayerPattern,
    field: String,
}

fn by_patterns(patterns: &[LayerPattern], parameters: &[Parameter]) -> Result<Layers, GroupError> {
    let mut names: Vec<&str> = vec![];
    let mut compiled = vec![];
    for pattern in patterns {
        let field = format!("layers.{}", pattern.name);
        let number = names.iter().position(|name| *name == pattern.name).unwrap_or_else(|| {
            names.push(&pattern.name);
            names.len() - 1
        });
        let regex = at_start(&field, &pattern.pattern)?;
        if !pattern.optional && !parameters.iter().any(|p| regex.is_match(&p.path)) {
            return Err(no_match(&field, &pattern.pattern, parameters));
        }
        compiled.push(Compiled { regex, number: number as f64, pattern, field });
    }
    let keys =
        parameters.iter().map(|p| key(&compiled, p)).collect::<Result<Vec<_>, GroupError>>()?;
    let is_unmatched = |&parameter: &usize| keys[parameter].0 == UNMATCHED;
    let unmatched = (0..keys.len()).filter(is_unmatched).collect();
    Ok(Layers { unmatched, ..sorted(&keys) })
}

/// The key of what no pattern matches. A pattern's begins with a finite number.
const UNMATCHED: [f64; 1] = [f64::INFINITY];

/// A parameter's key, and the name of a layer that starts with it.
fn key(compiled: &[Compiled<'_>], parameter: &Parameter) -> Result<(Vec<f64>, String), GroupError> {
    for Compiled { regex, number, pattern, field } in compiled {
        let Some(captures) = regex.captures(&parameter.path) else { continue };
        let (mut key, mut name) = (vec![*number], pattern.name.clone());
        for capture in captures.iter().skip(1).flatten() {
            let value = capture.as_str().parse().ok().filter(|value: &f64| value.is_finite());
            key.push(value.ok_or_else(|| {
                let value = format!("`{}`, captured from {}", capture.as_str(), parameter.path);
                let allowed = "patterns whose groups capture numbers";
                GroupError::OutOfRange(OutOfRange::new(field, value, allowed))
            })?);
            name = format!("{name}.{}", capture.as_str());
        }
        for number in &pattern.suffix {
            key.push(*number);
            name = format!("{name}.{number}");
        }
        return Ok((key, name));
    }
    Ok((UNMATCHED.to_vec(), "top".into()))
}

fn sorted(keys: &[(Vec<f64>, String)]) -> Layers {
    let mut distinct: Vec<&(Vec<f64>, String)> = keys.iter().collect();
    distinct.sort_by(|one, other| one.0.partial_cmp(&other.0).expect("keys are numbers"));
    distinct.dedup_by(|one, other| one.0 == other.0);
    let mut names: Vec<String> = vec![];
    let mut taken = HashSet::new();
    let mut layers: Vec<(&[f64], usize)> = vec![];
    for (key, name) in distinct {
        if names.is_empty() || key.last() != Some(&JOINS_PREVIOUS) {
            // A pattern may be named `top`, or capture both `03` and `3`.
            let twin = !taken.insert(name);
            names.push(if twin {
                format!("{name} of layer {}", names.len())
            } else {
                name.clone()
            });
        }
        layers.push((key, names.len() - 1));
    }
    let layer = |key: &[f64]| layers[layers.partition_point(|(other, _)| *other < key)].1;
    Layers { of: keys.iter().map(|(key, _)| layer(key)).collect(), names, ..Layers::default() }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tree => f.write_str("Tree"),
            Self::Patterns(patterns) => f.debug_tuple("Patterns").field(patterns).finish(),
            Self::Closure(_) => f.write_str("Closure"),
        }
    }
}

impl fmt::Display for LayerMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Rule::Tree => f.write_str("layers from the tree"),
            Rule::Patterns(patterns) => {
                let names: Vec<&str> =
                    patterns.iter().map(|pattern| pattern.name.as_str()).collect();
                write!(f, "layers {} by patterns", names.join(", "))
            }
            Rule::Closure(_) => f.write_str("layers from a closure"),
        }
    }
}

impl Serialize for LayerMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Rule::Tree => serializer.serialize_str("tree"),
            Rule::Patterns(patterns) => patterns.serialize(serializer),
            Rule::Closure(_) => {
                Err(S::Error::custom("layers from a closure cannot be written; use patterns"))
            }
        }
    }
}

impl<'de> Deserialize<'de> for LayerMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LayerMapVisitor)
    }
}

struct LayerMapVisitor;

impl<'de> Visitor<'de> for LayerMapVisitor {
    type Value = LayerMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"tree\", or a list of { name, pattern, suffix, optional }")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<LayerMap, E> {
        match name {
            "tree" => Ok(LayerMap(Rule::Tree)),
            _ => Err(E::invalid_value(Unexpected::Str(name), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<LayerMap, A::Error> {
        let mut patterns = vec![];
        while let Some(pattern) = list.next_element()? {
            patterns.push(pattern);
        }
        Ok(LayerMap(Rule::Patterns(patterns)))
    }
}

/// The entries of a `group_matcher` in order; the order numbers the layers.
struct TimmMatcher(Vec<LayerPattern>);

#[derive(Deserialize)]
#[serde(untagged)]
enum TimmEntry {
    None,
    One(String),
    Many(Vec<(String, Option<Vec<f64>>)>),
}

impl<'de> Deserialize<'de> for TimmMatcher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TimmVisitor)
    }
}

struct TimmVisitor;

impl<'de> Visitor<'de> for TimmVisitor {
    type Value = TimmMatcher;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of patterns")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TimmMatcher, A::Error> {
        let mut patterns = vec![];
        while let Some((name, entry)) = map.next_entry::<String, TimmEntry>()? {
            let entries = match entry {
                // timm numbers it too, but that does not change the order of the others.
                TimmEntry::None => vec![],
                TimmEntry::One(pattern) => vec![(pattern, None)],
                TimmEntry::Many(entries) => entries,
            };
            patterns.extend(entries.into_iter().map(|(pattern, suffix)| LayerPattern {
                name: name.clone(),
                pattern,
                suffix: suffix.unwrap_or_default(),
                optional: true,
            }));
        }
        Ok(TimmMatcher(patterns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(paths: &[&str]) -> Vec<Parameter> {
        paths.iter().map(|path| Parameter::new(*path, [2, 2])).collect()
    }

    #[test]
    fn keys_sort_as_numbers_and_joined_ones_begin_no_layer() {
        let patterns = [
            LayerPattern::new("stem", "^cls_token|patch_embed"),
            LayerPattern::new("blocks", r"^blocks\.(\d+)"),
            LayerPattern::new("blocks", "^norm").joins_previous(),
        ];
        let paths = ["blocks.10.w", "head.w", "blocks.9.w", "norm.w", "patch_embed.w", "cls_token"];
        let layers = LayerMap::from_patterns(patterns).layers(&parameters(&paths)).unwrap();
        assert_eq!(layers.names, ["stem", "blocks.9", "blocks.10", "top"]);
        assert_eq!(layers.of, [2, 3, 1, 2, 0, 0]);
    }

    #[test]
    fn a_pattern_must_match_and_capture_numbers() {
        let paths = parameters(&["stem.weight", "block_a.weight"]);
        let error = |patterns: [(&str, &str); 1]| {
            LayerMap::from_patterns(patterns).layers(&paths).unwrap_err().to_string()
        };
        let missing = error([("stem", "^stme")]);
        assert!(
            missing.starts_with("layers.stem: `^stme` matches no")
                && missing.contains("`stem.weight`"),
            "{missing}"
        );
        let text = error([("blocks", r"^block_(\w)")]);
        assert!(text.contains("`a`, captured from block_a.weight"), "{text}");
    }

    #[test]
    fn the_tree_gives_children_and_elements_of_lists() {
        let listed = |path: &str, lists: &[usize]| Parameter {
            lists: lists.to_vec(),
            ..Parameter::new(path, [2, 2])
        };
        let paths = [
            listed("embed.weight", &[]),
            listed("encoder.input.weight", &[]),
            listed("encoder.layers.0.attention.heads.0.weight", &[2, 5]),
            listed("encoder.layers.1.norm.gamma", &[2]),
            listed("encoder.norm.gamma", &[]),
            listed("encoder.norm.beta", &[]),
            listed("head", &[]),
        ];
        let layers = LayerMap::from_tree().layers(&paths).unwrap();
        assert_eq!(
            layers.names,
            [
                "embed",
                "encoder.input",
                "encoder.layers.0",
                "encoder.layers.1",
                "encoder.norm",
                "head"
            ]
        );
        assert_eq!(layers.of, [0, 1, 2, 3, 4, 4, 5]);
    }

    #[test]
    fn norms_of_the_tree_join_the_layer_before_them() {
        let of = |path: &str, lists: &[usize], norm: bool, shape: &[usize]| Parameter {
            norm,
            lists: lists.to_vec(),
            ..Parameter::new(path, shape)
        };
        let paths = [
            // There is nothing before it.
            of("input.gamma", &[], true, &[3]),
            of("stem.weight", &[], false, &[3, 3]),
            of("norm_pre.Batch.gamma", &[], true, &[3]),
            // Before a list, only norms join.
            of("scale", &[], false, &[3]),
            of("blocks.0.weight", &[1], false, &[3, 3]),
            // Of a block of which only the norm trains.
            of("blocks.1.norm.gamma", &[1], true, &[3]),
            of("blocks.1.norm.beta", &[1], true, &[3]),
            of("norm.gamma", &[], true, &[3]),
            of("own_norm.scale", &[], false, &[3]),
            of("pooler.weight", &[], false, &[3, 3]),
            of("pooler.bias", &[], false, &[3]),
            // A head with a single output.
            of("head", &[], false, &[3]),
        ];
        let layers = LayerMap::from_tree().layers(&paths).unwrap();
        assert_eq!(
            layers.names,
            ["input", "stem", "scale", "blocks.0", "blocks.1", "pooler", "head"]
        );
        assert_eq!(layers.of, [0, 1, 1, 2, 3, 4, 4, 4, 4, 5, 5, 6]);
        let joined = [("norm_pre", "stem"), ("norm", "blocks.1"), ("own_norm", "blocks.1")];
        assert_eq!(layers.joined, joined.map(|(a, b)| (a.to_string(), b.to_string())));
        // Without a head, the norm is the last.
        let layers = LayerMap::from_tree().layers(&paths[4..8]).unwrap();
        assert_eq!(
            (&layers.names[..], layers.of[3]),
            (&["blocks.0", "blocks.1"].map(String::from)[..], 1)
        );
    }

    #[test]
    fn what_no_pattern_matches_is_the_head_if_it_ends_the_model() {
        let stray = |patterns: &[(&str, &str)], paths: &[&str]| {
            let map = LayerMap::from_patterns(patterns.iter().copied());
            let layers = map.layers(&parameters(paths)).unwrap();
            assert!(layers.unmatched.iter().all(|&i| layers.of[i] == layers.names.len() - 1));
            layers.stray().iter().map(|&i| paths[i].to_string()).collect::<Vec<_>>()
        };
        let vit = [("stem", "^cls|pos"), ("blocks", r"^blocks\.(\d+)"), ("blocks", "^norm")];
        let paths = ["cls", "pos", "blocks.0.w", "norm.w", "fc_norm.w", "head.w", "head_dist.w"];
        assert!(stray(&vit, &paths).is_empty());
        let with_token = ["cls", "reg", "pos", "blocks.0.w", "blocks.0.b", "norm.w", "head.w"];
        assert_eq!(stray(&vit, &with_token), ["reg"]);
        // If the head has a pattern, even the only one without.
        let all = [vit[0], vit[1], vit[2], ("head", "^head")];
        assert_eq!(stray(&all, &with_token), ["reg"]);
        assert_eq!(
            stray(&all, &["pos", "blocks.0.w", "adapter.w", "norm.w", "head.w"]),
            ["adapter.w"]
        );
        // A head that is declared first needs a pattern.
        let head_first = ["head.w", "head.b", "pos", "blocks.0.w", "norm.w"];
        assert_eq!(stray(&vit, &head_first), ["head.w", "head.b"]);
        assert!(stray(&all, &head_first).is_empty());
    }

    #[test]
    fn a_module_around_all_others_is_no_layer() {
        let names =
            |paths: &[&str]| LayerMap::from_tree().layers(&parameters(paths)).unwrap().names;
        let wrapped = ["net.token", "net.stem.weight", "net.head.weight", "net.head.bias"];
        assert_eq!(names(&wrapped), ["net.token", "net.stem", "net.head"]);
        assert_eq!(names(&["fc.weight", "fc.bias"]), ["fc"]);
        assert_eq!(names(&["weight", "bias"]), ["weight", "bias"]);
    }

    #[test]
    fn a_closure_numbers_layers_as_it_likes() {
        let map = LayerMap::from_fn(|parameter| if parameter.path == "head" { 70 } else { 3 });
        let layers = map.layers(&parameters(&["head", "body"])).unwrap();
        assert_eq!(
            (layers.of, layers.names),
            (vec![1, 0], vec!["layer 3".into(), "layer 70".into()])
        );
        assert!(serde_json::to_string(&map).unwrap_err().to_string().contains("closure"));
    }

    #[test]
    fn a_timm_matcher_keeps_its_order() {
        let map = LayerMap::from_timm(
            r#"{"z": "^a", "none": null, "b": [["^b\\.(\\d+)", null], ["^c", [99999]]]}"#,
        );
        let layers = map.unwrap().layers(&parameters(&["b.0", "a", "c"])).unwrap();
        assert_eq!(layers.of, [1, 0, 1]);
        assert!(LayerMap::from_timm("[1]").unwrap_err().to_string().starts_with("group_matcher: "));
    }
}
