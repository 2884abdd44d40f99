# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When time triggers fire: at moments, or by the clock on a node's wall, which once a year shows an hour twice."""

from __future__ import annotations

import datetime
from collections.abc import Callable

from .task_definition import Trigger

_DAY = 86400.0
_TINY = 1e-3  # seconds: less than any repetition, more than a number of this size cannot tell apart
_LONGEST_CHANGE = 6 * 3600  # seconds: no clock is changed by more


class WallClock:
    """Readings of a local clock, as seconds since 1970 of that clock; without a zone the reading is the moment."""

    def __init__(self, zone: datetime.tzinfo | None) -> None:
        self._zone = zone

    def reading(self, moment: float) -> float:
        """What the clock has shown so far. In the second pass of a repeated hour that is all of the hour."""
        if self._wall(moment).fold:
            return self._face(self._first(int(moment), lambda at: not self._wall(at).fold)) - _TINY
        return self._face(moment)

    def moment(self, reading: float) -> float | None:
        """When the clock shows this, for the first time; None: it never does."""
        if self._zone is None:
            return reading
        moment = reading - self._offset_at(reading)
        return moment if abs(self._face(moment) - reading) < _TINY else None

    def jump(self, reading: float) -> float:
        """When the clock jumps over a reading that it never shows."""
        late = int(reading - self._offset_at(reading))  # by the time before the jump, and so behind it
        offset = self._wall(late).utcoffset()
        return self._first(late - _LONGEST_CHANGE, lambda at: self._wall(at).utcoffset() == offset)

    def _wall(self, moment: float) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(moment, self._zone or datetime.UTC)

    def _face(self, moment: float) -> float:
        return moment + _seconds(self._wall(moment))

    def _offset_at(self, reading: float) -> float:
        wall = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=reading)
        return _seconds(wall.replace(tzinfo=self._zone or datetime.UTC))

    @staticmethod
    def _first(low: int, is_so: Callable[[int], bool]) -> float:
        """The first moment at which something is so, given that it is not at the beginning."""
        high = low + _LONGEST_CHANGE
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if is_so(middle) else (middle, high)
        return float(high)


def next_moment(trigger: Trigger, after: float, *, scale: float, zone: datetime.tzinfo) -> float | None:
    """The first moment after ``after`` at which a time or calendar trigger fires.

    Args:
        trigger: with a start.
        after: unix time.
        scale: seconds of real time for each second of its repetition.
        zone: of the node. Windows counts the repetitions of a trigger whose start names no zone by the clock on the
            wall, so it is silent while that shows an hour for the second time.
    """
    if trigger.start is None:
        return None
    clock = WallClock(zone if trigger.start.local else None)
    position = clock.reading(after)
    while (reading := _next_reading(trigger, trigger.start.seconds, position, scale)) is not None:
        moment = clock.moment(reading)
        if moment is None and trigger.repetition is None:
            moment = clock.jump(reading)
        if moment is None:
            position = clock.reading(clock.jump(reading)) - _TINY
        elif moment <= after + 1e-6:
            position = reading + _TINY
        else:
            return moment if is_before_end(trigger, moment, zone) else None
    return None


def _next_reading(trigger: Trigger, first: float, position: float, scale: float) -> float | None:
    if trigger.kind != "CalendarTrigger":
        return repeated(trigger, first, position, scale)
    period = trigger.days * _DAY
    if position > first:
        first += (position - first) // period * period
    candidates = [repeated(trigger, first, position, scale), repeated(trigger, first + period, position, scale)]
    return min((candidate for candidate in candidates if candidate is not None), default=None)


def repeated(trigger: Trigger, first: float, after: float, scale: float) -> float | None:
    """The first of a start and its repetitions after ``after``."""
    if first > after:
        return first
    if trigger.repetition is None:
        return None
    interval = trigger.repetition.interval * scale
    moment = first + ((after - first) // interval + 1) * interval
    if trigger.repetition.duration is not None and moment > first + trigger.repetition.duration * scale:
        return None
    return moment


def is_before_end(trigger: Trigger, moment: float, zone: datetime.tzinfo) -> bool:
    """Whether a trigger still fires at this moment."""
    if trigger.end is None:
        return True
    clock = WallClock(zone if trigger.end.local else None)
    end = clock.moment(trigger.end.seconds)
    return moment <= (clock.jump(trigger.end.seconds) if end is None else end)


def _seconds(wall: datetime.datetime) -> float:
    return (wall.utcoffset() or datetime.timedelta()).total_seconds()
