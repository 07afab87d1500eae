//! Every config in `tests/peers/configs` against what `transformers` made of it (`tests/peers/reference`, written by
//! `tests/peers/reference.py`): names, shapes, ties, types, number of parameters, and the law that each starts from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use epoch0_format::hf;
use epoch0_net::{Network, Param, ParamId};
use serde_json::Value;

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers")
}

fn cases() -> Vec<(String, Network, Value)> {
    let mut paths: Vec<_> =
        fs::read_dir(peers().join("configs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let case = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let net = hf::open(path).unwrap_or_else(|error| panic!("{error}"));
        let text = fs::read_to_string(peers().join(format!("reference/{name}.json"))).unwrap();
        (name, net, serde_json::from_str(&text).unwrap())
    };
    paths.iter().map(case).collect()
}

#[test]
fn every_family_has_three_configs() {
    let cases = cases();
    for family in hf::FAMILIES {
        let count = cases.iter().filter(|(_, net, _)| net.name() == family.model_type).count();
        assert!(count >= 3, "{} has {count}", family.model_type);
    }
}

#[test]
fn names_shapes_and_types_are_those_of_transformers() {
    for (case, net, reference) in cases() {
        let ours: BTreeMap<String, (String, Vec<u64>)> = net
            .params()
            .iter()
            .map(|param| {
                let shape = param.shape.iter().map(|&size| size as u64).collect();
                (param.name.clone(), (param.dtype.to_string().to_uppercase(), shape))
            })
            .collect();
        let theirs: BTreeMap<String, (String, Vec<u64>)> = reference["tensors"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, tensor)| {
                let shape =
                    tensor["shape"].as_array().unwrap().iter().map(|size| size.as_u64().unwrap()).collect();
                (name.clone(), (tensor["dtype"].as_str().unwrap().to_owned(), shape))
            })
            .collect();
        let missing: Vec<_> = theirs.keys().filter(|name| !ours.contains_key(*name)).collect();
        let unexpected: Vec<_> = ours.keys().filter(|name| !theirs.contains_key(*name)).collect();
        assert!(
            missing.is_empty() && unexpected.is_empty(),
            "{case}: missing {missing:?}, unexpected {unexpected:?}"
        );
        for (name, tensor) in &ours {
            assert_eq!(tensor, &theirs[name], "{case}: {name}");
        }
        assert_eq!(Some(net.n_params()), reference["n_params"].as_u64(), "{case}: number of parameters");
    }
}

#[test]
fn ties_are_those_of_transformers() {
    for (case, net, reference) in cases() {
        let ours: BTreeMap<_, _> =
            net.ties().iter().map(|tie| (tie.alias.as_str(), net.param(tie.param).name.as_str())).collect();
        let theirs: BTreeMap<_, _> = reference["ties"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(alias, name)| (alias.as_str(), name.as_str().unwrap()))
            .collect();
        assert_eq!(ours, theirs, "{case}");
    }
}

/// Elements that a draw is free in: a padding row stays zero.
fn n_drawn(param: &Param) -> f64 {
    let row = param.padding_row.map_or(0, |_| param.shape[1]);
    (param.len() - row) as f64
}

#[test]
fn parameters_start_from_the_laws_of_transformers() {
    let mut n_compared = 0;
    for (case, net, reference) in cases() {
        for param in net.params() {
            let numbers = reference["tensors"][&param.name]["start"].as_array().unwrap();
            let [mean, std, low, high] = [0, 1, 2, 3].map(|at| numbers[at].as_f64().unwrap());
            if let Some(fixed) = param.fixed {
                let (width, n) = (param.shape[1], param.len() as f64);
                let values = || (0..param.len()).map(|at| fixed.value(width, at / width, at % width));
                let ours = values().sum::<f64>() / n;
                let var = values().map(|value| (value - ours).powi(2)).sum::<f64>() / n;
                let ends = values().fold([f64::MAX, f64::MIN], |ends, x| [ends[0].min(x), ends[1].max(x)]);
                for (ours, theirs) in [(ours, mean), (var.sqrt(), std), (ends[0], low), (ends[1], high)] {
                    assert!(
                        (ours - theirs).abs() <= 2.0 * param.dtype.unit_roundoff(),
                        "{case}: {}",
                        param.name
                    );
                }
                continue;
            }
            let law = param.native.unwrap_or_else(|| panic!("{case}: {} has no law", param.name));
            let at = format!(
                "{case}: {} from {law}, theirs mean {mean}, std {std}, in [{low}, {high}]",
                param.name
            );
            let (n, roundoff) = (n_drawn(param), param.dtype.unit_roundoff());
            let share = n / param.len() as f64;
            if law.std() == 0.0 {
                let wanted = law.mean();
                let near = |value: f64| (value - wanted).abs() <= roundoff * wanted.abs();
                assert!(near(low) && near(high), "{at}");
                continue;
            }
            assert!(std > 0.0, "{at}");
            // What share of elements is free scales the moments; ±5 standard errors.
            assert!(
                (mean - law.mean() * share).abs() <= 5.0 * law.std() / n.sqrt() + roundoff * law.std(),
                "{at}"
            );
            let kurtosis = law.fourth_central_moment() / law.var().powi(2);
            let relative = 5.0 * ((kurtosis - 1.0) / n).sqrt() / 2.0 + 5.0 / n + 2.0 * roundoff;
            let wanted = (law.var() * share).sqrt();
            assert!((std / wanted - 1.0).abs() <= relative, "{at}");
            let (least, most) = law.support();
            assert!(low >= least - roundoff * least.abs() && high <= most + roundoff * most.abs(), "{at}");
            n_compared += 1;
        }
    }
    assert!(n_compared > 1000, "only {n_compared} random parameters compared");
}

/// What `transformers` writes back has every default spelt out: reading it gives the same network, graph and laws
/// included, and no key that it writes is refused.
#[test]
fn configs_that_transformers_saves_are_the_same_networks() {
    let mut n_compared = 0;
    for (case, net, reference) in cases() {
        let Some(saved) = reference.get("config") else { continue };
        let config = hf::Config::parse(&case, saved.to_string().as_bytes()).unwrap();
        let again = hf::network(&config, false).unwrap_or_else(|error| panic!("{error}"));
        assert!(again.params() == net.params(), "{case}: parameters");
        assert!(again.nodes() == net.nodes(), "{case}: operations");
        assert!(again == net, "{case}");
        n_compared += 1;
    }
    assert!(n_compared >= 30, "only {n_compared} saved configs compared");
}

#[test]
fn own_sites_cover_every_element_once() {
    for (case, net, _) in cases() {
        for (index, param) in net.params().iter().enumerate() {
            let mut times = vec![0u8; param.len()];
            for site in net.sites_of(ParamId(index as u32)) {
                site.view.runs(|_, storage, length, stride| {
                    (0..length).for_each(|step| times[storage + step * stride] += 1);
                });
            }
            assert!(times.iter().all(|&n| n == 1), "{case}: {}", param.name);
        }
    }
}
