//! Networks and data that do or do not belong together.

use epoch0_data::{Array, Dataset, Examples, Inputs, Targets, Vocabulary};
use epoch0_train::{Feed, Settings, Span, Task, Trainer};

use crate::common::{gaussians, images, network};

fn no(spec: &str, data: &Dataset) -> String {
    Feed::new(&network(spec), data).unwrap_err().to_string()
}

#[test]
fn images_are_flattened_for_vectors() {
    let data = images(12);
    assert_eq!(Feed::new(&network("mlp:144-8-2"), &data).unwrap().task(), Task::Classes);
    assert!(Feed::new(&network("lenet,size=12,classes=2"), &data).is_ok());
}

#[test]
fn what_does_not_fit_is_named_with_what_does() {
    let data = images(12);
    assert_eq!(
        no("mlp:100-8-2", &data),
        "mlp:100-8-2 cannot be trained on images: the network takes numbers of shape [any, 100], the data have numbers \
         of shape [any, 1, 12, 12] (144 for each)\nhint: mlp:144-512-2 takes them, or resnet20,in=1,size=12,classes=2"
    );
    assert!(no("resnet20,classes=2", &data).contains("takes numbers of shape [any, 3, 32, 32]"));
    assert!(
        no("mlp:144-8-10", &data).contains("answers numbers of shape [any, 10], the data have 2 classes")
    );
    assert!(no("gpt:layers=1,heads=2,embed=16,vocab=5,positions=8", &data).contains("takes tokens of shape"));
    assert!(no("mlp:9-3", &gaussians()).contains("hint: mlp:8-512-3 takes them"));
}

#[test]
fn tokens_go_to_networks_of_tokens() {
    let array = |values: Vec<i64>| Array::new([2, 3], values).unwrap();
    let inputs = Inputs::Tokens(array(vec![0, 1, 2, 3, 0, 1]));
    let examples = Examples::new("text", inputs, Targets::Next(array(vec![1, 2, 3, 0, 1, 2]))).unwrap();
    let mut data = Dataset::new("text", examples, None);
    data.vocabulary = Some(Vocabulary::Characters("abcd".chars().collect()));
    let gpt = |vocab: usize| format!("gpt:layers=1,heads=2,embed=16,vocab={vocab},positions=8");
    assert_eq!(Feed::new(&network(&gpt(5)), &data).unwrap().task(), Task::NextToken);
    assert!(no(&gpt(3), &data).contains("4 different tokens"));
    assert!(no("mlp:3-4", &data).contains("hint: gpt:layers=4,heads=4,embed=128,vocab=4,positions=3"));
}

#[test]
fn data_without_targets_are_refused() {
    let inputs = Inputs::Values(Array::new([2, 3], vec![0.0; 6]).unwrap());
    let data = Dataset::new("bare", Examples::new("bare", inputs, Targets::None).unwrap(), None);
    assert!(no("mlp:3-4", &data).contains("have no targets"));
}

#[test]
fn a_graph_is_seen_whole() {
    let data = Dataset::open("blocks:n=60,classes=3,dim=4,degree=6,train=5,validation=10").unwrap();
    let net = network("gcn:4-8-3");
    let feed = Feed::new(&net, &data).unwrap();
    assert!(feed.sees_graph() && feed.batch(4, 15) == 15);
    assert!(!Feed::new(&network("mlp:4-8-3"), &data).unwrap().sees_graph());
    let inputs = feed.inputs(
        &data.train.inputs().pick(&[2, 7]),
        epoch0_engine::Precision::Double,
        &epoch0_engine::Device::cpu(),
    );
    let shapes: Vec<_> = inputs.iter().map(epoch0_engine::Value::shape).collect();
    let n_edges = 2 * data.graph.as_ref().unwrap().edges.len();
    assert_eq!(shapes, [vec![60, 4], vec![2, n_edges], vec![2]]);
    assert_eq!(
        no("gcn:5-8-3", &data),
        "gcn:5-8-3 cannot be trained on a stochastic block graph of 60 nodes: the network takes features of shape \
         [any, 5], the data have numbers of shape [any, 4]\nhint: gcn:4-64-3 takes the graph, mlp:4-512-3 its nodes"
    );
    assert!(no("gcn:144-8-2", &images(12)).contains("and no edges"));
    assert!(no("gcn:4-8-2", &data).contains("answers numbers of shape [any, 2], the data have 3 classes"));
}

/// Edges tell more of a class than features do, and training is on all nodes at once.
#[test]
fn graph_networks_learn_from_edges() {
    let data =
        Dataset::open("blocks:n=400,classes=2,dim=8,degree=12,ratio=20,signal=0.5,train=40,validation=20")
            .unwrap();
    let accuracy = |spec: &str| {
        let net = network(spec);
        let weights = crate::common::weights(&net, 0);
        let settings =
            Settings { length: Span::Steps(60), learning_rate: 0.1, batch: 7, ..Settings::default() };
        let mut trainer = Trainer::new(&net, weights, &data, settings).unwrap();
        assert_eq!(trainer.settings().batch, if spec.starts_with("mlp") { 7 } else { 80 });
        trainer.run(&mut ()).unwrap();
        trainer.test().unwrap().unwrap().accuracy.unwrap()
    };
    let without = accuracy("mlp:8-16-2");
    for spec in ["gcn:8-16-2", "sage:8-16-2", "gin:8-16-2,norm=batch"] {
        let with = accuracy(spec);
        assert!(with > 0.85 && with > without + 0.1, "{spec}: {with}, without edges {without}");
    }
}

/// Products of dense matrices in torch 2.15, weights `((7 i mod 11) - 5) / 10`; node 3 has no edge that leads to it.
#[test]
fn graph_networks_are_products_with_dense_matrices() {
    use epoch0_engine::{Device, Elements, Error, Mode, Precision, Tensor, Value, Weights, run};
    let x = [1.0, 0.0, -1.0, 2.0, 0.5, 0.5, 3.0, -1.0];
    let x = Tensor::from_f64(x.to_vec(), &[4, 2], Precision::Double, &Device::cpu());
    let index = |values: &[i64], shape: &[usize]| Value::index(values.to_vec(), shape).unwrap();
    let edges = index(&[0, 1, 2, 3, 1, 1, 2, 0, 1, 0], &[2, 5]);
    let inputs = [Value::constant(x), edges, index(&[3, 0, 1], &[3])];
    for (spec, [of_3, of_0, of_1]) in [
        (
            "gcn:2-3-2",
            [[-0.58, 0.08], [-0.397_908_305_564, 0.251_045_847_218], [-0.506_549_983_075, 0.150_536_986_927]],
        ),
        ("sage:2-3-2", [[-0.58, 0.08], [-0.1975, 0.445], [-0.3225, 0.24875]]),
        ("gin:2-3-2", [[-0.4584, 0.304], [-0.4395, 0.35125], [-0.4475, 0.33125]]),
    ] {
        let net = network(spec);
        let weights = Weights::read(&net, Precision::Double, &Device::cpu(), |_, param| {
            let value = |at: usize| ((at * 7 % 11) as f64 - 5.0) / 10.0;
            Ok::<_, Error>(Elements::Double((0..param.len()).map(value).collect()))
        });
        let ran = run(&net, &weights.unwrap().constants(), &inputs, Mode::Eval, &mut |_| Ok(())).unwrap();
        let found = ran.outputs[0].real().unwrap().value().to_f64();
        for (found, wanted) in found.iter().zip([of_3, of_0, of_1].concat()) {
            assert!((found - wanted).abs() < 1e-11, "{spec}: {found}, not {wanted}");
        }
    }
}
