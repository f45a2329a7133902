"""What was compiled elsewhere or before: Neuron artifacts and Inductor's caches. Each says what it was made for."""
