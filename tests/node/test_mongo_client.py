# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of MongoDB on a node, with a real mongod.exe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import alteryx_install, mongo_servers, seed
from tests.node.engine import Engine

pytestmark = pytest.mark.wine


@pytest.fixture(scope="module")
def machine(engine: Engine) -> Engine:
    """The engine with the database programs beside it."""
    alteryx_install.put_database_programs(engine.folder)
    return engine


@pytest.fixture(scope="module")
def mongo(machine: Engine) -> Iterator[mongo_servers.Mongo]:
    """A server with the seed's documents."""
    with mongo_servers.running(machine.folder) as running:
        with running.client() as client:
            chance = seed.random.Random(seed.SEED)
            for database, name, count, make in seed._collections():
                client[database][name].insert_many([make(chance, index) for index in range(count)])
        yield running


def asked(machine: Engine, port: int, script: str, *, options: str = "", **values: str) -> Any:
    """What a script answers that has a client of a server on this port; errors is the chain of messages when it
    threw."""
    variables = "".join(f"${name} = '{value}'\n" for name, value in values.items())
    text = f"""{variables}
    $client = $null
    try {{
        $client = Open-MongoClient -HostName '127.0.0.1' -Port {port} {options}
        $answer = & {{ {script} }}
    }}
    catch {{
        $problem = Get-MongoProblem -ErrorRecord $_
        $answer = if ($problem) {{ @{{ kind = [string]$problem.Kind; message = $problem.Message }} }}
        else {{ @{{ kind = ''; message = [string]$_ }} }}
    }}
    finally {{ if ($client) {{ $client.Dispose() }} }}
    ConvertTo-NodeJson -InputObject $answer
    """
    return json.loads(machine.run(text))


def test_counts_are_those_of_pymongo(machine: Engine, mongo: mongo_servers.Mongo) -> None:
    found = asked(
        machine,
        mongo.ports[0],
        "$client.Authenticate('root', $secret, 'admin', ''); "
        "@{ server = $client.Server; "
        "counts = (Get-DocumentCount -Client $client -Database 'AlteryxService', 'AlteryxGallery') }",
        secret=mongo.password,
    )
    assert found["server"]["IsWritable"]
