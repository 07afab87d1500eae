//! What starts that follow signals through a network have in common.

use std::collections::HashMap;

use epoch0_method::Error;
use epoch0_net::moments::{Draws, Flow};
use epoch0_net::{Network, NodeId, ParamId, Role, Site};
use epoch0_num::meanfield::Signal;

use super::unsupported;

/// The weight of each node that is a map; of a packed one its first part.
pub(crate) fn maps(net: &Network) -> HashMap<NodeId, &Site> {
    let mut maps = HashMap::new();
    for site in net.sites().iter().filter(|site| site.role.is_matrix()) {
        maps.entry(site.node).or_insert(site);
    }
    maps
}

/// Mean and variance of a parameter that is a value itself, where nothing else decides them: a factor begins at what its
/// source says, else at 1, a shift at nothing.
pub(crate) fn own_moments(net: &Network, param: ParamId) -> (f64, f64) {
    let param = net.param(param);
    let native = param.native.map(|law| (law.mean(), law.std().powi(2)));
    native.unwrap_or((f64::from(param.role != Role::Bias), 0.0))
}

/// Follows a signal through a network; with what is to be said of the way.
pub(crate) fn follow(
    method: &str,
    net: &Network,
    input: &Signal,
    draws: &mut dyn Draws,
    hint: &str,
) -> Result<(Flow, Option<String>), Error> {
    let flow = net.moments(input, draws);
    let flow = flow.map_err(|error| unsupported(method, &error.place, &error.error, hint))?;
    let passed = &flow.passed;
    let remark = (!passed.is_empty())
        .then(|| format!("took {} for doing nothing to the size of signals", passed.join(", ")));
    Ok((flow, remark))
}
