//! The reference application: articles over REST.
