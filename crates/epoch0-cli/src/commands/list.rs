//! `epoch0 list`.

use epoch0::format::hf;
use epoch0::method::Bibliography;
use epoch0::net::zoo;
use serde::Serialize;

use super::{Failure, Outcome};
use crate::args::Listed;
use crate::table::{Align, Table};
use crate::terminal;

#[derive(Serialize)]
struct Method {
    id: &'static str,
    aliases: &'static [&'static str],
    family: &'static str,
    summary: String,
    papers: &'static [&'static str],
    n_claims: usize,
}

#[derive(Serialize)]
struct Family {
    model_type: &'static str,
    architectures: &'static [&'static str],
}

pub(super) fn run(what: Listed, json: bool) -> Result<Outcome, Failure> {
    match what {
        Listed::Methods => methods(json),
        Listed::Families => families(json),
        Listed::Zoo => networks(json),
        Listed::Papers => papers(json),
    }
}

fn methods(json: bool) -> Result<Outcome, Failure> {
    let rows: Vec<_> = epoch0::methods()
        .into_iter()
        .map(|method| Method {
            id: method.info.id,
            aliases: method.info.aliases,
            family: method.info.family.name(),
            summary: method.info.summary(),
            papers: method.info.papers,
            n_claims: method.claims.len(),
        })
        .collect();
    if json {
        return Outcome::json(&rows);
    }
    let mut table = Table::new(&[
        ("id", Align::Left),
        ("family", Align::Left),
        ("also", Align::Left),
        ("what it does", Align::Left),
    ]);
    for row in rows {
        table.row(vec![row.id.to_owned(), row.family.to_owned(), row.aliases.join(", "), row.summary]);
    }
    table.fit(terminal::width(), &["also"]);
    Ok(Outcome::text(table.render() + "\n`epoch0 explain ID` says more\n"))
}

fn families(json: bool) -> Result<Outcome, Failure> {
    let rows: Vec<_> = hf::FAMILIES
        .iter()
        .chain(hf::OWN)
        .map(|family| Family { model_type: family.model_type, architectures: family.architectures })
        .collect();
    if json {
        return Outcome::json(&rows);
    }
    let mut table = Table::new(&[("model_type", Align::Left), ("architectures", Align::Left)]);
    for row in rows {
        table.row(vec![row.model_type.to_owned(), row.architectures.join(", ")]);
    }
    Ok(Outcome::text(table.render()))
}

fn networks(json: bool) -> Result<Outcome, Failure> {
    if json {
        return Outcome::json(&zoo::KNOWN);
    }
    let mut table = Table::new(&[("network", Align::Left), ("syntax", Align::Left), ("", Align::Left)]);
    for entry in zoo::KNOWN {
        table.row(vec![entry.name.to_owned(), entry.syntax.to_owned(), entry.text.to_owned()]);
    }
    let all = "every network takes shift=2, 3 or 4: weights between the first map and the readout are signed powers of two \
               of so many bits; or templates=J: the weights of all maps are sums of J templates with coefficients; spiking=T:\n\
               rectifiers are neurons that spike over T time steps, in networks without normalizations and largest values of\n\
               windows (norm=none, pool=mean)";
    Ok(Outcome::text(format!("{}\n{all}\n", table.render())))
}

fn papers(json: bool) -> Result<Outcome, Failure> {
    let papers = Bibliography::get().papers();
    if json {
        return Outcome::json(&papers);
    }
    let mut table = Table::new(&[
        ("no.", Align::Right),
        ("key", Align::Left),
        ("year", Align::Right),
        ("methods here", Align::Left),
        ("title", Align::Left),
    ]);
    let all = epoch0::methods();
    for paper in papers.iter().filter(|paper| paper.number.is_some()) {
        let methods: Vec<_> = all
            .iter()
            .filter(|method| method.info.papers.contains(&paper.key.as_str()))
            .map(|method| method.info.id)
            .collect();
        table.row(vec![
            paper.number.map_or_else(String::new, |number| number.to_string()),
            paper.key.clone(),
            paper.year.map_or_else(String::new, |year| year.to_string()),
            methods.join(", "),
            paper.title.clone(),
        ]);
    }
    Ok(Outcome::text(table.render()))
}
