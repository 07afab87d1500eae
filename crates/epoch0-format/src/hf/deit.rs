//! DeiT: ViT with a second token, which learns from a teacher.

use epoch0_net::{Builder, Network, Op, Role, Site};
use epoch0_num::Law;

use super::decoder::init_std;
use super::vit::{IGNORED, body, classify, outputs};
use super::{Config, ConfigError, Family, usual_start};

pub(super) static FAMILY: Family = Family {
    model_type: "deit",
    architectures: &["DeiTForImageClassification", "DeiTForImageClassificationWithTeacher", "DeiTModel"],
    ignored: IGNORED,
    build,
    start,
};

fn build(config: &Config, architecture: &str, b: &mut Builder) -> Result<(), ConfigError> {
    let root = if architecture == "DeiTModel" { "" } else { "deit." };
    let hidden = body(config, b, root, &["distillation_token"])?;
    match architecture {
        "DeiTForImageClassification" => {
            let logits = classify(config, b, hidden, 0, "classifier")?;
            b.output(logits, "logits");
        }
        "DeiTForImageClassificationWithTeacher" => {
            let class = classify(config, b, hidden, 0, "cls_classifier")?;
            let distilled = classify(config, b, hidden, 1, "distillation_classifier")?;
            let sum = b.add(&[class, distilled]);
            let mean = b.unary(sum, Op::Scale(0.5));
            b.output(mean, "logits");
            b.output(class, "cls_logits");
            b.output(distilled, "distillation_logits");
        }
        _ => outputs(config, b, hidden)?,
    }
    Ok(())
}

/// `initializer_range` throughout; tokens and positions zero.
fn start(config: &Config, _: &Network, site: &Site) -> Result<Law, ConfigError> {
    Ok(match site.role {
        Role::Token | Role::Position => Law::Constant { value: 0.0 },
        _ => usual_start(site, init_std(config)?),
    })
}
