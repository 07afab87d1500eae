//! Layers of the Poincaré ball: their sites, and what is refused.

use epoch0_net::{Builder, NetError, Network, Role, Site, Source, ValueId, zoo};

fn build(spec: &str) -> Network {
    zoo::build(spec).unwrap_or_else(|error| panic!("{error}"))
}

fn site<'a>(net: &'a Network, label: &str) -> &'a Site {
    net.sites().iter().find(|site| site.label() == label).unwrap_or_else(|| panic!("no site {label}"))
}

#[test]
fn hyperbolic_layers_have_sites() {
    let net = build("poincare_resnet20,head=linear");
    // 19 convolutions, the last layer and two shortcuts.
    let maps: Vec<&Site> = net.sites().iter().filter(|site| site.role.is_matrix()).collect();
    assert_eq!(maps.len(), 22);
    let fans = |label: &str| {
        let fans = site(&net, label).fans.unwrap();
        (fans.in_, fans.out)
    };
    assert_eq!((fans("conv.weight"), site(&net, "conv.weight").op), ((27.0, 72.0), "poincare_conv"));
    assert_eq!((fans("fc.weight"), site(&net, "fc.weight").op), ((32.0, 10.0), "poincare_linear"));
    assert_eq!((fans("fc.bias"), site(&net, "fc.bias").role), ((32.0, 10.0), Role::Bias));
    assert_eq!(site(&net, "group3.2.conv2.weight").depth, 19);
    for label in ["conv.weight", "group1.0.conv1.weight", "group2.0.conv2.weight"] {
        assert_eq!(site(&net, label).activation, Some(epoch0_num::Activation::Relu), "{label}");
    }
    let ends: Vec<_> =
        net.sites().iter().filter(|site| site.ends_branch().is_some()).map(Site::label).collect();
    assert_eq!((ends.len(), ends[0].as_str()), (9, "group1.0.conv2.weight"));
    let shape = |name: &str| net.param(net.find(name).unwrap()).shape.clone();
    assert_eq!([shape("bn.weight"), shape("bn.bias"), shape("bn.running_mean")], [vec![1], vec![8], vec![8]]);
    let net = build("poincare_resnet:8");
    assert_eq!(site(&net, "fc.weight").role, Role::Readout);
    assert_eq!(site(&net, "fc.weight").op, "poincare_scores");
}

#[test]
fn hyperbolic_networks_refuse() {
    for (spec, wanted) in [
        ("poincare_mlp:4-3,curvature=0", "curvature is 0, allowed numbers above 0"),
        ("poincare_mlp:4-3,curvature=-1", "curvature is -1, allowed numbers above 0"),
        ("poincare_mlp:4-3,curvature=NaN", "curvature is `NaN`, allowed finite numbers"),
        ("poincare_mlp:4-3,norm=batch", "norm is `batch`, allowed none, midpoint, frechet"),
        ("poincare_resnet:9", "depth is 9, allowed 6 n + 2"),
        ("poincare_resnet20,width=0", "width is `0`, allowed 1 to 65536"),
    ] {
        let Err(NetError::Spec { why, .. }) = zoo::build(spec) else { panic!("{spec} is built") };
        assert!(why.starts_with(wanted), "{spec}: {why}");
    }
}

/// What is not known to be a point of the ball goes into no layer of it.
#[test]
fn only_points_go_into_layers_of_the_ball() {
    let refused = |build: &dyn Fn(&mut Builder, ValueId)| {
        let mut b = Builder::new("net", Source::Built, epoch0_num::Dtype::F32);
        let x = b.input("x", &[None, Some(3)]);
        build(&mut b, x);
        b.finish().unwrap_err().to_string()
    };
    let error = refused(&|b, x| {
        b.poincare_linear(x, "fc", 2, 0.1);
    });
    assert!(error.contains("fc") && error.contains("an input of the network"), "{error}");
    assert!(error.contains("a point of the ball of curvature -0.1\nhint: poincare_exp"), "{error}");
    let error = refused(&|b, x| {
        let x = b.poincare_exp(x, 0.1);
        b.poincare_log(x, 0.2);
    });
    assert!(error.contains("a point of the ball of curvature -0.1, allowed"), "{error}");
    let error = refused(&|b, x| {
        let x = b.poincare_exp(x, 0.1);
        let x = b.activation(x, epoch0_num::Activation::Relu);
        b.mobius_add(x, x, 0.1);
    });
    assert!(error.contains("what activation makes"), "{error}");
    for curvature in [0.0, -0.1, f64::NAN, f64::INFINITY] {
        let error = refused(&|b, x| {
            b.poincare_exp(x, curvature);
        });
        assert!(error.contains("curvature") && error.contains("finite numbers above 0"), "{error}");
    }
}
