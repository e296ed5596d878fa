//! Lists of hostile requests with the answers that they must get, and what sends them.
//!
//! ```yaml
//! request: POST /api/v1/things            # what the cases send that say nothing else
//! good: '{"name": "a", "time": "<<now-60>>"}'
//! body: <<changed>>
//! cases:
//!   - case: the name is a number
//!     member: '"name": 7'                 # takes the place of the good one, or is one more
//!     answer: 400 validation-error        # a status and the last part of the problem's type; its title is the status'
//!     detail: 'name: is no text'          # all of it
//! ```
//!
//! A request is sent as it is written, with `Host`, `Content-Length` and what headers the service's test gives it; `raw`
//! is all that is sent: its lines end in CR and LF, and behind a last line that ends comes an empty one. The answer `none`
//! means that the connection ends without one. `<<now-60>>` is the time a minute ago, `<<unix+60>>` in
//! seconds; `<<70000 × x>>` is repeated, `<<hex 00 FF>>` bytes, `<<good>>` and `<<changed>>` the good object without and
//! with the case's member; other names are the test's.
//!
//! After the answer another request is sent on the connection: what follows must be its answer, or the end.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// How long an answer is waited for, on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_secs(180);
/// How long a service that has not answered is given to say that it does not wait for more.
const PATIENCE: Duration = Duration::from_millis(50);
/// The status of a service that has no time.
const BUSY: u16 = 503;
/// Before it is asked again.
const PAUSE: Duration = Duration::from_millis(100);
const TYPE_BASE: &str = "https://kubernaut.ai/problems/";
/// Words that tell how a service is made.
const INTERNALS: [&str; 31] = [
    "struct ",
    "enum ",
    "variant",
    ", expected",
    "expected value",
    "expected `",
    "invalid type",
    "invalid value",
    "missing field",
    "Deserialize",
    "deserialize",
    "RawValue",
    "serde",
    "sqlx",
    "tokio",
    "hyper",
    "axum",
    "kube::",
    "core::",
    "std::",
    "panicked",
    ".rs",
    "SELECT",
    "INSERT",
    "column of relation",
    "SQLSTATE",
    "i64",
    "u64",
    "Some(",
    "EOF while",
    "Timestamp::",
];

/// The word of an answer, if there is one, that tells how a service is made. What was sent may be repeated.
pub fn inside(answer: &str, sent: &[u8]) -> Option<&'static str> {
    let sent = String::from_utf8_lossy(sent);
    INTERNALS.into_iter().find(|word| answer.contains(word) && !sent.contains(word))
}

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Method and target of cases that name none.
    #[serde(default)]
    request: Option<String>,
    /// A JSON object that would be taken.
    #[serde(default)]
    good: Option<String>,
    /// The body of cases that have none.
    #[serde(default)]
    body: Option<String>,
    /// What is sent, in this order.
    pub cases: Vec<Case>,
}

/// One hostile request, or several on one connection.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What is hostile about it.
    pub case: String,
    #[serde(default)]
    raw: Option<String>,
    #[serde(default)]
    request: Option<String>,
    /// Lines, each instead of the usual one of its name; one without a value is not sent.
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    member: Option<String>,
    #[serde(default)]
    without: Option<String>,
    #[serde(default)]
    answer: Option<String>,
    #[serde(default)]
    answers: Vec<String>,
    /// That of the last answer.
    #[serde(default)]
    detail: Option<String>,
    /// The path that the problem tells of, where it is not the request's.
    #[serde(default)]
    instance: Option<String>,
    /// Members of the answer that is no problem.
    #[serde(default)]
    says: BTreeMap<String, Value>,
    #[serde(default)]
    then: Option<Then>,
    /// How many objects the service makes of it.
    #[serde(default)]
    pub makes: usize,
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Then {
    /// The next request on it is answered.
    Open,
    /// It ends.
    Closed,
    /// The service still reads what was announced and does not come.
    Waiting,
}

/// The service that is sent a list.
pub struct Target<'a> {
    pub address: SocketAddr,
    /// Header lines of every request that is not raw.
    pub usual: &'a [String],
    /// Names and values of the headers of every answer.
    pub on_every_answer: &'a [(&'a str, &'a str)],
    /// Members of a problem beyond the usual ones that there may be.
    pub more_members: &'a [&'a str],
    /// What other names stand for.
    pub value: &'a dyn Fn(&str) -> Option<String>,
}

/// The service has no time, or what it uses is away: on a busy machine that passes.
#[derive(Debug)]
struct Busy(Answer);

impl std::fmt::Display for Busy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl std::error::Error for Busy {}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl List {
    /// Reads a list.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(text: &str) -> Result<List> {
        serde_yaml::from_str(text).context("reading a list of hostile requests")
    }

    /// Sends a case, and checks the answer and the connection; again, for a while, where the service has no time for it.
    ///
    /// # Errors
    /// What is not as it should be.
    pub fn send(&self, case: &Case, target: &Target<'_>) -> Result<()> {
        let end = Instant::now() + DEADLINE;
        loop {
            let sent = self.send_once(case, target);
            match &sent {
                Err(error) if error.is::<Busy>() && Instant::now() < end => std::thread::sleep(PAUSE),
                _ => return sent,
            }
        }
    }

    fn send_once(&self, case: &Case, target: &Target<'_>) -> Result<()> {
        let text = Text { list: self, case, target };
        let request = case.request.as_ref().or(self.request.as_ref());
        let bytes = match &case.raw {
            Some(raw) => {
                let end = if raw.ends_with('\n') { "\r\n" } else { "" };
                text.expand(&format!("{}{end}", raw.replace('\n', "\r\n")))?
            }
            None => text.request(request.context("it names no request")?)?,
        };
        let wanted = if case.answers.is_empty() { case.answer.as_slice() } else { &case.answers[..] };
        let stream = connect(target.address)?;
        // The service may have answered and closed before it has all.
        let _ = (&stream).write_all(&bytes);
        let mut reader = BufReader::new(&stream);
        ensure!(!wanted.is_empty(), "it says no answer:{}", came(&stream, &mut reader)?);
        if wanted == ["none"] {
            let more = reader.fill_buf().map(<[u8]>::len);
            ensure!(!matches!(more, Ok(1..)), "it was answered");
            return Ok(());
        }
        let is_head = bytes.starts_with(b"HEAD ");
        for (index, wanted) in wanted.iter().enumerate() {
            let answer = Answer::read(&mut reader, is_head).with_context(|| format!("answer {index}"))?;
            if answer.status == BUSY {
                return Err(Busy(answer).into());
            }
            let path = bytes.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
            let path =
                String::from_utf8_lossy(path.split(|byte| *byte == b'?').next().unwrap_or_default()).into_owned();
            let is_last = index + 1 == case.answers.len().max(1);
            case.judge(wanted, &answer, target, &path, is_head, is_last).with_context(|| format!("{answer}"))?;
        }
        let then = if case.then == Some(Then::Waiting) { Then::Waiting } else { rest(&stream, &mut reader)? };
        if let Some(wanted) = case.then {
            ensure!(then == wanted, "the connection is {then:?} afterwards");
        }
        Ok(())
    }
}

/// For a case that is being written: what it could say.
fn came(stream: &TcpStream, reader: &mut BufReader<&TcpStream>) -> Result<String> {
    let (mut kinds, mut told) = (Vec::new(), String::new());
    stream.set_read_timeout(Some(Duration::from_millis(300)))?;
    while matches!(reader.fill_buf(), Ok([_, ..])) {
        let answer = Answer::read(reader, false)?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let kind = body["type"].as_str().and_then(|kind| kind.strip_prefix(TYPE_BASE)).unwrap_or_default();
        kinds.push(format!("{} {kind}", answer.status).trim().to_owned());
        told = answer.text().into_owned();
    }
    Ok(format!("\n    answers: {kinds:?}\n    the last is {told}"))
}

/// Sends one more request, whose answer must be the next, unless the connection ends.
fn rest(mut stream: &TcpStream, reader: &mut BufReader<&TcpStream>) -> Result<Then> {
    let _ = stream.write_all(b"GET /the-next-one HTTP/1.1\r\nHost: x\r\n\r\n");
    if !matches!(reader.fill_buf(), Ok([_, ..])) {
        return Ok(Then::Closed);
    }
    let answer = Answer::read(reader, false).context("what follows the answer")?;
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    ensure!(answer.status == 404 && body["instance"] == "/the-next-one", "an answer that nobody asked for: {answer}");
    Ok(Then::Open)
}

impl Case {
    fn judge(
        &self,
        wanted: &str,
        answer: &Answer,
        target: &Target<'_>,
        path: &str,
        is_head: bool,
        is_last: bool,
    ) -> Result<()> {
        let (status, kind) = wanted.split_once(' ').unwrap_or((wanted, ""));
        ensure!(answer.status.to_string() == status, "{status} is expected");
        if answer.status < 200 {
            return Ok(());
        }
        for (name, value) in target.on_every_answer {
            ensure!(answer.header(name) == Some(*value), "{name} is {:?}", answer.header(name));
        }
        let id = answer.header("x-request-id").unwrap_or_default();
        ensure!(id.len() == 36 && id.as_bytes()[14] == b'4', "the request id is {id:?}");
        if let Some(word) = inside(&answer.text(), b"") {
            bail!("it tells of the inside: {word}");
        }
        if is_head {
            ensure!(answer.body.is_empty(), "an answer to HEAD has a body");
            return Ok(());
        }
        let body: Value = serde_json::from_slice(&answer.body).context("the body is not JSON")?;
        if kind.is_empty() {
            ensure!(answer.status < 400, "it says no kind of problem");
            for (name, value) in self.says.iter().filter(|_| is_last) {
                ensure!(&body[name] == value, "{name} is {}", body[name]);
            }
            return Ok(());
        }
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        ensure!(answer.header("content-type") == Some("application/problem+json"), "it is no problem");
        ensure!(text("type") == format!("{TYPE_BASE}{kind}"), "{kind} is expected");
        ensure!(text("title") == title(answer.status), "its title is {:?}", text("title"));
        ensure!(body["status"] == answer.status, "its status is {}", body["status"]);
        ensure!(text("request_id") == id, "its request_id is {:?}", text("request_id"));
        if let Some(detail) = self.detail.as_ref().filter(|_| is_last) {
            ensure!(text("detail") == detail, "its detail is not as expected");
        }
        ensure!(!is_last || self.detail.is_some(), "the case says no detail");
        let instance = self.instance.as_deref().unwrap_or(path);
        ensure!(!is_last || text("instance") == instance, "its instance is not {instance:?}");
        let usual = ["type", "title", "detail", "status", "instance", "request_id"];
        let members = body.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        let more: Vec<&str> =
            members.filter(|name| !usual.contains(name) && !target.more_members.contains(name)).collect();
        ensure!(more.is_empty(), "it has more members: {more:?}");
        Ok(())
    }
}

fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Payload Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        431 => "Request Header Fields Too Large",
        _ => "",
    }
}

/// Sends a whole request on a connection of its own, and reads the answer; again, for a while, where the service has no
/// time for it.
///
/// # Errors
/// When what comes is no answer.
pub fn ask(address: SocketAddr, request: &[u8]) -> Result<Answer> {
    let end = Instant::now() + DEADLINE;
    loop {
        let stream = connect(address)?;
        // The service may have answered and closed before it has all.
        let _ = (&stream).write_all(request);
        let answer = Answer::read(&mut BufReader::new(&stream), false)?;
        if answer.status != BUSY || Instant::now() > end {
            return Ok(answer);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Sends bytes that may be no request, or a part of one, and no more. None where the connection ends without an answer.
///
/// # Errors
/// When what comes is no answer.
pub fn provoke(address: SocketAddr, bytes: &[u8]) -> Result<Option<Answer>> {
    let stream = connect(address)?;
    let _ = (&stream).write_all(bytes);
    stream.set_read_timeout(Some(PATIENCE))?;
    if stream.peek(&mut [0]).is_err() {
        // It waits for more.
        let _ = stream.shutdown(Shutdown::Write);
    }
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut reader = BufReader::new(&stream);
    match reader.fill_buf() {
        Ok([_, ..]) => Answer::read(&mut reader, bytes.starts_with(b"HEAD ")).map(Some),
        _ => Ok(None),
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    Ok(stream)
}

impl Answer {
    /// Its body as text.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    fn read(reader: &mut BufReader<&TcpStream>, is_head: bool) -> Result<Answer> {
        let mut line = || -> Result<String> {
            let mut line = Vec::new();
            reader.read_until(b'\n', &mut line).context("reading a line of the head")?;
            let line = String::from_utf8(line).context("the head is not text")?;
            line.strip_suffix("\r\n").map(str::to_owned).with_context(|| format!("a line of the head is {line:?}"))
        };
        let first = line()?;
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        let status = status.with_context(|| format!("the first line is {first:?}"))?;
        let mut headers = Vec::new();
        loop {
            let line = line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").with_context(|| format!("a header is {line:?}"))?;
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if status >= 200 && !is_head {
            let length = answer.header("content-length").context("it has no Content-Length")?.parse()?;
            answer.body = vec![0; length];
            reader.read_exact(&mut answer.body).context("reading the body")?;
        }
        Ok(answer)
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let first = values.next();
        // One that is there twice means nothing.
        if values.next().is_some() { None } else { first }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} {}", self.status, self.headers, self.text())
    }
}

/// What a case's texts stand for.
struct Text<'a> {
    list: &'a List,
    case: &'a Case,
    target: &'a Target<'a>,
}

impl Text<'_> {
    fn request(&self, request: &str) -> Result<Vec<u8>> {
        let body =
            self.case.body.as_ref().or(self.list.body.as_ref()).map_or(Ok(Vec::new()), |body| self.expand(body))?;
        let mut lines = vec!["Host: service".to_owned(), format!("Content-Length: {}", body.len())];
        lines.extend_from_slice(self.target.usual);
        let name = |line: &str| line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        lines.retain(|usual| !self.case.headers.iter().any(|own| name(own) == name(usual)));
        lines.extend(self.case.headers.iter().filter(|line| !line.ends_with(':')).cloned());
        let mut bytes = self.expand(&format!("{request} HTTP/1.1\r\n"))?;
        for line in lines {
            bytes.extend(self.expand(&line)?);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend(body);
        Ok(bytes)
    }

    fn expand(&self, text: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("<<") {
            let (name, after) = behind.split_once(">>").with_context(|| format!("<< without >> in {text:?}"))?;
            bytes.extend_from_slice(before.as_bytes());
            bytes.extend(self.value(name)?);
            rest = after;
        }
        bytes.extend_from_slice(rest.as_bytes());
        Ok(bytes)
    }

    fn value(&self, name: &str) -> Result<Vec<u8>> {
        if let Some((times, text)) = name.split_once(" × ") {
            return Ok(text.repeat(times.parse().with_context(|| format!("how often: {times}"))?).into_bytes());
        }
        if let Some(bytes) = name.strip_prefix("hex ") {
            let byte = |text| u8::from_str_radix(text, 16).with_context(|| format!("no byte: {text}"));
            return bytes.split(' ').map(byte).collect();
        }
        let moved = |text: &str| {
            let seconds = if text.is_empty() { 0 } else { text.parse().ok()? };
            Timestamp::now().checked_add(SignedDuration::from_secs(seconds)).ok()
        };
        if let Some(time) = name.strip_prefix("now").and_then(moved) {
            // Always as long, so that what is said of a place in it is the same.
            return Ok(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into_bytes());
        }
        if let Some(time) = name.strip_prefix("unix").and_then(moved) {
            return Ok(time.as_second().to_string().into_bytes());
        }
        match name {
            "good" => self.expand(self.list.good.as_deref().context("the list has no good object")?),
            "changed" => self.changed(),
            _ => Ok((self.target.value)(name).with_context(|| format!("nobody knows <<{name}>>"))?.into_bytes()),
        }
    }

    /// The good object with the case's member, and without the one of the same name.
    fn changed(&self) -> Result<Vec<u8>> {
        let good = self.value("good")?;
        let good: BTreeMap<&str, &RawValue> = serde_json::from_slice(&good).context("reading the good object")?;
        let member = self.case.member.as_deref();
        let name = member.and_then(|text| text.split('"').nth(1)).or(self.case.without.as_deref());
        let kept = good.iter().filter(|(key, _)| Some(**key) != name).map(|(key, value)| format!("\"{key}\": {value}"));
        let mut bytes = b"{".to_vec();
        bytes.extend(kept.collect::<Vec<_>>().join(", ").into_bytes());
        if let Some(member) = member {
            bytes.extend_from_slice(b", ");
            bytes.extend(self.expand(member)?);
        }
        bytes.push(b'}');
        Ok(bytes)
    }
}
