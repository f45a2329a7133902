"""How much load one deployment unit carries: steps of load, the search for the highest rate that holds, and what is made of it."""
