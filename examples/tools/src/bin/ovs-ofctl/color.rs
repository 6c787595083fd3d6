//! Flows in colors.
//!
//! What is printed is painted when it is all there: a line that has actions, and the match before them where the line is a
//! flow. Names that take a value, brackets and words alone have colors of their own, as upstream's tool has them; which
//! name has which is a table here, for the language does not tell. `OVS_COLORS` changes them: items such as `ac=01;31`
//! with colons between, for actions (`ac`), drop (`dr`), learn (`le`), param (`pm`), paren (`pr`), special (`sp`) and value
//! (`vl`).
//!
//! Upstream leaves a comma behind `exec(...)` at the end of `ct` where there are colors; here is none.

/// The marks of the colors.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Palette {
    actions: String,
    drop: String,
    learn: String,
    param: String,
    paren: String,
    special: String,
    value: String,
}

const END: &str = "\x1b[m\x1b[K";

/// What words alone say that packets are.
const PROTOCOLS: [&str; 16] = [
    "arp", "icmp", "icmp6", "ip", "ipv6", "mpls", "mplsm", "nsh", "rarp", "sctp", "sctp6", "tcp", "tcp6", "udp",
    "udp6", "eth",
];
/// Actions of which name and colon are special; those of others are parameters.
const SPECIAL: [&str; 6] = ["group", "load", "move", "output", "resubmit", "set_field"];
/// Actions that are a word alone.
const WORDS: [&str; 8] =
    ["clear_actions", "ct_clear", "debug_recirc", "debug_slow", "dec_mpls_ttl", "pop_queue", "pop_vlan", "strip_vlan"];
/// What stands in front of a line of differences, not in a match.
const OF_DIFFERENCES: [&str; 5] = ["table", "cookie", "idle_timeout", "hard_timeout", "importance"];

impl Palette {
    /// The colors that there are if nobody says others, and those that `OVS_COLORS` says.
    pub(crate) fn of(said: Option<&str>) -> Palette {
        let mark = |code: &str| format!("\x1b[{code}m\x1b[K");
        let mut palette = Palette {
            actions: mark("1;31"),
            drop: mark("34"),
            learn: mark("31"),
            param: mark("36"),
            paren: mark("35"),
            special: mark("33"),
            value: mark("32"),
        };
        for item in said.unwrap_or_default().split(':') {
            let Some((name, code)) = item.split_once('=') else { continue };
            let place = match name {
                "ac" => &mut palette.actions,
                "dr" => &mut palette.drop,
                "le" => &mut palette.learn,
                "pm" => &mut palette.param,
                "pr" => &mut palette.paren,
                "sp" => &mut palette.special,
                "vl" => &mut palette.value,
                _ => continue,
            };
            let is_code = !code.is_empty() && code.bytes().all(|b| b.is_ascii_digit() || b == b';');
            *place = if is_code { mark(code) } else { String::new() };
        }
        palette
    }

    /// Paints lines.
    pub(crate) fn paint(&self, text: &str) -> String {
        text.split_inclusive('\n').map(|line| self.line(line)).collect()
    }

    fn line(&self, line: &str) -> String {
        let Some(at) = line.find("actions=") else { return line.to_string() };
        let (head, rest) = line.split_at(at);
        let actions = rest.trim_start_matches("actions=");
        let mut painter = Painter { palette: self, out: String::new() };
        let modification = head.contains("FLOW_MOD (").then(|| head.find("): ")).flatten();
        if let Some(begin) = modification {
            let (kind, said) = head.split_at(begin + 3);
            painter.out.push_str(kind);
            painter.head(said, &[]);
            painter.out.push_str("actions=");
        } else if head.starts_with(['+', '-']) {
            painter.head(head, &OF_DIFFERENCES);
            painter.out.push_str("actions=");
        } else if head.starts_with(' ') && !head.contains("event=") && !head.contains("group_id=") {
            painter.head(head, &[]);
            painter.mark(&self.actions, "actions=");
        } else {
            painter.out.push_str(head);
            painter.out.push_str("actions=");
        }
        painter.list(actions, In::Actions);
        painter.out
    }
}

/// What items stand in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum In {
    Actions,
    Ct,
    Nat,
    Learn,
    /// Where a name with `=` is a parameter.
    Parameters,
    Plain,
}

struct Painter<'p> {
    palette: &'p Palette,
    out: String,
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '[' | ']' | '.')
}

impl Painter<'_> {
    fn mark(&mut self, color: &str, text: &str) {
        self.out.push_str(color);
        self.out.push_str(text);
        self.out.push_str(END);
    }

    /// What stands before actions: items between commas and spaces.
    fn head(&mut self, head: &str, plain: &[&str]) {
        let p = self.palette;
        for item in head.split_inclusive([',', ' ']) {
            let (sign, item) = match item.strip_prefix(['+', '-']) {
                Some(rest) => item.split_at(item.len() - rest.len()),
                None => ("", item),
            };
            self.out.push_str(sign);
            let name_len = item.find(|c| !is_name(c)).unwrap_or(item.len());
            let (name, rest) = item.split_at(name_len);
            match rest.strip_prefix('=') {
                Some(_) if name.is_empty() || plain.contains(&name) || name.starts_with("tun_metadata") => {
                    self.out.push_str(item);
                }
                Some(rest) => {
                    match name {
                        // The sign is not painted there.
                        "conj_id" => {
                            self.mark(&p.param, name);
                            self.out.push('=');
                        }
                        "priority" | "table" => self.mark(&p.special, &format!("{name}=")),
                        _ => self.mark(&p.param, &format!("{name}=")),
                    }
                    self.out.push_str(rest);
                }
                None if PROTOCOLS.contains(&name) => {
                    self.mark(&p.value, name);
                    self.out.push_str(rest);
                }
                None => self.out.push_str(item),
            }
        }
    }

    /// Items between commas, up to the bracket that closes them; what follows that is given back.
    fn list<'t>(&mut self, mut text: &'t str, within: In) -> &'t str {
        loop {
            text = self.item(text, within);
            match text.chars().next() {
                Some(c @ (',' | ' ')) => {
                    self.comma(c, text, within);
                    text = &text[1..];
                }
                Some(')') | None => return text,
                Some(c) => {
                    self.out.push(c);
                    text = &text[c.len_utf8()..];
                }
            }
        }
    }

    /// The comma of some items is painted with them.
    fn comma(&mut self, c: char, text: &str, within: In) {
        let painted = |name: &str| text[1..].strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        if within != In::Learn || !(painted("priority") || painted("fin_hard_timeout")) {
            self.out.push(c);
        }
    }

    /// An item; gives what is behind it.
    fn item<'t>(&mut self, text: &'t str, within: In) -> &'t str {
        let p = self.palette;
        let (name, rest) = text.split_at(text.find(|c| !is_name(c)).unwrap_or(text.len()));
        match rest.chars().next() {
            Some('(') => self.brackets(name, &rest[1..], within),
            // An output to that port, which it is nearly always, is not painted.
            Some(':') if name == "CONTROLLER" => self.plain(text),
            Some(':') if within == In::Actions || within == In::Learn || name == "members" => {
                let color = if SPECIAL.contains(&name) { &p.special } else { &p.param };
                self.mark(color, &format!("{name}:"));
                self.arrow(&rest[1..], SPECIAL.contains(&name))
            }
            Some('=') if within == In::Actions && name == "actions" => {
                self.out.push_str("actions=");
                self.item(&rest[1..], In::Actions)
            }
            Some('=') => {
                let and_sign = format!("{name}=");
                match (within, name) {
                    (In::Plain | In::Actions, _) => self.out.push_str(&and_sign),
                    (In::Nat, _) => {
                        self.mark(&p.param, name);
                        self.mark(&p.param, "=");
                    }
                    (In::Learn, "priority") => self.mark(&p.special, ",priority="),
                    (In::Learn, "fin_hard_timeout") => self.mark(&p.param, ",fin_hard_timeout="),
                    (_, "table") => self.mark(&p.special, &and_sign),
                    // Copied bits: the sign is painted apart from the name.
                    (In::Learn, _)
                        if name.ends_with(']') && rest[1..].starts_with(|c: char| c.is_ascii_alphabetic()) =>
                    {
                        self.mark(&p.param, name);
                        self.mark(&p.param, "=");
                    }
                    _ => self.mark(&p.param, &and_sign),
                }
                self.arrow(&rest[1..], false)
            }
            _ => {
                self.word(name, within);
                rest
            }
        }
    }

    fn word(&mut self, name: &str, within: In) {
        let p = self.palette;
        let color = match (within, name) {
            (In::Actions, "drop") => &p.drop,
            (In::Actions, "exit" | "dec_nsh_ttl") => &p.special,
            (In::Actions, "dec_ttl" | "nat") | (In::Ct, "nat") => &p.paren,
            (In::Actions, name) if WORDS.contains(&name) => &p.value,
            (In::Ct, "commit" | "force") | (In::Nat, "persistent" | "hash" | "random") => &p.value,
            (In::Nat, "src" | "dst") | (In::Parameters, "ingress" | "egress") => &p.param,
            (In::Parameters, "pause") | (In::Learn, "send_flow_rem" | "delete_learned") => &p.value,
            (In::Learn, name) if name.ends_with(']') => &p.param,
            _ => return self.out.push_str(name),
        };
        self.mark(color, name);
    }

    /// What is in brackets behind a name, and the bracket that closes them.
    fn brackets<'t>(&mut self, name: &str, text: &'t str, within: In) -> &'t str {
        let p = self.palette;
        let open = format!("{name}(");
        let (inside, close) = match name {
            "learn" => {
                self.mark(&p.learn, &open);
                (In::Learn, Some(&p.learn))
            }
            "check_pkt_larger" => {
                self.mark(&p.param, &open);
                (In::Plain, None)
            }
            "output" => {
                self.mark(&p.special, name);
                self.out.push('(');
                (In::Plain, None)
            }
            "dec_ttl" | "nat" => {
                self.mark(&p.paren, name);
                self.mark(&p.paren, "(");
                (if name == "nat" { In::Nat } else { In::Plain }, Some(&p.paren))
            }
            // The packet type that is pushed.
            _ if within == In::Plain => {
                self.out.push_str(name);
                self.mark(&p.paren, "(");
                (In::Plain, Some(&p.paren))
            }
            _ => {
                self.mark(&p.paren, &open);
                let inside = match name {
                    "clone" | "exec" | "write_actions" => In::Actions,
                    "ct" => In::Ct,
                    "controller" | "sample" | "fin_timeout" => In::Parameters,
                    _ => In::Plain,
                };
                (inside, Some(&p.paren))
            }
        };
        let rest = self.list(text, inside);
        let Some(rest) = rest.strip_prefix(')') else { return rest };
        match close {
            Some(color) => self.mark(color, ")"),
            None => self.out.push(')'),
        }
        self.plain(rest)
    }

    /// A value up to the next item.
    fn plain<'t>(&mut self, text: &'t str) -> &'t str {
        let (value, rest) = text.split_at(text.find([',', ')', ' ', '\n']).unwrap_or(text.len()));
        self.out.push_str(value);
        rest
    }

    /// The same; the arrow in it may be painted.
    fn arrow<'t>(&mut self, text: &'t str, painted: bool) -> &'t str {
        let end = text.find([',', ')', ' ', '\n']).unwrap_or(text.len());
        match text[..end].find("->").filter(|_| painted) {
            None => self.plain(text),
            Some(at) => {
                self.out.push_str(&text[..at]);
                self.mark(&self.palette.special, "->");
                self.plain(&text[at + 2..])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With the codes of colors in angle brackets.
    fn painted(line: &str) -> String {
        let text = Palette::of(None).paint(line).replace("\x1b[K", "").replace("\x1b[m", "<>");
        text.split("\x1b[")
            .enumerate()
            .map(|(n, part)| if n == 0 { part.to_string() } else { format!("<{}", part.replacen('m', ">", 1)) })
            .collect()
    }

    #[test]
    fn a_flow_is_painted_as_upstream_paints_it() {
        assert_eq!(
            painted(" cookie=0x0, table=1, priority=5,tcp,in_port=1 actions=output:2\n"),
            " <36>cookie=<>0x0, <33>table=<>1, <33>priority=<>5,<32>tcp<>,<36>in_port=<>1 <1;31>actions=<><33>output:<>2\n"
        );
        assert_eq!(
            painted("OFPT_FLOW_MOD (xid=0x1): ADD ip actions=drop\n"),
            "OFPT_FLOW_MOD (xid=0x1): ADD <32>ip<> actions=<34>drop<>\n"
        );
    }

    #[test]
    fn what_is_painted_says_the_same() {
        for line in [
            " actions=learn(table=1,priority=3,fin_hard_timeout=4,NXM_OF_VLAN_TCI[],load:NXM_NX_REG0[]->NXM_NX_REG1[])\n",
            "-table=1 ip actions=ct(commit,nat(src=1.1.1.1-2.2.2.2:5-6,random),exec(load:0x1->NXM_NX_CT_MARK[])),2\n",
            "actions=((((,)),bad:(,->,é(=\n",
            " group_id=5,type=select,bucket=weight:5,actions=output:1,bucket=weight:6,actions=drop\n",
            "nothing\n",
        ] {
            let mut plain = Palette::of(None).paint(line);
            while let Some(at) = plain.find("\x1b[") {
                let end = at + plain[at..].find(['m', 'K']).unwrap();
                plain.replace_range(at..=end, "");
            }
            assert_eq!(plain, line);
        }
    }

    #[test]
    fn colors_can_be_chosen() {
        let palette = Palette::of(Some("ac=01;33:dr=x:zz=1:pm"));
        assert_eq!((palette.actions.as_str(), palette.drop.as_str()), ("\x1b[01;33m\x1b[K", ""));
        assert_eq!(palette.param, Palette::of(None).param);
    }
}
