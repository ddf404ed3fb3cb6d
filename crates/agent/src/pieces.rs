//! The texts of single objects, out of the bytes of an answer: in bounded memory, whatever the
//! answer has. Pure.

use std::mem;

/// The most bytes of one object that are kept, with the white space and escapes of its JSON. etcd
/// takes 1.5 MiB at once, and a ConfigMap has at most 1 MiB of text (`MaxSecretSize`, core/types.go).
pub const MAX_OBJECT: usize = 4 * 1024 * 1024;

/// The most bytes of a list besides its objects.
const MAX_ENVELOPE: usize = 64 * 1024;

/// The longest key that is looked for in a list.
const MAX_KEY: usize = 16;

/// The text of one object, or its beginning.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Piece {
    /// At most [`MAX_OBJECT`] bytes.
    pub text: Vec<u8>,
    /// Whether bytes are missing at its end.
    pub is_cut: bool,
}

impl Piece {
    fn push(&mut self, bytes: &[u8]) {
        let room = MAX_OBJECT.saturating_sub(self.text.len());
        let kept = bytes.get(..room).unwrap_or(bytes);
        self.is_cut |= kept.len() < bytes.len();
        self.text.extend_from_slice(kept);
    }
}

/// How an answer is split into pieces.
pub trait Split {
    /// Takes bytes off the beginning of `bytes`: up to the end of a piece, which is returned, or all.
    fn take(&mut self, bytes: &mut &[u8]) -> Option<Piece>;
}

/// A watch: each line is a piece.
#[derive(Debug, Default)]
pub struct WatchLines(Piece);

impl Split for WatchLines {
    fn take(&mut self, bytes: &mut &[u8]) -> Option<Piece> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (line, rest) = bytes.split_at_checked(end.unwrap_or(bytes.len()))?;
        self.0.push(line);
        *bytes = rest.get(1..).unwrap_or_default();
        end.map(|_| mem::take(&mut self.0))
    }
}

/// A list: each object in the array `items` is a piece.
#[derive(Debug, Default)]
pub struct ListItems {
    piece: Piece,
    /// All that is not an object of `items`.
    envelope: Vec<u8>,
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The last string of the outermost object.
    key: Vec<u8>,
    in_items: bool,
}

impl ListItems {
    /// The list without its objects, when it is whole.
    #[must_use]
    pub fn envelope(&self) -> Option<&[u8]> {
        let whole = self.depth == 0 && !self.in_string && self.envelope.len() < MAX_ENVELOPE;
        whole.then_some(self.envelope.as_slice())
    }

    fn in_object(&self) -> bool {
        self.in_items && self.depth > 2
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ if self.depth == 1 && self.key.len() < MAX_KEY => self.key.push(byte),
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                if self.depth == 1 {
                    self.key.clear();
                }
            }
            b'[' | b'{' => {
                self.in_items |= byte == b'[' && self.depth == 1 && self.key == b"items";
                self.depth = self.depth.saturating_add(1);
            }
            b']' | b'}' => {
                self.depth = self.depth.saturating_sub(1);
                self.in_items &= self.depth > 1;
            }
            _ => {}
        }
    }
}

impl Split for ListItems {
    fn take(&mut self, bytes: &mut &[u8]) -> Option<Piece> {
        while let Some((byte, rest)) = bytes.split_first() {
            *bytes = rest;
            let was_in_object = self.in_object();
            self.step(*byte);
            let between = self.in_items && self.depth == 2;
            if was_in_object || self.in_object() {
                self.piece.push(&[*byte]);
                if !self.in_object() {
                    return Some(mem::take(&mut self.piece));
                }
            } else if !(between && matches!(byte, b',' | b' ' | b'\n' | b'\r' | b'\t'))
                && self.envelope.len() < MAX_ENVELOPE
            {
                self.envelope.push(*byte);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// All pieces of an answer that comes in chunks of this size.
    fn pieces(split: &mut impl Split, answer: &[u8], chunk: usize) -> Vec<Piece> {
        let mut all = Vec::new();
        for mut bytes in answer.chunks(chunk) {
            while !bytes.is_empty() {
                all.extend(split.take(&mut bytes));
            }
        }
        all
    }

    fn texts(pieces: Vec<Piece>) -> Vec<String> {
        let text = |piece: Piece| String::from_utf8(piece.text).unwrap();
        pieces.into_iter().map(text).collect()
    }

    #[test]
    fn the_last_line_counts_when_it_is_whole() {
        for chunk in 1..12 {
            let mut lines = WatchLines::default();
            let answer = b"{\"a\":1}\n\n{\"b\":2}\n{\"c\":";
            let found = texts(pieces(&mut lines, answer, chunk));
            assert_eq!(found, ["{\"a\":1}", "", "{\"b\":2}"]);
        }
    }

    #[test]
    fn of_what_is_too_large_the_beginning_is_kept() {
        let mut lines = WatchLines::default();
        let mut answer = vec![b'x'; 3 * MAX_OBJECT];
        answer.extend_from_slice(b"\nnext\n");
        let found = pieces(&mut lines, &answer, 65_536);
        assert_eq!((found[0].text.len(), found[0].is_cut), (MAX_OBJECT, true));
        assert_eq!(
            (found[1].text.as_slice(), found[1].is_cut),
            (&b"next"[..], false)
        );
        let mut items = ListItems::default();
        let large = "x".repeat(MAX_OBJECT);
        let answer = format!(r#"{{"items":[{{"a":"{large}"}},{{"b":1}}]}}"#);
        let found = pieces(&mut items, answer.as_bytes(), 65_536);
        assert_eq!((found[0].text.len(), found[0].is_cut), (MAX_OBJECT, true));
        assert_eq!(found[1].text, b"{\"b\":1}");
        assert_eq!(items.envelope(), Some(&br#"{"items":[]}"#[..]));
    }

    #[test]
    fn what_is_around_the_objects_is_bounded_and_must_be_whole() {
        let mut items = ListItems::default();
        let answer = format!(r#"{{"kind":"{}"}}"#, "x".repeat(MAX_ENVELOPE));
        assert_eq!(pieces(&mut items, answer.as_bytes(), 1_000), vec![]);
        assert_eq!(items.envelope(), None);
        for cut in [r#"{"items":[{"a":1}"#, r#"{"items":[]"#, r#"{"kind":"li"#] {
            let mut items = ListItems::default();
            pieces(&mut items, cut.as_bytes(), 7);
            assert_eq!(items.envelope(), None, "{cut}");
        }
    }

    fn object() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z\"\\\\{}\\[\\],:\n]{0,12}".prop_map(Value::from),
        ];
        let value = leaf.prop_recursive(3, 20, 4, |inner| {
            let key = prop_oneof![Just("items".to_owned()), "[a-z\"\\\\{\\[]{0,4}"];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(key, inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        proptest::collection::btree_map("[a-z]{1,5}", value, 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn a_list_in_any_chunks_is_what_serde_reads(
            objects in proptest::collection::vec(object(), 0..6),
            chunk in 1..64usize,
            pretty: bool,
            first: bool,
        ) {
            let metadata = json!({"resourceVersion": "7", "items": [{"no": 1}]});
            let list = match first {
                true => json!({"a": {"items": [{}]}, "items": objects, "metadata": metadata}),
                false => json!({"apiVersion": "v1", "items": objects, "kind": "items", "z": metadata}),
            };
            let text = match pretty {
                true => serde_json::to_string_pretty(&list).unwrap(),
                false => list.to_string(),
            };
            let mut items = ListItems::default();
            let found = pieces(&mut items, text.as_bytes(), chunk);
            let found: Vec<Value> = found
                .iter()
                .map(|piece| serde_json::from_slice(&piece.text).unwrap())
                .collect();
            prop_assert_eq!(&found, &objects);
            let mut envelope: Value = serde_json::from_slice(items.envelope().unwrap()).unwrap();
            envelope["items"] = Value::from(objects);
            prop_assert_eq!(envelope, list);
        }

        #[test]
        fn any_bytes_are_split(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            pieces(&mut ListItems::default(), &bytes, 7);
            let lines = pieces(&mut WatchLines::default(), &bytes, 7);
            let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
            prop_assert_eq!(lines.len(), ends);
        }
    }
}
