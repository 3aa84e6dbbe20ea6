"""What holds for every test: a known environment, and no network."""

import os

# A developer's own settings must not change what the tests see; where things are kept may differ.
for name in [name for name in os.environ if name.startswith("FOOTNOTE_")]:
    if name not in {"FOOTNOTE_CACHE", "FOOTNOTE_TEST_DATA"}:
        del os.environ[name]
os.environ["HF_HUB_OFFLINE"] = "1"
