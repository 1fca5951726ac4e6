"""What a job, a worker and a group are."""
