//! Model files with damage of every kind: each must be refused, by an error, in little memory.

use crate::memory;
use std::panic::catch_unwind;
use std::path::Path;
use tapegrad_cli::model::{Activation, Layer, Model, Output, Scaling, read_model, to_bytes};
use tapegrad_nn::random::Rng;

/// What became of the damaged files.
#[derive(Debug, Default)]
pub(crate) struct Damaged {
    pub(crate) files: usize,
    /// With an error of one line.
    pub(crate) refused: usize,
    /// What was read, panicked, or was refused with something else than a line; or took too much memory.
    pub(crate) wrong: Vec<String>,
    /// The most bytes allocated at one time, beyond sixteen for each of the file.
    pub(crate) memory: usize,
}

/// Beyond sixteen bytes for each of the file, which are the file, its header in parts, and its numbers.
const MEMORY: usize = 1 << 20;

/// One way to damage a file; a file that it leaves as it is does not count.
type Damage = fn(&[u8], &mut Rng) -> Vec<u8>;

/// Where the damage would be no damage with a right checksum, the checksum is left wrong; elsewhere it is put right, so
/// that not the checksum alone has to notice.
const KINDS: [(&str, Damage); 16] = [
    ("cut off", |file, rng| file[..below(rng, file.len())].to_vec()),
    ("bits flipped", bits),
    ("bytes replaced", bytes),
    ("a block of zeros", |file, rng| block(file, rng, |_, _| 0)),
    ("a block of noise", |file, rng| block(file, rng, |_, rng| rng.next_u64() as u8)),
    ("a block from elsewhere", elsewhere),
    ("bytes too many", |file, rng| [file, &vec![rng.next_u64() as u8; 1 + below(rng, 5000)]].concat()),
    ("another length of the header", length),
    ("a header with other text", text),
    ("names of tensors exchanged", names),
    ("another shape", |file, rng| entry(file, rng, "\\\"sizes\\\":[", "\"shape\":[", "]", NUMBERS)),
    ("another dtype", |file, rng| entry(file, rng, "\"dtype\":\"", "\"dtype\":\"", "\"", &DTYPES)),
    ("other offsets", |file, rng| entry(file, rng, "\"data_offsets\":[", "\"data_offsets\":[", "]", NUMBERS)),
    ("a number that is not finite", not_finite),
    ("brackets in brackets", nested),
    ("noise", |_, rng| (0..below(rng, 3000)).map(|_| rng.next_u64() as u8).collect()),
];

const NUMBERS: &[&str] = &[
    "",
    "0",
    "1",
    "2,2",
    "8,16",
    "0,8",
    "16,0",
    "0,0",
    "-1,3",
    "3,-1",
    "1e3,2",
    "9223372036854775807,2",
    "9223372036854775808,9223372036854775808",
    "18446744073709551615,1",
    "0,18446744073709551615",
    "99999999999999999999,1",
    "4294967296,4294967296",
    "0,1099511627776",
    "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1",
    "null",
    "\"2\",3",
    "[2],3",
];

const DTYPES: [&str; 14] =
    ["F32", "F16", "BF16", "I64", "U64", "I32", "I8", "U8", "BOOL", "F8_E4M3", "f64", "F64 ", "", "\\u0046\\u0036"];

/// Reads `count` damaged files, written to `path` one after the other; if there are enough, every length and every bit of
/// a whole file are among them.
pub(crate) fn read_damaged(count: usize, path: &Path) -> Damaged {
    let mut found = Damaged::default();
    let mut rng = Rng::seed(20_261_126);
    let whole: Vec<Vec<u8>> = models().iter().map(|model| to_bytes(model).expect("the model is sound")).collect();
    let small = &whole[0];
    for length in 0..small.len().min(count) {
        found.read("cut off", &small[..length], path);
    }
    if count > 10 * small.len() {
        for bit in 0..8 * small.len() {
            let mut file = small.clone();
            file[bit / 8] ^= 1 << (bit % 8);
            found.read("one bit flipped", &file, path);
        }
    }
    for (kind, damage) in KINDS.iter().cycle() {
        if found.files >= count {
            return found;
        }
        let file = &whole[below(&mut rng, whole.len())];
        let damaged = damage(file, &mut rng);
        if !whole.contains(&damaged) {
            found.read(kind, &damaged, path);
        }
    }
    found
}

impl Damaged {
    fn read(&mut self, kind: &str, file: &[u8], path: &Path) {
        std::fs::write(path, file).expect("a temporary file can be written");
        self.files += 1;
        let (outcome, peak) = memory::peak(|| catch_unwind(|| read_model(path).map_err(|error| error.to_string())));
        let wrong = match outcome {
            Err(_) => "a panic".to_owned(),
            Ok(Ok(_)) => "a model".to_owned(),
            Ok(Err(message)) if message.lines().count() != 1 => format!("not one line: {message:?}"),
            Ok(Err(_)) if peak > 16 * file.len() + MEMORY => format!("{peak} bytes of memory"),
            Ok(Err(_)) => {
                self.refused += 1;
                self.memory = self.memory.max(peak.saturating_sub(16 * file.len()));
                return;
            }
        };
        self.wrong.push(format!("file {}, {} bytes, {kind}: {wrong}", self.files, file.len()));
    }
}

/// A model of each kind of output, from a few hundred bytes to some thousands.
fn models() -> Vec<Model> {
    let layer = |inputs: usize, outputs: usize| Layer {
        inputs,
        outputs,
        activation: Activation::Tanh,
        weight: (0..inputs * outputs).map(|i| (i as f64 * 0.37).sin()).collect(),
        bias: (0..outputs).map(|i| (i as f64 * 0.73).cos()).collect(),
    };
    let model = |sizes: &[usize], output: Output| Model {
        output,
        layers: sizes.windows(2).map(|pair| layer(pair[0], pair[1])).collect(),
        features: (0..sizes[0]).map(|i| format!("feature \"{i}\"")).collect(),
        scaling: Scaling { mean: vec![0.5; sizes[0]], std: vec![1.25; sizes[0]] },
        target: "größe".into(),
        seed: 7,
    };
    let labels = |count: usize| (0..count).map(|i| format!("label {i}")).collect();
    vec![
        model(&[2, 2], Output::Softmax { labels: labels(2) }),
        model(&[2, 3, 1], Output::Number { scaling: Scaling { mean: vec![1.0], std: vec![2.0] } }),
        model(&[4, 3, 3, 1], Output::Sigmoid { labels: ["no".into(), "yes".into()] }),
        model(&[20, 20, 20, 5], Output::Softmax { labels: labels(5) }),
    ]
}

fn below(rng: &mut Rng, n: usize) -> usize {
    rng.below(n as u64) as usize
}

fn header_end(file: &[u8]) -> usize {
    8 + u64::from_le_bytes(*file.first_chunk().expect("the file is whole")) as usize
}

/// The file with its header's text changed and its length and checksum right for it.
fn with_header(file: &[u8], change: impl FnOnce(&str) -> String) -> Vec<u8> {
    let end = header_end(file);
    let header = change(str::from_utf8(&file[8..end]).expect("the file is whole"));
    let mut out = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &file[end..]].concat();
    seal(&mut out);
    out
}

/// Puts the checksum right, as the book says it is made.
fn seal(file: &mut [u8]) {
    let before = br#"\"checksum\":\""#;
    if let Some(place) = file.windows(before.len()).position(|window| window == before) {
        let digits = place + before.len()..place + before.len() + 8;
        file[digits.clone()].fill(b'0');
        let checksum = format!("{:08x}", crc32fast::hash(file));
        file[digits].copy_from_slice(checksum.as_bytes());
    }
}

fn bits(file: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut out = file.to_vec();
    for _ in 0..1 + rng.below(4) {
        out[below(rng, file.len())] ^= 1 << rng.below(8);
    }
    out
}

fn bytes(file: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut out = file.to_vec();
    for _ in 0..1 + rng.below(6) {
        out[below(rng, file.len())] = rng.next_u64() as u8;
    }
    out
}

/// A block of up to 512 bytes, as long as a sector of a disk, with other bytes.
fn block(file: &[u8], rng: &mut Rng, byte: fn(u8, &mut Rng) -> u8) -> Vec<u8> {
    let mut out = file.to_vec();
    let start = below(rng, file.len());
    let end = (start + 1 + below(rng, 512)).min(file.len());
    out[start..end].iter_mut().for_each(|at| *at = byte(*at, rng));
    out
}

fn elsewhere(file: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut out = file.to_vec();
    let length = 1 + below(rng, file.len() / 2);
    let (from, to) = (below(rng, file.len() - length), below(rng, file.len() - length));
    out.copy_within(from..from + length, to);
    out
}

fn length(file: &[u8], rng: &mut Rng) -> Vec<u8> {
    let right = header_end(file) as u64 - 8;
    let length = match rng.below(4) {
        0 => rng.next_u64(),
        1 => 1 << rng.below(64),
        2 => right.wrapping_add(rng.below(64)).wrapping_sub(32),
        _ => rng.below(file.len() as u64 + 100),
    };
    let mut out = [&length.to_le_bytes(), &file[8..]].concat();
    seal(&mut out);
    if length == right { file.to_vec() } else { out }
}

/// A character of the header taken out, doubled or replaced. What is then said may still make sense, in other words; so
/// the checksum is left as it was.
fn text(file: &[u8], rng: &mut Rng) -> Vec<u8> {
    let end = header_end(file);
    let mut header = file[8..end].to_vec();
    let place = below(rng, header.len());
    match rng.below(3) {
        0 => drop(header.remove(place)),
        1 => header.insert(place, header[place]),
        _ => header[place] = b" \t,:\"{}[]0159aez\\"[below(rng, 17)],
    }
    [&(header.len() as u64).to_le_bytes(), &header[..], &file[end..]].concat()
}

/// Two tensors under each other's names: where their shapes are the same only the checksum can tell.
fn names(file: &[u8], rng: &mut Rng) -> Vec<u8> {
    let end = header_end(file);
    let header = str::from_utf8(&file[8..end]).expect("the file is whole");
    let of = |tensor: &str| format!("\"{tensor}\":");
    let pairs = [
        ("layer0.w", "layer0.b"),
        ("layer0.b", "layer1.b"),
        ("features.mean", "features.std"),
        ("layer1.w", "layer2.w"),
    ];
    let (a, b) = pairs[below(rng, pairs.len())];
    let exchanged = header.replace(&of(a), "\"*\":").replace(&of(b), &of(a)).replace("\"*\":", &of(b));
    [&file[..8], exchanged.as_bytes(), &file[end..]].concat()
}

/// What stands after one of two beginnings, up to `end`, replaced.
fn entry(file: &[u8], rng: &mut Rng, first: &str, other: &str, end: &str, values: &[&str]) -> Vec<u8> {
    with_header(file, |header| {
        let beginning = if rng.below(4) == 0 { first } else { other };
        let places: Vec<usize> = header.match_indices(beginning).map(|(place, _)| place + beginning.len()).collect();
        let start = places[below(rng, places.len())];
        let length = header[start..].find(end).expect("the header is whole");
        let value = values[below(rng, values.len())];
        // Between the quotes of another text, quotes are marked.
        let value = if beginning.contains('\\') { value.replace('"', "\\\"") } else { value.to_owned() };
        [&header[..start], &value, &header[start + length..]].concat()
    })
}

fn not_finite(file: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut out = file.to_vec();
    let start = header_end(file);
    let place = start + 8 * below(rng, (file.len() - start) / 8);
    let bits = match rng.below(3) {
        0 => f64::INFINITY.to_bits(),
        1 => f64::NEG_INFINITY.to_bits(),
        _ => f64::NAN.to_bits() | rng.next_u64() >> 12 | rng.below(2) << 63,
    };
    out[place..place + 8].copy_from_slice(&bits.to_le_bytes());
    seal(&mut out);
    out
}

fn nested(file: &[u8], rng: &mut Rng) -> Vec<u8> {
    with_header(file, |header| {
        let deep = "[{\"a\":".repeat(1 + below(rng, 2000));
        let place = header.find("\"layer0.w\":").expect("the header is whole") + 11;
        format!("{}{deep}{}", &header[..place], &header[place..])
    })
}
