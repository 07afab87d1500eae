//! A made-up comparison and a made-up training run.

use epoch0_method::reading::{
    Arm, Axis, Better, Comparison, Curve, Figure, Health, Metric, Quantity, Shape, Training, Versus,
};

use super::{network, normal, versions};

const SEEDS: usize = 5;

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Half of the 95 % interval of a mean of five.
fn half(values: &[f64]) -> f64 {
    let center = mean(values);
    let squares: f64 = values.iter().map(|value| (value - center).powi(2)).sum();
    2.776 * (squares / (values.len() - 1) as f64 / values.len() as f64).sqrt()
}

fn arm(method: &str, level: f64, baseline: Option<&[f64]>, p_value: f64) -> Arm {
    let values: Vec<f64> = normal(method, SEEDS).iter().map(|noise| level + 0.006 * noise).collect();
    let (center, reach) = (mean(&values), half(&values));
    let versus = baseline.map(|baseline| {
        let differences: Vec<f64> = values.iter().zip(baseline).map(|(a, b)| a - b).collect();
        let (difference, reach) = (mean(&differences), half(&differences));
        Versus {
            difference,
            interval: (difference - reach, difference + reach),
            p_value,
            wins: differences.iter().filter(|difference| **difference > 0.0).count(),
            ties: 0,
        }
    });
    Arm {
        method: method.to_owned(),
        values,
        mean: center,
        interval: (center - reach, center + reach),
        versus,
        diverged: 0,
        learning_rate: None,
        health: Some(Health::Healthy),
    }
}

fn curves() -> Figure {
    let steps: Vec<f64> = (0..=30).map(|at| f64::from(at) * 50.0).collect();
    let mut figure = Figure::new(
        "test_accuracy",
        "Test accuracy",
        "fixup rises quickest and ends highest, at 86.9 %; he_normal ends at 84.7 %, xavier_normal at 81.2 %.",
        Axis::new("steps"),
        Axis::new("test accuracy").unit("share"),
    );
    for (method, end, pace, spread) in [
        ("he_normal", 0.85, 260.0, 0.02),
        ("fixup", 0.871, 180.0, 0.012),
        ("xavier_normal", 0.82, 420.0, 0.03),
    ] {
        let y: Vec<f64> = steps.iter().map(|step| end - (end - 0.1) * (-step / pace).exp()).collect();
        let reach = |step: f64| spread * (1.0 - (-step / 90.0).exp()) * (0.4 + (-step / 500.0).exp());
        let band = Shape::Band {
            x: steps.clone(),
            low: steps.iter().zip(&y).map(|(step, y)| y - reach(*step)).collect(),
            high: steps.iter().zip(&y).map(|(step, y)| y + reach(*step)).collect(),
        };
        figure = figure.with(method, band).with(method, Shape::Line { x: steps.clone(), y });
    }
    "Means over 5 seeds, with 95 % intervals.".clone_into(&mut figure.note);
    figure
}

fn losses() -> Figure {
    let steps: Vec<f64> = (0..=30).map(|at| f64::from(at) * 50.0).collect();
    let mut figure = Figure::new(
        "train_loss",
        "Training loss",
        "All fall from 2.3; fixup ends lowest.",
        Axis::new("steps"),
        Axis::new("training loss").unit("nats").log(),
    );
    for (method, end, pace) in
        [("he_normal", 0.21, 330.0), ("fixup", 0.15, 240.0), ("xavier_normal", 0.36, 480.0)]
    {
        let y: Vec<f64> = steps.iter().map(|step| end + (2.303 - end) * (-step / pace).exp()).collect();
        let band = Shape::Band {
            x: steps.clone(),
            low: y.iter().map(|y| y * 0.92).collect(),
            high: y.iter().map(|y| y * 1.08).collect(),
        };
        figure = figure.with(method, band).with(method, Shape::Line { x: steps.clone(), y });
    }
    figure
}

/// Three methods over five seeds.
pub(crate) fn comparison() -> Comparison {
    let he = arm("he_normal", 0.847, None, f64::NAN);
    let fixup = arm("fixup", 0.869, Some(&he.values), 0.0008);
    let mut xavier = arm("xavier_normal", 0.812, Some(&he.values), 0.002);
    xavier.diverged = 1;
    let lsuv = arm("lsuv", 0.849, Some(&he.values), 0.41);
    Comparison {
        title: "resnet20 on fashion_mnist".to_owned(),
        network: network("resnet20", "", 272_474, 20),
        data: "fashion_mnist, 10,000 training and 2,000 test images".to_owned(),
        training: "SGD 0.05, momentum 0.9, batch 128, 1500it".to_owned(),
        metric: Metric {
            name: "test_accuracy".to_owned(),
            label: "test accuracy".to_owned(),
            unit: "share".to_owned(),
            better: Better::Higher,
        },
        baseline: "he_normal".to_owned(),
        test: "paired t-test, Holm–Bonferroni over 3".to_owned(),
        level: 0.05,
        seeds: (0..SEEDS as u64).collect(),
        arms: vec![he, fixup, lsuv, xavier],
        figures: vec![curves(), losses()],
        note: String::new(),
        versions: versions(),
    }
}

/// One run that stopped.
pub(crate) fn training() -> Training {
    let steps: Vec<u64> = (0..40).map(|at| at * 25).collect();
    let values = steps.iter().map(|step| 2.3 * (-(*step as f64) / 300.0).exp() + 0.2).collect();
    let mut accuracy = normal("accuracy", 40);
    accuracy
        .iter_mut()
        .enumerate()
        .for_each(|(at, value)| *value = 0.9 - 0.8 * (-(at as f64) / 9.0).exp() + 0.01 * *value);
    accuracy[39] = f64::NAN;
    Training {
        start: "he_normal".to_owned(),
        network: network("lenet", "he_normal", 61_706, 5),
        data: "mnist".to_owned(),
        training: "Adam 1e-3, batch 64, 3ep".to_owned(),
        seed: 3,
        curves: vec![
            Curve {
                name: "loss".into(),
                label: "Training loss".into(),
                unit: "nats".into(),
                steps: steps.clone(),
                values,
            },
            Curve {
                name: "accuracy".into(),
                label: "Test accuracy".into(),
                unit: "share".into(),
                steps,
                values: accuracy,
            },
        ],
        figures: vec![curves()],
        quantities: vec![Quantity::new("loss", "training loss", 0.284, "nats")],
        stopped: Some("The loss is NaN at step 975.".to_owned()),
        versions: versions(),
    }
}
