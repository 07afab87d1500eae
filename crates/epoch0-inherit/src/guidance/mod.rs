//! Guidance: a network that learns at first to see examples as another one does.
//!
//! # Idea
//! A network whose architecture does not suit a task, such as a deep one of linear maps on images or a deep convolutional one
//! without skips, trains badly. Another network's architecture does suit it, and its layers see examples in a better way even
//! before it has learned anything. Drawing the layers of the first to see examples alike, for all of training or only its
//! first steps, makes it trainable.
//!
//! # Method
//! 1. Both networks are given a batch. Layers are what linear maps, convolutions, means over windows, recurrent layers, layer
//!    normalizations and attention answer, without the last. The guide's layer i of G goes with layer i (N - 1) / (G - 1) of N,
//!    rounded.
//! 2. The loss is that of the task and `weight` · Σ (1 - CKA), with linear centred kernel alignment of both layers' features Φ, Ψ
//!    `[example, feature]`: ⟨K, L⟩ / (‖K‖ ‖L‖) for K = HΦΦᵀH, L = HΨΨᵀH and H taking means away.
//! 3. Adam takes `steps` steps. The guide stays as it is: the one given, trained or as it is drawn.
//!
//! What comes out is a start; `epoch0 train` goes on from it.
//!
//! # Shapes
//! Two networks that take the same data, of any kind each.
//!
//! # Cost
//! A step takes one of training and a forward pass of the guide, and n² p for each layer of p features of n examples.
//!
//! # Departures
//! One forward pass serves the loss and the alignment, where the authors' code runs two. Guiding by noise in the place of
//! examples is not there.
//!
//! # Traps
//! - On small batches of wide layers CKA is near 1 whatever they hold: `unbiased` takes that away.
//! - A guide that was trained has seen the labels; one that was not tells what its architecture is worth.
//!
//! # Example
//! ```
//! use epoch0_inherit::{Needs, find};
//!
//! let method = (find("guidance").unwrap().build)(&Default::default()).unwrap();
//! assert_eq!(method.needs(), Needs::Training);
//! ```
//!
//! # References
//! - [subramaniam2024training] Section 3

mod claims;

use epoch0_method::{Entry, Error, Family, Info, Params, Status, Values};
use epoch0_train::lesson::Alignment;
use epoch0_train::{Adam, Optimizer, Settings, Span, Status as Ended, Trainer};

use crate::pair::refuse;
use crate::{Inheritance, Inheritor, Kin, Needs, Origin};

/// Parameters of guidance.
#[derive(Clone, Debug, Params)]
pub struct Guidance {
    /// Steps that are guided.
    #[param(default = 300, range = "[1, 10000000]")]
    pub steps: u32,
    /// Factor of what is missing to the guide's view.
    #[param(default = 1.0, range = "[0, inf)")]
    pub weight: f64,
    /// The learning rate of Adam.
    #[param(default = 0.001, range = "(0, inf)")]
    pub learning_rate: f64,
    /// Examples in a batch.
    #[param(default = 64, range = "[4, 65536]")]
    pub batch: u32,
    /// Whether the alignment is estimated without bias.
    #[param(default = false)]
    pub unbiased: bool,
}

/// The method as the registry knows it.
pub static ENTRY: Entry<dyn Inheritor> = Entry { info: &INFO, build, claims: claims::CLAIMS };

static INFO: Info = Info {
    id: "guidance",
    aliases: &["representational_alignment"],
    family: Family::Inherit,
    papers: &["subramaniam2024training"],
    source: include_str!("mod.rs"),
    params: Guidance::PARAMS,
    random: true,
    status: Status::Checked { since: "0.1.0" },
    waivers: &[],
};

fn build(values: &Values) -> Result<Box<dyn Inheritor>, Error> {
    Ok(Box::new(Guidance::from_values(INFO.id, values)?))
}

impl Inheritor for Guidance {
    fn needs(&self) -> Needs {
        Needs::Training
    }

    fn inherit(&self, kin: &Kin<'_>) -> Result<Inheritance, Error> {
        let on = kin.training(INFO.id)?;
        let failed = |error: epoch0_train::Error| {
            let hint = "give data that both networks take (`epoch0 data list`)";
            refuse(INFO.id, kin.child.name(), &error.to_string(), hint)
        };
        let mut alignment = Alignment::new(kin.child, kin.parent, on.parent, on.data).map_err(failed)?;
        (alignment.weight, alignment.unbiased) = (self.weight, self.unbiased);
        let length = Span::Steps(u64::from(self.steps));
        let settings = Settings {
            length,
            optimizer: Optimizer::Adam(Adam::default()),
            learning_rate: self.learning_rate,
            batch: self.batch as usize,
            seed: kin.seed,
            test_every: length,
            ..Settings::default()
        };
        let trainer = Trainer::new(kin.child, on.child.clone(), on.data, settings).map_err(failed)?;
        let mut trainer = trainer.with_lesson(&alignment);
        if let Ended::Diverged { step, what } = trainer.run(&mut ()).map_err(failed)? {
            return Err(Error::NotFinite {
                method: INFO.id.to_owned(),
                site: format!("{what} of step {step}"),
                value: "NaN or infinite".to_owned(),
            });
        }
        Ok(Inheritance {
            params: vec![Origin::Drawn; kin.child.params().len()],
            learned: Some(trainer.into_weights()),
            ..Inheritance::default()
        })
    }
}
