//! Certificates, tokens, authorisation rules and envelope encryption.
