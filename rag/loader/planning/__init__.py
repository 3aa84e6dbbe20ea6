"""Every way to bring model and machine together, judged and ranked."""
