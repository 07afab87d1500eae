//! Schedules against those of `transformers` 5 and torch 2.15, printed by them.

use epoch0_train::{Pace, Schedule};

const PACE: Pace = Pace { per_epoch: 3, per_step: 1, batch: 8 };

fn check(spec: &str, steps: u64, wanted: &[f64]) {
    let schedule: Schedule = spec.parse().unwrap();
    let curve = schedule.over(steps, PACE);
    for (step, wanted) in wanted.iter().enumerate() {
        let found = curve.factor(step as u64);
        assert!((found - wanted).abs() < 1e-14, "{spec} at {step}: {found}, not {wanted}");
    }
    assert_eq!(schedule.to_string().parse::<Schedule>().unwrap(), schedule, "{spec}");
}

#[test]
fn factors_are_those_of_transformers_and_torch() {
    check("constant", 3, &[1.0; 4]);
    // get_cosine_schedule_with_warmup(3, 10)
    check(
        "cosine,warmup=3it",
        10,
        &[
            0.0,
            0.3333333333333333,
            0.6666666666666666,
            1.0,
            0.9504844339512095,
            0.8117449009293668,
            0.6112604669781572,
            0.38873953302184283,
            0.18825509907063326,
            0.04951556604879048,
        ],
    );
    // get_linear_schedule_with_warmup(2, 6)
    check("linear,warmup=2it", 6, &[0.0, 0.5, 1.0, 0.75, 0.5, 0.25]);
    // get_polynomial_decay_schedule_with_warmup(2, 8, lr_end=0.1, power=2) of a rate of 1
    check("polynomial,floor=0.1,warmup=2it", 8, &[0.0, 0.5, 1.0, 0.725, 0.5, 0.325, 0.2, 0.125]);
    // StepLR(3, 0.5); three steps are an epoch here
    check("step,every=1ep,factor=0.5", 8, &[1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25]);
    // OneCycleLR(1.0, total_steps=10, cycle_momentum=False)
    check(
        "one_cycle",
        10,
        &[
            0.04,
            0.52,
            1.0,
            0.9504846320134737,
            0.8117456539497631,
            0.6112620219362893,
            0.38874197806371075,
            0.18825834605023697,
            0.049519367986526286,
            4e-06,
        ],
    );
}

#[test]
fn every_schedule_is_finite_at_any_length() {
    for spec in [
        "cosine",
        "linear,floor=0.5",
        "polynomial,power=0.5",
        "step,every=0it",
        "one_cycle",
        "one_cycle,rise=1",
        "one_cycle,rise=0",
        "cosine,warmup=9it,warmup_from=0.5",
    ] {
        let schedule: Schedule = spec.parse().unwrap();
        for steps in 0..8 {
            let curve = schedule.over(steps, PACE);
            for step in 0..steps + 3 {
                let factor = curve.factor(step);
                assert!((0.0..=1.0).contains(&factor), "{spec}, {step} of {steps}: {factor}");
            }
        }
    }
}

#[test]
fn what_is_no_schedule_is_refused() {
    for (spec, says) in [
        ("cosin", "allowed constant, cosine"),
        ("step", "step,every=30ep"),
        ("cosine,floor=2", "floor is 2, allowed 0 to 1"),
        ("cosine,warmup=500", "2000it"),
        ("one_cycle,warmup=5it", "warmup"),
        ("polynomial,power=-1", "allowed 0 to 100"),
        ("constant,floor=0.1", "floor"),
    ] {
        let error = spec.parse::<Schedule>().unwrap_err().to_string();
        assert!(error.contains(says), "{spec}: {error}");
    }
}
