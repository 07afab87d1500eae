//! Axes: which dimensions of which parameters have to keep the same size and order.
//!
//! Every operation says which dimensions it couples. Couplings are kept in a union-find whose classes may have a
//! structure (heads × head size, queries then keys then values); joining two classes joins their structures too.

use serde::Serialize;

/// Index of an axis in its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct AxisId(pub u32);

/// What an axis is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Structure {
    /// The first varies slowest: `heads × head_dim`.
    Product(Vec<AxisId>),
    /// One after the other: queries, keys, values.
    Concat(Vec<AxisId>),
}

impl Structure {
    /// The axes that it is made of.
    pub fn parts(&self) -> &[AxisId] {
        match self {
            Self::Product(parts) | Self::Concat(parts) => parts,
        }
    }

    fn is_same_kind(&self, other: &Self) -> bool {
        matches!(
            (self, other),
            (Self::Product(a), Self::Product(b)) | (Self::Concat(a), Self::Concat(b)) if a.len() == b.len()
        )
    }
}

/// A named width of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Axis {
    /// Name: `embed`, `vocab`, `h.0.heads`…
    pub name: String,
    /// Size; `None` for what only a run decides (batch, positions of an input).
    pub size: Option<usize>,
    /// What it is made of.
    pub structure: Option<Structure>,
}

/// Axes while a network is being built.
#[derive(Clone, Debug, Default)]
pub(crate) struct Couplings {
    classes: Vec<Class>,
}

#[derive(Clone, Debug)]
struct Class {
    parent: u32,
    size: Option<usize>,
    structure: Option<Structure>,
    /// Name and how much it is worth: 2 said by the author, 1 from the first parameter, 0 none.
    name: Option<(u8, String)>,
}

/// Two sizes that should be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clash(pub(crate) usize, pub(crate) usize);

impl Couplings {
    pub(crate) fn fresh(&mut self, size: Option<usize>) -> AxisId {
        let id = AxisId(self.classes.len() as u32);
        self.classes.push(Class { parent: id.0, size, structure: None, name: None });
        id
    }

    pub(crate) fn structured(&mut self, structure: Structure) -> AxisId {
        // A size beyond what can be counted is not known.
        let mut sizes = structure.parts().iter().map(|&part| self.size(part));
        let size = match structure {
            Structure::Product(_) => sizes.try_fold(1usize, |all, size| all.checked_mul(size?)),
            Structure::Concat(_) => sizes.try_fold(0usize, |all, size| all.checked_add(size?)),
        };
        let id = self.fresh(size);
        self.classes[id.0 as usize].structure = Some(structure);
        id
    }

    pub(crate) fn root(&self, id: AxisId) -> AxisId {
        let mut at = id.0;
        while self.classes[at as usize].parent != at {
            at = self.classes[at as usize].parent;
        }
        AxisId(at)
    }

    fn class(&self, id: AxisId) -> &Class {
        &self.classes[self.root(id).0 as usize]
    }

    pub(crate) fn size(&self, id: AxisId) -> Option<usize> {
        self.class(id).size
    }

    #[cfg(test)]
    pub(crate) fn structure(&self, id: AxisId) -> Option<&Structure> {
        self.class(id).structure.as_ref()
    }

    /// Gives the class of `id` a name, unless it has one of the same worth or more.
    pub(crate) fn name(&mut self, id: AxisId, worth: u8, name: &str) {
        let root = self.root(id).0 as usize;
        if self.classes[root].name.as_ref().is_none_or(|(have, _)| *have < worth) {
            self.classes[root].name = Some((worth, name.to_owned()));
        }
    }

    /// Whether no two parts have sizes that are known and differ.
    fn fit(&self, a: &[AxisId], b: &[AxisId]) -> bool {
        let differ = |(&a, &b): (&AxisId, &AxisId)| matches!((self.size(a), self.size(b)), (Some(a), Some(b)) if a != b);
        !a.iter().zip(b).any(differ)
    }

    /// Makes two axes one.
    pub(crate) fn join(&mut self, a: AxisId, b: AxisId) -> Result<(), Clash> {
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return Ok(());
        }
        let (keep, drop) = if a < b { (a, b) } else { (b, a) };
        let dropped = self.classes[drop.0 as usize].clone();
        let kept = &mut self.classes[keep.0 as usize];
        if let (Some(left), Some(right)) = (kept.size, dropped.size)
            && left != right
        {
            return Err(Clash(left, right));
        }
        kept.size = kept.size.or(dropped.size);
        if let Some((worth, name)) = dropped.name
            && kept.name.as_ref().is_none_or(|(have, _)| *have < worth)
        {
            kept.name = Some((worth, name));
        }
        let mine = kept.structure.clone();
        let both = match (&mine, dropped.structure) {
            (None, other) => {
                self.classes[keep.0 as usize].structure = other;
                None
            }
            (Some(mine), Some(other))
                if mine.is_same_kind(&other) && self.fit(mine.parts(), other.parts()) =>
            {
                Some((mine.parts().to_vec(), other.parts().to_vec()))
            }
            // One axis seen in two ways (say, flattened space and packed heads): the first seen stays.
            (Some(_), _) => None,
        };
        self.classes[drop.0 as usize].parent = keep.0;
        for (x, y) in both.into_iter().flat_map(|(x, y)| x.into_iter().zip(y)) {
            self.join(x, y)?;
        }
        Ok(())
    }

    /// Whether two axes are already one.
    #[cfg(test)]
    pub(crate) fn same(&self, a: AxisId, b: AxisId) -> bool {
        self.root(a) == self.root(b)
    }

    /// The axes that remain, and for each old id its new one.
    pub(crate) fn finish(&self) -> (Vec<Axis>, Vec<AxisId>) {
        let mut new = vec![AxisId(u32::MAX); self.classes.len()];
        let mut roots = Vec::new();
        for id in 0..self.classes.len() {
            let root = self.root(AxisId(id as u32)).0 as usize;
            if new[root].0 == u32::MAX {
                new[root] = AxisId(roots.len() as u32);
                roots.push(root);
            }
            new[id] = new[root];
        }
        let rename = |parts: &[AxisId]| parts.iter().map(|part| new[part.0 as usize]).collect::<Vec<_>>();
        let axes = roots
            .iter()
            .enumerate()
            .map(|(index, &root)| {
                let class = &self.classes[root];
                Axis {
                    name: class
                        .name
                        .as_ref()
                        .map_or_else(|| format!("axis{index}"), |(_, name)| name.clone()),
                    size: class.size,
                    structure: class.structure.as_ref().map(|structure| match structure {
                        Structure::Product(parts) => Structure::Product(rename(parts)),
                        Structure::Concat(parts) => Structure::Concat(rename(parts)),
                    }),
                }
            })
            .collect();
        (axes, new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joining_products_joins_their_factors() {
        let mut axes = Couplings::default();
        let (heads, dim) = (axes.fresh(Some(4)), axes.fresh(Some(8)));
        let (other_heads, other_dim) = (axes.fresh(Some(4)), axes.fresh(Some(8)));
        let a = axes.structured(Structure::Product(vec![heads, dim]));
        let b = axes.structured(Structure::Product(vec![other_heads, other_dim]));
        assert_eq!(axes.size(a), Some(32));
        axes.join(a, b).unwrap();
        assert!(axes.same(heads, other_heads) && axes.same(dim, other_dim));
        assert!(!axes.same(heads, dim));
    }

    #[test]
    fn sizes_that_differ_clash() {
        let mut axes = Couplings::default();
        let (a, b) = (axes.fresh(Some(3)), axes.fresh(Some(4)));
        assert_eq!(axes.join(a, b), Err(Clash(3, 4)));
    }

    #[test]
    fn structure_found_later_is_kept() {
        let mut axes = Couplings::default();
        let plain = axes.fresh(Some(6));
        let parts = [axes.fresh(Some(2)), axes.fresh(Some(4))];
        let packed = axes.structured(Structure::Concat(parts.to_vec()));
        axes.join(plain, packed).unwrap();
        assert_eq!(axes.structure(plain), Some(&Structure::Concat(parts.to_vec())));
    }
}
