//! Scaling, parts and batches.

use epoch0_data::prepare::{balanced, first, one_hot, order, split};
use epoch0_data::{
    Array, BatchSize, Batches, Classes, Dataset, Examples, Inputs, Normalize, Order, Per, Targets,
};
use proptest::prelude::*;

/// `n` examples of one number, their index, with classes that repeat.
fn counted(n: usize, n_classes: usize) -> Examples {
    let inputs = Array::new([n, 1], (0..n).map(|nth| nth as f32).collect()).unwrap();
    let labels = (0..n).map(|nth| (nth % n_classes) as u32).collect();
    Examples::new("counted", Inputs::Values(inputs), Targets::Classes(Classes::numbered(labels, n_classes)))
        .unwrap()
}

#[test]
fn scaling_is_measured_on_training_and_applied_to_both() {
    // Two channels of two pixels; the second channel is always 7.
    let images = |values: Vec<f32>| {
        let n = values.len() / 4;
        Examples::new("images", Inputs::Values(Array::new([n, 2, 2, 1], values).unwrap()), Targets::None)
            .unwrap()
    };
    let train = images(vec![1., 3., 7., 7., 5., 7., 7., 7.]);
    let data = Dataset::new("images", train, Some(images(vec![4., 6., 7., 8.])));
    let (scaled, scaling) = Normalize::dataset(data.clone(), Per::Channel).unwrap();
    assert_eq!(scaling.mean, [4.0, 7.0]);
    assert_eq!(scaling.std, [5f64.sqrt(), 1.0]);
    let values = |examples: &Examples| examples.inputs().to_f32().unwrap().data().to_vec();
    let root = 5f32.sqrt();
    for (found, due) in
        values(&scaled.train).iter().zip([-3. / root, -1. / root, 0., 0., 1. / root, 3. / root, 0., 0.])
    {
        assert!((found - due).abs() < 1e-6);
    }
    assert_eq!(values(scaled.test.as_ref().unwrap()), [0.0, (2.0 / 5f64.sqrt()) as f32, 0.0, 1.0]);
    let whole = Normalize::measure(&data.train, Per::Whole).unwrap();
    assert_eq!(whole.mean, [5.5]);
    assert_eq!(values(&whole.centering().apply(&data.train).unwrap())[..2], [-4.5, -2.5]);
    let three = Normalize { mean: vec![0.0; 3], std: vec![1.0; 3] };
    let error = three.apply(&data.train).unwrap_err().to_string();
    assert!(error.contains("their shape is [2, 2, 2, 1], allowed 3 channels"), "{error}");
    let tokens = Inputs::Tokens(Array::new([1, 2], vec![1, 2]).unwrap());
    let tokens = Examples::new("tokens", tokens, Targets::None).unwrap();
    let error = Normalize::measure(&tokens, Per::Whole).unwrap_err().to_string();
    assert!(error.contains("tokens, allowed numbers"), "{error}");
}

#[test]
fn parts_are_what_they_are_called() {
    let all = counted(10, 3);
    let values = |examples: &Examples| examples.inputs().to_f32().unwrap().data().to_vec();
    assert_eq!(values(&first(&all, 4).unwrap()), [0., 1., 2., 3.]);
    assert_eq!(values(&balanced(&all, 2).unwrap()), [0., 1., 2., 3., 4., 5.]);
    let error = balanced(&all, 4).unwrap_err().to_string();
    assert!(error.contains("class `1`: the number of examples is 3, allowed 4 or more"), "{error}");
    for n in [0, 11] {
        assert!(first(&all, n).unwrap_err().to_string().contains("allowed 1 to 10"));
    }
    assert!(split(&all, 10, 0).unwrap_err().to_string().contains("n is 10, allowed 1 to 9"));
    assert!(split(&counted(1, 1), 1, 0).is_err());
    let parts = split(&all, 3, 5).unwrap();
    assert_eq!((parts.rest.len(), parts.held_out.len()), (7, 3));
    let mut both = [values(&parts.rest), values(&parts.held_out)].concat();
    both.sort_by(f32::total_cmp);
    assert_eq!(both, values(&all));
    assert_eq!(split(&all, 3, 5).unwrap(), parts);
    assert_ne!(split(&all, 3, 6).unwrap(), parts);
    let hot = one_hot(all.pick(&[4, 2]).classes().unwrap());
    assert_eq!(hot, Array::new([2, 3], vec![0., 1., 0., 0., 0., 1.]).unwrap());
}

#[test]
fn examples_are_held_to_their_conditions() {
    let ones = |shape: [usize; 2]| Inputs::Values(Array::new(shape, vec![1.0; shape[0] * shape[1]]).unwrap());
    let classes = |labels: &[u32]| Targets::Classes(Classes::numbered(labels.to_vec(), 2));
    for (inputs, targets, words) in [
        (ones([0, 3]), Targets::None, "it: the number of examples is 0, allowed 1 or more"),
        (ones([3, 0]), Targets::None, "no dimension of size 0"),
        (ones([3, 1]), classes(&[0, 1]), "the number of targets is 2, allowed 3"),
        (ones([3, 1]), classes(&[0, 1, 2]), "label 2 is 2, allowed 0 to 1 for 2 classes"),
        (
            ones([1, 1]),
            Targets::Values(Array::new([1, 2], vec![0.0, f32::INFINITY]).unwrap()),
            "target 0, element 1 is inf",
        ),
        (ones([1, 2]), Targets::Next(Array::new([1, 1], vec![0]).unwrap()), "the targets' shape is [1, 1]"),
    ] {
        let error = Examples::new("it", inputs, targets).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert!(Array::new([2, 3], vec![0; 5]).unwrap_err().to_string().contains("its shape is [2, 3]"));
    assert!(Array::<u8>::new([usize::MAX, 2], Vec::new()).is_err());
    assert!(Array::<u8>::new([usize::MAX, usize::MAX, 0], Vec::new()).is_ok());
}

#[test]
fn orders_are_permutations_all_equally_likely() {
    let mut counts = std::collections::BTreeMap::new();
    for epoch in 0..6000 {
        *counts.entry(order(3, 11, epoch)).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 6);
    // Of 6000 a sixth each; 5 standard deviations are 144.
    assert!(counts.values().all(|&count| (856..=1144).contains(&count)), "{counts:?}");
    assert_eq!(order(100, 1, 0), order(100, 1, 0));
    assert_ne!(order(100, 1, 0), order(100, 1, 1));
    assert_ne!(order(100, 1, 0), order(100, 2, 0));
}

#[test]
fn batch_sizes_are_positive() {
    assert!(BatchSize::new(0).unwrap_err().to_string().contains("size is 0, allowed 1 or more"));
    assert_eq!("32".parse::<BatchSize>().unwrap().get(), 32);
    for text in ["0", "-1", "", "many"] {
        let error = text.parse::<BatchSize>().unwrap_err().to_string();
        assert!(error.contains(&format!("`{text}`")), "{error}");
    }
}

proptest! {
    #[test]
    fn an_epoch_has_each_example_once(n in 1usize..60, size in 1usize..70, seed: u64, epoch: u64, skip in 0usize..9) {
        let all = counted(n, 2);
        let size = BatchSize::new(size).unwrap();
        let batches = Batches::new(&all, size, Order::Shuffled { seed });
        let mut seen: Vec<usize> = batches.epoch(epoch).flat_map(|batch| batch.which).collect();
        prop_assert_eq!(&seen, &order(n, seed, epoch));
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..n).collect::<Vec<_>>());
        prop_assert_eq!(batches.epoch(epoch).len(), batches.per_epoch());
        for batch in batches.epoch(epoch) {
            prop_assert_eq!(&batch.inputs, &all.inputs().pick(&batch.which));
            prop_assert_eq!(&batch.targets, &all.targets().pick(&batch.which));
        }
        // Going on in the middle of an epoch gives the rest of it.
        let rest: Vec<_> = batches.epoch(epoch).skip(skip).collect();
        let skipped: Vec<_> = batches.epoch(epoch).collect::<Vec<_>>().into_iter().skip(skip).collect();
        prop_assert_eq!(rest, skipped);
        let whole = batches.dropping_last();
        prop_assert_eq!(whole.epoch(epoch).count(), n / size.get());
        prop_assert!(whole.epoch(epoch).all(|batch| batch.len() == size.get()));
        let stored: Vec<usize> =
            Batches::new(&all, size, Order::Stored).epoch(epoch).flat_map(|batch| batch.which).collect();
        prop_assert_eq!(stored, (0..n).collect::<Vec<_>>());
    }
}
