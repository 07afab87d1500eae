//! Cells whose nodes sum what comes in over any earlier node: the random architectures of Chen et al. 2024.

use epoch0_num::Activation;

use super::parts::Image;
use super::spec::{Spec, WIDTH};
use crate::{Builder, Linear, Pool, Role, ValueId, Window};

/// What an edge does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    None,
    Skip,
    Map,
}

/// Nodes that a cell has at most.
const NODES: usize = 64;

/// Edges into each node but the first, from each node before it.
struct Cell(Vec<Vec<Edge>>);

impl Cell {
    /// Reads `2_02_002`: node by node its edges from nodes 0, 1, …; 0 is none, 1 a skip, 2 a map.
    fn read(spec: &mut Spec<'_>) -> Result<Self, String> {
        let text = spec.text("cell").unwrap_or("2_02_002");
        let wrong = |why: String| {
            Err(format!(
                "cell is `{text}`: {why}\nhint: node by node its edges from nodes 0, 1, …, as in 2_02_002"
            ))
        };
        let mut nodes = Vec::new();
        for (at, word) in text.split('_').enumerate() {
            if at >= NODES || word.len() != at + 1 {
                return wrong(format!(
                    "node {} has {} edges, allowed {} up to node {NODES}",
                    at + 1,
                    word.len(),
                    at + 1
                ));
            }
            let mut edges = Vec::new();
            for letter in word.chars() {
                edges.push(match letter {
                    '0' => Edge::None,
                    '1' => Edge::Skip,
                    '2' => Edge::Map,
                    _ => return wrong(format!("`{letter}` is no edge, allowed 0, 1 and 2")),
                });
            }
            nodes.push(edges);
        }
        let cell = Self(nodes);
        if cell.reached().last() == Some(&false) {
            return wrong("no path leads to the last node".to_owned());
        }
        Ok(cell)
    }

    /// Whether a path leads from node 0 to each node.
    fn reached(&self) -> Vec<bool> {
        let mut reached = vec![true];
        for edges in &self.0 {
            reached.push(edges.iter().zip(&reached).any(|(edge, from)| *edge != Edge::None && *from));
        }
        reached
    }

    /// Whether each node is read on a way to the last.
    fn needed(&self) -> Vec<bool> {
        let mut needed = vec![false; self.0.len() + 1];
        needed[self.0.len()] = true;
        for (at, edges) in self.0.iter().enumerate().rev() {
            for (from, _) in edges.iter().enumerate().filter(|(_, edge)| **edge != Edge::None) {
                needed[from] |= needed[at + 1];
            }
        }
        needed
    }

    /// Puts nodes after one another: the value of a node is the sum of its edges.
    fn build(
        &self,
        b: &mut Builder,
        x: ValueId,
        map: &impl Fn(&mut Builder, ValueId, &str) -> ValueId,
    ) -> ValueId {
        let (mut nodes, needed) = (vec![Some(x)], self.needed());
        for (to, edges) in self.0.iter().enumerate() {
            let mut terms = Vec::new();
            for (from, edge) in edges.iter().enumerate().filter(|_| needed[to + 1]) {
                let Some(value) = nodes[from] else { continue };
                match edge {
                    Edge::None => {}
                    Edge::Skip => terms.push(value),
                    Edge::Map => terms.push(map(b, value, &format!("cell.{}.{from}", to + 1))),
                }
            }
            nodes.push(match terms[..] {
                [] => None,
                [one] => Some(one),
                _ => Some(b.add(&terms)),
            });
        }
        nodes.pop().flatten().unwrap_or(x)
    }
}

/// A stem, a cell of linear maps with their activations, a readout.
pub(super) fn dag(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    let sizes = spec.sizes_needed("IN-WIDTH-OUT", 3..=3, &WIDTH)?;
    let act = spec.activation("act", Activation::Relu)?;
    let cell = Cell::read(spec)?;
    let x = b.input("x", &[None, Some(sizes[0])]);
    b.name_axis(x, -1, "inputs");
    let layer = |b: &mut Builder, x: ValueId, name: &str| {
        let y = b.linear(x, name, Linear::new(sizes[1]));
        b.activation(y, act.clone())
    };
    let x = layer(b, x, "stem");
    let x = cell.build(b, x, &layer);
    let y = b.linear(x, "head", Linear::new(sizes[2]).role(Role::Readout));
    b.output(y, "y");
    Ok(())
}

/// The same of convolutions, with the mean over space before the readout.
pub(super) fn conv_dag(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    let width = spec.sizes_needed("WIDTH", 1..=1, &WIDTH)?[0];
    let image = Image::cifar(spec)?;
    let act = spec.activation("act", Activation::Relu)?;
    let kernel = spec.size("kernel", 3, &(1..=31))?;
    if kernel.is_multiple_of(2) {
        return Err(format!("kernel is {kernel}, allowed odd numbers: an even one cannot keep the size"));
    }
    let cell = Cell::read(spec)?;
    let x = image.input(b);
    let layer = |b: &mut Builder, x: ValueId, name: &str| {
        let y = b.conv(x, name, width, Window::square(kernel, 1, kernel / 2), 1, true);
        b.activation(y, act.clone())
    };
    let x = layer(b, x, "stem");
    let x = cell.build(b, x, &layer);
    let x = b.pool(x, Pool::GlobalMean);
    let x = b.flatten(x);
    image.classify(b, x, "head");
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::zoo::build;

    #[test]
    fn edges_are_maps_and_skips() {
        let net = build("dag:8-16-3,cell=2_12_020").unwrap();
        let names: Vec<&str> = net.params().iter().map(|param| param.name.as_str()).collect();
        assert_eq!(
            names.iter().filter(|name| name.ends_with("weight")).copied().collect::<Vec<_>>(),
            ["stem.weight", "cell.1.0.weight", "cell.3.1.weight", "head.weight"],
            "what leads nowhere is not part of it"
        );
        assert!(build("conv_dag:8,cell=2_01,kernel=5").unwrap().find("cell.1.0.weight").is_some());
    }

    #[test]
    fn wrong_cells_are_refused() {
        for (cell, why) in
            [("", "edges"), ("2_2", "edges"), ("3", "no edge"), ("2_00", "no path"), ("0_12_000", "no path")]
        {
            let error = build(&format!("dag:8-16-3,cell={cell}")).unwrap_err().to_string();
            assert!(error.contains(why), "{cell}: {error}");
        }
        assert!(build("conv_dag:8,kernel=4").unwrap_err().to_string().contains("odd"));
    }
}
