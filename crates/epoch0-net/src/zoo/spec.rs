//! The grammar of all specifications, of networks and of data: `NAME[:SIZE-SIZE-…][,KEY=VALUE]…`.
//!
//! Errors are texts without the specification, which whoever reads one puts before them.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use epoch0_num::Activation;

/// Units, channels, classes and words.
pub(super) const WIDTH: RangeInclusive<usize> = 1..=1 << 24;
/// Weights on a path.
pub(super) const DEPTH: RangeInclusive<usize> = 1..=10_000;
/// Values that a maxout unit takes the largest of.
pub(super) const RANK: RangeInclusive<usize> = 2..=1 << 10;
/// Rows or columns of an image.
pub(super) const SIDE: RangeInclusive<usize> = 1..=1 << 16;

/// A specification while it is read. What an entry asks for is noted, so that what nobody asked for is refused.
#[derive(Debug)]
pub struct Spec<'a> {
    /// What stands before the first colon or comma.
    pub name: &'a str,
    sizes: Option<&'a str>,
    options: Vec<(&'a str, &'a str)>,
    asked: Vec<&'static str>,
    sizes_asked: bool,
}

impl<'a> Spec<'a> {
    /// Takes a specification apart.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        let (name, rest, may_have_sizes) = match text.find([':', ',']) {
            None => (text, None, false),
            Some(at) => (&text[..at], Some(&text[at + 1..]), text[at..].starts_with(':')),
        };
        let mut spec = Self {
            name: name.trim(),
            sizes: None,
            options: Vec::new(),
            asked: Vec::new(),
            sizes_asked: false,
        };
        for (index, item) in rest.into_iter().flat_map(items).enumerate() {
            let item = item.trim();
            match item.split_once('=') {
                Some((key, value)) => {
                    let (key, value) = (key.trim(), value.trim());
                    if spec.options.iter().any(|(other, _)| *other == key) {
                        return Err(format!("option `{key}` is given twice"));
                    }
                    spec.options.push((key, value));
                }
                None if index == 0 && may_have_sizes && !item.is_empty() => spec.sizes = Some(item),
                None => {
                    return Err(format!(
                        "`{}` is no option\nhint: options are written key=value after a comma, sizes are \
                         written after a colon",
                        short(item)
                    ));
                }
            }
        }
        Ok(spec)
    }

    /// The sizes after the colon, if there are any.
    pub fn sizes(
        &mut self,
        what: &str,
        count: RangeInclusive<usize>,
        each: &RangeInclusive<usize>,
    ) -> Result<Option<Vec<usize>>, String> {
        self.sizes_asked = true;
        let Some(text) = self.sizes else { return Ok(None) };
        let sizes =
            text.split('-').map(|size| number("size", size.trim(), each)).collect::<Result<Vec<_>, _>>()?;
        if !count.contains(&sizes.len()) {
            let allowed = if count.start() == count.end() {
                count.start().to_string()
            } else {
                format!("{} to {}", count.start(), count.end())
            };
            return Err(format!("number of sizes is {}, allowed {allowed}: {what}", sizes.len()));
        }
        Ok(Some(sizes))
    }

    /// The sizes after the colon, which have to be there.
    pub fn sizes_needed(
        &mut self,
        what: &str,
        count: RangeInclusive<usize>,
        each: &RangeInclusive<usize>,
    ) -> Result<Vec<usize>, String> {
        let name = self.name;
        self.sizes(what, count, each)?.ok_or_else(|| format!("sizes are missing, write {name}:{what}"))
    }

    fn get(&mut self, key: &'static str) -> Option<&'a str> {
        self.asked.push(key);
        self.options.iter().find(|(other, _)| *other == key).map(|(_, value)| *value)
    }

    /// A whole number.
    pub fn size(
        &mut self,
        key: &'static str,
        default: usize,
        allowed: &RangeInclusive<usize>,
    ) -> Result<usize, String> {
        self.get(key).map_or(Ok(default), |value| number(key, value, allowed))
    }

    /// Any text.
    pub fn text(&mut self, key: &'static str) -> Option<&'a str> {
        self.get(key)
    }

    /// A finite number.
    pub fn real(&mut self, key: &'static str, default: f64) -> Result<f64, String> {
        let Some(value) = self.get(key) else { return Ok(default) };
        match value.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(format!("{key} is `{}`, allowed finite numbers", short(value))),
        }
    }

    /// Yes or no.
    pub fn flag(&mut self, key: &'static str, default: bool) -> Result<bool, String> {
        let default = if default { "true" } else { "false" };
        Ok(self.choice(key, default, &["true", "false"])? == "true")
    }

    /// One of a few words.
    pub fn choice(
        &mut self,
        key: &'static str,
        default: &'static str,
        allowed: &[&'static str],
    ) -> Result<&'static str, String> {
        let Some(value) = self.get(key) else { return Ok(default) };
        allowed
            .iter()
            .find(|word| **word == value)
            .copied()
            .ok_or_else(|| format!("{key} is `{}`, allowed {}", short(value), allowed.join(", ")))
    }

    /// An activation.
    pub fn activation(&mut self, key: &'static str, default: Activation) -> Result<Activation, String> {
        self.get(key).map_or(Ok(default), |value| activation(key, value))
    }

    /// Refuses what the entry did not ask for.
    pub fn done(&self) -> Result<(), String> {
        if let (Some(sizes), false) = (self.sizes, self.sizes_asked) {
            return Err(format!("`{}` are sizes, and {} takes none", short(sizes), self.name));
        }
        let Some((key, _)) = self.options.iter().find(|(key, _)| !self.asked.contains(key)) else {
            return Ok(());
        };
        let mut why = format!("option `{}` is unknown, allowed {}", short(key), self.asked.join(", "));
        if let [first, ..] = near(key, self.asked.iter().copied())[..] {
            let _ = write!(why, "\nhint: did you mean {first}");
        }
        Err(why)
    }
}

/// What stands between commas, those inside parentheses not counted.
fn items(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0usize, 0, Vec::new());
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                items.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(&text[start..]);
    items
}

pub(super) fn activation(key: &str, text: &str) -> Result<Activation, String> {
    text.parse().map_err(|error: epoch0_num::activation::ActivationError| format!("{key}: {error}"))
}

pub(super) fn number(key: &str, text: &str, allowed: &RangeInclusive<usize>) -> Result<usize, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if is_number && allowed.contains(&number) => Ok(number),
        _ => Err(format!("{key} is `{}`, allowed {} to {}", short(text), allowed.start(), allowed.end())),
    }
}

/// Text that a message may carry: long ones are cut.
pub fn short(text: &str) -> String {
    match text.char_indices().nth(60) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

/// The names that look like `name`, best first.
pub fn near<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    if name.len() > 60 {
        return Vec::new();
    }
    let name = name.to_lowercase();
    let mut scored: Vec<_> = known
        .map(|other| (strsim::jaro_winkler(&name, other), other))
        .filter(|(score, other)| *score > 0.8 && strsim::damerau_levenshtein(&name, other) <= 3)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().take(3).map(|(_, other)| other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_options_are_told_apart() {
        let mut spec = Spec::parse("mlp:4-3-2, act=softplus(beta=2,threshold=3) ,bias=false").unwrap();
        assert_eq!(spec.name, "mlp");
        assert_eq!(spec.sizes("in-out", 2..=9, &WIDTH), Ok(Some(vec![4, 3, 2])));
        assert_eq!(
            spec.activation("act", Activation::Relu),
            Ok(Activation::Softplus { beta: 2.0, threshold: 3.0 })
        );
        assert_eq!(spec.flag("bias", true), Ok(false));
        assert_eq!(spec.size("classes", 7, &WIDTH), Ok(7));
        assert_eq!(spec.done(), Ok(()));
        let spec = Spec::parse("gpt:layers=4").unwrap();
        assert_eq!((spec.sizes, &spec.options[..]), (None, &[("layers", "4")][..]));
    }

    #[test]
    fn commas_in_parentheses_do_not_part() {
        assert_eq!(items("a=f(1,(2,3)),b=2"), ["a=f(1,(2,3))", "b=2"]);
        assert_eq!(items("a=f(1,2"), ["a=f(1,2"]);
        assert_eq!(items("a),b"), ["a)", "b"]);
    }
}
