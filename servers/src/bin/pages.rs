//! Serves folders to a browser on this machine, until it is ended: `pages PORT [PATH=FOLDER]...`

use std::process::ExitCode;

use polystore_servers::Pages;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().unwrap_or_default();
    let Ok(number) = port.parse() else {
        eprintln!("error: {port:?} is no port");
        return ExitCode::FAILURE;
    };
    let pages = arguments.fold(Pages::new(), |pages, argument| {
        let (path, folder) = argument.split_once('=').unwrap_or(("/", &argument));
        pages.folder(path, folder)
    });
    match pages.serve_at(number) {
        Ok(origin) => {
            println!("{origin}/ is served; Ctrl-C ends it.");
            loop {
                std::thread::park();
            }
        }
        Err(error) => {
            eprintln!("error: port {port}: {error}; try another one");
            ExitCode::FAILURE
        }
    }
}
