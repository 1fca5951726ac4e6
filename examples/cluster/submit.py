"""Submit files to be fetched: ``python submit.py worker_dramatiq NUMBER``."""

import importlib
import sys

from files import list_sources

worker = importlib.import_module(sys.argv[1])
for source in list_sources(int(sys.argv[2])):
    worker.fetch_file.send(source.path, source.sha256)
