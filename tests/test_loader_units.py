"""Amounts of memory, as people write and read them."""

import pytest

from rag.errors import UsageError
from rag.loader.load import request_of
from rag.loader.units import parse_bytes, size
from rag.settings import ModelSettings


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("8GB", 8_000_000_000),
        ("8 gib", 8 * 1024**3),
        ("1.5M", 1_500_000),
        ("512KB", 512_000),
        ("123456", 123_456),
    ],
)
def test_amounts_of_memory(text, amount):
    assert parse_bytes(text) == amount
    assert request_of(ModelSettings(max_memory=text)).max_memory_bytes == amount


@pytest.mark.parametrize("text", ["", "lots", "8XB", "-1GB", "0", "1e9", "8 G B"])
def test_what_is_no_amount_of_memory(text):
    with pytest.raises(UsageError, match="amount of memory"):
        parse_bytes(text)


def test_sizes_are_in_powers_of_1000():
    assert [size(count) for count in (180_400_000, 999_000, 6_940_000_000)] == ["180 MB", "1 MB", "6.9 GB"]
