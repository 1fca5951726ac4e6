# The types of trio-parallel, which says none itself: of what the recipes use of it.

from collections.abc import Callable
from typing import TypeVar

from typing_extensions import TypeVarTuple, Unpack

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

class BrokenWorkerError(RuntimeError): ...

async def run_sync(
    sync_fn: Callable[[Unpack[_Ts]], _T],
    *args: Unpack[_Ts],
    kill_on_cancel: bool = False,
) -> _T: ...
