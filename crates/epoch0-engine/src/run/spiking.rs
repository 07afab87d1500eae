//! Operations of spiking networks.

use epoch0_net::Spiking;

use super::Step;
use crate::value::Value;
use crate::{Error, Var};

impl Step<'_> {
    pub(super) fn spiking(&self, inputs: &[Value], by: Spiking, steps: usize) -> Result<Var, Error> {
        let x = self.real(inputs, 0)?;
        self.need_rank(x, 1)?;
        if steps == 0 {
            return Err(self.operand("0 time steps", "at least 1"));
        }
        let places = x.shape()[0];
        if by != Spiking::Repeat && !places.is_multiple_of(steps) {
            return Err(self.operand(
                format!("{places} places along dimension 0"),
                format!("a multiple of {steps}, the time steps of each example"),
            ));
        }
        Ok(match by {
            Spiking::Repeat => x.repeat_each(steps),
            Spiking::Fire { threshold, leak } => x.spikes(steps, self.param(threshold)?, self.param(leak)?),
            Spiking::Sum => x.sum_each(steps),
        })
    }
}
