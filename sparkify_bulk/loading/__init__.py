"""From frames to the star: staging tables, COPY, merge, rebuild, switch."""
