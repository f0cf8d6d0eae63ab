//! A short smoke of fuzz targets: seeds, and what becomes of them when somebody tampers. `scripts/fuzz` takes longer.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;

/// What changes the meaning of texts more often than bytes by chance do.
const WORDS: [&[u8]; 16] = [
    b".",
    b"\n",
    b"\r\n\r\n",
    b"\"",
    b"{",
    b"}",
    b"[",
    b"null",
    b"-1",
    b"1e400",
    b"%2f",
    b"..",
    b";",
    b"\0",
    "\u{feff}".as_bytes(),
    b"\xff",
];

#[derive(Clone, Debug)]
enum Edit {
    Replace(Index, u8),
    Insert(Index, &'static [u8]),
    Remove(Index, Index),
    Repeat(Index, Index),
}

impl Edit {
    fn any() -> impl Strategy<Value = Self> {
        let word = prop::sample::select(&WORDS[..]);
        prop_oneof![
            any::<(Index, u8)>().prop_map(|(at, byte)| Self::Replace(at, byte)),
            (any::<Index>(), word).prop_map(|(at, word)| Self::Insert(at, word)),
            any::<(Index, Index)>().prop_map(|(from, to)| Self::Remove(from, to)),
            any::<(Index, Index)>().prop_map(|(from, to)| Self::Repeat(from, to)),
        ]
    }

    fn apply(&self, data: &mut Vec<u8>) {
        let at = |index: &Index| index.index(data.len() + 1);
        let range = |from, to| at(from).min(at(to))..at(from).max(at(to));
        match self {
            Self::Replace(index, byte) => {
                let at = at(index);
                data.splice(at..(at + 1).min(data.len()), [*byte]);
            }
            Self::Insert(index, word) => {
                let at = at(index);
                data.splice(at..at, word.iter().copied());
            }
            Self::Remove(from, to) => {
                data.drain(range(from, to));
            }
            Self::Repeat(from, to) => {
                let range = range(from, to);
                let piece = data[range.clone()].to_vec();
                data.splice(range.end..range.end, piece);
            }
        }
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    let files = fs::read_dir(root.join(target)).expect("the target has seeds");
    let read = |file: std::io::Result<fs::DirEntry>| fs::read(file?.path());
    let seeds: Result<Vec<_>, _> = files.map(read).collect();
    seeds.expect("seeds can be read")
}

/// Runs a target on its seeds, and on `cases` variations of them.
pub fn smoke(target: &str, cases: u32, run: fn(&[u8])) {
    let seeds = seeds(target);
    assert!(!seeds.is_empty());
    seeds.iter().for_each(|seed| run(seed));
    let edits = prop::collection::vec(Edit::any(), 1..6);
    let tampered = (prop::sample::select(seeds), edits).prop_map(|(mut seed, edits)| {
        edits.iter().for_each(|edit| edit.apply(&mut seed));
        seed
    });
    proptest!(ProptestConfig::with_cases(cases), |(data in tampered)| run(&data));
}
