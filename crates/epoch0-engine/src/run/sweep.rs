//! A run whose parameters change on the way.

use epoch0_net::{Network, Node, NodeId};

use super::{Mode, evaluate, walk};
use crate::Error;
use crate::value::Value;
use crate::weights::Parameters;

/// An operation whose turn it is in a [`sweep`].
#[derive(Debug)]
pub struct Turn<'a> {
    /// Which one.
    pub id: NodeId,
    /// The operation.
    pub node: &'a Node,
    /// What it reads.
    pub inputs: &'a [Value],
    /// The parameters; what is changed here holds for this operation and all that follow.
    pub params: &'a mut Parameters,
    network: &'a Network,
    mode: Mode,
}

impl Turn<'_> {
    /// Does the operation with the parameters as they are now.
    ///
    /// # Errors
    ///
    /// As [`crate::run()`].
    pub fn evaluate(&self) -> Result<Vec<Value>, Error> {
        evaluate(self.network, self.id, self.params, self.inputs, self.mode)
    }
}

/// Runs a network as [`crate::run()`] does, and lets `each` do its operations, in the order of the graph: what it answers
/// is what they make. It may change parameters on the way, so that all weights are seen, and changed, at the price of
/// one run. Answers the network's outputs.
///
/// # Errors
///
/// As [`crate::run()`], and what `each` answers.
pub fn sweep<E: From<Error>>(
    network: &Network,
    params: &mut Parameters,
    inputs: &[Value],
    mode: Mode,
    mut each: impl FnMut(&mut Turn<'_>) -> Result<Vec<Value>, E>,
) -> Result<Vec<Value>, E> {
    walk(network, inputs, |id, inputs| {
        let node = &network.nodes()[id.0 as usize];
        each(&mut Turn { id, node, inputs, params, network, mode })
    })
}
