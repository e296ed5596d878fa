//! The servers start, keep their data through a kill, and leave nothing behind.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read, Write};
use std::net::TcpStream;

use testbed::postgres::Postgres;
use testbed::redis::{self, Redis};

fn listens(address: &str) -> bool {
    TcpStream::connect(address).is_ok()
}

#[test]
fn postgres_comes_back_on_its_data_and_port() {
    let mut postgres = Postgres::start().unwrap();
    let (address, password) = (postgres.address(), postgres.password_file());
    assert!(listens(&address), "it takes connections");
    postgres.kill9().unwrap();
    assert!(!listens(&address), "it is gone after kill9");
    postgres.restart().unwrap();
    assert!(listens(&address), "it is back on the same port");
    let log = std::fs::read_to_string(postgres.log()).unwrap();
    assert!(log.contains("database system was not properly shut down"), "it recovered the same data");
    postgres.stop().unwrap();
    assert!(!listens(&address), "it is gone after stop");
    postgres.restart().unwrap();
    let segment = segment(&postgres);
    assert!(segments().contains(&segment), "{segment} is its own");
    drop(postgres);
    assert!(!listens(&address), "it is gone after its guard");
    assert!(!segments().contains(&segment), "its shared memory is given back");
    assert!(!password.exists(), "its folder is removed");
}

/// The shared memory segment that the server says is its own.
fn segment(postgres: &Postgres) -> String {
    let status = std::fs::read_to_string(postgres.log().with_file_name("data").join("postmaster.pid")).unwrap();
    status.lines().nth(6).unwrap().split_whitespace().nth(1).unwrap().to_owned()
}

/// The shared memory segments of this machine, as Linux lists them.
fn segments() -> Vec<String> {
    let list = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
    list.lines().skip(1).map(|line| line.split_whitespace().nth(1).unwrap().to_owned()).collect()
}

fn ask(redis: &Redis, command: &str) -> String {
    let mut stream = TcpStream::connect(redis.address()).unwrap();
    write!(stream, "AUTH {}\r\n{command}\r\nQUIT\r\n", redis::PASSWORD).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn redis_keeps_what_it_answered_through_a_kill() {
    let mut redis = Redis::start().unwrap();
    assert!(ask(&redis, "SET key kept").contains("+OK"));
    redis.kill9();
    assert!(!listens(&redis.address()), "it is gone after kill9");
    redis.restart().unwrap();
    assert!(ask(&redis, "GET key").contains("kept"), "the value is still there");
    let (address, password) = (redis.address(), redis.password_file());
    drop(redis);
    assert!(!listens(&address) && !password.exists(), "nothing is left");
}
