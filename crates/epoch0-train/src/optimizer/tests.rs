//! Against torch 2.15: four updates of two parameters, printed by `torch.optim` on the processor.

use epoch0_engine::{Device, Elements, Precision, Tensor, Weights};
use epoch0_net::{Builder, Linear, Network, ParamId, Source};
use epoch0_num::Dtype;

use super::*;

const WEIGHT: [f64; 3] = [0.5, -1.25, 2.0];
const BIAS: [f64; 2] = [0.1, -0.2];
const OF_WEIGHT: [[f64; 3]; 4] = [[0.3, -0.7, 0.2], [-0.1, 0.4, 1.5], [0.05, 0.6, -0.9], [2.0, -3.0, 0.01]];
const OF_BIAS: [[f64; 2]; 4] = [[1.0, -2.0], [0.5, 0.25], [-0.125, 0.75], [0.2, 0.1]];

/// Two parameters of these lengths.
fn network() -> Network {
    let mut b = Builder::new("two", Source::Built, Dtype::F32);
    let x = b.input("x", &[None, Some(3)]);
    let y = b.linear(x, "a", Linear::new(1).bias(false));
    let z = b.input("z", &[None, Some(2)]);
    let w = b.linear(z, "b", Linear::new(1).bias(false));
    b.output(y, "y");
    b.output(w, "w");
    b.finish().unwrap()
}

fn tensor(values: &[f64], precision: Precision) -> Tensor {
    Tensor::from_f64(values.to_vec(), &[1, values.len()], precision, &Device::cpu())
}

struct Case {
    optimizer: Optimizer,
    learning_rate: f64,
    per_param: Vec<PerParam>,
    wanted: [f64; 5],
}

fn cases() -> Vec<Case> {
    let case = |optimizer, learning_rate, wanted| Case {
        optimizer,
        learning_rate,
        per_param: vec![PerParam::default(); 2],
        wanted,
    };
    let sgd = |momentum, dampening, nesterov, weight_decay| {
        Optimizer::Sgd(Sgd { momentum, dampening, nesterov, weight_decay })
    };
    let decayed = Adam { weight_decay: 0.1, ..Adam::default() };
    let mut groups = case(
        Optimizer::AdamW(decayed),
        0.01,
        [
            0.3954423295812087,
            -1.1726841781602542,
            1.8796283034240262,
            0.06800682189482662,
            -0.18105828131016277,
        ],
    );
    groups.per_param[0].learning_rate = 4.0;
    groups.per_param[1].weight_decay = 0.0;
    vec![
        case(
            sgd(0.0, 0.0, false, 0.0),
            0.1,
            [0.27499999999999997, -0.98, 1.9190000000000003, -0.05750000000000001, -0.11],
        ),
        case(
            sgd(0.9, 0.3, false, 0.01),
            0.1,
            [
                0.26564471458246147,
                -0.9460917455644388,
                1.751316852425546,
                -0.3361419544292657,
                0.3339161159835314,
            ],
        ),
        case(
            sgd(0.9, 0.0, true, 0.01),
            0.1,
            [
                0.012458719554328989,
                -0.6791642919521621,
                1.6216547986341059,
                -0.4842882531663168,
                0.3096683989576336,
            ],
        ),
        case(
            Optimizer::Adam(Adam::default()),
            0.01,
            [
                0.47568092326266836,
                -1.2355146463681823,
                1.977664839699561,
                0.06800682189482662,
                -0.18105828131016277,
            ],
        ),
        case(
            Optimizer::Adam(Adam { beta1: 0.8, beta2: 0.9, eps: 1e-3, weight_decay: 0.1 }),
            0.01,
            [
                0.47227474478589915,
                -1.2319278318567146,
                1.9742863523919845,
                0.06866233468003581,
                -0.18249152914397668,
            ],
        ),
        case(
            Optimizer::AdamW(decayed),
            0.01,
            [
                0.47372594589488043,
                -1.2305538571134211,
                1.9697255373425528,
                0.0676624764286108,
                -0.18030281308037274,
            ],
        ),
        groups,
    ]
}

fn run(case: &Case, precision: Precision, on_device: bool) -> Vec<f64> {
    let network = network();
    let mut weights = Weights::read(&network, precision, &Device::cpu(), |id, _| {
        Ok::<_, epoch0_engine::Error>(Elements::Double(if id.0 == 0 {
            WEIGHT.to_vec()
        } else {
            BIAS.to_vec()
        }))
    })
    .unwrap();
    let mut state = State::new(case.optimizer, Clip::None, 2);
    for (a, b) in OF_WEIGHT.iter().zip(&OF_BIAS) {
        let gradients = vec![(ParamId(0), tensor(a, precision)), (ParamId(1), tensor(b, precision))];
        if on_device {
            state.step_on_device(&mut weights, &gradients, &case.per_param, case.learning_rate);
        } else {
            state.step(&mut weights, gradients, &case.per_param, case.learning_rate);
        }
    }
    weights.iter().flat_map(|(_, value)| value.to_f64()).collect()
}

#[test]
fn updates_are_those_of_torch() {
    for case in cases() {
        for (precision, on_device, bound) in [
            (Precision::Double, false, 1e-14),
            (Precision::Double, true, 1e-14),
            (Precision::Single, false, 3e-7),
            (Precision::Single, true, 3e-7),
        ] {
            let found = run(&case, precision, on_device);
            // Steps round at the size of the weights, also where a weight comes out small.
            let size = case.wanted.iter().fold(0.0, |size: f64, wanted| size.max(wanted.abs()));
            for (found, wanted) in found.iter().zip(case.wanted) {
                let error =
                    (found - wanted).abs() / if precision == Precision::Single { size } else { wanted.abs() };
                assert!(
                    error < bound,
                    "{:?} {precision:?} {on_device}: {found}, not {wanted}",
                    case.optimizer
                );
            }
        }
    }
}

/// `torch.nn.utils.clip_grad_norm_` and `clip_grad_value_` on the gradient (3, 4, 12).
#[test]
fn gradients_are_clipped_as_in_torch() {
    let network = network();
    let clipped = |clip| {
        let mut weights = Weights::read(&network, Precision::Double, &Device::cpu(), |_, param| {
            Ok::<_, epoch0_engine::Error>(Elements::Double(vec![0.0; param.len()]))
        })
        .unwrap();
        let mut state = State::new(Optimizer::Sgd(Sgd::default()), clip, 2);
        let gradients = vec![(ParamId(0), tensor(&[3.0, 4.0, 12.0], Precision::Double))];
        let norm = state.step(&mut weights, gradients, &[PerParam::default(); 2], -1.0);
        assert_eq!(norm, 13.0);
        weights.get(ParamId(0)).unwrap().to_f64()
    };
    assert_eq!(clipped(Clip::Norm(1.0)), [0.23076921301775288, 0.3076922840236705, 0.9230768520710115]);
    assert_eq!(clipped(Clip::Norm(14.0)), [3.0, 4.0, 12.0]);
    assert_eq!(clipped(Clip::Value(3.5)), [3.0, 3.5, 3.5]);
}

#[test]
fn what_is_not_finite_changes_nothing() {
    let network = network();
    let mut weights = Weights::read(&network, Precision::Single, &Device::cpu(), |_, param| {
        Ok::<_, epoch0_engine::Error>(Elements::Single(vec![1.0; param.len()]))
    })
    .unwrap();
    let mut state = State::new(Optimizer::Adam(Adam::default()), Clip::Norm(1.0), 2);
    let gradients = vec![
        (ParamId(1), tensor(&[1.0, 1.0], Precision::Single)),
        (ParamId(0), tensor(&[1.0, f64::NAN, 1.0], Precision::Single)),
    ];
    let norm = state.step(&mut weights, gradients, &[PerParam::default(); 2], 0.1);
    assert!(norm.is_nan());
    assert!(weights.iter().all(|(_, value)| value.to_f64().iter().all(|&x| x == 1.0)));
    assert_eq!(state.n_updates(ParamId(1)), 0);
}

#[test]
fn settings_out_of_range_are_refused() {
    let sgd = Sgd { nesterov: true, ..Sgd::default() };
    assert!(Optimizer::Sgd(sgd).check().unwrap_err().to_string().contains("momentum above 0"));
    let adam = Adam { beta2: 1.0, ..Adam::default() };
    assert_eq!(
        Optimizer::Adam(adam).check().unwrap_err().to_string(),
        "beta2 is 1, allowed at least 0 and less than 1"
    );
    assert!(Optimizer::AdamW(Adam { weight_decay: f64::NAN, ..Adam::default() }).check().is_err());
    assert!(Clip::Norm(0.0).check().is_err());
}
