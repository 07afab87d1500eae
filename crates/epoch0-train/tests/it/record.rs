//! Records.

use std::io::Write;

use epoch0_train::record::{About, Line, Log, read};
use epoch0_train::tensorboard::Events;
use epoch0_train::{Observer, Status, Trainer};

use crate::common::{gaussians, network, plain, settings, weights};

fn about() -> About {
    About {
        network: "mlp:8-16-3".into(),
        data: "made".into(),
        start: "he".into(),
        start_seed: Some(3),
        teacher: None,
    }
}

#[test]
fn a_record_is_read_back() {
    let (network, data) = (network("mlp:8-16-3"), gaussians());
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("run.jsonl");
    let mut trainer = Trainer::new(&network, weights(&network, 0), &data, settings("5it")).unwrap();
    let mut log = Log::create(&path, &about(), &trainer, 2).unwrap();
    let status = trainer.run(&mut log).unwrap();
    log.end(&status, &trainer).unwrap();
    let lines = read(&path).unwrap();
    let kinds: Vec<(&str, Option<u64>)> = lines
        .iter()
        .map(|line| {
            let kind = match line {
                Line::Run { .. } => "run",
                Line::Step { .. } => "step",
                Line::Test { .. } => "test",
                Line::End { .. } => "end",
                _ => "other",
            };
            (kind, line.step())
        })
        .collect();
    let wanted = [
        ("run", None),
        ("test", Some(0)),
        ("step", Some(2)),
        ("step", Some(4)),
        ("test", Some(5)),
        ("end", Some(5)),
    ];
    assert_eq!(kinds, wanted);
    let Line::Run { about: found, settings: kept, n_steps } = &lines[0] else { panic!() };
    assert_eq!((found, &**kept, *n_steps), (&about(), &settings("5it"), 5));
    assert!(Log::create(&path, &about(), &trainer, 1).unwrap_err().to_string().contains("is there already"));
}

/// Two runs of the same training write the same but for the time.
#[test]
fn all_but_time_is_the_same_again() {
    let (network, data) = (network("mlp:8-16-3"), gaussians());
    let room = tempfile::tempdir().unwrap();
    let text = |name: &str| {
        let path = room.path().join(name);
        let mut trainer = Trainer::new(&network, weights(&network, 0), &data, settings("5it")).unwrap();
        let mut log = Log::create(&path, &about(), &trainer, 1).unwrap();
        let status = trainer.run(&mut log).unwrap();
        log.end(&status, &trainer).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text.lines().map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            line.as_object_mut().unwrap().remove("time");
            line.to_string()
        });
        lines.collect::<Vec<_>>()
    };
    assert_eq!(text("a"), text("b"));
}

#[test]
fn a_cut_line_and_steps_taken_again_are_dropped() {
    let (network, data) = (network("mlp:8-16-3"), gaussians());
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("run.jsonl");
    let mut trainer = Trainer::new(&network, weights(&network, 0), &data, settings("3it")).unwrap();
    let mut log = Log::create(&path, &about(), &trainer, 1).unwrap();
    let (first, _) = trainer.step().unwrap();
    let _ = log.step(&trainer, &first).unwrap();
    let (second, _) = trainer.step().unwrap();
    let _ = log.step(&trainer, &second).unwrap();
    drop(log);
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"{\"kind\":\"step\",\"st").unwrap();
    assert_eq!(read(&path).unwrap().len(), 3);

    // The training goes on from its first step.
    let mut again = Trainer::new(&network, weights(&network, 0), &data, settings("3it")).unwrap();
    let (first, _) = again.step().unwrap();
    let mut log = Log::go_on(&path, &about(), &again, 1).unwrap();
    let (second, _) = again.step().unwrap();
    let _ = log.step(&again, &second).unwrap();
    let steps: Vec<Option<u64>> = read(&path).unwrap().iter().map(Line::step).collect();
    assert_eq!(steps, [None, Some(first.step), Some(second.step)]);

    std::fs::write(&path, "{}\n{}\n").unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("line 1"));
}

#[test]
fn numbers_that_are_not_finite_are_null() {
    let (network, data) = (network("mlp:8-64-64-3"), gaussians());
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("run.jsonl");
    let mut trainer = Trainer::new(&network, weights(&network, 0), &data, plain(1e20, "50it")).unwrap();
    let mut log = Log::create(&path, &about(), &trainer, 1000).unwrap();
    let status = trainer.run(&mut log).unwrap();
    assert!(matches!(status, Status::Diverged { .. }));
    log.end(&status, &trainer).unwrap();
    let lines = read(&path).unwrap();
    assert!(
        lines.iter().any(|line| matches!(line, Line::Step { gradient_norm, .. } if gradient_norm.is_nan()))
    );
    assert!(matches!(lines.last(), Some(Line::End { status, what: Some(_), .. }) if status == "diverged"));
}

/// The frames of an event file fit together; that TensorBoard reads what they hold is tested beside its writer.
#[test]
fn event_files_are_whole() {
    let room = tempfile::tempdir().unwrap();
    let mut events = Events::create(&room.path().join("runs"), 0).unwrap();
    events.scalar(1, "train/loss", 2.5).unwrap();
    events.scalar(2, "train/loss", f64::NAN).unwrap();
    let other = Events::create(&room.path().join("runs"), 2).unwrap();
    assert_ne!(events.path(), other.path());
    for (path, wanted) in [(events.path(), 3), (other.path(), 2)] {
        let bytes = std::fs::read(path).unwrap();
        let (mut at, mut n) = (0, 0);
        while at < bytes.len() {
            let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
            at += 8 + 4 + length + 4;
            n += 1;
        }
        assert_eq!((at, n), (bytes.len(), wanted));
    }
}
