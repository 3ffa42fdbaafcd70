"""Does pre-training help? The paper's claim (Table I), in small, with controls."""
