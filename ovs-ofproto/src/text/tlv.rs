//! Reads maps of tunnel options: `{class=0xffff,type=0x80,len=4}->tun_metadata0`, with commas between them.

use nom::bytes::complete::{tag, take_while1};
use nom::character::complete::char;
use nom::combinator::opt;
use nom::sequence::{preceded, terminated};
use nom::{IResult, Parser};
use ovs_packet::field::TlvMapping;
use ovs_packet::text::integer;

use super::error::{ParseFlowError, Parsed};

fn number<T: TryFrom<u128>>(input: &str) -> IResult<&str, Option<T>> {
    take_while1(|c: char| c.is_ascii_alphanumeric())
        .map(|digits: &str| integer(digits).and_then(|n| T::try_from(n).ok()))
        .parse(input)
}

fn mapping(input: &str) -> IResult<&str, Option<TlvMapping>> {
    let (input, class) = preceded(tag("{class="), number::<u16>).parse(input)?;
    let (input, kind) = preceded(tag(",type="), number::<u8>).parse(input)?;
    let (input, len) = preceded(tag(",len="), number::<u8>).parse(input)?;
    let (input, index) = preceded(tag("}->tun_metadata"), number::<u16>).parse(input)?;
    let all = class.zip(kind).zip(len.zip(index));
    Ok((input, all.map(|((class, kind), (len, index))| TlvMapping { class, kind, len, index })))
}

/// Reads what `add-tlv-map` and `del-tlv-map` take.
///
/// ```
/// use ovs_ofproto::text::tlv_mappings;
///
/// let maps = tlv_mappings("{class=0xffff,type=0x80,len=4}->tun_metadata0")?;
/// assert_eq!((maps[0].class, maps[0].len, maps[0].index), (0xffff, 4, 0));
/// # Ok::<(), ovs_ofproto::text::ParseFlowError>(())
/// ```
///
/// # Errors
/// What is no map, with its place.
pub fn tlv_mappings(text: &str) -> Parsed<Vec<TlvMapping>> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let at = text.len().saturating_sub(rest.len());
        let bad = || ParseFlowError::invalid(at, "invalid tlv mapping");
        let (behind, map) = terminated(mapping, opt(char(','))).parse(rest).map_err(|_| bad())?;
        found.push(map.ok_or_else(bad)?);
        rest = behind;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps() {
        let two = "{class=0xffff,type=0,len=4}->tun_metadata0,{class=1,type=2,len=124}->tun_metadata63";
        assert_eq!(tlv_mappings(two).unwrap().len(), 2);
        assert_eq!(tlv_mappings("").unwrap(), []);
        for bad in ["{class=1}", "{class=0x10000,type=0,len=4}->tun_metadata0", "x", "{class=1,type=2,len=4}->reg0"] {
            assert_eq!(tlv_mappings(bad).unwrap_err().problem.to_string(), "invalid tlv mapping", "{bad}");
        }
    }
}
