//! Which rule covers which parameter.

use epoch0_init::METHODS;
use epoch0_init::start::{Plan, Recipe};
use epoch0_net::{Builder, Linear, Network, NormKind, Source};
use epoch0_num::Dtype;

fn net() -> Network {
    let mut b = Builder::new("net", Source::Built, Dtype::F32);
    let mut x = b.input("x", &[None, Some(16)]);
    for block in 0..3 {
        b.block(&format!("blocks.{block}"));
        let y = b.norm(x, &format!("blocks.{block}.norm"), NormKind::Layer, 1e-5, true);
        let y = b.linear(y, &format!("blocks.{block}.fc"), Linear::new(16));
        x = b.add(&[x, y]);
    }
    b.end_block();
    let y = b.linear(x, "head", Linear::new(4));
    b.output(y, "y");
    b.finish().unwrap()
}

fn law(net: &Network, recipe: &str, name: &str) -> Result<String, String> {
    let recipe = Recipe::from_yaml("recipe", recipe).map_err(|error| error.to_string())?;
    let plan = Plan::new(METHODS, net, &recipe, 0).map_err(|error| error.to_string())?;
    let id = net.find(name).unwrap();
    Ok(plan.sites_of(id)[0].law.to_string())
}

#[test]
fn later_rules_win_and_scales_add_up() {
    let net = net();
    let recipe = "base: pytorch_default
rules:
  - {match: '*.weight', role: weight, with: normal, set: {std: 1}}
  - {match: 'blocks.1.*', role: weight, with: normal, set: {std: 2}}
  - {ends_branch: true, scale: 0.5}
  - {match: 'blocks.2.*', role: weight, scale: 0.5}
";
    assert_eq!(law(&net, recipe, "head.weight").unwrap(), "normal(0, 1)");
    assert_eq!(law(&net, recipe, "blocks.0.fc.weight").unwrap(), "normal(0, 0.5)");
    assert_eq!(law(&net, recipe, "blocks.1.fc.weight").unwrap(), "normal(0, 1)");
    assert_eq!(law(&net, recipe, "blocks.2.fc.weight").unwrap(), "normal(0, 0.25)");
    assert_eq!(law(&net, recipe, "blocks.1.norm.weight").unwrap(), "ones");
}

#[test]
fn lists_run_over_the_blocks() {
    let net = net();
    let recipe = "base: pytorch_default
rules: [{match: 'blocks.*.fc.weight', with: normal, set: {std: [1, 3]}}]";
    let at = |block: usize| law(&net, recipe, &format!("blocks.{block}.fc.weight")).unwrap();
    assert_eq!([0, 1, 2].map(at), ["normal(0, 1)", "normal(0, 2)", "normal(0, 3)"]);
    let outside = "base: pytorch_default\nrules: [{match: '*.weight', with: normal, set: {std: [1, 3]}}]";
    let error = law(&net, outside, "head.weight").unwrap_err();
    assert!(error.starts_with("rule 1: std at head.weight: a list runs over blocks"), "{error}");
}

#[test]
fn what_no_rule_covers_is_named() {
    let error = law(&net(), "rules: [{with: he_normal}]", "head.weight").unwrap_err();
    assert!(error.starts_with("10 parameters have no rule: blocks.0.norm.weight"), "{error}");
}

#[test]
fn a_rule_for_nothing_is_a_slip() {
    let idle = |rule: &str| {
        law(&net(), &format!("base: pytorch_default\nrules: [{rule}]"), "head.weight").unwrap_err()
    };
    assert!(
        idle("{match: 'block.*', with: zeros}").starts_with("rule 1: no parameter of net matches\nhint: ")
    );
    assert!(idle("{with: dirac}").starts_with("rule 1: dirac is meant for no parameter of net"));
    assert!(idle("{role: embedding, scale: 2}").starts_with("rule 1: no parameter of net matches"));
}

#[test]
fn laws_that_cannot_be_drawn_are_refused_with_their_place() {
    let recipe = "base: pytorch_default\nrules: [{match: head.weight, with: normal, scale: .nan}]";
    assert!(
        law(&net(), recipe, "head.weight").unwrap_err().contains("scale is NaN, allowed a finite number")
    );
    let recipe = "base: pytorch_default\nrules: [{match: head.bias, with: orthogonal}]";
    assert!(law(&net(), recipe, "head.weight").unwrap_err().contains("head.bias"));
}
