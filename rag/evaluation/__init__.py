"""Measuring retrieval, answers and ingestion on public question sets."""
