"""The reader as a torch module: one pass over question and passage, three answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rag.training.dequantize import weights

HIDDEN, HEADS, FEED_FORWARD, VOCABULARY = 384, 12, 1536, 30522
LAYERS = 12


class ReaderNetwork(nn.Module):
    """A BERT with the cross-encoder's relevance head, a span head and an answerability head.

    Inputs of shape (batch, tokens). Outputs: relevance (batch,), answerable (batch,), and span (batch,
    tokens, 2), the logits of where the answer begins and ends; position 0, [CLS], stands for "not here".
    """

    def __init__(self, layers: int = LAYERS, attention: str = "sdpa") -> None:
        from transformers import BertConfig, BertModel

        super().__init__()
        shape = BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=HIDDEN,
            num_hidden_layers=layers,
            num_attention_heads=HEADS,
            intermediate_size=FEED_FORWARD,
        )
        shape._attn_implementation = attention
        self.bert = BertModel(shape)
        self.classifier = nn.Linear(HIDDEN, 1)
        self.span = nn.Linear(HIDDEN, 2)
        self.answerable = nn.Linear(HIDDEN, 1)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        seen: Any = self.bert(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        )
        states, pooled = seen.last_hidden_state, seen.pooler_output
        return self.classifier(pooled)[:, 0], self.answerable(states[:, 0])[:, 0], self.span(states)


def from_cross_encoder(file: Path, layers: int = LAYERS, seed: int = 0) -> ReaderNetwork:
    """A network that ranks as the bundled cross-encoder does and has yet to learn the rest.

    With fewer layers, evenly spaced ones of the twelve are taken. `seed` decides the new heads.
    """
    torch.manual_seed(seed)
    network = ReaderNetwork(layers)
    chosen = [round((n + 1) * LAYERS / layers) - 1 for n in range(layers)]
    state = {}
    for name, array in weights(file).items():
        parts = name.split(".")
        if "layer" in parts:
            at = parts.index("layer") + 1
            if int(parts[at]) not in chosen:
                continue
            parts[at] = str(chosen.index(int(parts[at])))
        state[".".join(parts)] = torch.from_numpy(array.copy())
    missing, unexpected = network.load_state_dict(state, strict=False)
    fresh = {"span.weight", "span.bias", "answerable.weight", "answerable.bias"}
    assert set(missing) <= fresh | {"bert.embeddings.position_ids"} and not unexpected, (missing, unexpected)
    return network
