//! Steps between data formats.
