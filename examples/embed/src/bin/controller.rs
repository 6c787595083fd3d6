//! An OpenFlow controller, with the codec and the sessions of ovs-ofproto: every switch that connects is asked who it is
//! and told to forward as a learning switch does; what it says is printed.
//!
//! The loop is the program's own: a [`Driver`] for each switch says what to wait for and until when. A change of flows has
//! no answer of its own; [`Transactions`] puts a barrier behind it and tells what the switch refused.
//!
//! ```sh
//! cargo run -p ovs-embed --bin controller -- ptcp:6653:127.0.0.1
//! ovs-vsctl set-controller br0 tcp:127.0.0.1:6653
//! ```

use std::error::Error;
use std::os::fd::AsFd;
use std::process::ExitCode;

use ovs_ofproto::FlowMod;
use ovs_ofproto::codec::{Message, Version, Versions};
use ovs_ofproto::session::edge::{Driver, Interest, Listener, StreamOptions, TlsConfig, TlsOptions, wait};
use ovs_ofproto::session::{Class, Frame, ListenOn, Progress, SessionEvent, SessionOptions, Transactions};
use ovs_packet::Instant;

struct Switch {
    name: String,
    driver: Driver,
    transactions: Transactions,
}

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let (place, tls) = match args.as_slice() {
        [place] => (place, None),
        [place, key, certificate, ca] => {
            let ca_certificate = Some(ca.into());
            let (private_key, certificate) = (key.into(), certificate.into());
            (place, Some(TlsOptions { private_key, certificate, ca_certificate, ..TlsOptions::default() }))
        }
        _ => {
            eprintln!("usage: controller ptcp:[PORT][:ADDRESS]|punix:FILE|pssl:[PORT][:ADDRESS] [KEY CERTIFICATE CA]");
            return ExitCode::from(2);
        }
    };
    match run(place, tls) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("controller: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(place: &str, tls: Option<TlsOptions>) -> Result<(), Box<dyn Error>> {
    let epoch = std::time::Instant::now();
    let clock = || Instant::ZERO + epoch.elapsed();
    let tls = tls.map(|files| TlsConfig::load(&files)).transpose()?;
    let listener = Listener::bind(&place.parse::<ListenOn>()?, &StreamOptions { tls, ..StreamOptions::default() })?;
    println!("listening on {}", listener.address().map_or(place.to_owned(), |address| address.to_string()));
    let options = SessionOptions { versions: Versions::from_iter([Version::V1_3]), ..SessionOptions::default() };
    let (mut switches, mut count) = (Vec::new(), 0);
    loop {
        while let Some(stream) = listener.accept()? {
            count += 1;
            let driver = Driver::passive(stream, options, clock());
            switches.push(Switch { name: format!("switch {count}"), driver, transactions: Transactions::default() });
        }
        for switch in &mut switches {
            // Again after what was said in answer: it goes out, and more may have come in.
            let mut quiet = false;
            while !quiet {
                quiet = true;
                switch.driver.run(clock());
                while let Some(event) = switch.driver.poll_event(clock()) {
                    switch.handle(event)?;
                    quiet = false;
                }
            }
        }
        switches.retain(|switch| switch.driver.session().is_alive());
        let now = clock();
        let until = switches.iter().filter_map(|switch| switch.driver.timeout(now)).min();
        let accepting = (listener.as_fd(), Interest { read: true, write: false });
        wait(switches.iter().filter_map(|switch| switch.driver.interest()).chain([accepting]), until)?;
    }
}

impl Switch {
    fn handle(&mut self, event: SessionEvent) -> Result<(), Box<dyn Error>> {
        match event {
            SessionEvent::Connected { version } => {
                println!("{}: speaks {version}", self.name);
                let question = Frame::new(Message::FeaturesRequest.encode(version, 0)?)?;
                let flow: FlowMod = "priority=0,actions=NORMAL".parse()?;
                let change = Frame::new(Message::from(flow).encode(version, 0)?)?;
                let asked = self.transactions.ask(vec![question], None).into_iter().flat_map(|(_, frames)| frames);
                let told = self.transactions.tell(vec![change], version, None).1;
                for frame in asked.collect::<Vec<_>>().iter().chain(&told) {
                    self.driver.send(frame, Class::Other)?;
                }
            }
            SessionEvent::Message(frame) => match self.transactions.handle(frame) {
                Progress::Reply { frame, .. } => println!("{}: {}", self.name, words(&frame)),
                Progress::Refused { error, .. } => println!("{}: refuses the flow: {error}", self.name),
                Progress::Done { .. } => println!("{}: forwards", self.name),
                Progress::Unsolicited(frame) => println!("{}: {}", self.name, words(&frame)),
                _ => {}
            },
            SessionEvent::Closed(reason) => println!("{}: {reason}", self.name),
        }
        Ok(())
    }
}

/// A message in words, or what of it is known.
fn words(frame: &Frame) -> String {
    match Message::decode(frame.bytes()) {
        Ok((_, Message::FeaturesReply(features))) => format!("is {:016x}", features.datapath_id),
        Ok((header, message)) => ovs_ofproto::text::message(&header, &message).to_string(),
        Err(_) => format!("{frame:?}"),
    }
}
