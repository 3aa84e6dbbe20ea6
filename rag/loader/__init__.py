"""A language model in a process of its own: inspect -> plan -> load, whatever engine runs it."""
