//! The values of compiled policy: tagged and little-endian (`enum aa_code`,
//! security/apparmor/include/policy_unpack.h; parser/parser_interface.c).

/// One tagged value. The contents of arrays and binary data are skipped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tagged<'a> {
    Number(u64),
    Name(&'a [u8]),
    Text(&'a [u8]),
    Binary,
    Open(u8),
    Close(u8),
}

/// The tag that opens a structure. The tag that closes it is one higher, as for lists and arrays.
pub(super) const STRUCT: u8 = 7;
const STRUCT_END: u8 = 8;
const TEXT: u8 = 5;

/// A string as the blob has it. `None` if it is too long.
pub(super) fn text(text: &str) -> Option<Vec<u8>> {
    let length = u16::try_from(text.len().checked_add(1)?).ok()?;
    Some([&[TEXT], &length.to_le_bytes()[..], text.as_bytes(), b"\0"].concat())
}

pub(super) struct Reader<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn expect(&mut self, wanted: Tagged<'_>) -> Result<(), String> {
        let found = self.value()?;
        if found == wanted {
            Ok(())
        } else {
            Err(format!("{wanted:?} is missing"))
        }
    }

    pub(super) fn text(&mut self) -> Result<String, String> {
        let Tagged::Text(bytes) = self.value()? else {
            return Err("a string is missing".to_owned());
        };
        String::from_utf8(bytes.to_vec()).map_err(|_| "a name in it is not UTF-8".to_owned())
    }

    pub(super) fn value(&mut self) -> Result<Tagged<'a>, String> {
        let [code] = self.take::<1>()?;
        Ok(match code {
            0 => Tagged::Number(u8::from_le_bytes(self.take()?).into()),
            1 => Tagged::Number(u16::from_le_bytes(self.take()?).into()),
            2 => Tagged::Number(u32::from_le_bytes(self.take()?).into()),
            3 => Tagged::Number(u64::from_le_bytes(self.take()?)),
            4 => Tagged::Name(self.string()?),
            TEXT => Tagged::Text(self.string()?),
            6 => {
                let length = u32::from_le_bytes(self.take()?);
                self.bytes(usize::try_from(length).unwrap_or(usize::MAX))?;
                Tagged::Binary
            }
            STRUCT | 9 => Tagged::Open(code),
            STRUCT_END | 10 | 12 => Tagged::Close(code),
            11 => {
                let _count: [u8; 2] = self.take()?;
                Tagged::Open(code)
            }
            _ => return Err(format!("it has a value of unknown type {code}")),
        })
    }

    /// A string: its length, the bytes, and a NUL that the length includes.
    fn string(&mut self) -> Result<&'a [u8], String> {
        let length = u16::from_le_bytes(self.take()?);
        match self.bytes(length.into())?.split_last() {
            Some((0, text)) if !text.contains(&0) => Ok(text),
            _ => Err("a string has no NUL at its end".to_owned()),
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
