"""A recorder of a pool's activity, and replays of it with other workers and options. Nothing else imports it."""

from .._basics.public_names import publish
from ._recorder import Recorder
from ._recording import Recording
from ._results import Plan, PlanError, Quantiles, Replay

__all__ = ["Plan", "PlanError", "Quantiles", "Recorder", "Recording", "Replay"]

publish(__name__, __all__)
