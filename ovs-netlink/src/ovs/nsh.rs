//! Network service headers (RFC 8300): the set `ovs_nsh_key_attr`.

use crate::attr::structure::{Be32 as FieldBe32, Octets, U8 as FieldU8, structures};
use crate::attr::typed::{Bytes, Masked, Struct, Twice, attributes};

attributes! {
    /// A part of a network service header.
    pub enum NshKey = "ovs_nsh_key_attr", "OVS_NSH_KEY_ATTR_" {
        /// The base header and the service path header.
        BASE = 1 => Base(NshBase as Struct<NshBase>),
        /// Metadata of type 1.
        MD1 = 2 => Md1(NshMd1 as Struct<NshMd1>),
        /// Metadata of type 2.
        MD2 = 3 => Md2(&'a [u8] as Bytes),
    }
}

attributes! {
    /// A part of a network service header that an action writes, and the mask of the bits that it writes.
    pub enum MaskedNshKey = "ovs_nsh_key_attr", "OVS_NSH_KEY_ATTR_" {
        /// The base header and the service path header.
        BASE = 1 => Base(Masked<NshBase> as Twice<Struct<NshBase>>),
        /// Metadata of type 1.
        MD1 = 2 => Md1(Masked<NshMd1> as Twice<Struct<NshMd1>>),
    }
}

structures! {
    /// The base header and the service path header.
    pub struct NshBase = "ovs_nsh_key_base" {
        /// The flags.
        flags: u8 as FieldU8 = "flags",
        /// Time to live.
        ttl: u8 as FieldU8 = "ttl",
        /// The type of the metadata.
        mdtype: u8 as FieldU8 = "mdtype",
        /// The next protocol.
        np: u8 as FieldU8 = "np",
        /// The service path identifier (24 bits) and the service index (8).
        path_hdr: u32 as FieldBe32 = "path_hdr",
    }

    /// Metadata of type 1: four words, as they are on the wire.
    pub struct NshMd1 = "ovs_nsh_key_md1" {
        /// The words.
        context: [u8; 16] as Octets<16, 4> = "context",
    }
}
