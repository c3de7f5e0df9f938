"""What is told of runs and of the star beside the terminal: page, charts, metrics, mail."""
