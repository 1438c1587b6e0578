//! Checkers that know only what clients saw.
