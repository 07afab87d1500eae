//! The bits of a start depend on the seed, the names and the laws, and on nothing else: not on threads, not on how the
//! checkpoint is cut into files, not on the order of the parameters, not on how much is drawn at once.

use std::collections::BTreeMap;
use std::path::Path;

use epoch0::format::{Checkpoint, ShardSize, TensorSpec, pt_metadata};
use epoch0::init::METHODS;
use epoch0::net::{Builder, Linear, Network, NormKind, ParamId, Role, Source, Window};
use epoch0::num::Dtype;
use epoch0::{Described, Options, Plan, Recipe, initialize};
use sha2::{Digest, Sha256};

const RECIPES: [&str; 4] = [
    "base: hf_default",
    "base: pytorch_default",
    "{base: hf_default, rules: [{with: orthogonal}]}",
    "{base: hf_default, rules: [{with: he_normal}]}",
];

/// Its table of words is drawn in several chunks, the last one short.
const GPT2: &str = r#"{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 6007, "n_embd": 96,
    "n_layer": 2, "n_head": 3, "n_positions": 40}"#;
/// Convolutions, norms and counters.
const RESNET: &str = r#"{"model_type": "resnet", "architectures": ["ResNetForImageClassification"],
    "embedding_size": 16, "hidden_sizes": [80, 80], "depths": [1, 2], "layer_type": "basic", "num_labels": 9}"#;
/// Small halves, and routers.
const MIXTRAL: &str = r#"{"model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "vocab_size": 150,
    "hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2, "dtype": "bfloat16"}"#;
/// What the pinned digests are of.
const TINY: &str = r#"{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 101, "n_embd": 24,
    "n_layer": 2, "n_head": 3, "n_positions": 16}"#;

type Bytes = BTreeMap<String, Vec<u8>>;

fn described(config: &str) -> Described {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("config.json");
    std::fs::write(&path, config).unwrap();
    Described::open(path.to_str().unwrap()).unwrap()
}

fn recipe(text: &str) -> Recipe {
    Recipe::from_yaml("recipe", text).unwrap()
}

/// Number of files, and the bytes of every tensor.
fn start(described: &Described, recipe: &Recipe, shard_size: ShardSize, n_threads: usize) -> (usize, Bytes) {
    let room = tempfile::tempdir().unwrap();
    let out = room.path().join("out");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
    let options = Options { seed: 3, shard_size, ..Options::default() };
    pool.install(|| initialize(described, recipe, &out, &options)).unwrap();
    read(&out)
}

fn read(folder: &Path) -> (usize, Bytes) {
    let checkpoint = Checkpoint::open(folder).unwrap();
    let tensors = checkpoint.tensors().map(|tensor| (tensor.name().to_owned(), tensor.bytes().to_vec()));
    (checkpoint.files().len(), tensors.collect())
}

/// A size of files that cuts a network's checkpoint into exactly `n_files`.
fn shard_size(net: &Network, n_files: usize) -> ShardSize {
    let files = |bytes: u64| {
        let specs =
            net.params().iter().map(|param| TensorSpec::new(&param.name, param.dtype, param.shape.clone()));
        let size = ShardSize::of_bytes(bytes).unwrap();
        let plan = epoch0::format::Plan::new(specs.collect(), &pt_metadata(), size).unwrap();
        (plan.files().len(), size)
    };
    let sizes = (1..400u64).map(|step| (net.bytes() * step).div_ceil(400)).map(files);
    let found = sizes.filter(|(found, _)| *found == n_files).map(|(_, size)| size).next();
    found.unwrap_or_else(|| panic!("no size of files cuts {} in {n_files}", net.name()))
}

/// Names the first tensor that differs, not thousands of bytes.
#[track_caller]
fn same(wanted: &Bytes, found: &Bytes, case: &str) {
    assert!(wanted.keys().eq(found.keys()), "{case}: other names");
    for (name, bytes) in wanted {
        assert!(found[name] == *bytes, "{case}: {name} has other bytes");
    }
}

/// Networks side by side: most of the time is spent waiting for the disk.
fn each_case(check: impl Fn(&str, &Described, &Recipe) + Sync) {
    std::thread::scope(|scope| {
        for config in [GPT2, RESNET, MIXTRAL] {
            let check = &check;
            scope.spawn(move || {
                let described = described(config);
                for text in RECIPES {
                    check(&format!("{}, {text}", described.net.name()), &described, &recipe(text));
                }
            });
        }
    });
}

#[test]
fn threads_and_files_do_not_change_bits() {
    each_case(|case, described, recipe| {
        let (n_files, one) = start(described, recipe, ShardSize::UNLIMITED, 1);
        assert_eq!(n_files, 1, "{case}");
        let (_, two) = start(described, recipe, ShardSize::UNLIMITED, 2);
        same(&one, &two, &format!("{case}, 2 threads"));
        for wanted in [2, 8] {
            let (n_files, cut) = start(described, recipe, shard_size(&described.net, wanted), 2);
            assert_eq!(n_files, wanted, "{case}");
            same(&one, &cut, &format!("{case}, {wanted} files"));
        }
    });
}

#[test]
fn a_tensor_drawn_alone_and_in_pieces_has_the_same_bits() {
    each_case(|case, described, recipe| {
        let (_, written) = start(described, recipe, ShardSize::UNLIMITED, 2);
        let plan = Plan::new(METHODS, &described.net, recipe, 3).unwrap();
        let mut n_in_pieces = 0;
        for (index, param) in described.net.params().iter().enumerate() {
            let id = ParamId(index as u32);
            let wanted = &written[&param.name];
            let (whole, _) = plan.draw_whole(id).unwrap();
            assert!(whole == *wanted, "{case}: {} drawn whole", param.name);
            if plan.single_law(id).is_none() {
                continue;
            }
            n_in_pieces += 1;
            let width = param.dtype.bytes();
            // Pieces of these lengths by turns; each stands in memory where no element is aligned.
            let mut lengths = [1, 6, 31, 64, 1021, 70_001].into_iter().cycle();
            let mut at = 0;
            while at < param.len() {
                let length = lengths.next().unwrap().min(param.len() - at);
                let mut room = vec![0xa5; 1 + length * width];
                plan.draw_piece(id, at, &mut room[1..]).unwrap();
                let found = &wanted[at * width..(at + length) * width];
                assert!(room[1..] == *found, "{case}: {} drawn from {at} on, {length} elements", param.name);
                at += length;
            }
        }
        assert!(n_in_pieces > 0, "{case}: nothing is drawn in pieces");
    });
}

/// Branches of one network, declared in an order or in its reverse.
fn branches(reversed: bool) -> Network {
    let mut b = Builder::new("branches", Source::Built, Dtype::F32);
    let x = b.input("x", &[None, Some(48)]);
    let image = b.input("image", &[None, Some(6), Some(8), Some(8)]);
    let ids = b.index_input("ids", &[None, None]);
    let mut order = [0, 1, 2, 3, 4];
    if reversed {
        order.reverse();
    }
    for branch in order {
        let value = match branch {
            0 => b.linear(x, "wide", Linear::new(96)),
            1 => b.linear(x, "narrow", Linear::new(12).in_out()),
            2 => b.conv(image, "conv", 10, Window::square(3, 1, 1), 2, true),
            3 => b.embedding(ids, "words", 70, 20, Role::Embedding, Some(4)),
            _ => b.norm(x, "norm", NormKind::Layer, 1e-5, true),
        };
        b.output(value, &format!("y{branch}"));
    }
    b.finish().unwrap()
}

#[test]
fn the_order_of_parameters_does_not_change_bits() {
    let of = |net: Network| Described {
        net,
        given: "branches".to_owned(),
        config: None,
        checkpoint: None,
        onnx: None,
    };
    let (forth, back) = (of(branches(false)), of(branches(true)));
    assert_ne!(forth.net.params()[0].name, back.net.params()[0].name);
    for text in [
        "base: pytorch_default",
        "{base: pytorch_default, rules: [{with: orthogonal}]}",
        "{base: pytorch_default, rules: [{with: he_normal}]}",
    ] {
        let [(_, forth), (_, back)] =
            [&forth, &back].map(|net| start(net, &recipe(text), ShardSize::UNLIMITED, 2));
        same(&forth, &back, text);
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Snapshots of our own output. The bytes of the tensors may change only with the definition of the draws (`draws` in
/// the receipt); the whole file also changes with the version, which its receipt names.
#[test]
fn bits_are_those_of_before() {
    for (dtype, tensors, file) in [
        (
            Dtype::F32,
            "57c16d519d76eadc3643bed22663574a0ce5ecde90dba044c5aca0eef28abb94",
            "f98cb47b6837fc627698e8119e19b801dd315c333f0f594737a8c0a29da679be",
        ),
        (
            Dtype::BF16,
            "9b8cff08841ccdeb2c98aea139712db766c7c1a51764938655e925f420691ed1",
            "126932b401205a736f16b12655b8cbdcb21384956f3257c1ba909e37df61d05e",
        ),
    ] {
        let mut described = described(TINY);
        described.set_dtype(dtype);
        let room = tempfile::tempdir().unwrap();
        let out = room.path().join("out");
        initialize(&described, &recipe("base: hf_default"), &out, &Options::default()).unwrap();
        let bytes = std::fs::read(out.join("model.safetensors")).unwrap();
        let head = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(hex(&bytes[head..]), tensors, "tensors in {dtype}");
        assert_eq!(hex(&bytes), file, "file in {dtype}");
    }
}
