use super::environment::VARIABLES;
use super::*;

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Config::load(Some(file.path()), variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
}

fn refused(text: &str, variables: &[(&str, &str)]) -> String {
    format!("{:#}", load(text, variables).expect_err("the configuration must be refused"))
}

#[test]
fn nothing_said_means_the_defaults() {
    for text in ["", "# comments alone\n", "server: {}\n"] {
        assert_eq!(load(text, &[]).unwrap(), Config::default(), "{text:?}");
    }
    assert!(Config::default().auth.enabled, "nobody gets in by accident");
}

#[test]
fn the_file_sets_and_the_environment_overrides() {
    let text =
        "server:\n  api_address: 127.0.0.1:1234\n  max_in_flight: 7\nauth: {enabled: false}\nlog: {level: debug}\n";
    let config = load(text, &[]).unwrap();
    assert_eq!(config.server.api_address.port(), 1234);
    assert_eq!((config.server.max_in_flight, config.auth.enabled, config.log.level), (7, false, LogLevel::Debug));
    let variables = [
        ("GATEWAY_SERVER_MAX_IN_FLIGHT", "9"),
        ("GATEWAY_AUTH_ENABLED", "true"),
        ("GATEWAY_CORS_ALLOWED_ORIGINS", "https://a.example, https://b.example"),
        ("GATEWAY_SERVICE_HOST", "10.0.0.1"),
    ];
    let config = load(text, &variables).unwrap();
    assert_eq!((config.server.max_in_flight, config.auth.enabled), (9, true));
    assert_eq!(config.cors.allowed_origins, ["https://a.example", "https://b.example"]);
    assert_eq!(config.server.api_address.port(), 1234, "what no variable names stays");
}

#[test]
fn an_unknown_key_is_refused_with_line_and_column() {
    for (text, key, place) in [
        ("auth:\n  enabled: true\n  enable: true\n", "enable", "line 3 column 3"),
        ("server: {}\nport: 8080\n", "port", "line 2 column 1"),
    ] {
        let error = refused(text, &[]);
        assert!(error.contains(&format!("unknown field `{key}`")) && error.contains(place), "{error}");
    }
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_with_line_and_column() {
    let error = refused("server:\n  max_in_flight: many\n", &[]);
    assert!(error.contains("max_in_flight") && error.contains("line 2 column"), "{error}");
    let error = refused("server:\n  api_address: nowhere\n", &[]);
    assert!(error.contains("api_address") && error.contains("line 2 column"), "{error}");
    let error = refused("server: [1", &[]);
    assert!(error.contains("line 1") || error.contains("line 2"), "{error}");
}

#[test]
fn settings_that_make_no_sense_are_refused_with_their_key() {
    for (text, key) in [
        ("server: {max_in_flight: 0}", "server.max_in_flight"),
        ("server: {max_body_bytes_in_flight: 1000000}", "server.max_body_bytes_in_flight"),
        ("auth: {cache_ttl_ms: 60001}", "auth.cache_ttl_ms"),
        ("audit: {batch_events: 501}", "audit.batch_events"),
        ("audit: {url: datastorage}", "audit.url"),
        ("audit: {url: \"https://datastorage\"}", "audit.url"),
        ("kubernetes: {namespace: ../x}", "kubernetes.namespace"),
        ("cors: {allowed_origins: [\"*\", \"https://a.example\"]}", "cors.allowed_origins"),
        ("cors: {allowed_methods: [\"G T\"]}", "cors.allowed_methods"),
    ] {
        assert!(refused(text, &[]).contains(key), "{text}");
    }
}

#[test]
fn a_bad_variable_is_refused_with_its_name() {
    for (name, value) in [
        ("GATEWAY_AUTH_ENABLED", "yes"),
        ("GATEWAY_SERVER_API_ADDRESS", "8080"),
        ("GATEWAY_LOG_LEVEL", "loud"),
        ("GATEWAY_SERVER_MAX_IN_FLIGHT", "-1"),
    ] {
        let error = refused("", &[(name, value)]);
        assert!(error.contains(name) && error.contains(value), "{error}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = format!("{:#}", Config::load(Some(Path::new("/nonexistent/gateway.yaml")), []).unwrap_err());
    assert!(error.contains("/nonexistent/gateway.yaml"), "{error}");
}

#[test]
fn every_variable_is_named_after_its_key() {
    for (name, _) in VARIABLES {
        let (section, key) = name.strip_prefix("GATEWAY_").unwrap().split_once('_').unwrap();
        let (section, key) = (section.to_lowercase(), key.to_lowercase());
        let error = refused(&format!("{section}:\n  {key}: {{}}\n"), &[]);
        assert!(!error.contains("unknown field"), "{name} names no key: {error}");
    }
}
