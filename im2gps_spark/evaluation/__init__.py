"""Judging answers: proper scores, calibration, accuracy."""
