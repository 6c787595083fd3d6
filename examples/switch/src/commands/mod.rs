//! The commands that a running switch takes (ovs-appctl(8), ovs-vswitchd(8)): a table, and what each does.
//!
//! A command is a function of the whole [`Server`]: it answers at once, or says nothing and has the answer given later.
//! Answers are upstream's texts, and where upstream has a JSON form, that too.

mod bridges;
mod datapaths;
mod devices;
mod dpctl;
mod general;
mod offload;
mod pmd;
mod protocols;
mod trace;
mod tunnels;
mod underlay;
mod upcall;

use std::collections::BTreeMap;

use ovs_db::unixctl::{Format, Invocation, InvocationKey, Reply, Server as Unixctl};

use crate::server::Server;

/// What a command does. Nothing: the answer is given later.
type Run = fn(&mut Server, &Call<'_>) -> Option<Reply>;

/// A command.
#[derive(Clone, Copy)]
struct Command {
    name: &'static str,
    /// What it takes, in words; nothing for one that lists do not tell of.
    usage: Option<&'static str>,
    min: usize,
    max: usize,
    run: Run,
}

/// A command that takes `min` to `max` arguments.
const fn command(name: &'static str, usage: &'static str, min: usize, max: usize, run: Run) -> Command {
    Command { name, usage: Some(usage), min, max, run }
}

/// As [`command`], for one that lists do not tell of.
const fn hidden(name: &'static str, min: usize, max: usize, run: Run) -> Command {
    Command { name, usage: None, min, max, run }
}

/// A command as it was given.
struct Call<'a> {
    key: InvocationKey,
    arguments: Vec<&'a str>,
    format: Format,
}

impl Call<'_> {
    /// An argument.
    fn argument(&self, at: usize) -> Option<&str> {
        self.arguments.get(at).copied()
    }
}

/// Any number of arguments.
const ANY: usize = usize::MAX;

/// The commands of a switch, and the protocol that they come by.
#[derive(Debug)]
pub(crate) struct Commands {
    server: Unixctl,
}

impl Commands {
    pub(crate) fn new(version: &str, has_dummies: bool) -> Commands {
        let mut server = Unixctl::new(version);
        for c in all() {
            let is_for_dummies = ["netdev-dummy/", "dpif-dummy/"].iter().any(|of| c.name.starts_with(of));
            if is_for_dummies && !has_dummies {
                continue;
            }
            match c.usage {
                Some(usage) => server.register(c.name, usage, c.min, c.max),
                None => server.register_hidden(c.name, c.min, c.max),
            }
        }
        for (name, usage) in dpctl::commands() {
            server.register(name, usage, 0, ANY);
        }
        Commands { server }
    }

    pub(crate) fn server(&self) -> &Unixctl {
        &self.server
    }

    pub(crate) fn server_mut(&mut self) -> &mut Unixctl {
        &mut self.server
    }

    pub(crate) fn reply(&mut self, key: InvocationKey, reply: Reply) {
        self.server.reply(key, reply);
    }
}

fn all() -> impl Iterator<Item = &'static Command> {
    let all: [&[Command]; 11] = [
        general::COMMANDS,
        bridges::COMMANDS,
        datapaths::COMMANDS,
        devices::COMMANDS,
        offload::COMMANDS,
        pmd::COMMANDS,
        protocols::COMMANDS,
        trace::COMMANDS,
        tunnels::COMMANDS,
        underlay::COMMANDS,
        upcall::COMMANDS,
    ];
    all.into_iter().flatten()
}

/// Carries a command out.
pub(crate) fn execute(server: &mut Server, invocation: &Invocation) -> Option<Reply> {
    let by_name: BTreeMap<&str, &Command> = all().map(|c| (c.name, c)).collect();
    let call = Call {
        key: invocation.key,
        arguments: invocation.arguments.iter().map(String::as_str).collect(),
        format: invocation.format,
    };
    if let Some(command) = invocation.command.strip_prefix(dpctl::PREFIX) {
        return Some(dpctl::run(server, command, &call));
    }
    match by_name.get(invocation.command.as_str()) {
        Some(command) => (command.run)(server, &call),
        None => error(format!("\"{}\" is not available", invocation.command)),
    }
}

fn text(text: impl Into<String>) -> Option<Reply> {
    Some(Reply::Text(text.into()))
}

fn error(why: impl Into<String>) -> Option<Reply> {
    Some(Reply::Error(why.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_there_once() {
        let names: std::collections::BTreeSet<&str> = all().map(|c| c.name).collect();
        assert_eq!(names.len(), all().count());
        assert!(all().all(|c| c.min <= c.max));
    }
}
