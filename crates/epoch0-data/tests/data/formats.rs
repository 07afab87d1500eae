//! Readers and writers, on files made here byte by byte and on the real ones where they are at hand.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use epoch0_data::npz::Compression;
use epoch0_data::read::{cifar, idx, images, planetoid, table, text};
use epoch0_data::{AnyArray, Array, Dataset, Inputs, Role, Targets, Vocabulary, npy, npz};
use flate2::write::GzEncoder;

/// IDX bytes of unsigned bytes.
pub(crate) fn idx_bytes(shape: &[u32], data: &[u8]) -> Vec<u8> {
    let sizes = shape.iter().flat_map(|size| size.to_be_bytes());
    [0, 0, 8, shape.len() as u8].into_iter().chain(sizes).chain(data.iter().copied()).collect()
}

pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A folder in the form of MNIST with three training images of 2 × 2 and one to test on.
pub(crate) fn small_mnist(folder: &Path) {
    let pixels: Vec<u8> = (0..12).collect();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    write("train-images-idx3-ubyte.gz", &gz(&idx_bytes(&[3, 2, 2], &pixels)));
    write("train-labels-idx1-ubyte", &idx_bytes(&[3], &[7, 0, 9]));
    write("t10k-images-idx3-ubyte", &idx_bytes(&[1, 2, 2], &[255, 0, 51, 102]));
    write("t10k-labels-idx1-ubyte.gz", &gz(&idx_bytes(&[1], &[4])));
}

fn digits() -> Vec<String> {
    epoch0_data::open::DIGITS.map(str::to_owned).to_vec()
}

#[test]
fn idx_folders_are_images_with_a_channel() {
    let room = tempfile::tempdir().unwrap();
    small_mnist(room.path());
    let data = idx::read_folder(room.path(), "small", &digits()).unwrap();
    assert_eq!(data.train.inputs().shape(), [3, 1, 2, 2]);
    assert_eq!(data.train.classes().unwrap().labels, [7, 0, 9]);
    assert_eq!(data.files.len(), 4);
    let test = data.test.unwrap();
    assert_eq!(test.inputs().to_f32().unwrap().data(), [1.0, 0.0, 0.2, 0.4]);
    let two = idx::first_training(room.path(), 2, &digits()).unwrap();
    assert_eq!(two, data.train.pick(&[0, 1]));
    let error = idx::first_training(room.path(), 4, &digits()).unwrap_err().to_string();
    assert!(error.contains("the number of rows is 3, allowed 4 or more"), "{error}");
}

#[test]
fn idx_has_all_its_types() {
    let big = |kind: u8, bytes: &[u8]| [&[0, 0, kind, 1, 0, 0, 0, 1], bytes].concat();
    let read = |bytes: &[u8]| idx::from_bytes("it", bytes).unwrap();
    let one = |array: AnyArray| array;
    assert_eq!(read(&big(9, &[0xff])), one(Array::new([1], vec![-1i8]).unwrap().into()));
    assert_eq!(read(&big(11, &[1, 2])), one(Array::new([1], vec![258i16]).unwrap().into()));
    assert_eq!(read(&big(12, &[0, 0, 1, 2])), one(Array::new([1], vec![258i32]).unwrap().into()));
    assert_eq!(read(&big(13, &1.5f32.to_be_bytes())), one(Array::new([1], vec![1.5f32]).unwrap().into()));
    assert_eq!(read(&big(14, &(-0.1f64).to_be_bytes())), one(Array::new([1], vec![-0.1f64]).unwrap().into()));
}

pub(crate) fn cifar_record(label: &[u8], pixel: u8) -> Vec<u8> {
    [label, &[pixel; 3072]].concat()
}

#[test]
fn cifar_is_read_in_both_of_its_forms() {
    let room = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(room.path().join(name), bytes).unwrap();
    write("data_batch_1.bin", &[cifar_record(&[3], 1), cifar_record(&[9], 2)].concat());
    write("data_batch_2.bin.gz", &gz(&cifar_record(&[0], 3)));
    write("test_batch.bin", &cifar_record(&[1], 255));
    let data = cifar::read_folder(room.path(), "CIFAR-10", cifar::Kind::Cifar10).unwrap();
    assert_eq!(data.train.inputs().shape(), [3, 3, 32, 32]);
    let classes = data.train.classes().unwrap();
    assert_eq!(classes.labels, [3, 9, 0]);
    assert_eq!(classes.names[3], "cat");
    let Inputs::Pixels(pixels) = data.train.inputs() else { panic!("pixels") };
    assert!(pixels.row(2).iter().all(|&pixel| pixel == 3));

    let room = tempfile::tempdir().unwrap();
    // Coarse label 0, fine label 99.
    fs::write(room.path().join("train.bin"), cifar_record(&[0, 99], 5)).unwrap();
    fs::write(room.path().join("test.bin"), cifar_record(&[0, 98], 5)).unwrap();
    let data = Dataset::open(room.path().to_str().unwrap()).unwrap();
    let classes = data.train.classes().unwrap();
    assert_eq!((classes.labels[0], classes.n_classes(), classes.names[99].as_str()), (99, 100, "worm"));
}

fn save(path: &Path, image: &image::DynamicImage) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.save(path).unwrap();
}

#[test]
fn images_are_read_by_class() {
    let room = tempfile::tempdir().unwrap();
    let image = |red: u8| {
        image::DynamicImage::ImageRgb8(image::RgbImage::from_fn(3, 2, |x, y| {
            image::Rgb([red, x as u8, y as u8])
        }))
    };
    save(&room.path().join("train/cat/b.png"), &image(2));
    save(&room.path().join("train/cat/a.png"), &image(1));
    save(&room.path().join("train/ant/c.PNG"), &image(3));
    save(&room.path().join("val/cat/d.png"), &image(4));
    fs::write(room.path().join("train/cat/notes.txt"), "not an image").unwrap();
    let data = images::read_folder(room.path(), images::Options::default()).unwrap();
    assert_eq!(data.train.inputs().shape(), [3, 3, 2, 3]);
    let classes = data.train.classes().unwrap();
    assert_eq!(
        (classes.labels.as_slice(), &*classes.names),
        (&[0, 1, 1][..], &["ant", "cat"].map(str::to_owned)[..])
    );
    let Inputs::Pixels(pixels) = data.train.inputs() else { panic!("pixels") };
    // Planes red, green (the column) and blue (the row).
    assert_eq!(pixels.row(1), [1, 1, 1, 1, 1, 1, 0, 1, 2, 0, 1, 2, 0, 0, 0, 1, 1, 1]);
    assert_eq!(data.test.unwrap().classes().unwrap().labels, [1]);

    // One of another size: refused, or scaled.
    save(&room.path().join("train/ant/z.jpg"), &image::DynamicImage::new_luma8(5, 5));
    let path = room.path().to_str().unwrap();
    let error = Dataset::open(path).unwrap_err().to_string();
    assert!(error.contains("z.jpg: its size is 5 × 5, allowed 3 × 2"), "{error}");
    let data = Dataset::open(&format!("{path},size=8,channels=1")).unwrap();
    assert_eq!(data.train.inputs().shape(), [4, 1, 8, 8]);
    fs::write(room.path().join("train/ant/z.jpg"), b"\xff\xd8\xff no jpeg").unwrap();
    let error = Dataset::open(path).unwrap_err().to_string();
    assert!(error.contains("z.jpg: the image is not decoded"), "{error}");
}

#[test]
fn graphs_are_four_tables() {
    let room = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(room.path().join(name), text).unwrap();
    write("labels.tsv", "1\n0\n-1\n1\n");
    write("features.tsv", "0\t2\n\n1\n2\n");
    write("split.tsv", "train\ntrain\nnone\ntest\n");
    write("edges.tsv", "3\t0\n0\t1\n");
    let data = planetoid::read_folder(room.path(), "small").unwrap();
    let graph = data.graph.unwrap();
    assert_eq!(graph.edges, [[0, 1], [0, 3]]);
    assert_eq!(graph.features.data(), [1., 0., 1., 0., 0., 0., 0., 1., 0., 0., 0., 1.]);
    assert_eq!(graph.labels, [Some(1), Some(0), None, Some(1)]);
    assert_eq!(graph.nodes(Role::Train), [0, 1]);
    assert_eq!(data.train.classes().unwrap().labels, [1, 0]);
    assert_eq!(data.test.unwrap().inputs().shape(), [1, 3]);
    for (file, text, words) in [
        ("edges.tsv", "0\t4\n", "line 1 is 0 and 4, allowed two different nodes from 0 to 3"),
        ("edges.tsv", "0\t1\n1\t0\n", "edge 0 – 1 is there twice"),
        ("edges.tsv", "0 1\n", "line 1 is no pair"),
        ("edges.tsv", "0\tx\n", "line 1 is `x`"),
        ("features.tsv", "0\n1\n", "the number of lines is 2, allowed 4"),
        ("features.tsv", "4000000000\n\n\n\n", "allowed whole numbers from 0 to 16777215"),
        ("features.tsv", "2\t2\n\n\n\n", "line 1 is not rising"),
        ("split.tsv", "train\ntrain\nnone\ntests\n", "line 4 is `tests`"),
        ("split.tsv", "test\ntest\ntest\ntest\n", "the number of training nodes with a class is 0"),
        ("labels.tsv", "-2\n0\n0\n0\n", "line 1 is `-2`"),
    ] {
        let good = fs::read_to_string(room.path().join(file)).unwrap();
        write(file, text);
        let error = planetoid::read_folder(room.path(), "small").unwrap_err().to_string();
        assert!(error.contains(words) && error.contains(file) || error.contains("small"), "{error}");
        assert!(error.contains(words), "{error}");
        write(file, &good);
    }
}

#[test]
fn text_is_blocks_with_the_next_token() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("a.txt");
    fs::write(&path, "abcaébcab").unwrap();
    let options = text::Options { block: 2, test_share: 0.0, ..text::Options::default() };
    let data = text::read(&path, options).unwrap();
    let vocabulary = data.vocabulary.unwrap();
    assert_eq!(vocabulary, Vocabulary::Characters(['a', 'b', 'c', 'é'].into()));
    let (Inputs::Tokens(inputs), Targets::Next(next)) = data.train.into_parts() else { panic!("tokens") };
    assert_eq!(inputs, Array::new([4, 2], vec![0, 1, 2, 0, 3, 1, 2, 0]).unwrap());
    assert_eq!(next, Array::new([4, 2], vec![1, 2, 0, 3, 1, 2, 0, 1]).unwrap());
    assert_eq!(vocabulary.decode(&[0, 3, 99, -1]), "aé\u{fffd}\u{fffd}");

    let options = text::Options { block: 3, test_share: 0.5, tokens: text::Tokens::Bytes };
    let data = text::read(&path, options).unwrap();
    assert_eq!(data.vocabulary, Some(Vocabulary::Bytes));
    // Ten bytes, five of them to test on.
    assert_eq!(
        (data.train.inputs().shape(), data.test.unwrap().inputs().shape()),
        (&[1, 3][..], &[1, 3][..])
    );
    for (options, words) in [
        (text::Options { block: 9, ..text::Options::default() }, "a part's length is"),
        (text::Options { block: 0, ..text::Options::default() }, "block is 0, allowed 1 or more"),
        (text::Options { test_share: 1.0, ..text::Options::default() }, "test_share is 1"),
    ] {
        let error = text::read(&path, options).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    fs::write(&path, b"ab\xff").unwrap();
    let error = text::read(&path, text::Options::default()).unwrap_err().to_string();
    assert!(error.contains("byte 2 is no UTF-8"), "{error}");
}

#[test]
fn tables_have_a_target() {
    let read =
        |text: &str, options: &table::Options| table::from_bytes("t.csv", text.as_bytes(), b',', options);
    let auto = table::Options::default();
    let iris = read("width, length,kind\n1,2.5,setosa\n3,4,virginica\n5,6,setosa\n", &auto).unwrap();
    assert_eq!(iris.inputs().to_f32().unwrap(), Array::new([3, 2], vec![1., 2.5, 3., 4., 5., 6.]).unwrap());
    assert_eq!(iris.classes().unwrap().labels, [0, 1, 0]);
    // Without names; the last column is numbers.
    let values = read("1,2\n3,4\n", &auto).unwrap();
    assert_eq!(*values.targets(), Targets::Values(Array::new([2, 1], vec![2., 4.]).unwrap()));
    let by_name = table::Options { target: Some("a".into()), kind: table::Kind::Classes };
    let classes = read("a,b\n10,1\n9,2\n", &by_name).unwrap();
    assert_eq!(&*classes.classes().unwrap().names, ["9", "10"].map(str::to_owned));
    assert_eq!(classes.classes().unwrap().labels, [1, 0]);
    assert_eq!(read("\u{feff}a,b\n10,1\n9,2\n", &by_name).unwrap(), classes);
    for (text, words) in [
        ("", "the number of lines is 0"),
        ("a,b\n", "its size is 0 lines × 2 columns"),
        ("a,b\n1,2\n3\n", "line 3 is 1 cells long, allowed 2 cells"),
        ("a,b\n1,2\nnan,2\n", "line 3, column `a` is `nan`, allowed finite numbers"),
        ("a,b\n1,2\n,2\n", "line 3, column `a` is ``"),
        ("a,b\n1,nan\n2,3\n", "line 2, column `b` is `nan`"),
        ("a,b\n1,x\n2,\n", "line 3, column `b` is empty"),
        ("a,b\n1,1e39\n", "line 2, column `b` is `1e39`"),
    ] {
        let error = read(text, &auto).unwrap_err().to_string();
        assert!(error.contains(words), "{text:?}: {error}");
    }
    let missing = table::Options { target: Some("z".into()), ..auto };
    let error = read("a,b\n1,2\n", &missing).unwrap_err().to_string();
    assert!(error.contains("the target's column is `z`, allowed a, b"), "{error}");
}

pub(crate) fn arrays() -> Vec<(String, AnyArray)> {
    let named = |name: &str, array: AnyArray| (name.to_owned(), array);
    vec![
        named("scalar", Array::new([], vec![1.5f64]).unwrap().into()),
        named("empty", Array::new([0, 3], Vec::<f32>::new()).unwrap().into()),
        named(
            "x",
            Array::new([2, 3], vec![0.0f32, -1.0, 2.5, f32::MIN_POSITIVE, 1e30, -0.0]).unwrap().into(),
        ),
        named("y", Array::new([4], vec![i64::MIN, -1, 0, i64::MAX]).unwrap().into()),
        named("a/b", Array::new([2], vec![true, false]).unwrap().into()),
        named("u8", Array::new([1, 1, 2], vec![0u8, 255]).unwrap().into()),
        named("u64", Array::new([1], vec![u64::MAX]).unwrap().into()),
        named("f16", Array::new([1], vec![epoch0_num::f16::from_f32(0.1)]).unwrap().into()),
        named("i32", Array::new([1], vec![i32::MIN]).unwrap().into()),
    ]
}

#[test]
fn arrays_come_back_as_they_went() {
    let room = tempfile::tempdir().unwrap();
    for compression in [Compression::Stored, Compression::Deflated] {
        let path = room.path().join("a.npz");
        npz::write(&path, &arrays(), compression).unwrap();
        assert_eq!(npz::read(&path).unwrap(), arrays());
        // The same bytes again: nothing of the clock is in them.
        let bytes = fs::read(&path).unwrap();
        assert_eq!(npz::to_bytes("again", &arrays(), compression).unwrap(), bytes);
    }
    let only: Vec<_> = fs::read_dir(room.path()).unwrap().collect();
    assert_eq!(only.len(), 1, "nothing is left beside the file");
    for (name, array) in arrays() {
        let path = room.path().join("a.npy");
        npy::write(&path, &array).unwrap();
        assert_eq!(npy::read(&path).unwrap(), array, "{name}");
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.iter().position(|&byte| byte == b'\n'), Some(127), "elements are aligned");
    }
    let twice = [arrays(), arrays()].concat();
    for (arrays, words) in [
        (twice, "array `scalar` is there twice"),
        (vec![(String::new(), arrays()[0].1.clone())], "the name of an array is ``"),
        (vec![("../a".into(), arrays()[0].1.clone())], "the name of an array is `../a`"),
    ] {
        let path = room.path().join("never.npz");
        let error = npz::write(&path, &arrays, Compression::Stored).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(!path.exists());
    }
}

/// What numpy 2 writes for `numpy.save(f, numpy.asfortranarray([[0, 1, 2], [3, 4, 5]], '>f4'))`.
#[test]
fn numpy_orders_are_read() {
    let mut header = "{'descr': '>f4', 'fortran_order': True, 'shape': (2, 3), }".to_owned();
    header.push_str(&" ".repeat(128 - 10 - 1 - header.len()));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(header.as_bytes());
    for value in [0.0f32, 3.0, 1.0, 4.0, 2.0, 5.0] {
        bytes.extend(value.to_be_bytes());
    }
    let array = npy::from_bytes("it", &bytes).unwrap();
    assert_eq!(array, Array::new([2, 3], vec![0.0f32, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap().into());
}

/// `numpy.npz` was written by numpy 2 with `savez_compressed`, `fortran` in column-major order and big-endian.
#[test]
fn what_numpy_writes_is_read() {
    let named = |name: &str, array: AnyArray| (name.to_owned(), array);
    let read = npz::from_bytes("numpy.npz", include_bytes!("numpy.npz")).unwrap();
    let written = [
        named("fortran", Array::new([2, 3], vec![0.0f32, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap().into()),
        named("scalar", Array::new([], vec![1.5f64]).unwrap().into()),
        named("flags", Array::new([2], vec![true, false]).unwrap().into()),
        named("half", Array::new([1], vec![epoch0_num::f16::from_f32(0.1)]).unwrap().into()),
        named("empty", Array::new([0, 3], Vec::<i32>::new()).unwrap().into()),
        named("long", Array::new([1, 2], vec![i64::MIN, i64::MAX]).unwrap().into()),
        named("bytes", Array::new([3], vec![0u8, 1, 2]).unwrap().into()),
    ];
    assert_eq!(read, written);
}

#[test]
fn arrays_become_data_sets() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("a.npz");
    let named = |name: &str, array: AnyArray| (name.to_owned(), array);
    // The layout of keras's mnist.npz.
    let keras = [
        named("x_test", Array::new([1, 2, 2], vec![9u8; 4]).unwrap().into()),
        named("x_train", Array::new([2, 2, 2], (0..8u8).collect()).unwrap().into()),
        named("y_train", Array::new([2], vec![1u8, 0]).unwrap().into()),
        named("y_test", Array::new([1], vec![2u8]).unwrap().into()),
    ];
    npz::write(&path, &keras, Compression::Deflated).unwrap();
    let data = Dataset::open(path.to_str().unwrap()).unwrap();
    assert_eq!(data.train.inputs().shape(), [2, 1, 2, 2]);
    assert_eq!(data.train.classes().unwrap().n_classes(), 3);
    // What a set says of itself comes back.
    npz::write(&path, &data.train.to_arrays(), Compression::Stored).unwrap();
    let again = Dataset::open(path.to_str().unwrap()).unwrap();
    assert_eq!(again.train.inputs(), data.train.inputs());
    assert_eq!(again.train.classes().unwrap().labels, [1, 0]);
    for (arrays, words) in [
        (vec![keras[1].clone(), keras[3].clone()], "the inputs to test on is not there"),
        (vec![keras[1].clone(), named("z", keras[3].1.clone())], "an array is `z`"),
        (
            vec![keras[1].clone(), named("y", Array::new([2], vec![-1i64, 0]).unwrap().into())],
            "label 0 is -1",
        ),
        (
            vec![keras[1].clone(), named("y", Array::new([3], vec![0i64; 3]).unwrap().into())],
            "targets is 3, allowed 2",
        ),
        (vec![keras[1].clone(), named("x", keras[1].1.clone())], "`x_train` and `x`"),
        (
            vec![named("x", Array::new([1, 2], vec![1.0f32, f32::NAN]).unwrap().into())],
            "input 0, element 1 is NaN, allowed finite numbers",
        ),
        (
            vec![named("x", Array::new([0, 2], Vec::<f32>::new()).unwrap().into())],
            "the number of examples is 0",
        ),
    ] {
        npz::write(&path, &arrays, Compression::Stored).unwrap();
        let error = Dataset::open(path.to_str().unwrap()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

/// The folder of real data sets, or a word that the test did not run.
fn real(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("EPOCH0_DATA").map(|folder| Path::new(&folder).join(name));
    let found = folder.filter(|folder| folder.exists());
    if found.is_none() {
        #[expect(clippy::print_stderr, reason = "a test that does not run says so")]
        {
            eprintln!("SKIPPED: no {name} in EPOCH0_DATA");
        }
    }
    found
}

#[test]
fn the_real_sets_are_what_they_are_known_to_be() {
    if real("mnist").is_some() {
        let data = Dataset::open("mnist,normalize=whole").unwrap();
        assert_eq!(data.train.inputs().shape(), [60_000, 1, 28, 28]);
        assert_eq!(data.train.classes().unwrap().labels[..10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
        assert_eq!(data.test.unwrap().classes().unwrap().labels[..5], [7, 2, 1, 0, 4]);
        // The mean and the standard deviation that everybody writes down: 0.1307 and 0.3081.
        let raw = Dataset::open("mnist").unwrap();
        let scaling = epoch0_data::Normalize::measure(&raw.train, epoch0_data::Per::Whole).unwrap();
        assert!(
            (scaling.mean[0] - 0.1307).abs() < 5e-5 && (scaling.std[0] - 0.3081).abs() < 5e-5,
            "{scaling:?}"
        );
    }
    if real("planetoid/cora").is_some() {
        for (name, shape, n_edges) in [("cora", [2708, 1433], 5278), ("citeseer", [3327, 3703], 4552)] {
            let data = Dataset::open(name).unwrap();
            let graph = data.graph.unwrap();
            assert_eq!((graph.features.shape(), graph.edges.len()), (&shape[..], n_edges));
            assert_eq!(data.train.len(), 20 * graph.class_names.len());
            assert_eq!(graph.nodes(Role::Test).len(), 1000);
        }
    }
    if real("text/tinyshakespeare.txt").is_some() {
        let data = Dataset::open("tinyshakespeare,block=64").unwrap();
        assert_eq!(data.vocabulary.as_ref().unwrap().len(), 65);
        let Inputs::Tokens(tokens) = data.train.inputs() else { panic!("tokens") };
        assert!(
            data.vocabulary.unwrap().decode(tokens.row(0)).starts_with("First Citizen:\nBefore we proceed")
        );
    }
    if real("cifar10-jpeg").is_some() && real("cifar10").is_none() {
        let data = Dataset::open("cifar10").unwrap();
        assert!(data.name.contains("JPEG"), "{}", data.name);
        assert_eq!(data.train.inputs().shape(), [20_000, 3, 32, 32]);
        let labels = &data.test.as_ref().unwrap().classes().unwrap().labels;
        assert!((0..10).all(|class| labels.iter().filter(|&&label| label == class).count() == 500));
    }
}
