"""The search index of one tenant: an SQLite file, with one connection to write and one to read.

All of it blocks, and may be called from any thread.
"""

from __future__ import annotations

import itertools
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from symphainy.errors import Invalid, NotFound
from symphainy.model.json import canonical, parse
from symphainy.ports import Hit, Passage
from symphainy.public_works.cosine import Block, Near, best, nearest
from symphainy.public_works.search_terms import TOKENIZER, expression, spread

APPLICATION_ID = 0x53594D53
#: Of the tables and of how text becomes words. An index of another version is of no use, and is made anew.
VERSION = 1
BUSY_TIMEOUT_MS = 5000
#: Vectors that are scored in one go.
BLOCK_ROWS = 8192

# `words` holds no text (`content=''`): what is indexed is not what is shown, see `spread`. Texts lie apart from
# passages, so that ranking reads short rows only. `secure-delete` leaves no word of a removed text behind.
_SCHEMA = f"""
CREATE TABLE artifact (key INTEGER PRIMARY KEY, artifact_id TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE passage (
    key INTEGER PRIMARY KEY, artifact INTEGER NOT NULL, passage_id TEXT NOT NULL, UNIQUE (artifact, passage_id)
) STRICT;
CREATE TABLE content (passage INTEGER PRIMARY KEY, text TEXT NOT NULL, position BLOB NOT NULL) STRICT;
CREATE VIRTUAL TABLE words USING fts5 (
    text, content='', tokenize="{" ".join(TOKENIZER[:-1])} '{TOKENIZER[-1]}'"
);
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
CREATE TABLE model (
    key INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, row_bytes INTEGER NOT NULL, changes INTEGER NOT NULL
) STRICT;
CREATE TABLE vector (
    passage INTEGER NOT NULL, model INTEGER NOT NULL, row BLOB NOT NULL, UNIQUE (passage, model)
) STRICT;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""  # noqa: S608

_MATCH = """
SELECT found.artifact_id, found.passage_id, content.text, content.position, -found.cost
FROM (
    SELECT passage.key, passage.passage_id, artifact.artifact_id, bm25(words) AS cost
    FROM words JOIN passage ON passage.key = words.rowid JOIN artifact ON artifact.key = passage.artifact
    WHERE words MATCH :terms
        AND (:artifact_ids IS NULL OR artifact.artifact_id IN (SELECT value FROM json_each(:artifact_ids)))
    ORDER BY cost, passage.passage_id, artifact.artifact_id
    LIMIT :limit
) AS found JOIN content ON content.passage = found.key
ORDER BY found.cost, found.passage_id, found.artifact_id
"""
_NAMES = """
SELECT passage.key, passage.passage_id, artifact.artifact_id
FROM passage JOIN artifact ON artifact.key = passage.artifact
WHERE passage.key IN (SELECT value FROM json_each(?))
"""
_VECTORS = """
SELECT vector.passage, passage.artifact, vector.row FROM vector JOIN passage ON passage.key = vector.passage
WHERE vector.model = :model
    AND (:artifacts IS NULL OR passage.artifact IN (SELECT value FROM json_each(:artifacts)))
"""


class Unfit(Exception):
    """The file is of another version, or of another program."""


class Closed(Exception):
    """The index was closed by another thread; open it again."""


#: What shows that a file is of no use.
DAMAGE = (apsw.CorruptError, apsw.NotADBError, Unfit)


class _Model(NamedTuple):
    key: int
    row_bytes: int
    changes: int


class VectorCache:
    """Vectors in memory, at most `bytes_max` of them. What was not used for longest goes first."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._bytes = 0
        self._held: OrderedDict[tuple[int, int], tuple[int, list[Block]]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, index: int, model: _Model) -> list[Block] | None:
        with self._lock:
            changes, blocks = self._held.get((index, model.key), (None, None))
            if changes != model.changes:
                return None
            self._held.move_to_end((index, model.key))
            return blocks

    def put(self, index: int, model: _Model, blocks: list[Block]) -> None:
        with self._lock:
            self._drop((index, model.key))
            self._held[index, model.key] = (model.changes, blocks)
            self._bytes += _size_bytes(blocks)
            while self._bytes > self.bytes_max:
                self._drop(next(iter(self._held)))

    def forget(self, index: int) -> None:
        with self._lock:
            for key in [key for key in self._held if key[0] == index]:
                self._drop(key)

    def _drop(self, key: tuple[int, int]) -> None:
        _, blocks = self._held.pop(key, (0, []))
        self._bytes -= _size_bytes(blocks)


class TenantIndex:
    """Raises `Closed` from any method once it is closed, and of `DAMAGE` when the file is found to be of no use."""

    _numbers = itertools.count()

    def __init__(self, path: Path, vectors: VectorCache) -> None:
        self._number = next(self._numbers)
        self._vectors = vectors
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._is_closed = False
        self._writer = _connection(path)
        self._writer.transaction_mode = "IMMEDIATE"
        try:
            _require_schema(self._writer)
            self._reader = _connection(path)
        except BaseException:
            self._writer.close()
            raise

    def close(self) -> None:
        """Waits for those who use it."""
        with self._write_lock, self._read_lock:
            if not self._is_closed:
                self._is_closed = True
                # By force, because a damaged file may refuse to be closed.
                self._reader.close(True)
                self._writer.close(True)
                self._vectors.forget(self._number)

    # --- writing ---

    def index(self, artifact_id: str, passages: Sequence[Passage]) -> None:
        wanted = {each.passage_id: (each.text, canonical(each.position)) for each in passages}
        if len(wanted) < len(passages):
            raise Invalid(f"two passages of {artifact_id} have one id")
        with self._writing() as db:
            kept, gone = set(), []
            for key, passage_id, text, position in _passages(db, artifact_id):
                if wanted.get(passage_id) == (text, position):
                    kept.add(passage_id)
                else:
                    gone.append((key, text))
            _remove_passages(db, gone)
            _add_passages(db, artifact_id, [(id_, *wanted[id_]) for id_ in wanted if id_ not in kept])
            _forget_empty(db, artifact_id)
        self._scrub(bool(gone))

    def index_vectors(self, artifact_id: str, model_name: str, rows: Mapping[str, bytes]) -> None:
        with self._writing() as db:
            keys = {passage_id: key for key, passage_id, _, _ in _passages(db, artifact_id)}
            if missing := sorted(rows.keys() - keys.keys()):
                raise NotFound(f"{len(missing)} passages of {artifact_id} are not indexed, {missing[0]} the first")
            model = _model(db, model_name) or _new_model(db, model_name)
            db.executemany(
                "DELETE FROM vector WHERE passage = ? AND model = ?", [(k, model.key) for k in keys.values()]
            )
            _require_width(db, model, {len(row) for row in rows.values()})
            db.executemany(
                "INSERT INTO vector (passage, model, row) VALUES (?, ?, ?)",
                [(keys[passage_id], model.key, row) for passage_id, row in rows.items()],
            )
            db.execute("UPDATE model SET changes = changes + 1 WHERE key = ?", (model.key,))

    def remove(self, artifact_id: str) -> None:
        with self._writing() as db:
            gone = [(key, text) for key, _, text, _ in _passages(db, artifact_id)]
            _remove_passages(db, gone)
            _forget_empty(db, artifact_id)
        self._scrub(bool(gone))

    # --- reading ---

    def indexed(self) -> frozenset[str]:
        with self._reading() as db:
            return frozenset(artifact_id for (artifact_id,) in db.execute("SELECT artifact_id FROM artifact"))

    def match(self, query: str, artifact_ids: Sequence[str] | None, limit: int) -> tuple[Hit, ...]:
        with self._reading() as db:
            terms = expression(db, query)
            if terms is None:
                return ()
            wanted = {"terms": terms, "artifact_ids": _json(artifact_ids), "limit": limit}
            return tuple(_hit(*row) for row in db.execute(_MATCH, wanted))

    def nearest(self, model_name: str, row: bytes, artifact_ids: Sequence[str] | None, limit: int) -> tuple[Hit, ...]:
        with self._reading() as db:
            model = _model(db, model_name)
            if model is None:
                return ()
            if model.row_bytes != len(row):
                raise Invalid(f"a vector of {len(row) // 4} numbers; {model_name} has {model.row_bytes // 4}")
            owners = None if artifact_ids is None else _artifact_keys(db, artifact_ids)
            scored: list[Near] = []
            for block in self._blocks(db, model, owners):
                scored = best(scored + nearest(block, row, owners=owners, limit=limit), limit)
            return _hits(db, scored, limit)

    # --- inside ---

    def _blocks(self, db: apsw.Connection, model: _Model, owners: frozenset[int] | None) -> Iterable[Block]:
        held = self._vectors.get(self._number, model)
        if held is not None:
            return held
        if owners is not None:
            return _stored_blocks(db, model, owners)
        return self._remembering(model, _stored_blocks(db, model, None))

    def _remembering(self, model: _Model, blocks: Iterator[Block]) -> Iterator[Block]:
        seen: list[Block] | None = []
        for block in blocks:
            yield block
            if seen is not None:
                seen.append(block)
                seen = seen if _size_bytes(seen) <= self._vectors.bytes_max else None
        if seen is not None:
            self._vectors.put(self._number, model, seen)

    @contextmanager
    def _writing(self) -> Iterator[apsw.Connection]:
        with self._write_lock:
            if self._is_closed:
                raise Closed
            with self._writer:
                yield self._writer

    @contextmanager
    def _reading(self) -> Iterator[apsw.Connection]:
        """All that is read within is of one moment."""
        with self._read_lock:
            if self._is_closed:
                raise Closed
            with self._reader:
                yield self._reader

    def _scrub(self, something_went: bool) -> None:
        """Leave nothing of removed texts in the write-ahead file. It waits for readers, so not for ever."""
        with self._write_lock:
            if something_went and not self._is_closed:
                with suppress(apsw.BusyError):
                    self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


def _connection(path: Path) -> apsw.Connection:
    db = apsw.Connection(str(path))
    db.set_busy_timeout(BUSY_TIMEOUT_MS)
    for name, value in {"journal_mode": "wal", "synchronous": "full", "secure_delete": 1}.items():
        db.pragma(name, value)
    return db


def _require_schema(db: apsw.Connection) -> None:
    with db:
        found = (db.pragma("application_id"), db.pragma("user_version"))
        if found == (APPLICATION_ID, VERSION):
            return
        if found != (0, 0) or db.pragma("schema_version"):
            raise Unfit(f"application {found[0]:#x}, version {found[1]}")
        db.execute(_SCHEMA)


def _passages(db: apsw.Connection, artifact_id: str) -> list[tuple[int, str, str, bytes]]:
    """Key, id, text and position of each."""
    return list(
        db.execute(
            "SELECT passage.key, passage.passage_id, content.text, content.position FROM artifact "
            "JOIN passage ON passage.artifact = artifact.key JOIN content ON content.passage = passage.key "
            "WHERE artifact.artifact_id = ?",
            (artifact_id,),
        )
    )


def _add_passages(db: apsw.Connection, artifact_id: str, rows: Sequence[tuple[str, str, bytes]]) -> None:
    if not rows:
        return
    db.execute("INSERT OR IGNORE INTO artifact (artifact_id) VALUES (?)", (artifact_id,))
    artifact = db.execute("SELECT key FROM artifact WHERE artifact_id = ?", (artifact_id,)).get
    for passage_id, text, position in rows:
        db.execute("INSERT INTO passage (artifact, passage_id) VALUES (?, ?)", (artifact, passage_id))
        key = db.last_insert_rowid()
        db.execute("INSERT INTO content (passage, text, position) VALUES (?, ?, ?)", (key, text, position))
        db.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (key, spread(text)))


def _remove_passages(db: apsw.Connection, rows: Sequence[tuple[int, str]]) -> None:
    if not rows:
        return
    keys = [(key,) for key, _ in rows]
    words = [(key, spread(text)) for key, text in rows]
    db.executemany("INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)", words)
    db.executemany("DELETE FROM content WHERE passage = ?", keys)
    db.executemany("DELETE FROM passage WHERE key = ?", keys)
    db.executemany("DELETE FROM vector WHERE passage = ?", keys)
    db.execute("UPDATE model SET changes = changes + 1")


def _forget_empty(db: apsw.Connection, artifact_id: str) -> None:
    db.execute(
        "DELETE FROM artifact WHERE artifact_id = ? AND NOT EXISTS "
        "(SELECT 1 FROM passage WHERE passage.artifact = artifact.key)",
        (artifact_id,),
    )


def _model(db: apsw.Connection, name: str) -> _Model | None:
    row = db.execute("SELECT key, row_bytes, changes FROM model WHERE name = ?", (name,)).fetchone()
    return None if row is None else _Model(*row)


def _new_model(db: apsw.Connection, name: str) -> _Model:
    db.execute("INSERT INTO model (name, row_bytes, changes) VALUES (?, 0, 0)", (name,))
    return _Model(db.last_insert_rowid(), 0, 0)


def _require_width(db: apsw.Connection, model: _Model, widths: set[int]) -> None:
    """All vectors of a model are equally long. The first ones say how long."""
    if db.execute("SELECT 1 FROM vector WHERE model = ? LIMIT 1", (model.key,)).fetchone():
        widths = widths | {model.row_bytes}
    if len(widths) > 1:
        raise Invalid(f"vectors of different lengths: {sorted(width // 4 for width in widths)}")
    for width in widths:
        db.execute("UPDATE model SET row_bytes = ? WHERE key = ?", (width, model.key))


def _artifact_keys(db: apsw.Connection, artifact_ids: Sequence[str]) -> frozenset[int]:
    query = "SELECT key FROM artifact WHERE artifact_id IN (SELECT value FROM json_each(?))"
    return frozenset(key for (key,) in db.execute(query, (_json(artifact_ids),)))


def _stored_blocks(db: apsw.Connection, model: _Model, owners: frozenset[int] | None) -> Iterator[Block]:
    wanted = {"model": model.key, "artifacts": _json(None if owners is None else sorted(owners))}
    rows = db.execute(_VECTORS, wanted)
    while some := list(itertools.islice(rows, BLOCK_ROWS)):
        keys, artifacts, data = zip(*some, strict=True)
        yield Block(keys=array("q", keys), owners=array("q", artifacts), rows=b"".join(data))


def _hits(db: apsw.Connection, scored: Sequence[Near], limit: int) -> tuple[Hit, ...]:
    """The first `limit`, equal scores by passage and artifact."""
    scores = dict(scored)
    names = db.execute(_NAMES, (_json(list(scores)),))
    ranked = sorted((-scores[key], passage_id, artifact_id, key) for key, passage_id, artifact_id in names)
    hits = []
    for cost, passage_id, artifact_id, key in ranked[:limit]:
        row = db.execute("SELECT text, position FROM content WHERE passage = ?", (key,)).fetchone()
        assert row is not None, "a passage has its content"
        hits.append(_hit(artifact_id, passage_id, row[0], row[1], -cost))
    return tuple(hits)


def _hit(artifact_id: Any, passage_id: Any, text: Any, position: Any, score: Any) -> Hit:
    return Hit(artifact_id=artifact_id, passage_id=passage_id, text=text, position=parse(position), score=score)


def _json(values: Sequence[str] | Sequence[int] | None) -> str | None:
    return None if values is None else canonical(values).decode()


def _size_bytes(blocks: Sequence[Block]) -> int:
    return sum(block.size_bytes for block in blocks)
