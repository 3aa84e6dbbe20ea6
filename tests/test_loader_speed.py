"""Predicted speeds: what they are made of, and that nothing is predicted from nothing."""

from rag.loader import speed


def test_a_gpu_is_known_by_a_part_of_its_name() -> None:
    assert speed.gpu_bandwidth("NVIDIA H100 80GB HBM3") == 3.35e12
    assert speed.gpu_bandwidth("NVIDIA H100 PCIe") == 2.0e12
    assert speed.gpu_bandwidth("Somebody's GPU") is None
