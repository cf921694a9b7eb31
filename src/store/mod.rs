//! (stub)
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("stub")]
    Stub,
}
#[derive(Clone)]
pub struct Store;
