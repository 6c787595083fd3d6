use crate::context::{Context, Done};
pub(crate) fn add(_: &mut Context) -> Done {
    Err("not yet".into())
}
pub(crate) fn delete(_: &mut Context) -> Done {
    Err("not yet".into())
}
pub(crate) fn dump(context: &mut Context) -> Done {
    super::statistics::opaque(context, ovs_ofproto::codec::MessageKind::TlvTableRequest)
}
