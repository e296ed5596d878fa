use anyhow::Result;
use testbed::fakes::Play;

use crate::support::Stage;

const UP: [&str; 4] = ["up", "shop", "--cluster-only", "--yes"];

#[test]
fn a_cluster_is_made_and_stays() -> Result<()> {
    let stage = Stage::new()?;
    let cluster = stage.instance()?.cluster().to_owned();
    stage.xtask(&UP)?.must(0, &[&format!("cluster {cluster} stays"), "cargo xtask down shop", "export KUBECONFIG="]);
    assert_eq!(stage.fake.containers("podman"), [stage.instance()?.node()]);
    let files = stage.instance()?.files;
    assert!(std::fs::read_to_string(files.kubeconfig())?.contains("server: https://127.0.0.1:45678"));
    assert_eq!(files.read().map(|run| run.cluster), Some(cluster));
    Ok(())
}

#[test]
fn one_that_fits_is_used_as_it_is() -> Result<()> {
    let stage = Stage::new()?;
    stage.xtask(&UP)?.must(0, &[]);
    stage.fake.forget_calls()?;
    stage.xtask(&UP)?.must(0, &["is there, answers, and is as it would be made now"]);
    assert_eq!(stage.changes()?, [""; 0]);
    assert_eq!(stage.fake.calls_of("kind")?, [""; 0]);
    Ok(())
}

#[test]
fn one_that_does_not_fit_is_replaced_and_why_is_said() -> Result<()> {
    let stage = Stage::new()?;
    let unfit = |why: &str| -> Result<()> {
        stage.fake.forget_calls()?;
        stage.xtask(&UP)?.must(0, &["replacing the cluster", why]);
        assert_eq!(stage.fake.calls_of("kind")?.len(), 1, "{why}");
        Ok(())
    };
    stage.xtask(&UP)?.must(0, &[]);
    stage.write("kind.yaml", "nodes: [{ role: control-plane, image: other }]\n")?;
    unfit("its node image or its configuration has changed")?;
    std::fs::write(stage.fake.dir().join("podman/containers").join(stage.instance()?.node()).join("status"), "exited")?;
    unfit("-control-plane is exited")?;
    stage.fake.on("kubectl", "*/readyz", Play::fails(1, "The connection to the server was refused").times(1))?;
    unfit("its API server does not answer")?;
    std::fs::remove_file(stage.instance()?.files.run_file())?;
    unfit("there is no record of how it was made")?;
    Ok(())
}

#[test]
fn a_cluster_that_kind_cannot_make_is_told_with_kinds_words() -> Result<()> {
    let stage = Stage::new()?;
    let said = "ERROR: failed to create cluster: could not find a log line that matches \"Reached target\"";
    stage.fake.on("kind", "create cluster *", Play::fails(1, said))?;
    let ran = stage.xtask(&UP)?;
    ran.must(3, &["step cluster failed", "could not find a log line"]);
    Ok(())
}

#[test]
fn kinds_network_goes_with_the_last_cluster_where_it_came_with_the_first() -> Result<()> {
    let stage = Stage::new()?;
    stage.xtask(&UP)?.must(0, &[]);
    assert_eq!(stage.fake.networks("podman"), ["kind"]);
    stage.xtask(&["down", "shop"])?.must(0, &[]);
    assert_eq!(stage.fake.networks("podman"), [""; 0]);
    // Somebody has made it with addresses of their own, and will count on it.
    std::fs::write(stage.fake.dir().join("podman/networks/kind"), "theirs")?;
    stage.xtask(&UP)?.must(0, &[]);
    stage.xtask(&["down", "shop"])?.must(0, &[]);
    stage.xtask(&["gc"])?.must(0, &[]);
    assert_eq!(stage.fake.networks("podman"), ["kind"]);
    Ok(())
}

#[test]
fn a_network_that_took_the_place_of_ours_stays() -> Result<()> {
    let stage = Stage::new()?;
    stage.xtask(&UP)?.must(0, &[]);
    std::fs::write(stage.fake.dir().join("podman/networks/kind"), "theirs")?;
    stage.xtask(&["down", "shop"])?.must(0, &[]);
    assert_eq!(stage.fake.networks("podman"), ["kind"]);
    Ok(())
}
