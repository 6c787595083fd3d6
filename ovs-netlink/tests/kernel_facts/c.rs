//! As much of C as the kernel's headers for programs need: enumerations and plain structures.

use std::collections::BTreeMap;

pub(crate) struct Enum {
    pub(crate) name: String,
    pub(crate) members: Vec<(String, i64)>,
}

pub(crate) struct Field {
    pub(crate) ty: String,
    pub(crate) name: String,
    pub(crate) count: usize,
}

pub(crate) struct Header {
    pub(crate) enums: Vec<Enum>,
    pub(crate) structs: BTreeMap<String, Vec<Field>>,
    constants: BTreeMap<String, usize>,
}

fn without_comments(text: &str) -> String {
    let mut rest = text;
    let mut out = String::new();
    while let Some((before, after)) = rest.split_once("/*") {
        out.push_str(before);
        rest = after.split_once("*/").map_or("", |(_, behind)| behind);
    }
    out + rest
}

/// The text up to the brace that closes the one before it, and what is behind.
fn block(text: &str) -> (&str, &str) {
    let mut depth = 1;
    for (at, letter) in text.char_indices() {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        if depth == 0 {
            return (&text[..at], &text[at + 1..]);
        }
    }
    panic!("a brace is not closed");
}

impl Header {
    pub(crate) fn read(text: &str) -> Header {
        let text = without_comments(text);
        let mut header = Header { enums: Vec::new(), structs: BTreeMap::new(), constants: BTreeMap::new() };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if let (Some("#define"), Some(name), Some(Ok(value))) =
                (words.next(), words.next(), words.next().map(str::parse))
            {
                header.constants.insert(name.to_owned(), value);
            }
        }
        // What the kernel alone sees does not count, nor do macros.
        let mut inside_kernel = false;
        let lines = text.lines().filter(|line| {
            inside_kernel |= line.starts_with("#ifdef __KERNEL__");
            let keep = !inside_kernel && !line.trim_start().starts_with('#');
            inside_kernel &= !line.starts_with("#endif");
            keep
        });
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        let mut rest = text.as_str();
        while let Some(at) = rest.find('{') {
            let head: Vec<&str> = rest[..at].rsplit(';').next().unwrap().split_whitespace().collect();
            let (body, behind) = block(&rest[at + 1..]);
            match head.as_slice() {
                [.., "enum", name] => header.enums.push(Header::members(name, body)),
                [.., "enum"] => header.enums.push(Header::members("", body)),
                [.., "struct", name] if !body.contains('{') => header.add_struct(name, body),
                _ => {}
            }
            rest = behind;
        }
        header
    }

    fn members(name: &str, body: &str) -> Enum {
        let mut next = 0;
        let mut members: Vec<(String, i64)> = Vec::new();
        for member in body.split(',').map(str::trim).filter(|member| !member.is_empty()) {
            let (ident, value) = member.split_once('=').map_or((member, None), |(i, v)| (i.trim(), Some(v.trim())));
            if let Some(value) = value {
                let named = |value: &str| members.iter().find(|(name, _)| name == value).map(|(_, number)| *number);
                let shifted = value
                    .trim_matches(['(', ')'])
                    .split_once("<<")
                    .and_then(|(one, by)| Some(one.trim().parse::<i64>().ok()? << by.trim().parse::<u32>().ok()?));
                let hex = value.strip_prefix("0x").and_then(|hex| i64::from_str_radix(hex, 16).ok());
                next = value.parse().ok().or_else(|| named(value)).or(shifted).or(hex).unwrap_or(next);
            }
            members.push((ident.to_owned(), next));
            next += 1;
        }
        Enum { name: name.to_owned(), members }
    }

    fn add_struct(&mut self, name: &str, body: &str) {
        let mut fields = Vec::new();
        for line in body.split(';').map(str::trim).filter(|line| !line.is_empty()) {
            let (ty, field) = line.rsplit_once(char::is_whitespace).unwrap();
            let (field, count) = match field.split_once('[') {
                Some((field, count)) => {
                    let count = count.trim_end_matches(']');
                    let known = [("ETH_ALEN", 6)].into_iter().find(|(name, _)| *name == count).map(|(_, n)| n);
                    (field, count.parse().ok().or(known).unwrap_or_else(|| self.constants[count]))
                }
                None => (field, 1),
            };
            fields.push(Field { ty: ty.trim().to_owned(), name: field.to_owned(), count });
        }
        self.structs.insert(name.to_owned(), fields);
    }

    fn size_and_align(&self, ty: &str) -> (usize, usize) {
        match ty {
            "__u8" | "u_int8_t" => (1, 1),
            "__u16" | "__be16" => (2, 2),
            "__u32" | "__be32" | "int" => (4, 4),
            "__u64" | "__be64" => (8, 8),
            _ => {
                let name = ty.strip_prefix("struct ").unwrap_or_else(|| panic!("{ty}"));
                let fields = &self.structs[name];
                let align = fields.iter().map(|field| self.size_and_align(&field.ty).1).max().unwrap();
                (fields.iter().fold(0, |size, field| self.place(size, field)).next_multiple_of(align), align)
            }
        }
    }

    pub(crate) fn bytes(&self, field: &Field) -> usize {
        self.size_and_align(&field.ty).0 * field.count
    }

    /// Where a structure of `size` bytes ends when `field` is added.
    pub(crate) fn place(&self, size: usize, field: &Field) -> usize {
        size.next_multiple_of(self.size_and_align(&field.ty).1) + self.bytes(field)
    }

    pub(crate) fn size(&self, name: &str) -> usize {
        self.size_and_align(&format!("struct {name}")).0
    }
}
