//! Compiled policy, walked before it reaches the kernel.
//!
//! The parser's exit code proves nothing: it is 0 for an empty file, for a disabled profile and
//! for one forced into complain mode; and a source can declare more than one profile, or one of
//! another name. What a blob really declares stands in the blob. The format is a sequence of
//! tagged little-endian values (`enum aa_code`, security/apparmor/include/policy_unpack.h;
//! parser/parser_interface.c); a walk that counts depth needs no knowledge of the fields.

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::apparmor::loaded::Mode;

/// A compiled policy always starts with the name `version` and a 32-bit value.
const MAGIC: &[u8] = b"\x04\x08\x00version\0\x02";

/// Set in the version word where the profile is forced into complain mode (`-C`).
const FORCE_COMPLAIN: u32 = 0x800;

/// The part of the version word that says which kernels read it.
const VERSION: u32 = 0x3ff;

/// One profile that a blob declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Its full name; children read `parent//child`.
    pub name: String,
    /// The mode that it will have.
    pub mode: Mode,
    /// The version of the format, as `features/policy/versions` counts (5 to 9).
    pub version: u32,
    /// What the kernel makes its hash of: the version word and the profile's structure.
    pub hashed: Vec<u8>,
    /// The policy namespace that it names.
    pub namespace: Option<String>,
    /// Another profile that it would replace as well.
    pub rename: Option<String>,
    /// Whether it attaches to programs by their path.
    pub attaches: bool,
}

impl Declared {
    /// Whether a loaded profile with this hash has the same content and mode.
    ///
    /// The hash does not depend on what was loaded along with it (`aa_calc_profile_hash()`,
    /// security/apparmor/crypto.c). It is a SHA-1 before 6.8, and a SHA-256 since.
    #[must_use]
    pub fn is(&self, hash: &str) -> bool {
        const SHA1: usize = 40;
        match hash.len() {
            SHA1 => hash == hexadecimal::<Sha1>(&self.hashed),
            _ => hash == hexadecimal::<Sha256>(&self.hashed),
        }
    }
}

/// The header that AppArmor 5 puts in front of what it may have compressed (`compr_user_header`,
/// libapparmor/src/apparmor_private.h): a version, a level, and padding. The kernel does not know
/// it; libapparmor takes it off.
const HEADER: usize = 8;
const HEADER_VERSION: u8 = 1;

/// How a zstd frame begins (RFC 8878, 3.1.1).
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// The policy that [`walk`] and the kernel read, without the header that may stand before it;
/// `None` where it is compressed, or no policy.
#[must_use]
pub fn plain(blob: &[u8]) -> Option<&[u8]> {
    [Some(blob), behind_header(blob)]
        .into_iter()
        .flatten()
        .find(|policy| policy.starts_with(MAGIC))
}

/// Whether `blob` is compressed policy.
#[must_use]
pub fn compressed(blob: &[u8]) -> bool {
    blob.starts_with(ZSTD) || behind_header(blob).is_some_and(|b| b.starts_with(ZSTD))
}

fn behind_header(blob: &[u8]) -> Option<&[u8]> {
    let (header, rest) = blob.split_at_checked(HEADER)?;
    (header.first() == Some(&HEADER_VERSION)).then_some(rest)
}

/// All profiles that `blob` declares, in its order.
///
/// # Errors
/// A clause that says where the blob is not what the kernel's own reader expects.
pub fn walk(blob: &[u8]) -> Result<Vec<Declared>, String> {
    let mut reader = Reader { rest: blob };
    let mut declared = Vec::new();
    while !reader.rest.is_empty() {
        declared.push(reader.profile()?);
    }
    Ok(declared)
}

/// A digest as the kernel prints it.
fn hexadecimal<D: Digest>(bytes: &[u8]) -> String {
    let digest = D::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One tagged value. Arrays and binary data matter only for where they end.
#[derive(Debug, PartialEq, Eq)]
enum Item<'a> {
    Number(u64),
    Name(&'a [u8]),
    Text(&'a [u8]),
    Binary,
    Open(u8),
    Close(u8),
}

const STRUCT: u8 = 7;
const STRUCT_END: u8 = 8;

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// One `version`, an optional `namespace`, and one `profile` structure.
    fn profile(&mut self) -> Result<Declared, String> {
        // A later record may omit its version, and the kernel then takes the one before; the
        // parser never does that, so it is not accepted here.
        self.expect(Item::Name(b"version"))?;
        let Item::Number(version) = self.item()? else {
            return Err("its version is not a number".to_owned());
        };
        let version = u32::try_from(version).map_err(|_| "its version is too large".to_owned())?;
        let mut namespace = None;
        let mut start = self.rest;
        let mut next = self.item()?;
        if next == Item::Name(b"namespace") {
            namespace = Some(self.text()?);
            start = self.rest;
            next = self.item()?;
        }
        if next != Item::Name(b"profile") {
            return Err("no profile follows its version".to_owned());
        }
        self.expect(Item::Open(STRUCT))?;
        let name = self.text()?;
        let mut profile = Declared {
            // A profile that is named like a path attaches to it (find_attach(), domain.c).
            attaches: name.starts_with('/'),
            name,
            mode: Mode::User,
            version: version & VERSION,
            hashed: Vec::new(),
            namespace,
            rename: None,
        };
        let packed = self.fields(&mut profile)?;
        let length = start.len().saturating_sub(self.rest.len());
        let structure = start.get(..length).unwrap_or_default();
        profile.hashed = [&version.to_le_bytes(), structure].concat();
        profile.mode = match packed {
            _ if version & FORCE_COMPLAIN != 0 => Mode::Complain,
            0 => Mode::Enforce,
            1 => Mode::Complain,
            2 => Mode::Kill,
            3 => Mode::Unconfined,
            _ => Mode::User,
        };
        Ok(profile)
    }

    /// The fields up to the end of the profile's structure; returns the packed mode.
    fn fields(&mut self, profile: &mut Declared) -> Result<u64, String> {
        let mut open = vec![STRUCT];
        let mut mode = None;
        loop {
            match self.item()? {
                Item::Close(code) => {
                    if open.pop().map(|o| o.saturating_add(1)) != Some(code) {
                        return Err("its structures do not nest".to_owned());
                    }
                    if open.is_empty() {
                        return mode.ok_or_else(|| "a profile has no flags".to_owned());
                    }
                }
                Item::Open(code) => open.push(code),
                // The automaton that matches program paths stands before the flags.
                Item::Binary if mode.is_none() => profile.attaches = true,
                Item::Name(b"rename") if open.len() == 1 => profile.rename = Some(self.text()?),
                Item::Name(b"attach") if open.len() == 1 => {
                    self.text()?;
                    profile.attaches = true;
                }
                Item::Name(b"flags") if open.len() == 1 && mode.is_none() => {
                    self.expect(Item::Open(STRUCT))?;
                    let (Item::Number(_), Item::Number(packed)) = (self.item()?, self.item()?)
                    else {
                        return Err("a profile's flags are not numbers".to_owned());
                    };
                    mode = Some(packed);
                    open.push(STRUCT);
                }
                _ => {}
            }
        }
    }

    fn expect(&mut self, wanted: Item<'_>) -> Result<(), String> {
        let found = self.item()?;
        if found == wanted {
            Ok(())
        } else {
            Err(format!("{wanted:?} is missing"))
        }
    }

    fn text(&mut self) -> Result<String, String> {
        let Item::Text(bytes) = self.item()? else {
            return Err("a text is missing".to_owned());
        };
        String::from_utf8(bytes.to_vec()).map_err(|_| "a name in it is not UTF-8".to_owned())
    }

    fn item(&mut self) -> Result<Item<'a>, String> {
        let [code] = self.take::<1>()?;
        Ok(match code {
            0 => Item::Number(u8::from_le_bytes(self.take()?).into()),
            1 => Item::Number(u16::from_le_bytes(self.take()?).into()),
            2 => Item::Number(u32::from_le_bytes(self.take()?).into()),
            3 => Item::Number(u64::from_le_bytes(self.take()?)),
            4 => Item::Name(self.string()?),
            5 => Item::Text(self.string()?),
            6 => {
                let length = u32::from_le_bytes(self.take()?);
                self.bytes(usize::try_from(length).unwrap_or(usize::MAX))?;
                Item::Binary
            }
            STRUCT | 9 => Item::Open(code),
            STRUCT_END | 10 | 12 => Item::Close(code),
            11 => {
                let _count: [u8; 2] = self.take()?;
                Item::Open(code)
            }
            _ => return Err(format!("it has a value of the unknown kind {code}")),
        })
    }

    /// A string with its length in front and a NUL at its end; neither belongs to it.
    fn string(&mut self) -> Result<&'a [u8], String> {
        let length = u16::from_le_bytes(self.take()?);
        match self.bytes(length.into())?.split_last() {
            Some((0, text)) if !text.contains(&0) => Ok(text),
            _ => Err("a text does not end where it says".to_owned()),
        }
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or("it ends too early")?;
        self.rest = rest;
        Ok(taken)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or("it ends too early")?;
        self.rest = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(code: u8, text: &str) -> Vec<u8> {
        let length = u16::try_from(text.len().saturating_add(1))
            .unwrap()
            .to_le_bytes();
        [&[code], &length[..], text.as_bytes(), b"\0"].concat()
    }

    fn number(n: u32) -> Vec<u8> {
        [&[2u8][..], &n.to_le_bytes()].concat()
    }

    /// A profile as parser 4.1 lays it out, reduced to what the walk looks at and to one of
    /// each kind of value that it must pass over.
    fn profile(name: &str, version: u32, mode: u32, before_flags: &[u8]) -> Vec<u8> {
        [
            text(4, "version"),
            number(version),
            text(4, "profile"),
            vec![7],
            text(5, name),
            before_flags.to_vec(),
            text(4, "flags"),
            vec![7],
            number(0),
            number(mode),
            number(0),
            vec![8],
            number(0),
            text(4, "caps64"),
            vec![7],
            number(1),
            vec![8],
            text(4, "net_allowed_af"),
            vec![11, 1, 0, 1, 5, 5, 12],
            vec![9, 0, 7, 10],
            text(4, "policydb"),
            vec![7],
            text(4, "aadfa"),
            vec![6, 3, 0, 0, 0, 1, 2, 3],
            vec![8],
            vec![8],
        ]
        .concat()
    }

    #[test]
    fn names_and_modes_are_read() {
        let blob = [
            profile("a", 0x20_2007, 0, b""),
            profile("a//b", 0x20_2007, 1, b""),
        ]
        .concat();
        assert_eq!(plain(&blob), Some(&blob[..]));
        let names: Vec<_> = walk(&blob)
            .unwrap()
            .into_iter()
            .map(|d| (d.name, d.mode))
            .collect();
        assert_eq!(
            names,
            [("a".into(), Mode::Enforce), ("a//b".into(), Mode::Complain)]
        );
        for (mode, is) in [(2, Mode::Kill), (3, Mode::Unconfined), (4, Mode::User)] {
            assert_eq!(
                walk(&profile("a", 0x20_2007, mode, b"")).unwrap()[0].mode,
                is
            );
        }
        assert_eq!(
            walk(&profile("a", 0x20_2807, 0, b"")).unwrap()[0].mode,
            Mode::Complain
        );
    }

    #[test]
    fn headers_and_compression_are_told_apart() {
        let policy = profile("a", 0x20_2007, 0, b"");
        let behind = |header: [u8; 8], rest: &[u8]| [&header[..], rest].concat();
        let header = [1, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(plain(&behind(header, &policy)), Some(&policy[..]));
        // A header of another version may be followed by something else than it looks like.
        assert_eq!(plain(&behind([2, 0, 0, 0, 0, 0, 0, 0], &policy)), None);
        for compressed_policy in [ZSTD.to_vec(), behind([1, 3, 0, 0, 0, 0, 0, 0], ZSTD)] {
            assert!(compressed(&compressed_policy));
            assert_eq!(plain(&compressed_policy), None);
        }
        for other in [&b""[..], b"text", &header, &policy] {
            assert!(!compressed(other));
        }
    }

    #[test]
    fn attachments_renames_and_namespaces_are_seen() {
        let one = |before: &[u8]| walk(&profile("a", 7, 0, before)).unwrap().remove(0);
        assert!(!one(b"").attaches);
        assert!(
            one(&text(4, "attach")
                .into_iter()
                .chain(text(5, "/x"))
                .collect::<Vec<_>>())
            .attaches
        );
        assert!(one(&[text(4, "aadfa"), vec![6, 0, 0, 0, 0], number(3)].concat()).attaches);
        assert!(walk(&profile("/bin/x", 7, 0, b"")).unwrap()[0].attaches);
        let renamed = one(&[text(4, "rename"), text(5, "docker-default")].concat());
        assert_eq!(renamed.rename.as_deref(), Some("docker-default"));
        let plain = profile("a", 7, 0, b"");
        let head = [text(4, "version"), number(7)].concat();
        let spaced = [
            &head[..],
            &text(4, "namespace"),
            &text(5, "ns"),
            &plain[head.len()..],
        ]
        .concat();
        assert_eq!(walk(&spaced).unwrap()[0].namespace.as_deref(), Some("ns"));
    }

    /// As the kernels 6.1 (`sha1`) and 6.12 (`sha256`) do; the suite `kernel_profiles` compares with real ones.
    #[test]
    fn a_profile_is_identified_by_its_own_bytes() {
        let alone = profile("a", 0x20_2007, 0, b"");
        let head = [text(4, "version"), number(0x20_2007)].concat();
        let hashed = [&0x20_2007_u32.to_le_bytes(), &alone[head.len()..]].concat();
        let both = [profile("a//b", 0x20_2007, 1, b""), alone.clone()].concat();
        let declared = walk(&both).unwrap().remove(1);
        let digest = hexadecimal::<Sha256>(&hashed);
        assert_eq!(declared.version, 7);
        assert!(declared.is(&digest) && declared.is(&hexadecimal::<Sha1>(&hashed)));
        for other in [
            profile("a", 0x20_2807, 0, b""),
            profile("a", 0x20_2007, 1, b""),
        ] {
            assert!(!walk(&other).unwrap()[0].is(&digest));
        }
    }

    #[test]
    fn every_truncation_and_trailing_byte_is_noticed() {
        let blob = profile("a", 7, 0, b"");
        for end in 1..blob.len() {
            assert!(walk(&blob[..end]).is_err(), "{end}");
        }
        assert!(walk(&[blob, vec![0]].concat()).is_err());
        assert_eq!(walk(b"").unwrap(), []);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(0u8..16, 0..200)) {
            let _ = walk(&bytes);
            let _ = walk(&[profile("a", 7, 0, b""), bytes].concat());
        }
    }
}
