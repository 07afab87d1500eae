//! Text for language models: consecutive blocks of one file.

use std::path::Path;
use std::sync::Arc;

use super::{LONGEST_TEXT, Source};
use crate::array::Array;
use crate::{Dataset, Error, Examples, Inputs, Targets, Vocabulary};

/// How text becomes examples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// What a token is.
    pub tokens: Tokens,
    /// Tokens in an example, 1 or more.
    pub block: usize,
    /// The share of the text, at its end, that is tested on; 0 or more and below 1.
    pub test_share: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { tokens: Tokens::Characters, block: 128, test_share: 0.1 }
    }
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// A byte; the vocabulary has 256.
    Bytes,
    /// A character; the vocabulary has those that occur in the whole text.
    Characters,
}

/// Reads a text: inputs `[block, position]` without overlap, and for each token the one that follows.
///
/// Tokens at the end that do not fill a block are left out.
///
/// # Errors
/// When it is no UTF-8 though characters are asked for, an option is out of its range, or a part has no whole block.
pub fn read(path: &Path, options: Options) -> Result<Dataset, Error> {
    let mut source = Source::open(path)?;
    let bytes = source.rest(LONGEST_TEXT)?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let (tokens, vocabulary) = match options.tokens {
        Tokens::Bytes => (bytes.into_iter().map(i64::from).collect(), Vocabulary::Bytes),
        Tokens::Characters => {
            let text = std::str::from_utf8(&bytes).map_err(|error| {
                Error::content(&source.of, format!("byte {}", error.valid_up_to()), "no UTF-8", "UTF-8")
                    .hint("take bytes as tokens")
            })?;
            characters(text)
        }
    };
    let data = from_tokens(&name, &tokens, vocabulary, options)?;
    Ok(Dataset { files: vec![path.to_owned()], ..data })
}

fn characters(text: &str) -> (Vec<i64>, Vocabulary) {
    let known: std::collections::BTreeSet<char> = text.chars().collect();
    let known: Arc<[char]> = known.into_iter().collect();
    let token = |character: char| known.binary_search(&character).expect("it is of this text") as i64;
    (text.chars().map(token).collect(), Vocabulary::Characters(known))
}

fn from_tokens(
    name: &str,
    tokens: &[i64],
    vocabulary: Vocabulary,
    options: Options,
) -> Result<Dataset, Error> {
    let Options { block, test_share, .. } = options;
    if block == 0 {
        return Err(Error::param("text", "block", block, "1 or more"));
    }
    if !(0.0..1.0).contains(&test_share) {
        return Err(Error::param("text", "test_share", test_share, "0 or more and below 1"));
    }
    let n_test = (tokens.len() as f64 * test_share) as usize;
    let (train, test) = tokens.split_at(tokens.len() - n_test);
    let blocks = |part: &[i64]| {
        let n = part.len().saturating_sub(1) / block;
        if n == 0 {
            let found = format!("{} tokens", part.len());
            let allowed = format!("{} or more for a block of {block}", block.saturating_add(1));
            return Err(Error::content(name, "a part's length", found, allowed).hint("a smaller block"));
        }
        let inputs = Array::new([n, block], part[..n * block].to_vec())?;
        let next = Array::new([n, block], part[1..=n * block].to_vec())?;
        Examples::new(name, Inputs::Tokens(inputs), Targets::Next(next))
    };
    let test = if test_share == 0.0 { None } else { Some(blocks(test)?) };
    Ok(Dataset { vocabulary: Some(vocabulary), ..Dataset::new(name, blocks(train)?, test) })
}
