//! The papers that the project grew out of, and other works that methods cite.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// A published work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Paper {
    /// Its number among the project's 119 papers; other works have none.
    pub number: Option<u32>,
    /// Key for citing: first author, year, first word of the title.
    pub key: String,
    /// Short name, where it has one.
    pub slug: Option<String>,
    /// Title.
    pub title: String,
    /// Authors, given name first; empty where they could not be confirmed.
    #[serde(default)]
    pub authors: Vec<String>,
    /// Year of first publication.
    pub year: Option<u32>,
    /// Where to read it.
    pub url: Option<String>,
    /// Journal, conference or kind of publication.
    pub venue: Option<String>,
}

/// All papers and works.
#[derive(Debug)]
pub struct Bibliography {
    papers: Vec<Paper>,
    by_key: HashMap<String, usize>,
}

#[derive(Deserialize)]
struct File {
    paper: Vec<Paper>,
    source: Vec<Paper>,
}

static BIBLIOGRAPHY: LazyLock<Bibliography> = LazyLock::new(|| {
    let file: File = toml::from_str(include_str!("../papers.toml")).expect("papers.toml is well formed");
    let papers: Vec<Paper> = file.paper.into_iter().chain(file.source).collect();
    let by_key = papers.iter().enumerate().map(|(index, paper)| (paper.key.clone(), index)).collect();
    Bibliography { papers, by_key }
});

impl Bibliography {
    /// The one there is.
    pub fn get() -> &'static Self {
        &BIBLIOGRAPHY
    }

    /// Every work, the numbered papers first.
    pub fn papers(&self) -> &[Paper] {
        &self.papers
    }

    /// The work of that key.
    pub fn find(&self, key: &str) -> Option<&Paper> {
        self.by_key.get(key).map(|&index| &self.papers[index])
    }

    /// The paper of that number.
    pub fn numbered(&self, number: u32) -> Option<&Paper> {
        self.papers.iter().find(|paper| paper.number == Some(number))
    }
}

impl Paper {
    /// As a BibTeX entry.
    pub fn bibtex(&self) -> String {
        let mut text = format!("@misc{{{},\n  title = {{{}}}", self.key, self.title);
        let mut field = |name: &str, value: &str| {
            let _ = write!(text, ",\n  {name} = {{{value}}}");
        };
        if !self.authors.is_empty() {
            field("author", &self.authors.join(" and "));
        }
        if let Some(year) = self.year {
            field("year", &year.to_string());
        }
        if let Some(venue) = &self.venue {
            field("howpublished", venue);
        }
        if let Some(url) = &self.url {
            field("url", url);
        }
        text + "\n}"
    }

    /// As a line for people.
    pub fn line(&self) -> String {
        let authors = match self.authors.as_slice() {
            [] => String::new(),
            [one] => format!("{one}. "),
            [one, two] => format!("{one} and {two}. "),
            [one, ..] => format!("{one} et al. "),
        };
        let year = self.year.map_or_else(String::new, |year| format!(", {year}"));
        let url = self.url.as_ref().map_or_else(String::new, |url| format!(". {url}"));
        format!("{authors}{}{year}{url}", self.title)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_numbered_paper_has_a_row() {
        let numbers: Vec<_> = Bibliography::get().papers().iter().filter_map(|paper| paper.number).collect();
        assert_eq!(numbers, (1..=119).collect::<Vec<_>>());
    }

    #[test]
    fn keys_are_unique() {
        let bibliography = Bibliography::get();
        assert_eq!(bibliography.by_key.len(), bibliography.papers.len());
    }
}
