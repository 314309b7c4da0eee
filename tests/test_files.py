"""Files are written as a whole, whoever else writes them at the same time; what is no file is not read."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from promax.files import file_name, replace


def test_writers_of_one_file_do_not_take_each_others_place(tmp_path: Path) -> None:
    """Two commands of one study end in the same second and write the same folder."""
    path = tmp_path / "study.html"
    contents = [bytes([65 + number]) * 100_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: [replace(path, content) for _ in range(50)], contents))
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def pipes(project: Path) -> Iterator[Path]:
    """A folder of pipes, each of which ends for whoever reads it: a reader that is not refused doesn't hang."""
    done = threading.Event()
    for name in ("pipe.jsonl", "pipe.csv", "pipe.zip", "pipe.yaml"):
        os.mkfifo(project / name)

    def end_what_is_read() -> None:
        while not done.is_set():
            for pipe in project.glob("pipe.*"):
                try:
                    os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
                except OSError:  # nobody reads it
                    continue
            time.sleep(0.02)

    ender = threading.Thread(target=end_what_is_read)
    ender.start()
    yield project
    done.set()
    ender.join()


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("train", "data=pairs", "data.test=pipe.jsonl"), "pipe.jsonl"),
        (("train", "@pipe.yaml"), "@pipe.yaml"),
        (("data", "audit", "pipe.jsonl"), "pipe.jsonl"),
        (("data", "build", "pipe.csv", "--out", "built"), "pipe.csv"),
        (("restore", "pipe.zip"), "pipe.zip"),
    ],
)
def test_a_pipe_is_not_read(
    pipes: Path, outcome: Callable[..., tuple[int, str, str]], command: tuple[str, ...], name: str
) -> None:
    code, _, err = outcome(*command)
    assert code == 2
    assert f"promax: {name}: can't be read: must be a regular file, no pipe or device\n" in err


@pytest.mark.parametrize(
    ("study", "name"),
    [("fix", "fix"), ("fix 2/b", "fix_2_b"), ("..", "_"), ("../../evil", "_.._evil"), (".hidden", "hidden")],
)
def test_a_studys_name_leads_nowhere_else(study: str, name: str) -> None:
    assert file_name(study) == name
