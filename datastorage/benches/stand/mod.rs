//! What is measured: a service of its own with real servers.

use std::time::{Duration, Instant};

use datastorage::Service;
use datastorage::config::Config;
use testbed::postgres::Postgres;
use testbed::redis::Redis;

pub(crate) struct Stand {
    pub(crate) service: Service,
    pub(crate) postgres: Postgres,
    _redis: Redis,
}

impl Stand {
    /// Starts all of it, and waits until PostgreSQL can be used.
    pub(crate) async fn start() -> Stand {
        let (postgres, redis) = (Postgres::start().unwrap(), Redis::start().unwrap());
        let mut config = Config::default();
        for address in [&mut config.listen.api, &mut config.listen.health, &mut config.listen.metrics] {
            *address = "127.0.0.1:0".to_owned();
        }
        config.auth.enabled = false;
        config.postgres.address = postgres.address().parse().unwrap();
        config.postgres.password_file = Some(postgres.password_file());
        config.postgres.write_timeout_ms = 60_000;
        config.postgres.read_timeout_ms = 60_000;
        config.redis.address = redis.address().parse().unwrap();
        config.redis.password_file = Some(redis.password_file());
        let service = Service::start(config).await.unwrap();
        let ready = format!("http://{}/readyz", service.health);
        let end = Instant::now() + Duration::from_secs(60);
        while reqwest::get(&ready).await.unwrap().json::<serde_json::Value>().await.unwrap()["postgres"]["up"] != true {
            assert!(Instant::now() < end, "PostgreSQL is not up after a minute");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Stand { service, postgres, _redis: redis }
    }
}
