//! What starts that are made of identities have in common.

use epoch0_method::At;
use epoch0_net::{Network, Op, Role, Site};
use epoch0_num::Activation;
use epoch0_num::joint::{Float, JointError};

use super::Matrix;

/// Whether it is a weight between units or the bias of one.
pub(crate) fn is_map(at: &At<'_>) -> bool {
    at.role.is_matrix() || (at.role == Role::Bias && at.fans.is_some())
}

/// Fills each map of a site: `draw` the matrix at the centre of the kernel, tap `k / 2` in each dimension, and zeros
/// elsewhere.
pub(crate) fn at_centre<T: Float>(
    matrix: &Matrix,
    out: &mut [T],
    draw: impl Fn(&mut [T]) -> Result<(), JointError>,
) -> Result<(), JointError> {
    let taps = matrix.taps();
    let centre = matrix.receptive.iter().fold(0, |index, &k| index * k + k / 2);
    let mut channels = vec![T::default(); matrix.out * matrix.in_];
    draw(&mut channels)?;
    for map in out.chunks_mut(matrix.len().max(1)) {
        map.fill(T::default());
        map[centre..].iter_mut().step_by(taps).zip(&channels).for_each(|(tap, &weight)| *tap = weight);
    }
    Ok(())
}

/// How many weights that end a residual branch meet an activation without a slope at 0 before the sum, and one of these
/// activations. Where such a weight is 0 no gradient ever reaches it.
pub(crate) fn silenced(net: &Network) -> Option<(usize, &Activation)> {
    let ends = net.sites().iter().filter(|site| site.role.is_matrix() && site.ends_branch().is_some());
    let found: Vec<&Activation> = ends.filter_map(|site| silencer(net, site)).collect();
    found.first().map(|act| (found.len(), *act))
}

fn silencer<'a>(net: &'a Network, site: &Site) -> Option<&'a Activation> {
    let mut value = net.nodes()[site.node.0 as usize].outputs[0];
    loop {
        let mut readers = net.nodes().iter().filter(|node| node.inputs.contains(&value));
        let (reader, None) = (readers.next()?, readers.next()) else { return None };
        match &reader.op {
            Op::Activation(act) => return (act.derivative(0.0) == 0.0).then_some(act),
            Op::Norm { .. } | Op::Scale(_) | Op::Mul => value = reader.outputs[0],
            _ => return None,
        }
    }
}
