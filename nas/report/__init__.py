"""What a run looks like: pictures and the Markdown report."""
