"""Memory formulas against figures that others have published."""

from rag.loader import memory
from rag.loader.architecture import shape_of

QWEN25_14B = {
    "model_type": "qwen2",
    "hidden_size": 5120,
    "intermediate_size": 13824,
    "num_attention_heads": 40,
    "num_hidden_layers": 48,
    "num_key_value_heads": 8,
    "max_position_embeddings": 32768,
    "max_window_layers": 70,
    "sliding_window": 131072,
    "use_sliding_window": False,
    "tie_word_embeddings": False,
    "vocab_size": 152064,
}


def test_qwen25_14b_keeps_196608_bytes_per_token() -> None:
    shape = shape_of(QWEN25_14B)
    assert memory.kv_cache_bytes(shape, 1, 2) == 196_608
