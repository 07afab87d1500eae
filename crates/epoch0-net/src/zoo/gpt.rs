//! A small decoder of words in the manner of GPT-2, named as nanoGPT names it.

use epoch0_num::Activation;

use super::parts::{attention, feed_forward};
use super::spec::{Spec, WIDTH};
use crate::{Builder, Linear, NormKind, Role};

pub(super) fn build(spec: &mut Spec<'_>, b: &mut Builder) -> Result<(), String> {
    // Each layer has four weights.
    let layers = spec.size("layers", 12, &(1..=2_500))?;
    let heads = spec.size("heads", 12, &WIDTH)?;
    let embed = spec.size("embed", 768, &WIDTH)?;
    let inner = spec.size("mlp", 4 * embed, &WIDTH)?;
    let vocab = spec.size("vocab", 50304, &WIDTH)?;
    let n_positions = spec.size("positions", 1024, &WIDTH)?;
    let bias = spec.flag("bias", true)?;
    let tied = spec.flag("tied", true)?;
    let act = spec.activation("act", Activation::Gelu)?;
    let norm = spec.choice("norm", "pre", &["pre", "post", "none"])?;
    if embed % heads != 0 {
        return Err(format!("embed is {embed}, allowed multiples of heads, {heads}"));
    }
    let ids = b.index_input("input_ids", &[None, None]);
    let positions = b.index_input("position_ids", &[None, None]);
    let words = b.embedding(ids, "transformer.wte", vocab, embed, Role::Embedding, None);
    b.name_axis(words, -1, "embed");
    let places = b.embedding(positions, "transformer.wpe", n_positions, embed, Role::Position, None);
    let mut x = b.add(&[words, places]);
    for layer in 0..layers {
        let block = format!("transformer.h.{layer}");
        b.block(&block);
        let name = |part: &str| format!("{block}.{part}");
        let normalized = |b: &mut Builder, x, at: &str, part: &str| {
            if norm == at { b.norm(x, &name(part), NormKind::Layer, 1e-5, bias) } else { x }
        };
        let y = normalized(b, x, "pre", "ln_1");
        let y = b.linear(y, &name("attn.c_attn"), Linear::new(3 * embed).bias(bias));
        let qkv = b.split(y, &[("q", embed), ("k", embed), ("v", embed)]);
        let y = b.attention(qkv[0], qkv[1], qkv[2], None, attention(heads, embed, true));
        let y = b.linear(y, &name("attn.c_proj"), Linear::new(embed).bias(bias));
        x = b.add(&[x, y]);
        x = normalized(b, x, "post", "ln_1");
        let y = normalized(b, x, "pre", "ln_2");
        let names = [name("mlp.c_fc"), name("mlp.c_proj")];
        let y = feed_forward(b, y, [&names[0], &names[1]], inner, act.clone(), bias);
        x = b.add(&[x, y]);
        x = normalized(b, x, "post", "ln_2");
    }
    b.end_block();
    let x = if norm == "pre" { b.norm(x, "transformer.ln_f", NormKind::Layer, 1e-5, bias) } else { x };
    let logits = if tied {
        b.tie("lm_head.weight", "transformer.wte.weight");
        b.linear_tied(x, "transformer.wte.weight", None)
    } else {
        b.linear(x, "lm_head", Linear::new(vocab).bias(false).role(Role::Readout))
    };
    b.output(logits, "logits");
    Ok(())
}
