//! What `examples/deploy` builds and starts is there.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Every program that an image takes is built by the image, with the features that it needs.
#[test]
fn the_images_build_the_programs_that_they_take() {
    let file = read("examples/deploy/Containerfile");
    let build = line(&file, "RUN cargo build ");
    let profile = word_after(build, "--profile");
    let mut taken = 0;
    for copy in file
        .lines()
        .filter(|line| line.starts_with("COPY --from=build"))
    {
        let from = copy.split_whitespace().nth(2).unwrap();
        let program = from
            .strip_prefix(&format!("/src/target/{profile}/"))
            .unwrap();
        let (package, features) = package_of(program);
        assert!(build.contains(&format!("-p {package}")), "{program}");
        for feature in features {
            let wanted = format!("{package}/{feature}");
            assert!(
                build.contains(&wanted),
                "{program} is not built without {wanted}"
            );
        }
        let entry = format!("ENTRYPOINT [\"{program}\"]");
        assert!(file.contains(&entry), "{entry}");
        taken += 1;
    }
    assert_eq!(taken, 2);
}

/// Every command that a unit of systemd runs is one.
#[test]
fn the_units_start_programs_that_there_are() {
    for unit in ["machineauth-issuer", "machineauth-edge"] {
        let file = read(&format!("examples/deploy/systemd/{unit}.service"));
        let start = line(&file, "ExecStart=");
        let path = start["ExecStart=".len()..].split(' ').next().unwrap();
        assert_eq!(path, format!("/usr/local/bin/{unit}"));
        package_of(unit);
        assert!(file.contains("DynamicUser=yes"));
        line(&file, "StateDirectory=");
    }
}

/// The package of a program, and the features without which it is not built.
fn package_of(program: &str) -> (String, Vec<String>) {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let found = packages.iter().find_map(|package| {
        let targets = package["targets"].as_array()?;
        let target = targets
            .iter()
            .find(|target| target["name"] == program && target["kind"][0] == "bin")?;
        let features = target["required-features"].as_array();
        let features = features.into_iter().flatten().filter_map(Value::as_str);
        let name = package["name"].as_str()?;
        Some((name.to_owned(), features.map(str::to_owned).collect()))
    });
    found.unwrap_or_else(|| panic!("no package makes {program}"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn line<'a>(file: &'a str, start: &str) -> &'a str {
    let line = file.lines().find(|line| line.starts_with(start));
    line.unwrap_or_else(|| panic!("no line begins with {start:?}"))
}

fn word_after<'a>(line: &'a str, option: &str) -> &'a str {
    let mut words = line.split_whitespace().skip_while(|word| *word != option);
    words.nth(1).unwrap()
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
