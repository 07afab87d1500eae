//! Recurrent layers.

use epoch0_net::{Cell, ParamId};

use super::Step;
use crate::value::Value;
use crate::{Error, Var};

impl Step<'_> {
    /// `x [steps, batch, in]`, states `[batch, hidden]`; answers all hidden states and the last ones.
    pub(super) fn recurrent(
        &self,
        inputs: &[Value],
        cell: Cell,
        weights: [ParamId; 2],
        biases: Option<[ParamId; 2]>,
        reverse: bool,
    ) -> Result<Vec<Value>, Error> {
        let x = self.real(inputs, 0)?;
        let [input_weight, state_weight] = [self.param(weights[0])?, self.param(weights[1])?];
        let hidden = state_weight.shape()[1];
        let (gates, n_in) = (cell.gates() * hidden, input_weight.shape()[1]);
        let [steps, batch, found] = x.shape()[..] else {
            return Err(self.operand(format!("shape {:?}", x.shape()), "[steps, batch, in]"));
        };
        if found != n_in || input_weight.shape()[0] != gates || state_weight.shape()[0] != gates || steps == 0
        {
            return Err(self.operand(
                format!("input of shape {:?} and a weight of shape {:?}", x.shape(), input_weight.shape()),
                format!("[steps, batch, {n_in}] and {gates} rows"),
            ));
        }
        let state = self.real(inputs, 1)?.reshape_checked(self, &[batch, hidden])?;
        let memory = match cell {
            Cell::Lstm => Some(self.real(inputs, 2)?.reshape_checked(self, &[batch, hidden])?),
            _ => None,
        };
        // What comes in is multiplied for all steps at once.
        let mut incoming = x.matmul(&input_weight.swap(0, 1));
        let state_bias = match biases {
            Some([input_bias, state_bias]) => {
                incoming = incoming.add(self.param(input_bias)?);
                Some(self.param(state_bias)?)
            }
            None => None,
        };
        let recurrent = state_weight.swap(0, 1);
        let unroll =
            Unroll { cell, incoming: &incoming, recurrent: &recurrent, state_terms: state_bias, reverse };
        Ok(unroll.run(state, memory).into_iter().map(Value::Real).collect())
    }
}

/// The steps of a layer, of what comes in once it is multiplied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unroll<'a> {
    pub(crate) cell: Cell,
    /// `W x + b`, `[steps, batch, gates]`.
    pub(crate) incoming: &'a Var,
    /// The state's weight, `[hidden, gates]`.
    pub(crate) recurrent: &'a Var,
    /// What is added to `U h`, `[gates]` or `[steps, batch, gates]`.
    pub(crate) state_terms: Option<&'a Var>,
    pub(crate) reverse: bool,
}

impl Unroll<'_> {
    /// All hidden states `[steps, batch, hidden]`, the last one, and the last memory where there is one.
    pub(crate) fn run(&self, mut state: Var, mut memory: Option<Var>) -> Vec<Var> {
        let [steps, batch, gates] = self.incoming.shape()[..] else { return Vec::new() };
        let hidden = state.shape()[1];
        let at_step = |x: &Var, at: usize| match x.rank() {
            3 => x.slice(0, at, at + 1, 1).reshape(&[batch, gates]),
            _ => x.clone(),
        };
        let part = |x: &Var, at: usize| x.slice(1, at * hidden, (at + 1) * hidden, 1);
        let mut states: Vec<Option<Var>> = vec![None; steps];
        for turn in 0..steps {
            let at = if self.reverse { steps - 1 - turn } else { turn };
            let from_input = at_step(self.incoming, at);
            let mut from_state = state.matmul(self.recurrent);
            if let Some(terms) = self.state_terms {
                from_state = from_state.add(&at_step(terms, at));
            }
            state = match self.cell {
                Cell::Tanh => from_input.add(&from_state).tanh(),
                Cell::Relu => from_input.add(&from_state).relu(),
                Cell::Lstm => {
                    let sum = from_input.add(&from_state);
                    let [input, forget, output] = [0, 1, 3].map(|gate| part(&sum, gate).sigmoid());
                    let kept = memory.as_ref().map(|memory| forget.mul(memory));
                    let new = input.mul(&part(&sum, 2).tanh());
                    let now = kept.map_or(new.clone(), |kept| kept.add(&new));
                    let state = output.mul(&now.tanh());
                    memory = Some(now);
                    state
                }
                Cell::Gru => {
                    let [reset, update] =
                        [0, 1].map(|gate| part(&from_input, gate).add(&part(&from_state, gate)).sigmoid());
                    let new = part(&from_input, 2).add(&reset.mul(&part(&from_state, 2))).tanh();
                    new.add(&update.mul(&state.sub(&new)))
                }
            };
            states[at] = Some(state.reshape(&[1, batch, hidden]));
        }
        let states: Vec<Var> = states.into_iter().flatten().collect();
        let all = Var::concat(&states.iter().collect::<Vec<_>>(), 0);
        // Copies, so that what comes back to the last states from outside is not mixed with what comes by `all`.
        let last = [Some(state), memory].into_iter().flatten().map(|last| last.scale(1.0));
        std::iter::once(all).chain(last).collect()
    }
}

impl Var {
    /// States may come with a dimension of one for the direction.
    fn reshape_checked(&self, step: &Step<'_>, shape: &[usize]) -> Result<Self, Error> {
        if self.value().len() != shape.iter().product::<usize>() {
            return Err(step.operand(format!("a state of shape {:?}", self.shape()), format!("{shape:?}")));
        }
        Ok(self.reshape(shape))
    }
}
