//! API keys, stored as hashes.
//!
//! A key is 256 random bits, so its SHA-256 cannot be inverted or searched; the slow hashes that
//! passwords need would slow down every request. See docs/decisions/0010.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use ring::digest;
use ring::rand::SecureRandom;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::access::{Access, Role};
use lanner::validate_name;

/// Prefix of the digest in a key file.
const HASH: &str = "sha256:";
/// Shortest key accepted from the environment, in bytes.
const MIN_KEY_BYTES: usize = 16;
/// Random bytes of a generated key.
const KEY_BYTES: usize = 32;

/// Failure to load or generate keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    File {
        /// The file of keys.
        path: PathBuf,
        /// The failure.
        source: std::io::Error,
    },
    /// A line of the file is malformed.
    #[error("`{}` line {line}: {detail}", path.display())]
    Line {
        /// The key file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// Expected and actual content.
        detail: String,
    },
    /// The file has no key.
    #[error("`{}`: expected at least one key, got none", path.display())]
    Empty {
        /// The key file.
        path: PathBuf,
    },
    /// A key from the environment is too short.
    #[error("{name}: expected at least {MIN_KEY_BYTES} bytes, got {got}")]
    Short {
        /// The environment variable.
        name: String,
        /// Length of the key, in bytes.
        got: usize,
    },
    /// The operating system provides no random bytes.
    #[error("the operating system gives no random bytes")]
    Random,
}

type Digest = [u8; digest::SHA256_OUTPUT_LEN];

#[derive(Debug, Clone)]
struct Key {
    digest: Digest,
    access: Access,
}

/// The keys of a server.
#[derive(Debug)]
pub struct KeyRing {
    /// Keys given when the server started.
    fixed: Vec<Key>,
    file: Option<PathBuf>,
    keys: ArcSwap<Vec<Key>>,
}

impl KeyRing {
    /// From keys in plain text (`(name of the variable, key, role)`) and those of a key file.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn new(given: &[(&str, &str, Role)], file: Option<&Path>) -> Result<Self, KeyError> {
        let fixed = |&(name, key, role): &(&str, &str, Role)| match key.len() {
            ..MIN_KEY_BYTES => Err(KeyError::Short { name: name.to_owned(), got: key.len() }),
            _ => Ok(Key { digest: digest_of(key), access: Access { role, collections: None } }),
        };
        let fixed = given.iter().map(fixed).collect::<Result<Vec<_>, _>>()?;
        let file = file.map(Path::to_owned);
        let ring = Self { fixed, file, keys: ArcSwap::default() };
        ring.reload()?;
        Ok(ring)
    }

    /// Reloads the key file. Requests in progress continue.
    ///
    /// # Errors
    /// [`KeyError`]; the previous keys then stay in effect.
    pub fn reload(&self) -> Result<(), KeyError> {
        let mut keys = self.fixed.clone();
        if let Some(path) = &self.file {
            let read = std::fs::read_to_string(path);
            let text = read.map_err(|source| KeyError::File { path: path.clone(), source })?;
            let listed = parse(path, &text)?;
            if listed.is_empty() {
                return Err(KeyError::Empty { path: path.clone() });
            }
            keys.extend(listed);
        }
        self.keys.store(Arc::new(keys));
        Ok(())
    }

    /// The key file.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Access of the holder of a key. Takes the same time for every key, valid or not.
    pub fn find(&self, key: &str) -> Option<Access> {
        let digest = digest_of(key);
        let keys = self.keys.load();
        let mut found = u64::MAX;
        for (index, key) in (0..).zip(keys.iter()) {
            let same: Choice = key.digest.ct_eq(&digest);
            found.conditional_assign(&index, same);
        }
        keys.get(usize::try_from(found).ok()?).map(|key| key.access.clone())
    }
}

fn digest_of(key: &str) -> Digest {
    let mut bytes = [0; digest::SHA256_OUTPUT_LEN];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, key.as_bytes()).as_ref());
    bytes
}

fn parse(path: &Path, text: &str) -> Result<Vec<Key>, KeyError> {
    let mut keys = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split_once('#').map_or(line, |(line, _)| line).trim();
        if !line.is_empty() {
            let key = parse_line(line);
            let path = path.to_owned();
            keys.push(key.map_err(|detail| KeyError::Line { path, line: number, detail })?);
        }
    }
    Ok(keys)
}

/// Parses `name role sha256:digest [collection,…]`; the name is for people.
fn parse_line(line: &str) -> Result<Key, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (role, hash, names) = match words[..] {
        [_, role, hash] => (role, hash, None),
        [_, role, hash, names] => (role, hash, Some(names)),
        _ => {
            let expected = "`name role sha256:<hash>` and perhaps collections";
            return Err(format!("expected {expected}, got {} words", words.len()));
        }
    };
    let role = role.parse()?;
    let digest = hash.strip_prefix(HASH).and_then(from_hex);
    let digest = digest.ok_or_else(|| {
        // Does not quote the value: it may be the key itself.
        format!("expected `{HASH}` and 64 hexadecimal digits, got {} characters", hash.len())
    })?;
    let names = names.map(|names| names.split(',').map(str::to_owned).collect::<BTreeSet<_>>());
    for name in names.iter().flatten() {
        validate_name("collections", name).map_err(|error| error.to_string())?;
    }
    Ok(Key { digest, access: Access { role, collections: names.map(Arc::new) } })
}

fn from_hex(text: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    if text.len() != 2 * digest.len() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, place) in digest.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(place..place + 2)?, 16).ok()?;
    }
    Some(digest)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A newly generated key.
#[derive(Debug)]
pub struct NewKey {
    /// The key that clients send; it is stored nowhere else.
    pub key: String,
    /// The line for the key file.
    pub line: String,
}

impl NewKey {
    /// Generates a key. Names are validated when the file is read.
    ///
    /// # Errors
    /// [`KeyError::Random`].
    pub fn generate(name: &str, role: Role, collections: &[String]) -> Result<Self, KeyError> {
        let mut bytes = [0; KEY_BYTES];
        ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| KeyError::Random)?;
        let key = format!("lanner_{}", to_hex(&bytes));
        let mut line = format!("{name} {role} {HASH}{}", to_hex(&digest_of(&key)));
        if !collections.is_empty() {
            line = format!("{line} {}", collections.join(","));
        }
        Ok(Self { key, line })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_by_their_hash_and_rotated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let writer = NewKey::generate("ingest", Role::ReadWrite, &[]).unwrap();
        let names = ["a".to_owned(), "b-2".to_owned()];
        let reader = NewKey::generate("app", Role::ReadOnly, &names).unwrap();
        assert_ne!(writer.key, reader.key);
        assert!(!writer.line.contains(&writer.key));
        let text = format!("# keys\n\n{}\n  {} # the app\n", writer.line, reader.line);
        std::fs::write(&path, text).unwrap();
        let fixed = [("LANNER_API_KEY", "0123456789abcdef", Role::ReadWrite)];
        let ring = KeyRing::new(&fixed, Some(&path)).unwrap();
        assert_eq!(ring.find(&writer.key), Some(Access::FULL));
        assert_eq!(ring.find("0123456789abcdef"), Some(Access::FULL));
        let access = ring.find(&reader.key).unwrap();
        assert_eq!(access.role, Role::ReadOnly);
        assert!(access.reaches("a") && access.reaches("b-2") && !access.reaches("c"));
        for wrong in ["", "0123456789abcdeF", &writer.key[1..], &writer.line] {
            assert_eq!(ring.find(wrong), None, "{wrong}");
        }

        let next = NewKey::generate("ingest", Role::ReadWrite, &[]).unwrap();
        std::fs::write(&path, &next.line).unwrap();
        ring.reload().unwrap();
        assert!(ring.find(&writer.key).is_none() && ring.find(&next.key).is_some());
        // A damaged file changes nothing.
        std::fs::write(&path, "").unwrap();
        assert!(matches!(ring.reload(), Err(KeyError::Empty { .. })));
        assert!(ring.find(&next.key).is_some());
    }

    #[test]
    fn what_is_malformed_is_named_without_showing_it() {
        let error = |line: &str| parse(Path::new("keys"), line).unwrap_err().to_string();
        let hash = "sha256:".to_owned() + &"0".repeat(64);
        assert!(parse(Path::new("keys"), &format!("a read-only {hash}")).is_ok());
        let secret = error("\na read-only lanner_secret");
        assert!(secret.starts_with("`keys` line 2: expected `sha256:`"), "{secret}");
        assert!(!secret.contains("secret"), "{secret}");
        assert!(error(&format!("a admin {hash}")).contains("got \"admin\""));
        assert!(error("a read-only").contains("got 2 words"));
        assert!(error(&format!("a read-only {hash} A")).contains("expected a name"));
        assert!(error(&format!("a read-only {}x", &hash[..70])).contains("71 characters"));
        let short = KeyRing::new(&[("LANNER_API_KEY", "abc", Role::ReadOnly)], None).unwrap_err();
        assert_eq!(short.to_string(), "LANNER_API_KEY: expected at least 16 bytes, got 3");
    }
}
