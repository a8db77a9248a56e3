"""Search spaces to test the relaxed cost on: each is a supernet with choices, and a builder of plain networks that knows no choice."""
