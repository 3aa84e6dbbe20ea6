"""What is this model, what is this machine, what happens when they meet: looked at, tried and reported."""
