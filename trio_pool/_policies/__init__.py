"""What users say: values, each beside what is counted for it."""
