//! Networks as data: a graph of operations, its parameters, their axes and the sites where they meet values.
//!
//! A [`Network`] is made by a [`Builder`] (by hand, by the [`zoo`], by a reader of a config or a file). Axes and
//! sites are derived from the graph once, when the builder finishes; nothing guesses from a tensor's shape.

mod axis;
mod builder;
mod error;
mod fold;
mod general;
mod learned;
pub mod moments;
mod network;
mod op;
mod param;
mod poincare;
mod site;
mod spiking;
mod work;
pub mod zoo;

pub use axis::{Axis, AxisId, Structure};
pub use builder::{Builder, Head, Linear, Link, NamedConv, NamedLinear, NamedNorm, NamedRecurrent};
pub use error::NetError;
pub use fold::{Fold, Folding, Outputs, Unfoldable, WhyNot};
pub use general::{Binary, Cell, Constant, ConstantData, Extent, Reduction, Relation, Unary};
pub use learned::{Made, Mixture, Share, Shift};
pub use network::{GraphInputs, Network, Node, NodeId, Source, Tie, Value, ValueId};
pub use op::{Attention, Layout, NormKind, Op, Pool, Rope, Window};
pub use param::{Fixed, Param, ParamId, Role};
pub use poincare::{Centre, Poincare};
pub use site::{Branch, BranchEnd, Fans, Maxout, Site, Strided, View};
pub use spiking::Spiking;
