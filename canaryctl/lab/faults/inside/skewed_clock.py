"""Every Python that begins while this is installed reads a clock that is ahead. Time that is only measured goes on."""

import datetime
import time

AHEAD = 3600

_now, _now_ns, _clock = time.time, time.time_ns, time.clock_gettime
_localtime, _gmtime, _strftime = time.localtime, time.gmtime, time.strftime


class _Kind(type):
    def __instancecheck__(cls, it: object) -> bool:
        return isinstance(it, _datetime)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, _datetime)


_datetime = datetime.datetime


class _Ahead(_datetime, metaclass=_Kind):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> _datetime:  # type: ignore[override]
        return _datetime.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls) -> _datetime:  # type: ignore[override]
        return _datetime.fromtimestamp(time.time(), datetime.timezone.utc).replace(tzinfo=None)  # noqa: UP017

    @classmethod
    def today(cls) -> _datetime:  # type: ignore[override]
        return _datetime.fromtimestamp(time.time())


time.time = lambda: _now() + AHEAD
time.time_ns = lambda: _now_ns() + AHEAD * 10**9
time.clock_gettime = lambda clock: _clock(clock) + (AHEAD if clock == time.CLOCK_REALTIME else 0)
time.localtime = lambda seconds=None: _localtime(time.time() if seconds is None else seconds)
time.gmtime = lambda seconds=None: _gmtime(time.time() if seconds is None else seconds)
time.strftime = lambda form, at=None: _strftime(form, time.localtime() if at is None else at)
datetime.datetime = _Ahead  # type: ignore[misc]
