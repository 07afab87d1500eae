//! Readings: their JSON and what an examination makes of findings.

use epoch0_method::reading::{
    Bound, Cell, Column, Examination, Finding, Health, Kind, NetworkSummary, ProbeSource, ProbeSummary,
    Quantity, Reading, Severity, Table, Versions,
};

fn network() -> NetworkSummary {
    NetworkSummary {
        name: "mlp".to_owned(),
        source: "zoo".to_owned(),
        start: "he_normal".to_owned(),
        n_params: 12,
        n_sites: 2,
        depth: 2,
        dtype: "f32".to_owned(),
    }
}

fn probe() -> ProbeSummary {
    ProbeSummary {
        source: ProbeSource::MatchedRandom,
        name: "normal(0, 1)".to_owned(),
        n_examples: 64,
        shape: vec![3],
        has_labels: false,
    }
}

fn examination(findings: Vec<Finding>) -> Examination {
    let reading = Reading { findings, ..Reading::new("signal", "Signal", "") };
    Examination::new(network(), probe(), 0, vec![reading], Versions::new())
}

fn finding(severity: Severity, health: Health) -> Finding {
    Finding::new("f", severity, health, "")
}

#[test]
fn numbers_that_are_not_finite_come_back() {
    let columns = [
        Column::new("site", "site", Kind::Text),
        Column::new("variance", "variance", Kind::Real),
        Column::new("mark", "", Kind::Mark),
    ];
    let mut table = Table::new("layers", "Layers", columns);
    table.push([Cell::from("NaN"), f64::NAN.into(), Severity::Bad.into()]);
    table.push(["a".into(), f64::NEG_INFINITY.into(), "bad".into()]);
    table.push(["b".into(), 1.5.into()]);
    let json = serde_json::to_string(&table).unwrap();
    assert!(json.contains(r#"[["NaN","NaN","bad"],["a","-inf","bad"],["b",1.5,null]]"#), "{json}");
    let back: Table = serde_json::from_str(&json).unwrap();
    assert_eq!(back.rows[0][0], Cell::Text("NaN".to_owned()), "a name stays a name");
    assert!(matches!(back.rows[0][1], Cell::Real(value) if value.is_nan()));
    assert_eq!(back.rows[0][2], Cell::Mark(Severity::Bad));
    assert_eq!(back.rows[1][1], Cell::Real(f64::NEG_INFINITY));
    assert_eq!(back.rows[2], [Cell::from("b"), Cell::Real(1.5), Cell::Missing]);
}

#[test]
fn an_examination_reads_itself_back() {
    let broken = finding(Severity::Bad, Health::Broken).measured(
        f64::NAN,
        "",
        Some(Bound::Within((f64::NEG_INFINITY, 1.0))),
    );
    let mut examination = examination(vec![broken]);
    examination.readings[0].quantities.push(Quantity::new("q", "q", f64::INFINITY, ""));
    let json = serde_json::to_string(&examination).unwrap();
    assert!(json.contains(r#""measured":"NaN","unit":"","bound":{"within":["-inf",1.0]}"#), "{json}");
    let back: Examination = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), json);
}

#[test]
fn the_state_is_the_one_that_hides_the_others() {
    let state = |findings: &[(Severity, Health)]| {
        let findings = findings.iter().map(|&(severity, health)| finding(severity, health)).collect();
        let examination = examination(findings);
        assert_eq!(examination.is_healthy(), examination.health == Health::Healthy);
        examination.health
    };
    assert_eq!(state(&[]), Health::Healthy);
    assert_eq!(state(&[(Severity::Warn, Health::Dead)]), Health::Healthy, "a warning does not decide");
    assert_eq!(state(&[(Severity::Bad, Health::Dead), (Severity::Bad, Health::Broken)]), Health::Broken);
    assert_eq!(state(&[(Severity::Bad, Health::Biased), (Severity::Warn, Health::Broken)]), Health::Biased);
    assert_eq!(state(&[(Severity::Bad, Health::Healthy)]), Health::Broken, "bad is never healthy");
}

#[test]
fn findings_come_worst_first() {
    let all = [
        (Severity::Ok, Health::Healthy),
        (Severity::Warn, Health::Saturated),
        (Severity::Bad, Health::Vanishing),
        (Severity::Warn, Health::Dead),
    ];
    let examination = examination(all.iter().map(|&(severity, health)| finding(severity, health)).collect());
    let order: Vec<_> = examination.findings().iter().map(|(_, finding)| finding.health).collect();
    assert_eq!(order, [Health::Vanishing, Health::Dead, Health::Saturated, Health::Healthy]);
}

#[test]
fn bounds_allow_what_they_say() {
    assert!(Bound::AtLeast(1.0).allows(1.0) && !Bound::AtLeast(1.0).allows(0.9));
    assert!(Bound::AtMost(1.0).allows(1.0) && !Bound::AtMost(1.0).allows(1.1));
    assert!(Bound::Within((0.5, 2.0)).allows(2.0) && !Bound::Within((0.5, 2.0)).allows(2.1));
    for bound in [Bound::AtLeast(0.0), Bound::AtMost(0.0), Bound::Within((-1.0, 1.0))] {
        assert!(!bound.allows(f64::NAN));
    }
}

#[test]
fn words_of_the_enums_are_those_of_the_json() {
    for severity in Severity::ALL {
        assert_eq!(serde_json::to_value(severity).unwrap(), severity.name());
    }
    for health in Health::ALL {
        assert_eq!(serde_json::to_value(health).unwrap(), health.name());
    }
}
