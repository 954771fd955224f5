"""A store with thousands of environments, made in a moment."""
import contextlib
import sqlite3

from lib.service import Service

BODY = '{"image":"mcr.microsoft.com/azureml/base:1","description":"","tags":{},"properties":{},"osType":"Linux"}'


def name_of(number):
    return f"env-{number:05}"


def make_store(binary, path, environments, versions):
    """A store at path whose workspace `local` has so many environments of so many versions each."""
    with Service(binary, store=path) as service:
        service.put_version(name_of(0), "1")  # the tables, and what a row looks like
    with contextlib.closing(sqlite3.connect(path)) as db:
        scope, now, by = db.execute("SELECT scope, created, created_by FROM environments WHERE name = ?",
                                    (name_of(0),)).fetchone()
        empty = '{"description":"","tags":{},"properties":{}}'
        db.executemany("INSERT INTO environments (scope, name, body, created, changed, created_by) VALUES (?, ?, ?, ?, ?, ?)",
                       [(scope, name_of(number), empty, now, now, by) for number in range(1, environments)])
        ids = [row[0] for row in db.execute("SELECT id FROM environments WHERE scope = ?", (scope,))]
        have = {row[0] for row in db.execute("SELECT environment FROM versions WHERE name = '1'")}
        db.executemany("INSERT INTO versions (environment, name, number, body, created, changed, created_by)"
                       " VALUES (?, ?, ?, ?, ?, ?, ?)",
                       [(id_, str(version), version, BODY, now + version, now, by)
                        for id_ in ids for version in range(1, versions + 1) if version > 1 or id_ not in have])
        db.commit()
