"""Speed and memory, each against what a user would run instead, as ratios from one run."""
