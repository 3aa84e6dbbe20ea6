"""What people write when they need a vector index of their texts: the yardstick for our own ingestion.

    python plain_ingest.py MODEL_FOLDER TEXTS.json INDEX.faiss

Stands on its own and prints {"chunks", "seconds"}: without imports and loading the model.
"""

import json
import sys
import time
from pathlib import Path

import faiss
from sentence_transformers import SentenceTransformer

model_folder, texts_file, index_file = sys.argv[1:]
texts = json.loads(Path(texts_file).read_text(encoding="utf-8"))
model = SentenceTransformer(model_folder)
model.encode(["warm up"])

start = time.perf_counter()
vectors = model.encode(texts, batch_size=32, normalize_embeddings=True, show_progress_bar=False)
index = faiss.IndexFlatIP(vectors.shape[1])
index.add(vectors)
faiss.write_index(index, index_file)
print(json.dumps({"chunks": index.ntotal, "seconds": time.perf_counter() - start}))
