//! Kinds, the Resource trait, selectors, quantities and schemas: the words of the API.
