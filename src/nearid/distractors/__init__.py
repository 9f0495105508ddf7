"""Stage `distractors`: the same background with another instance in it, per source."""
