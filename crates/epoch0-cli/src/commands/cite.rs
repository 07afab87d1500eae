//! `epoch0 cite`.

use epoch0::method::{Bibliography, Paper};

use super::{Failure, Outcome};

pub(super) fn run(what: &str, json: bool) -> Result<Outcome, Failure> {
    let papers = papers(what)?;
    if json {
        return Outcome::json(&papers);
    }
    let entries: Vec<_> = papers.iter().map(|paper| paper.bibtex()).collect();
    Ok(Outcome::text(entries.join("\n\n") + "\n"))
}

/// The papers of a method, a number or a key.
pub(super) fn papers(what: &str) -> Result<Vec<&'static Paper>, Failure> {
    let bibliography = Bibliography::get();
    if let Ok(number) = what.parse() {
        let unknown = || Failure::Unknown {
            what: "paper",
            given: what.to_owned(),
            hint: "papers have numbers from 1 to 119 (`epoch0 list papers`)".to_owned(),
        };
        return Ok(vec![bibliography.numbered(number).ok_or_else(unknown)?]);
    }
    if let Some(paper) = bibliography.find(what) {
        return Ok(vec![paper]);
    }
    let info = epoch0::method(what)?.info;
    Ok(info.papers.iter().filter_map(|key| bibliography.find(key)).collect())
}
