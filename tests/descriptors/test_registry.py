"""Descriptors by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from im2gps_spark.descriptors.registry import NAMES, load

OF_ITSELF = [name for name in NAMES if name != "onnx"]
"""What needs no configuration."""


@pytest.mark.parametrize("name", OF_ITSELF)
def test_a_descriptor_knows_its_name(name):
    descriptor = load(name)
    assert descriptor.name == name
    assert len(descriptor.version) == 16
    assert descriptor.dimension > 0
    assert descriptor.preprocessing


def test_versions_differ():
    assert len({load(name).version for name in OF_ITSELF}) == len(OF_ITSELF)


def test_an_unknown_name_is_told_the_known_ones():
    with pytest.raises(ValueError, match=r"'clip'.*gist, lite0"):
        load("clip")


def test_an_unknown_option():
    with pytest.raises(TypeError):
        load("gist", threads=2)


def test_heavy_packages_come_with_the_descriptor_that_needs_them():
    code = (
        "import sys; from im2gps_spark.descriptors.registry import load; load('gist');"
        "assert not {'onnxruntime', 'pyspark', 'torch'} & set(sys.modules);"
        "load('lite0').version; assert 'onnxruntime' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
