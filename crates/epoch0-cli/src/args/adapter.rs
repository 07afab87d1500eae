//! What adapters are to be.

use clap::Args as ClapArgs;
use epoch0::inheriting::adapter::{Config, Targets};

const HEADING: &str = "Adapters (--with lora_a, pissa …; NET is a checkpoint)";

/// Adapters, for methods that start them (lora_a, pissa …).
#[derive(Debug, ClapArgs)]
pub(crate) struct AdapterArgs {
    /// Rank [default: 8].
    #[arg(long, value_name = "R", help_heading = HEADING, requires = "with")]
    pub(crate) rank: Option<usize>,
    /// What is added is ALPHA / R times B A [default: the rank].
    #[arg(long, value_name = "ALPHA", help_heading = HEADING, requires = "with")]
    pub(crate) alpha: Option<f64>,
    /// Modules by the ends of their names, or `all-linear` [default: what makes queries and values of attention, otherwise
    /// all linear maps].
    #[arg(long, value_name = "NAME,…", help_heading = HEADING, requires = "with")]
    pub(crate) targets: Option<String>,
    /// Ranks of some modules.
    #[arg(long, value_name = "NAME=R,…", help_heading = HEADING, requires = "with", value_delimiter = ',', value_parser = number::<usize>)]
    pub(crate) rank_pattern: Vec<(String, usize)>,
    /// The same of alpha.
    #[arg(long, value_name = "NAME=ALPHA,…", help_heading = HEADING, requires = "with", value_delimiter = ',', value_parser = number::<f64>)]
    pub(crate) alpha_pattern: Vec<(String, f64)>,
    /// Scale by ALPHA / √R.
    #[arg(long, help_heading = HEADING, requires = "with")]
    pub(crate) rslora: bool,
    /// Learned norms of each map's outputs (DoRA).
    #[arg(long, help_heading = HEADING, requires = "with")]
    pub(crate) dora: bool,
}

fn number<T: std::str::FromStr>(text: &str) -> Result<(String, T), String>
where
    T::Err: std::fmt::Display,
{
    let (name, value) = text.split_once('=').ok_or("has to be NAME=NUMBER")?;
    Ok((name.to_owned(), value.parse().map_err(|error: T::Err| format!("`{value}`: {error}"))?))
}

impl AdapterArgs {
    /// The first that is given.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let all = [
            ("--rank", self.rank.is_some()),
            ("--alpha", self.alpha.is_some()),
            ("--targets", self.targets.is_some()),
            ("--rank-pattern", !self.rank_pattern.is_empty()),
            ("--alpha-pattern", !self.alpha_pattern.is_empty()),
            ("--rslora", self.rslora),
            ("--dora", self.dora),
        ];
        all.into_iter().find(|(_, is_given)| *is_given).map(|(option, _)| option)
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            targets: self.targets.as_deref().map_or_else(Targets::default, Targets::parse),
            rank: self.rank.unwrap_or(Config::default().rank),
            alpha: self.alpha,
            rank_pattern: self.rank_pattern.clone(),
            alpha_pattern: self.alpha_pattern.clone(),
            rslora: self.rslora,
            dora: self.dora,
        }
    }
}
