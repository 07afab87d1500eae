//! Drawing a method on a fixture.

use epoch0_init::start::{Pattern, Plan, Recipe, Rule, Use};
use epoch0_method::{At, Entry, Error, Family, Info, Initializer, SiteLaw, Status, Values};
use epoch0_net::{Network, ParamId};
use epoch0_num::Law;

/// What the sites that a method is not for are filled with.
#[derive(Debug)]
struct Filler;

static FILLER: Entry<dyn Initializer> =
    Entry { info: &FILLER_INFO, build: |_: &Values| Ok(Box::new(Filler)), claims: &[] };

static FILLER_INFO: Info = Info {
    id: "filler",
    aliases: &[],
    family: Family::Init,
    papers: &[],
    source: "",
    params: &[],
    random: false,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

impl Initializer for Filler {
    fn covers(&self, _at: &At<'_>) -> bool {
        true
    }

    fn law(&self, _at: &At<'_>) -> Result<SiteLaw, Error> {
        Ok(SiteLaw::Each(Law::constant(0.0)))
    }
}

/// The method with its defaults, for a network; none where the network lacks what it stands on, which has to be refused
/// with an error that names the method.
pub(crate) fn default_for(
    entry: &Entry<dyn Initializer>,
    net: &Network,
) -> Result<Option<Box<dyn Initializer>>, String> {
    let made = (entry.build)(&Values::new())
        .map_err(|error| format!("cannot be made with its defaults: {error}"))?;
    match made.for_network(net) {
        Ok(settled) => Ok(Some(settled.unwrap_or(made))),
        Err(error) if error.to_string().starts_with(entry.info.id) => Ok(None),
        Err(error) => Err(format!("`{error}` does not name the method")),
    }
}

/// Parameters at whose sites the method is defined and meant to be; what it refuses has to be refused with an error
/// that names the method.
pub(crate) fn covered(entry: &Entry<dyn Initializer>, net: &Network) -> Result<Vec<ParamId>, String> {
    let Some(method) = default_for(entry, net)? else { return Ok(Vec::new()) };
    let mut covered = Vec::new();
    for index in 0..net.params().len() {
        let id = ParamId(index as u32);
        let mut all = true;
        for site in net.sites_of(id) {
            let at = At { net, site };
            all &= method.covers(&at) && method.law(&at).is_ok();
        }
        if all {
            covered.push(id);
        }
    }
    Ok(covered)
}

/// A plan that draws the given parameters by the method, and fills all others with zeros.
pub(crate) fn plan<'a>(
    entry: &'static Entry<dyn Initializer>,
    net: &'a Network,
    params: &[ParamId],
    seed: u64,
) -> Result<Plan<'a>, String> {
    let names: Vec<_> = params.iter().map(|&param| escaped(&net.param(param).name)).collect();
    let pattern = format!("/^({})$/", names.join("|"));
    let rule = Rule {
        matches: Some(Pattern::try_from(pattern)?),
        with: Some(entry.info.id.to_owned()),
        ..Rule::default()
    };
    let recipe = Recipe { base: Some(Use::new("filler")), rules: vec![rule], calibrate: None };
    Plan::new(&[&FILLER, entry], net, &recipe, seed).map_err(|error| error.to_string())
}

fn escaped(name: &str) -> String {
    name.replace('.', r"\.")
}

/// The bytes of each of the given parameters.
pub(crate) fn draw(
    entry: &'static Entry<dyn Initializer>,
    net: &Network,
    params: &[ParamId],
    seed: u64,
) -> Result<Vec<Vec<u8>>, String> {
    if params.is_empty() {
        return Ok(Vec::new());
    }
    let plan = plan(entry, net, params, seed)?;
    params
        .iter()
        .map(|&param| plan.draw_whole(param).map(|(bytes, _)| bytes).map_err(|error| error.to_string()))
        .collect()
}

/// Numbers of a parameter stored as f32.
pub(crate) fn numbers(bytes: &[u8]) -> Vec<f64> {
    let word = |bytes: &[u8]| f64::from(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    bytes.chunks_exact(4).map(word).collect()
}
