//! `etcd-proto FOLDER`: writes `etcdserverpb.rs` beside the `etcd.proto` in FOLDER.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder = folder.ok_or("usage: etcd-proto FOLDER")?;
    let messages = protox::compile(["etcd.proto"], [&folder])?;
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        // Keys and values are shared, not copied.
        .bytes(".")
        // Messages hold keys, values and passwords.
        .skip_debug(["."])
        .out_dir(&folder)
        .compile_fds(messages)?;
    Ok(())
}
