use std::fs;

use clap::{Args, Parser, Subcommand};
use tempfile::TempDir;

use super::*;

#[derive(Debug, Parser)]
struct Tool {
    #[arg(long, env = "LOCKSTEP_COLOUR", global = true)]
    colour: Option<String>,
    #[command(subcommand)]
    command: ToolCommand,
}

#[derive(Debug, Subcommand)]
enum ToolCommand {
    Serve(Box<Serve>),
    Copy(Copy),
}

#[derive(Debug, Args)]
struct Serve {
    #[arg(long, env = "LOCKSTEP_LISTEN_PORT", default_value_t = 5000)]
    listen_port: u16,
    #[arg(long, env = "LOCKSTEP_SOURCE")]
    source: crate::postgres::Dsn,
    #[arg(long, env = "LOCKSTEP_KAFKA_BROKERS", value_delimiter = ',')]
    kafka_brokers: Vec<String>,
    #[arg(long, env = "LOCKSTEP_READ_ONLY")]
    read_only: bool,
}

#[derive(Debug, Args)]
struct Copy {
    #[arg(long, env = "LOCKSTEP_TARGET")]
    target: Option<String>,
}

const SOURCE: &str = "--source=postgresql://ann:hunter2@db/app";

/// Parses with a settings file, or without one where it is empty.
fn tool(arguments: &[&str], variables: &[(&str, &str)], file: &str) -> Result<Tool, SettingsError> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("lockstep.toml");
    let mut command_line: Vec<OsString> = vec!["tool".into()];
    if !file.is_empty() {
        fs::write(&path, file).unwrap();
        command_line.extend(["--config".into(), path.into()]);
    }
    command_line.extend(arguments.iter().map(OsString::from));
    let variables = variables
        .iter()
        .map(|(name, value)| (name.into(), value.into()));
    let matches = matches(Tool::command(), command_line, variables)?;
    Tool::from_arg_matches(&matches).map_err(SettingsError::Usage)
}

#[track_caller]
fn serve(arguments: &[&str], variables: &[(&str, &str)], file: &str) -> Serve {
    match tool(arguments, variables, file).unwrap().command {
        ToolCommand::Serve(serve) => *serve,
        ToolCommand::Copy(_) => panic!("asked for serve"),
    }
}

#[track_caller]
fn refused(arguments: &[&str], variables: &[(&str, &str)], file: &str, because: &[&str]) {
    let error = tool(arguments, variables, file).unwrap_err();
    let shown = crate::chain(&error);
    for word in because {
        assert!(shown.contains(word), "{shown}");
    }
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
    let flag = ["serve", SOURCE, "--listen-port=1"];
    let variable = [("LOCKSTEP_LISTEN_PORT", "2")];
    let file = "listen_port = 3";
    assert_eq!(serve(&flag, &variable, file).listen_port, 1);
    assert_eq!(serve(&flag[..2], &variable, file).listen_port, 2);
    assert_eq!(serve(&flag[..2], &[], file).listen_port, 3);
    assert_eq!(serve(&flag[..2], &[], "").listen_port, 5000);
}

#[test]
fn a_required_setting_may_stand_in_the_file() {
    let serve = serve(
        &["serve"],
        &[],
        "source = 'host=db user=ann password=hunter2'",
    );
    assert_eq!(serve.source.user(), "ann");
    refused(&["serve"], &[], "", &["--source"]);
}

#[test]
fn lists_switches_and_tables() {
    let file = "read_only = true\n[kafka]\nbrokers = ['a:1', 'b:2']";
    let settings = serve(&["serve", SOURCE], &[], file);
    assert_eq!(settings.kafka_brokers, ["a:1", "b:2"]);
    assert!(settings.read_only);
    let settings = serve(
        &["serve", SOURCE],
        &[("LOCKSTEP_KAFKA_BROKERS", "c:3,d:4")],
        file,
    );
    assert_eq!(settings.kafka_brokers, ["c:3", "d:4"]);
    let settings = serve(&["serve", SOURCE, "--kafka-brokers", "e:5"], &[], file);
    assert_eq!(settings.kafka_brokers, ["e:5"]);
}

#[test]
fn a_key_of_another_command_is_fine() {
    let settings = serve(
        &["serve", SOURCE],
        &[("LOCKSTEP_TARGET", "x")],
        "target = 'y'",
    );
    assert_eq!(settings.listen_port, 5000);
}

#[test]
fn a_global_setting_may_stand_in_the_file() {
    let tool = |arguments: &[&str]| tool(arguments, &[], "colour = 'red'").unwrap();
    assert_eq!(tool(&["copy"]).colour.as_deref(), Some("red"));
    assert_eq!(
        tool(&["copy", "--colour", "blue"]).colour.as_deref(),
        Some("blue")
    );
    assert_eq!(
        tool(&["--colour", "blue", "copy"]).colour.as_deref(),
        Some("blue")
    );
}

#[test]
fn unknown_keys_and_variables_are_named_with_the_nearest() {
    let because = ["lockstep.toml", "`listen_prt`", "listen_port"];
    refused(&["serve", SOURCE], &[], "listen_prt = 1", &because);
    refused(
        &["serve", SOURCE],
        &[],
        "[kafka]\nborkers = 'a'",
        &["`kafka_borkers`"],
    );
    refused(&["serve", SOURCE], &[], "config = 'x'", &["`config`"]);
    let variable = [("LOCKSTEP_LISTEN_PROT", "1")];
    let because = ["LOCKSTEP_LISTEN_PROT", "LOCKSTEP_LISTEN_PORT"];
    refused(&["serve", SOURCE], &variable, "", &because);
}

#[test]
fn variables_of_tests_and_of_others_are_let_be() {
    let variables = [("LOCKSTEP_TEST_KAFKA", "x"), ("PGPASSWORD", "x")];
    assert_eq!(serve(&["serve", SOURCE], &variables, "").listen_port, 5000);
}

#[test]
fn a_refused_value_names_its_origin_and_the_rule() {
    let secret = "hunter2";
    let file = format!("listen_port = '{secret}'");
    refused(
        &["serve", SOURCE],
        &[],
        &file,
        &["lockstep.toml", "`listen_port`", "digit"],
    );
    let variable = [("LOCKSTEP_LISTEN_PORT", secret)];
    refused(
        &["serve", SOURCE],
        &variable,
        "",
        &["LOCKSTEP_LISTEN_PORT", "digit"],
    );
    let flag = ["serve", SOURCE, "--listen-port", secret];
    refused(&flag, &[], "", &["--listen-port", "digit"]);
    refused(
        &["serve"],
        &[],
        "source = 'postgresql://a:hunter2@'",
        &["`source`"],
    );
}

#[test]
fn a_broken_file_is_an_error_that_shows_no_line_of_it() {
    refused(
        &["copy"],
        &[],
        "a = 1\nsource = 'hunter2",
        &["lockstep.toml line 2"],
    );
    refused(
        &["copy"],
        &[],
        "target = [['hunter2']]",
        &["`target`", "plain values"],
    );
    refused(
        &["copy"],
        &[],
        "listen_port = 1\n[listen]\nport = 2",
        &["set twice"],
    );
    refused(
        &["copy", "--config=/nonexistent.toml"],
        &[],
        "",
        &["/nonexistent.toml"],
    );
    let variable = [("LOCKSTEP_CONFIG", "/nonexistent.toml")];
    refused(&["copy"], &variable, "", &["/nonexistent.toml"]);
}

#[test]
fn help_shows_no_value() {
    let variable = [("LOCKSTEP_SOURCE", "postgresql://ann:hunter2@db/app")];
    let error = tool(&["serve", "--help"], &variable, "target = 'hunter2'").unwrap_err();
    let shown = error.to_string();
    assert!(shown.contains("LOCKSTEP_SOURCE"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}
