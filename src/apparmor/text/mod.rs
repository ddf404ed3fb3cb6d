//! The text of a profile, split into statements with their line numbers.
//!
//! This is not a compiler. Nothing here decides whether a container runs, or under which profile:
//! `lint` uses it to find the line and the words of a rule, in a text that the parser has
//! accepted. An error here costs at most one finding. It understands what would mislead a search
//! for words: comments, quotes, `{a,b}`, and commas in names (parser_lex.l).

mod expand;
mod scan;
mod tokens;

pub use scan::{Include, Profile, ProfileRule, ProfileText};
