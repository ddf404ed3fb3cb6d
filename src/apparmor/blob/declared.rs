//! Which profiles a blob declares.
//!
//! To find them it is enough to follow the nesting of structures; the meaning of most fields does
//! not matter.

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::apparmor::blob::values::{Reader, STRUCT, Tagged};
use crate::apparmor::loaded::Mode;
use crate::fs::digest::hex;

/// Set in the version word if the profile was forced into complain mode (`-C`).
const FORCE_COMPLAIN: u32 = 0x800;

/// The part of the version word that decides which kernels accept the policy.
const VERSION: u32 = 0x3ff;

/// A profile that a blob declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Its full name; `parent//child` for a child.
    pub name: String,
    /// The mode that it will have.
    pub mode: Mode,
    /// The version of the format, 5 to 9, as in `features/policy/versions`.
    pub version: u32,
    /// What the kernel's hash is computed from: the version word and the profile's structure.
    pub hashed: Vec<u8>,
    /// The policy namespace that it would be loaded into, if it names one.
    pub namespace: Option<String>,
    /// Another profile that it would replace as well.
    pub rename: Option<String>,
    /// Whether it attaches to programs by their path.
    pub attaches: bool,
    /// What it says about capabilities.
    pub capabilities: CapabilityMasks,
    /// Whether it has the flag `audit`: every access is logged, also what a `deny` rule refuses.
    pub audits: bool,
}

/// What a profile says about capabilities; bit N is the capability N of `linux/capability.h`.
///
/// Kernels up to 6.19 keep these apart from the automaton (`unpack_profile()`,
/// security/apparmor/policy_unpack.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapabilityMasks {
    /// Those that it grants.
    pub allow: u64,
    /// Those whose use is logged.
    pub audit: u64,
    /// Those that an explicit `deny` rule refuses, without a log entry.
    pub quiet: u64,
}

impl Declared {
    /// Whether a loaded profile with this hash has the same content and mode.
    ///
    /// The hash does not depend on other profiles in the same blob (`aa_calc_profile_hash()`,
    /// security/apparmor/crypto.c). It is a SHA-1 before kernel 6.8, and then a SHA-256.
    #[must_use]
    pub fn is(&self, hash: &str) -> bool {
        const SHA1: usize = 40;
        match hash.len() {
            SHA1 => hash == hex(&Sha1::digest(&self.hashed)),
            _ => hash == hex(&Sha256::digest(&self.hashed)),
        }
    }
}

/// All profiles that `blob` declares, in order.
///
/// # Errors
/// A clause that says where the blob is not what the kernel expects.
pub fn walk(blob: &[u8]) -> Result<Vec<Declared>, String> {
    let mut reader = Reader { rest: blob };
    let mut declared = Vec::new();
    while !reader.rest.is_empty() {
        declared.push(profile(&mut reader)?);
    }
    Ok(declared)
}

/// Reads one `version`, an optional `namespace`, and one `profile` structure.
fn profile(reader: &mut Reader<'_>) -> Result<Declared, String> {
    // The kernel accepts a later profile without a version. The parser never writes that, so it
    // is refused.
    reader.expect(Tagged::Name(b"version"))?;
    let Tagged::Number(version) = reader.value()? else {
        return Err("its version is not a number".to_owned());
    };
    let version = u32::try_from(version).map_err(|_| "its version is too large".to_owned())?;
    let mut namespace = None;
    let mut start = reader.rest;
    let mut next = reader.value()?;
    if next == Tagged::Name(b"namespace") {
        namespace = Some(reader.text()?);
        start = reader.rest;
        next = reader.value()?;
    }
    if next != Tagged::Name(b"profile") {
        return Err("no profile follows its version".to_owned());
    }
    reader.expect(Tagged::Open(STRUCT))?;
    let name = reader.text()?;
    let mut profile = Declared {
        // A profile that is named like a path attaches to it (find_attach(), domain.c).
        attaches: name.starts_with('/'),
        name,
        mode: Mode::User,
        version: version & VERSION,
        hashed: Vec::new(),
        namespace,
        rename: None,
        capabilities: CapabilityMasks::default(),
        audits: false,
    };
    let packed = fields(reader, &mut profile)?;
    let length = start.len().saturating_sub(reader.rest.len());
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

/// Reads the fields up to the end of the profile's structure. Returns the number of its mode.
fn fields(reader: &mut Reader<'_>, profile: &mut Declared) -> Result<u64, String> {
    let mut open = vec![STRUCT];
    let mut mode = None;
    let mut capabilities = CapabilityWords::default();
    let mut named = false;
    loop {
        let value = reader.value()?;
        let was_named = std::mem::replace(&mut named, matches!(value, Tagged::Name(_)));
        match value {
            Tagged::Close(code) => {
                if open.pop().map(|o| o.saturating_add(1)) != Some(code) {
                    return Err("its structures do not nest".to_owned());
                }
                if open.is_empty() {
                    profile.capabilities = capabilities.masks();
                    return mode.ok_or_else(|| "a profile has no flags".to_owned());
                }
            }
            Tagged::Open(code) => open.push(code),
            // The automaton for the paths of programs comes before the flags.
            Tagged::Binary if mode.is_none() => profile.attaches = true,
            Tagged::Name(b"rename") if open.len() == 1 => profile.rename = Some(reader.text()?),
            Tagged::Name(b"attach") if open.len() == 1 => {
                reader.text()?;
                profile.attaches = true;
            }
            Tagged::Name(b"flags") if open.len() == 1 && mode.is_none() => {
                reader.expect(Tagged::Open(STRUCT))?;
                let (Tagged::Number(_), Tagged::Number(packed), Tagged::Number(audit)) =
                    (reader.value()?, reader.value()?, reader.value()?)
                else {
                    return Err("a profile's flags are not numbers".to_owned());
                };
                mode = Some(packed);
                profile.audits = audit != 0;
                open.push(STRUCT);
                named = false;
            }
            Tagged::Name(b"caps64") if open.len() == 1 && mode.is_some() => {
                reader.expect(Tagged::Open(STRUCT))?;
                open.push(STRUCT);
                (capabilities.upper, named) = (true, false);
            }
            // Behind the flags, the only numbers without a name are those of capabilities.
            Tagged::Number(number) if mode.is_some() && !was_named => match open.len() {
                1 => capabilities.low.push(number),
                2 if capabilities.upper => capabilities.high.push(number),
                _ => {}
            },
            _ => {}
        }
        if open.len() == 1 {
            capabilities.upper = false;
        }
    }
}

/// The words of the masks of capabilities: allowed, audited, quiet, and one without a meaning.
#[derive(Default)]
struct CapabilityWords {
    /// The lower 32 bits of each.
    low: Vec<u64>,
    /// The upper 32 bits of each, which stand in a structure of their own.
    high: Vec<u64>,
    /// Whether that structure is open.
    upper: bool,
}

impl CapabilityWords {
    fn masks(&self) -> CapabilityMasks {
        const WORD: u64 = 0xffff_ffff;
        let word = |words: &[u64], place: usize| words.get(place).copied().unwrap_or(0) & WORD;
        let mask = |place| word(&self.low, place) | word(&self.high, place) << 32;
        CapabilityMasks {
            allow: mask(0),
            audit: mask(1),
            quiet: mask(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apparmor::blob::header::{ZSTD, compressed, plain};
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

    /// A profile as parser 4.1 writes it, reduced to the fields that are read and to one value of
    /// each type that is skipped.
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
            text(4, "path_flags"),
            number(5),
            [0x20_0001, 1, 0x8000_0000, 7].map(number).concat(),
            text(4, "caps64"),
            vec![7],
            [0x100, 0, 2, 7].map(number).concat(),
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
    fn capabilities_are_read() {
        let blob = profile("a", 0x20_2007, 0, &[text(4, "kill"), number(9)].concat());
        let declared = walk(&blob).unwrap().remove(0);
        let masks = CapabilityMasks {
            allow: 0x100_0020_0001,
            audit: 1,
            quiet: 0x2_8000_0000,
        };
        assert_eq!(declared.capabilities, masks);
        assert!(!declared.audits);
    }

    #[test]
    fn headers_and_compression_are_told_apart() {
        let policy = profile("a", 0x20_2007, 0, b"");
        let behind = |header: [u8; 8], rest: &[u8]| [&header[..], rest].concat();
        let header = [1, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(plain(&behind(header, &policy)), Some(&policy[..]));
        // After a header of another version, the bytes may mean something else.
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

    /// As kernels 6.1 (`sha1`) and 6.12 (`sha256`) do; the suite `kernel_profiles` compares with real ones.
    #[test]
    fn a_profile_is_identified_by_its_own_bytes() {
        let alone = profile("a", 0x20_2007, 0, b"");
        let head = [text(4, "version"), number(0x20_2007)].concat();
        let hashed = [&0x20_2007_u32.to_le_bytes(), &alone[head.len()..]].concat();
        let both = [profile("a//b", 0x20_2007, 1, b""), alone.clone()].concat();
        let declared = walk(&both).unwrap().remove(1);
        let digest = hex(&Sha256::digest(&hashed));
        assert_eq!(declared.version, 7);
        assert!(declared.is(&digest) && declared.is(&hex(&Sha1::digest(&hashed))));
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
