//! The order in which a session does its work.

use std::sync::Arc;

use ::media::display::window;
use clap::Parser as _;
use serde_json::Value;
use signalling::call::{Action, Event, MediaChange, Notice, State};
use signalling::id::{CallId, PeerId};
use signalling::mqtt::Link;
use signalling::wire::{Candidate, Description, Message};
use tokio::sync::mpsc;

use super::driver::{Driver, Inputs, Orders};
use super::open::{OpenMedia, Speaking};
use super::start::Callee;
use super::view::View;
use super::work::Work;
use super::{Session, Surroundings};
use crate::cli::{Cli, Command};
use crate::output::printer::Printer;
use crate::phone::settings::Control;

/// A caller of bob whose broker is never reached, what it tells, and the link that takes what it publishes.
async fn caller() -> (Session, mpsc::Receiver<Value>, Link) {
    let words = "tring call bob --id alice --broker mqtt://127.0.0.1:1 --video none --audio none --play none \
                 --show none --no-log --no-notify";
    let Command::Call(call) = Cli::try_parse_from(words.split_whitespace()).unwrap().command else { unreachable!() };
    let (settings, role, phone_config) = crate::phone::plan::of_call(call).unwrap();
    let (told_tx, told) = mpsc::channel(64);
    let (_no_guests, guests) = mpsc::channel(1);
    let (link, handle, _events) = Link::new(settings.link.clone()).unwrap();
    let (_host, windows) = window::main_thread();
    let printer = Arc::new(Printer::to_channel(told_tx));
    let view = View::new(settings.media.show);
    let open = OpenMedia::open_aside(Arc::new(settings.media.clone()), None, Speaking::Needed).await.unwrap();
    let surroundings = Surroundings { link: handle, callee: Callee::Unwatched, guests, windows, printer, memory: None };
    (Session::new(settings, role, phone_config, surroundings, view, Some(open)), told, link)
}

/// Does all that there is to do, and what follows from it; what it was, in order.
async fn drain(session: &mut Session) -> Vec<String> {
    let (_nobody, link_events) = mpsc::channel(1);
    let (_no_orders, commands) = mpsc::channel(1);
    let (_no_interrupt, interrupts) = mpsc::channel(1);
    let driver = Driver::Owner(Orders { commands, interrupts });
    let (mut inputs, _) = Inputs::new(link_events, driver, Control::Terminal, false);
    let mut done = Vec::new();
    while let Some(work) = session.work.pop() {
        done.push(name(&work));
        assert!(session.carry_out(work, &mut inputs).await.is_ok());
    }
    done
}

fn name(work: &Work) -> String {
    match work {
        Work::Received { message, .. } => format!("received {}", message.name()),
        Work::Phone(Event::Received { message, .. }) => format!("phone hears {}", message.name()),
        Work::Phone(Event::Media { change: MediaChange::Failed, .. }) => "phone hears that media failed".to_owned(),
        Work::Act(Action::Send { message, .. }) => format!("send {}", message.name()),
        Work::Act(Action::ApplyAnswer { .. }) => "apply answer".to_owned(),
        Work::Act(Action::AddCandidates { .. }) => "add candidates".to_owned(),
        Work::Act(Action::CloseMedia { .. }) => "close media".to_owned(),
        Work::Act(Action::Notify(Notice::Accepted { .. })) => "tell accepted".to_owned(),
        Work::Act(Action::Notify(Notice::Ended { .. })) => "tell ended".to_owned(),
        _ => "something else".to_owned(),
    }
}

fn told_of(told: &mut mpsc::Receiver<Value>) -> Vec<String> {
    std::iter::from_fn(|| told.try_recv().ok()).map(|event| event["event"].as_str().unwrap().to_owned()).collect()
}

/// Waits for the job that the session cannot go on without.
async fn until_dialing(session: &mut Session) -> CallId {
    loop {
        drain(session).await;
        if let State::Dialing { call, .. } = session.phone.front() {
            return call.clone();
        }
        let done = session.jobs.join_next().await.unwrap().unwrap();
        session.work.push(Work::Done(done));
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_ends_the_call_after_all_that_came_with_it() {
    let (mut session, mut told, _link) = caller().await;
    let bob: PeerId = "bob".parse().unwrap();
    session.phone_event(Event::Dial { peer: bob.clone(), call: CallId::from_random(1) });
    let call = until_dialing(&mut session).await;
    assert_eq!(told_of(&mut told), ["dialing"]);

    let received = |message| Work::Received { from: bob.clone(), call: call.clone(), message };
    let candidate = Candidate { candidate: "candidate:1 1 udp 1 192.0.2.1 9 typ host".into(), mid: None, mline: None };
    session.work.push(received(Message::Candidates { generation: 0, candidates: vec![candidate] }));
    drain(&mut session).await;
    session.work.push(received(Message::Answer(Description::new("broken".into(), Vec::new()))));
    assert_eq!(
        drain(&mut session).await,
        [
            "received answer",
            "phone hears answer",
            "tell accepted",
            "apply answer",
            "add candidates",
            "phone hears that media failed",
            "send bye",
            "close media",
            "tell ended",
        ]
    );
    assert_eq!(*session.phone.front(), State::Idle);
    while let Some(done) = session.jobs.join_next().await {
        session.work.push(Work::Done(done.unwrap()));
        drain(&mut session).await;
    }
    assert_eq!(told_of(&mut told), ["accepted", "ended", "summary"]);
}
