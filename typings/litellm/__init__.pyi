from collections.abc import Sequence

class Message:
    content: str | None

class Choice:
    message: Message

class Completion:
    choices: Sequence[Choice]

class Router:
    def __init__(
        self, model_list: Sequence[dict[str, object]], *, num_retries: int = ..., cooldown_time: float = ...
    ) -> None: ...
    async def acompletion(self, model: str, messages: list[dict[str, str]], *, max_tokens: int) -> Completion: ...
