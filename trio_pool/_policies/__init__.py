"""The policies that users pass, each beside the counters that apply it."""
