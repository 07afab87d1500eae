//! Made-up examinations: one that is well, three that are not.

use epoch0_method::reading::{
    Axis, Bound, Cell, Column, Direction, Examination, Figure, Finding, Health, Kind, Pass, Place, Quantity,
    Reading, Severity, Shape, Table,
};

use super::{cifar, network, normal, random, versions};

struct Layer {
    name: String,
    op: &'static str,
    fan_in: usize,
    forward: f64,
    backward: f64,
    dead: f64,
    mark: Severity,
}

fn signal(layers: &[Layer], findings: Vec<Finding>, alt: &str) -> Reading {
    let depth = || (0..layers.len()).map(|at| at as f64).collect::<Vec<_>>();
    let names = layers.iter().map(|layer| layer.name.clone());
    let series = |pick: fn(&Layer) -> f64| Shape::Line { x: depth(), y: layers.iter().map(pick).collect() };
    let mut figure = Figure::new(
        "profile",
        "Second moments over depth",
        alt,
        Axis::new("weight, in order of depth").names(names),
        Axis::new("second moment").log(),
    )
    .with("expected range", Shape::Span { axis: Direction::Y, low: 0.1, high: 10.0 })
    .with("forward: outputs", series(|layer| layer.forward))
    .with("backward: gradients", series(|layer| layer.backward));
    if let Some(first) = layers.iter().position(|layer| layer.mark == Severity::Bad) {
        let rule = Shape::Rule { axis: Direction::X, at: first as f64 };
        figure = figure.with("first place that is not healthy", rule);
    }
    "Gradients are of the sum of squares of the outputs, scaled to 1 at the output."
        .clone_into(&mut figure.note);
    let columns = [
        Column::new("site", "weight", Kind::Text).help("Place where a weight meets a value."),
        Column::new("op", "operation", Kind::Text),
        Column::new("fan_in", "fan in", Kind::Integer).help("Values that are summed to make one output."),
        Column::new("forward", "forward", Kind::Real).help("Second moment of the output."),
        Column::new("backward", "backward", Kind::Real).help("Second moment of the gradient at the output."),
        Column::new("dead", "dead units", Kind::Share)
            .help("Units that are zero for every input of the probe."),
        Column::new("state", "state", Kind::Mark),
    ];
    let mut table = Table::new("layers", "Weight by weight", columns);
    for layer in layers {
        table.push([
            Cell::from(layer.name.as_str()),
            layer.op.into(),
            layer.fan_in.into(),
            layer.forward.into(),
            layer.backward.into(),
            layer.dead.into(),
            layer.mark.into(),
        ]);
    }
    let mut reading = Reading::new(
        "signal",
        "Signal through depth",
        "Second moments of what every weight puts out, and of the gradients that come back to it, on one batch.",
    );
    reading.findings = findings;
    reading.figures = vec![figure];
    reading.tables = vec![table];
    reading
}

fn fine(name: &str, what: &str, measured: f64, bound: Bound) -> Finding {
    Finding::new(name, Severity::Ok, Health::Healthy, what).measured(measured, "", Some(bound))
}

fn kernel(n_classes: usize, per_class: usize) -> Reading {
    let n = n_classes * per_class;
    let noise = normal("kernel", n * n);
    let value = |row: usize, column: usize| {
        let same = f64::from(u8::from(row / per_class == column / per_class));
        let diagonal = f64::from(u8::from(row == column));
        let jitter = 0.05 * (noise[row * n + column] + noise[column * n + row]);
        0.35 + 0.2 * same + 0.45 * diagonal + if row == column { 0.0 } else { jitter }
    };
    let rows: Vec<Vec<f64>> =
        (0..n).map(|row| (0..n).map(|column| 1200.0 * value(row, column)).collect()).collect();
    let names = || (0..n).map(|at| format!("{}", at / per_class));
    let color = Axis::new("kernel");
    let matrix = Figure::new(
        "kernel",
        "Neural tangent kernel",
        "Ten blocks along the diagonal, one for each class, are lighter than the rest.",
        Axis::new("example, sorted by class").names(names()),
        Axis::new("example").names(names()),
    )
    .with("kernel", Shape::Heatmap { x: vec![], y: vec![], values: rows, color, center: None });
    let spectrum: Vec<f64> = (0..n)
        .map(|at| if at == 0 { 24_000.0 } else { 2400.0 * (-(at as f64) / 9.0).exp() + 14.0 })
        .collect();
    let eigen = Figure::new(
        "spectrum",
        "Its eigenvalues",
        "One eigenvalue of 24,000 stands alone; the others fall from 2,160 to 14.",
        Axis::new("rank"),
        Axis::new("eigenvalue").log(),
    )
    .with("eigenvalue", Shape::Stems { x: (1..=n).map(|at| at as f64).collect(), y: spectrum });
    let mut reading = Reading::new(
        "ntk",
        "Tangent kernel",
        "Gram matrix of the gradients of the summed outputs: how moving along one example's gradient moves another's output.",
    );
    reading.quantities = vec![
        Quantity::new("ntk_trace", "trace", 48_120.4, "").help("Sum of squared gradient norms."),
        Quantity::new("ntk_condition", "condition number", 1714.0, "")
            .help("Largest over smallest eigenvalue; large ones train some directions late."),
        Quantity::new("ntk_alignment", "alignment with labels", 0.283, "share")
            .help("Cosine between the kernel and that of the labels."),
        Quantity::new("max_learning_rate", "largest learning rate", 0.0107, "")
            .help("2 / λ_max of the loss at this start."),
    ];
    reading.findings =
        vec![fine("ntk_condition", "The kernel is well enough conditioned.", 1714.0, Bound::AtMost(1e6))];
    reading.figures = vec![matrix, eigen];
    reading
}

fn guessing() -> Reading {
    let shares = [0.06, 0.13, 0.07, 0.21, 0.09, 0.05, 0.14, 0.08, 0.11, 0.06];
    let classes = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
    let figure = Figure::new(
        "classes",
        "Classes guessed before training",
        "Cat is guessed for 21 % of the inputs, dog for 5 %; even guessing would give each 10 %.",
        Axis::new("class").names(classes.map(str::to_owned)),
        Axis::new("inputs").unit("share"),
    )
    .with("guessed", Shape::Bars { y: shares.to_vec() })
    .with("even guessing", Shape::Rule { axis: Direction::Y, at: 0.1 });
    let values = normal("jacobian", 4000);
    let edges: Vec<f64> = (0..=24).map(|at| f64::from(at) * 0.125).collect();
    let counts = edges.windows(2).map(|edge| {
        let inside = values.iter().filter(|value| {
            let size = (0.9 + 0.45 * *value).abs();
            (edge[0]..edge[1]).contains(&size)
        });
        inside.count() as f64
    });
    let jacobian = Figure::new(
        "jacobian",
        "Singular values of the input–output Jacobian",
        "One heap around 0.9, from 0 to 2.5.",
        Axis::new("singular value"),
        Axis::new("count"),
    )
    .with("singular values", Shape::Histogram { counts: counts.collect(), edges });
    let mut reading = Reading::new("igb", "First guesses", "What the untrained network predicts.");
    let skewed = Finding::new(
        "guessing_bias",
        Severity::Warn,
        Health::Biased,
        "One class is guessed for a fifth of all inputs before training.",
    )
    .at(Place::new("fc.weight").depth(20))
    .measured(0.21, "share", Some(Bound::AtMost(0.2)))
    .reason("Francazi et al. 2024: a start that prefers classes slows the first epochs.")
    .help("Centre the inputs, or put a norm before the last layer.");
    reading.findings = vec![skewed];
    reading.figures = vec![figure, jacobian];
    reading
}

/// A residual network that starts well.
pub(crate) fn healthy() -> Examination {
    let noise = normal("resnet", 64);
    let mut layers = Vec::new();
    let mut push = |name: String, op, fan_in| {
        let at = layers.len();
        layers.push(Layer {
            name,
            op,
            fan_in,
            forward: 1.0 + 0.12 * (at % 6) as f64 + 0.08 * noise[at],
            backward: 0.6 + 0.05 * at as f64 * (1.0 + 0.1 * noise[at + 30]),
            dead: if at % 5 == 2 { 0.004 * (1.0 + noise[at].abs()) } else { 0.0 },
            mark: Severity::Ok,
        });
    };
    push("conv1.weight".to_owned(), "conv 3×3", 27);
    for (stage, width) in [(1, 16), (2, 32), (3, 64)] {
        for block in 0..3 {
            push(format!("layer{stage}.{block}.conv1.weight"), "conv 3×3", width * 9);
            push(format!("layer{stage}.{block}.conv2.weight"), "conv 3×3", width * 9);
        }
    }
    push("fc.weight".to_owned(), "linear", 64);
    let findings = vec![
        fine("forward_moment", "Outputs keep their size.", 1.58, Bound::Within((0.1, 10.0))),
        fine("backward_moment", "Gradients keep their size.", 0.62, Bound::Within((0.01, 100.0))),
        fine("dead_units", "Hardly any unit is dead.", 0.008, Bound::AtMost(0.2)),
    ];
    let signal = signal(&layers, findings, "Forward and backward second moments stay between 0.6 and 1.7.");
    let net = network("resnet20", "he_normal", 272_474, 20);
    Examination::new(net, cifar(), 0, vec![signal, kernel(10, 6), guessing()], versions())
}

/// A deep network that Xavier starts badly.
pub(crate) fn vanishing() -> Examination {
    let noise = normal("mlp", 200);
    let layers: Vec<Layer> = (0..100)
        .map(|at| {
            let forward = 0.5_f64.powi(at as i32) * (0.1 * noise[at]).exp();
            let backward = 0.5_f64.powi(99 - at as i32) * (0.1 * noise[100 + at]).exp();
            Layer {
                name: format!("layers.{at}.weight"),
                op: "linear",
                fan_in: if at == 0 { 784 } else { 512 },
                forward,
                backward,
                dead: 0.02 + 0.0005 * at as f64,
                mark: if forward < 1e-4 { Severity::Bad } else { Severity::Ok },
            }
        })
        .collect();
    let shrinks = Finding::new(
        "forward_moment",
        Severity::Bad,
        Health::Vanishing,
        "Outputs shrink by a factor 0.50 with every layer; of the input's size 1 in 10³⁰ is left at the end.",
    )
    .at(Place::new("layers.14.weight").depth(15).pass(Pass::Forward))
    .measured(layers[14].forward, "", Some(Bound::AtLeast(1e-4)))
    .reason(
        "ReLU halves the second moment, and Xavier does not make up for it (He et al. 2015, section 2.2). Below 1e-4 \
         the last layers see rounding and biases rather than the input.",
    )
    .help("Start with he_normal, which has twice the variance, or put norms between the layers.");
    let back = Finding::new(
        "backward_moment",
        Severity::Bad,
        Health::Vanishing,
        "Gradients shrink by a factor 0.50 with every layer on their way back.",
    )
    .at(Place::new("layers.85.weight").depth(86).pass(Pass::Backward))
    .measured(layers[85].backward, "", Some(Bound::AtLeast(1e-4)))
    .reason("The first layers get no gradient to speak of: they stay as they were drawn.")
    .help("The same as forward.");
    let ok = fine("dead_units", "Few units are dead.", 0.0695, Bound::AtMost(0.2));
    let alt = "Forward second moments fall in a straight line from 1 at the first to 1e-30 at the last weight, those of \
               gradients rise the same way.";
    let signal = signal(&layers, vec![shrinks, back, ok], alt);
    let net = network("mlp-784-100x512-10", "xavier_normal", 26_411_530, 100);
    Examination::new(net, random(&[784]), 0, vec![signal], versions())
}

/// A tanh network beyond the edge of chaos, with its phase diagram.
pub(crate) fn chaotic() -> Examination {
    let weights: Vec<f64> = (0..25).map(|at| 0.5 + 0.1 * f64::from(at)).collect();
    let biases: Vec<f64> = (0..17).map(|at| 0.05 * f64::from(at)).collect();
    let chi = |weight: f64, bias: f64| (weight / (1.0 + 0.9 * bias)).powf(1.3).ln();
    let values =
        biases.iter().map(|bias| weights.iter().map(|weight| chi(*weight, *bias)).collect()).collect();
    let color = Axis::new("ln χ");
    let edge = Shape::Line { x: biases.iter().map(|bias| 1.0 + 0.9 * bias).collect(), y: biases.clone() };
    let diagram = Figure::new(
        "phases",
        "Phase diagram",
        "This network lies right of the edge of chaos, at a weight gain of 2.5.",
        Axis::new("σ of weights, times √fan in"),
        Axis::new("σ of biases"),
    )
    .with("χ", Shape::Heatmap { x: weights, y: biases, values, color, center: Some(0.0) })
    .with("edge of chaos, χ = 1", edge)
    .with("this network", Shape::Points { x: vec![2.5], y: vec![0.05] });
    let depth: Vec<f64> = (0..40).map(f64::from).collect();
    let correlation = |start: f64| Shape::Line {
        x: depth.clone(),
        y: depth.iter().map(|at| 0.18 + (start - 0.18) * (-at / 5.0).exp()).collect(),
    };
    let names = (0..40).map(|at| format!("layers.{at}.weight"));
    let correlations = Figure::new(
        "correlation",
        "Correlation of two inputs over depth",
        "From 0.99 and 0.6 both fall to 0.18 within 20 layers.",
        Axis::new("weight, in order of depth").names(names),
        Axis::new("correlation"),
    )
    .with("start at 0.99", correlation(0.99))
    .with("start at 0.6", correlation(0.6));
    let mut reading = Reading::new(
        "edge_of_chaos",
        "Order and chaos",
        "How the correlation of two inputs changes from layer to layer, against mean-field theory.",
    );
    reading.quantities = vec![
        Quantity::new("chi", "χ", 3.1, "")
            .help("Factor by which a small difference of inputs grows in a layer."),
        Quantity::new("depth_scale", "depth scale", 4.9, "layers")
            .help("Layers after which a difference is forgotten."),
    ];
    reading.findings = vec![
        Finding::new(
            "chi",
            Severity::Bad,
            Health::Chaotic,
            "Close inputs come apart: a small difference triples with every layer.",
        )
        .at(Place::new("layers.4.weight").depth(5).pass(Pass::Forward))
        .measured(3.1, "", Some(Bound::Within((0.8, 1.25))))
        .reason("Schoenholz et al. 2017: only networks near χ = 1 can be trained when they are deep.")
        .help("Lower the gain of the weights to 1.07, where tanh is at its edge of chaos for this bias."),
    ];
    reading.figures = vec![diagram, correlations];
    let net = network("tanh-mlp", "normal, gain 2.5", 10_485_760, 40);
    Examination::new(net, random(&[512]), 7, vec![reading], versions())
}

/// NaN, infinities, nothing at all, and names that mean harm.
pub(crate) fn hostile() -> Examination {
    let names = [
        "</script><script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "a\u{1b}[31mred\u{7}\0",
        "\u{202e}gnp.exe",
        "{{7*7}}${7*7}&amp;&lt;",
        "日本語の層.重み",
        "https://example.org/x.js",
    ];
    let mut layers: Vec<Layer> = names
        .iter()
        .enumerate()
        .map(|(at, name)| Layer {
            name: (*name).to_owned(),
            op: "conv <3×3>",
            fan_in: usize::MAX,
            forward: [1.0, 1e40, f64::INFINITY, f64::NAN, f64::NAN, -1.0, 0.0][at],
            backward: [f64::NAN, 1e-320, 1e300, f64::NEG_INFINITY, 1.0, 1.0, 1.0][at],
            dead: [0.0, 1.0, f64::NAN, 2.0, -1.0, 0.5, 1e-9][at],
            mark: if at == 1 { Severity::Bad } else { Severity::Note },
        })
        .collect();
    layers[6].name += &"/very-long".repeat(60);
    let broken = Finding::new(
        "not_finite",
        Severity::Bad,
        Health::Broken,
        "Outputs are <b>not</b> finite from here on.\u{1b}[2J",
    )
    .at(Place::new(names[0]).depth(2).pass(Pass::Forward))
    .measured(f64::NAN, "\"'<&", Some(Bound::AtMost(f64::INFINITY)))
    .reason("</section></main>")
    .help("<a href=javascript:alert(1)>x</a>");
    let mut reading = signal(&layers, vec![broken], "<desc>");
    let empty = Figure::new("empty", "Nothing <here>", "", Axis::new(""), Axis::new("").log())
        .with("nothing", Shape::Line { x: vec![], y: vec![] })
        .with("no place", Shape::Points { x: vec![1.0, 2.0], y: vec![f64::NAN, -1.0] });
    let one = Figure::new("one", "One point", "", Axis::new("x"), Axis::new("y"))
        .with("one", Shape::Line { x: vec![3.0], y: vec![f64::MAX] });
    let mut ragged = Table::new("ragged", "</table>", [Column::new("a", "<th>", Kind::Text)]);
    ragged.push([Cell::from("</td>"), 1.0.into()]);
    reading.figures.extend([empty, one]);
    reading.tables.push(ragged);
    reading.tables.push(Table::new("none", "No rows", [Column::new("a", "a", Kind::Real)]));
    reading.quantities =
        vec![Quantity::new("q", "</dd>", f64::NAN, "%\"'>"), Quantity::new("r", "big", f64::INFINITY, "")];
    let mut net = network("evil\"net<script>", "'><svg onload=alert(1)>", u64::MAX, 7);
    "file://../../etc/passwd".clone_into(&mut net.source);
    Examination::new(net, random(&[]), u64::MAX, vec![reading], versions())
}
