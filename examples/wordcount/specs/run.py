"""Runs the specs, by the arguments of Rust's own test programs, and tells of them as docs/adding-a-suite.md says.

Exit codes: 0, all that ran have passed; 101, one has failed.
"""

import argparse
import json
import os
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import wordcount

PASSED, FAILED = 0, 101


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("filter", nargs="?", default="", help="only specs with this in their names")
    parser.add_argument("--list", action="store_true", help="print the names and run nothing")
    parser.add_argument("--ignored", action="store_true", help="only those that are marked as ignored: there are none")
    parser.add_argument("--exact", action="store_true", help="names are whole ones")
    parser.add_argument("--skip", action="append", default=[], help="leave those of this name out")
    parser.add_argument("--test-threads", type=int, default=4, help="so many at a time")
    return parser.parse_args()


def chosen(specs, args):
    """The specs that the arguments let through, by their names."""
    fits = (lambda name, text: name == text) if args.exact else (lambda name, text: text in name)
    named = {name: spec for name, spec in specs.items() if not args.filter or fits(name, args.filter)}
    left = {name: spec for name, spec in named.items() if not any(fits(name, text) for text in args.skip)}
    return {} if args.ignored else left


class Told:
    """The file that is told of each spec's begin and end."""

    def __init__(self, path):
        self.file = open(path, "a", encoding="utf-8") if path else None
        self.lock = threading.Lock()

    def tell(self, event, **more):
        with self.lock:
            if self.file:
                self.file.write(json.dumps({"event": event, **more}) + "\n")
                self.file.flush()


def run(name, spec, web, told):
    """Runs one spec, and says whether it has passed."""
    told.tell("spec_started", spec=name)
    try:
        spec(web)
    except Exception as error:  # Whatever it is, the others go on.
        keep(name, traceback.format_exc())
        message = str(error) or type(error).__name__
        print(f"{name} failed: {message}", file=sys.stderr)
        told.tell("spec_finished", spec=name, outcome="failed", message=message)
        return False
    told.tell("spec_finished", spec=name, outcome="passed", message="")
    return True


def keep(name, text):
    """Leaves what is known of a failed spec where the run keeps it."""
    folder = os.environ.get("E2E_EVIDENCE")
    if folder:
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, name.replace("::", "-") + ".txt"), "w", encoding="utf-8") as file:
            file.write(text)


def main():
    args = arguments()
    specs = chosen(wordcount.SPECS, args)
    if args.list:
        for name in specs:
            print(f"{name}: test")
        return PASSED
    with open(os.environ["E2E_RUN_FILE"], encoding="utf-8") as file:
        web = wordcount.Web(json.load(file)["ports"])
    told = Told(os.environ.get("E2E_EVENTS"))
    told.tell("specs_listed", specs=list(specs))
    with ThreadPoolExecutor(max_workers=max(1, args.test_threads)) as pool:
        results = list(pool.map(lambda name: run(name, specs[name], web, told), specs))
    return PASSED if all(results) else FAILED


if __name__ == "__main__":
    sys.exit(main())
