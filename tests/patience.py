"""A policy whose retries wait for long."""

from __future__ import annotations

from trio_pool import RetryPolicy

PATIENT = RetryPolicy.fixed(5.0)
