"""Files are written as a whole, whoever else writes them at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from promax.files import replace


def test_writers_of_one_file_do_not_take_each_others_place(tmp_path: Path) -> None:
    """Two commands of one study end in the same second and write the same folder."""
    path = tmp_path / "study.html"
    contents = [bytes([65 + number]) * 100_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: [replace(path, content) for _ in range(50)], contents))
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]
