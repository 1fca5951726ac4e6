"""The records, options, states and errors of jobs, workers and groups."""
