//! (module)
pub mod args; pub mod values; pub mod config_file; pub mod settings; pub mod exit_codes; pub mod signals; pub mod checksum_line; pub mod human; pub mod progress;
pub fn main()->std::process::ExitCode{std::process::ExitCode::SUCCESS}
