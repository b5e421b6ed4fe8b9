//! Settings: flags, then `LOCKSTEP_*` variables, then `lockstep.toml`, then defaults.
//!
//! A setting is defined once, as a clap argument with `env = "LOCKSTEP_…"`. Its key in the file is
//! its long flag in snake case: `--kafka-brokers` is `kafka_brokers`, or `brokers` in the table
//! `[kafka]`. One file serves all commands of the binary: a key of another command is fine, a key
//! of none is an error, and so is a `LOCKSTEP_*` variable that nobody reads. `LOCKSTEP_TEST_*` is
//! left to tests.
//!
//! Passwords and tokens may be `file:/path` instead ([`crate::Secret`], [`crate::postgres::Dsn`]);
//! a refused value is never shown, because it may be one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};

mod file;
use file::SettingsFile;

mod known;
use known::Known;

mod error;
pub use error::{Origin, SettingsError};

/// Reads the settings of this process. Adds `--config` to the command.
///
/// # Errors
///
/// When a setting is unknown or its value is refused; also for `--help` and `--version`, which
/// [`SettingsError::exit`] prints.
pub fn parse<C: CommandFactory + FromArgMatches>() -> Result<C, SettingsError> {
    let matches = matches(C::command(), std::env::args_os(), std::env::vars_os())?;
    C::from_arg_matches(&matches).map_err(SettingsError::Usage)
}

/// As [`parse`], with the process' arguments (its name first) and variables handed in.
///
/// # Errors
///
/// As [`parse`].
pub fn matches(
    command: Command,
    arguments: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<ArgMatches, SettingsError> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let variables = Variables::new(variables);
    let command = command.arg(config_argument());
    let known = Known::of(&command);
    variables.refuse_unknown(&known)?;
    let file = match config_path(&arguments, &variables) {
        Some(path) => SettingsFile::read(&path)?,
        None => SettingsFile::read_if_present(DEFAULT_FILE.as_ref())?,
    };
    file.refuse_unknown(&known)?;
    with_defaults(command, &variables, &file)
        .try_get_matches_from(arguments)
        .map_err(|error| error::explain(error, &known, &variables, &file))
}

const DEFAULT_FILE: &str = "lockstep.toml";
const CONFIG_VARIABLE: &str = "LOCKSTEP_CONFIG";

fn config_argument() -> Arg {
    Arg::new("config")
        .long("config")
        .value_name("FILE")
        .env(CONFIG_VARIABLE)
        .value_parser(clap::value_parser!(PathBuf))
        .global(true)
        .help("File with settings [default: lockstep.toml, when it exists]")
}

/// The file must be known before the command line can be parsed, because it may hold settings that
/// the command requires.
fn config_path(arguments: &[OsString], variables: &Variables) -> Option<PathBuf> {
    let mut arguments = arguments.iter().take_while(|argument| *argument != "--");
    while let Some(argument) = arguments.next() {
        if argument == "--config" {
            return arguments.next().map(PathBuf::from);
        }
        let inline = argument
            .to_str()
            .and_then(|text| text.strip_prefix("--config="));
        if let Some(path) = inline {
            return Some(PathBuf::from(path));
        }
    }
    variables.get(CONFIG_VARIABLE).map(PathBuf::from)
}

/// Makes variables and file values the defaults of the arguments, below the flags.
fn with_defaults(command: Command, variables: &Variables, file: &SettingsFile) -> Command {
    command
        .mut_args(|argument| with_default(argument, variables, file))
        .mut_subcommands(|command| with_defaults(command, variables, file))
}

fn with_default(argument: Arg, variables: &Variables, file: &SettingsFile) -> Arg {
    // A variable's value in the help text could be a password.
    let argument = argument.hide_env_values(true);
    let variable = argument
        .get_env()
        .and_then(|name| variables.get(name.to_str()?));
    let key = known::key(&argument);
    let values: Vec<OsString> = match (variable, key.and_then(|key| file.values(&key))) {
        (Some(value), _) => vec![value.clone()],
        (None, Some(values)) => values.iter().map(OsString::from).collect(),
        (None, None) => return argument,
    };
    // The help text of a switch shows no default, and clap insists that none is hidden there.
    let takes_values = argument.get_action().takes_values();
    argument
        .required(false)
        .hide_default_value(takes_values)
        .default_values(values)
}

/// The `LOCKSTEP_*` variables.
struct Variables(BTreeMap<String, OsString>);

impl Variables {
    fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let named = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self(named.filter(|(name, _)| name.starts_with(PREFIX)).collect())
    }

    fn get(&self, name: &str) -> Option<&OsString> {
        self.0.get(name)
    }

    fn refuse_unknown(&self, known: &Known) -> Result<(), SettingsError> {
        for name in self.0.keys().filter(|name| !name.starts_with(TEST_PREFIX)) {
            if !known.has_variable(name) {
                return Err(SettingsError::UnknownVariable {
                    name: name.clone(),
                    nearest: known.nearest_variable(name),
                });
            }
        }
        Ok(())
    }
}

const PREFIX: &str = "LOCKSTEP_";
const TEST_PREFIX: &str = "LOCKSTEP_TEST_";

#[cfg(test)]
mod tests;
