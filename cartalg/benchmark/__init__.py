"""Named benchmarks: a data set, settings, published figures; run, recorded as JSON, and rendered as tables."""
