"""The same batch of prompts against the same API of language models, by programs of several libraries.

The API is the server of ``examples/llm_batch.py``. Each module here that has a ``run`` is such a program, written as
its library's users write it: ``run(url, minute, prompts)`` returns the answers, in the order of the prompts.
"""

import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.append(str(EXAMPLES))  # where the server and its quotas are
