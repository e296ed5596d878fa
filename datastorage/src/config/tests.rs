use super::*;

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Config::load(Some(file.path()), variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn message(result: Result<Config>) -> String {
    format!("{:#}", result.expect_err("this configuration is wrong"))
}

#[test]
fn file_sets_and_environment_overrides() {
    let text = "postgres:\n  address: db:5433\n  user: someone\nlisten:\n  api: 127.0.0.1:0\n";
    let config = load(text, &[("DATASTORAGE_POSTGRES_USER", "other"), ("PATH", "/bin")]).unwrap();
    assert_eq!(config.postgres.address, Address { host: "db".to_owned(), port: 5433 });
    assert_eq!(config.postgres.user, "other");
    assert_eq!(config.listen.api, "127.0.0.1:0");
    assert_eq!(config.listen.health, "0.0.0.0:8081");
}

#[test]
fn unknown_key_is_refused_with_line_and_column() {
    let shown = message(load("postgres:\n  adress: db:5433\n", &[]));
    assert!(shown.contains("adress") && shown.contains("address") && shown.contains("line 2 column 3"), "{shown}");
    let shown = message(load("listen:\n  api: 127.0.0.1:0\nmetric: 1\n", &[]));
    assert!(shown.contains("metric") && shown.contains("line 3 column 1"), "{shown}");
}

#[test]
fn wrong_values_name_their_place() {
    let shown = message(load("postgres:\n  address: db\n", &[]));
    assert!(shown.contains("`db` is not a host:port") && shown.contains("line 2"), "{shown}");
    let shown = message(load("", &[("DATASTORAGE_REDIS_TIMEOUT_MS", "soon")]));
    assert!(shown.contains("DATASTORAGE_REDIS_TIMEOUT_MS") && shown.contains("soon"), "{shown}");
    let shown = message(load("queue: {retry_base_ms: 0}", &[]));
    assert!(shown.contains("queue.retry_base_ms"), "{shown}");
}

#[test]
fn variables_that_kubernetes_adds_are_left_alone() {
    let config = load("", &[("DATASTORAGE_PORT", "tcp://10.0.0.1:8080"), ("DATASTORAGE_SERVICE_HOST", "10.0.0.1")]);
    assert_eq!(config.unwrap().listen.api, Listen::default().api);
}

#[test]
fn secret_files_must_be_there_and_lose_their_line_end() {
    let shown = message(load("redis: {password_file: /no/such/file}", &[]));
    assert!(shown.contains("redis.password_file") && shown.contains("/no/such/file"), "{shown}");
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "pass word\n").unwrap();
    assert_eq!(read_secret(secret.path()).unwrap(), "pass word");
    std::fs::write(secret.path(), "\n").unwrap();
    assert!(read_secret(secret.path()).is_err(), "an empty secret is a mistake");
}

#[test]
fn addresses() {
    for (text, host, port) in [("db:1", "db", 1), ("[::1]:65535", "::1", 65535), ("10.0.0.1:80", "10.0.0.1", 80)] {
        let address: Address = text.parse().unwrap();
        assert_eq!(address, Address { host: host.to_owned(), port });
        assert_eq!(address.to_string(), text);
    }
    for text in ["", "db", ":1", "db:", "db:0", "db:65536", "db:x"] {
        assert!(text.parse::<Address>().is_err(), "{text:?} is no address");
    }
}
