//! Copies of real files.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use super::executable::find_on;
use super::*;

struct Project {
    directory: tempfile::TempDir,
    files: Vec<PathBuf>,
    command: Vec<String>,
    env: Vec<EnvVar>,
}

impl Project {
    fn new(command: &[&str], files: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("src")).unwrap();
        let command = command.iter().map(|w| (*w).to_owned()).collect();
        Self { directory, files: files.iter().map(PathBuf::from).collect(), command, env: Vec::new() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("src")
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn copy(&self) -> Result<Copied, CopyError> {
        let directory = self.path();
        let source = Source {
            command: &self.command,
            env: &self.env,
            directory: &directory,
            files: &self.files,
            more: "",
        };
        copy(&self.state(), "shop", &source, Purpose::Keep)
    }

    fn left_over(&self) -> Vec<String> {
        let entries = fs::read_dir(self.state().join("revisions/shop")).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn run(copied: &Copied) -> String {
    let mut command = Command::new(&copied.command[0]);
    let output = command.args(&copied.command[1..]).current_dir(&copied.directory).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_rebuild_in_place_does_not_change_what_runs() {
    let project = Project::new(&["./server", "x"], &[]);
    project.write("server", "#!/bin/sh\necho one $1\n", 0o755);
    let first = project.copy().unwrap();
    project.write("server", "#!/bin/sh\necho two $1\n", 0o755);
    let second = project.copy().unwrap();
    fs::remove_file(project.path().join("server")).unwrap();
    assert_eq!((run(&first), run(&second)), ("one x\n".into(), "two x\n".into()));
    assert_ne!(first.revision, second.revision);
    assert_eq!(first.revision.len(), 10);
    assert_eq!(load(&project.state(), "shop", &first.revision).unwrap(), first);
}

#[test]
fn the_same_content_is_the_same_revision_and_every_difference_another() {
    let project = Project::new(&["./server"], &["data", "etc/conf"]);
    project.write("server", "#!/bin/sh\n", 0o755);
    project.write("data/a", "1", 0o644);
    project.write("etc/conf", "2", 0o644);
    project.write("etc/other", "3", 0o644);
    let first = project.copy().unwrap();
    project.write("data/a", "1", 0o600);
    project.write("etc/other", "4", 0o644);
    assert_eq!(project.copy().unwrap(), first);
    assert!(!project.state().join("revisions/shop").join(&first.revision).join("files/etc/other").exists());
    let mut seen = BTreeSet::from([first.revision]);
    project.write("data/a", "2", 0o644);
    seen.insert(project.copy().unwrap().revision);
    project.write("data/a", "2", 0o755);
    seen.insert(project.copy().unwrap().revision);
    fs::rename(project.path().join("data/a"), project.path().join("data/b")).unwrap();
    seen.insert(project.copy().unwrap().revision);
    let with_env = Project { env: vec![EnvVar { name: "A".into(), value: "B".into() }], ..project };
    seen.insert(with_env.copy().unwrap().revision);
    let shifted = Project { env: vec![EnvVar { name: "AB".into(), value: String::new() }], ..with_env };
    seen.insert(shifted.copy().unwrap().revision);
    let with_argument = Project { command: vec!["./server".into(), "-v".into()], ..shifted };
    seen.insert(with_argument.copy().unwrap().revision);
    assert_eq!(seen.len(), 7);
    assert_eq!(with_argument.left_over().len(), 7, "{:?}", with_argument.left_over());
}

#[test]
fn an_interpreter_stays_and_its_script_runs_from_the_copy() {
    let project = Project::new(&["sh", "app/main.sh"], &["app"]);
    project.write("app/main.sh", ". ./app/lib.sh; say\n", 0o644);
    project.write("app/lib.sh", "say() { echo from the copy; }\n", 0o644);
    let copied = project.copy().unwrap();
    fs::remove_dir_all(project.path()).unwrap();
    assert_eq!(run(&copied), "from the copy\n");
    assert!(copied.in_place && copied.uncopied.is_empty());
}

#[test]
fn a_script_not_among_the_files_is_pointed_out() {
    let project = Project::new(&["sh", "./main.sh", "-x", "nowhere"], &[]);
    project.write("main.sh", "", 0o644);
    assert_eq!(project.copy().unwrap().uncopied, [PathBuf::from("main.sh")]);
}

#[test]
fn a_program_among_the_files_runs_beside_them() {
    let project = Project::new(&["./bin/run"], &["."]);
    project.write("bin/run", "#!/bin/sh\ncat \"$(dirname \"$0\")/../text\"\n", 0o755);
    project.write("text", "beside", 0o644);
    let copied = project.copy().unwrap();
    assert_eq!(run(&copied), "beside");
    assert!(copied.command[0].ends_with("/files/bin/run"));
}

#[test]
fn the_state_directory_is_never_copied_into_itself() {
    let project = Project::new(&["sh"], &["."]);
    project.write("text", "", 0o644);
    let state = project.path().join(".serinus");
    let directory = project.path();
    let source = Source {
        command: &project.command,
        env: &[],
        directory: &directory,
        files: &project.files,
        more: "",
    };
    let first = copy(&state, "shop", &source, Purpose::Keep).unwrap();
    assert_eq!(copy(&state, "shop", &source, Purpose::Keep).unwrap().revision, first.revision);
    assert!(!first.directory.join(".serinus").exists() && first.directory.join("text").exists());
}

#[test]
fn links_stay_links_inside_and_become_files_from_outside() {
    let project = Project::new(&["sh"], &["lib"]);
    project.write("lib/real", "text", 0o644);
    project.write("elsewhere", "other", 0o644);
    symlink("real", project.path().join("lib/link")).unwrap();
    symlink(project.path().join("elsewhere"), project.path().join("lib/absolute")).unwrap();
    let copied = project.copy().unwrap();
    fs::remove_dir_all(project.path()).unwrap();
    assert_eq!(fs::read_link(copied.directory.join("lib/link")).unwrap(), PathBuf::from("real"));
    assert_eq!(fs::read_to_string(copied.directory.join("lib/link")).unwrap(), "text");
    assert_eq!(fs::read_to_string(copied.directory.join("lib/absolute")).unwrap(), "other");
}

#[test]
fn what_cannot_be_copied_says_why_and_leaves_nothing() {
    #[track_caller]
    fn check(project: &Project, expected: &str) {
        let error = project.copy().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        if project.state().exists() {
            assert_eq!(project.left_over(), [""; 0]);
        }
    }
    check(&Project::new(&[], &[]), "the command is empty");
    check(&Project::new(&["./target/release/server"], &[]), "target/release/server: build it first");
    check(&Project::new(&["no-such-program-anywhere"], &[]), "is not on PATH");
    check(&Project::new(&["/tmp/"], &[]), "is not a file");
    check(&Project::new(&["sh"], &["missing"]), "there is no ");
    check(&Project::new(&["sh"], &["../secret"]), "is not below the working directory");
    check(&Project::new(&["sh"], &["/etc/passwd"]), "is not below the working directory");
    let plain = Project::new(&["./server"], &[]);
    plain.write("server", "", 0o644);
    check(&plain, "is not executable: chmod +x");
    let named = Project::new(&["server"], &[]);
    named.write("server", "", 0o755);
    check(&named, "write ./server");
    let linked = Project::new(&["sh"], &["lib"]);
    linked.write("lib/real", "", 0o644);
    symlink("/usr", linked.path().join("lib/usr")).unwrap();
    check(&linked, "leads to /usr, which is not copied");
    let dangling = Project::new(&["sh"], &["lib"]);
    dangling.write("lib/real", "", 0o644);
    symlink("nothing", dangling.path().join("lib/link")).unwrap();
    check(&dangling, "leads to nothing");
    let special = Project::new(&["sh"], &["lib"]);
    special.write("lib/real", "", 0o644);
    let _socket = std::os::unix::net::UnixListener::bind(special.path().join("lib/socket")).unwrap();
    check(&special, "neither a file nor a directory");
}

#[test]
fn collecting_keeps_what_is_named_and_removes_what_was_left_unfinished() {
    let project = Project::new(&["./server"], &[]);
    let mut revisions = Vec::new();
    for number in 0..3 {
        project.write("server", &format!("#!/bin/sh\n# {number}\n"), 0o755);
        revisions.push(project.copy().unwrap().revision);
    }
    fs::create_dir(project.state().join("revisions/shop/.copy-1")).unwrap();
    let keep = BTreeSet::from([revisions[1].clone()]);
    let mut gone = vec![revisions[0].clone(), revisions[2].clone()];
    gone.sort();
    assert_eq!(collect(&project.state(), "shop", &keep).unwrap(), gone);
    assert_eq!(project.left_over(), [revisions[1].clone()]);
    assert!(collect(&project.state(), "other", &keep).unwrap().is_empty());
}

#[test]
fn programs_of_the_system_and_of_virtual_environments_stay_where_they_are() {
    let project = Project::new(&["/bin/sh"], &[]);
    project.write("venv/pyvenv.cfg", "", 0o644);
    project.write("venv/bin/python", "", 0o755);
    let found = |command: &str| {
        let command = [command.to_owned()];
        let directory = project.path();
        let source = Source { command: &command, env: &[], directory: &directory, files: &[], more: "" };
        find_on(&source, "/usr/bin:/bin".as_ref()).unwrap()
    };
    assert_eq!(found("/bin/sh"), Executable::InPlace("/bin/sh".into()));
    assert_eq!(found("venv/bin/python"), Executable::InPlace(project.path().join("venv/bin/python")));
    assert!(matches!(found("sh"), Executable::InPlace(path) if path.ends_with("bin/sh")));
}

#[test]
fn a_copy_that_was_tampered_with_is_not_taken_for_the_revision() {
    let project = Project::new(&["sh"], &[]);
    let copied = project.copy().unwrap();
    let manifest = project.state().join("revisions/shop").join(&copied.revision).join(MANIFEST);
    fs::write(&manifest, "{}").unwrap();
    assert!(matches!(project.copy(), Err(CopyError::Damaged { .. })));
    assert!(matches!(load(&project.state(), "shop", &copied.revision), Err(CopyError::Damaged { .. })));
}

#[test]
fn a_script_that_needs_its_application_beside_itself_is_refused_with_the_cure() {
    let script =
        "#!/bin/sh\nHOME_OF_IT=$(cd \"$(dirname \"$0\")/..\" && pwd)\nexec \"$HOME_OF_IT/lib/app\"\n";
    let refused = |command: &str, files: &[&str]| {
        let project = Project::new(&[command], files);
        project.write("dist/bin/shop", script, 0o755);
        project.write("dist/lib/app", "#!/bin/sh\n", 0o755);
        project.write("start", &script.replace("/..", ""), 0o755);
        project.copy().map(drop).map_err(|error| error.to_string())
    };
    let said = refused("./dist/bin/shop", &[]).unwrap_err();
    assert!(said.contains("line 2") && said.ends_with("write `files: [ dist ]`"), "{said}");
    assert!(refused("./start", &[]).unwrap_err().ends_with("write `files: [ . ]`"));
    refused("./dist/bin/shop", &["dist"]).unwrap();
    refused("./start", &["."]).unwrap();
}

#[test]
fn a_look_names_the_revision_and_leaves_nothing() {
    let project = Project::new(&["./run"], &[]);
    project.write("run", "#!/bin/sh\necho hello\n", 0o755);
    let directory = project.path();
    let source = Source { command: &project.command, env: &[], directory: &directory, files: &[], more: "" };
    let looked = copy(&project.state(), "shop", &source, Purpose::Look).unwrap();
    assert!(!project.state().join("revisions/shop").exists());
    assert_eq!(project.copy().unwrap().revision, looked.revision);
    copy(&project.state(), "shop", &source, Purpose::Look).unwrap();
    assert_eq!(project.left_over(), [looked.revision]);
}
