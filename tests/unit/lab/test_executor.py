# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The output buffer between a command and the requests that fetch it."""

from __future__ import annotations

import threading

import pytest

from tests.lab.executor import Chunk, CommandOutput


def test_nothing_comes_and_the_wait_ends() -> None:
    assert CommandOutput().take(0.01, 100) is None


def test_pieces_of_one_stream_come_together_and_the_exit_code_with_the_last() -> None:
    output = CommandOutput()
    output.append("stdout", b"ab")
    output.append("stderr", b"!")
    output.append("stdout", b"cd")
    output.finish(3)
    taken = output.take(0, 4)
    assert taken is not None
    assert (taken.chunks, taken.exit_code) == ([Chunk("stdout", b"abc"), Chunk("stderr", b"!")], None)
    rest = output.take(0, 4)
    assert rest is not None
    assert (rest.chunks, rest.exit_code) == ([Chunk("stdout", b"d")], 3)


def test_what_could_not_be_delivered_comes_again() -> None:
    output = CommandOutput()
    output.append("stdout", b"one")
    taken = output.take(0, 10)
    assert taken is not None
    output.append("stdout", b"two")
    output.put_back(taken)
    again = output.take(0, 10)
    assert again is not None
    assert again.chunks == [Chunk("stdout", b"onetwo")]


def test_a_waiting_reader_hears_of_the_end_of_its_command() -> None:
    output = CommandOutput()
    threading.Timer(0.05, output.abandon).start()
    with pytest.raises(InterruptedError):
        output.take(5, 10)


def test_a_producer_is_told_when_nobody_fetches() -> None:
    output = CommandOutput()
    output.append("stdout", bytes(CommandOutput.LIMIT))
    assert not output.has_room()
    output.take(0, 1)
    assert output.has_room()


def test_the_first_end_counts() -> None:
    output = CommandOutput()
    output.finish(1)
    output.finish(0)
    assert output.exit_code == 1
