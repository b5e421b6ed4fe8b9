//! From a bare connection to one that takes commands (manual, "Message Flow", "Start-up").

use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{
    ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256,
};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message, ParameterStatusBody};
use postgres_protocol::message::frontend;
use service::postgres::Stream;
use tokio_postgres::Config;
use tokio_postgres::config::ChannelBinding as Demand;

use super::connection::{Connection, Frame};
use super::error::{AuthenticationFault, ServerError, SourceError};
use super::refusal::{Peer, Step, classify};

/// Makes every value come in one form and every warning come, whatever is set for the role or the
/// database, and keeps timeouts off a session whose exported snapshot must live.
const PARAMETERS: [(&str, &str); 13] = [
    ("replication", "database"),
    ("application_name", "lockstep cdc"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "warning"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
];

/// Logs in and waits until the server takes commands. Returns its version as it states it.
pub(super) async fn start(
    connection: &mut Connection,
    config: &Config,
    peer: &Peer,
) -> Result<String, SourceError> {
    let options = config.get_options().map(|options| ("options", options));
    let parameters = [("user", peer.user.as_str()), ("database", &peer.database)]
        .into_iter()
        .chain(options)
        .chain(PARAMETERS);
    frontend::startup_message(parameters, connection.outgoing()).map_err(|e| lost(peer, e))?;
    let mut login = LogIn {
        connection,
        config,
        peer,
        bound: false,
    };
    login.authenticate().await?;
    login.ready().await
}

/// A log-in that is under way.
struct LogIn<'a> {
    connection: &'a mut Connection,
    config: &'a Config,
    peer: &'a Peer,
    /// The password's proof covered the server's certificate.
    bound: bool,
}

impl LogIn<'_> {
    async fn authenticate(&mut self) -> Result<(), SourceError> {
        loop {
            match self.exchange().await? {
                Message::AuthenticationOk => break,
                Message::AuthenticationMd5Password(body) => {
                    let password = self.password()?;
                    let user = self.peer.user.as_bytes();
                    self.send_password(md5_hash(user, &password, body.salt()).as_bytes())?;
                }
                Message::AuthenticationCleartextPassword => {
                    if matches!(self.connection.transport(), Stream::Plain(_)) {
                        return Err(self.fault(AuthenticationFault::ClearText));
                    }
                    let password = self.password()?;
                    self.send_password(&password)?;
                }
                Message::AuthenticationSasl(body) => self.scram(&body).await?,
                Message::AuthenticationGss | Message::AuthenticationSspi => {
                    return Err(self.fault(AuthenticationFault::Method("GSSAPI")));
                }
                _ => return Err(self.unexpected()),
            }
        }
        if self.config.get_channel_binding() == Demand::Require && !self.bound {
            return Err(self.fault(AuthenticationFault::NoChannelBinding));
        }
        Ok(())
    }

    /// RFC 5802 and 7677, as in the manual, "SASL Authentication".
    async fn scram(&mut self, offer: &AuthenticationSaslBody) -> Result<(), SourceError> {
        let (mechanism, binding) = self.mechanism(offer)?;
        let password = self.password()?;
        let mut scram = ScramSha256::new(&password, binding);
        frontend::sasl_initial_response(mechanism, scram.message(), self.connection.outgoing())
            .map_err(|e| lost(self.peer, e))?;
        let Message::AuthenticationSaslContinue(body) = self.exchange().await? else {
            return Err(self.unexpected());
        };
        scram
            .update(body.data())
            .map_err(|e| self.fault(AuthenticationFault::Scram(e)))?;
        frontend::sasl_response(scram.message(), self.connection.outgoing())
            .map_err(|e| lost(self.peer, e))?;
        let Message::AuthenticationSaslFinal(body) = self.exchange().await? else {
            return Err(self.unexpected());
        };
        scram
            .finish(body.data())
            .map_err(|e| self.fault(AuthenticationFault::Scram(e)))
    }

    fn mechanism(
        &mut self,
        offer: &AuthenticationSaslBody,
    ) -> Result<(&'static str, ChannelBinding), SourceError> {
        let offered: Vec<&str> = offer
            .mechanisms()
            .collect()
            .map_err(|e| lost(self.peer, e))?;
        let certificate = match self.config.get_channel_binding() {
            Demand::Disable => None,
            _ => self.connection.transport().tls_server_end_point(),
        };
        match certificate {
            Some(hash) if offered.contains(&SCRAM_SHA_256_PLUS) => {
                self.bound = true;
                let binding = ChannelBinding::tls_server_end_point(hash);
                Ok((SCRAM_SHA_256_PLUS, binding))
            }
            // Says that we could have bound: a server that can as well then knows that someone
            // between us has hidden its offer.
            Some(_) if offered.contains(&SCRAM_SHA_256) => {
                Ok((SCRAM_SHA_256, ChannelBinding::unrequested()))
            }
            None if offered.contains(&SCRAM_SHA_256) => {
                Ok((SCRAM_SHA_256, ChannelBinding::unsupported()))
            }
            _ => Err(self.fault(AuthenticationFault::Method("an unknown SASL mechanism"))),
        }
    }

    /// Reads on until the server takes commands.
    async fn ready(&mut self) -> Result<String, SourceError> {
        let mut version = None;
        loop {
            match self.exchange().await? {
                Message::ParameterStatus(body) => {
                    version = version.or(server_version(&body));
                }
                Message::BackendKeyData(_) | Message::NoticeResponse(_) => {}
                Message::ReadyForQuery(_) => break,
                _ => return Err(self.unexpected()),
            }
        }
        version.ok_or_else(|| self.unexpected())
    }

    /// Sends what was written and takes the next message; an error of the server is ours.
    async fn exchange(&mut self) -> Result<Message, SourceError> {
        self.connection
            .flush()
            .await
            .map_err(|e| lost(self.peer, e))?;
        match self.connection.receive().await {
            Ok(Frame::Message(Message::ErrorResponse(body))) => {
                let error = ServerError::new(body.fields()).map_err(|e| lost(self.peer, e))?;
                Err(classify(self.peer, Step::LogIn, error))
            }
            Ok(Frame::Message(message)) => Ok(message),
            Ok(Frame::CopyBothResponse) => Err(self.unexpected()),
            Err(error) => Err(lost(self.peer, error)),
        }
    }

    fn password(&self) -> Result<Vec<u8>, SourceError> {
        let password = self.config.get_password().map(<[u8]>::to_vec);
        password.ok_or_else(|| self.fault(AuthenticationFault::NoPassword))
    }

    fn send_password(&mut self, password: &[u8]) -> Result<(), SourceError> {
        frontend::password_message(password, self.connection.outgoing())
            .map_err(|e| lost(self.peer, e))
    }

    fn fault(&self, source: AuthenticationFault) -> SourceError {
        SourceError::Authentication {
            address: self.peer.address.clone(),
            user: self.peer.user.clone(),
            source,
        }
    }

    fn unexpected(&self) -> SourceError {
        SourceError::Unexpected {
            address: self.peer.address.clone(),
            step: Step::LogIn.name(),
        }
    }
}

fn server_version(status: &ParameterStatusBody) -> Option<String> {
    match (status.name(), status.value()) {
        (Ok("server_version"), Ok(version)) => Some(version.to_owned()),
        _ => None,
    }
}

pub(super) fn lost(peer: &Peer, source: std::io::Error) -> SourceError {
    SourceError::Lost {
        address: peer.address.clone(),
        source,
    }
}
