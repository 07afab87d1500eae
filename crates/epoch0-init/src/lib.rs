//! Starts from nothing: initializers, presets of frameworks and models, and recipes that put them together.

pub mod calibrate;
mod shared;
pub mod start;

pub mod admin;
pub mod arch_aware;
pub mod auto;
pub mod autoencoder_filters;
pub mod batch_norm;
pub mod block_sparse;
pub mod constant;
pub mod convolution_aware;
pub mod dct;
pub mod delta_orthogonal;
pub mod denseshift;
pub mod dirac;
pub mod edge;
pub mod eigen_noise;
pub mod eoc;
pub mod eye;
pub mod fixup;
pub mod gabor;
pub mod gradinit;
pub mod he_normal;
pub mod he_uniform;
pub mod hf_default;
pub mod idinit;
pub mod jax_default;
pub mod kat;
pub mod keras_default;
pub mod kmeans_orth;
pub mod kumar;
pub mod layer_scale;
pub mod lecun_normal;
pub mod lecun_uniform;
pub mod low_rank;
pub mod lsuv;
pub mod maxout;
pub mod megatron;
pub mod metainit;
pub mod normal;
pub mod olmo;
pub mod ones;
pub mod orthogonal;
pub mod pca_filters;
pub mod poincare;
pub mod poincare_gaussian;
pub mod pytorch_default;
pub mod random_patches;
pub mod rezero;
pub mod sirens;
pub mod som_filters;
pub mod sparse;
pub mod sparse_coding;
pub mod spectral;
pub mod star;
pub mod structured_sparse;
pub mod student_t;
pub mod t_fixup;
pub mod timm_vit;
pub mod trunc_normal;
pub mod trunc_normal_tf;
pub mod uniform;
pub mod variance_scaling;
pub mod vi3nr;
pub mod virgo;
pub mod winner;
pub mod xavier_normal;
pub mod xavier_uniform;
pub mod zca_kmeans;
pub mod zero;
pub mod zeros;

use epoch0_method::{Entry, Initializer};

use calibrate::Calibrator;

/// Every method that draws weights from nothing else, by id.
pub static METHODS: &[&Entry<dyn Initializer>] = &[
    &arch_aware::ENTRY,
    &auto::ENTRY,
    &batch_norm::ENTRY,
    &block_sparse::ENTRY,
    &constant::ENTRY,
    &convolution_aware::ENTRY,
    &dct::ENTRY,
    &delta_orthogonal::ENTRY,
    &denseshift::ENTRY,
    &dirac::ENTRY,
    &edge::ENTRY,
    &eigen_noise::ENTRY,
    &eoc::ENTRY,
    &eye::ENTRY,
    &fixup::ENTRY,
    &gabor::ENTRY,
    &he_normal::ENTRY,
    &he_uniform::ENTRY,
    &hf_default::ENTRY,
    &idinit::ENTRY,
    &jax_default::ENTRY,
    &kat::ENTRY,
    &keras_default::ENTRY,
    &kumar::ENTRY,
    &layer_scale::ENTRY,
    &lecun_normal::ENTRY,
    &lecun_uniform::ENTRY,
    &low_rank::ENTRY,
    &maxout::ENTRY,
    &megatron::ENTRY,
    &normal::ENTRY,
    &olmo::ENTRY,
    &ones::ENTRY,
    &orthogonal::ENTRY,
    &poincare::ENTRY,
    &poincare_gaussian::ENTRY,
    &pytorch_default::ENTRY,
    &rezero::ENTRY,
    &sirens::ENTRY,
    &sparse::ENTRY,
    &spectral::ENTRY,
    &star::ENTRY,
    &structured_sparse::ENTRY,
    &student_t::ENTRY,
    &t_fixup::ENTRY,
    &timm_vit::ENTRY,
    &trunc_normal::ENTRY,
    &trunc_normal_tf::ENTRY,
    &uniform::ENTRY,
    &variance_scaling::ENTRY,
    &vi3nr::ENTRY,
    &winner::ENTRY,
    &xavier_normal::ENTRY,
    &xavier_uniform::ENTRY,
    &zero::ENTRY,
    &zeros::ENTRY,
];

/// Every method that looks at a batch, by id.
pub static CALIBRATORS: &[&Entry<dyn Calibrator>] = &[
    &admin::ENTRY,
    &autoencoder_filters::ENTRY,
    &gradinit::ENTRY,
    &kmeans_orth::ENTRY,
    &lsuv::ENTRY,
    &metainit::ENTRY,
    &pca_filters::ENTRY,
    &random_patches::ENTRY,
    &som_filters::ENTRY,
    &sparse_coding::ENTRY,
    &virgo::ENTRY,
    &zca_kmeans::ENTRY,
];

/// The initializer of that id or alias; [`calibrate::find`] finds the others.
///
/// # Errors
/// [`epoch0_method::Error::UnknownMethod`], with ids that are close.
pub fn find(name: &str) -> Result<&'static Entry<dyn Initializer>, epoch0_method::Error> {
    epoch0_method::find(METHODS, name)
}
