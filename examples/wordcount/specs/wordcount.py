"""What the service has to show where it is deployed."""

import json
import time
import uuid
from urllib.error import HTTPError
from urllib.request import Request, urlopen

DEADLINE_S = 20
NODE_PORT = "30080"
SPECS = {}


class Web:
    """The service, at the port of this machine that leads to its NodePort."""

    def __init__(self, ports):
        self.address = f"http://127.0.0.1:{ports[NODE_PORT]}"

    def ask(self, path, text=None):
        """The status and the content of an answer; with a text it is sent."""
        data = None if text is None else text.encode()
        try:
            with urlopen(Request(self.address + path, data), timeout=DEADLINE_S) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)

    def count(self, word):
        status, answer = self.ask(f"/words/{word}")
        assert status == 200, f"asking for {word!r}: {status} {answer}"
        return answer["count"]

    def await_count(self, word, expected):
        """Waits until a word has been counted that often."""
        end = time.monotonic() + DEADLINE_S
        while (found := self.count(word)) != expected:
            assert time.monotonic() < end, f"{word!r} was counted {found} times after {DEADLINE_S} s, not {expected}"
            time.sleep(0.05)


def spec(name):
    def add(function):
        SPECS[name] = function
        return function

    return add


def new_word():
    """A word that no text has had."""
    return "w" + uuid.uuid4().hex


@spec("texts::words_are_counted")
def words_are_counted(web):
    once, twice = new_word(), new_word()
    status, answer = web.ask("/texts", f"{twice}, {once}: {twice}!")
    assert status == 202, f"sending a text: {status} {answer}"
    web.await_count(twice, 2)
    web.await_count(once, 1)


@spec("texts::capital_letters_make_no_other_word")
def capital_letters_make_no_other_word(web):
    word = new_word()
    web.ask("/texts", f"{word} {word.upper()}")
    web.await_count(word, 2)
    web.await_count(word.upper(), 2)


@spec("texts::one_that_is_too_long_is_refused")
def one_that_is_too_long_is_refused(web):
    # The limit of the suite's cluster, not that of the base.
    status, answer = web.ask("/texts", "x" * 1025)
    assert (status, answer) == (413, {"error": "a text has 1024 bytes at most"}), f"{status} {answer}"


@spec("words::those_of_the_seed_are_there")
def those_of_the_seed_are_there(web):
    assert web.count("welcome") >= 2, "the seed has `welcome` twice"
    assert web.count(new_word()) == 0, "nobody has sent it"


@spec("web::it_is_ready")
def it_is_ready(web):
    assert web.ask("/readyz") == (200, {"status": "ok"}), "asking whether it is ready"
    assert web.ask("/nothing")[0] == 404, "asking for what there is not"
