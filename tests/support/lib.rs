//! Anneal.
