//! The tunnel of a key, a mask or a `set` action, both ways.

use ovs_netlink::attr::{Nest, Typed};
use ovs_netlink::ovs::{ErspanMetadata, TunnelKey, VxlanExt};
use ovs_netlink::{EncodeError, Writer};
use ovs_packet::FlowKey;
use ovs_packet::field::FieldId;
use ovs_packet::key::TUN_METADATA_BYTES;
use ovs_packet::packet::TunnelFlags;

use super::key::{ConvertError, unknown};

/// Whether a key tells of a tunnel.
pub(super) fn is_in(key: &FlowKey) -> bool {
    key.tun_dst != 0 || key.tun_ipv6_dst != 0
}

/// Whether a mask has any bit of a tunnel.
pub(super) fn has_bits(mask: &FlowKey) -> bool {
    mask.tun_id != 0
        || mask.tun_src != 0
        || mask.tun_dst != 0
        || mask.tun_ipv6_src != 0
        || mask.tun_ipv6_dst != 0
        || mask.tun_flags != 0
        || mask.tun_tos != 0
        || mask.tun_ttl != 0
        || mask.tun_tp_src != 0
        || mask.tun_tp_dst != 0
        || mask.tun_gbp_id != 0
        || mask.tun_gbp_flags != 0
        || mask.tun_erspan != 0
        || mask.tun_metadata.iter().any(|byte| *byte != 0)
}

/// Writes what is in a tunnel attribute: `values` of the key `of`, or its mask.
pub(super) fn put(w: &mut Writer<'_>, of: &FlowKey, values: &FlowKey, mask: bool) -> Result<(), EncodeError> {
    let flags = TunnelFlags::from_bits_retain(values.tun_flags);
    if flags.contains(TunnelFlags::KEY) || values.tun_id != 0 {
        w.put(TunnelKey::Id(values.tun_id.get()))?;
    }
    if of.tun_dst != 0 {
        if values.tun_src != 0 {
            w.put(TunnelKey::Ipv4Src(values.tun_src.to_bytes()))?;
        }
        if values.tun_dst != 0 {
            w.put(TunnelKey::Ipv4Dst(values.tun_dst.to_bytes()))?;
        }
    } else {
        if values.tun_ipv6_src != 0 {
            w.put(TunnelKey::Ipv6Src(values.tun_ipv6_src.to_bytes()))?;
        }
        if values.tun_ipv6_dst != 0 {
            w.put(TunnelKey::Ipv6Dst(values.tun_ipv6_dst.to_bytes()))?;
        }
    }
    if values.tun_tos != 0 {
        w.put(TunnelKey::Tos(values.tun_tos))?;
    }
    // Of a key the kernel wants one, though it be zero.
    if !mask || values.tun_ttl != 0 {
        w.put(TunnelKey::Ttl(values.tun_ttl))?;
    }
    if flags.contains(TunnelFlags::DONT_FRAGMENT) {
        w.put(TunnelKey::DontFragment)?;
    }
    if flags.contains(TunnelFlags::CHECKSUM) {
        w.put(TunnelKey::Csum)?;
    }
    if flags.contains(TunnelFlags::OAM) {
        w.put(TunnelKey::Oam)?;
    }
    if values.tun_tp_src != 0 {
        w.put(TunnelKey::TpSrc(values.tun_tp_src.get()))?;
    }
    if values.tun_tp_dst != 0 {
        w.put(TunnelKey::TpDst(values.tun_tp_dst.get()))?;
    }
    if values.tun_gbp_id != 0 || values.tun_gbp_flags != 0 {
        let gbp = u32::from(values.tun_gbp_flags) << 16 | u32::from(values.tun_gbp_id.get());
        w.nest(TunnelKey::VXLAN_OPTS, |vxlan| vxlan.put(VxlanExt::Gbp(gbp)).map(drop))?;
    }
    let options = options(of, values);
    if !options.is_empty() && (!mask || options.iter().any(|byte| *byte != 0)) {
        w.put(TunnelKey::GeneveOpts(options))?;
    }
    if values.tun_erspan != 0 {
        w.put(TunnelKey::ErspanOpts(erspan(of, values, mask)))?;
    }
    Ok(())
}

/// The most bytes of options: a Geneve header has six bits for how many words they are.
const MAX_OPTIONS: usize = TUN_METADATA_BYTES - 4;

/// As many bytes of options as the key has.
fn options<'k>(of: &FlowKey, values: &'k FlowKey) -> &'k [u8] {
    let len = usize::try_from(of.tun_present.get()).unwrap_or(usize::MAX).min(MAX_OPTIONS);
    values.tun_metadata.get(..len).unwrap_or_default()
}

fn erspan(of: &FlowKey, values: &FlowKey, mask: bool) -> ErspanMetadata {
    let get = |field: FieldId| field.info().get(values) as u32;
    let version = if mask { -1 } else { get(FieldId::TunErspanVer) as i32 };
    let shaped = match FieldId::TunErspanVer.info().get(of) {
        2 => ErspanMetadata::v2(get(FieldId::TunErspanDir) as u8, get(FieldId::TunErspanHwid) as u8),
        _ => ErspanMetadata::v1(get(FieldId::TunErspanIdx)),
    };
    ErspanMetadata { version, ..shaped }
}

/// Reads what is in a tunnel attribute. Says whether a flow key has room for all of it.
pub(super) fn read(key: &mut FlowKey, nest: Nest<'_, TunnelKey<'_>>) -> Result<bool, ConvertError> {
    let mut flags = TunnelFlags::empty();
    let mut all = true;
    for attribute in nest {
        match attribute? {
            TunnelKey::Id(id) => {
                key.tun_id.set(id);
                flags |= TunnelFlags::KEY;
            }
            TunnelKey::Ipv4Src(bytes) => key.tun_src = bytes.into(),
            TunnelKey::Ipv4Dst(bytes) => key.tun_dst = bytes.into(),
            TunnelKey::Ipv6Src(bytes) => key.tun_ipv6_src = bytes.into(),
            TunnelKey::Ipv6Dst(bytes) => key.tun_ipv6_dst = bytes.into(),
            TunnelKey::Tos(tos) => key.tun_tos = tos,
            TunnelKey::Ttl(ttl) => key.tun_ttl = ttl,
            TunnelKey::DontFragment => flags |= TunnelFlags::DONT_FRAGMENT,
            TunnelKey::Csum => flags |= TunnelFlags::CHECKSUM,
            TunnelKey::Oam => flags |= TunnelFlags::OAM,
            TunnelKey::TpSrc(port) => key.tun_tp_src.set(port),
            TunnelKey::TpDst(port) => key.tun_tp_dst.set(port),
            TunnelKey::GeneveOpts(bytes) => {
                // What is beyond the last whole word is of no option.
                let len = bytes.len().min(MAX_OPTIONS) & !3;
                all &= len == bytes.len();
                key.tun_metadata = [0; TUN_METADATA_BYTES];
                key.tun_metadata.iter_mut().zip(bytes).take(len).for_each(|(to, from)| *to = *from);
                key.tun_present.set(len as u64);
            }
            TunnelKey::VxlanOpts(extensions) => {
                for extension in extensions {
                    match extension? {
                        VxlanExt::Gbp(gbp) => {
                            key.tun_gbp_id.set(gbp as u16);
                            key.tun_gbp_flags = (gbp >> 16) as u8;
                        }
                        odd => return Err(unknown("VXLAN extension", odd.kind())),
                    }
                }
            }
            TunnelKey::ErspanOpts(erspan) => {
                let mut put = |field: FieldId, value: u32| field.info().put(key, value.into());
                put(FieldId::TunErspanVer, erspan.version as u32 & 0xf);
                // A mask has the bits of whichever version the key is of; the other's are zero.
                put(FieldId::TunErspanIdx, erspan.index());
                put(FieldId::TunErspanDir, erspan.direction().into());
                put(FieldId::TunErspanHwid, erspan.hardware().into());
            }
            TunnelKey::Pad(_) => {}
            TunnelKey::Ipv4InfoBridge => all = false,
            odd => return Err(unknown("tunnel", odd.kind())),
        }
    }
    key.tun_flags = flags.bits();
    Ok(all)
}
