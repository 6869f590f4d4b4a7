//! How those who take part are started: when, where, with which arguments and variables.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use network::system_error::in_words;
use signalling::id::PeerId;

use super::super::peers::remote::Agents;
use super::super::peers::{Launch, PeerHandle, PeerOutput, Program, here, process};
use super::peer::{Peer, Standing};
use super::{Recordings, Run, Stop};
use crate::calltest::scenario::script::{Does, PeerSpec, Place, Start};
use crate::config::{CallCommand, binding};

/// How long one that listens may take to be online: a broker that is tried for 8 s, and a slow machine.
const ONLINE_MAX: Duration = Duration::from_secs(20);

impl Run<'_> {
    /// Starts those who listen, and when they are online those who call.
    pub(super) async fn begin(&mut self) -> Result<(), Stop> {
        (self.given.progress)("starting");
        let at_once = |spec: &&PeerSpec| spec.start == Start::AtOnce;
        let is_caller = |spec: &&PeerSpec| matches!(spec.does, Does::Call(_));
        let names = |specs: Vec<&PeerSpec>| specs.iter().map(|spec| spec.name.clone()).collect::<Vec<String>>();
        let first = self.scenario.peers.iter().filter(at_once).filter(|spec| !is_caller(spec)).collect();
        let callers = self.scenario.peers.iter().filter(at_once).filter(is_caller).collect();
        let (first, callers) = (names(first), names(callers));
        for name in &first {
            self.start(name).await?;
        }
        let until = Instant::now() + ONLINE_MAX;
        for name in &first {
            // One that ends before that has a status to be judged by.
            let ready = |peer: &Peer| peer.has_told("online") || !peer.is_running();
            if !self.until(name, until, ready).await? {
                return Err(Stop::fault(format!("{name} is not online after {} s", ONLINE_MAX.as_secs())));
            }
        }
        for name in &callers {
            self.start(name).await?;
        }
        Ok(())
    }

    pub(super) async fn start(&mut self, name: &str) -> Result<(), Stop> {
        let peer = &self.peers[name];
        if peer.is_running() {
            return Err(Stop::fault(format!("{name} is running already")));
        }
        let part = self.part(peer).map_err(Stop::fault)?;
        let started = match peer.spec.place.clone() {
            Place::Process => process::start(&part),
            Place::Inside => here::start_part(&part, self.given.windows.clone()),
            Place::Agent(agent) => self.agents().await?.start(&agent, &part).await,
        };
        let handle = started.map_err(|failure| Stop::fault(format!("{name}: {}", failure.text)))?;
        self.join(name, handle);
        Ok(())
    }

    /// The link to the agents of this run, made when the first is needed.
    async fn agents(&mut self) -> Result<&Agents, Stop> {
        if self.agents.is_none() {
            if self.servers.is_private() {
                return Err(Stop::fault("agents are reached over a broker that they use too; name it with --broker"));
            }
            let named: Vec<PeerId> = self.scenario.peers.iter().filter_map(|spec| spec.place.agent()).collect();
            let config = self.servers.link(self.given.link).map_err(|failure| Stop::fault(failure.text))?;
            let agents = Agents::connect(config, &named).await.map_err(|failure| Stop::fault(failure.text))?;
            self.agents = Some(agents);
        }
        self.agents.as_ref().ok_or_else(|| Stop::fault("no agents"))
    }

    /// Takes a peer in: what it tells comes with its name from now on.
    fn join(&mut self, name: &str, handle: PeerHandle) {
        let PeerHandle { mut told, orders } = handle;
        if let Some(peer) = self.peers.get_mut(name) {
            (peer.orders, peer.standing) = (Some(orders), Standing::Running);
        }
        let (out, name) = (self.told_tx.clone(), name.to_owned());
        tokio::spawn(async move {
            let mut has_ended = false;
            while let Some(told) = told.recv().await {
                has_ended |= matches!(told, PeerOutput::Ended(_));
                if out.send((name.clone(), told)).await.is_err() {
                    return;
                }
            }
            if !has_ended {
                // A test that is over does not listen any more.
                let _nobody = out.send((name, PeerOutput::Ended(None))).await;
            }
        });
    }

    /// What this one is to run, and with what: an agent is sent no variables.
    fn part(&self, peer: &Peer) -> Result<Launch, String> {
        let spec = &peer.spec;
        let (ours, mut env) = self.inherited(spec);
        let program = match &spec.does {
            Does::Foreign(command) => {
                env.insert("TRING_ID".into(), peer.id.to_string());
                env.extend(self.servers.broker_url().map(|url| ("TRING_BROKER".to_owned(), url)));
                env.extend(
                    self.peers
                        .values()
                        .map(|other| (format!("PEER_{}", variable(&other.spec.name)), other.id.to_string())),
                );
                for (key, values) in self.servers.settings() {
                    if let "ice" | "ice-user" | "user" | "ca-file" = key.as_str() {
                        env.insert(format!("TRING_{}", variable(&key)), values.join(","));
                    }
                }
                Program::Foreign { command: command.clone() }
            }
            Does::Listen => {
                Program::Tring { arguments: self.arguments(peer, &ours, CallCommand::Listen, vec!["listen".into()])? }
            }
            Does::Call(whom) => {
                let callee = self.peers.get(whom).map_or_else(|| whom.clone(), |callee| callee.id.to_string());
                Program::Tring {
                    arguments: self.arguments(peer, &ours, CallCommand::Call, vec!["call".into(), callee])?,
                }
            }
        };
        env.extend(spec.env.clone());
        let folder =
            std::env::current_dir().map_err(|error| format!("the current folder is gone: {}", in_words(&error)))?;
        Ok(Launch { name: spec.name.clone(), program, env, folder })
    }

    /// Settings and variables that say where the servers are. An agent knows its own servers, which may be others than
    /// ours; and a server that the file alone names gets no login of the options.
    fn inherited(&self, spec: &PeerSpec) -> (BTreeMap<String, Vec<String>>, BTreeMap<String, String>) {
        if spec.place.agent().is_some() {
            return (BTreeMap::new(), BTreeMap::new());
        }
        let (mut settings, mut env) = (self.servers.settings(), self.servers.env());
        let named = spec.settings.iter().filter(|(key, _)| spec.named.contains(*key));
        let named = named.map(|(key, values)| (key.clone(), values.clone())).collect();
        for group in binding::keep_bound(&named, &mut settings, &mut env) {
            let (name, servers) = (&spec.name, group.servers());
            tracing::warn!(
                "{name}: the scenario names a {servers} that is none of the options', and it is not sent their login; \
                 give {name} one of its own"
            );
        }
        (settings, env)
    }

    fn arguments(
        &self,
        peer: &Peer,
        ours: &BTreeMap<String, Vec<String>>,
        command: CallCommand,
        first: Vec<String>,
    ) -> Result<Vec<String>, String> {
        let spec = &peer.spec;
        let mut settings = spec.settings.clone();
        for (key, values) in ours.iter().filter(|(key, _)| !spec.named.contains(*key)) {
            settings.insert(key.clone(), values.clone());
        }
        if self.given.recordings == Recordings::All
            && let Some(file) = recording(spec)
        {
            settings.insert("record".into(), vec![file]);
        }
        if spec.place.agent().is_none() && !["record", "snapshot"].iter().any(|key| is_absolute(&settings, key)) {
            // What it keeps goes to the run's own folder, and a peer may be started again.
            settings.entry("overwrite".into()).or_insert_with(|| vec!["true".to_owned()]);
        }
        let mut arguments = first;
        arguments.push(format!("--id={}", peer.id));
        for (key, values) in settings.iter().filter(|(key, _)| *key != "id") {
            // What is written goes to the results; what is read lies beside the scenario.
            let is_output = matches!(key.as_str(), "record" | "snapshot");
            let folder = if is_output { self.given.folder } else { &self.scenario.folder };
            let words = self.given.options.words(command, key, values, folder);
            arguments.extend(words.map_err(|error| format!("{}: {error}", spec.name))?);
        }
        arguments.extend(spec.impair.iter().map(|spec| format!("--impair={spec}")));
        Ok(arguments)
    }
}

/// Whether this setting names a file by its whole path.
fn is_absolute(settings: &BTreeMap<String, Vec<String>>, key: &str) -> bool {
    settings.get(key).is_some_and(|files| files.iter().any(|file| Path::new(file).is_absolute()))
}

/// A name as part of a variable's.
fn variable(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

/// Where this peer's recording goes when all are recorded; nothing for one that records already, or cannot.
fn recording(spec: &PeerSpec) -> Option<String> {
    let is = |key: &str, value: &str| spec.settings.get(key).is_some_and(|values| *values == [value]);
    let takes_many = spec.does == Does::Listen && !is("once", "true");
    if spec.settings.contains_key("record") || is("light", "true") || takes_many || spec.place.agent().is_some() {
        return None;
    }
    // A recording decides the codec, so it goes by what would be agreed on without it: H.264 goes first.
    let container = if is("codec", "vp8") { "webm" } else { "mp4" };
    Some(format!("{}.{container}", spec.name))
}
