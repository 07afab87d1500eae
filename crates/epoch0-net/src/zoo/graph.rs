//! Networks of a graph's nodes: graph convolutions (Kipf and Welling 2017), GraphSAGE (Hamilton, Ying, Leskovec 2017) and
//! graph isomorphism networks (Xu, Hu, Leskovec, Jegelka 2019), parameters named as in PyTorch Geometric's `GCN`,
//! `GraphSAGE` and `GIN`.
//!
//! Inputs are the features of all nodes, the edges and the nodes that are asked for. Features are passed along edges
//! before they are mapped; where a map comes first, as in PyTorch Geometric's graph convolution, the result is the same.

use epoch0_num::Activation;
use epoch0_num::graph::Propagation;

use super::spec::{DEPTH, Spec, WIDTH};
use crate::{Builder, Linear, NormKind, Role, ValueId};

/// What a layer does.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Gcn,
    Sage,
    Gin,
}

/// A network while it is built.
struct Graph {
    kind: Kind,
    act: Activation,
    bias: bool,
    norm: Option<NormKind>,
    edges: ValueId,
}

pub(super) fn build(spec: &mut Spec<'_>, b: &mut Builder, kind: Kind) -> Result<(), String> {
    let mut sizes = spec.sizes_needed("IN-HIDDEN-…-OUT", 2..=DEPTH.end() + 1, &WIDTH)?;
    let n_layers = spec.size("layers", sizes.len() - 1, &DEPTH)?;
    if n_layers != sizes.len() - 1 {
        let [input, hidden, out] = sizes[..] else {
            return Err(format!(
                "layers is {n_layers} and there are {} sizes, allowed IN-HIDDEN-OUT before layers",
                sizes.len()
            ));
        };
        sizes = vec![hidden; n_layers + 1];
        (sizes[0], sizes[n_layers]) = (input, out);
    }
    let act = spec.activation("act", Activation::Relu)?;
    let bias = spec.flag("bias", true)?;
    let norm = match spec.choice("norm", "none", &["none", "batch", "layer"])? {
        "batch" => Some(NormKind::Batch),
        "layer" => Some(NormKind::Layer),
        _ => None,
    };
    let residual = spec.flag("residual", false)?;
    let mut x = b.input("x", &[None, Some(sizes[0])]);
    let edges = b.index_input("edge_index", &[Some(2), None]);
    let nodes = b.index_input("nodes", &[None]);
    b.name_axis(x, 0, "nodes");
    b.name_axis(x, -1, "inputs");
    let graph = Graph { kind, act, bias, norm, edges };
    for (layer, pair) in sizes.windows(2).enumerate() {
        b.block(&format!("convs.{layer}"));
        let is_last = layer + 1 == n_layers;
        let mut y = graph.layer(b, x, &format!("convs.{layer}"), pair[1], is_last);
        if !is_last {
            y = graph.normalized(b, y, &format!("norms.{layer}"));
            y = b.activation(y, graph.act.clone());
        }
        x = if residual && pair[0] == pair[1] && !is_last { b.add(&[x, y]) } else { y };
    }
    b.end_block();
    let y = b.gather(x, nodes, 0);
    b.output(y, "y");
    Ok(())
}

impl Graph {
    fn layer(&self, b: &mut Builder, x: ValueId, name: &str, out: usize, is_last: bool) -> ValueId {
        let map = |out: usize| {
            let role = if is_last { Role::Readout } else { Role::Weight };
            Linear::new(out).bias(self.bias).role(role)
        };
        match self.kind {
            Kind::Gcn => {
                let y = b.propagate(x, self.edges, Propagation::Normalized);
                let names = (format!("{name}.lin.weight"), format!("{name}.bias"));
                b.linear(y, &format!("{name}.lin"), map(out).named(&names.0, &names.1))
            }
            Kind::Sage => {
                let y = b.propagate(x, self.edges, Propagation::Mean);
                let y = b.linear(y, &format!("{name}.lin_l"), map(out));
                let own = b.linear(x, &format!("{name}.lin_r"), map(out).bias(false));
                b.add(&[y, own])
            }
            Kind::Gin => {
                let y = b.propagate(x, self.edges, Propagation::Sum { own: 1.0 });
                let inner = Linear::new(out).bias(self.bias);
                let y = b.linear(y, &format!("{name}.nn.lins.0"), inner);
                let y = self.normalized(b, y, &format!("{name}.nn.norms.0"));
                let y = b.activation(y, self.act.clone());
                b.linear(y, &format!("{name}.nn.lins.1"), map(out))
            }
        }
    }

    fn normalized(&self, b: &mut Builder, x: ValueId, name: &str) -> ValueId {
        match self.norm {
            None => x,
            Some(NormKind::Batch) => b.norm(x, &format!("{name}.module"), NormKind::Batch, 1e-5, true),
            Some(kind) => b.norm(x, name, kind, 1e-5, true),
        }
    }
}
