//! What can go wrong, for all families.

/// Why a method could not do its work.
///
/// Texts are in lower case and have no final period; what may help follows on a line of its own after `hint: `.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter of a method is outside its range.
    #[error("{method}: {name} is {got}, allowed {allowed}")]
    Param {
        /// The method's id.
        method: String,
        /// The parameter.
        name: String,
        /// What it is.
        got: String,
        /// What it may be.
        allowed: String,
    },
    /// A method has no such parameter.
    #[error("{method} has no parameter `{name}`, allowed {}{}", list(known), near_hint(name, known))]
    UnknownParam {
        /// The method's id.
        method: String,
        /// What was asked for.
        name: String,
        /// The parameters that there are.
        known: Vec<String>,
    },
    /// There is no such method.
    #[error("method `{name}` is unknown{}", near_or(near, "see `epoch0 list`"))]
    UnknownMethod {
        /// What was asked for.
        name: String,
        /// Ids that are close to it.
        near: Vec<String>,
    },
    /// A method was not given something that it needs.
    #[error("{method}: {input} is missing\nhint: {hint}")]
    Missing {
        /// The method's id.
        method: String,
        /// What it needs.
        input: String,
        /// How to give it.
        hint: String,
    },
    /// The method is not defined for this place.
    #[error("{method}: {what}: {why}\nhint: {hint}")]
    Unsupported {
        /// The method's id.
        method: String,
        /// The site, parameter or activation.
        what: String,
        /// Why not.
        why: String,
        /// What to take instead.
        hint: String,
    },
    /// A shape is not one that the method takes.
    #[error("{method}: {site} has shape {got}, allowed {allowed}")]
    Shape {
        /// The method's id.
        method: String,
        /// The site.
        site: String,
        /// Its shape.
        got: String,
        /// What it may be.
        allowed: String,
    },
    /// A result is not a finite number.
    #[error("{method}: {site} got {value}, which is not finite")]
    NotFinite {
        /// The method's id.
        method: String,
        /// The site.
        site: String,
        /// The value.
        value: String,
    },
    /// An iteration did not reach its tolerance.
    #[error("{method}: not converged after {after} steps, residual {residual:e}, allowed {tol:e}")]
    NotConverged {
        /// The method's id.
        method: String,
        /// Steps taken.
        after: usize,
        /// What is left.
        residual: f64,
        /// What may be left.
        tol: f64,
    },
    /// Parameters of a network that no rule covers.
    #[error(
        "{} {} no rule: {}\nhint: add a rule that matches, or a preset as `base`",
        names.len(),
        if names.len() == 1 { "parameter has" } else { "parameters have" },
        some(names)
    )]
    Uncovered {
        /// Their names.
        names: Vec<String>,
    },
    /// A recipe or another description is not well formed.
    #[error("{place}: {why}")]
    Recipe {
        /// File, rule or key.
        place: String,
        /// What was found and what is allowed.
        why: String,
    },
}

/// The known names closest to one that is not known, best first, at most three.
pub fn near<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let plain =
        |name: &str| name.to_ascii_lowercase().replace(['-', '.', ' '], "_").trim_end_matches('_').to_owned();
    let wanted = plain(name);
    let mut scored: Vec<_> = known
        .into_iter()
        .map(|candidate| {
            let candidate_plain = plain(candidate);
            let mut score = strsim::jaro_winkler(&wanted, &candidate_plain);
            if strsim::damerau_levenshtein(&wanted, &candidate_plain) == 1 {
                score = score.max(0.95);
            }
            if !wanted.is_empty() && (candidate.contains(&wanted) || wanted.contains(candidate)) {
                score = score.max(0.9);
            }
            (score, candidate)
        })
        .filter(|(score, _)| *score >= 0.8)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.into_iter().take(3).map(|(_, candidate)| candidate.to_owned()).collect()
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn some(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text += &format!(" and {} more", names.len() - SHOWN);
    }
    text
}

fn near_hint(name: &str, known: &[String]) -> String {
    near(name, known.iter().map(String::as_str))
        .first()
        .map_or_else(String::new, |best| format!("\nhint: did you mean `{best}`?"))
}

fn near_or(near: &[String], otherwise: &str) -> String {
    match near {
        [] => format!("\nhint: {otherwise}"),
        near => format!("\nhint: did you mean `{}`?", near.join("`, `")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_found() {
        let known = ["he_normal", "he_uniform", "xavier_normal", "orthogonal", "zeros"];
        assert_eq!(near("he_norml", known)[0], "he_normal");
        assert_eq!(near("xavier_normal_", known)[0], "xavier_normal");
        assert_eq!(near("Orthogonal", known), ["orthogonal"]);
        assert_eq!(near("qqq", known), Vec::<String>::new());
    }

    #[test]
    fn texts_say_what_was_found_and_what_is_allowed() {
        let unknown = Error::UnknownMethod { name: "he_norml".into(), near: vec!["he_normal".into()] };
        assert_eq!(unknown.to_string(), "method `he_norml` is unknown\nhint: did you mean `he_normal`?");
        let names = (0..7).map(|n| format!("p{n}")).collect();
        let text = Error::Uncovered { names }.to_string();
        assert!(
            text.starts_with("7 parameters have no rule: p0, p1, p2, p3, p4 and 2 more\nhint: "),
            "{text}"
        );
    }
}
