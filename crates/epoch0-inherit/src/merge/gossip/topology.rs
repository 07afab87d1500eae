//! Who talks to whom.

use std::fmt;
use std::str::FromStr;

use epoch0_method::Error;
use epoch0_num::Stream;

/// A graph of nodes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Topology {
    /// Each with the next, the last with the first.
    Ring,
    /// Each with every other.
    Complete,
    /// A graph drawn among those in which each has so many neighbours.
    Regular(usize),
    /// Each pair with that probability (Erdős and Rényi).
    Random(f64),
}

pub(super) fn wrong(name: &str, got: impl fmt::Display, allowed: impl Into<String>) -> Error {
    Error::Param {
        method: "gossip".to_owned(),
        name: name.to_owned(),
        got: got.to_string(),
        allowed: allowed.into(),
    }
}

impl FromStr for Topology {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = || wrong("topology", text, "ring, full, regular:K or er:P with P from 0 to 1");
        let (word, number) = text.split_once(':').map_or((text, None), |(word, number)| (word, Some(number)));
        match (word, number) {
            ("ring", None) => Ok(Self::Ring),
            ("full" | "complete", None) => Ok(Self::Complete),
            ("regular", Some(number)) => number.parse().map(Self::Regular).map_err(|_| refuse()),
            ("er" | "random", Some(number)) => match number.parse() {
                Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self::Random(share)),
                _ => Err(refuse()),
            },
            _ => Err(refuse()),
        }
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring => f.write_str("ring"),
            Self::Complete => f.write_str("full"),
            Self::Regular(degree) => write!(f, "regular:{degree}"),
            Self::Random(share) => write!(f, "er:{share}"),
        }
    }
}

/// Draws of a graph before it is given up.
const TRIES: usize = 1000;

impl Topology {
    /// The neighbours of each of `n` nodes, rising. The graph is connected.
    ///
    /// # Errors
    /// When there is no such graph of `n` nodes, or none that is connected was found.
    pub fn neighbours(self, n: usize, stream: &Stream) -> Result<Vec<Vec<usize>>, Error> {
        if n < 2 {
            return Err(wrong("nodes", n, "2 or more"));
        }
        match self {
            Self::Ring => Ok(lists(n, (0..n).map(|at| (at, (at + 1) % n)))),
            Self::Complete => Ok(lists(n, (0..n).flat_map(|at| (0..at).map(move |other| (at, other))))),
            Self::Regular(degree) => {
                let is_possible = degree > 0 && degree < n && (degree * n).is_multiple_of(2);
                // Pairs of nodes only are connected where there are two.
                if !is_possible || (degree == 1 && n > 2) {
                    let allowed = format!("a degree from 2 to {} with an even sum over {n} nodes", n - 1);
                    return Err(wrong("topology", self, allowed));
                }
                self.tried(n, |nth| regular(n, degree, &stream.child(&nth.to_string())))
            }
            Self::Random(share) => self.tried(n, |nth| {
                let stream = stream.child(&nth.to_string());
                let pairs = (0..n).flat_map(|at| (0..at).map(move |other| (at, other)));
                let is_joined = |nth: usize| (stream.word(nth as u64) as f64) < share * 2f64.powi(32);
                Some(lists(n, pairs.enumerate().filter(|(nth, _)| is_joined(*nth)).map(|(_, pair)| pair)))
            }),
        }
    }

    /// The first of many draws that is connected.
    fn tried(
        self,
        n: usize,
        draw: impl Fn(usize) -> Option<Vec<Vec<usize>>>,
    ) -> Result<Vec<Vec<usize>>, Error> {
        let found = (0..TRIES).filter_map(draw).find(|graph| is_connected(graph));
        found.ok_or_else(|| {
            wrong("topology", self, format!("one of {n} nodes that is connected: none was in {TRIES} draws"))
        })
    }
}

fn lists(n: usize, edges: impl Iterator<Item = (usize, usize)>) -> Vec<Vec<usize>> {
    let mut lists = vec![Vec::new(); n];
    for (a, b) in edges {
        lists[a].push(b);
        lists[b].push(a);
    }
    for list in &mut lists {
        list.sort_unstable();
        list.dedup();
    }
    lists
}

/// Ends of edges are paired at random, those that would make a loop or a second edge left out (Steger and Wormald 1999); none
/// where no pair is left.
fn regular(n: usize, degree: usize, stream: &Stream) -> Option<Vec<Vec<usize>>> {
    let mut ends: Vec<usize> = (0..n * degree).map(|end| end / degree).collect();
    let mut graph = vec![Vec::new(); n];
    let mut word = 0;
    let mut below = |bound: usize| {
        word += 1;
        stream.below(word, bound as u64) as usize
    };
    while !ends.is_empty() {
        let fits = |graph: &[Vec<usize>], a: usize, b: usize| a != b && !graph[a].contains(&b);
        let is_left = (0..ends.len()).any(|x| (0..x).any(|y| fits(&graph, ends[x], ends[y])));
        if !is_left {
            return None;
        }
        let (x, y) = (below(ends.len()), below(ends.len()));
        let (a, b) = (ends[x], ends[y]);
        if fits(&graph, a, b) {
            graph[a].push(b);
            graph[b].push(a);
            ends.swap_remove(x.max(y));
            ends.swap_remove(x.min(y));
        }
    }
    graph.iter_mut().for_each(|list| list.sort_unstable());
    Some(graph)
}

fn is_connected(graph: &[Vec<usize>]) -> bool {
    let mut seen = vec![false; graph.len()];
    let mut open = vec![0];
    seen[0] = true;
    while let Some(at) = open.pop() {
        for &next in &graph[at] {
            if !seen[next] {
                seen[next] = true;
                open.push(next);
            }
        }
    }
    seen.into_iter().all(|seen| seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphs_are_what_they_say() {
        let stream = Stream::new(0, "graph");
        assert_eq!(Topology::Ring.neighbours(4, &stream).unwrap()[0], [1, 3]);
        assert_eq!(Topology::Ring.neighbours(2, &stream).unwrap(), [[1], [0]]);
        assert_eq!(Topology::Complete.neighbours(3, &stream).unwrap()[1], [0, 2]);
        for (n, degree) in [(16, 4), (50, 8), (5, 4), (6, 3), (2, 1)] {
            let graph = Topology::Regular(degree).neighbours(n, &stream).unwrap();
            assert!(graph.iter().all(|list| list.len() == degree) && is_connected(&graph));
            for (at, list) in graph.iter().enumerate() {
                assert!(list.iter().all(|&other| other != at && graph[other].contains(&at)));
            }
        }
        let graph = Topology::Random(0.3).neighbours(20, &stream).unwrap();
        let edges = graph.iter().map(Vec::len).sum::<usize>() / 2;
        assert!(is_connected(&graph) && (30..90).contains(&edges), "{edges}");
        for wrong in [Topology::Regular(3), Topology::Regular(5), Topology::Regular(0), Topology::Random(0.0)]
        {
            assert!(wrong.neighbours(5, &stream).is_err(), "{wrong}");
        }
    }

    #[test]
    fn topologies_have_words() {
        for text in ["ring", "full", "regular:4", "er:0.25"] {
            assert_eq!(text.parse::<Topology>().unwrap().to_string(), text);
        }
        for text in ["star", "regular", "regular:x", "er:2", "ring:3"] {
            assert!(text.parse::<Topology>().is_err(), "{text}");
        }
    }
}
