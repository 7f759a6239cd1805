"""The parts of lemode.metrics."""
