"""What is this machine? Processor, memory and every limit on it, GPUs, engines, measured speeds."""
