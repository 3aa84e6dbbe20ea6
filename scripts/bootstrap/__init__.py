"""How scripts/run.py makes its virtual environment; standard library only, silent when imported."""
