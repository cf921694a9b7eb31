//! Parses, calls one function, exits.

use std::process::ExitCode;

fn main() -> ExitCode {
    cjp2pfs::cli::main()
}
