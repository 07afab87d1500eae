//! Learned functions, and weights that are signed powers of two, in networks of the zoo.

use epoch0_net::{NetError, Network, Role, Site, zoo};

fn build(spec: &str) -> Network {
    zoo::build(spec).unwrap_or_else(|error| panic!("{error}"))
}

fn why(spec: &str) -> String {
    match zoo::build(spec) {
        Err(NetError::Spec { why, .. }) => why,
        other => panic!("{spec}: {:?}", other.map(|net| net.params().len())),
    }
}

fn site<'a>(net: &'a Network, label: &str) -> &'a Site {
    net.sites().iter().find(|site| site.label() == label).unwrap_or_else(|| panic!("no site {label}"))
}

fn activation(net: &Network, label: &str) -> Option<String> {
    site(net, label).activation.as_ref().map(ToString::to_string)
}

#[test]
fn learned_functions_are_seen_by_sites() {
    let net = build("kat:layers=2,embed=16,heads=2,patch=8,act=gelu,share=none,groups=4");
    let shape = |name: &str| net.param(net.find(name).unwrap()).shape.clone();
    assert_eq!(shape("blocks.0.mlp.act1.weight_numerator"), [4, 6]);
    assert_eq!(shape("blocks.1.mlp.act2.weight_denominator"), [4, 4]);
    assert_eq!(activation(&net, "blocks.0.mlp.fc1.weight").as_deref(), Some("gelu"));
    let b2 = site(&net, "blocks.0.mlp.act1.weight_denominator[b2]");
    assert_eq!((b2.role, b2.view.offset, b2.view.len()), (Role::Coefficient, 1, 4));
    let identity = net.coefficients(net.find("blocks.0.mlp.act1.weight_numerator").unwrap()).unwrap();
    assert_eq!(identity, [0.0, 1.0, 0.0, 0.0, 0.0, 0.0].repeat(4));
    assert_eq!(net.coefficients(net.find("blocks.0.mlp.fc1.weight").unwrap()), None);
    let shared = build("kat:layers=1");
    let shape = |name: &str| shared.param(shared.find(name).unwrap()).shape.clone();
    assert_eq!(shape("blocks.0.mlp.act1.weight_numerator"), [1, 6]);
    assert_eq!(shape("blocks.0.mlp.act1.weight_denominator"), [8, 4]);
    let why = why("kat:embed=36,groups=8,heads=4");
    assert!(why.contains("groups is 8, allowed a divisor of 36 features"), "{why}");
    let why = self::why("kat:act=expr:log(x)");
    assert!(why.contains("no finite value"), "{why}");
}

#[test]
fn maps_between_the_first_and_the_readout_can_be_shifts() {
    let net = build("resnet20,shift=3");
    assert!(net.shift_of(net.find("conv1.weight").unwrap()).is_none());
    assert!(net.shift_of(net.find("fc.weight").or(net.find("linear.weight")).unwrap()).is_none());
    let shift = net.shift_of(net.find("layer1.0.conv1.weight").unwrap()).unwrap();
    assert_eq!((shift.bits, shift.gates.len()), (3, 3));
    let (weight, gate) = (site(&net, "layer1.0.conv1.weight"), site(&net, "layer1.0.conv1.weight_t3"));
    assert_eq!((&weight.view, weight.fans, weight.branch), (&gate.view, gate.fans, gate.branch));
    assert!(net.is_latent(gate.param) && !net.is_latent(net.find("conv1.weight").unwrap()));
    assert_eq!(net.folds().0.len(), 1, "only the first normalization stands behind plain weights");
    assert_eq!(build("mlp:3-4-4-2,shift=4").shifts().next().unwrap().1.gates.len(), 7);
    assert_eq!(why("resnet20,shift=5"), "shift is `5`, allowed 2 to 4");
    let none = why("mlp:3-4-2,shift=3");
    assert!(none.contains("a map between the first one and the readout"), "{none}");
}

#[test]
fn maps_can_be_made_of_templates() {
    let net = build("resnet20,templates=3");
    let weight = net.find("layer1.0.conv1.weight").unwrap();
    let mixture = net.mixture_of(weight).unwrap();
    let names: Vec<&str> = mixture.templates.iter().map(|of| net.param(*of).name.as_str()).collect();
    let named = ["weight", "weight_t2", "weight_t3"].map(|end| format!("layer1.0.conv1.{end}"));
    assert_eq!(names, named);
    let (weight, second) = (site(&net, &named[0]), site(&net, &named[1]));
    assert_eq!((&weight.view, weight.fans, weight.branch), (&second.view, second.fans, second.branch));
    assert_eq!(net.weight_of(second.param), weight.param);
    let mix = site(&net, "layer1.0.conv1.weight_mix");
    assert_eq!((mix.role, mix.fans, mix.view.len()), (Role::Coefficient, None, 3));
    let start = net.coefficients(mix.param).unwrap();
    assert!((start.iter().map(|a| a * a).sum::<f64>() - 1.0).abs() < 1e-15 && start.len() == 3);
    assert!(net.is_latent(mix.param) && net.is_latent(second.param) && net.is_latent(weight.param));
    let end = net.mixture_of(net.find("fc.weight").or(net.find("linear.weight")).unwrap()).unwrap();
    assert!(end.templates.iter().all(|of| net.param(*of).role == Role::Readout));
    assert_eq!(net.mixtures().count(), 20, "all maps, the first and the readout too");
    assert!(net.folds().0.is_empty());
    let tied = build("gpt:layers=1,heads=2,embed=8,vocab=9,positions=4,tied=true,templates=2");
    assert!(tied.mixtures().all(|(weight, _)| tied.param(weight).role == Role::Weight));
    assert_eq!(build("mlp:3-2,templates=1").mixtures().next().unwrap().1.templates.len(), 1);
    assert_eq!(why("mlp:3-2,templates=65"), "templates is `65`, allowed 1 to 64");
    assert!(why("mlp:3-2-2,shift=2,templates=2").contains("allowed one of them"));
}

#[test]
fn rectifiers_can_spike() {
    use epoch0_net::{Op, Spiking};
    let net = build("cifar_resnet:8,norm=none,spiking=3");
    let ops: Vec<&Op> = net.nodes().iter().map(|node| &node.op).collect();
    assert_eq!(*ops[0], Op::Spiking { by: Spiking::Repeat, steps: 3 });
    assert_eq!(**ops.last().unwrap(), Op::Spiking { by: Spiking::Sum, steps: 3 });
    assert!(!ops.iter().any(|op| matches!(op, Op::Activation(_))));
    assert_eq!((net.spiking_steps(), net.neurons().count()), (Some(3), 7));
    let names: Vec<&str> =
        net.neurons().flat_map(|(v, leak)| [v, leak]).map(|id| net.param(id).name.as_str()).collect();
    assert_eq!(
        names[..4],
        ["conv1.threshold", "conv1.leak", "layer1.0.conv1.threshold", "layer1.0.conv1.leak"]
    );
    assert_eq!(names[12], "layer3.0.conv2.threshold");
    let (threshold, leak) = net.neurons().next().unwrap();
    assert_eq!((net.coefficients(threshold), net.coefficients(leak)), (Some(vec![0.4]), Some(vec![1.0])));
    assert_eq!(activation(&net, "layer1.0.conv1.weight").as_deref(), Some("relu"));
    // Examples are the first dimension of what goes in and comes out, and not of what is between.
    let batch = |value: epoch0_net::ValueId| net.value(value).dims[0];
    assert_eq!(batch(net.inputs()[0]), batch(net.outputs()[0]));
    assert_ne!(batch(net.inputs()[0]), batch(net.nodes()[1].outputs[0]));
    assert_eq!(net.value(net.outputs()[0]).name.as_deref(), Some("logits"));
    // The same maps as without.
    let plain = build("cifar_resnet:8,norm=none");
    assert_eq!(net.params()[..plain.params().len()].len(), plain.params().len());
    assert!(
        plain.params().iter().all(|param| net.param(net.find(&param.name).unwrap()).shape == param.shape)
    );
    for (spec, said) in [
        (
            "lenet:spiking=2",
            "pooling is the largest of a window, allowed means in a spiking network\nhint: pool=mean",
        ),
        (
            "mlp:3-4-2,norm=batch,spiking=2",
            "normalization is batch_norm, allowed none in a spiking network\nhint: ",
        ),
        ("mlp:3-4-2,act=tanh,spiking=2", "activation is tanh, allowed relu"),
        ("mlp:3-2,spiking=2", "activation is none, allowed relu"),
        ("vit:layers=1,spiking=2", "in a spiking network"),
        ("gcn:3-4-2,spiking=2", "in a spiking network"),
        ("mlp:3-4-2,spiking=0", "spiking is `0`, allowed 1 to 1000"),
        ("mlp:3-4-2,spiking=-1", "spiking is `-1`, allowed 1 to 1000"),
    ] {
        let why = why(spec);
        assert!(why.contains(said), "{spec}: {why}");
    }
    assert_eq!(build("vgg11:size=32,pool=mean,spiking=5").neurons().count(), 10);
    assert_eq!(build("lenet:pool=mean,spiking=1").neurons().count(), 4);
}
