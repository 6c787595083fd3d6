//! As much of YAML as the kernel's specifications of netlink need: their attribute sets, which are written with the same
//! indentation everywhere.

#[derive(Debug, Default)]
pub(crate) struct Attribute {
    pub(crate) name: String,
    pub(crate) number: u16,
    pub(crate) ty: String,
    pub(crate) big_endian: bool,
    pub(crate) structure: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) enum_name: String,
    pub(crate) attributes: Vec<Attribute>,
}

pub(crate) struct Spec {
    pub(crate) sets: Vec<Set>,
}

impl Spec {
    pub(crate) fn read(text: &str) -> Spec {
        let mut sets: Vec<Set> = Vec::new();
        let lines = text.lines().skip_while(|line| *line != "attribute-sets:").skip(1);
        for line in lines.take_while(|line| line.starts_with(' ') || line.is_empty()) {
            let content = line.trim_start();
            let indent = line.len() - content.len();
            let pair = content.split_once(": ");
            match (indent, content, pair) {
                (2, "-", _) => sets.push(Set::default()),
                (6, "-", _) => {
                    let set = sets.last_mut().unwrap();
                    // Numbers go on from the one before, and begin at 1.
                    let number = set.attributes.last().map_or(1, |before| before.number + 1);
                    set.attributes.push(Attribute { number, ..Attribute::default() });
                }
                (4, _, Some(("name", name))) => sets.last_mut().unwrap().name = name.to_owned(),
                (4, _, Some(("enum-name", name))) => sets.last_mut().unwrap().enum_name = name.to_owned(),
                (8, _, Some((key, value))) => {
                    let attribute = sets.last_mut().unwrap().attributes.last_mut().unwrap();
                    match key {
                        "name" => attribute.name = value.to_owned(),
                        "type" => attribute.ty = value.to_owned(),
                        "value" => attribute.number = value.parse().unwrap(),
                        "byte-order" => attribute.big_endian = value == "big-endian",
                        "struct" => attribute.structure = Some(value.to_owned()),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        Spec { sets }
    }
}
