//! What generators make: any example by itself, and the laws that their pages state.

use epoch0_data::make::*;
use epoch0_data::{Dataset, Error, Examples, Inputs, Role, Targets};
use epoch0_num::Activation;

fn values(examples: &Examples) -> Vec<f32> {
    let Inputs::Values(array) = examples.inputs() else { panic!("numbers") };
    array.data().to_vec()
}

fn targets(examples: &Examples) -> Vec<f32> {
    let Targets::Values(array) = examples.targets() else { panic!("numbers") };
    array.data().to_vec()
}

fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (n, sum) = values.into_iter().fold((0, 0.0), |(n, sum), value| (n + 1, sum + value));
    sum / f64::from(n)
}

fn mean_square(values: &[f32]) -> f64 {
    mean(values.iter().map(|&value| f64::from(value).powi(2)))
}

fn teacher(task: Task, noise: f64) -> TeacherConfig {
    TeacherConfig {
        sizes: vec![6, 20, 3],
        activation: Activation::Tanh,
        task,
        gain: 1.5,
        bias: 0.1,
        noise,
        seed: 3,
    }
}

fn all() -> Vec<Box<dyn Generate>> {
    vec![
        Box::new(Gaussians::new(GaussiansConfig { classes: 3, dim: 7, separation: 2.0, seed: 1 }).unwrap()),
        Box::new(Moons::new(MoonsConfig::default()).unwrap()),
        Box::new(Shapes::new(ShapesConfig::default()).unwrap()),
        Box::new(Textures::new(TexturesConfig::default()).unwrap()),
        Box::new(
            Textures::new(TexturesConfig { kind: TexturesKind::Spectra, ..TexturesConfig::default() })
                .unwrap(),
        ),
        Box::new(Sinusoids::new(SinusoidsConfig { noise: 0.1, ..SinusoidsConfig::default() }).unwrap()),
        Box::new(Teacher::new(teacher(Task::Regression, 0.1)).unwrap()),
        Box::new(Teacher::new(teacher(Task::Classification, 0.1)).unwrap()),
        Box::new(Probe::new(ProbeConfig { shape: vec![2, 3], law: ProbeLaw::Normal, seed: 0 }).unwrap()),
    ]
}

#[test]
fn any_example_is_drawn_by_itself() {
    for generator in all() {
        let name = generator.name();
        let whole = examples(&*generator, 0..50).unwrap();
        for nth in [0, 1, 17, 49] {
            let one = examples(&*generator, nth..nth + 1).unwrap();
            assert_eq!(whole.pick(&[nth as usize]), one, "{name}, {nth}");
        }
        let inputs = whole.inputs();
        assert_ne!(inputs.pick(&[0]), inputs.pick(&[30]), "{name}: examples differ");
        // The number of threads changes nothing.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(pool.install(|| examples(&*generator, 0..50)).unwrap(), whole, "{name}");
        // Indices near the end of all there are do not panic.
        assert!(examples(&*generator, u64::MAX - 1..u64::MAX).is_ok(), "{name}");
        assert!(examples(&*generator, 5..5).is_err(), "{name}: none");
    }
}

#[test]
fn seeds_differ() {
    for spec in ["gaussians:dim=4", "teacher:4-3", "moons", "shapes", "textures", "sinusoids", "probe:4"] {
        let joint = if spec.contains(':') { "," } else { ":" };
        let open = |seed: u64| Dataset::open(&format!("{spec}{joint}n=4,seed={seed}")).unwrap();
        assert_eq!(open(1).train, open(1).train, "{spec}");
        assert_ne!(open(1).train, open(2).train, "{spec}");
    }
    assert_ne!(
        Dataset::open("blocks:n=100,seed=1").unwrap().graph,
        Dataset::open("blocks:n=100,seed=2").unwrap().graph
    );
}

#[test]
fn the_test_part_goes_on_where_training_ends() {
    let both = Dataset::open("gaussians:classes=3,dim=5,n=30,test=12").unwrap();
    let all = Dataset::open("gaussians:classes=3,dim=5,n=42,test=0").unwrap();
    assert!(all.test.is_none());
    assert_eq!(both.train, all.train.pick(&(0..30).collect::<Vec<_>>()));
    assert_eq!(both.test.unwrap(), all.train.pick(&(30..42).collect::<Vec<_>>()));
}

#[test]
fn gaussians_lie_around_their_centres() {
    let config = GaussiansConfig { classes: 4, dim: 50, separation: 3.0, seed: 0 };
    let n = 8000;
    let data = examples(&Gaussians::new(config).unwrap(), 0..n).unwrap();
    let values = values(&data);
    // The mean of each class is a centre to within noise / √2000.
    let centre = |class: usize| -> Vec<f64> {
        let rows = || values.chunks(50).skip(class).step_by(4);
        (0..50).map(|at| mean(rows().map(|row| f64::from(row[at])))).collect()
    };
    let centres: Vec<Vec<f64>> = (0..4).map(centre).collect();
    let spread = mean(centres.iter().flatten().map(|value| value * value)).sqrt();
    assert!((spread / 3.0 - 1.0).abs() < 0.2, "centres have standard deviation {spread}, not 3");
    let noise = mean(values.chunks(50).enumerate().flat_map(|(nth, row)| {
        row.iter().zip(&centres[nth % 4]).map(|(value, centre)| (f64::from(*value) - centre).powi(2))
    }));
    assert!((noise - 1.0).abs() < 0.01, "noise has variance {noise}");
    let labels = &data.classes().unwrap().labels;
    assert!((0..4).all(|class| labels.iter().filter(|&&label| label == class).count() == 2000));
}

#[test]
fn moons_are_half_circles() {
    let data = examples(&Moons::new(MoonsConfig { noise: 0.0, seed: 0 }).unwrap(), 0..500).unwrap();
    for (point, class) in values(&data).chunks(2).zip(&data.classes().unwrap().labels) {
        let (centre, side) = if *class == 0 { ([0.0, 0.0], 1.0) } else { ([1.0, 0.5], -1.0) };
        let (x, y) = (point[0] - centre[0], point[1] - centre[1]);
        assert!((x.hypot(y) - 1.0).abs() < 1e-6 && side * y >= -1e-6, "{point:?}");
    }
    let noisy = examples(&Moons::new(MoonsConfig { noise: 0.3, seed: 0 }).unwrap(), 0..2000).unwrap();
    let clean = examples(&Moons::new(MoonsConfig { noise: 0.0, seed: 0 }).unwrap(), 0..2000).unwrap();
    let noise: Vec<f32> =
        values(&noisy).iter().zip(values(&clean)).map(|(noisy, clean)| noisy - clean).collect();
    assert!((mean_square(&noise).sqrt() - 0.3).abs() < 0.02);
}

#[test]
fn teachers_answer_as_networks_do() {
    let config = teacher(Task::Regression, 0.0);
    let regression = Teacher::new(config.clone()).unwrap();
    let data = examples(&regression, 0..200).unwrap();
    let inputs = values(&data);
    assert!((mean_square(&inputs) - 1.0).abs() < 0.15);
    let answers = targets(&data);
    for (input, answer) in inputs.chunks(6).zip(answers.chunks(3)) {
        let expected: Vec<f32> = regression.answer_to(input).iter().map(|&value| value as f32).collect();
        assert_eq!(answer, expected);
    }
    // A linear teacher of gain g answers with variance g².
    let linear = TeacherConfig { sizes: vec![400, 200], bias: 0.0, gain: 2.0, ..config.clone() };
    let answers = targets(&examples(&Teacher::new(linear).unwrap(), 0..50).unwrap());
    assert!((mean_square(&answers) / 4.0 - 1.0).abs() < 0.1, "{}", mean_square(&answers));
    // The class is the largest output; where all are replaced, most differ.
    let classes = |noise| {
        let config = teacher(Task::Classification, noise);
        examples(&Teacher::new(config).unwrap(), 0..300).unwrap().classes().unwrap().labels.clone()
    };
    let clean = classes(0.0);
    for (row, class) in inputs.chunks(6).zip(&clean) {
        let answer = regression.answer_to(row);
        assert!(answer.iter().all(|&other| other <= answer[*class as usize]));
    }
    let same = |noise| clean.iter().zip(classes(noise)).filter(|(a, b)| **a == *b).count();
    assert!((60..=140).contains(&same(1.0)), "a third of 300: {}", same(1.0));
    assert!((220..=260).contains(&same(0.3)), "0.7 and a third of 0.3: {}", same(0.3));
}

#[test]
fn shapes_have_the_areas_of_their_forms() {
    let config = ShapesConfig { classes: 5, size: 64, noise: 0.0, seed: 0 };
    let data = examples(&Shapes::new(config).unwrap(), 0..1000).unwrap();
    let classes = data.classes().unwrap();
    assert_eq!(&*classes.names, ["circle", "square", "triangle", "cross", "ring"].map(str::to_owned));
    let pixels = values(&data);
    // Area over that of the circle's, the radius being the same on average: 2/π, (3√3/4)/π, (8·√0.91·0.3 − 0.36)/π, ¾.
    let mut areas = [0.0; 5];
    for (nth, image) in pixels.chunks(64 * 64).enumerate() {
        let top = image.iter().copied().fold(0.0f32, f32::max);
        assert!((0.5..=1.0).contains(&top) && image.iter().all(|&pixel| pixel >= 0.0), "{nth}: {top}");
        // Nothing touches the border: the figure is whole.
        let is_border = |at: usize| [at / 64, at % 64].iter().any(|place| [0, 63].contains(place));
        assert!((0..64 * 64).all(|at| !is_border(at) || image[at] < 1e-6), "{nth}");
        areas[nth % 5] += mean(image.iter().map(|&pixel| f64::from(pixel / top)));
    }
    let pi = std::f64::consts::PI;
    let expected = [1.0, 2.0 / pi, 0.75 * 3f64.sqrt() / pi, (2.4 * 0.91f64.sqrt() - 0.36) / pi, 0.75];
    for (area, expected) in areas.iter().zip(expected) {
        let ratio = area / areas[0];
        assert!((ratio / expected - 1.0).abs() < 0.12, "{ratio} where {expected} is due");
    }
}

#[test]
fn gratings_are_waves_of_their_angle() {
    let config = TexturesConfig { classes: 2, size: 32, noise: 0.0, ..TexturesConfig::default() };
    let data = examples(&Textures::new(config).unwrap(), 0..200).unwrap();
    let pixels = values(&data);
    for (nth, image) in pixels.chunks(32 * 32).enumerate() {
        // Class 0 varies across and not down, class 1 the other way.
        let is_constant = |at: fn(usize, usize) -> usize| {
            (0..32).all(|i| (1..32).all(|j| (image[at(i, j)] - image[at(i, 0)]).abs() < 1e-4))
        };
        assert_eq!(is_constant(|column, row| 32 * row + column), nth % 2 == 0);
        assert_eq!(is_constant(|row, column| 32 * row + column), nth % 2 == 1);
    }
    assert!((mean_square(&pixels) - 1.0).abs() < 0.1);
}

#[test]
fn spectra_get_smoother_by_class() {
    let config = TexturesConfig {
        kind: TexturesKind::Spectra,
        classes: 4,
        noise: 0.0,
        size: 32,
        ..Default::default()
    };
    let data = examples(&Textures::new(config).unwrap(), 0..400).unwrap();
    let pixels = values(&data);
    assert!((mean_square(&pixels) - 1.0).abs() < 0.1, "{}", mean_square(&pixels));
    let roughness = |class: usize| {
        mean(pixels.chunks(32 * 32).skip(class).step_by(4).flat_map(|image| {
            image
                .windows(2)
                .enumerate()
                .filter(|(at, _)| (at + 1) % 32 != 0)
                .map(|(_, pair)| f64::from(pair[1] - pair[0]).powi(2))
        }))
    };
    let rough: Vec<f64> = (0..4).map(roughness).collect();
    assert!(rough.windows(2).all(|pair| pair[1] < 0.85 * pair[0]), "{rough:?}");
    // White in a disc of radius π: neighbours differ by 2 (1 − 2 J₁(π) / π), J₁(π) = 0.28461534.
    let due = 2.0 - 4.0 * 0.28461534 / std::f64::consts::PI;
    assert!((rough[0] / due - 1.0).abs() < 0.05, "{rough:?}, {due} is due");
}

#[test]
fn sinusoids_are_waves() {
    let family = Sinusoids::new(SinusoidsConfig { points: 25, noise: 0.0, seed: 5 }).unwrap();
    let data = examples(&family, 0..200).unwrap();
    let (places, heights) = (values(&data), targets(&data));
    for task in 0..200 {
        let wave = family.wave(task as u64);
        assert!((0.1..5.0).contains(&wave.amplitude) && (0.0..std::f64::consts::PI).contains(&wave.phase));
        for nth in 25 * task..25 * (task + 1) {
            assert!((-5.0..5.0).contains(&places[nth]));
            let height = wave.amplitude * (f64::from(places[nth]) - wave.phase).sin();
            assert!((f64::from(heights[nth]) - height).abs() < 1e-5);
        }
    }
    let phases = mean((0..200).map(|task| family.wave(task).phase));
    assert!((phases - std::f64::consts::FRAC_PI_2).abs() < 0.25, "{phases}");
}

#[test]
fn blocks_have_the_degree_and_the_ratio_asked_for() {
    for (classes, ratio) in [(4, 8.0), (3, 0.5), (1, 2.0)] {
        let config =
            BlocksConfig { n: 1501, classes, degree: 12.0, ratio, signal: 3.0, ..BlocksConfig::default() };
        let graph = blocks(config).unwrap();
        let degree = 2.0 * graph.edges.len() as f64 / 1501.0;
        assert!((degree / 12.0 - 1.0).abs() < 0.05, "{degree}");
        assert!(graph.edges.iter().all(|[a, b]| a < b) && graph.edges.is_sorted());
        let is_within = |edge: &&[u32; 2]| edge[0] as usize % classes == edge[1] as usize % classes;
        let within = graph.edges.iter().filter(is_within).count() as f64;
        let between = graph.edges.len() as f64 - within;
        if classes > 1 {
            // There are classes − 1 times as many pairs between as within, nearly.
            let found = within / between * (classes - 1) as f64;
            assert!((found / ratio - 1.0).abs() < 0.15, "{found} where {ratio} is due");
        }
        assert_eq!(graph.nodes(Role::Train).len(), 20 * classes);
        assert_eq!(graph.nodes(Role::Validation).len(), 100);
        // The mean of a class is 3 long.
        let rows: Vec<&[f32]> = (0..1501).step_by(classes).map(|node| graph.features.row(node)).collect();
        let length =
            (0..32).map(|at| mean(rows.iter().map(|row| f64::from(row[at]))).powi(2)).sum::<f64>().sqrt();
        assert!((length - 3.0).abs() < 0.35, "{length}");
    }
}

#[test]
fn probes_have_variance_one() {
    for law in [ProbeLaw::Normal, ProbeLaw::Uniform, ProbeLaw::Signs] {
        let probe = Probe::new(ProbeConfig { shape: vec![3, 16, 16], law, seed: 0 }).unwrap();
        let data = examples(&probe, 0..100).unwrap();
        let values = values(&data);
        assert!(mean(values.iter().map(|&value| f64::from(value))).abs() < 0.02);
        assert!((mean_square(&values) - 1.0).abs() < 0.02);
        let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        match law {
            ProbeLaw::Normal => assert!(largest > 3.0),
            ProbeLaw::Uniform => assert!(largest <= 1.732_051),
            ProbeLaw::Signs => assert!(values.iter().all(|value| value.abs() == 1.0)),
        }
        assert_eq!(*data.targets(), Targets::None);
    }
}

#[test]
fn parameters_have_ranges() {
    fn refused<T>(made: Result<T, Error>, words: &str) {
        let error = made.err().expect("refused").to_string();
        assert!(error.contains(words), "{error}");
    }
    refused(
        Gaussians::new(GaussiansConfig { classes: 0, ..Default::default() }),
        "gaussians: classes is 0, allowed 1 to",
    );
    refused(
        Gaussians::new(GaussiansConfig { classes: 1 << 16, dim: 1 << 20, ..Default::default() }),
        "classes × dim",
    );
    refused(
        Gaussians::new(GaussiansConfig { separation: f64::NAN, ..Default::default() }),
        "separation is NaN",
    );
    refused(Moons::new(MoonsConfig { noise: -1.0, seed: 0 }), "noise is -1, allowed 0 to 1000000");
    refused(Shapes::new(ShapesConfig { classes: 6, ..Default::default() }), "classes is 6, allowed 1 to 5");
    refused(
        Textures::new(TexturesConfig { frequency: 15.0, ..Default::default() }),
        "frequency is 15, allowed 0.5 to 14",
    );
    refused(Sinusoids::new(SinusoidsConfig { points: 0, ..Default::default() }), "points is 0");
    refused(Teacher::new(teacher(Task::Classification, 1.1)), "noise is 1.1, allowed 0 to 1");
    refused(
        Teacher::new(TeacherConfig { sizes: vec![3], ..teacher(Task::Regression, 0.0) }),
        "the number of sizes is 1",
    );
    refused(
        Teacher::new(TeacherConfig { sizes: vec![3, 1], ..teacher(Task::Classification, 0.0) }),
        "the number of classes is 1",
    );
    refused(
        Probe::new(ProbeConfig { shape: vec![1 << 20; 4], law: ProbeLaw::Normal, seed: 0 }),
        "the number of elements",
    );
    refused(
        blocks(BlocksConfig { degree: 999.0, ..Default::default() }),
        "degree is 999, allowed more than 0 and at most",
    );
    refused(blocks(BlocksConfig { degree: f64::NAN, ..Default::default() }), "degree is NaN");
    refused(blocks(BlocksConfig { ratio: 0.0, ..Default::default() }), "ratio is 0");
    refused(blocks(BlocksConfig { n: 2, classes: 3, ..Default::default() }), "classes is 3, allowed 1 to 2");
}

#[test]
fn few_nodes_have_most_edges_where_degrees_have_a_tail() {
    let degrees = |tail: &str| {
        let data = Dataset::open(&format!("blocks:n=1000,degree=8{tail}")).unwrap();
        let graph = data.graph.unwrap();
        let mut degrees = vec![0usize; graph.n_nodes()];
        graph.edges.iter().flatten().for_each(|&node| degrees[node as usize] += 1);
        degrees.sort_unstable();
        degrees
    };
    let (even, tailed) = (degrees(""), degrees(",tail=2.5"));
    let mean = |degrees: &[usize]| degrees.iter().sum::<usize>() as f64 / degrees.len() as f64;
    assert!((mean(&even) - 8.0).abs() < 0.5 && (4.0..9.0).contains(&mean(&tailed)), "{}", mean(&tailed));
    assert!(even[999] < 25 && tailed[999] > 60, "{} and {}", even[999], tailed[999]);
    assert_eq!(tailed, degrees(",tail=2.5"));
    for tail in ["2", "-1", "101"] {
        let error = Dataset::open(&format!("blocks:tail={tail}")).unwrap_err().to_string();
        assert!(error.contains(&format!("tail is {tail}, allowed 0, or more than 2")), "{error}");
    }
}

#[test]
fn nodes_are_examples_that_know_their_graph() {
    let data = Dataset::open("blocks:n=60,classes=3,dim=4,train=5,validation=10").unwrap();
    let graph = data.graph.clone().unwrap();
    let picked = data.train.pick(&[3, 0]);
    let Inputs::Nodes(nodes) = picked.inputs() else { panic!("nodes") };
    assert_eq!(
        (nodes.which(), nodes.graph().n_nodes(), picked.inputs().shape()),
        (&[3, 0][..], 60, &[2, 4][..])
    );
    assert_eq!(picked.inputs().to_f32().unwrap(), graph.features.pick(&[3, 0]));
    let ends = graph.edge_index();
    assert_eq!(ends.len(), 4 * graph.edges.len());
    let n = ends.len() / 2;
    assert!((0..n / 2).all(|at| (ends[at], ends[n + at]) == (ends[n + at + n / 2], ends[at + n / 2])));
    // All nodes are scaled as the training part says.
    let scaled = Dataset::open("blocks:n=60,classes=3,dim=4,train=5,validation=10,normalize=whole").unwrap();
    let numbers = scaled.train.inputs().to_f32().unwrap();
    let square = mean(numbers.data().iter().map(|value| f64::from(*value).powi(2)));
    assert!((square - 1.0).abs() < 1e-5, "{square}");
    assert_ne!(scaled.graph.unwrap().features.row(59), graph.features.row(59));
    assert!(Dataset::open("blocks:n=60,first=3").is_err());
}
