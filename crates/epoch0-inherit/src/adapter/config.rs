//! Rank and scale of adapters.

use epoch0_method::Error;
use serde::{Deserialize, Serialize};

use super::targets::{Targets, is_named};

/// What adapters are to be, whatever their start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Which maps have one.
    #[serde(default)]
    pub targets: Targets,
    /// Rank.
    pub rank: usize,
    /// What is added is `alpha / rank` times the product; the rank where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Ranks of some, by names of modules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rank_pattern: Vec<(String, usize)>,
    /// The same of alpha.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alpha_pattern: Vec<(String, f64)>,
    /// Whether the scale is `alpha / √rank` (Kalajdzievski 2023).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rslora: bool,
    /// Whether a map's outputs have learned norms (Liu et al. 2024).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dora: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            targets: Targets::Usual,
            rank: 8,
            alpha: None,
            rank_pattern: Vec::new(),
            alpha_pattern: Vec::new(),
            rslora: false,
            dora: false,
        }
    }
}

impl Config {
    /// Alpha of those that no pattern is for.
    pub fn alpha(&self) -> f64 {
        self.alpha.unwrap_or(self.rank as f64)
    }

    /// Rank of a module's adapter.
    pub fn rank_of(&self, module: &str) -> usize {
        let own = self.rank_pattern.iter().find(|(name, _)| is_named(module, name));
        own.map_or(self.rank, |(_, rank)| *rank)
    }

    /// Factor of a module's adapter.
    pub fn scale_of(&self, module: &str) -> f64 {
        let own = self.alpha_pattern.iter().find(|(name, _)| is_named(module, name));
        own.map_or_else(|| self.alpha(), |(_, alpha)| *alpha) / self.share(self.rank_of(module))
    }

    /// Alpha over scale at a rank.
    pub fn share(&self, rank: usize) -> f64 {
        if self.rslora { (rank as f64).sqrt() } else { rank as f64 }
    }

    /// Whether ranks and factors are what they can be, and patterns are of modules that have an adapter.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn check(&self, method: &str, modules: &[&str]) -> Result<(), Error> {
        let refuse = |name: String, got: String, allowed: &str| {
            Err(Error::Param { method: method.to_owned(), name, got, allowed: allowed.to_owned() })
        };
        let ranks = std::iter::once(("rank", self.rank));
        for (name, rank) in ranks.chain(self.rank_pattern.iter().map(|(name, rank)| (name.as_str(), *rank))) {
            if rank == 0 {
                return refuse(name.to_owned(), "0".to_owned(), "a rank of 1 or more");
            }
        }
        let alphas = std::iter::once(("alpha", self.alpha()));
        for (name, alpha) in
            alphas.chain(self.alpha_pattern.iter().map(|(name, alpha)| (name.as_str(), *alpha)))
        {
            if !(alpha.is_finite() && alpha > 0.0) {
                return refuse(name.to_owned(), alpha.to_string(), "a finite number above 0");
            }
        }
        let ranks = self.rank_pattern.iter().map(|(name, _)| ("rank pattern", name));
        for (what, name) in ranks.chain(self.alpha_pattern.iter().map(|(name, _)| ("alpha pattern", name))) {
            if !modules.iter().any(|module| is_named(module, name)) {
                return refuse(
                    what.to_owned(),
                    format!("of `{name}`"),
                    "names of modules that have an adapter",
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_found_by_the_end_of_a_name() {
        let config = Config {
            alpha: Some(16.0),
            rank_pattern: vec![("v_proj".to_owned(), 4)],
            alpha_pattern: vec![("1.q_proj".to_owned(), 2.0)],
            ..Config::default()
        };
        assert_eq!((config.rank_of("h.0.v_proj"), config.rank_of("h.0.q_proj")), (4, 8));
        assert_eq!(config.scale_of("h.0.v_proj"), 4.0);
        assert_eq!(config.scale_of("h.0.q_proj"), 2.0);
        assert_eq!(config.scale_of("h.1.q_proj"), 0.25);
        assert_eq!(Config { rslora: true, ..config }.scale_of("h.0.v_proj"), 8.0);
    }

    #[test]
    fn what_cannot_be_is_named() {
        let modules = ["h.0.q"];
        let refused = |config: Config| config.check("lora_a", &modules).unwrap_err().to_string();
        assert!(refused(Config { rank: 0, ..Config::default() }).contains("rank is 0"));
        assert!(refused(Config { alpha: Some(0.0), ..Config::default() }).contains("alpha is 0"));
        let pattern = Config { rank_pattern: vec![("k".to_owned(), 2)], ..Config::default() };
        assert!(refused(pattern).contains("of `k`"));
    }
}
