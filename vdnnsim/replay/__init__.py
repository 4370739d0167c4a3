"""Logged programs, replayed in memory that is too small for them: Dynamic Tensor Rematerialization. Knows `memory`."""

from vdnnsim.replay.comparing import LIMIT, SHARES, Replay, Replays, compare_replays
from vdnnsim.replay.files import check_log_writable, is_log, read_log
from vdnnsim.replay.heuristics import HEURISTICS
from vdnnsim.replay.log import LoggedDeed, LoggedOperator, LoggedProgram
from vdnnsim.replay.memory import BYTES
from vdnnsim.replay.runtime import Outcome, Replayed, replay

__all__ = [
    "BYTES",
    "HEURISTICS",
    "LIMIT",
    "SHARES",
    "LoggedDeed",
    "LoggedOperator",
    "LoggedProgram",
    "Outcome",
    "Replay",
    "Replayed",
    "Replays",
    "check_log_writable",
    "compare_replays",
    "is_log",
    "read_log",
    "replay",
]
