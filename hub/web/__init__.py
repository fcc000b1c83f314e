"""HTML only: pages for people in a browser. What they show comes through the same flows as the API's answers."""
