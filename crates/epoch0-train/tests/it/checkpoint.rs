//! Trainings that go on.

use std::path::Path;

use epoch0_data::Dataset;
use epoch0_engine::{Device, Precision};
use epoch0_format::{Checkpoint, Replace};
use epoch0_net::Network;
use epoch0_train::checkpoint::{Saved, save};
use epoch0_train::record::About;
use epoch0_train::{Adam, Optimizer, Settings, Sgd, Span, Status, Trainer};

use crate::common::{bits, gaussians, images, network, settings, weights_in};

fn about() -> About {
    About {
        network: "net".into(),
        data: "data".into(),
        start: "test".into(),
        start_seed: Some(0),
        teacher: None,
    }
}

/// Takes steps, saves in the middle, goes on from what was saved, and compares every bit.
fn goes_on(network: &Network, data: &Dataset, settings: Settings, precision: Precision) {
    let room = tempfile::tempdir().unwrap();
    let folder = room.path().join("out");
    let mut whole = Trainer::new(network, weights_in(network, 5, precision), data, settings).unwrap();
    assert_eq!(whole.run(&mut ()).unwrap(), Status::Finished);

    let mut half = Trainer::new(network, weights_in(network, 5, precision), data, settings).unwrap();
    for _ in 0..5 {
        half.step().unwrap();
    }
    save(&half, &about(), &folder, Replace::Never, &[]).unwrap();
    drop(half);
    let saved = Saved::open(&folder).unwrap();
    assert_eq!((saved.step, &saved.about), (5, &about()));
    let mut rest = saved.go_on(network, data, &Device::cpu()).unwrap();
    assert_eq!(rest.run(&mut ()).unwrap(), Status::Finished);
    assert_eq!(rest.step_number(), 10);
    assert_eq!(bits(rest.weights()), bits(whole.weights()));

    // What was saved can be replaced by what follows.
    save(&rest, &about(), &folder, Replace::Checkpoint, &[("config.json", b"{}".to_vec())]).unwrap();
    assert!(folder.join("config.json").is_file());
    assert_eq!(Saved::open(&folder).unwrap().step, 10);
    assert!(save(&rest, &about(), &folder, Replace::Never, &[]).is_err());
}

#[test]
fn five_and_five_steps_are_ten() {
    let (mlp, vectors) = (network("mlp:8-16-3,norm=batch"), gaussians());
    let sgd = Settings { schedule: "cosine,warmup=2it".parse().unwrap(), ..settings("10it") };
    goes_on(&mlp, &vectors, sgd, Precision::Single);
    let nesterov = Sgd { momentum: 0.9, nesterov: true, weight_decay: 1e-3, ..Sgd::default() };
    let double = Settings { optimizer: Optimizer::Sgd(nesterov), ..settings("10it") };
    goes_on(&mlp, &vectors, double, Precision::Double);
    let adam = Settings {
        optimizer: Optimizer::AdamW(Adam { weight_decay: 0.1, ..Adam::default() }),
        learning_rate: 1e-3,
        accumulate: 2,
        ..settings("10it")
    };
    goes_on(&network("lenet,size=12,classes=2"), &images(12), adam, Precision::Single);
    goes_on(&network("mlp:8-16-3,spiking=3"), &vectors, settings("10it"), Precision::Single);
}

#[test]
fn weights_have_the_names_and_counts_of_torch() {
    let (network, data) = (network("mlp:8-16-3,norm=batch"), gaussians());
    let room = tempfile::tempdir().unwrap();
    let folder = room.path().join("out");
    let start = weights_in(&network, 5, Precision::Single);
    let mut trainer = Trainer::new(&network, start, &data, settings("3it")).unwrap();
    trainer.run(&mut ()).unwrap();
    save(&trainer, &about(), &folder, Replace::Never, &[]).unwrap();
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let names: Vec<&str> = checkpoint.tensors().map(|tensor| tensor.name()).collect();
    for param in network.params() {
        assert!(names.contains(&param.name.as_str()), "{} in {names:?}", param.name);
    }
    let count = names.iter().find(|name| name.ends_with("num_batches_tracked")).unwrap();
    assert_eq!(checkpoint.get(count).unwrap().bytes(), 3i64.to_le_bytes());
    let optimizer = Checkpoint::open(folder.join("optimizer.safetensors")).unwrap();
    let first = &network.params()[0].name;
    assert!(optimizer.get(&format!("{first}.momentum_buffer")).is_some());
}

#[test]
fn a_longer_training_goes_on_from_a_finished_one() {
    let (network, data) = (network("mlp:8-16-3"), gaussians());
    let room = tempfile::tempdir().unwrap();
    let folder = room.path().join("out");
    let start = || weights_in(&network, 5, Precision::Single);
    let mut short = Trainer::new(&network, start(), &data, settings("4it")).unwrap();
    short.run(&mut ()).unwrap();
    save(&short, &about(), &folder, Replace::Never, &[]).unwrap();
    let saved = Saved::open(&folder).unwrap().lasting(Span::Steps(9));
    let mut rest = saved.go_on(&network, &data, &Device::cpu()).unwrap();
    rest.run(&mut ()).unwrap();
    let mut whole = Trainer::new(&network, start(), &data, settings("9it")).unwrap();
    whole.run(&mut ()).unwrap();
    assert_eq!(bits(rest.weights()), bits(whole.weights()));
}

#[test]
fn what_is_no_training_is_refused() {
    let (mlp, data) = (network("mlp:8-16-3"), gaussians());
    let room = tempfile::tempdir().unwrap();
    let folder = room.path().join("out");
    let says = |wanted: &str| {
        let error = Saved::open(&folder).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    };
    says("nothing to go on with");
    let start = weights_in(&mlp, 5, Precision::Single);
    let mut trainer = Trainer::new(&mlp, start, &data, settings("2it")).unwrap();
    trainer.run(&mut ()).unwrap();
    save(&trainer, &about(), &folder, Replace::Never, &[]).unwrap();

    let saved = Saved::open(&folder).unwrap();
    let no = |network: &Network, data: &Dataset| {
        saved.go_on(network, data, &Device::cpu()).unwrap_err().to_string()
    };
    let fewer = Dataset::open("gaussians:classes=3,dim=8,n=100,separation=4").unwrap();
    assert!(no(&mlp, &fewer).contains("go on with the same data"));
    assert!(no(&network("mlp:8-12-3"), &data).contains("shape"));
    assert!(no(&network("mlp:8-16-16-3"), &data).contains("2.weight"));

    let path = folder.join("training.json");
    let text = std::fs::read_to_string(&path).unwrap();
    cut(&folder.join("optimizer.safetensors"));
    assert!(saved.go_on(&mlp, &data, &Device::cpu()).is_err());
    std::fs::write(&path, text.replace("\"format\": 1", "\"format\": 9")).unwrap();
    says("format 9, allowed 1");
    std::fs::write(&path, text.replace("0.05", "-0.05")).unwrap();
    says("learning rate is -0.05");
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    says("cannot be read");
}

fn cut(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..bytes.len() - 7]).unwrap();
}
