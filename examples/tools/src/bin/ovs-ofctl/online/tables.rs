//! Tables.

use ovs_ofproto::ALL_TABLES;
use ovs_ofproto::codec::{Header, Message, MessageType, Page, TableDesc, TableFeatures, TableMod, Version, Versions};
use ovs_ofproto::json::Document;
use ovs_ofproto::text::{Parser, TableSetting, message};

use super::statistics::trivial;
use super::switch::{Names, Switch, refused};
use crate::context::{Context, Done, Failure, VersionNames, refuse};

/// Of a table's configuration: flows are evicted.
const EVICTION: u32 = 4;
/// Of a change of features: of the tables that are named only.
const MODIFY: u8 = 1;
/// So many tables surely fit in a message, with all that they can do.
const TABLES_IN_A_MESSAGE: usize = 8;
/// Of a table's configuration: vacancy is told.
const VACANCY: u32 = 8;

/// All parts of the answer are printed as one, in which tables that are like the one before are not said again.
pub(crate) fn features(context: &mut Context) -> Done {
    let name = context.argument(0).to_string();
    let mut switch = Switch::open(context, &name)?;
    let (found, xid) = all_features(&mut switch)?;
    let reply = Message::TableFeaturesReply(Page { more: false, items: found });
    if context.options.is_json() {
        let document = Document::new(switch.version(), xid, reply);
        return context.print_json(&serde_json::to_value(document).map_err(|e| e.to_string())?);
    }
    let header = Header { version: switch.version(), kind: MessageType::MULTIPART_REPLY, length: 0, xid };
    let text = message(&header, &reply).to_string();
    // The head is that of a message that there is not.
    let body = text.split_once('\n').map_or("", |(_, body)| body);
    context.print(format_args!("{}\n", body.trim_start_matches('\n')))
}

/// The features of all tables, and the transaction id of the answer.
fn all_features(switch: &mut Switch) -> Result<(Vec<TableFeatures>, u32), Failure> {
    let (mut found, mut xid) = (Vec::new(), 0);
    let request = switch.frame(&Message::TableFeaturesRequest(Page::default()))?;
    switch.ask_each(request, |bytes| match Message::decode(bytes) {
        Ok((header, Message::TableFeaturesReply(page))) => {
            xid = header.xid;
            found.extend(page.items);
            Ok(())
        }
        Ok((_, Message::Error(e))) => Err(format!("the switch refused: {}", e.error).into()),
        Ok(_) => Err("bad reply to a request for the features of tables".into()),
        Err(e) => Err(format!("decode error: {}", e.error).into()),
    })?;
    Ok((found, xid))
}

pub(crate) fn descriptions(context: &mut Context) -> Done {
    trivial(context, &Message::TableDescRequest)
}

pub(crate) fn change(context: &mut Context) -> Done {
    let (name, table, setting) =
        (context.argument(0).to_string(), context.argument(1).to_string(), context.argument(2).to_string());
    let read = {
        let names = Names::of(context, &name);
        // Upstream's tool asks before it reads, and its messages are numbered accordingly.
        names.tables();
        Parser::new(&names).table_setting(&table, &setting).map_err(|e| refuse(&setting, &e))?
    };
    let usable = read.protocols.versions();
    let common = Versions(context.versions.0 & usable.0);
    if common == Versions(0) {
        let names = VersionNames(usable);
        return Err(format!("table_mod '{setting}' requires one of the OpenFlow versions {names}").into());
    }
    context.versions = common;
    let mut switch = Switch::open(context, &name)?;
    let setting = read.value;
    if let Some(new_name) = &setting.name {
        return rename(context, &mut switch, setting.table, new_name);
    }
    let requests = match switch.version() >= Version::V1_4 {
        // What is not named must stay as it is.
        true => {
            let wanted = |t: &TableDesc| setting.table == ALL_TABLES || t.table == setting.table;
            let mut found: Vec<TableDesc> = now(&mut switch)?.into_iter().filter(wanted).collect();
            found.iter_mut().for_each(|table| apply(table, &setting));
            found
        }
        false => {
            let mut table = TableDesc::default();
            table.table = setting.table;
            table.config = setting.miss.unwrap_or(0);
            vec![table]
        }
    };
    for desc in requests {
        let mut change = TableMod::default();
        change.desc = desc;
        let request = switch.frame(&Message::TableMod(change))?;
        switch.tell(context, vec![request])?;
    }
    Ok(())
}

/// How the tables are set up now.
fn now(switch: &mut Switch) -> Result<Vec<TableDesc>, Failure> {
    let mut found = Vec::new();
    let request = switch.frame(&Message::TableDescRequest)?;
    switch.ask_each(request, |bytes| match Message::decode(bytes) {
        Ok((_, Message::TableDescReply(page))) => {
            found.extend(page.items);
            Ok(())
        }
        _ => Err("bad reply to a request for the setup of tables".into()),
    })?;
    Ok(found)
}

fn apply(table: &mut TableDesc, setting: &TableSetting) {
    let mut set = |bit: u32, on: bool| table.config = if on { table.config | bit } else { table.config & !bit };
    if let Some(on) = setting.eviction {
        set(EVICTION, on);
    }
    if let Some(vacancy) = setting.vacancy {
        set(VACANCY, vacancy.is_some());
        if let Some((down, up)) = vacancy {
            table.vacancy = Some((down, up, 0));
        }
    }
    if table.config & VACANCY == 0 {
        table.vacancy = None;
    }
    // By what flows are evicted is for the switch to say.
    table.eviction = None;
}

/// Has a table called otherwise: its features are asked for, and sent back with the name.
fn rename(context: &Context, switch: &mut Switch, table: u8, name: &str) -> Done {
    let (mut found, _) = all_features(switch)?;
    let place = found.iter().position(|t| t.table == table);
    let features = place.and_then(|n| found.get_mut(n)).ok_or_else(|| format!("switch does not have table {table}"))?;
    features.name = name.to_string();
    let pages: Vec<Vec<TableFeatures>> = match switch.version() >= Version::V1_5 {
        // One table may be changed, and nothing of it but the name.
        true => {
            (features.command, features.abilities) = (MODIFY, None);
            vec![vec![features.clone()]]
        }
        // Before OpenFlow 1.5 all that the tables can do is said again.
        false => found.chunks(TABLES_IN_A_MESSAGE).map(<[TableFeatures]>::to_vec).collect(),
    };
    let last = pages.len().saturating_sub(1);
    let page = |(n, items)| switch.frame(&Message::TableFeaturesRequest(Page { more: n < last, items }));
    let requests = pages.into_iter().enumerate().map(page).collect::<Result<Vec<_>, _>>()?;
    let (verbosity, json) = (context.verbosity(2), context.options.is_json());
    switch.ask_in_parts(requests, |bytes| match Message::decode(bytes) {
        Ok((_, Message::TableFeaturesReply(_))) => Ok(()),
        _ => Err(refused(json, bytes, verbosity)),
    })
}
